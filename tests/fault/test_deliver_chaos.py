"""Twelve sick destinations beside a healthy one, over real sockets (specs/reliability.md §5 T9).

The oracle is `House.check`: every event has exactly one outcome at every destination, every request that a sink saw had a
durable intent before, every begun request has an end. Each sink's own promise is checked beside it.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ebbgate.deliver.breaker import State
from ebbgate.demo.sink import Received, RecordingSink, Reply, Script, always, in_turn, poison
from ebbgate.model import Outcome
from tests.scale import scaled
from tests.unit.deliver.fakes import destination
from tests.unit.deliver.rig import QUICK, House, events_of, lane_to, open_house

EVENTS = 60
D, U, R = Outcome.DELIVERED, Outcome.UNKNOWN, Outcome.REJECTED


@dataclass(frozen=True)
class Sick:
    """One destination's illness and what may become of its events: a set of outcomes, None for those that still wait."""

    name: str
    script: Script
    ends: frozenset[Outcome | None]
    window_s: int | None = 48 * 3600
    heals: bool = True  #: all its events end within the test
    deadline_s: float = 30.0  #: short only where the illness is to be late: a slow machine is none
    seen: list[int] = field(default_factory=list)


def _poisoned(received: Received) -> bool:
    return "e-17" in events_of([received])


def _too_many(received: Received) -> Reply:
    return Reply.of(413) if len(events_of([received])) > 4 else Reply()


def _flapping() -> Script:
    return in_turn([Reply.of(500) if i % 3 else Reply() for i in range(18)])


SICK = [
    Sick("error", in_turn([Reply.of(500)] * 6), frozenset({D})),
    Sick("error_no_key", in_turn([Reply.of(500)] * 3), frozenset({D, U}), window_s=None),
    Sick("pushback", in_turn([Reply.of(429, retry_after="0")] * 5), frozenset({D})),
    Sick("pushback_silent", in_turn([Reply.of(429)] * 5), frozenset({D})),
    Sick("drip", in_turn([Reply(200, b"x" * 600, drip_s=0.05)] * 2), frozenset({D}), deadline_s=1.0),
    Sick("hang", always(Reply(hang=True)), frozenset({D, U, None}), heals=False, deadline_s=0.4),
    Sick("cut", in_turn([Reply(200, b"x" * 100, cut_after=9)] * 4), frozenset({D})),
    Sick("nonsense", in_turn([Reply(200, b"<html>\xff")] * 4), frozenset({D})),
    Sick("partial", always(Reply.of(200, {"bad": [0]})), frozenset({D, R})),
    Sick("moved", always(Reply(301, b"", (("location", "http://127.0.0.1:9/x"),))), frozenset({None}), heals=False),
    Sick("too_big", _too_many, frozenset({D})),
    Sick("poison", poison(_poisoned, Reply.of(400)), frozenset({D, R})),
    Sick("flapping", _flapping(), frozenset({D})),
]


def searched(requests: list[Received]) -> int:
    """How many requests came after the first with the same events: those that the search for a bad event added."""
    known: set[str] = set()
    repeated = 0
    for received in requests:
        ids = events_of([received])
        repeated += bool(known.intersection(ids))
        known.update(ids)
    return repeated


@asynccontextmanager
async def ward(folder: Path, sick: list[Sick], *, unreachable: bool) -> AsyncIterator[tuple[House, dict[str, RecordingSink]]]:
    """All sinks up, one lane each, a healthy one, and one where nobody listens."""
    async with AsyncExitStack() as stack:
        sinks = {s.name: await stack.enter_async_context(RecordingSink(s.script).serve()) for s in sick}
        sinks["healthy"] = await stack.enter_async_context(RecordingSink().serve())
        size = {"poison": 60}
        lanes = [
            lane_to(
                destination(s.name, events=size.get(s.name, 10), window_s=s.window_s), sinks[s.name].url, deadline_s=s.deadline_s
            )
            for s in sick
        ]
        lanes.append(lane_to(destination("healthy"), sinks["healthy"].url, deadline_s=30))  # a slow machine is no illness
        if unreachable:
            nobody = stack.enter_context(socket.socket())
            nobody.bind(("127.0.0.1", 0))
            lanes.append(lane_to(destination("refused"), f"http://127.0.0.1:{nobody.getsockname()[1]}", deadline_s=0.4))
        house = await stack.enter_async_context(open_house(folder, lanes))
        for sink in sinks.values():
            sink.on_request = house.seen
        yield house, sinks


