"""What a worker has in hand: rows for one request, the look on which they were let pass, and how far their chunk is settled."""

from __future__ import annotations

from dataclasses import dataclass

from ebbgate.deliver.prepare import Item, Present


@dataclass(frozen=True, slots=True, repr=False)
class Look:
    """One look of the gate at the present: on its word a first byte may leave for two seconds."""

    present: Present
    at_s: float  #: monotonic second at which the present began to be read
    epoch: int  #: of `Attempts`; a withdrawal that waits for what is under way begins a new one


@dataclass(frozen=True, slots=True, repr=False)
class Load:
    """Rows for one request, and the look on which the gate let them pass."""

    items: list[Item]
    look: Look


class Progress:
    """How much of a chunk is settled: the cursor moves only when every row of it is."""

    def __init__(self, rows: int, scanned_to: int) -> None:
        self._left = rows
        self._scanned_to = scanned_to
        self.moved = not scanned_to

    @property
    def complete(self) -> bool:
        """True when no row of the chunk is left to be settled."""
        return self._left == 0

    def cursor_after(self, n: int) -> int:
        """Where the cursor may go together with `n` more rows; 0 = nowhere yet."""
        return self._scanned_to if self._left == n else 0

    def settled(self, n: int) -> None:
        """`n` more rows are durably settled."""
        self.moved = self.moved or self._left == n
        self._left -= n
