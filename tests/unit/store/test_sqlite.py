"""The SQLite store beyond the common contract: restarts, segments, bounds, what is on disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ebbgate.errors import ConfigError, StoreBroken, StoreError, StoreFull
from ebbgate.model import Outcome
from ebbgate.store.keys import KeyRing
from ebbgate.store.open import open_beside, open_store, sqlite_path
from ebbgate.store.options import DAY_MS, Options
from ebbgate.store.protocol import Appended, Result
from ebbgate.store.sqlite import SqliteStore
from ebbgate.store.sqlite_connect import check_library, first
from ebbgate.store.sqlite_upkeep import SqliteUpkeep
from tests.fault.store_oracle import log_rows
from tests.unit.store import kit
from tests.unit.store.kit import KEYS, NOW, deliver, event, key_of, payload, take


@asynccontextmanager
async def opened(directory: Path, **options: Any) -> AsyncIterator[SqliteStore]:
    settings: dict[str, Any] = {"clock_ms": lambda: NOW, "min_free_bytes": 0, "idle_s": 0.01, **options}
    store = SqliteStore(directory / "ebbgate.db", KEYS, Options(**settings))
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def until(condition: Callable[[], bool], *, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def segments(directory: Path) -> list[str]:
    return sorted(p.name for p in (directory / "segments").iterdir() if p.suffix == ".db")


def on_disk(directory: Path) -> bytes:
    return b"".join(p.read_bytes() for p in directory.rglob("*") if p.is_file())


class TestRestart:
    async def test_finds_everything_again(self, tmp_path: Path) -> None:
        """Claims, queue, cursor, log numbers and choices are there after a restart."""
        async with opened(tmp_path) as store:
            await store.append([event(i) for i in range(10)])
            lease = await take(store)
            chunk = await store.due(lease, limit=4, now_ms=NOW)
            results = [Result(q, Outcome.DELIVERED) for q in chunk.queued]
            await store.settle(lease, results, [kit.ended()], cursor=chunk.scanned_to, now_ms=NOW)
            before = await store.log()
        async with opened(tmp_path) as store:
            assert await store.append([event(3), event(10)]) == ["duplicate", "accepted"]
            assert await deliver(store) == [payload(i, "ga4") for i in range(4, 11)]
            log = await store.log()
            assert [e.body for e in log[: len(before)]] == [e.body for e in before]
            assert [e.nseq for e in log] == list(range(1, log_rows(tmp_path) + 1))

    async def test_an_answered_row_is_not_sent_again(self, tmp_path: Path) -> None:
        """Rows settled ahead of the cursor, by a request or without, and retries stay so after a crash."""
        async with opened(tmp_path) as store:
            await store.append([event(i) for i in range(5)])
            lease = await take(store)
            rows = (await store.due(lease, limit=10, now_ms=NOW)).queued
            attempt = await store.begin(lease, rows[1:3], kit.started(rows[1:3]), now_ms=NOW)
            answers = [Result(rows[1], Outcome.DELIVERED), Result(rows[2], retry_at_ms=NOW + 50)]
            await store.finish(lease, attempt, answers, kit.finished(), cursor=0, now_ms=NOW)
            await store.settle(lease, [Result(rows[3], Outcome.EXPIRED)], [kit.ended()], cursor=0, now_ms=NOW)
        async with opened(tmp_path) as store:
            lease = await take(store)
            again = (await store.due(lease, limit=10, now_ms=NOW)).queued
            assert [q.payload for q in again] == [payload(0, "ga4"), payload(4, "ga4")]
            (late,) = (await store.due(lease, limit=10, now_ms=NOW + 50)).queued
            assert (late.payload, late.attempts) == (payload(2, "ga4"), 1)

    async def test_open_attempts_survive_and_count(self, tmp_path: Path) -> None:
        """A request begun before a crash is found; closed without an outcome, its rows remember it over another restart."""
        async with opened(tmp_path) as store:
            await store.append([event(1)])
            lease = await take(store)
            rows = (await store.due(lease, limit=10, now_ms=NOW)).queued
            await store.begin(lease, rows, kit.started(rows), now_ms=NOW + 9)
        async with opened(tmp_path) as store:
            lease = await take(store)
            (attempt,) = await store.open_attempts("ga4")
            assert attempt.started_ms == NOW + 9
            await store.close_attempt(lease, attempt.id, None, kit.finished(), now_ms=NOW + 10)
        async with opened(tmp_path) as store:
            (row,) = (await store.due(await take(store), limit=10, now_ms=NOW)).queued
            assert (row.attempts, row.first_attempt_ms) == (1, NOW + 9)

    async def test_the_dead_process_s_lease_ends(self, tmp_path: Path) -> None:
        """The store's lock proves that the old holder is gone: no waiting for its lease, and its token is stale."""
        async with opened(tmp_path) as store:
            old = await take(store)
        async with opened(tmp_path) as store:
            new = await take(store)
            assert new.token > old.token

    async def test_held_are_found_again(self, tmp_path: Path) -> None:
        """Parked deliveries outlive the process, released ones are not parked again."""
        async with opened(tmp_path) as store:
            await store.append([event(i, to=[], held=["meta"], subject=b"s" * 16) for i in range(2)])
            await store.append([event(9, to=[], held=["meta"], subject=b"t" * 16)])
            await kit.release(store, b"t" * 16)
        async with opened(tmp_path) as store:
            assert len(await store.held(b"s" * 16)) == 2
            assert await store.held(b"t" * 16) == []
            assert await deliver(store, "meta") == [payload(9, "meta")]

    async def test_one_gateway_at_a_time(self, tmp_path: Path) -> None:
        """A second gateway on the same directory is refused."""
        async with opened(tmp_path):
            with pytest.raises(StoreBroken, match="another gateway"):
                async with opened(tmp_path):
                    pass

    async def test_other_keys_open_nothing(self, tmp_path: Path) -> None:
        """With the wrong keys no payload is read, and nothing is delivered by mistake."""
        async with opened(tmp_path) as store:
            await store.append([event(1)])
        other = SqliteStore(tmp_path / "ebbgate.db", KeyRing.ephemeral(), Options(min_free_bytes=0))
        with pytest.raises(ConfigError, match=r"pepper\.key"):
            await other.open()
        (tmp_path / "keys.mark").unlink()  # as stores of older versions have none
        await other.open()
        with pytest.raises(StoreBroken):
            await other.due(await take(other), limit=1, now_ms=NOW)
        await other.close()


