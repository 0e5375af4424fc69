"""The embedded store: SQLite files in one directory, written by one thread, read by another (DESIGN §6).

    ebbgate.db            the delivery side: cursors, leases, attempts, exceptions, choices, its log entries
    segments/seg-N.db     the ingest log: events, payloads, claims, decision entries; the newest is written
    segments/log-N.db     log and keys of a pruned segment
    owner.lock            held by the gateway that runs on the directory
    commit.lock           held for each transaction: the command line writes beside a running gateway

This file is the asyncio face: bounded hand-over to the writer, one wake-up a transaction.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw

from ebbgate.audit.entry import Entry
from ebbgate.errors import StoreBroken, StoreError, StoreFull
from ebbgate.model import Outcome
from ebbgate.store.keys import KeyRing
from ebbgate.store.options import Options
from ebbgate.store.protocol import (
    Appended,
    Chunk,
    DeadLetter,
    EntryOf,
    EventTrace,
    HeldDelivery,
    Holding,
    Lease,
    Logged,
    NewEvent,
    OpenAttempt,
    Queued,
    QueueState,
    Result,
)
from ebbgate.store.sqlite_connect import translate
from ebbgate.store.sqlite_delivery import Delivery, Done, Parked
from ebbgate.store.sqlite_gather import Gather
from ebbgate.store.sqlite_open import open_state
from ebbgate.store.sqlite_reads import Reader
from ebbgate.store.sqlite_upkeep import SqliteUpkeep
from ebbgate.store.sqlite_writer import Job, State, Writer

_T = TypeVar("_T")
_OVERHEAD: Final = 512  #: bytes counted for an event beside its payloads


class SqliteStore:
    """The `Store` of one machine. Belongs to the event loop that opened it."""

    durability = "fsync"

    def __init__(self, path: Path, keys: KeyRing, options: Options = Options()) -> None:  # noqa: B008  frozen
        self._path = path
        self._keys = keys
        self._options = options
        self._pending_events = 0
        self._pending_bytes = 0
        self._tokens: dict[str, int] = {}
        self._owner = -1
        self._state: State | None = None

    async def open(self) -> None:
        """Lock the directory, check settings and files, recover. Raises StoreBroken or StoreError when that fails."""
        self._loop = asyncio.get_running_loop()
        self._reads = ThreadPoolExecutor(1, "ebbgate-reads")
        try:
            await self._loop.run_in_executor(self._reads, self._open)
        except OSError as error:
            where = self._path.parent
            raise StoreError(
                f"{where} cannot be used: {error.strerror}", code="store_directory", hint="Check its owner and the free space."
            ) from None

    def _open(self) -> None:
        directory = self._path.parent
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / "segments").mkdir(mode=0o700, exist_ok=True)
        self._owner = _lock(directory / "owner.lock")
        try:
            state, unfinished = open_state(self._path, self._keys, self._options)
        except BaseException:
            os.close(self._owner)
            raise
        self._state = state
        self._upkeep = SqliteUpkeep(state)
        self._writer = Writer(state, self._complete, self._upkeep)
        self._reader = Reader(self._path, self._keys, connection=self._borrowed)
        self._gather = Gather(self._loop, self._writer.submit)
        self._upkeep.start(self._writer)
        self._writer.start()
        for number in unfinished:
            self._upkeep.finish_sealed(number)

    async def close(self) -> None:
        """Finish what is queued and close."""
        if self._state is None:
            return
        self._gather.hand_over()
        await self._loop.run_in_executor(self._reads, self._close)
        self._reads.shutdown()
        self._state = None

    def _close(self) -> None:
        assert self._state is not None
        self._upkeep.stop()
        self._writer.stop()
        self._reader.close()
        for db in (self._state.active.db, self._state.delivery.db):
            if self._writer.broken is not None:
                db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # nothing is written after a failed write
            db.close()
        for handle in (self._state.lock, self._owner):
            if handle >= 0:
                os.close(handle)

    def healthy(self) -> bool:
        """True while commits succeed and there is room."""
        return self._state is not None and self._writer.broken is None and not self._writer.full

    def trusted(self) -> bool:
        """False once a commit or fsync has failed."""
        return self._state is None or self._writer.broken is None

    async def append(self, events: Sequence[NewEvent]) -> Sequence[Appended]:
        """Make events durable, all in one transaction. Raises `StoreFull` when nothing was taken."""
        self._ready()
        if not events:
            return []
        size = _OVERHEAD * len(events)
        for event in events:
            size += len(event.shared) or sum(map(len, event.payloads.values()))  # what follows `shared` is one object for many
            if event.held:
                size += sum(map(len, event.held.values()))
        count = len(events)
        options = self._options
        waiting = self._pending_events
        if waiting and (waiting + count > options.pending_events or self._pending_bytes + size > options.pending_bytes):
            raise StoreFull("too many events wait to be written", code="store_busy", hint="Try again in a few seconds.")
        self._pending_events += count
        self._pending_bytes += size
        future: asyncio.Future[Sequence[Appended]] = self._loop.create_future()

        def resolve(value: Any, error: BaseException | None) -> None:
            self._pending_events -= count
            self._pending_bytes -= size
            _settle(future, value, error)

        self._gather.add(Job(resolve, events=events))
        return await future

    async def record(self, entries: Sequence[Entry]) -> None:
        """Make log entries durable that belong to no event."""
        await self._change(lambda d: d.record(entries))

    async def lease(self, destination: str, *, now_ms: int, ttl_ms: int) -> Lease | None:
        """Take or renew the lease of a destination's queue; a destination without events yet is made known."""
        state = self._opened()
        mine = self._tokens.get(destination, 0)

        def change(delivery: Delivery) -> Done:
            if destination not in delivery.bits:
                delivery.register(destination, state.end())
            return delivery.lease(destination, mine, now_ms, ttl_ms)

        found: Lease | None = await self._change(change)
        if found is not None:
            self._tokens[destination] = found.token
        return found

    async def due(self, lease: Lease, *, limit: int, now_ms: int) -> Chunk:
        """Read what to deliver next: due exceptions first, else rows after the cursor not settled yet."""
        delivery = self._opened().delivery
        bit = delivery.bit(lease.destination)
        progress = delivery.progress[bit]

        def read() -> Chunk:
            late = self._reader.due_exceptions(bit, now_ms=now_ms, limit=limit)
            if late:
                return Chunk(late, 0)
            page = self._reader.page(
                bit, lease.destination, after=progress.cursor, limit=limit, settled=progress.is_settled, begun=progress.begun
            )
            progress.hand_out([q.position for q in page.queued], page.scanned_to)
            return Chunk(page.queued, page.scanned_to)

        return await self._read(read)

    async def begin(self, lease: Lease, queued: Sequence[Queued], entry: Entry, *, now_ms: int) -> int:
        """Durable intent before any byte leaves. Returns the attempt's id."""
        number: int = await self._change(lambda d: d.begin(lease, queued, entry, now_ms))
        return number

    async def finish(
        self, lease: Lease, attempt: int, results: Sequence[Result], entry: Entry, *, cursor: int, now_ms: int
    ) -> None:
        """Outcomes of an attempt, its closing entry and the cursor, in one transaction. `cursor` 0 = unmoved."""
        await self._change(lambda d: d.finish(lease, attempt, results, entry, cursor, now_ms))

    async def settle(self, lease: Lease, results: Sequence[Result], entries: Sequence[Entry], *, cursor: int, now_ms: int) -> None:
        """Outcomes without a request and the cursor."""
        await self._change(lambda d: d.settle(lease, results, entries, cursor, now_ms))

    async def open_attempts(self, destination: str) -> Sequence[OpenAttempt]:
        """Attempts that were begun and not finished."""
        bit = self._opened().delivery.bits.get(destination)
        return [] if bit is None else await self._read(lambda: self._reader.open_attempts(bit, destination))

    async def close_attempt(self, lease: Lease, attempt: int, outcome: Outcome | None, entry: Entry, *, now_ms: int) -> None:
        """Close one of those. With an outcome its rows are settled; with None they stay in the queue."""
        await self._change(lambda d: d.close_attempt(lease, attempt, outcome, entry, now_ms))

    async def queues(self) -> Sequence[QueueState]:
        """State of every destination's queue."""
        progress = self._opened().delivery.progress
        return await self._read(lambda: self._reader.queues(lambda bit: progress[bit].settled_count()))

    async def dead_letters(self, destination: str | None = None, *, limit: int = 100) -> Sequence[DeadLetter]:
        """Dead letters, newest first."""
        return await self._read(lambda: self._reader.dead_letters(destination, limit))

    async def revive(self, ids: Collection[int], *, now_ms: int, entry: Entry) -> int:
        """Put dead letters back as retries due now. Returns how many."""
        count: int = await self._change(lambda d: d.revive(ids, now_ms, entry))
        return count

    async def drop(self, ids: Collection[int], *, entry: Entry) -> int:
        """Delete dead letters for good: their bytes are overwritten. Returns how many."""
        count: int = await self._change(lambda d: self._then_cut(d.drop(ids, entry)))
        return count

    async def put_choice(self, subject: bytes, choices: Mapping[str, str], *, at_ms: int, entry: Entry) -> None:
        """Record what a visitor decided: purpose → granted | denied."""
        await self._change(lambda d: d.put_choice(subject, choices, at_ms, entry))

    async def choices(self, subjects: Collection[bytes]) -> Mapping[bytes, Mapping[str, tuple[str, int]]]:
        """What is on record: subject → purpose → (state, at_ms)."""
        return await self._read(lambda: self._reader.choices(subjects)) if subjects else {}

    async def release_held(self, subject: bytes, ids: Collection[int], *, now_ms: int, entry: EntryOf) -> int:
        """Queue these held deliveries of a visitor. Returns how many were still there."""

        def change(delivery: Delivery) -> Done:
            parked = [p for p in self._parked(subject) if p.id in ids]
            opened = [(p, self._payload(p, delivery)) for p in parked]
            done = delivery.release([(p, payload) for p, payload in opened if payload is not None], now_ms, entry)
            return Done(done.value, lambda: self._upkeep.delete_held(parked))

        count: int = await self._change(change)
        return count

    async def shred_held(
        self,
        subject: bytes | None,
        ids: Collection[int] | None,
        *,
        expired_before_ms: int,
        outcome: Outcome,
        entry: EntryOf,
    ) -> int:
        """Delete held deliveries, of one visitor or all expired ones, so that their bytes are gone. Returns how many."""

        def change(delivery: Delivery) -> Done:
            parked = [
                p
                for p in self._parked(subject)
                if (subject is not None or p.until <= expired_before_ms) and (ids is None or p.id in ids)
            ]
            done = delivery.shred(parked, outcome, self._options.clock_ms(), entry)
            return Done(done.value, lambda: self._upkeep.delete_held(parked))

        count: int = await self._change(change)
        return count

    async def held(self, subject: bytes) -> Sequence[HeldDelivery]:
        """What is parked for a visitor."""

        def change(delivery: Delivery) -> Done:  # on the writer: after all that was handed in, and nothing changes while it reads
            found = [(p, self._payload(p, delivery)) for p in self._parked(subject)]
            names = delivery.names
            return Done([HeldDelivery(p.id, names[p.bit], p.subject, body, p.until) for p, body in found if body is not None])

        found: Sequence[HeldDelivery] = await self._change(change)
        return found

    def holding(self, subject: bytes) -> Holding:
        """How much is parked: for these joined subject keys, and in all."""
        return self._opened().parked.holding(subject)

    def held_subjects(self) -> Collection[bytes]:
        """Joined subject keys of everything that is parked."""
        return {p.subject for p in self._opened().parked.all()}

    async def trace(self, key: bytes) -> EventTrace | None:
        """Everything about one event, or None."""
        return await self._read(lambda: self._reader.trace(key))

    async def log(self, *, after: int = 0, limit: int = 1000) -> Sequence[Logged]:
        """Log entries in order of `nseq`, without gaps."""
        return await self._read(lambda: self._reader.log(after, limit))

    def _then_cut(self, done: Done) -> Done:
        return Done(done.value, self._upkeep.cut) if done.value else done

    def _parked(self, subject: bytes | None) -> list[Parked]:
        parked = self._opened().parked
        return parked.all() if subject is None else parked.of(subject)

    def _payload(self, one: Parked, delivery: Delivery) -> bytes | None:
        with self._upkeep.segment(one.segment) as db:
            return self._reader.held_payload(one, delivery.names[one.bit], db)

    async def _change(self, change: Callable[[Delivery], Done]) -> Any:
        self._ready()
        future: asyncio.Future[Any] = self._loop.create_future()
        self._gather.add(Job(partial(_settle, future), change=change))
        return await future

    async def _read(self, read: Callable[[], _T]) -> _T:
        self._ready()
        where = self._reads
        if self._options.vfs:  # one connection a file: reads take their turn on the writer
            found: _T = await self._change(lambda _: Done(read()))
            return found
        try:
            return await self._loop.run_in_executor(where, read)
        except apsw.Error as error:
            raise translate(error, "store") from None

    def _complete(self, jobs: list[Job]) -> None:
        """On the writer thread: one wake-up for all waiters."""
        self._loop.call_soon_threadsafe(_resolve, jobs)

    def _opened(self) -> State:
        if self._state is None:
            raise StoreError("the store is not open", code="store_closed")
        return self._state

    def _ready(self) -> None:
        self._opened()
        if self._writer.broken is not None:
            raise self._writer.broken

    def _borrowed(self, path: Path) -> apsw.Connection | None:
        if not self._options.vfs:
            return None
        state = self._opened()
        return {self._path: state.delivery.db, state.active.path: state.active.db}.get(path)


def _resolve(jobs: list[Job]) -> None:
    for job in jobs:
        job.resolve(job.value, job.error)


def _settle(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():  # the caller went away; what was written stays written
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)


def _lock(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise StoreBroken(
            "another gateway runs on this store", code="store_locked", hint="Stop it, or give this one a store of its own."
        ) from None
    return handle
