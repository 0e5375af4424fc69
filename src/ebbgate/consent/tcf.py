"""IAB TCF consent strings, version 2 with all segments (specs/consent.md §1.1-1.3).

Decoding only: whether a decoded string is *valid* today and what it permits is `tcf_permit.py`. Vendor sections stay as
one number or a tuple of ranges and are tested by membership; ids are listed only by `describe`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from ebbgate.consent.bits import MAX_CHARS, BitReader, Ranges, covers, union
from ebbgate.errors import SignalError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CORE_HEAD_BITS: Final = 213
_SEGMENTS: Final = {1: "disclosed_vendors", 2: "allowed_vendors", 3: "publisher_tc"}
#: `describe` lists at most this many restricted vendor ids in all (a 32 KiB string could name 240 million).
_MAX_LISTED: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class VendorSection:
    """Vendor ids of one section: a bit field (leftmost of `max_id` bits is vendor 1), or inclusive ranges."""

    max_id: int
    field: int = 0
    ranges: Ranges = ()

    def __contains__(self, vendor: int) -> bool:
        """True when the section names the vendor."""
        if self.ranges:
            return covers(self.ranges, vendor)
        return 1 <= vendor <= self.max_id and bool((self.field >> (self.max_id - vendor)) & 1)

    def ids(self) -> list[int]:
        """All ids, ascending: at most 65535. For display, never on the way to a decision."""
        if self.ranges:
            return _expand(self.ranges)
        return [index + 1 for index, bit in enumerate(f"{self.field:0{self.max_id}b}") if bit == "1"] if self.max_id else []


@dataclass(frozen=True, slots=True)
class Restriction:
    """A publisher restriction: `kind` 0 not allowed, 1 require consent, 2 require legitimate interest, 3 undefined."""

    purpose: int
    kind: int
    ranges: Ranges

    def __contains__(self, vendor: int) -> bool:
        """True when the restriction covers the vendor."""
        return covers(self.ranges, vendor)


@dataclass(frozen=True, slots=True)
class PublisherTC:
    """The publisher's own permissions (segment type 3). 24-bit fields, leftmost bit = purpose 1."""

    consents: int
    legitimate_interests: int
    num_custom: int
    custom_consents: int
    custom_legitimate_interests: int

    def consents_to(self, purpose: int) -> bool:
        """True when the publisher may process for a standard purpose (1-24) on consent."""
        return _bit(self.consents, 24, purpose)


@dataclass(frozen=True, slots=True)
class TcString:
    """One decoded TC string. Times are milliseconds since 1970 UTC; bit fields have id 1 leftmost."""

    created_ms: int
    last_updated_ms: int
    cmp_id: int
    cmp_version: int
    consent_screen: int
    consent_language: str
    vendor_list_version: int
    policy_version: int
    service_specific: bool
    non_standard_texts: bool
    special_features: int
    purposes: int
    purposes_li: int
    purpose_one_treatment: bool
    publisher_country: str
    vendors: VendorSection
    vendors_li: VendorSection
    restrictions: tuple[Restriction, ...]
    segments: tuple[str, ...]
    disclosed: VendorSection | None = None
    allowed: VendorSection | None = None
    publisher: PublisherTC | None = None

    def consents_to(self, purpose: int) -> bool:
        """True when the user consented to a purpose (1-24)."""
        return _bit(self.purposes, 24, purpose)

    def interest_in(self, purpose: int) -> bool:
        """True when legitimate interest for a purpose (1-24) was shown and not objected to."""
        return _bit(self.purposes_li, 24, purpose)

    def opted_into(self, special_feature: int) -> bool:
        """True when the user opted into a special feature (1-12)."""
        return _bit(self.special_features, 12, special_feature)


def decode(text: str) -> TcString:
    """Decode a TC string completely, or raise `SignalError` (specs/consent.md §1.1: never a partial read)."""
    found = _decode_cached(text)
    if isinstance(found, TcString):
        return found
    raise SignalError(found[1], code=found[0])


@lru_cache(maxsize=8192)
def _decode_cached(text: str) -> TcString | tuple[str, str]:
    """The decoded string or (code, reason): refusals are cached too, as values."""
    try:
        return _decode(text)
    except SignalError as refused:
        return refused.code, refused.message


def _decode(text: str) -> TcString:
    if len(text) > MAX_CHARS:
        raise SignalError("longer than 32 KiB", code="too_long")
    core, *others = text.split(".")
    segments = ["core"]
    sections: dict[str, VendorSection] = {}
    publisher: PublisherTC | None = None
    for part in others:
        reader = BitReader(part)
        name = _SEGMENTS.get(reader.read(3))
        if name is None:
            raise SignalError("a segment of unknown type", code="segment")
        if name in segments:
            raise SignalError("the same segment twice", code="segment")
        segments.append(name)
        if name == "publisher_tc":
            publisher = _publisher(reader)
        else:
            sections[name] = _vendor_section(reader)
        reader.finish()
    return _core(core, tuple(segments), sections.get("disclosed_vendors"), sections.get("allowed_vendors"), publisher)


