"""Putting rows into requests, and finding the one that spoils a request. Pure (specs/reliability.md §2.3)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

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