class TestSegments:
    async def test_rotation_changes_nothing_for_readers(self, tmp_path: Path) -> None:
        """Queue, log, stories and duplicates go on over the border of segments."""
        async with opened(tmp_path, segment_events=10) as store:
            for start in range(0, 45, 5):
                await store.append([event(i) for i in range(start, start + 5)])
            await until(lambda: len(segments(tmp_path)) == 5)
            assert await store.append([event(0), event(44), event(22)]) == ["duplicate"] * 3
            assert await deliver(store, limit=7) == [payload(i, "ga4") for i in range(45)]
            log = await store.log(limit=10_000)
            assert [e.nseq for e in log] == list(range(1, log_rows(tmp_path) + 1))
            trace = await store.trace(key_of(3))
            assert trace is not None
            assert trace.outcomes["ga4"][0] is Outcome.DELIVERED
            states = {q.destination: q for q in await store.queues()}
            assert (states["ga4"].waiting, states["meta"].waiting) == (0, 45)

    async def test_restart_in_many_segments(self, tmp_path: Path) -> None:
        """Sealed segments are known after a restart, whether their index was finished or not."""
        async with opened(tmp_path, segment_events=5) as store:
            for i in range(23):
                await store.append([event(i)])
        async with opened(tmp_path, segment_events=5) as store:
            assert set(await store.append([event(i) for i in range(23)])) == {Appended.DUPLICATE}
            assert await deliver(store, limit=50) == [payload(i, "ga4") for i in range(23)]

    async def test_passed_segments_are_pruned_and_stay_provable(self, tmp_path: Path) -> None:
        """Once every cursor is past, payloads go with the file; log, stories and duplicate keys stay."""
        async with opened(tmp_path, segment_events=5) as store:
            for i in range(12):
                await store.append([event(i)])
            before = [e.body for e in await store.log()]
            await deliver(store, "ga4")
            await asyncio.sleep(0.1)
            assert "seg-000001.db" in segments(tmp_path)
            await deliver(store, "meta")
            await until(lambda: segments(tmp_path) == ["log-000001.db", "log-000002.db", "seg-000003.db"])
            log = await store.log()
            assert [e.body for e in log[:12]] == before
            assert log[0].opening is not None
            trace = await store.trace(key_of(1))
            assert trace is not None
            assert trace.outcomes["meta"][0] is Outcome.DELIVERED
            assert await store.append([event(1)]) == ["duplicate"]
        async with opened(tmp_path, segment_events=5) as store:
            assert await store.append([event(1), event(99)]) == ["duplicate", "accepted"]
            assert await deliver(store) == [payload(99, "ga4")]
            log = await store.log()
            assert [e.nseq for e in log] == list(range(1, log_rows(tmp_path) + 1))

    async def test_nothing_held_is_pruned(self, tmp_path: Path) -> None:
        """A segment with a parked delivery stays until it is released or shredded."""
        async with opened(tmp_path, segment_events=2) as store:
            await store.append([event(0, to=[], held=["meta"], subject=b"s" * 16)])
            for i in range(1, 4):
                await store.append([event(i, to=["ga4"])])
            await deliver(store, "ga4")
            await until(lambda: "seg-000002.db" in segments(tmp_path))
            lease = await take(store, "meta")
            chunk = await store.due(lease, limit=10, now_ms=NOW)
            await store.settle(lease, [], [], cursor=chunk.scanned_to, now_ms=NOW)
            await asyncio.sleep(0.1)
            assert "seg-000001.db" in segments(tmp_path)
            assert await kit.release(store, b"s" * 16) == 1
            await until(lambda: "seg-000001.db" not in segments(tmp_path))
            assert await deliver(store, "meta") == [payload(0, "meta")]

    async def test_age_seals(self, tmp_path: Path) -> None:
        """An idle segment is sealed by its age, so that delivered payloads do not lie about."""
        now = NOW

        async with opened(tmp_path, segment_ms=1000, clock_ms=lambda: now) as store:
            await store.append([event(1)])
            await deliver(store, "ga4")
            await deliver(store, "meta")
            now += 1001
            await until(lambda: segments(tmp_path) == ["log-000001.db", "seg-000002.db"])

    async def test_windows_of_duplicates(self, tmp_path: Path) -> None:
        """Conversions are known over the whole window, other events over the recent segments only."""
        day = DAY_MS
        async with opened(tmp_path, segment_events=1, recent=2, window_ms=8 * day) as store:
            await store.append([event("sale", at_ms=NOW)])
            await store.append([event("view", at_ms=NOW, conversion=False)])
            for i in range(4):
                await store.append([event(i, at_ms=NOW + day)])
            assert await store.append([event("sale", at_ms=NOW + day)]) == ["duplicate"]
            assert await store.append([event("view", at_ms=NOW + day, conversion=False)]) == ["accepted"]
            await store.append([event("late", at_ms=NOW + 9 * day)])
            await store.append([event("later", at_ms=NOW + 9 * day)])
            assert await store.append([event("sale", at_ms=NOW + 9 * day)]) == ["accepted"]


