"""The ingest log as a row of segment files: append to the newest, seal it, index it, and in the end unlink it whole.

An ingest commit touches one file only, so it is atomic: in WAL mode a transaction over several files is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, TypeAlias, TypeVar

import apsw

from ebbgate.audit.entry import Form
from ebbgate.errors import StoreBroken
from ebbgate.store.duplicates import KEY, KeyIndex
from ebbgate.store.keys import KeyRing
from ebbgate.store.sealing import seal_bodies, seal_ends, seal_openings
from ebbgate.store.sqlite_connect import Synchronous, fetch, first, immediate, stream, sync_directory, writer
from ebbgate.store.statements import statements

SHIFT: Final = 32  #: position = segment << SHIFT | id
VERSION: Final = 4
_ROW: Final = 160  #: bytes of an event beside its body, its part of the entry and its opening, about
_BLOCK_EVENTS: Final = 64  #: the most that stand in one ciphertext
_BLOCK_BYTES: Final = 256 << 10  #: from here on a ciphertext is for fewer
_REMEMBERED: Final = 8192  #: of each kind of what is written once
_NAME: Final = re.compile(r"seg-(\d{6,})\.db")
_ARCHIVE: Final = re.compile(r"log-(\d{6,})\.db")
SQL: Final = statements("segment")
T = TypeVar("T")
Part = TypeVar("Part", bound=tuple[Any, ...])
#: Identity → the thing itself, which keeps its identity from being used again, and its number in the file.
New: TypeAlias = dict[int, tuple[T, int]]


def position(segment: int, row: int) -> int:
    """Where an event stands; grows with time over all segments."""
    return segment << SHIFT | row


def segment_path(directory: Path, number: int) -> Path:
    """File of a segment."""
    return directory / f"seg-{number:06d}.db"


def archive_path(directory: Path, number: int) -> Path:
    """File of the log that stays of a pruned segment."""
    return directory / f"log-{number:06d}.db"


def present(directory: Path) -> list[int]:
    """Numbers of the segment files, ascending."""
    return sorted(int(m[1]) for p in directory.iterdir() if (m := _NAME.fullmatch(p.name)))


def archived(directory: Path) -> list[int]:
    """Numbers of the archives of pruned segments, ascending."""
    return sorted(int(m[1]) for p in directory.iterdir() if (m := _ARCHIVE.fullmatch(p.name)))


@dataclass(slots=True)
class Rows:
    """Rows of one ingest transaction, in the order of the tables' columns."""

    events: list[tuple[int, int, int, int | None, int | None, int, int, bytes, bytes, bytes, bytes]] = field(default_factory=list)
    bodies: list[tuple[int, bytes, bytes]] = field(default_factory=list)  #: row, key, body
    openings: list[tuple[int, bytes, bytes]] = field(default_factory=list)  #: row, evidence, opening
    forms: New[Form] = field(default_factory=dict)
    ends: New[Mapping[str, bytes]] = field(default_factory=dict)
    held: list[tuple[int, int, int, int, int, bytes, bytes, bytes]] = field(default_factory=list)
    size: int = 0


class Once(Generic[T]):
    """What many rows of a file refer to, each written once and found by its identity. Bounded: the same may come again later."""

    def __init__(self, last: int) -> None:
        """`last`: highest number in the file."""
        self._last = last
        self._numbers: New[T] = {}

    def number(self, thing: T, new: New[T]) -> int:
        """Its number in the file; one that is not in it yet is put into `new`, the rows of the transaction that is being made."""
        found = self._numbers.get(id(thing)) or new.get(id(thing))
        if found is None:
            found = new[id(thing)] = (thing, self._last + len(new) + 1)
        return found[1]

    def committed(self, new: New[T]) -> None:
        """These are in the file now."""
        if len(self._numbers) > _REMEMBERED:
            self._numbers.clear()
        self._numbers.update(new)
        self._last += len(new)


