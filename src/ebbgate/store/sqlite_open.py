"""Opening the SQLite store: check, recover what an earlier process left, and say which work it did not finish."""

from __future__ import annotations

import os
from pathlib import Path

import apsw

from ebbgate.errors import StoreBroken
from ebbgate.store.duplicates import DuplicateWindow
from ebbgate.store.key_mark import check_keys
from ebbgate.store.keys import KeyRing
from ebbgate.store.options import Options
from ebbgate.store.parked import ParkedRows
from ebbgate.store.sqlite_connect import check_library, fetch, sync_directory, translate, writer
from ebbgate.store.sqlite_delivery import SQL as DELIVERY
from ebbgate.store.sqlite_delivery import Delivery, Numbers, Parked
from ebbgate.store.sqlite_segments import SQL as SEGMENT
from ebbgate.store.sqlite_segments import Segment, archive_path, archived, load_index, position, present, segment_path
from ebbgate.store.sqlite_upkeep import unlink_segment
from ebbgate.store.sqlite_writer import MARKER, State


def open_state(path: Path, keys: KeyRing, options: Options) -> tuple[State, list[int]]:
    """Open all files for writing. Returns the state and the sealed segments whose index was not finished.

    Raises StoreBroken when a file is damaged or of another version, StoreError for an SQLite that is too old.
    """
    check_library()
    directory = path.parent
    try:
        db = writer(path, synchronous=options.synchronous, vfs=options.vfs)
        Delivery.create(db)
        sync_directory(directory)
        check_keys(directory, keys)
        checking = (directory / MARKER).exists()
        if checking:
            _check(db, path.name)
        numbers = Numbers(0)
        delivery = Delivery(db, keys, numbers)
        delivery.recover()
        options.failpoint("open.delivery")
        state, unfinished = _segments(directory, keys, options, delivery, numbers, checking)
    except apsw.Error as error:
        raise translate(error, path.name) from None
    options.failpoint("open.segments")
    if checking:
        (directory / MARKER).unlink()
        sync_directory(directory)
    if not options.vfs:
        state.lock = os.open(directory / "commit.lock", os.O_RDWR | os.O_CREAT, 0o600)
    return state, unfinished


def _segments(
    directory: Path, keys: KeyRing, options: Options, delivery: Delivery, numbers: Numbers, checking: bool
) -> tuple[State, list[int]]:
    files = directory / "segments"
    for draft in files.glob("*.tmp"):
        draft.unlink()
    known = {n: (last_at, bool(pruned)) for n, _, _, _, last_at, _, pruned in fetch(delivery.db, DELIVERY["segments"])}
    for number in present(files):
        if known.get(number, (0, False))[1]:
            unlink_segment(files, number)  # archived and recorded, the crash came before the unlinking
    window = DuplicateWindow(window_ms=options.window_ms, recent=options.recent)
    released = {tuple(r) for r in fetch(delivery.db, DELIVERY["released"])}
    numbers.last = delivery.last_nseq()
    parked: ParkedRows[Parked] = ParkedRows()
    leftover: list[Parked] = []
    sealed: list[tuple[int, int]] = []
    unfinished: list[int] = []
    active: Segment | None = None
    now_ms = options.clock_ms()
    whole = present(files)
    for number in sorted({*whole, *archived(files)}):
        if number not in whole:
            if known[number][0] + options.window_ms >= now_ms:
                _restore(window, number, known[number][0], archive_path(files, number))
            continue
        segment = Segment.open(files, number, now_ms=now_ms, base=numbers.last, synchronous=options.synchronous, vfs=options.vfs)
        numbers.last = max(numbers.last, segment.last_nseq)
        for row, event, until, at, bit, subject, key, size in fetch(segment.db, SEGMENT["all_held"]):
            one = Parked(number, row, position(number, event), until, at, bit, key, subject, size)
            if (number, row) in released:
                leftover.append(one)
            else:
                parked.add(one)
        if segment.meta("sealed") is None:
            if active is not None:
                raise StoreBroken(f"{segment.path.name}: a second unsealed segment", code="store_damaged")
            active = segment
            if checking:
                _check(segment.db, segment.path.name)
            window.active, window.active_conversions = segment.all_claims()
            continue
        index = load_index(segment.db)
        if index is not None and number in known:
            window.restore(number, segment.last_at, *index)
            sealed.append((number, segment.last_id))
        else:
            window.restore(number, segment.last_at, *segment.all_claims())
            unfinished.append(number)
        segment.close()
    if active is None:
        number = max([*whole, *known, 0]) + 1
        active = Segment.open(files, number, now_ms=now_ms, base=numbers.last, synchronous=options.synchronous, vfs=options.vfs)
    state = State(directory, keys, options, delivery, numbers, window, active, parked, sealed)
    _finish_deletions(state, leftover)
    return state, unfinished


def _restore(window: DuplicateWindow, number: int, last_ms: int, path: Path) -> None:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        index = load_index(db)
    finally:
        db.close()
    if index is not None:
        window.restore(number, last_ms, *index)


def _finish_deletions(state: State, leftover: list[Parked]) -> None:
    """Held rows that were released or shredded before a crash: their bytes go now."""
    for one in leftover:
        active = one.segment == state.active.number
        path = segment_path(state.directory / "segments", one.segment)
        db = state.active.db if active else writer(path, synchronous=state.options.synchronous, vfs=state.options.vfs)
        fetch(db, SEGMENT["delete_held"], (one.row,))
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        if not active:
            db.close()


def _check(db: apsw.Connection, name: str) -> None:
    """After an I/O error: believe the file only when SQLite finds it whole."""
    found = db.pragma("quick_check")
    if found != "ok":
        raise StoreBroken(f"{name} is damaged", code="store_damaged", hint="Restore a backup; keep this file for analysis.")
