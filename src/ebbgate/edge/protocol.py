"""uvicorn's HTTP protocol with bounds of our own: a head has to come in time and in size, and nobody holds all connections.

Out of the box neither exists: a connection that drips its headers is held for ever and a head may grow without end
(specs/reliability.md §0.8, §4.20). A head that arrives in one piece, as all honest ones do, costs no timer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 32 * 1024
MAX_HEADERS: Final = 100


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `bounded()` makes subclasses with figures."""

    head_timeout_s: float = 5.0
    max_per_address: int = 200
    exempt: Callable[[str], bool] = staticmethod(lambda _: False)
    open_connections: ClassVar[Counter[str]] = Counter()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._address = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Count the connection; one too many of an address is closed at once."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self.open_connections[self._address] += 1
        if self.open_connections[self._address] > self.max_per_address and not self.exempt(self._address):
            transport.abort()
            return
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._stop_timer()
        self.open_connections[self._address] -= 1
        if self.open_connections[self._address] <= 0:
            del self.open_connections[self._address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; a head that is not complete afterwards runs against the clock."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self._head_ends(data):
                self._refuse(b"431 Request Header Fields Too Large")
                return
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes = self._head_bytes or len(data)  # the next head of a kept connection began in this piece
            if self._head_timer is None:
                self._start_timer()

    def on_message_begin(self) -> None:
        """A new head begins."""
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Refuse the header after the last allowed one."""
        if len(self.headers) >= MAX_HEADERS:
            self._refuse(b"431 Request Header Fields Too Large")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is in: the endpoint's own deadline holds from here."""
        self._in_head = False
        self._head_bytes = 0
        self._stop_timer()
        if not self.transport.is_closing():
            super().on_headers_complete()

    def _head_ends(self, data: bytes) -> bool:
        # A large first chunk is mostly body when the head is complete within it and within bounds.
        end = data.find(b"\r\n\r\n")
        return end >= 0 and self._head_bytes - len(data) + end <= MAX_HEAD_BYTES

    def _start_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.head_timeout_s, self._refuse, b"408 Request Timeout")

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self.transport.close()


def bounded(*, head_timeout_s: float, max_per_address: int, exempt: Callable[[str], bool]) -> type[BoundedProtocol]:
    """A protocol class with these figures and a count of its own."""
    return type(
        "Protocol",
        (BoundedProtocol,),
        {
            "head_timeout_s": head_timeout_s,
            "max_per_address": max_per_address,
            "exempt": staticmethod(exempt),
            "open_connections": Counter(),
        },
    )
