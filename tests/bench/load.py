"""A load generator on its own core: keep-alive connections that each send the next request when the last is answered."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import cast

import uvloop


@dataclass(frozen=True, slots=True)
class Load:
    """What to send: a body with `COUNTER` standing for a fresh 12-digit number; `events` of them in one request."""

    port: int
    path: str
    body: bytes
    headers: bytes = b""
    connections: int = 64
    seconds: float = 4.0
    warm_up_s: float = 1.0
    events: int = 1
    expect: bytes = b"202"


@dataclass(frozen=True, slots=True)
class Measured:
    """Events a second, latency in milliseconds, answers that were not as expected, and all answers, those of the warm-up too."""

    events_s: float
    p50_ms: float
    p99_ms: float
    wrong: int
    sent: int
    answered: int = 0


COUNTER = b"@@COUNTER@@"


class _Connection(asyncio.Protocol):
    def __init__(self, request: Callable[[], bytes], expect: bytes, done: Callable[[float, bool], None]) -> None:
        self._request = request
        self._expect = expect
        self._done = done
        self._buffer = b""
        self._started = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without inheriting from it
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        self._started = time.perf_counter()
        self._transport.write(self._request())

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self._buffer.find(b"content-length: ")
        length = int(self._buffer[at + 16 : self._buffer.index(b"\r\n", at)]) if 0 <= at < end else 0
        if len(self._buffer) < end + 4 + length:
            return
        right = self._buffer[9:12] == self._expect
        self._buffer = b""
        self._done(time.perf_counter() - self._started, right)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None


async def _drive(load: Load) -> Measured:
    head = b"POST " + load.path.encode() + b" HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n" + load.headers
    parts = load.body.split(COUNTER)
    number = 0
    salt = os.getpid() * 1_000_000_000 % 10**12

    def request() -> bytes:
        nonlocal number
        pieces = [parts[0]]
        for part in parts[1:]:
            number += 1
            pieces += (b"%012d" % ((salt + number) % 10**12), part)
        body = b"".join(pieces)
        return head + b"content-length: %d\r\n\r\n" % len(body) + body

    latencies: list[float] = []
    wrong = answered = 0
    measuring = False

    def done(seconds: float, right: bool) -> None:
        nonlocal wrong, answered
        answered += 1
        if measuring:
            latencies.append(seconds)
            wrong += not right

    loop = asyncio.get_running_loop()
    transports = []
    for _ in range(load.connections):
        transport, _ = await loop.create_connection(lambda: _Connection(request, load.expect, done), "127.0.0.1", load.port)
        transports.append(transport)
    await asyncio.sleep(load.warm_up_s)
    measuring = True
    started = time.perf_counter()
    await asyncio.sleep(load.seconds)
    measuring = False
    elapsed = time.perf_counter() - started
    for transport in transports:
        transport.abort()
    latencies.sort()
    n = len(latencies)
    if not n:
        return Measured(0, 0, 0, wrong, 0, answered)
    p50, p99 = latencies[n // 2] * 1000, latencies[min(n - 1, n * 99 // 100)] * 1000
    return Measured(n * load.events / elapsed, p50, p99, wrong, n, answered)


def _child(load: Load, core: int, out: Connection) -> None:
    pin(core)
    out.send(uvloop.run(_drive(load)))


def pin(core: int) -> None:
    """Keep this process on one core, where the system lets us choose."""
    if hasattr(os, "sched_setaffinity") and core < (os.cpu_count() or 1):
        os.sched_setaffinity(0, {core})


def run(load: Load, *, core: int = 1) -> Measured:
    """Apply the load from a process of its own."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(load, core, theirs))
    process.start()
    measured = mine.recv()
    process.join()
    assert isinstance(measured, Measured)
    return measured