def _core(
    text: str,
    segments: tuple[str, ...],
    disclosed: VendorSection | None,
    allowed: VendorSection | None,
    publisher: PublisherTC | None,
) -> TcString:
    """The core segment, widths as in specs/consent.md §1.2: one number for the fixed head, then the sections."""
    reader = BitReader(text)
    if reader.read(6) != 2:
        raise SignalError("not version 2", code="version")
    head = reader.read(_CORE_HEAD_BITS - 6)
    vendors = _vendor_section(reader)
    vendors_li = _vendor_section(reader)
    restrictions = tuple(Restriction(reader.read(6), reader.read(2), reader.ranges()) for _ in range(reader.read(12)))
    reader.finish()
    return TcString(
        # Shifts count from the right end of the head: 213 - first bit - width.
        created_ms=((head >> 171) & 0xFFFFFFFFF) * 100,
        last_updated_ms=((head >> 135) & 0xFFFFFFFFF) * 100,
        cmp_id=(head >> 123) & 0xFFF,
        cmp_version=(head >> 111) & 0xFFF,
        consent_screen=(head >> 105) & 0x3F,
        consent_language=_letters((head >> 93) & 0xFFF),
        vendor_list_version=(head >> 81) & 0xFFF,
        policy_version=(head >> 75) & 0x3F,
        service_specific=bool((head >> 74) & 1),
        non_standard_texts=bool((head >> 73) & 1),
        special_features=(head >> 61) & 0xFFF,
        purposes=(head >> 37) & 0xFFFFFF,
        purposes_li=(head >> 13) & 0xFFFFFF,
        purpose_one_treatment=bool((head >> 12) & 1),
        publisher_country=_letters(head & 0xFFF),
        vendors=vendors,
        vendors_li=vendors_li,
        restrictions=restrictions,
        segments=segments,
        disclosed=disclosed,
        allowed=allowed,
        publisher=publisher,
    )


def _vendor_section(reader: BitReader) -> VendorSection:
    """MaxVendorId 16, IsRangeEncoding 1, then a bit field of MaxVendorId bits or a range section."""
    head = reader.read(17)
    max_id = head >> 1
    if head & 1:
        return VendorSection(max_id, ranges=reader.ranges())
    return VendorSection(max_id, field=reader.read(max_id))


def _publisher(reader: BitReader) -> PublisherTC:
    consents, interests, custom = reader.read(24), reader.read(24), reader.read(6)
    return PublisherTC(consents, interests, custom, reader.read(custom), reader.read(custom))


def _letters(twelve_bits: int) -> str:
    """Two letters of six bits, A = 0 … Z = 25."""
    first, second = twelve_bits >> 6, twelve_bits & 0x3F
    if first > 25 or second > 25:
        raise SignalError("a language or country is not two letters", code="letters")
    return chr(65 + first) + chr(65 + second)


def _bit(field: int, width: int, number: int) -> bool:
    return 1 <= number <= width and bool((field >> (width - number)) & 1)


def _listed(field: int, width: int) -> list[int]:
    return [number for number in range(1, width + 1) if _bit(field, width, number)]


def _expand(ranges: Ranges) -> list[int]:
    return [number for start, end in ranges for number in range(start, end + 1)]


def _iso(ms: int) -> str:
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def describe(tc: TcString) -> dict[str, Any]:
    """All of a TC string as JSON values, ids listed: the shape of `consent decode --kind tcf`."""
    publisher = tc.publisher
    return {
        "version": 2,
        "created": _iso(tc.created_ms),
        "last_updated": _iso(tc.last_updated_ms),
        "cmp_id": tc.cmp_id,
        "cmp_version": tc.cmp_version,
        "consent_screen": tc.consent_screen,
        "consent_language": tc.consent_language,
        "vendor_list_version": tc.vendor_list_version,
        "tcf_policy_version": tc.policy_version,
        "is_service_specific": tc.service_specific,
        "use_non_standard_texts": tc.non_standard_texts,
        "special_feature_optins": _listed(tc.special_features, 12),
        "purpose_consents": _listed(tc.purposes, 24),
        "purpose_legitimate_interests": _listed(tc.purposes_li, 24),
        "purpose_one_treatment": tc.purpose_one_treatment,
        "publisher_country": tc.publisher_country,
        "vendor_consents": tc.vendors.ids(),
        "vendor_legitimate_interests": tc.vendors_li.ids(),
        "publisher_restrictions": _restrictions(tc),
        "segments": list(tc.segments),
        "disclosed_vendors": None if tc.disclosed is None else tc.disclosed.ids(),
        "allowed_vendors": None if tc.allowed is None else tc.allowed.ids(),
        "publisher_tc": None
        if publisher is None
        else {
            "consents": _listed(publisher.consents, 24),
            "legitimate_interests": _listed(publisher.legitimate_interests, 24),
            "num_custom_purposes": publisher.num_custom,
            "custom_consents": _listed(publisher.custom_consents, publisher.num_custom),
            "custom_legitimate_interests": _listed(publisher.custom_legitimate_interests, publisher.num_custom),
        },
    }


def _restrictions(tc: TcString) -> list[dict[str, Any]]:
    """Restrictions by purpose then type; the same pair named twice is a union (specs/consent.md §1.2)."""
    merged: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for found in tc.restrictions:
        merged.setdefault((found.purpose, found.kind), []).extend(found.ranges)
    listed: list[dict[str, Any]] = []
    total = 0
    for (purpose, kind), ranges in sorted(merged.items()):
        vendors = _expand(union(ranges))
        total += len(vendors)
        if total > _MAX_LISTED:
            raise SignalError("restrictions name too many vendors to list", code="too_many")
        listed.append({"purpose": purpose, "type": kind, "vendors": vendors})
    return listed
