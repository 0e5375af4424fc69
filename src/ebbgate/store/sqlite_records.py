"""`records.db` beside the store: policy revisions, the inventory of fields, recorded shapes (issue 4.7, 4.10, 4.11). No values.

A file of its own, written every few seconds outside the hot path: neither the writer nor the log waits for it, and what a power cut
takes is a few seconds of counts. Revisions are durable when `keep` returns. The gateway writes, the command line reads beside it.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import apsw

from ebbgate.errors import ConfigError, StoreBroken
from ebbgate.store.sqlite_connect import check_library, fetch, first, immediate, many, reader, translate, writer
from ebbgate.store.statements import statements

SQL: Final = statements("records")
VERSION: Final = 1
FILE: Final = "records.db"
MAX_PATHS: Final = 5_000  #: field paths a site; what comes later is not kept
MAX_TRAFFIC: Final = 200_000  #: rows of counted traffic
KEPT_HOURS: Final = 35 * 24

#: (site, path, count, destination → "file:line")
FieldRow = tuple[str, str, int, Mapping[str, str]]
#: (hour, site, event, country, region, purpose → state, paths, count); "" for an unknown place
TrafficRow = tuple[int, str, str, str, str, Mapping[str, str], Sequence[str], int]


class Activation(NamedTuple):
    """A revision came into force."""

    digest: str  #: of the set, SHA-256 hex
    at_ms: int
    who: str


class FieldRecord(NamedTuple):
    """One field path of one site."""

    site: str
    path: str
    first_ms: int
    last_ms: int
    events: int  #: that had it
    destinations: dict[str, str]


class RecordedTraffic(NamedTuple):
    """How many events of one kind came."""

    event: str
    country: str
    region: str
    states: dict[str, str]
    paths: tuple[str, ...]
    events: int


@dataclass(slots=True)
class _Known:
    """What was written already, so that bounds hold without asking the file each time."""

    paths: set[tuple[str, str]]
    of_site: Counter[str]


class Records:
    """Opened for writing by the gateway (any thread, one call at a time) or for reading by the command line."""

    def __init__(self, db: apsw.Connection, *, known: _Known | None = None) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._known = known or _Known(set(), Counter())

    @classmethod
    def open(cls, directory: Path | None) -> Records:
        """For writing; None keeps everything in memory. Raises StoreBroken for a file of another version."""
        check_library()
        try:
            if directory is None:
                db = apsw.Connection(":memory:")
            else:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                db = writer(directory / FILE)
                db.pragma("wal_autocheckpoint", 1000)
            found = db.pragma("user_version")
            if found == 0:
                with immediate(db):
                    fetch(db, SQL["schema"])
                    db.pragma("user_version", VERSION)
            elif found != VERSION:
                raise StoreBroken(f"{FILE} is of version {found}, this ebbgate reads {VERSION}", code="store_version")
            rows = fetch(db, SQL["known_fields"])
        except apsw.Error as error:
            raise translate(error, FILE) from None
        return cls(db, known=_Known(set(rows), Counter(site for site, _ in rows)))

    @classmethod
    def read(cls, directory: Path) -> Records:
        """For reading beside the gateway. Raises ConfigError when there are none yet."""
        path = directory / FILE
        if not path.exists():
            raise ConfigError(f"{path}: nothing is recorded yet", code="store_absent", hint="It appears when `ebbgate serve` runs.")
        return cls(reader(path))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def keep(self, digest: str, files: Mapping[str, bytes], *, who: str, at_ms: int) -> None:
        """A revision came into force: keep its texts (name → bytes, each stored once) and that it did. Durable on return."""
        whole = bytes.fromhex(digest)
        rows = [(hashlib.sha256(body).digest(), name, body) for name, body in files.items()]
        with self._lock, _named(), immediate(self._db):
            many(self._db, SQL["put_file"], [(file, body) for file, _, body in rows])
            many(self._db, SQL["put_revision"], [(whole, name, file) for file, name, _ in rows])
            fetch(self._db, SQL["put_activation"], (whole, at_ms, who))

    def add(self, fields: Sequence[FieldRow], traffic: Sequence[TrafficRow], *, now_ms: int) -> None:
        """Add counts. Over the bounds, paths that are new and kinds of traffic are left out; traffic is kept for five weeks."""
        known = self._known
        taken = []
        fresh: set[tuple[str, str]] = set()
        added: Counter[str] = Counter()
        for site, path, count, destinations in fields:
            if (site, path) not in known.paths:
                if known.of_site[site] + added[site] >= MAX_PATHS:
                    continue
                fresh.add((site, path))
                added[site] += 1
            taken.append((site, path, now_ms, now_ms, count, json.dumps(dict(destinations), sort_keys=True)))
        with self._lock, _named(), immediate(self._db):
            many(self._db, SQL["add_field"], taken)
            fetch(self._db, SQL["forget_traffic"], (now_ms // 3_600_000 - KEPT_HOURS,))
            room = MAX_TRAFFIC - int(first(self._db, SQL["traffic_size"])[0])
            for hour, site, event, country, region, states, paths, count in traffic[: max(0, room)]:
                told = json.dumps(list(paths))
                shape = hashlib.sha256(told.encode()).digest()[:16]
                fetch(self._db, SQL["put_shape"], (shape, told))
                said = json.dumps(dict(states), sort_keys=True)
                fetch(self._db, SQL["add_traffic"], (hour, site, event, country, region, said, shape, count))
            fetch(self._db, SQL["forget_shapes"])
        known.paths |= fresh
        known.of_site += added

    def activations(self) -> list[Activation]:
        """Every activation, the newest first."""
        with _named():
            return [Activation(digest.hex(), at, who) for digest, at, who in fetch(self._db, SQL["activations"])]

    def in_force(self, at_ms: int) -> str | None:
        """Digest of the revision that was in force at a time, None when none was yet."""
        with _named():
            found = first(self._db, SQL["in_force"], (at_ms,))
        return None if found is None else found[0].hex()

    def revision(self, digest: str) -> tuple[str, dict[str, bytes]]:
        """Full digest and texts of a kept revision, by the beginning of its digest. Raises ConfigError for none or several."""
        with _named():
            found = fetch(self._db, SQL["revisions"], (digest.lower(),))
            if len(found) != 1:
                what = "no revision" if not found else f"{len(found)} revisions"
                raise ConfigError(f"{what} of that digest is kept", code="revision", hint="see `ebbgate revisions`")
            whole = found[0][0]
            return whole.hex(), {name: bytes(body) for name, body in fetch(self._db, SQL["files_of"], (whole,))}

    def fields(self) -> list[FieldRecord]:
        """The inventory, by site and path."""
        with _named():
            return [FieldRecord(s, p, a, b, n, json.loads(to)) for s, p, a, b, n, to in fetch(self._db, SQL["fields"])]

    def traffic(self, since_ms: int) -> list[RecordedTraffic]:
        """What came since the hour of that time."""
        with _named():
            rows = fetch(self._db, SQL["traffic"], (since_ms // 3_600_000,))
        return [RecordedTraffic(e, c, r, json.loads(states), tuple(json.loads(paths)), n) for e, c, r, states, paths, n in rows]


class _named:  # noqa: N801  reads as a word in `with`
    """Turns SQLite's errors into ours."""

    def __enter__(self) -> None:
        """Nothing to do yet."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, apsw.Error):
            raise translate(error, FILE) from None
