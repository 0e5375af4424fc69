"""Deliveries while requests crowd the event loop: little of it, but steadily, for every destination, and on a fresh word of the gate."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ebbgate.deliver import pace as pace_module
from ebbgate.deliver.attempt import Attempts
from ebbgate.deliver.pace import Pace
from ebbgate.demo.sink import RecordingSink
from ebbgate.model import Outcome
from tests.unit.deliver.fakes import destination
from tests.unit.deliver.rig import QUICK, House, events_of, lane_to, open_house


@pytest.fixture(autouse=True)
def crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little the process does, it counts as full."""
    monkeypatch.setattr(pace_module, "FULL", 0.0)


async def test_every_destination_goes_on_however_crowded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no share of the loop left at all, each destination still has its turns: the dear one passes over no cheap one."""
    monkeypatch.setattr(pace_module, "SHARE", 1e-9)
    monkeypatch.setattr(pace_module, "MOST_S", 0.02)
    monkeypatch.setattr(pace_module, "STINT_S", 0.005)
    names = ["batches", "singles", "other"]
    async with RecordingSink().serve() as sink:
        lanes = [lane_to(destination(name, events=1 if name == "singles" else 100), sink.url, deadline_s=30) for name in names]
        async with open_house(tmp_path, lanes, busy=lambda: True, start=False) as house:
            await house.post(range(60))
            await house.runner.start()
            for name in names:
                await house.until_ended(name, 60, 60)
            counts = await house.check()
    assert counts == {name: {Outcome.DELIVERED: 60} for name in names}


async def test_a_pause_comes_before_the_gate_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker waits for its turn, then reads, asks the gate and sends: in a pause the gate's word would grow old."""
    monkeypatch.setattr(pace_module, "STINT_S", 3600.0)  # nothing uses a turn up
    steps: list[str] = []

    def told(what: str, real: Any) -> Any:
        async def step(*args: Any) -> Any:
            steps.append(what)
            return await real(*args)

        return step

    monkeypatch.setattr(Pace, "turn", told("turn", Pace.turn))
    monkeypatch.setattr(Attempts, "look", told("look", Attempts.look))
    async with RecordingSink().serve() as sink:
        lane = lane_to(destination(events=5), sink.url, deadline_s=30)
        lane = replace(lane, sender=_Told(lane.sender, steps))
        limits = replace(QUICK, chunk=15)
        async with open_house(tmp_path, [lane], busy=lambda: True, start=False, limits=limits) as house:
            await house.post(range(45))
            await house.runner.start()
            await house.until_ended("sink", 45, 60)
    assert steps[:15] == ["turn", "look", "send", "send", "send"] * 3


class _Told:
    """A sender that tells when it is asked."""

    def __init__(self, real: Any, steps: list[str]) -> None:
        self._real = real
        self._steps = steps
        self.aclose = real.aclose

    async def send(self, *args: Any) -> Any:
        """As the real one."""
        self._steps.append("send")
        return await self._real.send(*args)


async def _sizes(folder: Path, monkeypatch: pytest.MonkeyPatch, *, busy: bool) -> list[int]:
    """How many of thirty waiting events each request holds, where seven rows that are not yet measured fill a turn."""
    monkeypatch.setattr("ebbgate.deliver.worker.ROW_S", 0.5)
    monkeypatch.setattr(pace_module, "STINT_S", 3.5)
    monkeypatch.setattr(pace_module, "SHARE", 0.999)
    async with RecordingSink().serve() as sink:
        lane = lane_to(destination(events=100), sink.url, deadline_s=30)
        async with open_house(folder, [lane], busy=lambda: busy, start=False) as house:
            await house.post(range(30))
            await house.runner.start()
            await house.until_ended("sink", 30, 60)
            assert (await house.check({"sink": sink}))["sink"] == {Outcome.DELIVERED: 30}
    return [len(events_of([request])) for request in sink.requests]


async def test_a_look_takes_as_many_rows_as_a_turn_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read in a crowd can be sent in one turn; requests grow with what rows turn out to cost."""
    first, second, *_ = await _sizes(tmp_path, monkeypatch, busy=True)
    assert first == 7
    assert second > 7


async def test_in_a_calm_a_look_takes_a_full_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While no requests wait, rows leave in requests as large as the platform takes."""
    assert await _sizes(tmp_path, monkeypatch, busy=False) == [30]


def resting(house: House, name: str) -> bool:
    """True when that worker has nothing to do."""
    return house.runner.states()[name].figures.state == "idle"


async def test_a_worker_at_rest_hears_of_every_event(tmp_path: Path) -> None:
    """Calls that tell no worker anything cost nothing, and none that does is passed over: no event waits for the next look around."""
    limits = replace(QUICK, poll_s=3600.0, linger_s=0.0)
    async with RecordingSink().serve() as sink:
        lanes = [lane_to(destination(name), sink.url) for name in ("one", "two")]
        async with open_house(tmp_path, lanes, limits=limits) as house:
            for number in range(6):
                name = ("one", "two")[number % 2]
                await house.until(partial(resting, house, name), 30)
                before = house.ended(name)
                await house.post([number], to=[name])
                await house.until_ended(name, before + 1, 30)


async def test_a_stop_waits_for_no_rush_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that wait for their turns end at once when the gateway stops in the middle of a rush; what is left stays in the queue."""
    monkeypatch.setattr(pace_module, "SHARE", 1e-9)
    monkeypatch.setattr(pace_module, "STINT_S", 1e-9)
    monkeypatch.setattr(pace_module, "MOST_S", 3600.0)
    async with RecordingSink().serve() as sink:
        lanes = [lane_to(destination(name, events=1), sink.url) for name in ("one", "two", "three")]
        async with open_house(tmp_path, lanes, busy=lambda: True, grace_s=60) as house:
            await house.post(range(20))
            await house.until(lambda: any(state.figures.state == "sending" for state in house.runner.states().values()), 30)
            await asyncio.wait_for(house.runner.stop(grace_s=60), 30)
            assert {state.figures.state for state in house.runner.states().values()} == {"stopped"}
            counts = await house.check()
            assert all(set(ended) <= {Outcome.DELIVERED, None} for ended in counts.values())
