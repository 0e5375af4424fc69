"""The admin host: health, readiness, metrics and the state of the queues. Bound to loopback unless told otherwise.

Nothing but health is open: everything else wants `Authorization: Bearer <admin token>`, and without a configured token it is shut.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from pydantic import SecretStr
from starlette.routing import Route, Router

from ebbgate.edge.guard import Guard
from ebbgate.edge.problems import JSON, Receive, Scope, Send, answer, answer_problem
from ebbgate.edge.public import Health, not_found
from ebbgate.errors import RequestError
from ebbgate.settings import secret_digest


class Closed:
    """Lets a GET through to `page` when it brings an admin token."""

    def __init__(self, tokens: Sequence[SecretStr], page: Callable[[], Awaitable[tuple[bytes, bytes]]]) -> None:
        self._digests = [bytes.fromhex(secret_digest(t.get_secret_value())) for t in tokens]
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """200, 401 or 405."""
        if scope["method"] not in ("GET", "HEAD"):
            await answer_problem(
                send, RequestError("only GET is answered here", status=HTTPStatus.METHOD_NOT_ALLOWED, code="method")
            )
            return
        if not self._allowed(scope):
            await answer_problem(
                send,
                RequestError(
                    "an admin token is needed", status=HTTPStatus.UNAUTHORIZED, code="admin_token", hint="set admin.tokens"
                ),
            )
            return
        content_type, body = await self._page()
        await answer(send, HTTPStatus.OK, body, [(b"content-type", content_type)])

    def _allowed(self, scope: Scope) -> bool:
        given = next((v for k, v in scope["headers"] if k == b"authorization"), b"")
        scheme, _, token = given.partition(b" ")
        digest = hashlib.sha256(token.strip()).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return scheme.lower() == b"bearer" and any(matches)


def admin_app(
    tokens: Sequence[SecretStr],
    ready: Callable[[], list[str]],
    *,
    metrics: Callable[[], Awaitable[bytes]],
    queues: Callable[[], Awaitable[Any]],
) -> Guard:
    """The ASGI app of the admin host."""

    async def metrics_page() -> tuple[bytes, bytes]:
        return b"text/plain; version=0.0.4; charset=utf-8", await metrics()

    async def queues_page() -> tuple[bytes, bytes]:
        return JSON[1], msgspec.json.encode(await queues())

    router = Router(
        routes=[
            Route("/healthz", endpoint=Health()),
            Route("/readyz", endpoint=Health(ready)),
            Route("/metrics", endpoint=Closed(tokens, metrics_page)),
            Route("/api/v1/queues", endpoint=Closed(tokens, queues_page)),
        ],
        redirect_slashes=False,
        default=not_found,  # type: ignore[arg-type]  # an ASGI app that returns its coroutine
    )
    return Guard(router)
