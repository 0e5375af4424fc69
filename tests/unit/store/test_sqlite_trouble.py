"""What the SQLite store does with files and moments that it cannot trust."""

from __future__ import annotations

import asyncio
import fcntl
from pathlib import Path

import apsw
import pytest

from ebbgate.errors import StoreBroken, StoreError, StoreFull
from ebbgate.store import sqlite_connect
from ebbgate.store.sqlite_connect import fetch, translate
from ebbgate.store.sqlite_segments import Segment, bits
from ebbgate.store.sqlite_upkeep import SqliteUpkeep
from ebbgate.store.sqlite_writer import as_broken
from tests.unit.store import kit
from tests.unit.store.kit import NOW, event, key_of, take
from tests.unit.store.test_sqlite import opened, until


def change(path: Path, sql: str) -> None:
    db = apsw.Connection(str(path))
    fetch(db, sql)
    db.close()


@pytest.mark.parametrize("name", ["ebbgate.db", "segments/seg-000001.db"])
async def test_another_version_is_refused(tmp_path: Path, name: str) -> None:
    """A file of a version that this ebbgate does not know is left alone."""
    async with opened(tmp_path):
        pass
    change(tmp_path / name, "PRAGMA user_version = 99")
    with pytest.raises(StoreBroken, match="version 99"):
        async with opened(tmp_path):
            pass


async def test_two_unsealed_segments_are_refused(tmp_path: Path) -> None:
    """Files that no ebbgate leaves behind, such as a half restored backup, are not guessed about."""
    async with opened(tmp_path, segment_events=1) as store:
        await store.append([event(1)])
        await until(lambda: (tmp_path / "segments" / "seg-000002.db").exists())
    change(tmp_path / "segments" / "seg-000001.db", "DELETE FROM meta WHERE name = 'sealed'")
    with pytest.raises(StoreBroken, match="second unsealed"):
        async with opened(tmp_path):
            pass


async def test_after_an_error_damage_is_found(tmp_path: Path) -> None:
    """With the mark of an I/O error the files are checked first, and a damaged one is refused."""
    async with opened(tmp_path) as store:
        await store.append([event(i) for i in range(200)])
    (tmp_path / "CHECK").touch()
    file = tmp_path / "segments" / "seg-000001.db"
    data = bytearray(file.read_bytes())
    data[3 * 8192 : 3 * 8192 + 4000] = bytes(4000)
    file.write_bytes(data)
    with pytest.raises(StoreBroken):
        async with opened(tmp_path):
            pass
    assert (tmp_path / "CHECK").exists()


async def test_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    """A path that is no directory is an error with a hint, not a traceback."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be used"):
        async with opened(tmp_path / "file"):
            pass


async def test_the_wal_stays_short(tmp_path: Path) -> None:
    """Checkpoints beside the writer keep a WAL near its bound while events keep coming."""
    async with opened(tmp_path, wal_bytes=400_000) as store:
        wal = tmp_path / "segments" / "seg-000001.db-wal"
        for first in range(0, 4000, 50):
            await store.append([event(first + i, payloads={"ga4": bytes(1500)}) for i in range(50)])
        await store.record([kit.acted()])
        assert wal.stat().st_size < 4_000_000 < (tmp_path / "segments" / "seg-000001.db").stat().st_size


async def test_trouble_beside_the_writer_ends_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong in sealing, indexing or pruning is not passed over: no more answers."""

    def fail(self: SqliteUpkeep, number: int) -> None:
        raise ValueError("canary")

    monkeypatch.setattr(SqliteUpkeep, "_index", fail)
    async with opened(tmp_path, segment_events=1) as store:
        await store.append([event(1)])
        await until(lambda: not store.healthy())
        with pytest.raises(StoreBroken, match="unexpected ValueError") as error:
            await store.append([event(2)])
        assert "canary" not in str(error.value)


async def test_trouble_on_the_writer_ends_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error outside any transaction leaves nobody waiting and takes nothing back."""
    async with opened(tmp_path) as store:
        await store.append([event(1)])
        monkeypatch.setattr(fcntl, "flock", _no_lock)
        with pytest.raises(StoreBroken, match="operating system"):
            await asyncio.wait_for(store.append([event(2)]), 5)
        assert not store.healthy()
        monkeypatch.undo()
    async with opened(tmp_path) as store:
        assert await store.append([event(1), event(2)]) == ["duplicate", "accepted"]


def _no_lock(*_: object) -> None:
    raise OSError(5, "Input/output error")


async def test_a_busy_file_refuses_and_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program that holds a file delays events with an error, and harms nothing."""
    monkeypatch.setattr(sqlite_connect, "BUSY_MS", 20)
    async with opened(tmp_path) as store:
        await store.append([event(1)])
        other = apsw.Connection(str(tmp_path / "segments" / "seg-000001.db"))
        fetch(other, "BEGIN IMMEDIATE")
        with pytest.raises(StoreFull, match="locked"):
            await store.append([event(2)])
        fetch(other, "ROLLBACK")
        other.close()
        assert await store.append([event(2)]) == ["accepted"]
        assert store.healthy()


def test_errors_are_sorted() -> None:
    """No room and busy can be waited for; all else ends the store."""
    assert isinstance(translate(apsw.FullError("x"), "f"), StoreFull)
    assert isinstance(translate(apsw.BusyError("x"), "f"), StoreFull)
    assert isinstance(translate(apsw.IOError("x"), "f"), StoreBroken)
    assert isinstance(translate(apsw.CorruptError("x"), "f"), StoreBroken)
    assert as_broken(apsw.FullError("x")).code == "store_full"
    assert as_broken(StoreBroken("x", code="mine")).code == "mine"


def test_settings_that_do_not_hold_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PRAGMA that silently did not run, or a file with other pages, is found at opening."""
    monkeypatch.setattr(sqlite_connect, "_LEVELS", {"FULL": 9})
    with pytest.raises(StoreBroken, match="synchronous"):
        Segment.open(tmp_path, 1, now_ms=NOW, base=0)
    monkeypatch.undo()
    change(tmp_path / "seg-000002.db", "PRAGMA page_size = 4096; CREATE TABLE t(a)")
    with pytest.raises(StoreBroken, match="page_size"):
        Segment.open(tmp_path, 2, now_ms=NOW, base=0)


def test_bits() -> None:
    """Numbers of the set bits, remembered only for so many masks."""
    assert list(bits(0b1011)) == [0, 1, 3]
    assert all(list(bits(1 << 40 | n << 1))[-1] == 40 for n in range(5000))


async def test_reads_pass_by_a_segment_in_the_making(tmp_path: Path) -> None:
    """Between the moment a new segment's file is there and its tables are, every read answers from the others."""
    async with opened(tmp_path) as store:
        await store.append([event(1, to=["ga4"], held=["meta"])])
        (tmp_path / "segments" / "seg-000002.db").touch()
        assert {q.destination: (q.waiting, q.held) for q in await store.queues()} == {"ga4": (1, 0), "meta": (0, 1)}
        lease = await take(store)
        assert len((await store.due(lease, limit=5, now_ms=NOW)).queued) == 1
        assert await store.trace(key_of(1)) is not None
        assert len(await store.log()) == 1