class Segment:
    """The writing end of one segment file."""

    def __init__(self, number: int, db: apsw.Connection, path: Path) -> None:
        self.number = number
        self.db = db
        self.path = path
        self._cursor = db.cursor()
        self.last_id, last_at, forms, ends = first(db, SQL["last"])
        self.count = int(first(db, SQL["count"])[0])  #: events in it
        self.forms: Once[Form] = Once(forms)
        self.ends: Once[Mapping[str, bytes]] = Once(ends)  #: of payloads
        self.last_at: int = last_at or 0
        self.created_ms: int = self.meta("created") or 0
        base = self.meta("base")
        if base is None:
            raise StoreBroken(f"{path.name} does not say how its entries are numbered", code="store_damaged")
        self.base: int = base  #: number of an event's log entry, less its row
        self.size = path.stat().st_size

    @classmethod
    def open(
        cls, directory: Path, number: int, *, now_ms: int, base: int, synchronous: Synchronous = "FULL", vfs: str = ""
    ) -> Segment:
        """Open a segment for writing, or create it durably: its entries are numbered from `base` + 1.

        Raises StoreBroken for a file of another form.
        """
        path = segment_path(directory, number)
        db = writer(path, synchronous=synchronous, vfs=vfs)
        found = db.pragma("user_version")
        if found == 0:
            with immediate(db):
                fetch(db, SQL["schema"])
                fetch(db, SQL["put_meta"], ("created", now_ms))
                fetch(db, SQL["put_meta"], ("base", base))
                db.pragma("user_version", VERSION)
            sync_directory(directory)
        elif found != VERSION:
            raise StoreBroken(f"{path.name} is of version {found}, this ebbgate reads {VERSION}", code="store_version")
        return cls(number, db, path)

    @property
    def last_nseq(self) -> int:
        """Highest number of a log entry in it, 0 for none."""
        return self.base + self.last_id if self.last_id else 0

    def meta(self, name: str) -> Any:
        """A value of `meta`, or None."""
        return next((row[0] for row in fetch(self.db, SQL["get_meta"], (name,))), None)

    def put_meta(self, name: str, value: int | bytes) -> None:
        """Set a value of `meta` inside or outside a transaction."""
        fetch(self.db, SQL["put_meta"], (name, value))

    def insert(self, rows: Rows, keys: KeyRing) -> None:
        """Append rows inside the open transaction."""
        run = self._cursor.executemany
        run(SQL["insert_event"], rows.events)
        if rows.forms:
            run(SQL["insert_form"], [(number, *form.pieces) for form, number in rows.forms.values()])
        if rows.ends:
            run(SQL["insert_ends"], [(n, seal_ends(keys, self.number, n, ends)) for ends, n in rows.ends.values()])
        run(SQL["insert_bodies"], [(part[0][0], seal_bodies(keys, self.number, part)) for part in blocks(rows.bodies)])
        run(SQL["insert_openings"], [(part[0][0], seal_openings(keys, self.number, part)) for part in blocks(rows.openings)])
        if rows.held:
            run(SQL["insert_held"], rows.held)

    def committed(self, rows: Rows) -> None:
        """Count what is now durable."""
        self.forms.committed(rows.forms)
        self.ends.committed(rows.ends)
        if rows.events:
            self.count += len(rows.events)
            self.last_id, self.last_at = rows.events[-1][0], max(self.last_at, rows.events[-1][1])
            self.size += rows.size + _ROW * len(rows.events)

    def all_claims(self) -> tuple[set[bytes], set[bytes]]:
        """(all keys, those of conversions), from the rows."""
        keys: set[bytes] = set()
        conversions: set[bytes] = set()
        for conversion, claims in stream(self.db, SQL["claims"]):
            claimed = [claims[at : at + KEY] for at in range(0, len(claims), KEY)]
            keys.update(claimed)
            if conversion:
                conversions.update(claimed)
        return keys, conversions

    def close(self) -> None:
        """Close; the WAL is folded in when this is the last connection."""
        self.db.close()


def blocks(rows: Sequence[Part]) -> Iterator[Sequence[Part]]:
    """Rows (each ends with its bytes) in pieces that are read and opened together: few, and not large."""
    for start in range(0, len(rows), _BLOCK_EVENTS):
        part = rows[start : start + _BLOCK_EVENTS]
        size = sum([len(row[-1]) for row in part])
        if size <= _BLOCK_BYTES:
            yield part
        else:
            step = max(1, len(part) * _BLOCK_BYTES // size)
            yield from (part[at : at + step] for at in range(0, len(part), step))


def build_index(db: apsw.Connection) -> tuple[KeyIndex, KeyIndex]:
    """Index a sealed segment's claims and events and store both indexes in the file. Returns (all keys, conversions)."""
    count = int(first(db, SQL["count_claims"])[0])
    indexes = tuple(KeyIndex.of(_groups(db, least), count) for least in (0, 1))
    with immediate(db):
        fetch(db, SQL["index_events"])
        for name, index in zip(("keys", "conversions"), indexes, strict=True):
            blob, offsets = index.parts()
            fetch(db, SQL["put_meta"], (name, blob))
            fetch(db, SQL["put_meta"], (f"{name}_offsets", offsets))
    return indexes[0], indexes[1]


def load_index(db: apsw.Connection) -> tuple[KeyIndex, KeyIndex] | None:
    """The stored indexes of a sealed segment or archive, or None when they were not finished."""
    found: dict[str, bytes] = {}
    for name in _INDEX_PARTS:
        row = first(db, SQL["get_meta"], (name,))
        if row is None:
            return None
        found[name] = row[0]
    return KeyIndex(found["keys"], found["keys_offsets"]), KeyIndex(found["conversions"], found["conversions_offsets"])


_INDEX_PARTS: Final = ("keys", "keys_offsets", "conversions", "conversions_offsets")


def _groups(db: apsw.Connection, least: int) -> Iterator[tuple[int, bytes]]:
    for prefix, keys in stream(db, SQL["index_keys"], (least,)):
        yield int(prefix, 16), bytes.fromhex(keys)


def bits(mask: int) -> Sequence[int]:
    """Numbers of the set bits."""
    found = _BITS.get(mask)
    if found is None:
        if len(_BITS) > 4096:
            _BITS.clear()
        found = _BITS[mask] = tuple(b for b in range(mask.bit_length()) if mask >> b & 1)
    return found


_BITS: dict[int, tuple[int, ...]] = {}
