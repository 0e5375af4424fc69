"""Opening SQLite files so that a commit means what it says, and naming what went wrong when it does not.

Every PRAGMA that durability or privacy rests on is read back: one that silently did not run is the classic way to lose
acknowledged events (specs/reliability.md §0.4). An SQLite with the WAL-reset race is refused (§0.3).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import apsw

from ebbgate.errors import StoreBroken, StoreError, StoreFull

#: First release without the WAL-reset race (specs/reliability.md §0.3).
OLDEST: Final = (3, 51, 3)
PAGE_SIZE: Final = 8192  #: 1.5 KiB rows fit 4 KiB pages badly (specs/performance.md §4)
BUSY_MS: Final = 5000
Synchronous = Literal["FULL", "NORMAL", "OFF"]
_LEVELS: Final = {"OFF": 0, "NORMAL": 1, "FULL": 2}


def check_library(version: str = "") -> None:
    """Raise StoreError when the linked SQLite is too old to be trusted."""
    linked = version or apsw.sqlite_lib_version()
    if tuple(int(p) for p in linked.split(".")[:3]) < OLDEST:
        raise StoreError(
            f"SQLite {linked} may lose committed writes",
            code="sqlite_too_old",
            hint=f"Install the apsw wheel, which brings SQLite {'.'.join(map(str, OLDEST))} or newer.",
        )


def writer(path: Path, *, synchronous: Synchronous = "FULL", vfs: str = "") -> apsw.Connection:
    """A read-write connection: WAL, `synchronous` as told, checkpoints only when asked for, deleted content overwritten.

    With a `vfs` of its own (tests) it locks the file exclusively, because such a VFS offers no shared memory.
    Raises StoreBroken when a setting does not hold.
    """
    try:
        if not vfs:
            private(path)
        db = apsw.Connection(str(path), vfs=vfs or None)
        db.set_busy_timeout(BUSY_MS)
        if vfs:
            _set(db, "locking_mode", "EXCLUSIVE", "exclusive")
        db.pragma("page_size", PAGE_SIZE)
        _set(db, "journal_mode", "WAL", "wal")
        _set(db, "synchronous", synchronous, _LEVELS[synchronous])
        _set(db, "wal_autocheckpoint", 0, 0)
        _set(db, "secure_delete", "ON", 1)
        _set(db, "trusted_schema", "OFF", 0)
        _set(db, "cell_size_check", "ON", 1)
        _set(db, "temp_store", "MEMORY", 2)
        db.pragma("cache_size", -16384)
        # A WAL that once grew is cut back at its next reset: shredded bytes do not stay behind its end.
        _set(db, "journal_size_limit", 64 << 20, 64 << 20)
        if db.pragma("page_size") != PAGE_SIZE:
            raise StoreBroken(f"{path.name}: page_size is {db.pragma('page_size')}, not {PAGE_SIZE}", code="sqlite_setting")
    except apsw.Error as error:
        raise translate(error, path.name) from None
    return db


def reader(path: Path) -> apsw.Connection:
    """A connection that only reads, beside a writer of this or another process."""
    try:
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        db.set_busy_timeout(BUSY_MS)
        _set(db, "query_only", "ON", 1)
        _set(db, "trusted_schema", "OFF", 0)
    except apsw.Error as error:
        raise translate(error, path.name) from None
    return db


def translate(error: apsw.Error, where: str) -> StoreError:
    """StoreFull when there was no room and nothing was taken; StoreBroken for all else: what is on disk is unknown."""
    if isinstance(error, apsw.FullError):
        return StoreFull(f"{where}: the disk is full", hint="Free some space; the gateway goes on by itself.")
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return StoreFull(f"{where}: locked by another program", code="store_busy", hint="Close other programs that hold the file.")
    if isinstance(error, apsw.NotADBError):
        hint = "Put the right file back, or move this one away: `store.url` names it."
        return StoreBroken(f"{where} is no SQLite file", code="store_damaged", hint=hint)
    name = apsw.mapping_extended_result_codes.get(getattr(error, "extendedresult", 0), type(error).__name__)
    return StoreBroken(
        f"{where}: SQLite reported {name}", code="sqlite_error", hint="The process must stop; the next one checks the files."
    )


def private(path: Path) -> None:
    """Make the file if it is not there, readable by its owner only; SQLite gives its WAL the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def fetch(db: apsw.Connection, sql: str, values: Sequence[Any] = ()) -> list[Any]:
    """All rows of a statement. The statement ends here, so no read transaction lingers behind an iterator."""
    return db.execute(sql, values).fetchall()


def first(db: apsw.Connection, sql: str, values: Sequence[Any] = ()) -> Any:
    """The first row of a statement, or None; ends the statement too."""
    rows = fetch(db, sql, values)
    return rows[0] if rows else None


def stream(db: apsw.Connection, sql: str, values: Sequence[Any] = ()) -> Iterator[Any]:
    """Rows one by one, for a result that should not stand in memory at once."""
    yield from db.execute(sql, values)


def many(db: apsw.Connection, sql: str, rows: Iterable[Sequence[Any]]) -> None:
    """Run a statement once for each row of values."""
    db.executemany(sql, rows).fetchall()


@contextmanager
def immediate(db: apsw.Connection) -> Iterator[None]:
    """A write transaction that takes its lock at once: one that begins by reading may find its snapshot stale."""
    fetch(db, "BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        fetch(db, "ROLLBACK")
        raise
    fetch(db, "COMMIT")


def sync_directory(path: Path) -> None:
    """Make names created or removed in a directory durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _set(db: apsw.Connection, name: str, value: str | int, expected: str | int) -> None:
    db.pragma(name, value)
    found = db.pragma(name)
    if found != expected:
        raise StoreBroken(f"PRAGMA {name} is {found}, not {expected}", code="sqlite_setting")
