from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from ebbgate.edge.problems import answer
from ebbgate.edge.protocol import MAX_HEAD_BYTES, MAX_HEADERS
from ebbgate.edge.serving import address, listen, served

GOOD = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def _hello(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, 200, b"hello")


@asynccontextmanager
async def serving(**figures: Any) -> AsyncIterator[int]:
    sock = listen("127.0.0.1", 0, what="test")
    async with served(_hello, sock, **figures):
        yield int(address(sock).rpartition(":")[2])


async def talk(port: int, *pieces: bytes, patience_s: float = 5) -> bytes:
    """Send the pieces and return everything the server says until it closes or has answered 200."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        said = b""
        async with asyncio.timeout(patience_s):
            while more := await reader.read(4096):
                said += more
                if said.endswith(b"hello"):
                    break
        return said
    except ConnectionError:
        return b""
    finally:
        await hang_up(writer)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def test_answers_an_honest_request() -> None:
    """A whole head is answered, in one piece or in two."""
    async with serving() as port:
        assert b"200 OK" in await talk(port, GOOD)
        assert b"200 OK" in await talk(port, GOOD[:10], GOOD[10:])


async def test_closes_who_says_nothing() -> None:
    """A connection without a head is closed when its time is over."""
    async with serving(head_timeout_s=0.1) as port:
        assert b"408" in await talk(port)


async def test_closes_who_drips_its_head() -> None:
    """The deadline counts from the head's first byte, also on a connection that was honest before."""
    async with serving(head_timeout_s=0.15) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GOOD)
        assert b"200" in await reader.readuntil(b"hello")
        writer.write(b"GET / HTTP/1.1\r\nx: ")
        async with asyncio.timeout(5):
            assert b"408" in await reader.read()
        await hang_up(writer)


async def test_bounds_the_head() -> None:
    """A head over 32 KiB or over 100 headers is refused, in one header or in many, in one piece or in many."""
    async with serving() as port:
        many = b"".join(b"x-%d: 1\r\n" % i for i in range(MAX_HEADERS + 1))
        assert b"431" in await talk(port, b"GET / HTTP/1.1\r\n" + many + b"\r\n")
        assert b"200" not in await talk(port, b"GET / HTTP/1.1\r\nx: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n")
        drip = [b"GET / HTTP/1.1\r\nx: "] + [b"a" * 4096] * 12
        assert b"431" in await talk(port, *drip)


async def test_a_large_body_is_no_large_head() -> None:
    """A body that arrives together with its head does not count as head."""
    async with serving() as port:
        body = b"a" * (MAX_HEAD_BYTES * 2)
        said = await talk(port, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        assert b"200 OK" in said


async def test_bounds_the_connections_of_an_address() -> None:
    """One address gets so many connections and no more; an exempt one is not counted against."""
    async with serving(max_per_address=2) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for reader, writer in held:
            writer.write(GOOD)
            assert b"200" in await reader.readuntil(b"hello")
        assert await talk(port, GOOD) == b""
        for _, writer in held:
            await hang_up(writer)
        async with asyncio.timeout(5):
            while b"200" not in await talk(port, GOOD):  # closing reaches the server a moment later
                await asyncio.sleep(0.01)
    async with serving(max_per_address=1, exempt=lambda a: a == "127.0.0.1") as port:
        first = await asyncio.open_connection("127.0.0.1", port)
        assert b"200" in await talk(port, GOOD)
        await hang_up(first[1])
