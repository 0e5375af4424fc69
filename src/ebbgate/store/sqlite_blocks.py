"""Blocks of a segment, opened: what stands sealed of many events in one ciphertext is opened once for all that ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar

import apsw

from ebbgate.errors import StoreBroken
from ebbgate.store.sqlite_connect import first

_KEPT: Final = 8  #: blocks that stay open: destinations mostly read the same ones
_T = TypeVar("_T")


class Blocks(Generic[_T]):
    """One kind of a reader's blocks. For one thread."""

    def __init__(self, locate: str, read: str, opened: Callable[[int, int, bytes], Mapping[int, _T]]) -> None:
        """`locate` finds (first row, mark) of the block for a row, `read` its bytes; `opened` makes row → thing of them."""
        self._locate = locate
        self._read = read
        self._opened = opened
        self._kept: dict[tuple[int, int], tuple[bytes, Mapping[int, _T]]] = {}  # the oldest forgotten first
        self._current: tuple[int, Mapping[int, _T]] = (0, {})

    def look_again(self) -> None:
        """A new question: what was deleted since the last one must not come from memory."""
        self._current = (0, {})

    def get(self, db: apsw.Connection, segment: int, row: int) -> _T | None:
        """What stands there for a row, or None."""
        where, block = self._current
        if where != segment or row not in block:
            found = first(db, self._locate, (row,))
            if found is None:
                return None
            start, mark = found
            kept = self._kept.pop((segment, start), None)
            if kept is None or kept[0] != mark:  # a block that is written anew has another nonce
                read = first(db, self._read, (start,))
                if read is None or not read[0]:
                    raise StoreBroken("a block is not there", code="store_damaged")
                kept = mark, self._opened(segment, start, read[0])
            while len(self._kept) >= _KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[segment, start] = kept
            block = kept[1]
            self._current = segment, block
        return block.get(row)
