"""What a connection keeps from one request to the next, and what it does not: its time, its task, its target, its body."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebbgate.edge.problems import answer
from ebbgate.edge.protocol import MAX_HEADERS, MAX_WAITING, _target
from ebbgate.edge.serving import address, listen, served
from tests.unit.edge.test_protocol_strict import BODY, CHUNKED, IN_CHUNKS, line, post, running

SLOW = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n"


async def until(what: Any) -> None:
    """Wait for a condition of the server's."""
    async with asyncio.timeout(20):
        while not what():
            await asyncio.sleep(0.001)


async def test_who_stays_idle_is_let_go_and_who_does_not_stays() -> None:
    """The time counts from the last answer: the timer set after the first looks again, and closes only when it is over."""
    async with running() as (port, echo), line(port, post(), post()) as spoken:
        await spoken.answer()
        (connection,) = echo.connections
        first = connection.timeout_keep_alive_task
        await spoken.answer()
        assert connection.timeout_keep_alive_task is first  # none is made for each request
        assert 64 < connection._idle_until_s - connection.loop.time() <= 65
        connection.timeout_keep_alive_handler()
        assert not connection.transport.is_closing()
        again = connection.timeout_keep_alive_task
        assert again is not None
        connection._idle_until_s = connection.loop.time() - 0.001
        again.cancel()
        connection.timeout_keep_alive_handler()
        assert connection.transport.is_closing()
        assert connection.timeout_keep_alive_task is None
        assert await spoken.ends() == b""


async def test_a_request_under_way_is_never_idle() -> None:
    """However long an answer takes, and also when the head of its request began before the answer to the one before was out."""
    async with running() as (port, echo), line(port, SLOW + SLOW[:9]) as spoken:
        await until(lambda: echo.begun)
        (connection,) = echo.connections
        echo.go.set()
        await spoken.answer()
        echo.go.clear()
        spoken.writer.write(SLOW[9:])
        await until(lambda: echo.begun == 2)
        assert connection._idle_until_s == 0
        connection.timeout_keep_alive_handler()
        assert not connection.transport.is_closing()
        echo.go.set()
        assert (await spoken.answer())[0] == 200
        assert connection.timeout_keep_alive_task is not None


@pytest.mark.parametrize("torn", [False, True])
async def test_a_timer_does_not_outlive_its_connection(torn: bool) -> None:
    """Connections that come and go, closed or torn off, leave nothing in the event loop."""
    async with running() as (port, echo):
        async with line(port, post()) as spoken:
            await spoken.answer()
            (connection,) = echo.connections
            timer = connection.timeout_keep_alive_task
            if torn:  # a reset in place of an end
                spoken.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await until(lambda: not echo.connections)
        assert timer.cancelled()


async def test_a_task_is_kept_while_it_runs_and_no_longer() -> None:
    """The server waits for what is under way when it stops, and holds nothing of what is done."""
    sock, go = listen("127.0.0.1", 0, what="test"), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, 200, b"{}")
        await go.wait()
        if scope["path"] == "/bad":
            raise ValueError

    async with served(app, sock) as server:
        tasks = server.server_state.tasks
        for path in (b"/", b"/bad"):
            async with line(int(address(sock).rpartition(":")[2]), b"GET " + path + b" HTTP/1.1\r\nhost: x\r\n\r\n") as spoken:
                await spoken.answer()
                assert len(tasks) == 1
                go.set()
                await until(lambda: not tasks)
                go.clear()


async def test_each_request_has_its_own_target() -> None:
    """Path, bytes of the path and query are those of the request, whatever the one before it on the connection asked for."""
    sock, seen = listen("127.0.0.1", 0, what="test"), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["method"], scope["path"], scope["raw_path"], scope["query_string"], scope["http_version"]))
        await answer(send, 200, b"{}")

    targets = [b"/a", b"/a", b"/%C3%BC?x=%20", b"/a?x=1", b"/a", b"/"]
    async with served(app, sock), line(int(address(sock).rpartition(":")[2])) as spoken:
        for target in targets:
            spoken.writer.write(b"GET " + target + b" HTTP/1.1\r\nhost: x\r\n\r\n")
            await spoken.answer()
        spoken.writer.write(b"POST /a HTTP/1.0\r\n\r\n")
        await spoken.answer()
    assert seen == [
        ("GET", "/a", b"/a", b"", "1.1"),
        ("GET", "/a", b"/a", b"", "1.1"),
        ("GET", "/ü", b"/%C3%BC", b"x=%20", "1.1"),
        ("GET", "/a", b"/a", b"x=1", "1.1"),
        ("GET", "/a", b"/a", b"", "1.1"),
        ("GET", "/", b"/", b"", "1.1"),
        ("POST", "/a", b"/a", b"", "1.0"),
    ]


