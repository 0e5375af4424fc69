"""Putting rows into requests, and finding the one that spoils a request. Pure (specs/reliability.md §2.3)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


def batches(rows: Sequence[T], *, limit: int, key: Callable[[T], Hashable] | None = None) -> list[list[T]]:
    """Groups of at most `limit` rows with one `key` each, in order of their first row; rows keep their order in a group."""
    if limit < 1:
        raise ValueError("a request holds at least one row")
    done: list[list[T]] = []
    filling: dict[Hashable, list[T]] = {}
    for row in rows:
        name = None if key is None else key(row)
        group = filling.get(name)
        if group is None or len(group) == limit:
            group = filling[name] = []
            done.append(group)
        group.append(row)
    return done


def halves(rows: Sequence[T]) -> tuple[list[T], list[T]]:
    """Two halves of at least two rows; the first is never the longer one."""
    if len(rows) < 2:
        raise ValueError("one row has no halves")
    middle = len(rows) // 2
    return list(rows[:middle]), list(rows[middle:])


def extra_requests(n: int) -> int:
    """The most requests that isolating one poison row among `n` may add: 2·⌈log2 n⌉."""
    return 2 * (n - 1).bit_length() if n > 1 else 0


class Bisection:
    """How far the halving of one refused batch has come, so that a batch refused altogether ends it.

    Halving isolates one poison row with `extra_requests(n)` requests. When that many have gone out and none was taken, the
    batch is not spoilt by a row: the destination refuses what we send, and the rest is kept (`hopeless`).
    """

    __slots__ = ("_left", "_taken")

    def __init__(self, n: int) -> None:
        self._left = extra_requests(n)
        self._taken = False

    def asked(self, *, taken: bool) -> None:
        """One more request of this bisection was answered."""
        self._left -= 1
        self._taken = self._taken or taken

    @property
    def hopeless(self) -> bool:
        """True when the requests that isolate one row are used up and no row was ever taken."""
        return not self._taken and self._left <= 0


class Search(Generic[T]):
    """Which row spoils a refused batch, where the platform looks at rows without recording them (`Destination.check`).

    Half of the suspects are asked about at a time; a row that stands alone is sent, as its answer is its end. One poison row among
    `n` costs ⌈log2 n⌉ questions, at most one more row alone, and one request for `rest`: within `extra_requests(n)`.
    """

    __slots__ = ("_asked", "_suspects", "rest")

    def __init__(self, rows: Sequence[T]) -> None:
        self._suspects = list(rows)
        self._asked = 0
        self.rest: list[T] = []  #: rows that are to be sent when nobody is under suspicion any more

    def part(self) -> list[T]:
        """The rows to ask about next, or the one row to send; [] when the search is over."""
        self._asked = max(1, len(self._suspects) // 2)
        return self._suspects[: self._asked]

    def answered(self, *, refused: bool, kept: Sequence[T]) -> None:
        """What the platform said of the last part. `kept`: its rows that still wait to be sent, those of a question."""
        others = self._suspects[self._asked :]
        if refused:
            # The others are as yet neither good nor bad.
            self.rest += others
            self._suspects = list(kept)
        else:
            self.rest += kept
            self._suspects = others

    @property
    def unsettled(self) -> list[T]:
        """Rows that the search has not brought to an end."""
        return self._suspects + self.rest
