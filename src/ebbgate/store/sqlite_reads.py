"""What is read from the SQLite store: queues, the story of one event, the log. Never blocks the writer.

Used by the gateway on a thread of its own and by the command line beside a running gateway: all it needs is on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import apsw

from ebbgate.audit.canonical import EntryError
from ebbgate.audit.entry import unpack_opening
from ebbgate.errors import StoreBroken, StoreError
from ebbgate.model import Outcome
from ebbgate.store import outcomes
from ebbgate.store.keys import KeyRing
from ebbgate.store.protocol import DeadLetter, EventTrace, Logged, OpenAttempt, Queued, QueueState
from ebbgate.store.sealing import open_bodies, open_ends, open_exception, open_held, open_opening, open_openings, unpack_payloads
from ebbgate.store.sqlite_blocks import Blocks
from ebbgate.store.sqlite_connect import fetch, first, reader
from ebbgate.store.sqlite_delivery import SQL as DELIVERY
from ebbgate.store.sqlite_delivery import Parked
from ebbgate.store.sqlite_segments import SHIFT, archive_path, archived, position, present, segment_path
from ebbgate.store.sqlite_segments import SQL as SEGMENT

_T = TypeVar("_T")
_OPEN_FILES: Final = 24
_ENDS: Final = 1024
_SCAN: Final = 50_000  #: rows looked at in one call for a destination that gets few of them


class Page(NamedTuple):
    """Rows of one destination after a position."""

    queued: list[Queued]
    scanned_to: int


class Reader:
    """Reading connections to the delivery database and, as needed, to segments and archives. For one thread."""

    def __init__(
        self, database: Path, keys: KeyRing, *, connection: Callable[[Path], apsw.Connection | None] = lambda path: None
    ) -> None:
        """`connection` may offer one that is open already: with a test VFS there is one a file."""
        self._database = database
        self._segments = database.parent / "segments"
        self._keys = keys
        self._borrow = connection
        self._open: dict[Path, apsw.Connection] = {}
        self._ends: dict[tuple[int, int], Mapping[str, bytes]] = {}  # by segment and number, the oldest forgotten first
        self._bodies = Blocks(SEGMENT["bodies_at"], SEGMENT["bodies"], partial(open_bodies, keys))
        self._openings = Blocks(SEGMENT["openings_at"], SEGMENT["openings"], partial(open_openings, keys))
        self._made: set[int] = set()  #: segments that were found to have their tables

    def close(self) -> None:
        """Close all connections."""
        for db in self._open.values():
            db.close()
        self._open.clear()

    def page(
        self,
        bit: int,
        name: str,
        *,
        after: int,
        limit: int,
        settled: Callable[[int], bool],
        begun: Callable[[int], tuple[int, int]],
    ) -> Page:
        """Up to `limit` rows after a position that are not settled, opened; and how far that is."""
        self._bodies.look_again()
        found: list[Queued] = []
        scanned = after
        budget = _SCAN
        for number in self._present():
            if number < after >> SHIFT or budget <= 0 or len(found) >= limit:
                continue
            row = after - position(number, 0) if number == after >> SHIFT else 0
            path = segment_path(self._segments, number)
            try:
                db = self._db(path)
            except StoreError:
                if path.exists():
                    raise
                continue  # pruned this moment: every cursor is past it
            sealed = first(db, SEGMENT["get_meta"], ("sealed",)) is not None  # before `last`: final if set
            last = int(first(db, SEGMENT["last"])[0])
            end = min(last, row + budget)
            budget -= max(0, end - row)
            while row < end and len(found) < limit:
                want = limit - len(found)
                rows = fetch(db, SEGMENT["page"], (row, end, 1 << bit, want))
                for at, received, key, subject, ends in rows:
                    where = position(number, at)
                    if settled(where):
                        continue
                    attempts, since = begun(where)
                    body = self._body(db, number, at, key)
                    payload = unpack_payloads(body)[name] if ends is None else body + self._ends_of(db, number, ends)[name]
                    found.append(Queued(where, key, subject, received, payload, attempts, since))
                row = rows[-1][0] if len(rows) == want else end
            scanned = position(number, row)
            if row >= last and sealed:
                scanned = position(number + 1, 0)
            elif row < last:
                break
        return Page(found, max(scanned, after))

    def _body(self, db: apsw.Connection, segment: int, row: int, key: bytes) -> bytes:
        found = self._bodies.get(db, segment, row)
        if found is None or found[0] != key:
            raise StoreBroken("an event's body is not there, or not its own", code="store_damaged")
        return found[1]

    def _ends_of(self, db: apsw.Connection, segment: int, number: int) -> Mapping[str, bytes]:
        found = self._ends.get((segment, number))
        if found is None:
            found = open_ends(self._keys, segment, number, first(db, SEGMENT["ends"], (number,))[0])
            while len(self._ends) >= _ENDS:
                self._ends.pop(next(iter(self._ends)))
            self._ends[segment, number] = found
        return found

    def due_exceptions(self, bit: int, *, now_ms: int, limit: int) -> list[Queued]:
        """Retries that are due, the longest due first, opened."""
        rows = fetch(self._main(), DELIVERY["due_exceptions"], (bit, now_ms, limit))
        return [
            Queued(where, key, subject, at, open_exception(self._keys, bit, where, payload), attempts, tried, number)
            for number, where, key, subject, at, payload, attempts, tried in rows
        ]

    def open_attempts(self, bit: int, name: str) -> list[OpenAttempt]:
        """Requests begun and not finished."""
        rows = fetch(self._main(), DELIVERY["open_attempts"], (bit,))
        return [OpenAttempt(number, name, started, tuple(outcomes.unpack_positions(refs))) for number, started, refs in rows]

    def names(self) -> dict[int, tuple[str, int]]:
        """Bit → (destination, cursor)."""
        return {bit: (name, cursor) for bit, name, cursor, _, _ in fetch(self._main(), DELIVERY["destinations"])}

    def queues(self, ahead: Callable[[int], int] = lambda bit: 0) -> list[QueueState]:
        """State of every queue; `ahead` tells how many rows beyond a cursor are settled already."""
        counts = {(b, d): (n, at) for b, d, n, at in fetch(self._main(), DELIVERY["exception_counts"])}
        held: dict[int, int] = {}
        released = {tuple(r) for r in fetch(self._main(), DELIVERY["released"])}
        numbers = self._present()
        for number in numbers:
            for row, _, _, _, bit, *_ in fetch(self._db(segment_path(self._segments, number)), SEGMENT["all_held"]):
                held[bit] = held.get(bit, 0) + ((number, row) not in released)
        states = []
        for bit, (name, cursor) in sorted(self.names().items()):
            waiting, oldest = 0, 0
            for number in numbers:
                if number < cursor >> SHIFT:
                    continue
                row = cursor - position(number, 0) if number == cursor >> SHIFT else 0
                db = self._db(segment_path(self._segments, number))
                here = sum(n for mask, n, _ in fetch(db, SEGMENT["counts"], (row,)) if mask >> bit & 1)
                if here and not oldest:
                    oldest = int(first(db, SEGMENT["oldest"], (row, 1 << bit))[0])
                waiting += here
            retries, tried = counts.get((bit, 0), (0, 0))
            waiting = max(0, waiting - ahead(bit)) + retries
            times = [t for t in (oldest, tried) if t]
            dead, _ = counts.get((bit, 1), (0, 0))
            states.append(QueueState(name, waiting, retries, dead, held.get(bit, 0), min(times, default=0) if waiting else 0))
        return states

    def dead_letters(self, destination: str | None, limit: int) -> list[DeadLetter]:
        """Newest first."""
        names = self.names()
        bit = next((b for b, (n, _) in names.items() if n == destination), -1) if destination is not None else None
        rows = fetch(self._main(), DELIVERY["dead_letters"], (bit, limit))
        return [
            DeadLetter(number, names[b][0], key, Outcome(outcome), reason, attempts, at, died)
            for number, b, key, outcome, reason, attempts, at, died in rows
        ]

    def choices(self, subjects: Collection[bytes]) -> dict[bytes, dict[str, tuple[str, int]]]:
        """Subject → purpose → (state, at_ms), for those on record."""
        found: dict[bytes, dict[str, tuple[str, int]]] = {}
        db = self._main()
        for subject in subjects:
            rows = fetch(db, DELIVERY["choices"], (subject,))
            if rows:
                found[subject] = {purpose: (state, at) for purpose, state, at in rows}
        return found

    def held_payload(self, one: Parked, name: str, db: apsw.Connection | None = None) -> bytes | None:
        """Opened payload of a held delivery, None when it is gone."""
        db = db or self._db(segment_path(self._segments, one.segment))
        found = first(db, SEGMENT["held_payload"], (one.row,))
        return open_held(self._keys, one.key, name, found[0]) if found else None

    def trace(self, key: bytes) -> EventTrace | None:
        """Everything about one event."""
        return self._again(lambda: self._trace(key))

    def _trace(self, key: bytes) -> EventTrace | None:
        self._openings.look_again()
        entries: dict[int, Logged] = {}
        waiting: dict[str, tuple[Outcome | None, str, int]] = {}
        names = self.names()
        for number, path, whole in self._files():
            db = self._db(path)
            for mask, *entry, row in fetch(db, SEGMENT["by_key"], (key,)):
                logged = self._logged_in(db, number, (*entry, row))
                entries[logged.nseq] = logged
                where = position(number, row)
                for bit in [b for b in names if mask >> b & 1]:
                    waiting[names[bit][0]] = self._outcome(bit, where, names[bit][1], entries)
                for bit, outcome in fetch(self._main(), DELIVERY["released_at"], (where,)):
                    ended = (Outcome(outcome), "", 0) if outcome else self._outcome(bit, where, 0, entries)
                    waiting[names[bit][0]] = ended
            if whole:
                for (bit,) in fetch(db, SEGMENT["held_by_key"], (key,)):
                    waiting.setdefault(names[bit][0], (None, "held", 0))
        if not entries:
            return None
        for entry in fetch(self._main(), DELIVERY["log_by_key"], (key,)):
            entries[entry[0]] = self._logged(entry)
        return EventTrace([entries[n] for n in sorted(entries)], waiting)

    def last_nseq(self) -> int:
        """Highest entry number in the segments."""

        def read() -> int:
            found = [first(self._db(path), SEGMENT["span"])[1] for _, path, whole in self._files()[:3] if whole]
            return max(found, default=0)

        return self._again(read)

    def log(self, after: int, limit: int) -> list[Logged]:
        """Entries in order, without gaps: one that is not committed yet ends the list."""
        return self._again(lambda: self._log(after, limit))

    def _log(self, after: int, limit: int) -> list[Logged]:
        self._openings.look_again()
        found = [self._logged(row) for row in fetch(self._main(), DELIVERY["log_from"], (after, limit))]
        for number, path, _ in reversed(self._files()):
            db = self._db(path)
            lowest, highest = first(db, SEGMENT["span"])
            if highest > after and (len(found) < limit or lowest <= found[-1].nseq):
                found += [self._logged_in(db, number, row) for row in fetch(db, SEGMENT["log_from"], (after, limit))]
                found = sorted(found, key=_nseq)[:limit]
        for at, entry in enumerate(found):
            if entry.nseq != after + 1 + at:
                return found[:at]
        return found

    def newest(self, before: int = 1 << 62, batch: int = 500) -> Iterator[Logged]:
        """Entries from the newest to the oldest, below a number."""
        while found := self._again(partial(self._newest, before, batch)):
            yield from found
            before = found[-1].nseq

    def _newest(self, before: int, batch: int) -> list[Logged]:
        self._openings.look_again()
        found = [self._logged(row) for row in fetch(self._main(), DELIVERY["log_before"], (before, batch))]
        for number, path, _ in self._files():
            db = self._db(path)
            lowest, highest = first(db, SEGMENT["span"])
            if highest and lowest < before and (len(found) < batch or highest > found[-1].nseq):
                found += [self._logged_in(db, number, row) for row in fetch(db, SEGMENT["log_before"], (before, batch))]
                found = sorted(found, key=_nseq, reverse=True)[:batch]
        return found

    def _again(self, read: Callable[[], _T]) -> _T:
        """Read, and once more where a segment was pruned meanwhile: what it held of the log is in an archive then."""
        while True:
            before = present(self._segments)
            try:
                return read()
            except StoreError:
                if present(self._segments) == before:
                    raise

    def _outcome(self, bit: int, where: int, cursor: int, entries: dict[int, Logged]) -> tuple[Outcome | None, str, int]:
        """How one delivery stands, and into `entries` the entries of its attempts."""
        db = self._main()
        attempts = 0
        ended: tuple[Outcome, str] | None = None
        for started, finished, refs, codes, words, opened, closed in fetch(db, DELIVERY["attempts_of"], (bit, where, where)):
            positions = outcomes.unpack_positions(refs)
            if where not in positions:
                continue
            attempts += bool(started)
            for nseq in {opened, closed} - {0}:
                row = first(db, DELIVERY["log_at"], (nseq,))
                if row is not None:
                    entries[nseq] = self._logged(row)
            if finished:
                ended = outcomes.unpack(codes[positions.index(where)], words) or ended
        exception = first(db, DELIVERY["exception_of"], (bit, where))
        if exception is not None:
            dead, outcome, reason, tried = exception
            return (Outcome(outcome) if dead else None), reason, tried
        if ended is not None:
            return ended[0], ended[1], attempts
        # Passed by the cursor, and the attempt's row is older than the window: the log entries still tell.
        return None, "passed" if where <= cursor else "", attempts

    def _files(self) -> list[tuple[int, Path, bool]]:
        """(number, path, whole) of segments and of the archives of pruned ones, the newest first."""
        whole = self._present()
        found = [(n, segment_path(self._segments, n), True) for n in whole]
        found += [(n, archive_path(self._segments, n), False) for n in archived(self._segments) if n not in whole]
        return sorted(found, reverse=True)

    def _present(self) -> list[int]:
        """Numbers of the segments, ascending; without one that the writer is making or that was pruned at this moment."""
        found = present(self._segments)
        for number in found:
            path = segment_path(self._segments, number)
            try:
                if number not in self._made and self._db(path).pragma("user_version"):
                    self._made.add(number)
            except StoreError:
                if path.exists():
                    raise
        self._made.intersection_update(found)
        return [number for number in found if number in self._made]

    def _logged(self, row: Sequence[Any]) -> Logged:
        """An entry of the delivery database."""
        nseq, key, body, sealed = row
        opening = open_opening(self._keys, nseq, sealed)
        return _entry(nseq, key, body, None if opening is None else (b"", opening))

    def _logged_in(self, db: apsw.Connection, segment: int, row: Sequence[Any]) -> Logged:
        """An entry of a segment or an archive."""
        nseq, key, body, number = row
        return _entry(nseq, key, body, self._openings.get(db, segment, number))

    def _main(self) -> apsw.Connection:
        return self._db(self._database)

    def _db(self, path: Path) -> apsw.Connection:
        borrowed = self._borrow(path)
        if borrowed is not None:
            return borrowed
        found = self._open.pop(path, None)
        if found is None:
            for gone in [p for p in self._open if not p.exists()]:
                self._open.pop(gone).close()  # a pruned segment: give its space back
            found = reader(path)
        self._open[path] = found  # newest last
        for old in [p for p in self._open if p not in (self._database, path)][: max(0, len(self._open) - _OPEN_FILES)]:
            self._open.pop(old).close()
        return found


def _entry(nseq: int, key: bytes, body: bytes, found: tuple[bytes, bytes] | None) -> Logged:
    """`found`: evidence and opening, None once deleted."""
    try:
        return Logged(nseq, key, body, None if found is None else unpack_opening(found[1], found[0]))
    except EntryError:
        raise StoreBroken("an opening is there but cannot be read", code="store_damaged") from None


def _nseq(entry: Logged) -> int:
    return entry.nseq
