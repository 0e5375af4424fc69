"""The rows of the store in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from ebbgate.model import Outcome
from ebbgate.store.progress import Progress
from ebbgate.store.protocol import NewEvent, Queued


@dataclass(slots=True)
class Row:
    """An event with something to deliver."""

    event: NewEvent
    waiting: int  #: destinations whose cursor has not passed it


@dataclass(slots=True)
class Late:
    """A retry, or a dead letter."""

    number: int
    queued: Queued
    due_ms: int = 0
    outcome: Outcome | None = None  #: set for a dead letter
    reason: str = ""
    died_ms: int = 0


@dataclass(slots=True)
class Attempt:
    """A request that was begun."""

    started_ms: int
    queued: Sequence[Queued]
    finished: bool = False


@dataclass(slots=True)
class Queue:
    """One destination's queue."""

    progress: Progress
    token: int = 0
    until_ms: int = 0
    positions: deque[int] = field(default_factory=deque)  #: rows for it, beyond its cursor
    exceptions: dict[int, Late] = field(default_factory=dict)  #: by position
    attempts: dict[int, Attempt] = field(default_factory=dict)


@dataclass(slots=True)
class Held:
    """One parked delivery."""

    id: int
    destination: str
    position: int
    event: NewEvent

    @property
    def subject(self) -> bytes:
        """Joined keys of the event."""
        return self.event.subject

    @property
    def size(self) -> int:
        """Bytes of the payload."""
        return len(self.event.held[self.destination])
