"""Power cuts and failing disks, through a VFS that knows what was synced (specs/reliability.md §5 T6, T7, T8)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest

from ebbgate.errors import StoreBroken, StoreFull
from ebbgate.model import Outcome
from ebbgate.store.protocol import Result
from tests.fault.crash_vfs import Ack, CrashVfs, Journal, Sync
from tests.fault.store_oracle import Level, lost, opened
from tests.scale import scaled
from tests.unit.store import kit
from tests.unit.store.kit import NOW, deliver, event, payload, take

CUTS = scaled(60)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "store")
    vfs = CrashVfs("ebbgate-crash", made)
    yield made
    vfs.unregister()


class Failure:
    """Fails the nth such call on such a file once it is armed."""

    def __init__(self, call: str, where: str, nth: int) -> None:
        self._call, self._where, self._left = call, where, nth
        self.armed = False
        self.happened = False

    def __call__(self, call: str, path: str) -> type[Exception] | None:
        if not self.armed or call != self._call or self._where not in path:
            return None
        self._left -= 1
        self.happened = self.happened or self._left == 0
        return apsw.IOError if self._left == 0 else None


async def work(journal: Journal, level: Level) -> None:
    """Events, deliveries, retries, a seal and checkpoints, with a note of each acknowledgement."""
    async with opened(journal.root, vfs="ebbgate-crash", level=level, segment_events=40, wal_bytes=200_000) as store:
        await store.append([event("first")])
        journal.start()
        journal.operations.append(Ack(("event", "first")))
        for number in range(60):
            await store.append([event(number)])
            journal.operations.append(Ack(("event", number)))
            if number % 7 == 3:
                lease = await take(store)
                chunk = await store.due(lease, limit=4, now_ms=NOW)
                attempt = await store.begin(lease, chunk.queued, kit.started(chunk.queued), now_ms=NOW)
                journal.operations.append(Ack(("begun", attempt)))
                results = [Result(q, Outcome.DELIVERED) for q in chunk.queued]
                journal.operations.append(Ack(("answered", tuple(q.payload for q in chunk.queued))))
                await store.finish(lease, attempt, results, kit.finished(), cursor=chunk.scanned_to, now_ms=NOW)
                journal.operations.append(Ack(("sent", tuple(q.payload for q in chunk.queued))))


async def losses(journal: Journal, level: Level, tmp_path: Path) -> list[str]:
    """What was lost in each of `CUTS` power cuts."""
    await work(journal, level)
    random = Random(20261121)
    found = []
    for cut in range(CUTS):
        at = random.randrange(len(journal.operations))
        target = tmp_path / f"cut-{cut}"
        journal.image(at, random, target)
        found.append(await lost(target, journal.acked(at)))
    return [what for what in found if what]


async def test_full_loses_nothing_in_a_power_cut(journal: Journal, tmp_path: Path) -> None:
    """Whatever was acknowledged is there after a cut at any operation: events, intents, outcomes, duplicate keys, log."""
    assert await losses(journal, "FULL", tmp_path) == []
    assert sum(isinstance(o, Sync) for o in journal.operations) > 60


@pytest.mark.parametrize("level", ["NORMAL", "OFF"])
async def test_the_harness_sees_weaker_settings_lose(journal: Journal, tmp_path: Path, level: Level) -> None:
    """Negative control: without a sync at each commit, acknowledged events are lost and the harness says so."""
    assert len(await losses(journal, level, tmp_path)) > CUTS // 4


@pytest.mark.parametrize("call", ["sync", "write"])
@pytest.mark.parametrize("where", ["segments", "ebbgate.db"])
async def test_an_io_error_ends_the_store(journal: Journal, tmp_path: Path, call: str, where: str) -> None:
    """A failed write or fsync is never acknowledged and never retried: every later call fails, a fresh process recovers."""
    for nth in range(1, scaled(4) + 1):
        journal.root = tmp_path / f"store-{nth}"
        failure = Failure(call, where, nth)
        journal.fail = failure
        acked: list[tuple[str, Any]] = []
        async with opened(journal.root, vfs="ebbgate-crash") as store:
            await store.append([event("first")])
            failure.armed = True
            for number in range(2 * nth + 10):
                try:
                    await store.append([event(number)])
                    acked.append(("event", number))
                    assert not (failure.happened and where == "segments")
                    await store.record([kit.acted()])
                except StoreBroken:
                    break
            assert failure.happened
            for again in range(3):
                with pytest.raises(StoreBroken):
                    await store.append([event(f"after-{again}")])
            assert not store.healthy()
            failure.armed = False
        assert (journal.root / "CHECK").exists()
        assert await lost(journal.root, acked) == ""
        assert not (journal.root / "CHECK").exists()


async def test_a_full_disk_refuses_and_recovers(journal: Journal) -> None:
    """While there is no room every event is refused and none is half taken; with room again the store goes on by itself."""
    full = False
    journal.fail = lambda call, path: apsw.FullError if full and call == "write" else None
    async with opened(journal.root, vfs="ebbgate-crash") as store:
        await store.append([event(1)])
        full = True
        for number in (2, 3):
            with pytest.raises(StoreFull):
                await store.append([event(number)])
        with pytest.raises(StoreFull):
            await store.record([kit.acted()])
        assert not store.healthy()
        full = False
        assert await store.append([event(1), event(2)]) == ["duplicate", "accepted"]
        assert store.healthy()
        assert [e.nseq for e in await store.log()] == [1, 2, 3]
        assert await deliver(store) == [payload(1, "ga4"), payload(2, "ga4")]