class TestBounds:
    async def test_too_much_waiting_is_refused(self, tmp_path: Path) -> None:
        """Beyond the bound of events or bytes nothing is taken, and room comes back."""
        async with opened(tmp_path, pending_events=10, pending_bytes=1 << 20) as store:
            calls = [store.append([event(f"{n}-{i}") for i in range(6)]) for n in range(3)]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(a).__name__ for a in answers] == ["list", "StoreFull", "StoreFull"]
            big = {"ga4": bytes(900_000)}
            calls = [store.append([event(f"big-{n}", payloads=big)]) for n in range(2)]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(answers[1], StoreFull)
            assert await store.append([event("again")]) == ["accepted"]

    async def test_below_the_reserve_only_events_are_refused(self, tmp_path: Path) -> None:
        """With little disk left events are refused, deliveries and choices go on, and the store says it is not well."""
        async with opened(tmp_path) as store:
            await store.append([event(1)])
        async with opened(tmp_path, min_free_bytes=1 << 60) as store:
            with pytest.raises(StoreFull):
                await store.append([event(2)])
            assert not store.healthy()
            assert await deliver(store) == [payload(1, "ga4")]

    async def test_a_cancelled_caller_harms_nobody(self, tmp_path: Path) -> None:
        """What a caller that went away has handed over is written, and the others are answered."""
        async with opened(tmp_path) as store:
            gone = asyncio.ensure_future(store.append([event(1)]))
            await asyncio.sleep(0)
            gone.cancel()
            assert await store.append([event(1), event(2)]) == ["duplicate", "accepted"]

    async def test_closed_is_closed(self, tmp_path: Path) -> None:
        """A store that is not open raises, and says it is not healthy."""
        store = SqliteStore(tmp_path / "ebbgate.db", KEYS)
        assert not store.healthy()
        with pytest.raises(StoreError):
            await store.append([event(1)])
        await store.close()


