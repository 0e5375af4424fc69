"""An answer in one piece is, on the wire, the answer that uvicorn writes in two messages."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ebbgate.edge import whole
from ebbgate.edge.problems import JSON, answer
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


def test_of_answers_only_what_is_the_same_for_all_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cookie and no word of a request is kept, and however many origins there are, the memory is bounded."""
    monkeypatch.setattr(whole, "_heads", kept := dict[Any, bytes]())
    assert b"set-cookie: ebb_id=1\r\n" in whole._head(200, [], [JSON, (b"set-cookie", b"ebb_id=1")])
    assert b"x-told: 1\r\n" in whole._head(200, [], [(b"x-told", b"1")])
    assert kept == {}
    for number in range(1000):
        origin = b"https://%d.example" % number
        for _ in range(2):
            assert b"access-control-allow-origin: " + origin in whole._head(
                200, [], [JSON, (b"access-control-allow-origin", origin)]
            )
        assert (200, JSON, (b"access-control-allow-origin", origin)) in kept
    assert len(kept) == 256
    for status in (200, 202):
        assert whole._head(status, [], [JSON]).startswith(b"HTTP/1.1 %d " % status)


def test_what_breaks_its_line_is_refused_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered that was not looked at, and a header of the server's own is looked at too."""
    monkeypatch.setattr(whole, "_heads", {})
    for _ in range(2):
        with pytest.raises(RuntimeError, match="breaks its line"):
            whole._head(200, [], [(b"content-type", b"a\nb")])
        with pytest.raises(RuntimeError, match="breaks its line"):
            whole._head(200, [(b"date", b"a\nb")], [])


def test_the_date_is_the_one_of_now() -> None:
    """The server makes a new list of its headers each second: an answer tells what stands there now."""
    first, second = [(b"date", b"1")], [(b"date", b"2")]
    for server in (first, first, second, second, first):
        told = whole._head(200, server, [JSON])
        assert told.count(b"date: ") == 1
        assert b"\r\ndate: " + server[0][1] + b"\r\n" in told


async def test_an_answer_waits_while_the_client_does_not_read() -> None:
    """Nothing is written into a full buffer: the answer is there when there is room, once; a client that went gets none."""
    written: list[bytes] = []
    room = asyncio.Event()
    cycle = SimpleNamespace(
        flow=SimpleNamespace(write_paused=True, drain=room.wait), disconnected=False, response_started=False, default_headers=[],
        keep_alive=True, scope={"method": "GET"}, transport=SimpleNamespace(write=written.append), event=None, on_response=lambda: None,
    )  # fmt: skip
    sending = asyncio.ensure_future(cast(Any, whole.Answering(cast(Any, cycle)).whole(200, HEADERS, b"{}")))
    await asyncio.sleep(0)
    assert written == []
    cycle.flow.write_paused = False
    room.set()
    await sending
    assert len(written) == 1
    assert written[0].endswith(b"\r\n\r\n{}")
    cycle.flow.write_paused, cycle.disconnected = True, True
    await whole.Answering(cast(Any, cycle)).whole(200, HEADERS, b"{}")
    assert len(written) == 1
