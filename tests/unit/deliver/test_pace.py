"""How much of the event loop deliveries take while the intake is busy."""

from __future__ import annotations

import asyncio
import time

import pytest

from ebbgate.deliver import pace as pace_module
from ebbgate.deliver.pace import LOOK_S, MOST_S, SHARE, STINT_S, Pace, Stint


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


async def test_a_loop_with_time_to_spare_pauses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that mostly wait for the disk leave the loop to deliveries; those that fill most of its rounds do not."""
    pace = Pace(lambda: True, clock=(clock := Hand()))

    async def look_at(full: float) -> None:
        """Some more looks, of which so many find the loop at work."""
        for number in range(60):
            monkeypatch.setattr(pace_module, "CROWDED_S", 0.0 if number % 10 < full * 10 else 1.0)
            await pace._look()

    pace.spent(60)
    await look_at(0.1)
    assert not await waits(pace)
    await look_at(0.7)
    assert await waits(pace)
    await look_at(0.0)
    assert not await waits(pace)
    assert clock.now == 100.0  # nothing of this was a matter of time


async def test_a_single_quiet_moment_says_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full loop that has nothing to do for a few looks, as while one commit is written, still comes first."""
    pace = Pace(lambda: True, clock=Hand())
    pace.spent(60)
    assert await waits(pace)
    monkeypatch.setattr(pace_module, "CROWDED_S", 1.0)
    for _ in range(5):
        await pace._look()
    assert await waits(pace)


async def test_of_the_next_rush_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a calm, requests come first again until the loop is seen to have time to spare."""
    busy = True
    pace = Pace(lambda: busy, clock=Hand())
    monkeypatch.setattr(pace_module, "CROWDED_S", 1.0)
    for _ in range(60):
        await pace._look()
    assert not pace.crowded()
    busy = False
    await pace._look()
    busy = True
    assert pace.crowded()


async def test_only_work_is_counted_not_waiting() -> None:
    """What is awaited costs nothing; what runs on the loop does; result, error and cancellation pass through."""
    taken: list[float] = []
    stint = Stint(Pace(lambda: True))
    stint.spent = taken.append  # type: ignore[assignment,method-assign]  # what it does is tested above

    async def work(value: str) -> str:
        await asyncio.sleep(1)
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass
        if value == "bad":
            raise ValueError(value)
        return value

    assert await stint.timed(work("good")) == "good"
    assert 0.02 <= sum(taken) < 1
    with pytest.raises(ValueError, match="bad"):
        await stint.timed(work("bad"))
    task = asyncio.ensure_future(stint.timed(work("never")))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
