"""Events that come one by one leave together: the queue is looked at again only after a while, unless a look found more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ebbgate.demo.sink import RecordingSink
from ebbgate.model import Outcome
from tests.unit.deliver.fakes import destination
from tests.unit.deliver.rig import QUICK, House, events_of, lane_to, open_house

NEVER_S = 3600.0


def _gathers(house: House) -> bool:
    return house.runner.states()["sink"].figures.state == "gathering"


async def test_what_comes_meanwhile_waits_and_leaves_in_one_request(tmp_path: Path) -> None:
    """After a request the worker gathers: later events stay in the queue, are lost by nothing, and leave together."""
    async with RecordingSink().serve() as sink:
        limits = replace(QUICK, linger_s=NEVER_S)
        async with open_house(tmp_path, [lane_to(destination(), sink.url)], limits=limits) as house:
            await house.post([0])
            await house.until(lambda: _gathers(house), 30)
            for number in range(1, 6):
                await house.post([number])
            assert (house.ended("sink"), sink.count) == (1, 1)
        # A stop ends the gathering at once; the next start looks at the queue first.
        async with open_house(tmp_path, [lane_to(destination(), sink.url)], limits=limits, keys=house.keys) as again:
            await again.until_ended("sink", 5, 30)
            assert again.runner.states()["sink"].figures.outcomes == {Outcome.DELIVERED: 5}
    assert sink.count == 2
    assert sorted(events_of(sink.requests)) == [f"e-{n}" for n in range(6)]


async def test_a_backlog_is_worked_off_without_a_pause(tmp_path: Path) -> None:
    """A look that found as much as it could take is followed by another one, however long the gathering would be."""
    async with RecordingSink().serve() as sink:
        limits = replace(QUICK, linger_s=NEVER_S, chunk=2)
        async with open_house(tmp_path, [lane_to(destination(), sink.url)], limits=limits, start=False) as house:
            await house.post(range(7))
            await house.runner.start()
            await house.until_ended("sink", 7, 30)
            await house.until(lambda: _gathers(house), 30)
    assert sink.count == 4
