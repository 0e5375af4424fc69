"""Workers that died, slept past their lease, or met a broken store or a jumping clock (specs/reliability.md §5 T13, T19, T20)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from ebbgate.audit.entry import parse
from ebbgate.demo.sink import RecordingSink, Reply, always, in_turn
from ebbgate.errors import StoreBroken, StoreFull
from ebbgate.model import Outcome
from tests.unit.deliver.fakes import HandClock, destination
from tests.unit.deliver.rig import QUICK, House, events_of, lane_to, now_ms, open_house

DAY_MS = 86_400_000


async def test_a_worker_whose_lease_was_taken_writes_nothing_more(tmp_path: Path) -> None:
    """A zombie: it slept in the middle of a request, another took the lease; its answer changes nothing, and it stops sending."""
    async with RecordingSink(in_turn([Reply(delay_s=0.3)])).serve() as sink:
        lane = lane_to(destination(window_s=None), sink.url)
        async with open_house(tmp_path, [lane], limits=QUICK) as house:
            await house.post(range(3))
            await sink.wait_for(1)
            mine = dict(house.store._tokens)
            taken = await house.store.lease("sink", now_ms=now_ms() + 10 * 60_000, ttl_ms=60 * 60_000)
            house.store._tokens = mine  # the new lease is another process's
            assert taken is not None
            await house.until(lambda: house.runner.states()["sink"].figures.state == "no_lease")
            assert (await house.outcomes())[1]["sink"] is None
            assert house.ended("sink") == 0
            open_attempts = await house.store.open_attempts("sink")
            entries = [parse(e.body)["type"] for e in await house.store.log(limit=1000)]
        assert sink.count == 1
    assert len(open_attempts) == 1
    assert "attempt.finished" not in entries


async def test_a_lease_that_ends_soon_begins_nothing(tmp_path: Path) -> None:
    """A request that could outlive the lease is not begun under it."""
    async with RecordingSink(always(Reply(delay_s=0.05))).serve() as sink:
        limits = replace(QUICK, lease_ms=1, margin_s=3600)
        async with open_house(tmp_path, [lane_to(destination(), sink.url)], limits=limits) as house:
            await house.post(range(3))
            await asyncio.sleep(0.1)
            assert sink.count == 0


@pytest.mark.parametrize(("window_s", "ends"), [(48 * 3600, Outcome.DELIVERED), (None, Outcome.UNKNOWN)])
async def test_a_process_that_died_in_a_request_leaves_it_in_doubt(tmp_path: Path, window_s: int | None, ends: Outcome) -> None:
    """After a crash between sending and recording: repeated where the platform deduplicates, else recorded as unknown."""
    async with RecordingSink(in_turn([Reply(hang=True)])).serve() as sink:
        lane = lane_to(destination(window_s=window_s), sink.url, deadline_s=30)
        async with open_house(tmp_path, [lane], limits=replace(QUICK, lease_ms=200)) as house:
            await house.post(range(3))
            await sink.wait_for(1)
            await house.runner.stop(grace_s=0)
        async with open_house(tmp_path, [lane_to(destination(window_s=window_s), sink.url)], keys=house.keys) as again:
            again.numbers = house.numbers
            again.store.intended += house.store.intended
            await again.until_ended("sink", 3)
            counts = await again.check({"sink": sink})
            entries = [parse(e.body) for e in await again.store.log(limit=1000)]
    assert counts["sink"] == {ends: 3}
    assert sink.count == (2 if window_s else 1)
    died = [e for e in entries if e["type"] == "attempt.finished" and e["status"] == 0]
    assert len(died) == 1
    assert died[0]["n"] == 3


async def test_a_broken_store_stops_everything(tmp_path: Path) -> None:
    """When an outcome cannot be trusted to disk, every worker stops and the process is told."""

    async def broken() -> None:
        raise StoreBroken("planted", code="io_error")

    async with RecordingSink().serve() as sink, open_house(tmp_path, [lane_to(destination(), sink.url)]) as house:
        house.store.before_begin = broken
        await house.post(range(3))
        async with asyncio.timeout(5):
            await house.runner.broken()
        assert house.runner.is_broken()
        assert sink.count == 0
        await house.until(lambda: house.runner.states()["sink"].figures.state == "stopped")


async def test_a_full_store_delays_and_loses_nothing(tmp_path: Path) -> None:
    """No room for an intent: no byte leaves; with room again everything is delivered."""
    failures = 3

    async def full() -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise StoreFull("planted")

    async with RecordingSink().serve() as sink, open_house(tmp_path, [lane_to(destination(), sink.url)]) as house:
        house.store.before_begin = full
        await house.post(range(3))
        await house.until_ended("sink", 3)
        counts = await house.check({"sink": sink})
    assert counts["sink"] == {Outcome.DELIVERED: 3}
    assert failures == 0


async def test_a_fault_of_ours_loses_nothing(tmp_path: Path) -> None:
    """An unexpected exception in a round is counted, what it left open is closed, and delivery goes on."""
    failures = 1

    async def fault() -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise ZeroDivisionError

    async with RecordingSink().serve() as sink, open_house(tmp_path, [lane_to(destination(), sink.url)]) as house:
        house.store.before_begin = fault
        await house.post(range(3))
        await house.until_ended("sink", 3)
        outcomes = await house.outcomes()
        assert house.runner.states()["sink"].figures.crashes == 1
    assert {o["sink"] for o in outcomes.values()} == {Outcome.DELIVERED}


async def _jump(house: House, clock: HandClock, ms: int) -> None:
    clock.wall += ms
    await house.until(lambda: house.runner.watch.frozen, 5)


@pytest.mark.parametrize("days", [1, 10, -10])
async def test_a_clock_that_jumps_expires_nothing(tmp_path: Path, days: int) -> None:
    """The wall clock jumps by days: the queue is delivered or waits, the anomaly is logged, nothing is lost."""
    clock = HandClock(now_ms())
    async with RecordingSink().serve() as sink:
        lane = lane_to(destination(max_age_s=86_400), sink.url)
        async with open_house(tmp_path, [lane], clock=clock, start=False) as house:
            await house.post(range(5))
            await house.runner.start()
            await house.until_ended("sink", 5)
            await _jump(house, clock, days * DAY_MS)
            await house.post(range(5, 10))
            if days > 0:
                await asyncio.sleep(0.1)
                assert house.ended("sink") == 5
                assert sink.count == 1
                clock.wall -= days * DAY_MS
                await house.until(lambda: not house.runner.watch.frozen)
                clock.pass_s(1)
            await house.until_ended("sink", 10)
            counts = await house.check({"sink": sink})
            entries = [parse(e.body) for e in await house.store.log(limit=1000)]
    assert counts["sink"] == {Outcome.DELIVERED: 10}
    assert [e["delta_s"] for e in entries if e["type"] == "clock.anomaly"] == [pytest.approx(days * 86_400, abs=2)]
    assert len(events_of(sink.requests)) == 10
