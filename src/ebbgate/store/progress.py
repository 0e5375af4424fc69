"""How far one destination is: the cursor and what is settled ahead of it. Pure book-keeping, the same for every backend.

A cursor may only pass rows that are settled, and only as far as `due` has read: a worker's mistake is an error here, never
a lost or repeated delivery.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from threading import Lock

from ebbgate.errors import StoreError


class Progress:
    """One destination's place in the events. Read by one thread while another settles."""

    __slots__ = ("_begun", "_lock", "_out", "_scanned", "_settled", "cursor")

    def __init__(self, cursor: int) -> None:
        self.cursor = cursor  #: every position up to here is settled
        self._lock = Lock()
        self._settled: set[int] = set()  # beyond the cursor
        self._out: set[int] = set()  # read by `due`, beyond the cursor, not settled yet
        self._begun: dict[int, tuple[int, int]] = {}  # beyond the cursor: requests begun and not answered, since when
        self._scanned = cursor

    def is_settled(self, position: int) -> bool:
        """True for a row that must not be handed out."""
        return position <= self.cursor or position in self._settled

    def begun(self, position: int) -> tuple[int, int]:
        """(requests begun for a row at the cursor, time of the first in ms), (0, 0) for none."""
        return self._begun.get(position, (0, 0))

    def hand_out(self, positions: Iterable[int], scanned_to: int) -> None:
        """Remember what was read, so that the cursor cannot jump over it."""
        with self._lock:
            self._out.update([p for p in positions if not self.is_settled(p)])
            self._scanned = max(self._scanned, scanned_to)

    def check(self, cursor: int, settling: Collection[int]) -> None:
        """Raise StoreError when the cursor may not move there together with settling these rows."""
        if cursor <= self.cursor:
            return
        with self._lock:
            if cursor > self._scanned:
                raise StoreError("the cursor would pass rows that were never read", code="cursor")
            settled = set(settling)
            if any(p <= cursor and p not in settled and p not in self._settled for p in self._out):
                raise StoreError("the cursor would pass rows that are not settled", code="cursor")

    def begin(self, positions: Iterable[int], at_ms: int) -> None:
        """Requests were begun for these rows."""
        with self._lock:
            for position in positions:
                if position > self.cursor:
                    count, first = self._begun.get(position, (0, at_ms))
                    self._begun[position] = (count + 1, first)

    def settle(self, positions: Iterable[int], cursor: int) -> None:
        """These rows are durably settled, and the cursor has durably moved (0: unmoved)."""
        with self._lock:
            self._settled.update(positions)
            self.cursor = max(self.cursor, cursor)
            self._scanned = max(self._scanned, self.cursor)
            now = self.cursor
            self._settled = {p for p in self._settled if p > now}
            self._out = {p for p in self._out if p > now and p not in self._settled}
            if self._begun:
                self._begun = {p: b for p, b in self._begun.items() if p > now and p not in self._settled}

    def settled_count(self) -> int:
        """How many rows beyond the cursor are settled."""
        return len(self._settled)
