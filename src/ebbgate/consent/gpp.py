"""The IAB Global Privacy Platform container (specs/consent.md §2.1): header, sections, which of them bind.

A section that this file knows must decode completely, or the whole string is refused. Unknown section ids are kept as
they are and mean nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from ebbgate.consent import gpp_us, tcf, us_privacy
from ebbgate.consent.bits import MAX_CHARS, BitReader
from ebbgate.consent.gpp_us import UsSection
from ebbgate.consent.tcf import TcString
from ebbgate.consent.us_privacy import UsPrivacy
from ebbgate.errors import SignalError

TCF_EU: Final = 2
USP_V1: Final = 6
_SECTION: Final = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
#: Fibonacci weights, least first. 24 of them reach past any section id that could ever be meant.
_WEIGHTS: Final = (
    1,
    2,
    3,
    5,
    8,
    13,
    21,
    34,
    55,
    89,
    144,
    233,
    377,
    610,
    987,
    1597,
    2584,
    4181,
    6765,
    10946,
    17711,
    28657,
    46368,
    75025,
)


@dataclass(frozen=True, slots=True)
class Gpp:
    """One decoded GPP string. `raw` holds the text of each section beside its id, in header order."""

    raw: tuple[tuple[int, str], ...]
    tcf: TcString | None
    us_privacy: UsPrivacy | None
    us: tuple[tuple[int, UsSection], ...]

    @property
    def section_ids(self) -> tuple[int, ...]:
        """Ids in header order."""
        return tuple(section_id for section_id, _ in self.raw)

    def readable(self, section_id: int) -> bool:
        """True when the string holds the section and it was understood."""
        if section_id == TCF_EU:
            return self.tcf is not None
        if section_id == USP_V1:
            return self.us_privacy is not None
        return any(found == section_id for found, _ in self.us)


def decode(text: str) -> Gpp:
    """Decode header and all known sections completely, or raise `SignalError`."""
    found = _decode_cached(text)
    if isinstance(found, Gpp):
        return found
    raise SignalError(found[1], code=found[0])


@lru_cache(maxsize=4096)
def _decode_cached(text: str) -> Gpp | tuple[str, str]:
    try:
        return _decode(text)
    except SignalError as refused:
        return refused.code, refused.message


def _decode(text: str) -> Gpp:
    if len(text) > MAX_CHARS:
        raise SignalError("longer than 32 KiB", code="too_long")
    header, *parts = text.split("~")
    ids = _section_ids(header, len(parts))
    tc: TcString | None = None
    usp: UsPrivacy | None = None
    us: list[tuple[int, UsSection]] = []
    for section_id, part in zip(ids, parts, strict=True):
        if not _SECTION.fullmatch(part):
            raise SignalError("a section is blank or holds other characters", code="characters")
        if section_id == TCF_EU:
            tc = tcf.decode(part)
        elif section_id == USP_V1:
            usp = us_privacy.decode(part)
        elif section_id in gpp_us.LAYOUTS:
            us.append((section_id, gpp_us.decode_section(section_id, part)))
    return Gpp(tuple(zip(ids, parts, strict=True)), tc, usp, tuple(us))


def _section_ids(header: str, sections: int) -> tuple[int, ...]:
    """Type 3 (6 bits), version 1 (6 bits), then Range(Fibonacci): as many ids as there are sections, ascending."""
    reader = BitReader(header)
    if reader.read(6) != 3:
        raise SignalError("not a GPP string", code="type")
    if reader.read(6) != 1:
        raise SignalError("not GPP version 1", code="version")
    items = reader.read(12)
    bits = reader.rest()
    ids: list[int] = []
    last = position = 0
    for _ in range(items):
        is_group = bits[position : position + 1] == "1"
        step, position = _fibonacci(bits, position + 1)
        first = last = last + step
        if is_group:
            step, position = _fibonacci(bits, position)
            last = first + step
        if last - first >= sections or len(ids) + last - first + 1 > sections:
            raise SignalError("more sections in the header than in the string", code="count")
        ids.extend(range(first, last + 1))
    if len(ids) != sections:
        raise SignalError("fewer sections in the header than in the string", code="count")
    if "1" in bits[position:]:
        raise SignalError("holds data after its last field", code="trailing")
    return tuple(ids)


def _fibonacci(bits: str, start: int) -> tuple[int, int]:
    """One Fibonacci code (least weight first, ended by a second 1) → its value and the position after it."""
    end = bits.find("11", start, start + len(_WEIGHTS) + 1)
    if end < 0:
        raise SignalError("ends before a section id is complete", code="truncated")
    return sum(weight for weight, bit in zip(_WEIGHTS, bits[start : end + 1], strict=False) if bit == "1"), end + 2


def describe(found: Gpp) -> dict[str, Any]:
    """All of a GPP string as JSON values: the shape of `consent decode --kind gpp`."""
    us = dict(found.us)
    sections: dict[str, Any] = {}
    for section_id, _ in found.raw:
        if section_id == TCF_EU and found.tcf is not None:
            sections["tcfeuv2"] = tcf.describe(found.tcf)
        elif section_id == USP_V1 and found.us_privacy is not None:
            usp = found.us_privacy
            sections["uspv1"] = {
                "Version": 1,
                "Notice": usp.notice,
                "OptOutSale": usp.opt_out_sale,
                "LspaCovered": usp.lspa_covered,
            }
        elif section_id in us:
            sections[us[section_id].layout.name] = gpp_us.describe(us[section_id])
    return {
        "gpp_version": 1,
        "section_ids": list(found.section_ids),
        "raw_sections": {str(section_id): raw for section_id, raw in found.raw},
        "sections": sections,
    }
