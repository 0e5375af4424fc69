"""What a store promises, in batches and free of any engine's habits. One backend a file implements it.

`append` returns when the events' duplicate keys, payloads and log entries are on disk in one transaction (DESIGN §1.3).
Delivery is a cursor a destination under a lease with a fencing token; rows exist only for exceptions: retries, dead
letters, held events. Every writing call of a lease holder raises `LeaseLost` once its token is stale.
Any commit or fsync error raises `StoreBroken`: the process must stop and a fresh one must check.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

import msgspec

from ebbgate.audit.entry import Entry
from ebbgate.model import EMPTY, Outcome

#: Makes the log entry of a change once it is known how many rows it concerns.
EntryOf: TypeAlias = Callable[[int], Entry]


class Appended(StrEnum):
    """What became of one event handed to `append`."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"


class NewEvent(msgspec.Struct, frozen=True):
    """One decided event. Keys are 16-byte HMACs: no personal data in clear reaches an index."""

    key: bytes  #: HMAC(site, event id): finds the event's story
    checks: tuple[bytes, ...]  #: the event is a duplicate when any of these is claimed already
    claims: tuple[bytes, ...]  #: claimed by this event in the same transaction
    subject: bytes  #: 16-byte HMACs of the subject ids, joined, the strongest first; b"" when there is none
    at_ms: int  #: receipt
    payloads: Mapping[
        str, bytes
    ]  #: destination → what may leave, less `shared`; sealed by the store. With `shared` it never changes
    entry: Entry  #: the decision entry
    duplicate_entry: Callable[[NewEvent], Entry]  #: asked only when it turns out to be a duplicate
    event_id: str  #: what that entry commits to
    held: Mapping[str, bytes] = EMPTY  #: parked until the visitor decides
    held_until_ms: int = 0
    conversion: bool = False  #: claims are kept for the whole duplicate window, not only in recent segments
    shared: bytes = b""  #: what every payload begins with; events with the same `payloads` object may keep that once

    __repr__ = object.__repr__  # shows no value


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to deliver for one destination until `until_ms`; `token` only ever grows."""

    destination: str
    token: int
    until_ms: int


@dataclass(frozen=True, slots=True, repr=False)
class Queued:
    """One delivery read from the queue, opened."""

    position: int  #: where it stands; grows with time
    key: bytes
    subject: bytes
    at_ms: int
    payload: bytes  #: `policy.clean.load` makes the CleanEvent of it
    attempts: int = 0  #: requests begun for it so far
    first_attempt_ms: int = 0  #: 0 = never
    exception: int = 0  #: id of its exception row; 0 = it is read by the cursor


@dataclass(frozen=True, slots=True)
class Chunk:
    """What `due` found: exceptions that are due, or the next rows at the cursor."""

    queued: Sequence[Queued]
    scanned_to: int  #: the cursor may move here once all `queued` are settled; 0 for exceptions


@dataclass(frozen=True, slots=True)
class Result:
    """How one queued delivery came out of an attempt, or of the gate: an outcome, or a retry, or dead with an outcome."""

    queued: Queued
    outcome: Outcome | None = None  #: None with `retry_at_ms`
    retry_at_ms: int = 0
    dead: bool = False  #: keep the payload as a dead letter under this outcome
    reason: str = ""  #: closed words
    counts: bool = True  #: False: the request does not count as an attempt (parked for configuration)


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """A request that was begun and never finished: the process died between."""

    id: int
    destination: str
    started_ms: int
    positions: Sequence[int]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One delivery that ended without being delivered; its payload is kept for a while."""

    id: int
    destination: str
    key: bytes
    outcome: Outcome
    reason: str
    attempts: int
    at_ms: int  #: when the event was received
    died_ms: int


@dataclass(frozen=True, slots=True)
class QueueState:
    """How one destination's queue stands."""

    destination: str
    waiting: int  #: rows behind the cursor (an estimate on large queues) plus retries
    retries: int
    dead: int
    held: int
    oldest_ms: int  #: receipt of the oldest waiting event, 0 = none


@dataclass(frozen=True, slots=True, repr=False)
class HeldDelivery:
    """One delivery that waits for its visitor's decision, opened."""

    id: int  #: never used again
    destination: str
    subject: bytes  #: joined keys of the event
    payload: bytes
    until_ms: int  #: shredded then, if nothing was decided


@dataclass(frozen=True, slots=True)
class Holding:
    """How much is parked, for the bounds."""

    visitor: int  #: events of the visitor
    events: int  #: in all
    bytes: int  #: payloads as stored, in all


@dataclass(frozen=True, slots=True)
class Logged:
    """One log entry as stored."""

    nseq: int
    key: bytes  #: of the event it is about, b"" for others
    body: bytes  #: canonical bytes
    opening: Mapping[str, tuple[bytes, bytes]] | None  #: commitment name → (nonce, value); None once deleted


