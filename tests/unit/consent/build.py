"""Encoders for consent strings, written from the bit tables only (specs/consent.md §1, §2) and apart from the decoders."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
DAY_MS = 86_400_000
#: A moment the tests call now: 2026-11-21T12:00Z.
NOW_MS = 1_795_262_400_000
CREATED_MS = NOW_MS - 10 * DAY_MS


def text(bits: str, *, multiple: int = 8) -> str:
    """Bits as base64url, padded with zeros to `multiple` and then to whole characters."""
    bits += "0" * (-len(bits) % multiple)
    bits += "0" * (-len(bits) % 6)
    return "".join(ALPHABET[int(bits[i : i + 6], 2)] for i in range(0, len(bits), 6))


def number(value: int, width: int) -> str:
    """A fixed-width unsigned number."""
    return format(value, f"0{width}b")


def mask(ids: Collection[int], width: int) -> str:
    """A bit field with id 1 leftmost."""
    return "".join("1" if i + 1 in ids else "0" for i in range(width))


def letters(two: str) -> str:
    """Two letters of six bits."""
    return "".join(number(ord(c) - 65, 6) for c in two)


def entries(ranges: Iterable[tuple[int, int]]) -> str:
    """Range entries with their count."""
    listed = list(ranges)
    body = "".join("0" + number(start, 16) if start == end else "1" + number(start, 16) + number(end, 16) for start, end in listed)
    return number(len(listed), 12) + body


def section(vendors: Collection[int], *, ranged: bool = False) -> str:
    """A vendor section as a bit field or as single-id ranges."""
    top = max(vendors, default=0)
    if ranged:
        return number(top, 16) + "1" + entries((v, v) for v in sorted(vendors))
    return number(top, 16) + "0" + mask(vendors, top)


@dataclass(frozen=True)
class Tc:
    """A TC string to be: by default one that is valid and refuses everything."""

    purposes: Collection[int] = ()
    purposes_li: Collection[int] = ()
    vendors: Collection[int] = ()
    vendors_li: Collection[int] = ()
    restrictions: Sequence[tuple[int, int, Sequence[tuple[int, int]]]] = ()
    disclosed: Collection[int] | None = (755, 804, 91)
    publisher: Collection[int] | None = None
    special_features: Collection[int] = ()
    created_ms: int = CREATED_MS
    updated_ms: int | None = None
    cmp_id: int = 300
    policy: int = 5
    service_specific: bool = True
    purpose_one_treatment: bool = False
    version: int = 2
    ranged: bool = False

    def core_bits(self) -> str:
        """The core segment."""
        updated = self.created_ms if self.updated_ms is None else self.updated_ms
        return (
            number(self.version, 6)
            + number(self.created_ms // 100, 36)
            + number(updated // 100, 36)
            + number(self.cmp_id, 12)
            + number(1, 12)
            + number(1, 6)
            + letters("EN")
            + number(178, 12)
            + number(self.policy, 6)
            + ("1" if self.service_specific else "0")
            + "0"
            + mask(self.special_features, 12)
            + mask(self.purposes, 24)
            + mask(self.purposes_li, 24)
            + ("1" if self.purpose_one_treatment else "0")
            + letters("DE")
            + section(self.vendors, ranged=self.ranged)
            + section(self.vendors_li, ranged=self.ranged)
            + number(len(self.restrictions), 12)
            + "".join(number(p, 6) + number(kind, 2) + entries(ranges) for p, kind, ranges in self.restrictions)
        )

    def encode(self) -> str:
        """The whole string."""
        parts = [text(self.core_bits())]
        if self.disclosed is not None:
            parts.append(text("001" + section(self.disclosed, ranged=self.ranged)))
        if self.publisher is not None:
            parts.append(text("011" + mask(self.publisher, 24) + "0" * 24 + number(0, 6)))
        return ".".join(parts)


ALL = tuple(range(1, 12))
ACCEPT_ALL = Tc(purposes=ALL, purposes_li=(2, 7, 8, 9, 10, 11), vendors=(755, 804, 91), vendors_li=(755, 804, 91)).encode()
REJECT_ALL = Tc().encode()


def fibonacci(value: int) -> str:
    """A Fibonacci code: weights 1, 2, 3, 5 … least first, ended by an extra 1."""
    weights = [1, 2]
    while weights[-1] <= value:
        weights.append(weights[-1] + weights[-2])
    bits = ""
    for weight in reversed([w for w in weights if w <= value]):
        bits = ("1" if weight <= value else "0") + bits
        value -= weight if weight <= value else 0
    return bits + "1"


def gpp(sections: Sequence[tuple[int, str]]) -> str:
    """A GPP string of sections in ascending order of their ids, each as an item of its own."""
    header = number(3, 6) + number(1, 6) + number(len(sections), 12)
    last = 0
    for section_id, _ in sections:
        header += "0" + fibonacci(section_id - last)
        last = section_id
    return "~".join([text(header, multiple=6), *(part for _, part in sections)])


def us(version: int, answers: Iterable[int], *, gpc: bool | None = None) -> str:
    """A US section of two-bit answers, with its GPC sub-section."""
    core = text(number(version, 6) + "".join(number(a, 2) for a in answers))
    return core if gpc is None else f"{core}.{text('01' + ('1' if gpc else '0'))}"


def usnat(*, notice: int = 1, opt_out: int = 2, child: int = 0, provider: int = 0, gpc: bool | None = False) -> str:
    """Section usnat, version 2, with one answer for sale, sharing and targeted advertising."""
    return us(2, [1, notice, notice, notice, 1, 1, opt_out, opt_out, opt_out, *[0] * 16, child, 0, 0, 0, 1, 0, provider], gpc=gpc)


def usca(*, notice: int = 1, opt_out: int = 2, gpc: bool | None = None) -> str:
    """Section usca, version 1, with one answer for sale and sharing."""
    return us(1, [notice, notice, 1, opt_out, opt_out, *[0] * 9, 0, 0, 0, 1, 0, 0], gpc=gpc)
