"""A stand-in for a destination: records every request and answers as told. Used by the demo, `ebbgate sink`, tests and the bench.

Raw ASGI on uvicorn, on loopback. What it should answer is a `Script`: a function from the request to a `Reply`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import uvicorn

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True, slots=True, repr=False)
class Received:
    """One request as it came over the wire. Its body may hold personal data: `repr` shows none."""

    number: int  #: 0, 1, 2 … in order of arrival
    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    at_s: float  #: monotonic seconds of the event loop

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """First value of a header, by its lower-case name."""
        return next((v for k, v in self.headers if k == name), None)

    def __repr__(self) -> str:
        return f"Received({self.number}, {self.method} {self.path}, {len(self.body)} bytes)"


@dataclass(frozen=True, slots=True)
class Reply:
    """How to answer one request."""

    status: int = 200
    body: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)
    delay_s: float = 0.0  #: before the answer's first byte
    drip_s: float = 0.0  #: before each single byte of the body
    cut_after: int | None = None  #: close the connection after so many bytes of a longer body
    hang: bool = False  #: never answer

    @classmethod
    def of(cls, status: int, data: object = None, *, retry_after: str | None = None) -> Reply:
        """A status with a JSON body, and perhaps `Retry-After`."""
        headers = (("content-type", "application/json"), *((("retry-after", retry_after),) if retry_after is not None else ()))
        return cls(status, b"" if data is None else json.dumps(data).encode(), headers)


Script: TypeAlias = Callable[[Received], Reply]


def always(reply: Reply) -> Script:
    """The same answer every time."""
    return lambda _: reply


def in_turn(replies: Sequence[Reply], then: Reply | None = None) -> Script:
    """These answers one after another, then `then` for ever (default: 200)."""
    rest = iter(replies)
    last = then or Reply()
    return lambda _: next(rest, last)


def poison(spoilt: Callable[[Received], bool], bad: Reply, good: Reply | None = None) -> Script:
    """`bad` for every request that `spoilt` recognises, else `good` (default: 200)."""
    fine = good or Reply()
    return lambda received: bad if spoilt(received) else fine


class RecordingSink:
    """The ASGI app: keeps what it gets in `requests`, in order, and answers by `script`.

    `most` bounds what is kept in memory: the oldest requests go first (0: keep only the count).
    """

    def __init__(
        self, script: Script | None = None, *, most: int = 100_000, on_request: Callable[[Received], None] | None = None
    ) -> None:
        self.script: Script = script or always(Reply())
        self.requests: list[Received] = []
        self.count = 0
        self.port = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self._most = most
        self.on_request = on_request
        self._changed = asyncio.Condition()

    @property
    def url(self) -> str:
        """Address of the sink once it serves."""
        return f"http://127.0.0.1:{self.port}"

    async def wait_for(self, n: int, timeout_s: float | None = 10.0) -> None:
        """Until at least `n` requests have arrived; None waits for ever. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: self.count >= n)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] != "http":
            return
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self._answer(scope, receive, send)
        finally:
            self.in_flight -= 1

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        if body is None:
            return  # the sender went away before its request was whole
        received = Received(
            self.count,
            scope["method"],
            scope["path"],
            scope["query_string"].decode("latin-1"),
            tuple((k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]),
            body,
            asyncio.get_running_loop().time(),
        )
        self.count += 1
        self.requests.append(received)
        if len(self.requests) > self._most:
            del self.requests[0]
        if self.on_request is not None:
            self.on_request(received)
        reply = self.script(received)
        async with self._changed:
            self._changed.notify_all()
        await _reply(reply, receive, send)

    @contextlib.asynccontextmanager
    async def serve(self, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[RecordingSink]:
        """Serve on `host`; port 0 takes a free one, found in `port` and `url` afterwards."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(128)
            self.port = int(listener.getsockname()[1])
            server = _Server(
                uvicorn.Config(
                    self,
                    access_log=False,
                    log_config=None,
                    log_level="critical",
                    lifespan="off",
                    timeout_graceful_shutdown=1,
                    timeout_keep_alive=120,  # longer than a client on a slow machine hesitates before it uses a connection again
                )
            )
            task = asyncio.create_task(server.serve(sockets=[listener]), name="sink")
            try:
                await server.serving.wait()
                yield self
            finally:
                server.should_exit = server.force_exit = True
                server.leaving.set()
                await task


class _Server(uvicorn.Server):
    """A server inside a larger program: signals are not its business."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = asyncio.Event()
        self.leaving = asyncio.Event()

    async def main_loop(self) -> None:
        await self.leaving.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serving.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _body(receive: Receive) -> bytes | None:
    parts = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _reply(reply: Reply, receive: Receive, send: Send) -> None:
    if reply.hang:
        while (await receive())["type"] != "http.disconnect":
            continue
        return
    if reply.delay_s:
        await asyncio.sleep(reply.delay_s)
    headers = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in reply.headers]
    headers.append((b"content-length", str(len(reply.body)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    if reply.cut_after is not None:
        # Ending early makes uvicorn close the connection in the middle of the body.
        await send({"type": "http.response.body", "body": reply.body[: reply.cut_after], "more_body": True})
    elif reply.drip_s:
        for i in range(len(reply.body)):
            await send({"type": "http.response.body", "body": reply.body[i : i + 1], "more_body": True})
            await asyncio.sleep(reply.drip_s)
        await send({"type": "http.response.body", "body": b""})
    else:
        await send({"type": "http.response.body", "body": reply.body})
