"""What waits for its visitor's decision, in memory: found by visitor, counted for the bounds. The payloads stay in the store.

One thread changes it; others may look. Every look copies what it walks over in one step.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from ebbgate.store.keys import split_subject
from ebbgate.store.protocol import Holding


class ParkedRow(Protocol):
    """One held delivery as the index needs it."""

    @property
    def id(self) -> int:
        """Never used again in the life of a store."""

    @property
    def position(self) -> int:
        """Of its event: the deliveries of one event share it."""

    @property
    def subject(self) -> bytes:
        """The event's subject keys, joined."""

    @property
    def size(self) -> int:
        """Bytes of its payload as stored."""


_T = TypeVar("_T", bound=ParkedRow)


class ParkedRows(Generic[_T]):
    """All held deliveries of one store."""

    def __init__(self, rows: Iterable[_T] = ()) -> None:
        self._rows: dict[int, _T] = {}
        self._of: dict[bytes, dict[int, _T]] = {}  # 16-byte key → its rows
        self._events: dict[int, int] = {}  # position → rows
        self._bytes = 0
        for row in rows:
            self.add(row)

    def add(self, row: _T) -> None:
        """A delivery was parked."""
        self._rows[row.id] = row
        for key in _keys(row.subject):
            self._of.setdefault(key, {})[row.id] = row
        self._events[row.position] = self._events.get(row.position, 0) + 1
        self._bytes += row.size

    def remove(self, row: _T) -> None:
        """It was released or shredded; a second time changes nothing."""
        if self._rows.pop(row.id, None) is None:
            return
        for key in _keys(row.subject):
            rows = self._of[key]
            rows.pop(row.id, None)
            if not rows:
                del self._of[key]
        left = self._events[row.position] - 1
        if left:
            self._events[row.position] = left
        else:
            del self._events[row.position]
        self._bytes -= row.size

    def all(self) -> list[_T]:
        """Every row, the oldest first."""
        return list(self._rows.values())

    def of(self, subject: bytes) -> list[_T]:
        """Rows that carry a subject key (16 bytes), the oldest first."""
        return list(self._of.get(subject, {}).values())

    def holding(self, subject: bytes) -> Holding:
        """How much is parked: for the fullest of these joined subject keys, and in all."""
        visitor = max((len({row.position for row in self.of(key)}) for key in split_subject(subject)), default=0)
        return Holding(visitor, len(self._events), self._bytes)


def _keys(subject: bytes) -> set[bytes]:
    return set(split_subject(subject))
