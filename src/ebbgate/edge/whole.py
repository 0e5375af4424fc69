"""A whole body, and a whole answer, in one piece: uvicorn's own way takes several messages and checks each header of each answer.

That is a tenth of what a small request costs. What is written here is what it would write; `body.Body` and `problems.answer` ask
for it, and do without where the server is another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from ebbgate.edge.problems import BASE_HEADERS, Message

#: What no value of a header may hold (RFC 9110 §5.5), the line breaks first: whoever smuggles one in writes headers of its own.
_FORBIDDEN: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NO_BODY: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
#: Status line and the headers of every answer.
_BEGINNINGS: Final = {
    status.value: b"".join([
        f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode(), *(name + b": " + value + b"\r\n" for name, value in BASE_HEADERS)
    ])
    for status in HTTPStatus
}  # fmt: skip


class Receiving:
    """The `receive` of one request: ASGI's, and beside it `whole`."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    async def __call__(self) -> Message:
        """The next ASGI message."""
        return await self._cycle.receive()  # type: ignore[return-value]  # ASGI's messages are dictionaries here

    def whole(self) -> bytes | None:
        """The body, where all of it is in already and none was taken; else None, and nothing has changed."""
        cycle = self._cycle
        if cycle.more_body or cycle.disconnected or cycle.response_started or cycle.waiting_for_100_continue or not cycle.body:
            return None
        body = bytes(cycle.body)
        cycle.body = bytearray()
        cycle.flow.resume_reading()
        cycle.message_event.clear()
        return body


class Answering:
    """The `send` of one request: ASGI's, and beside it `whole`."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    async def __call__(self, message: Message) -> None:
        """Send one ASGI message."""
        await self._cycle.send(message)  # type: ignore[arg-type]  # ASGI's messages are dictionaries here

    async def whole(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        """Send all of an answer. Names of headers are lower-case and not `connection`; raises RuntimeError for a second answer."""
        cycle = self._cycle
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        if cycle.response_started:
            raise RuntimeError("an answer to this request was begun already")
        parts = [_BEGINNINGS[status]]
        for name, value in (*cycle.default_headers, *headers):
            if _FORBIDDEN.search(value):
                raise RuntimeError("a header's value breaks its line")
            parts += (name, b": ", value, b"\r\n")
        if status not in _NO_BODY:
            parts.append(b"content-length: %d\r\n" % len(body))
        parts.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        if status not in _NO_BODY and cycle.scope["method"] != "HEAD":
            parts.append(body)
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(b"".join(parts))
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
