"""A small encoder of TC strings for sample visitors: what a consent banner would hand out today (specs/consent.md §1.2, §1.3)."""

from __future__ import annotations

import base64
from collections.abc import Collection
from typing import Final

_POLICY: Final = 5
_DAY_MS: Final = 24 * 3600 * 1000


class _Bits:
    def __init__(self) -> None:
        self._text = ""

    def put(self, value: int, width: int) -> None:
        self._text += f"{value:0{width}b}"

    def members(self, ids: Collection[int], width: int) -> None:
        """Leftmost bit is id 1."""
        self._text += "".join("1" if i in ids else "0" for i in range(1, width + 1))

    def letters(self, text: str) -> None:
        for letter in text:
            self.put(ord(letter) - ord("A"), 6)

    def vendors(self, ids: Collection[int]) -> None:
        self.put(max(ids, default=0), 16)
        self.put(0, 1)
        self.members(ids, max(ids, default=0))

    def encoded(self) -> str:
        padded = self._text + "0" * (-len(self._text) % 24)
        raw = int(padded, 2).to_bytes(len(padded) // 8, "big")
        return base64.urlsafe_b64encode(raw).decode()


def tc_string(*, now_ms: int, purposes: Collection[int], vendors: Collection[int], disclosed: Collection[int]) -> str:
    """A version 2 string of TCF 2.3, created at the start of the current day: core and disclosed vendors."""
    day = now_ms // _DAY_MS * _DAY_MS // 100  # tenths of a second, midnight
    core = _Bits()
    for value, width in ((2, 6), (day, 36), (day, 36), (880, 12), (1, 12), (1, 6)):
        core.put(value, width)
    core.letters("EN")
    for value, width in ((178, 12), (_POLICY, 6), (1, 1), (0, 1), (0, 12)):
        core.put(value, width)
    core.members(purposes, 24)
    core.put(0, 24)
    core.put(0, 1)
    core.letters("DE")
    core.vendors(vendors)
    core.vendors(())
    core.put(0, 12)
    shown = _Bits()
    shown.put(1, 3)
    shown.vendors(disclosed)
    return f"{core.encoded()}.{shown.encoded()}"
