"""A whole body, and a whole answer, in one piece: uvicorn's own way takes several messages and checks each header of each answer.

That is a tenth of what a small request costs. What is written here is what it would write; `body.Body` and `problems.answer` ask
for it, and do without where the server is another.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Generator, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from ebbgate.edge.problems import BASE_HEADERS, Message, Scope

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


#: Headers whose values are the same for everybody, so that lines made of them may be kept.
_SAME_FOR_ALL: Final = frozenset({
    b"access-control-allow-credentials", b"access-control-allow-headers", b"access-control-allow-methods",
    b"access-control-allow-origin", b"access-control-max-age", b"allow", b"content-type", b"www-authenticate",
})  # fmt: skip
_KEPT: Final = 256
#: (status, *headers) → all of an answer's head that does not change from one to the next.
_heads: dict[tuple[object, ...], bytes] = {}
#: The server's own headers, the date among them: it makes a new list each second.
_servers: tuple[Sequence[tuple[bytes, bytes]], bytes] = ((), b"")


class Exchange(RequestResponseCycle):
    """One request and its answer: uvicorn's, but that less is made for it. An event for who waits is made when someone waits."""

    # What is so for each of them, and what few of them ask for, is said once.
    logger = logging.getLogger("uvicorn.error")
    access_logger = logging.getLogger("uvicorn.access")
    access_log = False
    chunked_encoding = None
    expected_content_length = 0
    taken = False  #: the body was, whole

    def __init__(  # all that uvicorn's own does, but for the above
        self,
        scope: Scope,
        transport: asyncio.Transport,
        flow: FlowControl,
        default_headers: list[tuple[bytes, bytes]],
        tasks: set[asyncio.Task[None]],
        on_response: Callable[[], None],
        keep_alive: bool,
        waiting_for_100_continue: bool,
    ) -> None:
        self.scope = scope  # type: ignore[assignment]  # ASGI's scopes are dictionaries here
        self.transport = transport
        self.flow = flow
        self.default_headers = default_headers
        self.tasks = tasks
        self.on_response = on_response
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = waiting_for_100_continue
        self.disconnected = False
        self.more_body = True
        self.body: Any = b""  #: bytes of one piece, a bytearray of several
        self.event: asyncio.Event | None = None
        self.response_started = False
        self.response_complete = False

    @property
    def message_event(self) -> asyncio.Event:  # type: ignore[override]  # nobody sets another
        """Set when there is something to receive."""
        event = self.event
        if event is None:
            event = self.event = asyncio.Event()
            if (self.body or not self.more_body) and not self.taken:
                event.set()
        return event

    def take_in(self, piece: bytes) -> int:
        """Keep a piece of the body. Returns the bytes that wait to be received."""
        if not self.body:
            self.body = piece
        elif type(self.body) is bytes:
            self.body = bytearray(self.body) + piece
        else:
            self.body += piece
        if self.event is not None:
            self.event.set()
        return len(self.body)

    def end_body(self) -> None:
        """No more will come."""
        self.more_body = False
        if self.event is not None:
            self.event.set()

    async def run_asgi(self, app: Any) -> None:
        """Let the app answer. The task that does so ends with it, without a callback in another round of the loop."""
        try:
            await super().run_asgi(lambda scope, *_: app(scope, Receiving(self), Answering(self)))
        finally:
            self.tasks.discard(asyncio.current_task())


class Receiving(msgspec.Struct):
    """The `receive` of one request: ASGI's, and beside it `whole`."""

    cycle: Exchange

    async def __call__(self) -> Message:
        """The next ASGI message."""
        return await self.cycle.receive()  # type: ignore[return-value]  # ASGI's messages are dictionaries here

    def whole(self) -> bytes | None:
        """The body, where all of it is in already and none was taken; else None, and nothing has changed."""
        cycle = self.cycle
        if cycle.more_body or cycle.disconnected or cycle.response_started or cycle.waiting_for_100_continue or not cycle.body:
            return None
        body = bytes(cycle.body)
        cycle.body = b""
        cycle.taken = True
        cycle.flow.resume_reading()
        if cycle.event is not None:
            cycle.event.clear()
        return body


class _Done:
    """What is awaited of what is done."""

    def __await__(self) -> Generator[Any, Any, None]:
        return iter(())  # type: ignore[return-value]  # as good as a generator that yields nothing


_DONE: Final = _Done()


class Answering(msgspec.Struct):
    """The `send` of one request: ASGI's, and beside it `whole`."""

    cycle: Exchange

    async def __call__(self, message: Message) -> None:
        """Send one ASGI message."""
        await self.cycle.send(message)  # type: ignore[arg-type]  # ASGI's messages are dictionaries here

    def whole(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> Awaitable[None]:
        """Send all of an answer. Names of headers are lower-case and not `connection`; raises RuntimeError for a second answer."""
        cycle = self.cycle
        if cycle.flow.write_paused and not cycle.disconnected:
            return self._later(status, headers, body)
        if cycle.disconnected:
            return _DONE
        if cycle.response_started:
            raise RuntimeError("an answer to this request was begun already")
        parts = [_head(status, cycle.default_headers, headers)]
        if status not in _NO_BODY:
            parts.append(b"content-length: %d\r\n" % len(body))
        parts.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        if status not in _NO_BODY and cycle.scope["method"] != "HEAD":
            parts.append(body)
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(b"".join(parts))
        if cycle.event is not None:
            cycle.event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        return _DONE

    async def _later(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        await self.cycle.flow.drain()
        await self.whole(status, headers, body)


def _head(status: int, server: Sequence[tuple[bytes, bytes]], headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Status line and headers up to the length. Raises RuntimeError for a value that would end its line."""
    global _servers
    if _servers[0] is not server:
        _servers = (server, _lines(server))
    key = (status, *headers)
    found = _heads.get(key)
    if found is None:
        found = _BEGINNINGS[status] + _lines(headers)
        if all(name in _SAME_FOR_ALL for name, _ in headers):
            while len(_heads) >= _KEPT:
                del _heads[next(iter(_heads))]
            _heads[key] = found
    return found + _servers[1]


def _lines(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    if any(_FORBIDDEN.search(value) for _, value in headers):
        raise RuntimeError("a header's value breaks its line")
    return b"".join([name + b": " + value + b"\r\n" for name, value in headers])
