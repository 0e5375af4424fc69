"""uvicorn's HTTP protocol with bounds and strictness of our own: a head has to come in time, in size and in one reading.

Out of the box a connection that drips its headers is held for ever and a head may grow without end (specs/reliability.md §0.8,
§4.20); trailers count as headers, so that a visitor writes what the proxy removed; two Hosts, none, or codings besides `chunked`
are taken; and what the parser refuses is answered between the bytes of an answer under way. A head that arrives in one piece, as
all honest ones do, costs no timer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ebbgate.edge.problems import problem
from ebbgate.edge.whole import Answering, Receiving
from ebbgate.errors import RequestError

MAX_HEAD_BYTES: Final = 32 * 1024
MAX_HEADERS: Final = 100
_OFFERS: Final = frozenset({b"upgrade", b"http2-settings"})


def _refusal(status: int, code: str, message: str, hint: str) -> bytes:
    """A whole answer that is the last one of its connection."""
    _, body, headers = problem(RequestError(message, status=status, code=code, hint=hint))
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode(), *(name + b": " + value for name, value in headers)]
    lines += [b"cache-control: no-store", b"content-length: %d" % len(body), b"connection: close"]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


_MALFORMED: Final = _refusal(400, "http_malformed", "this is not HTTP/1.1", "some proxy or client breaks the message")
_HOST: Final = _refusal(400, "host", "the request does not name one host", "send one Host header")
_CODING: Final = _refusal(400, "transfer_coding", "the only transfer coding is chunked", "send a Content-Length")
_SLOW_HEAD: Final = _refusal(408, "slow_head", "the head took too long", "send it in one go")
_BIG_HEAD: Final = _refusal(
    431, "head_too_big", f"the head has more than {MAX_HEADERS} lines or {MAX_HEAD_BYTES} bytes", "send fewer cookies"
)
_VERSION: Final = _refusal(505, "http_version", "HTTP/1.1 and HTTP/1.0 are spoken here", "put a proxy before it for others")


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `bounded()` makes subclasses with figures."""

    head_timeout_s: float = 5.0
    max_per_address: int = 200
    max_connections: int = 65_536
    exempt: Callable[[str], bool] = staticmethod(lambda _: False)
    open_connections: ClassVar[Counter[str]] = Counter()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._in_message = False  #: a head was taken whose body has not come to its end
        self._refused = False  #: nothing more is read
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._address = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Count the connection; one too many, of an address or of all, is closed at once."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self.open_connections[self._address] += 1
        crowded = self.open_connections[self._address] > self.max_per_address and not self.exempt(self._address)
        if crowded or len(self.connections) > self.max_connections:
            transport.abort()
            return
        self._start_timer(self._slow_head)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._stop_timer()
        self.open_connections[self._address] -= 1
        if self.open_connections[self._address] <= 0:
            del self.open_connections[self._address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; a head that is not complete afterwards runs against the clock."""
        if self._refused:
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self._head_ends(data):
                self._refuse(_BIG_HEAD)
                return
        self._feed(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes = self._head_bytes or len(data)  # the next head of a kept connection began in this piece
            if self._timer is None:
                self._start_timer(self._slow_head)

    def _feed(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        while data and not self._refused:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserError:
                self._refuse(_MALFORMED)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._without_offer() + data[upgrade.args[0] :]

    def _without_offer(self) -> bytes:
        """The head again without its offer of another protocol, for a fresh parser: this one would throw the body away.

        An offer is declined by answering in HTTP/1.1 (RFC 9110 §7.8). Java's own client makes one with every first request.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(_MALFORMED)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
        head = [method + b" " + self.url + b" HTTP/1.1"]
        for name, value in self.headers:
            if name == b"connection":
                value = b",".join(part for part in value.split(b",") if part.strip().lower() not in _OFFERS)
            if name not in _OFFERS:
                head.append(name + b": " + value)
        return b"\r\n".join(head) + b"\r\n\r\n"

    def on_message_begin(self) -> None:
        """A new head begins."""
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Refuse the header after the last allowed one. Trailers are dropped: they must not be taken for headers (RFC 9110 §6.5.1)."""
        if self._in_head:
            if len(self.headers) >= MAX_HEADERS:
                self._refuse(_BIG_HEAD)
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is in: the endpoint's own deadline holds from here."""
        self._in_head = False
        self._head_bytes = 0
        self._stop_timer()
        if self._refused or self.parser.should_upgrade():
            return
        wrong = self._wrong()
        if wrong:
            self._refuse(wrong)
        elif not self.transport.is_closing():
            self._in_message = True
            super().on_headers_complete()

    def _wrong(self) -> bytes:
        """Why this head has more than one reading, or b""."""
        hosts = 0
        coding = b""
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
            elif name == b"transfer-encoding":
                coding = coding + b"," + value if coding else value
        version = self.parser.get_http_version()
        if version != "1.1" and version != "1.0":
            return _VERSION
        if hosts != 1 and (hosts or version == "1.1"):
            return _HOST
        if coding and (coding.lower() != b"chunked" or version == "1.0"):
            return _CODING
        return b""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, lambda scope, *_: app(scope, Receiving(cycle), Answering(cycle)))

    def on_body(self, body: bytes) -> None:
        """A piece of a body that was not refused with its head."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The body has come to its end."""
        self._in_message = False
        if not self._refused and not self.parser.should_upgrade():
            super().on_message_complete()
            if self.cycle.response_complete:
                self._stop_timer()

    def on_response_complete(self) -> None:
        """The answer is out. What is still missing of the request has a moment to come: nobody waits for it."""
        super().on_response_complete()
        if self._in_message and self.cycle.response_complete and not self.transport.is_closing():
            self._start_timer(self.transport.close)

    def send_400_response(self, msg: str) -> None:
        """What the parser refuses, as problem JSON."""
        self._refuse(_MALFORMED)

    def _head_ends(self, data: bytes) -> bool:
        # A large first chunk is mostly body when the head is complete within it and within bounds.
        end = data.find(b"\r\n\r\n")
        return end >= 0 and self._head_bytes - len(data) + end <= MAX_HEAD_BYTES

    def _start_timer(self, then: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self.head_timeout_s, then)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _slow_head(self) -> None:
        self._refuse(_SLOW_HEAD)

    def _refuse(self, answer: bytes) -> None:
        """Read nothing more, and say so unless answers to earlier requests are under way: those come first, whole, and end it."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        cycle: Any = self.cycle  # None before the first request, though uvicorn does not say so
        waits_for_body = cycle is not None and cycle.more_body and not cycle.response_started and not self.pipeline
        if cycle is None or cycle.response_complete or waits_for_body:
            self.transport.write(answer)
            self.transport.close()
        else:
            cycle.keep_alive = False
            self.flow.pause_reading()


def bounded(
    *, head_timeout_s: float, max_per_address: int, exempt: Callable[[str], bool], max_connections: int
) -> type[BoundedProtocol]:
    """A protocol class with these figures and a count of its own."""
    return type(
        "Protocol",
        (BoundedProtocol,),
        {
            "head_timeout_s": head_timeout_s,
            "max_per_address": max_per_address,
            "max_connections": max_connections,
            "exempt": staticmethod(exempt),
            "open_connections": Counter(),
        },
    )
