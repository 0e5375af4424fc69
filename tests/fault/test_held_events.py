"""A thousand visitors with parked events decide at random: each delivery is sent once or shredded, and its bytes are gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import apsw
import pytest

from ebbgate.audit.entry import parse
from ebbgate.deliver.classify import Failed, Failure
from ebbgate.destinations.kit import HttpRequest, HttpResponse
from ebbgate.model import Outcome
from ebbgate.store.protocol import Store
from ebbgate.store.sqlite import SqliteStore
from ebbgate.store.sqlite_connect import fetch, reader
from tests.scale import scaled
from tests.unit.choices.rig import Middle, event, opened, running, until
from tests.unit.deliver.fakes import HandClock

NEEDS = {"sink": {"analytics"}, "ads": {"analytics", "advertising"}}
WAITS_S = 600
#: What a visitor may say, one after another. Silence, too.
SAYINGS: tuple[tuple[dict[str, str], ...], ...] = (
    (),
    ({"analytics": "granted", "advertising": "granted"},),
    ({"analytics": "denied", "advertising": "denied"},),
    ({"analytics": "granted"},),
    ({"advertising": "granted"},),
    ({"analytics": "granted"}, {"advertising": "granted"}),
    ({"analytics": "granted"}, {"advertising": "denied"}),
    ({"advertising": "granted"}, {"analytics": "denied"}),
)


class Platform:
    """Takes what the gate lets pass, most of the time: rows as they arrived."""

    def __init__(self, chance: Random) -> None:
        self.rows: list[dict[str, object]] = []
        self._chance = chance

    async def send(self, request: HttpRequest, fresh: Callable[[], bool]) -> HttpResponse | Failed:
        """A platform that is sometimes not to be reached."""
        if self._chance.random() < 0.1:
            return Failed(Failure.NOT_SENT, "connect_failed")
        if not fresh():
            return Failed(Failure.STALE, "gate_stale")
        self.rows += json.loads(request.body)["rows"]
        return HttpResponse(200, {}, b"{}")

    async def aclose(self) -> None:
        """Nothing is open."""


def expected(destination: str, sayings: tuple[dict[str, str], ...]) -> Outcome:
    """How a parked delivery ends: delivered when all its needs are granted, withheld at the first refusal, else expired."""
    granted: set[str] = set()
    for said in sayings:
        if any(said.get(purpose) == "denied" for purpose in NEEDS[destination]):
            return Outcome.WITHHELD
        granted |= {purpose for purpose, state in said.items() if state == "granted"}
        if granted >= NEEDS[destination]:
            return Outcome.DELIVERED
    return Outcome.EXPIRED


def sealed(store: Store) -> set[bytes]:
    """The bytes of every parked payload as they stand on the disk."""
    assert isinstance(store, SqliteStore)
    found: set[bytes] = set()
    for segment in sorted((store._path.parent / "segments").glob("seg-*.db")):
        # A connection of the test's own: the store's may be at work in another thread. A segment just made has no table yet.
        with contextlib.suppress(apsw.SQLError, apsw.CantOpenError), contextlib.closing(reader(segment)) as db:
            found |= {row[0] for row in fetch(db, "SELECT payload FROM held")}
    return found


def still_there(folder: Path, wanted: set[bytes]) -> int:
    """How many of these byte strings any file of the store holds, its WALs among them. Found by their first, random 24 bytes."""
    heads = {one[1:25] for one in wanted}  # after the key's id: nonce and ciphertext
    files = b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
    return sum(head in files for head in heads)


async def live(middle: Middle, client: str, sayings: tuple[dict[str, str], ...], events: int, chance: Random) -> None:
    """One visitor's events and decisions."""
    for number in range(events):
        await middle.post(event(number, client))
    for said in sayings:
        await asyncio.sleep(chance.choice((0, 0.002)))
        await middle.say(f"client:{client}", **said)


@pytest.mark.timeout(600)
async def test_every_parked_delivery_is_sent_once_or_shredded(tmp_path: Path) -> None:
    """None without a grant, none twice, each with its own time; afterwards not one sealed payload is in any file."""
    chance = Random(5)
    visitors = scaled(100)
    plans = {f"v{i}": (chance.choice(SAYINGS), chance.randint(1, 3)) for i in range(visitors)}
    clock = HandClock()
    platforms = {name: Platform(Random(i)) for i, name in enumerate(NEEDS)}
    parked: set[bytes] = set()
    first_ms = clock.wall_ms()
    async with running(clock, step_s=0.02), opened(tmp_path, platforms, disk=True, start=True, clock=clock) as middle:
        for number in range(10):  # parked before anybody decides: these bytes are known
            await middle.post(event(number, "early"))
        parked |= sealed(middle.store)
        assert still_there(tmp_path / "data", parked) == len(parked) == 20
        names = sorted(plans)
        for start in range(0, visitors, 20):
            lives = [live(middle, client, *plans[client], Random(start)) for client in names[start : start + 20]]
            both = asyncio.gather(*lives)
            while not both.done():
                parked |= sealed(middle.store)
                await asyncio.sleep(0.005)
            await both
        posted_ms = clock.wall_ms()
        plans["early"] = ((), 10)
        clock.pass_s(WAITS_S)
        await middle.choices.tend()

        async def quiet() -> bool:
            clock.pass_s(1)
            return not any(q.waiting + q.held for q in await middle.store.queues())

        await until(quiet)
        found: Counter[tuple[str, str, str]] = Counter()
        for client, (sayings, events) in plans.items():
            for number in range(events):
                trace = await middle.store.trace(middle.keys.event_key("shop", f"{client}-{number}"))
                assert trace is not None
                for name in NEEDS:
                    assert trace.outcomes[name][0] is expected(name, sayings), (client, sayings, name)
                    found[name, client, str(trace.outcomes[name][0])] += 1
        entries = [parse(e.body) for e in await middle.store.log(limit=100_000)]

        async def gone() -> bool:
            return still_there(tmp_path / "data", parked) == 0

        await until(gone, 5)  # while it runs: closing a store tidies its files in any case
    for name, platform in platforms.items():
        arrived = Counter(str(row["id"]) for row in platform.rows)
        wanted = {f"{c}-{n}" for c, (said, k) in plans.items() for n in range(k) if expected(name, said) is Outcome.DELIVERED}
        assert set(arrived) == wanted
        assert set(arrived.values()) <= {1}
        for row in platform.rows:
            assert isinstance(row["time"], int)
            assert first_ms <= row["time"] <= posted_ms, "the original time, not that of the release"
            assert isinstance(row["consent"], dict)
            assert all(row["consent"][purpose] == "granted" for purpose in NEEDS[name])
    settled = sum(e["n"] for e in entries if e["type"] in ("held.released", "held.shredded"))
    assert settled == sum(len(NEEDS) * k for _, k in plans.values())
    assert len(parked) > visitors // 2
