"""uvicorn's HTTP protocol with bounds and strictness of our own: a head has to come in time, in size and in one reading.

Out of the box a connection that drips its headers is held for ever and a head may grow without end (specs/reliability.md §0.8,
§4.20); trailers count as headers, so that a visitor writes what the proxy removed; two Hosts, none, or codings besides `chunked`
are taken; and what the parser refuses is answered between the bytes of an answer under way. A head that arrives in one piece, as
all honest ones do, costs no timer.

What each request pays is written out here, where uvicorn asks the parser twice, or keeps what a gateway does not need: websockets,
a limit of concurrency, an access log.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, ClassVar, Final
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ebbgate.edge.problems import problem
from ebbgate.edge.whole import Exchange
from ebbgate.errors import RequestError

MAX_HEAD_BYTES: Final = 32 * 1024
MAX_HEADERS: Final = 100
MAX_WAITING: Final = 64  #: requests behind the one under way: reading goes on with each answer, and each would let thousands in
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

    # Past thirty attributes in its dictionary, CPython 3.11 looks each method of an object up anew: uvicorn has 28.
    __slots__ = ("_address", "_head_bytes", "_idle_until_s", "_in_head", "_in_message", "_refused", "_target", "_timer")

    head_timeout_s: float = 5.0
    max_per_address: int = 200
    max_connections: int = 65_536
    exempt: Callable[[str], bool] = staticmethod(lambda _: False)
    open_connections: ClassVar[Counter[str]] = Counter()
    cycle: Exchange

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._in_message = False  #: a head was taken whose body has not come to its end
        self._refused = False  #: nothing more is read
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._idle_until_s = 0.0  #: of the loop's clock; 0 while a request is under way
        self._address = ""
        #: Of the last request, and what it says: most connections ask for one thing again and again.
        self._target = (b"", "", b"", b"")
        self.headers = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Count the connection; one too many, of an address or of all, is closed at once."""
        super().connection_made(transport)
        self.scope: Any = {  # what all its requests share, and room for what each has of its own
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "headers": None,
            "state": None,
            "method": "",
            "path": "",
            "raw_path": b"",
            "query_string": b"",
        }
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
        self._unset_keepalive_if_required()
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
            if len(self.headers) > MAX_HEADERS:
                self._refuse(_BIG_HEAD)
            elif self._timer is None:
                self._start_timer(self._slow_head)

    def _feed(self, data: bytes) -> None:
        while data and not self._refused:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserError:
                self._refuse(_BIG_HEAD if self._in_head and len(self.headers) > MAX_HEADERS else _MALFORMED)
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
        self._idle_until_s = 0.0
        self.url = b""
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header. Trailers are dropped: they must not be taken for headers (RFC 9110 §6.5.1)."""
        if self._in_head:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is in: the endpoint's own deadline holds from here."""
        self._in_head = False
        self._head_bytes = 0
        self._idle_until_s = 0.0  # the answer before it may have come out since its head began
        if self._timer is not None:
            self._stop_timer()
        if len(self.headers) > MAX_HEADERS:
            self._refuse(_BIG_HEAD)
        if self._refused or self.parser.should_upgrade():
            return
        version = self.parser.get_http_version()
        last_of = dict(self.headers)  # the last value of each: says quickly what is not there, and that nothing is there twice
        wrong = self._wrong(version, last_of)
        if wrong or len(self.pipeline) >= MAX_WAITING:
            self._refuse(wrong)  # with too many waiting, the last of them ends the connection: what follows is sent again
        elif not self.transport.is_closing():
            self._in_message = True
            self._begin(version, b"expect" in last_of)

    def _wrong(self, version: str, last_of: Mapping[bytes, bytes]) -> bytes:
        """Why this head has more than one reading, or b""."""
        if version != "1.1" and version != "1.0":
            return _VERSION
        if b"host" not in last_of:
            if version == "1.1":
                return _HOST
        elif len(last_of) != len(self.headers) and sum([name == b"host" for name, _ in self.headers]) > 1:
            return _HOST
        if b"transfer-encoding" in last_of:
            coding = b""
            for name, value in self.headers:
                if name == b"transfer-encoding":
                    coding = coding + b"," + value if coding else value
            if coding and (coding.lower() != b"chunked" or version == "1.0"):
                return _CODING
        return b""

    def _begin(self, version: str, expects: bool) -> None:
        """Start the request whose head is in, or queue it behind the one under way."""
        if self._target[0] != self.url:
            self._target = _target(self.url, self.root_path)
        scope = self.scope.copy()
        scope["http_version"] = version
        scope["headers"] = self.headers
        scope["state"] = self.app_state.copy()
        scope["method"] = self.parser.get_method().decode("ascii")
        _, scope["path"], scope["raw_path"], scope["query_string"] = self._target
        last: Any = self.cycle  # None before the first request, though uvicorn does not say so
        self.cycle = cycle = Exchange(
            scope,
            self.transport,
            self.flow,
            self.server_state.default_headers,
            self.tasks,
            self.on_response_complete,
            version == "1.1" and self.parser.should_keep_alive(),
            expects and any(name == b"expect" and value.lower() == b"100-continue" for name, value in self.headers),
        )
        if last is None or last.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.tasks.add(self.loop.create_task(cycle.run_asgi(app)))  # which takes itself out again

    def on_body(self, body: bytes) -> None:
        """A piece of a body that was not refused with its head."""
        if not self._refused and not self.cycle.response_complete and self.cycle.take_in(body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        """The body has come to its end."""
        self._in_message = False
        if not self._refused and not self.parser.should_upgrade():
            if self.cycle.response_complete:
                self._stop_timer()
            else:
                self.cycle.end_body()

    def on_response_complete(self) -> None:
        """The answer is out. What is still missing of the request has a moment to come: nobody waits for it."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle_until_s = self.loop.time() + self.timeout_keep_alive
            if self.timeout_keep_alive_task is None:
                self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        if self._in_message and self.cycle.response_complete:
            self._start_timer(self.transport.close)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has been idle for its time. One timer looks again and again: one each request would cost more."""
        self.timeout_keep_alive_task = None
        if not self._idle_until_s:
            return  # the next answer sets the next timer
        left_s = self._idle_until_s - self.loop.time()
        if left_s > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left_s, self.timeout_keep_alive_handler)
        elif not self.transport.is_closing():
            self.transport.close()

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
        cycle: Any = self.cycle  # None before the first request
        waits_for_body = cycle is not None and cycle.more_body and not cycle.response_started and not self.pipeline
        if cycle is None or cycle.response_complete or waits_for_body:
            self.transport.write(answer)
            self.transport.close()
        else:
            cycle.keep_alive = False
            self.flow.pause_reading()


def _target(url: bytes, root_path: str) -> tuple[bytes, str, bytes, bytes]:
    """(target of a request, path, path as sent, query)."""
    parsed = httptools.parse_url(url)
    path = parsed.path.decode("ascii")
    return url, root_path + unquote(path), root_path.encode("ascii") + parsed.path, parsed.query or b""


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
