"""One reading of every message: what two programs could read in two ways is refused, and trailers are never headers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ebbgate.edge import serving
from ebbgate.edge.problems import answer
from ebbgate.edge.protocol import MAX_WAITING
from ebbgate.edge.serving import address, connections_allowed, listen, served

BODY = b'{"a":1}'
CHUNKED = b"transfer-encoding: chunked\r\n"
IN_CHUNKS = b"7\r\n" + BODY + b"\r\n0\r\n\r\n"


def post(
    head: bytes = b"", body: bytes = BODY, *, length: bool = True, version: bytes = b"1.1", host: bytes = b"host: x\r\n"
) -> bytes:
    sized = b"content-length: %d\r\n" % len(body) if length else b""
    return b"POST /echo HTTP/" + version + b"\r\n" + host + head + sized + b"\r\n" + body


class Echo:
    """Answers with what it saw; `/slow` waits for `go`, `/blind` answers without reading."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = 0
        self.connections: set[Any] = set()  #: the server's own

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.begun += 1
        if scope["path"] == "/slow":
            await self.go.wait()
        body, more = b"", scope["path"] != "/blind"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
        names = sorted(name.decode() for name, _ in scope["headers"])
        said = {"path": scope["path"], "body": body.decode("latin-1"), "headers": names, "method": scope["method"]}
        await answer(send, 200, json.dumps(said).encode())


@asynccontextmanager
async def running(**figures: Any) -> AsyncIterator[tuple[int, Echo]]:
    echo = Echo()
    sock = listen("127.0.0.1", 0, what="test")
    async with served(echo, sock, **figures) as server:
        echo.connections = server.server_state.connections
        yield int(address(sock).rpartition(":")[2]), echo


class Line:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """The next answer on it."""
        async with asyncio.timeout(20):
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            body = await self._reader.readexactly(int(length[1])) if length else b"{}"
        return int(head.split()[1]), json.loads(body)

    async def ends(self) -> bytes:
        """What else is said until the other side closes."""
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionError):
                return await self._reader.read()
        return b""


