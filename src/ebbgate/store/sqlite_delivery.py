"""The delivery side of the SQLite store: what each call changes in `ebbgate.db`, inside the writer's transaction.

Every method runs on the writer thread, checks before it writes, and returns its result with what to change in memory once
the transaction is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import apsw

from ebbgate.audit.entry import Entry, whole_opening
from ebbgate.errors import LeaseLost, StoreBroken, StoreError
from ebbgate.model import Outcome
from ebbgate.store import outcomes
from ebbgate.store.keys import KeyRing
from ebbgate.store.progress import Progress
from ebbgate.store.protocol import EntryOf, Lease, Queued, Result
from ebbgate.store.sealing import seal_exception, seal_opening
from ebbgate.store.sqlite_connect import fetch, first, immediate, many
from ebbgate.store.statements import statements

VERSION: Final = 1
MAX_DESTINATIONS: Final = 63
SQL: Final = statements("delivery")


class Done(NamedTuple):
    """Result of a call, and what follows its commit."""

    value: Any
    apply: Callable[[], None] = lambda: None


class Numbers:
    """The one counter of log entries over both files: assigned in commit order, taken back on a rollback."""

    __slots__ = ("last",)

    def __init__(self, last: int) -> None:
        self.last = last

    def next(self) -> int:
        """The next `nseq`."""
        self.last += 1
        return self.last


@dataclass(frozen=True, slots=True)
class Parked:
    """A held delivery, without its payload."""

    segment: int
    row: int
    position: int
    until: int
    at: int
    bit: int
    key: bytes
    subject: bytes
    size: int

    @property
    def id(self) -> int:
        """Position and destination in one number."""
        return self.position << 6 | self.bit


class Delivery:
    """Destinations, leases, attempts, exceptions, choices."""

    def __init__(self, db: apsw.Connection, keys: KeyRing, numbers: Numbers) -> None:
        self.db = db
        self._keys = keys
        self.numbers = numbers
        self.bits: dict[str, int] = {}
        self.names: dict[int, str] = {}
        self.progress: dict[int, Progress] = {}
        self.leases: dict[int, tuple[int, int]] = {}  # bit → (token, until)

    @staticmethod
    def create(db: apsw.Connection) -> None:
        """Make the tables, or refuse a file of another version."""
        found = db.pragma("user_version")
        if found == 0:
            with immediate(db):
                fetch(db, SQL["schema"])
                db.pragma("user_version", VERSION)
        elif found != VERSION:
            raise StoreBroken(f"ebbgate.db is of version {found}, this ebbgate reads {VERSION}", code="store_version")

    def recover(self) -> None:
        """Read what an earlier process left. Its leases end: this process holds the store's lock, so it is gone."""
        self._run("break_leases")
        self.learn()
        for bit, progress in self.progress.items():
            cursor = progress.cursor
            settled = [row[0] for row in fetch(self.db, SQL["exceptions_ahead"], (bit, cursor))]
            for started, finished, refs, codes in fetch(self.db, SQL["attempts_ahead"], (bit, cursor)):
                if not finished:
                    continue
                positions = outcomes.unpack_positions(refs)
                settled += [p for p, code in zip(positions, codes, strict=True) if code != outcomes.QUEUED]
                if started:
                    progress.begin([p for p, code in zip(positions, codes, strict=True) if code == outcomes.QUEUED], started)
            progress.settle(settled, 0)

    def learn(self) -> None:
        """Read which destinations there are and how far each is."""
        for bit, name, cursor, token, until in fetch(self.db, SQL["destinations"]):
            self._know(bit, name, cursor)
            self.leases[bit] = (token, until)

    def last_nseq(self) -> int:
        """Highest entry number that this file knows."""
        return int(first(self.db, SQL["last_nseq"])[0])

    def register(self, name: str, cursor: int) -> None:
        """Give a destination its bit; it begins behind `cursor`. Call inside a transaction, then `learn`."""
        bit = len(self.bits)
        if bit >= MAX_DESTINATIONS:
            raise StoreError(f"more than {MAX_DESTINATIONS} destinations in the life of one store", code="destinations")
        self._run("insert_destination", bit, name, cursor)
        self._know(bit, name, cursor)
        self.leases[bit] = (0, 0)

    def bit(self, destination: str) -> int:
        """The bit of a destination that the store knows. Raises StoreError otherwise."""
        found = self.bits.get(destination)
        if found is None:
            raise StoreError("no such destination in the store", code="destination_unknown")
        return found

    def record(self, entries: Sequence[Entry]) -> Done:
        """Entries about no event."""
        for entry in entries:
            self._log(entry)
        return Done(None)

    def lease(self, destination: str, owner_token: int, now_ms: int, ttl_ms: int) -> Done:
        """A new lease when the last one ended; the same one prolonged while it is still ours."""
        bit = self.bit(destination)
        token, until = self.leases[bit]
        if until <= now_ms:
            token += 1
        elif token != owner_token:
            return Done(None)
        end = max(until, now_ms + ttl_ms)
        self._run("lease", token, end, bit)

        def apply() -> None:
            self.leases[bit] = (token, end)

        return Done(Lease(destination, token, end), apply)

    def begin(self, lease: Lease, queued: Sequence[Queued], entry: Entry, now_ms: int) -> Done:
        """The durable intent of one request."""
        bit = self._fence(lease)
        if not queued:
            raise StoreError("an attempt without rows", code="result")
        positions = [q.position for q in queued]
        nseq = self._log(entry)
        refs = outcomes.pack_positions(positions)
        self._run("insert_attempt", bit, lease.token, now_ms, min(positions), max(positions), refs, nseq)
        return Done(self.db.last_insert_rowid())

    def finish(self, lease: Lease, attempt: int, results: Sequence[Result], entry: Entry, cursor: int, now_ms: int) -> Done:
        """Outcomes of one request."""
        bit = self._fence(lease)
        outcomes.check(results)
        found = first(self.db, SQL["open_attempt"], (attempt, bit))
        if found is None:
            raise StoreError("no such open attempt", code="attempt")
        started, refs, _ = found
        positions = outcomes.unpack_positions(refs)
        progress = self.progress[bit]
        answered = [r.queued.position for r in results]
        if not set(answered) <= set(positions):
            raise StoreError("a result for a row that was not in the attempt", code="result")
        progress.check(cursor, answered)
        for result in results:
            self._result(bit, result, now_ms, started=started)
        ended = {r.queued.position: (r.outcome, r.reason) for r in results if r.outcome is not None}
        codes, words = outcomes.pack(positions, ended)
        nseq = self._log(entry)
        self._run("finish_attempt", now_ms, refs, codes, words, nseq, min(positions), max(positions), attempt)
        self._move(bit, lease, cursor)
        open_still = set(positions).difference(answered)

        def apply() -> None:
            progress.begin(open_still, started)
            progress.settle(answered, cursor)

        return Done(None, apply)

    def settle(self, lease: Lease, results: Sequence[Result], entries: Sequence[Entry], cursor: int, now_ms: int) -> Done:
        """Outcomes without a request."""
        bit = self._fence(lease)
        outcomes.check(results)
        progress = self.progress[bit]
        positions = [r.queued.position for r in results]
        progress.check(cursor, positions)
        for result in results:
            self._result(bit, result, now_ms)
        numbers = [self._log(entry) for entry in entries]
        if positions:
            ended = {r.queued.position: (r.outcome, r.reason) for r in results if r.outcome is not None}
            codes, words = outcomes.pack(positions, ended)
            span = (min(positions), max(positions), outcomes.pack_positions(positions), codes, words)
            self._run("insert_settlement", bit, lease.token, now_ms, *span, *(numbers[:1] or [0]), *(numbers[-1:] or [0]))
        self._move(bit, lease, cursor)
        return Done(None, lambda: progress.settle(positions, cursor))

    def close_attempt(self, lease: Lease, attempt: int, outcome: Outcome | None, entry: Entry, now_ms: int) -> Done:
        """An attempt that another process began: settled, or its rows tried again."""
        bit = self._fence(lease)
        found = first(self.db, SQL["open_attempt"], (attempt, bit))
        if found is None:
            raise StoreError("no such open attempt", code="attempt")
        started, refs, _ = found
        positions = outcomes.unpack_positions(refs)
        ended = dict.fromkeys(positions, (outcome, "process_died")) if outcome is not None else {}
        if outcome is None:
            many(self.db, SQL["count_attempt"], [(started, bit, p) for p in positions])
        else:
            many(self.db, SQL["delete_exception"], [(bit, p) for p in positions])
        codes, words = outcomes.pack(positions, ended)
        nseq = self._log(entry)
        self._run("finish_attempt", now_ms, refs, codes, words, nseq, min(positions), max(positions), attempt)
        progress = self.progress[bit]

        def apply() -> None:
            if outcome is None:
                progress.begin(positions, started)
            else:
                progress.settle(positions, 0)

        return Done(None, apply)

    def revive(self, ids: Collection[int], now_ms: int, entry: Entry) -> Done:
        """Dead letters become retries that are due now."""
        return self._touch("revive", [(now_ms, i) for i in ids], entry)

    def drop(self, ids: Collection[int], entry: Entry) -> Done:
        """Dead letters are deleted."""
        return self._touch("drop", [(i,) for i in ids], entry)

    def put_choice(self, subject: bytes, choices: Mapping[str, str], at_ms: int, entry: Entry) -> Done:
        """The newest choice of each purpose counts."""
        if any(state not in ("granted", "denied") for state in choices.values()):
            raise StoreError("a choice is granted or denied", code="choice")
        for purpose, state in choices.items():
            self._run("put_choice", subject, purpose, state, at_ms)
        self._log(entry)
        return Done(None)

    def release(self, parked: Sequence[tuple[Parked, bytes]], now_ms: int, entry: EntryOf) -> Done:
        """Held deliveries become retries that are due now; payloads come opened."""
        for one, payload in parked:
            sealed = seal_exception(self._keys, one.bit, one.position, payload)
            self._run("put_exception", one.bit, one.position, 0, now_ms, one.at, 0, 0, 0, "", "", one.key, one.subject, sealed)
            self._run("mark_released", one.segment, one.row, "", one.position, one.bit, now_ms)
        if parked:
            self._log(entry(len(parked)))
        return Done(len(parked))

    def shred(self, parked: Sequence[Parked], outcome: Outcome, now_ms: int, entry: EntryOf) -> Done:
        """Held deliveries end here; their bytes are deleted next."""
        for one in parked:
            self._run("mark_released", one.segment, one.row, str(outcome), one.position, one.bit, now_ms)
        if parked:
            self._log(entry(len(parked)))
        return Done(len(parked))

    def _know(self, bit: int, name: str, cursor: int) -> None:
        self.bits[name] = bit
        self.names[bit] = name
        self.progress[bit] = Progress(cursor)

    def _fence(self, lease: Lease) -> int:
        """The lease's bit while its token is the newest one in the file. Raises LeaseLost otherwise."""
        bit = self.bit(lease.destination)
        if first(self.db, SQL["fence"], (bit, lease.token)) is None:
            raise LeaseLost("a newer lease took over this destination", code="lease_lost")
        return bit

    def _move(self, bit: int, lease: Lease, cursor: int) -> None:
        if cursor:
            self._run("move_cursor", cursor, bit, lease.token, cursor)

    def _result(self, bit: int, result: Result, now_ms: int, *, started: int = 0) -> None:
        queued = result.queued
        if result.outcome is not None and not result.dead:
            if queued.exception:
                self._run("delete_exception", bit, queued.position)
            return
        counts = bool(started) and result.counts
        self._run(
            "put_exception",
            bit,
            queued.position,
            int(result.dead),
            result.retry_at_ms,
            queued.at_ms,
            queued.attempts + counts,
            queued.first_attempt_ms or (started if counts else 0),
            now_ms if result.dead else 0,
            str(result.outcome or ""),
            result.reason,
            queued.key,
            queued.subject,
            seal_exception(self._keys, bit, queued.position, queued.payload),
        )

    def _touch(self, statement: str, rows: Iterable[tuple[int, ...]], entry: Entry) -> Done:
        count = 0
        for row in rows:
            self._run(statement, *row)
            count += self.db.changes()
        if count:
            self._log(entry)
        return Done(count)

    def _log(self, entry: Entry) -> int:
        nseq = self.numbers.next()
        self._run("insert_log", nseq, entry.key, entry.encode(nseq), seal_opening(self._keys, nseq, whole_opening(entry)))
        return nseq

    def _run(self, statement: str, *values: Any) -> None:
        fetch(self.db, SQL[statement], values)