@dataclass(frozen=True, slots=True)
class EventTrace:
    """All that the store knows of one event, for its story."""

    entries: Sequence[Logged]
    outcomes: Mapping[str, tuple[Outcome | None, str, int]]  #: destination → (outcome or None while waiting, reason, attempts)


class Store(Protocol):
    """A durable store. All calls are coroutines; none blocks the event loop on I/O."""

    durability: str  #: "fsync", "memory"

    async def open(self) -> None:
        """Open, check settings and files, recover. Raises `StoreBroken` when they cannot be trusted."""

    async def close(self) -> None:
        """Finish what is queued and close."""

    async def append(self, events: Sequence[NewEvent]) -> Sequence[Appended]:
        """Make events durable, all in one transaction. Raises `StoreFull` when nothing was taken."""

    async def record(self, entries: Sequence[Entry]) -> None:
        """Make log entries durable that belong to no event, such as policy.activated."""

    async def lease(self, destination: str, *, now_ms: int, ttl_ms: int) -> Lease | None:
        """Take or renew the lease of a destination's queue; None while another holds it."""

    async def due(self, lease: Lease, *, limit: int, now_ms: int) -> Chunk:
        """Read what to deliver next: due exceptions first, else rows after the cursor not settled yet."""

    async def begin(self, lease: Lease, queued: Sequence[Queued], entry: Entry, *, now_ms: int) -> int:
        """Durable intent before any byte leaves. Returns the attempt's id."""

    async def finish(
        self, lease: Lease, attempt: int, results: Sequence[Result], entry: Entry, *, cursor: int, now_ms: int
    ) -> None:
        """Outcomes of an attempt, its closing entry and the cursor, in one transaction. `cursor` 0 = unmoved."""

    async def settle(self, lease: Lease, results: Sequence[Result], entries: Sequence[Entry], *, cursor: int, now_ms: int) -> None:
        """Outcomes without a request (expired, withdrawn, unmapped …) and the cursor."""

    async def open_attempts(self, destination: str) -> Sequence[OpenAttempt]:
        """Attempts that an earlier process began and did not finish."""

    async def close_attempt(self, lease: Lease, attempt: int, outcome: Outcome | None, entry: Entry, *, now_ms: int) -> None:
        """Close one of those. With an outcome its rows are settled; with None they stay in the queue."""

    async def queues(self) -> Sequence[QueueState]:
        """State of every destination's queue."""

    async def dead_letters(self, destination: str | None = None, *, limit: int = 100) -> Sequence[DeadLetter]:
        """Dead letters, newest first."""

    async def revive(self, ids: Collection[int], *, now_ms: int, entry: Entry) -> int:
        """Put dead letters back as retries due now; they pass the gate again. Returns how many."""

    async def drop(self, ids: Collection[int], *, entry: Entry) -> int:
        """Delete dead letters for good. Returns how many."""

    async def put_choice(self, subject: bytes, choices: Mapping[str, str], *, at_ms: int, entry: Entry) -> None:
        """Record what a visitor decided: purpose → granted | denied. The newest choice per purpose counts."""

    async def choices(self, subjects: Collection[bytes]) -> Mapping[bytes, Mapping[str, tuple[str, int]]]:
        """What is on record: subject → purpose → (state, at_ms)."""

    async def release_held(self, subject: bytes, ids: Collection[int], *, now_ms: int, entry: EntryOf) -> int:
        """Queue these held deliveries of a visitor (one 16-byte key). Returns how many were still there."""

    async def shred_held(
        self,
        subject: bytes | None,
        ids: Collection[int] | None,
        *,
        expired_before_ms: int,
        outcome: Outcome,
        entry: EntryOf,
    ) -> int:
        """Delete held deliveries so that their bytes are gone: of one visitor (`ids` None: all of them), or all expired ones.

        Returns how many. `entry` is asked only when there are some.
        """

    async def held(self, subject: bytes) -> Sequence[HeldDelivery]:
        """What is parked for a visitor (one 16-byte key)."""

    def holding(self, subject: bytes) -> Holding:
        """How much is parked: for these joined subject keys, and in all. Waits for nothing."""

    def held_subjects(self) -> Collection[bytes]:
        """Joined subject keys of everything that is parked."""

    async def trace(self, key: bytes) -> EventTrace | None:
        """Everything about one event, or None."""

    async def log(self, *, after: int = 0, limit: int = 1000) -> Sequence[Logged]:
        """Log entries in order of `nseq`."""

    def healthy(self) -> bool:
        """True while commits succeed and there is room."""

    def trusted(self) -> bool:
        """False once a commit or fsync has failed: the process must end and a fresh one check what is on disk."""