@asynccontextmanager
async def line(port: int, *pieces: bytes) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
        yield Line(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


REFUSED: dict[str, tuple[bytes, int, str]] = {
    "length and chunks": (post(CHUNKED, IN_CHUNKS), 400, "http_malformed"),
    "two lengths": (post(b"content-length: 1\r\n"), 400, "http_malformed"),
    "two equal lengths": (post(b"content-length: 7\r\n"), 400, "http_malformed"),
    "length with a sign": (post(b"content-length: +7\r\n", length=False), 400, "http_malformed"),
    "length as a list": (post(b"content-length: 7, 7\r\n", length=False), 400, "http_malformed"),
    "blank before the colon": (post(b"transfer-encoding : chunked\r\n", IN_CHUNKS, length=False), 400, "http_malformed"),
    "folded header": (post(b"x: a\r\n b\r\n"), 400, "http_malformed"),
    "bare line feeds": (post().replace(b"\r\n", b"\n"), 400, "http_malformed"),
    "NUL in a header": (post(b"x: a\0b\r\n"), 400, "http_malformed"),
    "bytes in the path": (b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n", 400, "http_malformed"),
    "unknown method": (b"FOO / HTTP/1.1\r\nhost: x\r\n\r\n", 400, "http_malformed"),
    "tunnel": (b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nhost: x\r\n\r\n", 400, "http_malformed"),
    "chunk of no size": (post(CHUNKED, b"x\r\n", length=False), 400, "http_malformed"),
    "endless chunk": (post(CHUNKED, b"F" * 20 + b"\r\n", length=False), 400, "http_malformed"),
    "coding before chunked": (post(b"transfer-encoding: gzip, chunked\r\n", IN_CHUNKS, length=False), 400, "transfer_coding"),
    "identity before chunked": (post(b"transfer-encoding: identity, chunked\r\n", IN_CHUNKS, length=False), 400, "transfer_coding"),
    "codings in two lines": (post(b"transfer-encoding: gzip\r\n" + CHUNKED, IN_CHUNKS, length=False), 400, "transfer_coding"),
    "coding of its own": (post(b"transfer-encoding: xchunked\r\n", IN_CHUNKS, length=False), 400, "transfer_coding"),
    "coding in 1.0": (post(CHUNKED, IN_CHUNKS, length=False, version=b"1.0"), 400, "transfer_coding"),
    "no host": (post(host=b""), 400, "host"),
    "two hosts": (post(host=b"host: a\r\nhost: b\r\n"), 400, "host"),
    "two hosts in 1.0": (post(host=b"host: a\r\nhost: b\r\n", version=b"1.0"), 400, "host"),
    "HTTP/0.9": (b"GET /\r\n\r\n", 505, "http_version"),
    "HTTP/2.0": (post(version=b"2.0"), 505, "http_version"),
}


#: Their heads were good: the app has begun and waits for a body in vain.
BROKEN_IN_THE_BODY = {"chunk of no size", "endless chunk"}


async def test_what_has_two_readings_is_refused() -> None:
    """Each gets one problem JSON with its own code, the connection ends, and neither it nor what follows it reaches the app."""
    async with running() as (port, echo):
        for name, (raw, status, code) in REFUSED.items():
            before = echo.begun
            async with line(port, raw + post()) as spoken:
                got, problem = await spoken.answer()
                assert (name, got, problem["code"]) == (name, status, code)
                assert problem["hint"]
                assert await spoken.ends() == b"", name
                assert echo.begun - before == (name in BROKEN_IN_THE_BODY), name


async def test_trailers_are_never_headers() -> None:
    """A trailer cannot add an origin, a forwarded address or a key after a proxy has removed the visitor's own."""
    trailers = b"X-Forwarded-For: 6.6.6.6\r\nOrigin: https://shop.example\r\nAuthorization: Bearer x\r\n"
    async with running() as (port, _), line(port, post(CHUNKED, IN_CHUNKS[:-2] + trailers + b"\r\n", length=False)) as spoken:
        status, seen = await spoken.answer()
        assert (status, seen["body"]) == (200, BODY.decode())
        assert seen["headers"] == ["host", "transfer-encoding"]
        spoken.writer.write(post())
        assert (await spoken.answer())[1]["headers"] == ["content-length", "host"]


async def test_an_offer_of_another_protocol_is_declined_and_the_body_kept() -> None:
    """Java's client offers h2c with its first POST: it is answered in HTTP/1.1, with its body, and the connection goes on."""
    async with running() as (port, _):
        for offer in (b"h2c", b"websocket", b"foo/1"):
            head = b"Connection: keep-alive, Upgrade, HTTP2-Settings\r\nUpgrade: " + offer + b"\r\nHTTP2-Settings: AAMAAABk\r\n"
            async with line(port, post(head), post(CHUNKED + head, IN_CHUNKS, length=False), post()) as spoken:
                for names in ("connection content-length host", "connection host transfer-encoding", "content-length host"):
                    status, seen = await spoken.answer()
                    assert (status, seen["body"], " ".join(seen["headers"])) == (200, BODY.decode(), names)


async def test_thousands_of_offers_in_one_piece_are_just_requests() -> None:
    """No depth of calls follows from how many offers a sender puts into one piece."""
    offers = b"GET /n HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n" * 1500
    async with running() as (port, _), line(port, offers) as spoken:
        assert {(await spoken.answer())[0] for _ in range(1 + MAX_WAITING)} == {200}
        assert await spoken.ends() == b""


async def test_a_refusal_never_stands_between_the_bytes_of_another_answer() -> None:
    """While a request is worked on, what follows it may be broken: its own answer comes first, whole, and is the last one."""
    for broken in (b"\0\0\0", post(host=b""), b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 150):
        async with running() as (port, echo), line(port, b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n" + broken) as spoken:
            while not echo.begun:
                await asyncio.sleep(0.001)
            echo.go.set()
            assert await spoken.answer() == (200, {"path": "/slow", "body": "", "headers": ["host"], "method": "GET"})
            assert await spoken.ends() == b""
            assert echo.begun == 1


async def test_a_slow_head_behind_a_slow_answer_waits_for_it() -> None:
    """The time for the next head may run out while an answer is being made: the answer is not replaced by a 408."""
    async with (
        running(head_timeout_s=0.05) as (port, echo),
        line(port, b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n" + b"GET / HTTP/1.1\r\nx:") as spoken,
    ):
        while not echo.begun:
            await asyncio.sleep(0.001)
        while not next(iter(echo.connections))._refused:  # until the head's time has run out
            await asyncio.sleep(0.01)
        echo.go.set()
        assert (await spoken.answer())[0] == 200
        assert await spoken.ends() == b""


async def test_who_drips_a_body_after_the_answer_is_let_go() -> None:
    """A body that nobody waits for holds no connection, however steadily it drips."""
    async with (
        running(head_timeout_s=0.2) as (port, _),
        line(port, b"POST /blind HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n") as spoken,
    ):
        assert (await spoken.answer())[0] == 200
        ended = asyncio.ensure_future(spoken.ends())
        for _ in range(2000):
            if ended.done():
                break
            with contextlib.suppress(ConnectionError):
                spoken.writer.write(b"x")
            await asyncio.sleep(0.01)
        assert await ended == b""


async def test_a_body_that_comes_after_the_answer_keeps_the_connection() -> None:
    """Who sends the rest in time may go on: no clock runs any more."""
    async with (
        running(head_timeout_s=60) as (port, echo),
        line(port, b"POST /blind HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n") as spoken,
    ):
        assert (await spoken.answer())[0] == 200
        (connection,) = echo.connections
        assert connection._timer is not None
        spoken.writer.write(b"abcd")
        while connection._timer is not None:
            await asyncio.sleep(0.01)
        spoken.writer.write(post())
        assert (await spoken.answer())[0] == 200


async def test_all_connections_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many addresses there are, file handles for the store and for deliveries are left."""
    monkeypatch.setattr(serving, "connections_allowed", lambda: 2)
    async with running(exempt=lambda _: True) as (port, _), line(port) as first, line(port) as second:
        for held in (first, second):
            held.writer.write(post())
            assert (await held.answer())[0] == 200
        async with line(port, post()) as third:
            assert await third.ends() == b""


def test_the_bound_leaves_handles_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of open files is raised as far as the system lets it, and some hundreds stay for the rest of the gateway."""
    for soft, hard, want, left in (
        (1024, 4096, 4096, 512),
        (1024, 1024, None, 512),
        (256, 256, None, 128),
        (1024, resource.RLIM_INFINITY, 65_536, 512),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None, 512),
    ):
        asked: list[tuple[int, int]] = []
        monkeypatch.setattr(resource, "getrlimit", lambda _, found=(soft, hard): found)
        monkeypatch.setattr(resource, "setrlimit", lambda _, limits, into=asked: into.append(limits))
        files = want or (65_536 if soft == resource.RLIM_INFINITY else soft)
        assert connections_allowed() == files - left
        assert asked == ([(want, hard)] if want else [])
