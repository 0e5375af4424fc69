"""Bits out of base64url text, for TCF and GPP (specs/consent.md §1.1, §2.1).

A part is turned into bytes once; every later read is a window of a few bytes, so that the cost of a read does not grow
with the length of the string. Any amount of trailing zero padding is accepted, also lengths that a plain base64 function
refuses (1 mod 4 characters); anything else that was not read makes the part invalid.
"""

from __future__ import annotations

import binascii
import re
import struct
from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from ebbgate.errors import SignalError

#: Longest string of any format that is looked at, characters (specs/consent.md §8).
MAX_CHARS: Final = 32 * 1024

_SLACK: Final = bytes(8)
_word: Final = struct.Struct(">Q").unpack_from
_IS_RANGE: Final = 1 << 63

_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_TO_STANDARD: Final = str.maketrans("-_", "+/")

#: Inclusive ranges of ids, ascending and apart from each other.
Ranges = tuple[tuple[int, int], ...]
_BEYOND: Final = 1 << 16  #: greater than any id


def covers(ranges: Ranges, number: int) -> bool:
    """True when a range holds the id. Logarithmic, so that a string made of thousands of ranges costs no time to ask."""
    at = bisect_right(ranges, (number, _BEYOND))
    return at > 0 and number <= ranges[at - 1][1]


def union(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Overlapping ranges in any order as `Ranges`."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return tuple(merged)


class BitReader:
    """Reads big-endian fields one after another from one base64url part.

    `bits` is the length the text really holds (6 a character), `position` the next unread bit.
    """

    __slots__ = ("bits", "data", "position")

    def __init__(self, text: str) -> None:
        """Take a non-empty base64url part without `=`; anything else raises `SignalError`."""
        if len(text) > MAX_CHARS:
            raise SignalError("longer than 32 KiB", code="too_long")
        if not _BASE64URL.fullmatch(text):
            raise SignalError("a part is empty or holds characters outside base64url", code="characters")
        self.bits = 6 * len(text)
        # "A" is six zero bits: it completes the last group of four without adding anything.
        # Eight zero bytes after the end let `ranges` take whole words; `read` and `finish` never look past `bits`.
        self.data = binascii.a2b_base64(text.translate(_TO_STANDARD) + "AAA"[: -len(text) % 4]) + _SLACK
        self.position = 0

    def read(self, width: int) -> int:
        """Next `width` bits as an unsigned number; a part that ends before them raises `SignalError`."""
        start = self.position
        end = start + width
        if end > self.bits:
            raise SignalError("ends before a field is complete", code="truncated")
        self.position = end
        last = (end + 7) >> 3
        return (int.from_bytes(self.data[start >> 3 : last]) >> ((last << 3) - end)) & ((1 << width) - 1)

    def ranges(self) -> Ranges:
        """A TCF range section: count (12 bits, so 4095 entries at most), then single ids or pairs of 16 bits. Never expanded."""
        count = self.read(12)
        position, bits, data = self.position, self.bits, self.data
        found: list[tuple[int, int]] = []
        last, ascending = 0, True
        for _ in range(count):
            # The longest entry has 33 bits: at any bit offset of its first byte it lies in one 64-bit word.
            word = _word(data, position >> 3)[0] << (position & 7)
            start = (word >> 47) & 0xFFFF
            if word & _IS_RANGE:
                end = (word >> 31) & 0xFFFF
                position += 33
            else:
                end = start
                position += 17
            if position > bits:
                raise SignalError("ends before a range entry is complete", code="truncated")
            if end < start or start == 0:
                raise SignalError("a range ends before it starts, or starts at 0", code="range")
            ascending = ascending and start > last
            last = end
            found.append((start, end))
        self.position = position
        return tuple(found) if ascending else union(found)

    def rest(self) -> str:
        """All unread bits as text of 0 and 1, for codes of variable length."""
        width = self.bits - self.position
        return f"{self.read(width):0{width}b}" if width else ""

    def finish(self) -> None:
        """Everything after the last field must be zero padding; otherwise `SignalError`."""
        start = self.position >> 3
        if int.from_bytes(self.data[start:]) & ((1 << (8 * (len(self.data) - start) - (self.position & 7))) - 1):
            raise SignalError("holds data after its last field", code="trailing")
