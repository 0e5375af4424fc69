"""How much of the event loop deliveries take while the intake is busy."""

from __future__ import annotations

import asyncio
import time

import pytest

from ebbgate.deliver import pace as pace_module
from ebbgate.deliver.pace import LOOK_S, MOST_S, SHARE, Pace


class Hand:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every round of the event loop counts as a long one, but where a test says otherwise."""
    monkeypatch.setattr(pace_module, "CROWDED_S", 0.0)


async def waits(pace: Pace) -> bool:
    """True when a turn does not come within a few rounds of the event loop."""
    turn = asyncio.ensure_future(pace.turn())
    for _ in range(5):
        await asyncio.sleep(0)
    waiting = not turn.done()
    turn.cancel()
    return waiting


async def test_without_requests_nothing_waits() -> None:
    """While the intake is not busy a delivery has its turn at once, whatever was spent."""
    pace = Pace(lambda: False)
    pace.spent(60)
    assert not await waits(pace)


async def test_what_was_spent_is_paid_for_with_a_pause() -> None:
    """After ten milliseconds of work the next turn comes when a tenth is the deliveries' share, not earlier."""
    clock = Hand()
    pace = Pace(lambda: True, clock=clock)
    assert not await waits(pace)
    pace.spent(0.01)
    pace.spent(0.01)
    due = 100.0 + 0.02 * (1 / SHARE - 1)
    clock.now = due - 0.001
    assert await waits(pace)
    clock.now = due + 0.001
    assert not await waits(pace)


async def test_a_pause_is_bounded() -> None:
    """One step that took very long does not stop deliveries for minutes."""
    clock = Hand()
    pace = Pace(lambda: True, clock=clock)
    pace.spent(3600)
    clock.now += MOST_S + 0.001
    assert not await waits(pace)


async def test_the_pause_ends_with_the_rush() -> None:
    """When no request waits any more, a delivery that is in its pause goes on."""
    busy = True
    pace = Pace(lambda: busy)
    pace.spent(0.2)
    turn = asyncio.ensure_future(pace.turn())
    await asyncio.sleep(LOOK_S / 2)
    assert not turn.done()
    busy = False
    await asyncio.wait_for(turn, MOST_S / 2)


async def test_a_loop_with_time_to_spare_pauses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that wait for the disk leave the loop to deliveries; requests that fill each round do not."""
    monkeypatch.setattr(pace_module, "CROWDED_S", 0.05)
    pace = Pace(lambda: True)
    pace.spent(60)
    await asyncio.wait_for(pace.turn(), MOST_S / 2)
    full = True

    async def fill() -> None:
        while full:
            time.sleep(0.06)  # noqa: ASYNC251  a round of the loop that takes long is what the test is about
            await asyncio.sleep(0)

    filling = asyncio.ensure_future(fill())
    pace.spent(60)
    turn = asyncio.ensure_future(pace.turn())
    for _ in range(6):
        await asyncio.sleep(0)
    assert not turn.done()
    full = False
    await filling
    await asyncio.wait_for(turn, 30)


async def test_only_work_is_counted_not_waiting() -> None:
    """What is awaited costs nothing; what runs on the loop does; result, error and cancellation pass through."""
    taken: list[float] = []
    pace = Pace(lambda: True)
    pace.spent = taken.append  # type: ignore[assignment,method-assign]  # what it does is tested above

    async def work(value: str) -> str:
        await asyncio.sleep(1)
        until = time.perf_counter() + 0.02
        while time.perf_counter() < until:
            pass
        if value == "bad":
            raise ValueError(value)
        return value

    assert await pace.timed(work("good")) == "good"
    assert 0.02 <= sum(taken) < 1
    with pytest.raises(ValueError, match="bad"):
        await pace.timed(work("bad"))
    task = asyncio.ensure_future(pace.timed(work("never")))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