@settings(max_examples=50, deadline=None)
@given(st.text("/?%#abcü é2:@", max_size=12).map(lambda text: b"/" + text.encode()))
def test_a_target_is_taken_apart_as_the_parser_does(url: bytes) -> None:
    """No rule of our own about what a path is."""
    try:
        parsed = httptools.parse_url(url)
        raw = parsed.path.decode("ascii")
    except (httptools.HttpParserInvalidURLError, UnicodeDecodeError):
        with pytest.raises((httptools.HttpParserInvalidURLError, UnicodeDecodeError)):
            _target(url, "")
        return
    given_url, path, raw_path, query = _target(url, "")
    assert (given_url, raw_path, query) == (url, parsed.path, parsed.query or b"")
    assert "%" in raw or path == raw


async def test_a_body_in_pieces_is_whole() -> None:
    """Pieces that come before anyone asks, while someone waits, and more than may wait at once: none is lost, none comes twice."""
    large = b"x" * 200_000
    async with running() as (port, _), line(port, post(b"content-length: 9\r\n", b"", length=False)) as spoken:
        for piece in (b"abc", b"def", b"ghi"):
            spoken.writer.write(piece)
            await asyncio.sleep(0.01)
        assert (await spoken.answer())[1]["body"] == "abcdefghi"
        spoken.writer.write(post(CHUNKED, b"2\r\nab\r\n3\r\ncde\r\n1\r\nf\r\n0\r\n\r\n", length=False))
        assert (await spoken.answer())[1]["body"] == "abcdef"
        spoken.writer.write(post(body=large))
        assert (await spoken.answer())[1]["body"] == large.decode()


async def test_a_body_may_end_after_its_last_piece_was_read() -> None:
    """Who waits for more is told that there is none."""
    async with running() as (port, echo), line(port, post(CHUNKED, IN_CHUNKS[:-5], length=False)) as spoken:
        await until(lambda: echo.begun)
        (connection,) = echo.connections
        await until(lambda: not connection.cycle.body and not connection.cycle.message_event.is_set())
        spoken.writer.write(IN_CHUNKS[-5:])
        assert (await spoken.answer())[1]["body"] == BODY.decode()


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\0\r\n\r\n"])
async def test_a_head_of_too_many_lines_is_refused_unfinished(end: bytes) -> None:
    """Before its end has come, and whatever follows the line that was one too many."""
    lines = b"".join(b"x-%d: 1\r\n" % i for i in range(MAX_HEADERS + 2))
    async with running() as (port, echo), line(port, b"GET / HTTP/1.1\r\nhost: x\r\n" + lines + end) as spoken:
        status, problem = await spoken.answer()
        assert (status, problem["code"]) == (431, "head_too_big")
        assert await spoken.ends() == b""
        assert echo.begun == 0


async def test_only_so_many_requests_wait_on_a_connection() -> None:
    """Who sends without waiting for answers fills no memory: each answer lets more in, and past the bound the last one ends it."""
    one = post(body=b"")
    async with running() as (port, echo), line(port, SLOW + one * 300) as spoken:
        await until(lambda: echo.begun)
        (connection,) = echo.connections
        await until(lambda: connection._refused)
        assert len(connection.pipeline) == MAX_WAITING
        echo.go.set()
        for _ in range(1 + MAX_WAITING):
            assert (await spoken.answer())[0] == 200
        assert await spoken.ends() == b""
        assert echo.begun == 1 + MAX_WAITING


async def test_as_many_as_may_wait_are_answered_again_and_again() -> None:
    """A client that sends within the bound keeps its connection."""
    async with running() as (port, echo), line(port) as spoken:
        for _ in range(3):
            spoken.writer.write(post() * MAX_WAITING)
            for _ in range(MAX_WAITING):
                assert (await spoken.answer())[1]["body"] == BODY.decode()
        assert echo.begun == 3 * MAX_WAITING


async def test_after_a_body_was_taken_whole_nothing_is_received_but_the_end() -> None:
    """Who asks again waits until the client goes: a body never comes twice, and no empty one is made up."""
    sock, got = listen("127.0.0.1", 0, what="test"), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (body := receive.whole()) is None:
            await asyncio.sleep(0.001)
        got.append(body)
        got.append((await receive())["type"])

    async with served(app, sock) as server:
        async with line(int(address(sock).rpartition(":")[2]), post()):
            await until(lambda: got)
            for _ in range(20):
                await asyncio.sleep(0)
            assert got == [b'{"a":1}']
        await until(lambda: not server.server_state.tasks)
    assert got == [b'{"a":1}', "http.disconnect"]
