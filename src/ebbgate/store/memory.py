"""The same store in memory: `durability` is "memory", nothing survives the process. For tests and the bench's no-store mode.

Rows are forgotten once every cursor has passed them; `keep_entries` bounds the log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count

from ebbgate.audit.entry import Entry, unpack_opening
from ebbgate.errors import LeaseLost, StoreError
from ebbgate.model import Outcome
from ebbgate.store import outcomes
from ebbgate.store.memory_rows import Attempt, Held, Late, Queue, Row
from ebbgate.store.parked import ParkedRows
from ebbgate.store.progress import Progress
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


class MemoryStore:
    """The `Store` protocol without a disk."""

    durability = "memory"

    def __init__(self, *, keep_entries: int | None = None) -> None:
        self._rows: dict[int, Row] = {}
        self._end = 0
        self._claims: set[bytes] = set()
        self._queues: dict[str, Queue] = {}
        self._log: deque[tuple[int, bytes, Entry]] = deque(maxlen=keep_entries)
        self._nseq = 0
        self._numbers = count(1)
        self._choices: dict[bytes, dict[str, tuple[str, int]]] = {}
        self._held: ParkedRows[Held] = ParkedRows()
        self._outcomes: dict[bytes, dict[str, tuple[Outcome | None, str, int]]] = {}
        self._attempt_entries: dict[bytes, list[int]] = {}

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    def healthy(self) -> bool:
        """Memory does not fail."""
        return True

    def trusted(self) -> bool:
        """Nothing on disk, nothing to doubt."""
        return True

    async def append(self, events: Sequence[NewEvent]) -> Sequence[Appended]:
        """Take events, all or none."""
        answers, fresh = [], set[bytes]()
        for event in events:
            duplicate = any(c in self._claims or c in fresh for c in event.checks)
            answers.append(Appended.DUPLICATE if duplicate else Appended.ACCEPTED)
            if not duplicate:
                fresh.update(event.claims)
        made = [e.duplicate_entry(e) if a is Appended.DUPLICATE else e.entry for e, a in zip(events, answers, strict=True)]
        self._claims |= fresh
        for event, answer, entry in zip(events, answers, made, strict=True):
            self._write(entry, event.key)
            if answer is Appended.ACCEPTED:
                self._take(event)
        return answers

    def _take(self, event: NewEvent) -> None:
        self._end += 1
        for name in event.payloads:
            queue = self._queues.get(name)
            if queue is None:
                queue = self._queues[name] = Queue(Progress(self._end - 1))
            queue.positions.append(self._end)
        if event.payloads:
            self._rows[self._end] = Row(event, len(event.payloads))
        for name in event.held:
            self._queues.setdefault(name, Queue(Progress(self._end)))
            self._held.add(Held(next(self._numbers), name, self._end, event))
        stands: dict[str, tuple[Outcome | None, str, int]] = {}
        for names, why in ((event.payloads, ""), (event.held, "held")):
            for name in names:
                stands[name] = (None, why, 0)
        self._outcomes[event.key] = stands

    async def record(self, entries: Sequence[Entry]) -> None:
        """Log entries of no event."""
        for entry in entries:
            self._write(entry, entry.key)

    async def lease(self, destination: str, *, now_ms: int, ttl_ms: int) -> Lease | None:
        """A new lease when the last one ended, else the same one prolonged."""
        queue = self._queues.setdefault(destination, Queue(Progress(self._end)))
        if queue.until_ms <= now_ms:
            queue.token += 1
        queue.until_ms = max(queue.until_ms, now_ms + ttl_ms)
        return Lease(destination, queue.token, queue.until_ms)

    async def due(self, lease: Lease, *, limit: int, now_ms: int) -> Chunk:
        """Exceptions that are due, else rows after the cursor."""
        queue = self._queue(lease.destination)
        late = sorted((e.due_ms, e.number, e) for e in queue.exceptions.values() if e.outcome is None and e.due_ms <= now_ms)
        if late:
            return Chunk([replace(e.queued, exception=e.number) for _, _, e in late[:limit]], 0)
        found: list[Queued] = []
        scanned = self._end
        for position in queue.positions:
            if queue.progress.is_settled(position):
                continue
            if len(found) == limit:
                scanned = found[-1].position
                break
            event = self._rows[position].event
            attempts, first = queue.progress.begun(position)
            payload = event.shared + event.payloads[lease.destination]
            found.append(Queued(position, event.key, event.subject, event.at_ms, payload, attempts, first))
        queue.progress.hand_out([q.position for q in found], scanned)
        return Chunk(found, scanned)

    async def begin(self, lease: Lease, queued: Sequence[Queued], entry: Entry, *, now_ms: int) -> int:
        """The intent of one request."""
        queue = self._fence(lease)
        if not queued:
            raise StoreError("an attempt without rows", code="result")
        number = next(self._numbers)
        queue.attempts[number] = Attempt(now_ms, list(queued))
        self._about(queued, self._write(entry, entry.key))
        return number

    async def finish(
        self, lease: Lease, attempt: int, results: Sequence[Result], entry: Entry, *, cursor: int, now_ms: int
    ) -> None:
        """Outcomes of one request."""
        queue = self._fence(lease)
        found = self._open_attempt(queue, attempt)
        outcomes.check(results)
        positions = [r.queued.position for r in results]
        if not set(positions) <= {q.position for q in found.queued}:
            raise StoreError("a result for a row that was not in the attempt", code="result")
        queue.progress.check(cursor, positions)
        del queue.attempts[attempt]
        self._about(found.queued, self._write(entry, entry.key))
        for result in results:
            self._result(lease.destination, queue, result, now_ms, started=found.started_ms)
        queue.progress.begin([q.position for q in found.queued if q.position not in positions], found.started_ms)
        self._settled(queue, positions, cursor)

    async def settle(self, lease: Lease, results: Sequence[Result], entries: Sequence[Entry], *, cursor: int, now_ms: int) -> None:
        """Outcomes without a request."""
        queue = self._fence(lease)
        outcomes.check(results)
        positions = [r.queued.position for r in results]
        queue.progress.check(cursor, positions)
        for entry in entries:
            self._about([r.queued for r in results], self._write(entry, entry.key))
        for result in results:
            self._result(lease.destination, queue, result, now_ms)
        self._settled(queue, positions, cursor)

    async def open_attempts(self, destination: str) -> Sequence[OpenAttempt]:
        """Attempts that were begun and not finished."""
        queue = self._queues.get(destination)
        return [
            OpenAttempt(number, destination, a.started_ms, tuple(q.position for q in a.queued))
            for number, a in (queue.attempts.items() if queue else ())
        ]

    async def close_attempt(self, lease: Lease, attempt: int, outcome: Outcome | None, entry: Entry, *, now_ms: int) -> None:
        """Settle its rows, or leave them in the queue."""
        queue = self._fence(lease)
        found = self._open_attempt(queue, attempt)
        del queue.attempts[attempt]
        self._about(found.queued, self._write(entry, entry.key))
        positions = [q.position for q in found.queued]
        if outcome is None:
            queue.progress.begin(positions, found.started_ms)
            for position in positions:
                late = queue.exceptions.get(position)
                if late is not None:
                    first = late.queued.first_attempt_ms or found.started_ms
                    late.queued = replace(late.queued, attempts=late.queued.attempts + 1, first_attempt_ms=first)
            return
        for queued in found.queued:
            queue.exceptions.pop(queued.position, None)
            self._note(queued.key, lease.destination, outcome, "process_died", queued.attempts + 1)
        self._settled(queue, positions, 0)

    async def queues(self) -> Sequence[QueueState]:
        """State of every queue."""
        states = []
        for name, queue in self._queues.items():
            waiting = [p for p in queue.positions if not queue.progress.is_settled(p)]
            late = [e for e in queue.exceptions.values() if e.outcome is None]
            times = [self._rows[waiting[0]].event.at_ms] if waiting else []
            times += [e.queued.at_ms for e in late]
            dead = len(queue.exceptions) - len(late)
            held = sum(h.destination == name for h in self._held.all())
            states.append(QueueState(name, len(waiting) + len(late), len(late), dead, held, min(times, default=0)))
        return states

    async def dead_letters(self, destination: str | None = None, *, limit: int = 100) -> Sequence[DeadLetter]:
        """Newest first."""
        found = [
            DeadLetter(e.number, name, e.queued.key, e.outcome, e.reason, e.queued.attempts, e.queued.at_ms, e.died_ms)
            for name, queue in self._queues.items()
            if destination in (None, name)
            for e in queue.exceptions.values()
            if e.outcome is not None
        ]
        return sorted(found, key=lambda d: -d.id)[:limit]

    async def revive(self, ids: Collection[int], *, now_ms: int, entry: Entry) -> int:
        """Dead letters become retries that are due now."""
        found = list(self._dead(ids))
        for name, _, one in found:
            one.outcome, one.reason, one.due_ms, one.died_ms = None, "", now_ms, 0
            one.queued = replace(one.queued, attempts=0, first_attempt_ms=0)
            self._note(one.queued.key, name, None, "", 0)
        if found:
            self._write(entry, entry.key)
        return len(found)

    async def drop(self, ids: Collection[int], *, entry: Entry) -> int:
        """Dead letters are deleted."""
        found = list(self._dead(ids))
        for _, queue, one in found:
            del queue.exceptions[one.queued.position]
        if found:
            self._write(entry, entry.key)
        return len(found)

    async def put_choice(self, subject: bytes, choices: Mapping[str, str], *, at_ms: int, entry: Entry) -> None:
        """The newest choice of each purpose counts."""
        if any(state not in ("granted", "denied") for state in choices.values()):
            raise StoreError("a choice is granted or denied", code="choice")
        known = self._choices.setdefault(subject, {})
        for purpose, state in choices.items():
            if at_ms >= known.get(purpose, ("", 0))[1]:
                known[purpose] = (state, at_ms)
        self._write(entry, entry.key)

    async def choices(self, subjects: Collection[bytes]) -> Mapping[bytes, Mapping[str, tuple[str, int]]]:
        """What is on record."""
        return {s: dict(self._choices[s]) for s in subjects if s in self._choices}

    async def release_held(self, subject: bytes, ids: Collection[int], *, now_ms: int, entry: EntryOf) -> int:
        """Queue these held deliveries of a visitor."""
        found = [h for h in self._held.of(subject) if h.id in ids]
        for one in found:
            event = one.event
            number = next(self._numbers)
            queued = Queued(one.position, event.key, event.subject, event.at_ms, event.held[one.destination], exception=number)
            self._queues[one.destination].exceptions[one.position] = Late(number, queued, due_ms=now_ms)
            self._note(event.key, one.destination, None, "", 0)
        return self._unhold(found, entry)

    async def shred_held(
        self,
        subject: bytes | None,
        ids: Collection[int] | None,
        *,
        expired_before_ms: int,
        outcome: Outcome,
        entry: EntryOf,
    ) -> int:
        """Delete held deliveries."""
        found = [
            h
            for h in (self._held.all() if subject is None else self._held.of(subject))
            if (subject is not None or h.event.held_until_ms <= expired_before_ms) and (ids is None or h.id in ids)
        ]
        for one in found:
            self._note(one.event.key, one.destination, outcome, "", 0)
        return self._unhold(found, entry)

    async def held(self, subject: bytes) -> Sequence[HeldDelivery]:
        """What is parked for a visitor."""
        mine = self._held.of(subject)
        return [HeldDelivery(h.id, h.destination, h.subject, h.event.held[h.destination], h.event.held_until_ms) for h in mine]

    def holding(self, subject: bytes) -> Holding:
        """How much is parked: for these joined subject keys, and in all."""
        return self._held.holding(subject)

    def held_subjects(self) -> Collection[bytes]:
        """Joined subject keys of everything that is parked."""
        return {h.subject for h in self._held.all()}

    async def trace(self, key: bytes) -> EventTrace | None:
        """Everything about one event."""
        numbers = set(self._attempt_entries.get(key, ()))
        found = [self._logged(row) for row in self._log if row[1] == key or row[0] in numbers]
        return EventTrace(found, dict(self._outcomes.get(key, {}))) if found else None

    async def log(self, *, after: int = 0, limit: int = 1000) -> Sequence[Logged]:
        """Entries in order."""
        return [self._logged(row) for row in self._log if row[0] > after][:limit]

    def _write(self, entry: Entry, key: bytes) -> int:
        entry.encode(self._nseq + 1)
        self._nseq += 1
        self._log.append((self._nseq, key, entry))
        return self._nseq

    def _logged(self, row: tuple[int, bytes, Entry]) -> Logged:
        nseq, key, entry = row
        return Logged(nseq, key, entry.encode(nseq), unpack_opening(entry.opening, entry.evidence))

    def _about(self, queued: Sequence[Queued], nseq: int) -> None:
        for one in queued:
            self._attempt_entries.setdefault(one.key, []).append(nseq)

    def _queue(self, destination: str) -> Queue:
        found = self._queues.get(destination)
        if found is None:
            raise StoreError("no such destination in the store", code="destination_unknown")
        return found

    def _fence(self, lease: Lease) -> Queue:
        queue = self._queue(lease.destination)
        if queue.token != lease.token:
            raise LeaseLost("a newer lease took over this destination")
        return queue

    def _open_attempt(self, queue: Queue, attempt: int) -> Attempt:
        found = queue.attempts.get(attempt)
        if found is None:
            raise StoreError("no such open attempt", code="attempt")
        return found

    def _result(self, name: str, queue: Queue, result: Result, now_ms: int, *, started: int = 0) -> None:
        queued = result.queued
        counts = bool(started) and result.counts
        attempts = queued.attempts + counts
        if result.outcome is not None and not result.dead:
            queue.exceptions.pop(queued.position, None)
            self._note(queued.key, name, result.outcome, result.reason, attempts)
            return
        known = queue.exceptions.get(queued.position)
        number = known.number if known else next(self._numbers)
        first = queued.first_attempt_ms or (started if counts else 0)
        again = replace(queued, attempts=attempts, first_attempt_ms=first, exception=number)
        died = now_ms if result.dead else 0
        queue.exceptions[queued.position] = Late(number, again, result.retry_at_ms, result.outcome, result.reason, died)
        self._note(queued.key, name, result.outcome, result.reason, attempts)

    def _note(self, key: bytes, name: str, outcome: Outcome | None, reason: str, attempts: int) -> None:
        known = self._outcomes.get(key)
        if known is not None:
            known[name] = (outcome, reason, attempts)

    def _settled(self, queue: Queue, positions: Sequence[int], cursor: int) -> None:
        queue.progress.settle(positions, cursor)
        while queue.positions and queue.positions[0] <= queue.progress.cursor:
            passed = queue.positions.popleft()
            row = self._rows[passed]
            row.waiting -= 1
            if row.waiting == 0:
                del self._rows[passed]
                self._forget(row.event)

    def _forget(self, event: NewEvent) -> None:
        if self._log.maxlen is not None:  # bounded: the bench; its stories are not asked for
            self._outcomes.pop(event.key, None)
            self._attempt_entries.pop(event.key, None)

    def _unhold(self, found: Sequence[Held], entry: EntryOf) -> int:
        for one in found:
            self._held.remove(one)
        if found:
            self._write(made := entry(len(found)), made.key)
        return len(found)

    def _dead(self, ids: Collection[int]) -> Iterator[tuple[str, Queue, Late]]:
        for name, queue in self._queues.items():
            for one in queue.exceptions.values():
                if one.number in ids and one.outcome is not None:
                    yield name, queue, one
