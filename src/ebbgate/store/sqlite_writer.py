"""The one writer thread: takes all that is pending, makes it durable in one transaction a file, then answers all at once.

Group commit makes `synchronous=FULL` nearly free (specs/performance.md §4). An I/O error at a commit or fsync ends the store:
nothing more is written or answered, because what is on disk is unknown until a fresh process has looked
(specs/reliability.md §2.1). A full disk refuses a group and recovers.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

import apsw

from ebbgate.errors import StoreBroken, StoreError, StoreFull
from ebbgate.model import EMPTY
from ebbgate.store.duplicates import DuplicateWindow
from ebbgate.store.keys import KeyRing
from ebbgate.store.options import Options
from ebbgate.store.parked import ParkedRows
from ebbgate.store.protocol import Appended, NewEvent
from ebbgate.store.sealing import pack_payloads, seal_held
from ebbgate.store.sqlite_connect import fetch, translate
from ebbgate.store.sqlite_delivery import Delivery, Done, Numbers, Parked
from ebbgate.store.sqlite_segments import Rows, Segment, position

_ACCEPTED: Final = Appended.ACCEPTED  # attributes of an enum are looked up by code in Python
MARKER: Final = "CHECK"  #: file that tells the next process to check before it trusts the store
_ROOM_S: Final = 0.1  #: how long an answer about free space holds


@dataclass(slots=True)
class Job:
    """One call waiting for the writer: events to append, or a change of the delivery side."""

    resolve: Callable[[Any, BaseException | None], None]
    events: Sequence[NewEvent] = ()
    change: Callable[[Delivery], Done] | None = None
    value: Any = None
    error: BaseException | None = None


@dataclass(slots=True)
class State:
    """What the writer and its helpers share about one opened store."""

    directory: Path
    keys: KeyRing
    options: Options
    delivery: Delivery
    numbers: Numbers
    window: DuplicateWindow
    active: Segment
    parked: ParkedRows[Parked] = field(default_factory=ParkedRows)  #: held deliveries
    sealed: list[tuple[int, int]] = field(default_factory=list)  #: (segment, last row) indexed and not pruned, oldest first
    lock: int = -1  #: descriptor of the commit lock, -1 when the files are ours alone

    def end(self) -> int:
        """Position of the newest event."""
        return position(self.active.number, self.active.last_id)


class Writer:
    """Runs on its own thread from `start` to `stop`."""

    def __init__(self, state: State, complete: Callable[[list[Job]], None], upkeep: Upkeep) -> None:
        self._state = state
        self._complete = complete
        self._upkeep = upkeep
        self._queue: SimpleQueue[Sequence[Job] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ebbgate-store", daemon=True)
        self._failpoint = state.options.failpoint
        self._room_until = 0.0
        self._version = -1  # unlike any: entries that another process wrote while this one opened the files count too
        self._masked: tuple[Mapping[str, bytes], int] = (EMPTY, 0)
        self.full = False
        self.broken: StoreBroken | None = None

    def start(self) -> None:
        """Begin to take jobs."""
        self._thread.start()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Hand over jobs in order; the `resolve` of each is called from the completion."""
        self._queue.put(jobs)

    def stop(self) -> None:
        """Finish what is queued and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def fail(self, error: StoreBroken) -> None:
        """An I/O error elsewhere, such as in a checkpoint: no more answers."""
        if self.broken is None:
            self.broken = error
            try:
                (self._state.directory / MARKER).touch()
            except OSError:
                return  # the disk that failed refuses the mark too: the answer stays "broken"

    def _run(self) -> None:
        idle = self._state.options.idle_s
        most = self._state.options.pending_events
        stopping = False
        while not stopping:
            appends: list[Job] = []
            changes: list[Job] = []
            events = 0
            try:
                jobs = self._queue.get(timeout=idle)
                while jobs is not None:
                    for job in jobs:
                        if job.change is None:
                            appends.append(job)
                            events += len(job.events)
                        else:
                            changes.append(job)
                    if events >= most:
                        break
                    jobs = self._queue.get_nowait()
                stopping = jobs is None
            except Empty:
                pass
            self._work(appends, changes)

    def _work(self, appends: list[Job], changes: list[Job]) -> None:
        try:
            for jobs, commit in ((appends, self._ingest), (changes, self._change)):
                if jobs:
                    self._answer(jobs, commit)
            if self.broken is None:
                self._upkeep.after_commit(self)
        except Exception as error:  # noqa: BLE001  nothing that goes wrong here may go on unseen: the store ends
            self.fail(as_broken(error))

    def _answer(self, jobs: list[Job], commit: Callable[[list[Job]], None]) -> None:
        try:
            self._guarded(jobs, commit)
        except Exception as error:
            self.fail(as_broken(error))  # before anyone is answered: who hears of it finds the store unhealthy
            _fail(jobs, self.broken or as_broken(error))
            raise
        finally:
            self._complete(jobs)

    def _guarded(self, jobs: list[Job], commit: Callable[[list[Job]], None]) -> None:
        """Commit a group under the commit lock; on an error of one job's own making, each job alone."""
        if self.broken is not None:
            _fail(jobs, self.broken)
            return
        mark = self._enter()
        try:
            commit(jobs)
        except apsw.Error as error:
            self._roll_back(mark)
            self._refuse(jobs, translate(error, "store"))
        except StoreBroken as error:
            self._roll_back(mark)
            self._refuse(jobs, error)
        except Exception as error:  # noqa: BLE001  whatever a caller's entry does: its own call fails, not its neighbours'
            self._roll_back(mark)
            if len(jobs) == 1:
                _fail(jobs, error)
            else:
                for job in jobs:
                    self._guarded([job], commit)
        finally:
            self._leave()

    def _refuse(self, jobs: list[Job], error: StoreError) -> None:
        if isinstance(error, StoreBroken):
            self.fail(error)
        else:
            self.full = self.full or error.code == StoreFull.code
            self._room_until = 0.0
        _fail(jobs, error)

    def _enter(self) -> int:
        """Take the commit lock; another process (`queue retry`) may have written log entries meanwhile."""
        state = self._state
        if state.lock >= 0:
            fcntl.flock(state.lock, fcntl.LOCK_EX)
            version = state.delivery.db.pragma("data_version")
            if version != self._version:
                self._version = version
                state.numbers.last = max(state.numbers.last, state.delivery.last_nseq())
        return state.numbers.last

    def _leave(self) -> None:
        if self._state.lock >= 0:
            fcntl.flock(self._state.lock, fcntl.LOCK_UN)

    def _roll_back(self, mark: int) -> None:
        self._state.numbers.last = mark
        for db in (self._state.active.db, self._state.delivery.db):
            try:
                if not db.get_autocommit():
                    fetch(db, "ROLLBACK")
            except apsw.Error as error:
                self.fail(as_broken(error))

    def _ingest(self, jobs: list[Job]) -> None:
        """One transaction: duplicate keys, payloads, log entries, on the active segment."""
        state, point = self._state, self._failpoint
        if not self._has_room():
            raise apsw.FullError("below the reserve")
        self._register(ev for job in jobs for ev in job.events)
        rows = Rows()
        fresh: set[bytes] = set()
        conversions: set[bytes] = set()
        parked: list[Parked] = []
        for job in jobs:
            job.value = [self._row(ev, rows, fresh, conversions, parked) for ev in job.events]
        db = state.active.db
        point("ingest.begin")
        fetch(db, "BEGIN IMMEDIATE")
        state.active.insert(rows, state.keys)
        point("ingest.inserted")
        fetch(db, "COMMIT")
        point("ingest.committed")
        state.active.committed(rows)
        state.window.add(fresh, conversions)
        for one in parked:
            state.parked.add(one)
        self.full = False

    def _row(self, event: NewEvent, rows: Rows, fresh: set[bytes], conversions: set[bytes], parked: list[Parked]) -> Appended:
        state = self._state
        active, window, conversion = state.active, state.window, event.conversion
        nseq = state.numbers.next()
        number = nseq - active.base
        if not fresh.isdisjoint(event.checks) or window.any_claimed(event.checks, conversion=conversion):
            entry = event.duplicate_entry(event)
            own = entry.encode(nseq)
            rows.openings.append((number, entry.evidence, entry.opening))
            rows.size += len(own) + len(entry.opening)
            rows.events.append((number, event.at_ms, 0, None, None, entry.t, 0, event.key, event.subject, b"", own))
            return Appended.DUPLICATE
        entry = event.entry
        mask, ends = 0, None
        if event.payloads:
            if event.shared:
                ends, body = active.ends.number(event.payloads, rows.ends), event.shared
            else:
                body = pack_payloads(event.payloads)
            mask = self._mask(event.payloads)
            rows.bodies.append((number, event.key, body))
            rows.size += len(body)
        for name, payload in event.held.items():
            sealed = seal_held(state.keys, event.key, name, payload)
            bit = state.delivery.bits[name]
            row = number << 6 | bit
            rows.held.append((row, number, event.held_until_ms, event.at_ms, bit, event.key, event.subject, sealed))
            parked.append(
                Parked(
                    active.number, row, position(active.number, number), event.held_until_ms, event.at_ms, bit,
                    event.key, event.subject, len(sealed),
                )
            )  # fmt: skip
        if entry.form is None:
            form, own = None, entry.encode(nseq)
        else:
            form, own = active.forms.number(entry.form, rows.forms), entry.tail
        rows.openings.append((number, entry.evidence, entry.opening))
        rows.size += len(own) + len(entry.opening)
        rows.events.append(
            (
                number, event.at_ms, mask, ends, form, entry.t, conversion, event.key, event.subject,
                b"".join(event.claims), own,
            )
        )  # fmt: skip
        fresh.update(event.claims)
        if conversion:
            conversions.update(event.claims)
        return _ACCEPTED

    def _mask(self, payloads: Mapping[str, bytes]) -> int:
        """Bits of the destinations. Events in a row mostly share the object."""
        if self._masked[0] is not payloads:
            known, mask = self._state.delivery.bits, 0
            for name in payloads:
                mask |= 1 << known[name]
            self._masked = payloads, mask
        return self._masked[1]

    def _register(self, events: Iterable[NewEvent]) -> None:
        """Give new destinations their bit, durably and before any event that uses it."""
        delivery = self._state.delivery
        known, unknown = delivery.bits.keys(), set[str]()
        last: Mapping[str, bytes] = EMPTY
        for event in events:
            if event.payloads is not last:  # events decided alike share the object
                last = event.payloads
                unknown |= last.keys() - known
            if event.held:
                unknown |= event.held.keys() - known
        if not unknown:
            return
        before = dict(delivery.bits)
        self._failpoint("register.begin")
        try:
            fetch(delivery.db, "BEGIN IMMEDIATE")
            for name in sorted(unknown):
                delivery.register(name, self._state.end())
            fetch(delivery.db, "COMMIT")
        except BaseException:
            for name in unknown & delivery.bits.keys() - before.keys():
                del delivery.bits[name]
            raise
        self._failpoint("register.committed")

    def _change(self, jobs: list[Job]) -> None:
        """One transaction on the delivery database; a call that is refused leaves the others alone."""
        state, point = self._state, self._failpoint
        db = state.delivery.db
        applies: list[Callable[[], None]] = []
        point("delivery.begin")
        fetch(db, "BEGIN IMMEDIATE")
        for job in jobs:
            mark = state.numbers.last
            fetch(db, "SAVEPOINT one")
            try:
                assert job.change is not None
                done = job.change(state.delivery)
                job.value, job.error = done.value, None
                applies.append(done.apply)
            except (StoreBroken, apsw.Error):
                raise
            except StoreError as error:
                fetch(db, "ROLLBACK TO one")
                state.numbers.last = mark
                job.value, job.error = None, error
            fetch(db, "RELEASE one")
        point("delivery.applied")
        fetch(db, "COMMIT")
        point("delivery.committed")
        for apply in applies:  # durable already: an error here ends the store but takes no answer back
            try:
                apply()
            except apsw.FullError:
                self.full = True
            except apsw.Error as error:
                self.fail(as_broken(error))

    def _has_room(self) -> bool:
        """Whether more than the reserve is free; asked of the system at most ten times a second."""
        now = time.monotonic()
        if now >= self._room_until:
            try:
                # Of the segment's file: a folder that was removed under the gateway takes writes and keeps nothing.
                found = os.statvfs(self._state.active.path)
            except OSError:
                raise StoreBroken("the store's files are gone", code="store_gone", hint="Who removed them?") from None
            if found.f_bavail * found.f_frsize < self._state.options.min_free_bytes:
                return False
            self._room_until = now + _ROOM_S
        return True


class Upkeep:
    """What the writer calls after each round; `sqlite_upkeep.py` seals, checkpoints and prunes here."""

    def after_commit(self, writer: Writer) -> None:
        """Nothing by default."""


def _fail(jobs: Iterable[Job], error: BaseException) -> None:
    for job in jobs:
        job.value, job.error = None, error


def as_broken(error: Exception) -> StoreBroken:
    """What ends the store, without values of any event."""
    found = translate(error, "store") if isinstance(error, apsw.Error) else error
    if isinstance(found, StoreBroken):
        return found
    if isinstance(found, StoreError):
        return StoreBroken(found.message, code=found.code, hint=found.hint)
    if isinstance(found, OSError):
        return StoreBroken(f"the operating system reported {found.strerror}", code="io_error")
    return StoreBroken(f"the store stopped on an unexpected {type(found).__name__}", code="store_stopped")