async def test_twelve_sick_destinations_and_a_healthy_one(tmp_path: Path) -> None:
    """Every event ends once everywhere; illness costs no event; the healthy destination is done at once."""
    async with ward(tmp_path, SICK, unreachable=True) as (house, sinks):
        await house.post(range(EVENTS))
        await house.until_ended("healthy", EVENTS, 60)
        for sick in SICK:
            if sick.heals:
                await house.until_ended(sick.name, EVENTS, 90)
        await sinks["hang"].wait_for(1)
        await sinks["moved"].wait_for(1)
        await house.until(lambda: house.runner.states()["refused"].breaker is not State.CLOSED)
        counts = await house.check(sinks)
    assert counts["healthy"] == {D: EVENTS}
    assert Counter(events_of(sinks["healthy"].requests)).most_common(1)[0][1] == 1
    for sick in SICK:
        assert set(counts[sick.name]) <= sick.ends, sick.name
        assert not (sick.heals and counts[sick.name][None]), sick.name
    assert counts["refused"] == {None: EVENTS}
    assert counts["poison"] == {D: EVENTS - 1, R: 1}
    assert searched(sinks["poison"].requests) <= 12
    assert counts["error_no_key"][U] > 0
    repeated = [n for n in Counter(events_of(sinks["error_no_key"].requests)).values() if n > 1]
    assert repeated == [], "without a dedupe key nothing is sent twice"


@pytest.mark.parametrize("illness", ["hang", "refused"])
async def test_a_dead_destination_is_asked_rarely(tmp_path: Path, illness: str) -> None:
    """With the pauses of a real house a destination that fails is left alone: at most one request a second after the first few."""
    from dataclasses import replace

    replies = {"hang": always(Reply(hang=True))}
    limits = replace(QUICK, base_s=1.0, gap_s=1.0)
    async with RecordingSink(replies.get(illness, always(Reply()))).serve() as sink, AsyncExitStack() as stack:
        url = sink.url
        if illness == "refused":
            nobody = stack.enter_context(socket.socket())
            nobody.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        house = await stack.enter_async_context(open_house(tmp_path, [lane_to(destination(), url, deadline_s=0.1)], limits=limits))
        await house.post(range(200))
        await asyncio.sleep(1.0)
        assert house.runner.states()["sink"].figures.requests <= 4 + 2
        await house.check()


async def test_a_hanging_destination_slows_no_other(tmp_path: Path) -> None:
    """Throughput to a healthy destination beside one that never answers is what it is alone (specs/performance.md §9 goal 8)."""
    took: dict[bool, float] = {}
    for sick in (False, True):
        async with AsyncExitStack() as stack:
            healthy = await stack.enter_async_context(RecordingSink().serve())
            hanging = await stack.enter_async_context(RecordingSink(always(Reply(hang=True))).serve())
            lanes = [lane_to(destination("healthy"), healthy.url)]
            if sick:
                lanes.append(lane_to(destination("hanging"), hanging.url, deadline_s=5))
            folder = tmp_path / str(sick)
            folder.mkdir()
            house = await stack.enter_async_context(open_house(folder, lanes, grace_s=0))
            rounds = []
            for i in range(5):
                began = asyncio.get_running_loop().time()
                await house.post(range(i * 100, i * 100 + 100))
                await house.until_ended("healthy", i * 100 + 100)
                rounds.append(asyncio.get_running_loop().time() - began)
            took[sick] = statistics.median(rounds)
            assert hanging.count == (4 if sick else 0)
    assert took[True] < took[False] * 3 + 0.1, "medians of a busy machine; the queues are apart"


async def test_raw_garbage_and_resets_end_as_unknown_or_are_repeated(tmp_path: Path) -> None:
    """Servers that answer with garbage or a reset: nothing counts as delivered, nothing is lost."""
    calls = 0

    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        await reader.read(65536)
        if calls % 2:
            writer.write(b"\x16\x03\x01 garbage\r\n\r\n")
            await writer.drain()
        else:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    server = await asyncio.start_server(rude, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, open_house(tmp_path, [lane_to(destination(window_s=None), url)]) as house:
        await house.post(range(20))
        await house.until_ended("sink", 20)
        counts = await house.check()
    assert counts["sink"] == {U: 20}
    assert calls == 2


async def test_withdrawals_race_with_delivery(tmp_path: Path) -> None:
    """Withdrawals at random moments of queue, request and retry: after `drained` not one event of the visitor arrives."""
    from tests.unit.deliver.test_worker import deny

    for i in range(scaled(5)):
        folder = tmp_path / str(i)
        folder.mkdir()
        script = in_turn([Reply.of(500), Reply.of(429, retry_after="0"), Reply(delay_s=0.01)] * 20, Reply(delay_s=0.005))
        async with RecordingSink(script).serve() as sink, open_house(folder, [lane_to(destination(events=3), sink.url)]) as house:
            await house.post(range(40))
            await sink.wait_for(1 + i * 2)
            await deny(house)
            await house.runner.drained()
            arrived = sink.count
            await house.until_ended("sink", 40)
            counts = await house.check({"sink": sink})
            assert sink.count == arrived
            assert set(counts["sink"]) <= {D, Outcome.WITHDRAWN}
            assert counts["sink"][Outcome.WITHDRAWN] > 0
