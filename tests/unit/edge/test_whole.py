"""An answer in one piece is, on the wire, the answer that uvicorn writes in two messages."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ebbgate.edge.problems import answer
from ebbgate.edge.serving import address, listen, served

HEADERS = [(b"content-type", b"application/json"), (b"access-control-allow-origin", b"https://shop.example")]


class Both:
    """Answers in one piece, or below `/two` by messages; `errors` keeps what the server refused."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 200, HEADERS, b'{"a":1}'
        self.errors: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def messages(message: Any) -> None:
            await send(message)

        chosen = messages if scope["path"].startswith("/two") else send
        await receive()
        try:
            await answer(chosen, self.status, self.body, self.headers)
            if scope["path"].endswith("/again"):
                await answer(chosen, 200)
        except RuntimeError as error:
            self.errors.append(str(error))
            if not scope["path"].endswith("/again"):
                await answer(chosen, 500)


@asynccontextmanager
async def running() -> AsyncIterator[tuple[int, Both]]:
    app, sock = Both(), listen("127.0.0.1", 0, what="test")
    async with served(app, sock):
        yield int(address(sock).rpartition(":")[2]), app


async def wire(port: int, request: bytes) -> bytes:
    """All bytes that come back until the server closes or a second request on the connection is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    found = await reader.read()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return found


def lines(answered: bytes) -> tuple[list[bytes], bytes]:
    """Lines of the head in any order but the first, without the second it was written in; and all that follows."""
    head, _, rest = answered.partition(b"\r\n\r\n")
    first, *others = head.split(b"\r\n")
    return [first, *sorted(line for line in others if not line.startswith(b"date:"))], rest


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
@pytest.mark.parametrize("status", [200, 202, 204, 304, 404, 503])
async def test_one_piece_and_two_messages_are_the_same_answer(method: bytes, status: int) -> None:
    """Status line, headers, length, body and the end of the connection do not depend on how an answer is written."""
    async with running() as (port, app):
        app.status, app.body = status, b"" if status in (204, 304) else app.body
        one, two = [
            await wire(port, method + b" " + path + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            for path in (b"/", b"/two")
        ]
    assert one.startswith(b"HTTP/1.1 %d " % status)
    if status == 304:  # which has no body either way; uvicorn tells the length that we give it
        one, two = (text.replace(b"content-length: 0\r\n", b"") for text in (one, two))
    assert lines(one) == lines(two)


async def test_a_kept_connection_goes_on_after_an_answer_in_one_piece() -> None:
    """Requests that follow each other on a connection, also sent at once, are each answered whole and in order."""
    async with running() as (port, _):
        again = b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n"
        last = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        found = await wire(port, again % 1 + again % 2 + last)
    assert found.count(b"HTTP/1.1 200 OK\r\n") == found.count(b'{"a":1}') == 3
    assert found.count(b"connection: close") == 1


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: x=1", b"a\nb", b"a\rb", b"a\x00b", b"\x7f"])
async def test_a_value_that_breaks_its_line_is_not_written(value: bytes) -> None:
    """No value can add a header or end the head: the answer is refused before a byte of it leaves."""
    async with running() as (port, app):
        app.headers = [(b"x-told", value)]
        found = await wire(port, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 500 ")
    assert b"x-told" not in found
    assert app.errors == ["a header's value breaks its line"]


async def test_a_request_is_answered_once() -> None:
    """A second answer to one request is an error, and nothing of it is written."""
    async with running() as (port, app):
        found = await wire(port, b"GET /again HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert found.count(b"HTTP/1.1") == 1
    assert app.errors == ["an answer to this request was begun already"]
