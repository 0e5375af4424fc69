"""A whole delivery stage on a real store, with real sockets to scripted sinks, and an oracle for how it ended."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ebbgate.audit.entry import Entry, heartbeat, parse, unpack_opening
from ebbgate.deliver.clock import Clock
from ebbgate.deliver.lane import Lane, Limits
from ebbgate.deliver.runner import Runner, open_lane
from ebbgate.demo.sink import Received, RecordingSink
from ebbgate.destinations.kit import Destination, DestinationSettings
from ebbgate.model import CleanEvent, Outcome
from ebbgate.policy.clean import dump
from ebbgate.policy.plan import PolicySet
from ebbgate.store.keys import KeyRing
from ebbgate.store.protocol import Lease, NewEvent, Queued
from ebbgate.store.sqlite import SqliteStore
from tests.unit.deliver.fakes import clean_event, plan, policies

SUBJECT = b"s" * 16
#: Everything a hundred times faster than in a real house; the deadline of a request is the lane's.
QUICK = Limits(
    poll_s=0.02,
    base_s=0.0005,
    gap_s=0.01,
    frozen_retry_s=0.05,
    margin_s=0.1,
    cursor_s=0.05,
    full_s=0.02,
    observe_s=0.02,
    linger_s=0.002,
)


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


def fresh(number: int, destination: str = "sink", **changes: Any) -> CleanEvent:
    """A clean event of this moment."""
    at = now_ms()
    fields = {"event.id": f"e-{number}", "event.name": "purchase", "event.time": at, "order.value": number}
    return clean_event(number, destination, **{"time_ms": at, "fields": fields, **changes})


def key_of(number: int) -> bytes:
    """The key of event `number`."""
    return number.to_bytes(16, "big")


def new_event(number: int, cleans: Iterable[CleanEvent], *, subject: bytes = SUBJECT, at_ms: int = 0) -> NewEvent:
    """Event `number` as the pipeline hands it to the store."""
    entry = heartbeat(n=1, node="local", at_ms=now_ms())
    key = key_of(number)
    return NewEvent(
        key=key,
        checks=(key,),
        claims=(key,),
        subject=subject,
        at_ms=at_ms or now_ms(),
        payloads={clean.destination: dump(clean) for clean in cleans},
        entry=entry,
        duplicate_entry=lambda _: entry,
        event_id="",
    )


class WatchedStore(SqliteStore):
    """The real store, which remembers the digest of every body whose intent is durable."""

    def __init__(self, path: Path, keys: KeyRing) -> None:
        super().__init__(path, keys)
        self.intended: Counter[bytes] = Counter()
        self.before_begin: Callable[[], Any] = lambda: None

    async def begin(self, lease: Lease, queued: Sequence[Queued], entry: Entry, *, now_ms: int) -> int:
        """As the store's, and remembered once it has returned."""
        waiting = self.before_begin()
        if waiting is not None:
            await waiting
        found = await super().begin(lease, queued, entry, now_ms=now_ms)
        self.intended[unpack_opening(entry.opening)["payload"][1]] += 1
        return found


