"""How much of the event loop deliveries take while the intake is busy."""

from __future__ import annotations

import asyncio
import time

import pytest

from ebbgate.deliver import pace as pace_module
from ebbgate.deliver.pace import FULL, LOOK_S, MOST_S, SHARE, STINT_S, WINDOW_S, Pace, Stint


class Hand:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little the process does, it counts as full, but where a test says otherwise."""
    monkeypatch.setattr(pace_module, "FULL", 0.0)


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
    """After twenty milliseconds of work the next turn comes when they are the deliveries' share of the time, not earlier."""
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
    """However much was spent, in one step or in many, the next turn is never further away than the longest pause."""
    clock = Hand()
    pace = Pace(lambda: True, clock=clock)
    for _ in range(50):
        pace.spent(3600)
    clock.now += MOST_S - 0.001
    assert await waits(pace)
    clock.now += 0.002
    assert not await waits(pace)


async def test_turns_come_in_the_order_in_which_they_are_asked_for() -> None:
    """A worker that asks when the pause is over already has its turn after all that have waited through it."""
    clock = Hand()
    pace = Pace(lambda: True, clock=clock)
    turns: list[str] = []

    async def work(name: str) -> None:
        await pace.turn()
        turns.append(name)

    pace.spent(1)
    early = [asyncio.ensure_future(work(name)) for name in ("first", "second")]
    for _ in range(5):
        await asyncio.sleep(0)
    clock.now += MOST_S + 0.001
    await asyncio.wait_for(asyncio.gather(*early, work("late")), 30)
    assert turns == ["first", "second", "late"]


async def test_a_turn_holds_several_pieces_of_work() -> None:
    """Between pieces of work there is a pause only when what the turn holds is used up; each worker counts for itself."""
    clock = Hand()
    pace = Pace(lambda: True, clock=clock)
    one, other = Stint(pace), Stint(pace)
    await one.begin()
    one.spent(STINT_S * 0.7)
    await asyncio.wait_for(one.go_on(), 30)
    going_on = asyncio.ensure_future(other.go_on())  # it has had no turn yet
    for _ in range(5):
        await asyncio.sleep(0)
    assert not going_on.done()
    one.spent(STINT_S * 0.7)
    used_up = asyncio.ensure_future(one.go_on())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not used_up.done()
    clock.now += MOST_S + 0.001
    await asyncio.wait_for(asyncio.gather(going_on, used_up), 30)
    assert one.taken_s == pytest.approx(STINT_S * 1.4)


async def test_a_turn_has_room_for_as_many_rows_as_it_holds() -> None:
    """While requests crowd the loop, rows are counted by what each takes; otherwise they need no counting."""
    assert Stint(Pace(lambda: True)).room(STINT_S / 12.5) == 12
    assert Stint(Pace(lambda: False)).room(STINT_S / 12.5) is None


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


async def look(pace: Pace, clock: Hand, used: Hand, load: float) -> None:
    """A window in which the process takes so much of a processor."""
    clock.now += WINDOW_S * 1.01
    used.now += WINDOW_S * 1.01 * load
    await waits(pace)


async def test_a_processor_with_time_to_spare_pauses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that mostly wait for the disk leave the time to deliveries; those that fill a processor do not."""
    monkeypatch.setattr(pace_module, "FULL", FULL)
    clock, used = Hand(), Hand()
    pace = Pace(lambda: True, clock=clock, used=used)
    for load, full in ((FULL + 0.05, True), (FULL - 0.05, False), (1.3, True), (0.0, False)):
        pace.spent(60)
        await look(pace, clock, used, load)
        assert await waits(pace) is full
        assert pace.crowded() is full


async def test_a_single_quiet_moment_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than a window of quiet, as while one commit is written, changes nothing."""
    monkeypatch.setattr(pace_module, "FULL", FULL)
    clock, used = Hand(), Hand()
    pace = Pace(lambda: True, clock=clock, used=used)
    pace.spent(60)
    await look(pace, clock, used, 1.0)
    clock.now += WINDOW_S * 0.9
    assert await waits(pace)
    clock.now += WINDOW_S * 0.2
    assert not await waits(pace)


async def test_of_the_next_rush_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a calm, requests come first again until they are seen to leave time to spare."""
    monkeypatch.setattr(pace_module, "FULL", FULL)
    busy, clock, used = True, Hand(), Hand()
    pace = Pace(lambda: busy, clock=clock, used=used)
    await look(pace, clock, used, 0.1)
    assert not pace.crowded()
    busy = False
    await look(pace, clock, used, 0.1)
    busy = True
    assert pace.crowded()


async def test_only_work_is_counted_not_waiting() -> None:
    """What is awaited costs nothing; what runs on the loop does; result, error and cancellation pass through."""
    stint = Stint(Pace(lambda: True))

    async def work(value: str) -> str:
        await asyncio.sleep(1)
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass
        if value == "bad":
            raise ValueError(value)
        return value

    assert await stint.timed(work("good")) == "good"
    assert 0.02 <= stint.taken_s < 1
    with pytest.raises(ValueError, match="bad"):
        await stint.timed(work("bad"))
    task = asyncio.ensure_future(stint.timed(work("never")))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
