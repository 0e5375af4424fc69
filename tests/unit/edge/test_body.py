"""Bodies: read within bounds of size and time, whether they come at once, in pieces, late or never."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from ebbgate.edge.body import Body, ClientGone
from ebbgate.edge.problems import Message
from ebbgate.errors import RequestError


class Pieces:
    """A server's `receive`: gives its messages one after the other, each after so many seconds; then it is silent."""

    def __init__(self, messages: Iterable[tuple[float, Message]]) -> None:
        self._messages = list(messages)
        self.cancelled = False

    async def __call__(self) -> Message:
        if not self._messages:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
        wait_s, message = self._messages.pop(0)
        if wait_s:
            await asyncio.sleep(wait_s)
        return message


def piece(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_that_is_there_costs_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrived with its head is read without a timeout being set up."""
    monkeypatch.setattr(asyncio, "timeout", None)
    assert await Body(Pieces([(0, piece(b"{}"))])).read(max_bytes=10, timeout_s=1) == b"{}"


async def test_a_body_in_pieces_is_joined() -> None:
    """Pieces that come at once and pieces that come later make one body."""
    pieces = Pieces([(0, piece(b"a", more=True)), (0.01, piece(b"b", more=True)), (0, piece(b"c"))])
    assert await Body(pieces).read(max_bytes=10, timeout_s=1) == b"abc"


@pytest.mark.parametrize("first", [[], [(0, piece(b"a", more=True))], [(0.01, piece(b"a", more=True))]])
async def test_a_body_that_does_not_come_ends_in_408(first: list[tuple[float, Message]]) -> None:
    """From the start or in the middle: after the time allowed the wait is given up, and whoever waited is told."""
    pieces = Pieces(first)
    with pytest.raises(RequestError) as error:
        await Body(pieces).read(max_bytes=10, timeout_s=0.05)
    assert (error.value.status, error.value.code) == (408, "slow_body")
    assert pieces.cancelled


async def test_all_pieces_together_have_one_deadline() -> None:
    """A body that drips never lasts longer than one timeout."""
    pieces = Pieces([(0.03, piece(b"a", more=True)) for _ in range(100)])
    with pytest.raises(RequestError, match="too long"):
        await asyncio.wait_for(Body(pieces).read(max_bytes=1000, timeout_s=0.1), 1)


@pytest.mark.parametrize("more", [True, False])
async def test_a_body_over_the_bound_is_413(more: bool) -> None:
    """In one piece or in several, what is too large is refused."""
    pieces = Pieces([(0, piece(b"123456", more=more)), (0, piece(b"789012"))])
    with pytest.raises(RequestError) as error:
        await Body(pieces).read(max_bytes=5, timeout_s=1)
    assert error.value.status == 413


@pytest.mark.parametrize("wait_s", [0, 0.01])
async def test_a_client_that_goes_is_told_apart(wait_s: float) -> None:
    """A connection that closes before its body is complete gets no answer and is no error."""
    pieces = Pieces([(0, piece(b"a", more=True)), (wait_s, {"type": "http.disconnect"})])
    with pytest.raises(ClientGone):
        await Body(pieces).read(max_bytes=5, timeout_s=1)


async def test_a_cancelled_request_stays_cancelled() -> None:
    """When the server stops, a request that waits for its body ends at once, and so does what it waited for."""
    pieces = Pieces([])
    task = asyncio.create_task(Body(pieces).read(max_bytes=5, timeout_s=10))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pieces.cancelled
