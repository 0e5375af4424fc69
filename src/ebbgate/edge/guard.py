"""The one middleware of the collection host, pure ASGI: no error leaves as anything but problem JSON with an opaque id."""

from __future__ import annotations

import secrets
from contextlib import suppress

from ebbgate import log
from ebbgate.edge.problems import Receive, Scope, Send, answer_problem
from ebbgate.errors import RequestError


class Guard:
    """Wraps an app: a bug becomes a 500 that tells an id, and a log line with that id and the place, without any value."""

    def __init__(self, app: object) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            return
        try:
            await self._app(scope, receive, send)  # type: ignore[operator]  # an ASGI app; Starlette's own type is wider
        except Exception as error:  # noqa: BLE001  the last resort of a host on the internet: whatever it is, it must not show
            error_id = secrets.token_hex(6)
            log.get().error("request.failed", error_id=error_id, kind=type(error).__name__, where=_where(error))
            failed = RequestError(
                "the gateway failed on this request", status=500, code="internal", hint=f"tell the operator {error_id}"
            )
            with suppress(RuntimeError):  # of the server: an answer has begun already, and it ends the connection
                await answer_problem(send, failed)


def _where(error: BaseException) -> str:
    """`file:line` of the innermost frame: enough to find the bug, without the locals that would hold an event."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if trace else "unknown"