class House:
    """Store, lanes and runner of one test."""

    def __init__(
        self,
        folder: Path,
        lanes: Sequence[Lane],
        *,
        limits: Limits = QUICK,
        policy: PolicySet | None = None,
        clock: Clock | None = None,
        keys: KeyRing | None = None,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self.keys = keys or KeyRing.ephemeral()
        self.store = WatchedStore(folder / "ebbgate.db", self.keys)
        self.policy = policy or policies(*(plan(lane.name) for lane in lanes))
        self.off: Collection[str] = frozenset()
        self.numbers: dict[int, set[str]] = {}
        self.violations: list[str] = []
        chance = random.Random(7)
        self.runner = Runner(
            lanes,
            store=self.store,
            policies=lambda: self.policy,
            disabled=lambda: self.off,
            busy=busy,
            clock=clock,
            limits=limits,
            draw=chance.random,
        )
        self.names = [lane.name for lane in lanes]

    def seen(self, received: Received) -> None:
        """Called by a sink for each request: its intent must be durable already."""
        digest = hashlib.sha256(received.body).digest()
        if not self.store.intended[digest]:
            self.violations.append("a request without a durable intent")

    async def post(self, numbers: Iterable[int], *, to: Sequence[str] | None = None, **changes: Any) -> None:
        """Events as if received now, for these destinations (default: all)."""
        names = self.names if to is None else to
        events = []
        for number in numbers:
            events.append(new_event(number, [fresh(number, name, **changes) for name in names]))
            self.numbers[number] = set(names)
        await self.store.append(events)
        self.runner.wake(names)

    async def outcomes(self) -> dict[int, Mapping[str, Outcome | None]]:
        """Event → destination → how it ended, None while it waits."""
        found: dict[int, Mapping[str, Outcome | None]] = {}
        for number in self.numbers:
            trace = await self.store.trace(key_of(number))
            assert trace is not None
            found[number] = {name: ended[0] for name, ended in trace.outcomes.items()}
        return found

    async def until(self, done: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Until something holds. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not done():
                await asyncio.sleep(0.005)

    def ended(self, name: str) -> int:
        """How many deliveries of a destination have an outcome."""
        return self.runner.states()[name].figures.outcomes.total()

    async def until_ended(self, name: str, n: int, timeout_s: float = 10.0) -> None:
        """Until so many deliveries of a destination have ended."""
        await self.until(lambda: self.ended(name) >= n, timeout_s)

    async def check(self, sinks: Mapping[str, RecordingSink] = {}) -> dict[str, Counter[Outcome | None]]:
        """The oracle. Every event has exactly one outcome or waits; what a sink got was begun; every begun request is closed.

        Gives, for each destination, how many deliveries ended how.
        """
        assert self.violations == []
        entries = await self._settled_log()
        assert [e["nseq"] for e in entries] == list(range(1, len(entries) + 1))
        for name in self.names:
            self._check_log(name, [e for e in entries if e.get("dest") == name], sinks.get(name))
        found = await self.outcomes()
        counts: dict[str, Counter[Outcome | None]] = {name: Counter() for name in self.names}
        for number, names in self.numbers.items():
            assert set(found[number]) == names
            for name, outcome in found[number].items():
                counts[name][outcome] += 1
        for name in self.names:
            assert self.runner.states()[name].figures.crashes == 0
            assert sum(n for o, n in counts[name].items() if o) == self.ended(name)
        return counts

    async def _settled_log(self) -> list[Mapping[str, Any]]:
        """The log, read when every open request in it is one in flight.

        A request may end between the reading and the look at the figures, so the two are read until they agree; a request
        that stays open in the log and is in no flight is the fault this looks for. Raises TimeoutError after 5 s.
        """
        async with asyncio.timeout(5):
            while True:
                entries: list[Mapping[str, Any]] = [parse(e.body) for e in await self.store.log(limit=100_000)]
                kinds = Counter((e.get("dest"), e["type"]) for e in entries)
                states = self.runner.states()
                lost = [
                    name
                    for name in self.names
                    if kinds[name, "attempt.started"] - kinds[name, "attempt.finished"] > states[name].figures.in_flight
                ]
                if not lost:
                    return entries
                await asyncio.sleep(0.01)

    def _check_log(self, name: str, entries: Sequence[Mapping[str, Any]], sink: RecordingSink | None) -> None:
        started = {e["request"]: e for e in entries if e["type"] == "attempt.started"}
        finished = {e["request"]: e for e in entries if e["type"] == "attempt.finished"}
        assert len(started) == sum(e["type"] == "attempt.started" for e in entries)
        assert set(finished) <= set(started)
        for request, end in finished.items():
            assert end["n"] == started[request]["n"]
            assert end["nseq"] > started[request]["nseq"]
        if sink is not None:
            assert sink.count <= len(started)


def events_of(requests: Iterable[Received]) -> list[str]:
    """Ids of all rows in these requests, in order."""
    return [row["id"] for received in requests for row in json.loads(received.body)["rows"]]


def lane_to(destination: Destination, url: str, *, deadline_s: float = 2.0) -> Lane:
    """A lane whose stand-in is `url`."""
    return open_lane(destination, DestinationSettings(endpoint=url), deadline_s=deadline_s)


@asynccontextmanager
async def open_house(
    folder: Path, lanes: Sequence[Lane], *, start: bool = True, grace_s: float = 5, **options: Any
) -> AsyncIterator[House]:
    """A house at work; at the end requests in flight get `grace_s` seconds."""
    house = House(folder, lanes, **options)
    await house.store.open()
    try:
        if start:
            await house.runner.start()
        yield house
    finally:
        await house.runner.stop(grace_s=grace_s)
        await house.store.close()