class TestDisk:
    async def test_nothing_readable_is_on_disk(self, tmp_path: Path) -> None:
        """Payloads, event ids and dead letters are sealed in every file of the store."""
        async with opened(tmp_path) as store:
            secret = {"ga4": b"canary-payload", "meta": b"canary-payload"}
            await store.append([event("canary-id", payloads=secret, held=["webhook"], subject=b"s" * 16)])
            lease = await take(store)
            chunk = await store.due(lease, limit=1, now_ms=NOW)
            dead = [Result(chunk.queued[0], Outcome.REJECTED, dead=True)]
            await store.settle(lease, dead, [kit.ended()], cursor=chunk.scanned_to, now_ms=NOW)
            assert b"canary" not in on_disk(tmp_path)
            assert b"payload-canary" not in on_disk(tmp_path)

    async def test_shredded_bytes_are_gone(self, tmp_path: Path) -> None:
        """After a shredding or a drop the sealed bytes themselves are in no file, not even in the WAL."""
        async with opened(tmp_path) as store:
            await store.append([event(1, to=["ga4"], held=["meta"], subject=b"s" * 16)])
            lease = await take(store)
            chunk = await store.due(lease, limit=1, now_ms=NOW)
            dead = [Result(chunk.queued[0], Outcome.REJECTED, dead=True)]
            await store.settle(lease, dead, [kit.ended()], cursor=chunk.scanned_to, now_ms=NOW)
            state = store._opened()
            held = first(state.active.db, "SELECT payload FROM held")[0]
            letter = first(state.delivery.db, "SELECT payload FROM exceptions")[0]
            assert held in on_disk(tmp_path)
            assert letter in on_disk(tmp_path)
            await store.shred_held(b"s" * 16, None, expired_before_ms=0, outcome=Outcome.ERASED, entry=kit.shredded)
            assert held not in on_disk(tmp_path)
            (found,) = await store.dead_letters()
            await store.drop([found.id], entry=kit.acted("queue.drop"))
            assert letter not in on_disk(tmp_path)

    async def test_a_shredding_that_was_cut_short_is_finished(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Shredded on record but not yet overwritten when the process died: the next one overwrites before it serves."""
        async with opened(tmp_path) as store:
            await store.append([event(1, to=[], held=["meta"], subject=b"s" * 16)])
            held = first(store._opened().active.db, "SELECT payload FROM held")[0]
            monkeypatch.setattr(SqliteUpkeep, "delete_held", lambda self, parked: None)
            await store.shred_held(b"s" * 16, None, expired_before_ms=0, outcome=Outcome.ERASED, entry=kit.shredded)
        assert held in on_disk(tmp_path)
        async with opened(tmp_path) as store:
            assert held not in on_disk(tmp_path)
            assert await store.held(b"s" * 16) == []

    async def test_files_are_private(self, tmp_path: Path) -> None:
        """Nobody but the owner can read the store."""
        async with opened(tmp_path / "data") as store:
            await store.append([event(1)])
            modes = {p.name: p.stat().st_mode & 0o077 for p in (tmp_path / "data").rglob("*")}
            assert set(modes.values()) == {0}, modes

    async def test_weak_settings_are_read_back(self, tmp_path: Path) -> None:
        """The settings that durability rests on hold on every file that is written."""
        async with opened(tmp_path) as store:
            state = store._opened()
            for db in (state.active.db, state.delivery.db):
                assert [db.pragma(p) for p in ("journal_mode", "synchronous", "secure_delete", "page_size")] == ["wal", 2, 1, 8192]

    def test_an_old_sqlite_is_refused(self) -> None:
        """A library with the WAL-reset race is not used."""
        check_library("3.51.3")
        for version in ("3.51.2", "3.40.1"):
            with pytest.raises(StoreError, match="lose"):
                check_library(version)


class TestBeside:
    async def test_the_command_line_works_while_the_gateway_runs(self, tmp_path: Path) -> None:
        """Dead letters are revived by another process; both count log entries without a gap."""
        async with opened(tmp_path) as store:
            await store.append([event(i) for i in range(3)])
            lease = await take(store)
            chunk = await store.due(lease, limit=10, now_ms=NOW)
            dead = [Result(q, Outcome.REJECTED, dead=True, reason="http_400") for q in chunk.queued]
            await store.settle(lease, dead, [kit.ended()], cursor=chunk.scanned_to, now_ms=NOW)
            visitor = open_beside(f"sqlite:///{tmp_path}/ebbgate.db", KEYS)
            await visitor.open()
            letters = await visitor.dead_letters("ga4")
            assert [d.key for d in letters] == [key_of(i) for i in (2, 1, 0)]
            assert await visitor.revive([letters[0].id], now_ms=NOW, entry=kit.acted()) == 1
            await store.append([event(7)])
            assert await visitor.drop([letters[1].id], entry=kit.acted("queue.drop")) == 1
            await visitor.record([kit.acted()])
            await store.append([event(8)])
            assert [q.dead for q in await visitor.queues() if q.destination == "ga4"] == [1]
            assert await visitor.trace(key_of(7)) is not None
            log = await store.log()
            assert [e.nseq for e in log] == list(range(1, log_rows(tmp_path) + 1)) == [e.nseq for e in await visitor.log()]
            await visitor.close()
            late = (await store.due(lease, limit=10, now_ms=NOW)).queued
            assert [q.payload for q in late] == [payload(2, "ga4")]

    async def test_needs_a_store(self, tmp_path: Path) -> None:
        """Without a store there is an error with a hint, and none is made."""
        with pytest.raises(ConfigError, match="no store"):
            await open_beside(f"sqlite:///{tmp_path}/ebbgate.db", KEYS).open()
        assert not (tmp_path / "ebbgate.db").exists()


class TestAddress:
    def test_chooses_the_backend(self, tmp_path: Path) -> None:
        """`memory:` and `sqlite:///` are known, anything else is an error."""
        assert open_store("memory:", KEYS).durability == "memory"
        assert open_store(f"sqlite:///{tmp_path}/x.db", KEYS, segment_events=5).durability == "fsync"
        assert sqlite_path("sqlite:////var/lib/e.db") == Path("/var/lib/e.db")
        for wrong in ("postgres://x", "sqlite:///", "sqlite://x", ""):
            with pytest.raises(ConfigError):
                open_store(wrong, KEYS)
