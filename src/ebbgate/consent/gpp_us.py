"""The US sections of a GPP string: one table of layouts, one reader, and what the answers mean (specs/consent.md §2.2, §2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ebbgate.consent.bits import BitReader
from ebbgate.errors import SignalError

#: (field, how many values of two bits); 0 stands for a single value that is not a list.
Fields = tuple[tuple[str, int], ...]

_NOTICES_AND_OPT_OUTS: Final[Fields] = (
    ("SaleOptOutNotice", 0),
    ("TargetedAdvertisingOptOutNotice", 0),
    ("SaleOptOut", 0),
    ("TargetedAdvertisingOptOut", 0),
)
_MSPA: Final[Fields] = (("MspaCoveredTransaction", 0), ("MspaOptOutOptionMode", 0), ("MspaServiceProviderMode", 0))
_ADDITIONAL: Final[Fields] = (("AdditionalDataProcessingConsent", 0),)
_SENSITIVE, _CHILD = "SensitiveDataProcessing", "KnownChildSensitiveDataConsents"


def _state(notice: str, sensitive: int, child: int, *, additional: bool) -> Fields:
    """The layout most states share."""
    middle: Fields = ((_SENSITIVE, sensitive), (_CHILD, child))
    return ((notice, 0), *_NOTICES_AND_OPT_OUTS, *middle, *(_ADDITIONAL if additional else ()), *_MSPA)


def _national(sensitive: int, child: int) -> Fields:
    return (
        ("SharingNotice", 0),
        ("SaleOptOutNotice", 0),
        ("SharingOptOutNotice", 0),
        ("TargetedAdvertisingOptOutNotice", 0),
        ("SensitiveDataProcessingOptOutNotice", 0),
        ("SensitiveDataLimitUseNotice", 0),
        ("SaleOptOut", 0),
        ("SharingOptOut", 0),
        ("TargetedAdvertisingOptOut", 0),
        (_SENSITIVE, sensitive),
        (_CHILD, child),
        ("PersonalDataConsents", 0),
        *_MSPA,
    )


def _with_sensitive_notice(first: str, sensitive_notice: str) -> Fields:
    """Utah and Iowa: sensitive data is an opt-out of its own, with its own notice."""
    return (
        (first, 0),
        ("SaleOptOutNotice", 0),
        ("TargetedAdvertisingOptOutNotice", 0),
        (sensitive_notice, 0),
        ("SaleOptOut", 0),
        ("TargetedAdvertisingOptOut", 0),
        (_SENSITIVE, 8),
        (_CHILD, 0),
        *_MSPA,
    )


_MSPA_FIRST: Final[Fields] = (("MspaCoveredTransaction", 0), ("MspaMode", 0), ("ProcessingNotice", 0), *_NOTICES_AND_OPT_OUTS)


@dataclass(frozen=True, slots=True)
class Core:
    """One core layout ready for reading: where each field stands, counted in bits from the right end."""

    fields: Fields
    width: int
    places: Mapping[str, tuple[int, int]]  #: field → (shift of its last value, how many values; 0 = single)
    low_bits: int  #: the lower bit of every two-bit value


def _compile(fields: Fields) -> Core:
    width = sum(2 * (count or 1) for _, count in fields)
    places: dict[str, tuple[int, int]] = {}
    shift = width
    for name, count in fields:
        shift -= 2 * (count or 1)
        places[name] = (shift, count)
    return Core(fields, width, places, sum(1 << bit for bit in range(0, width, 2)))


@dataclass(frozen=True, slots=True)
class Layout:
    """One section: its API prefix, its core by version, and which sub-section it may carry."""

    section_id: int
    name: str
    versions: Mapping[int, Core]
    version_field: str = "Version"
    sub_section: str | None = "gpc"  #: gpc | sensitive | None


def _layout(section_id: int, name: str, fields: Fields, sub_section: str | None = "gpc", version_field: str = "Version") -> Layout:
    return Layout(section_id, name, {1: _compile(fields)}, version_field, sub_section)


LAYOUTS: Final[dict[int, Layout]] = {
    layout.section_id: layout
    for layout in (
        Layout(7, "usnat", {1: _compile(_national(12, 2)), 2: _compile(_national(16, 3))}),
        _layout(
            8,
            "usca",
            (
                ("SaleOptOutNotice", 0),
                ("SharingOptOutNotice", 0),
                ("SensitiveDataLimitUseNotice", 0),
                ("SaleOptOut", 0),
                ("SharingOptOut", 0),
                (_SENSITIVE, 9),
                (_CHILD, 2),
                ("PersonalDataConsents", 0),
                *_MSPA,
            ),
        ),
        _layout(9, "usva", _state("SharingNotice", 8, 0, additional=False), None),
        _layout(10, "usco", _state("SharingNotice", 7, 0, additional=False)),
        _layout(11, "usut", _with_sensitive_notice("SharingNotice", "SensitiveDataProcessingOptOutNotice"), None),
        _layout(12, "usct", _state("SharingNotice", 8, 3, additional=False)),
        _layout(13, "usfl", _state("ProcessingNotice", 8, 3, additional=True), None),
        _layout(14, "usmt", _state("SharingNotice", 8, 3, additional=True)),
        _layout(15, "usor", _state("ProcessingNotice", 11, 3, additional=True)),
        _layout(16, "ustx", _state("ProcessingNotice", 8, 0, additional=True)),
        _layout(17, "usde", _state("ProcessingNotice", 9, 5, additional=True)),
        _layout(18, "usia", _with_sensitive_notice("ProcessingNotice", "SensitiveDataOptOutNotice")),
        _layout(19, "usne", _state("ProcessingNotice", 8, 0, additional=True)),
        _layout(20, "usnh", _state("ProcessingNotice", 8, 3, additional=True)),
        _layout(21, "usnj", _state("ProcessingNotice", 10, 5, additional=True)),
        _layout(22, "ustn", _state("ProcessingNotice", 8, 0, additional=True)),
        _layout(23, "usmn", _state("ProcessingNotice", 8, 0, additional=True)),
        _layout(24, "usmd", (*_MSPA_FIRST, *_ADDITIONAL), "gpc", "MspaVersion"),
        _layout(25, "usin", (*_MSPA_FIRST, (_CHILD, 0), *_ADDITIONAL), "sensitive", "MspaVersion"),
        _layout(26, "usky", (*_MSPA_FIRST, (_CHILD, 0), *_ADDITIONAL), "sensitive", "MspaVersion"),
        _layout(27, "usri", (*_MSPA_FIRST, (_CHILD, 0), *_ADDITIONAL), "sensitive", "MspaVersion"),
    )
}

#: Older encoders wrote version 1 of usnat with the lists of version 2; their cores have at least this many bits (§2.2 a).
_LONG_CORE_BITS: Final = 70
_LONG_USNAT_V1: Final = _compile(_national(16, 3))


@dataclass(frozen=True, slots=True)
class UsSection:
    """One decoded section. `body` holds its two-bit answers packed as in the string; they are taken out when asked for."""

    layout: Layout
    version: int
    core: Core
    body: int
    gpc: bool | None = None
    sensitive: tuple[int, ...] | None = None

    def has(self, field: str) -> bool:
        """True when this section has the field."""
        return field in self.core.places

    def answers(self, field: str) -> tuple[int, ...]:
        """A field's values (0-2), one for a field that is not a list; empty for a field this section does not have."""
        place = self.core.places.get(field)
        if place is None:
            return ()
        shift, count = place
        return tuple((self.body >> (shift + 2 * back)) & 3 for back in range((count or 1) - 1, -1, -1))

    def answer(self, field: str) -> int | None:
        """A single field's value, or None for a field this section does not have."""
        place = self.core.places.get(field)
        return None if place is None else (self.body >> place[0]) & 3


def decode_section(section_id: int, text: str) -> UsSection:
    """Decode one US section completely or raise `SignalError`; `section_id` must be in `LAYOUTS`."""
    layout = LAYOUTS[section_id]
    parts = text.split(".")
    reader = BitReader(parts[0])
    version = reader.read(6)
    if version == section_id and layout.version_field == "MspaVersion":
        # The specification puts a header part first, which the reference library never wrote (§2.2 b).
        parts = parts[1:]
        if not parts:
            raise SignalError("a section without its core", code="truncated")
        reader = BitReader(parts[0])
        version = reader.read(6)
    if len(parts) > 2 or (len(parts) == 2 and layout.sub_section is None):
        raise SignalError("a sub-section that this section does not have", code="sub_section")
    core = layout.versions.get(version)
    if core is None:
        raise SignalError("a section version that does not exist", code="version")
    if section_id == 7 and version == 1 and reader.bits >= _LONG_CORE_BITS:
        core = _LONG_USNAT_V1
    body = reader.read(core.width)
    if body & (body >> 1) & core.low_bits:
        raise SignalError("an answer that does not exist", code="answer")
    reader.finish()
    gpc, sensitive = _sub_section(layout, parts[1]) if len(parts) == 2 else (None, None)
    return UsSection(layout, version, core, body, gpc, sensitive)


def _sub_section(layout: Layout, text: str) -> tuple[bool | None, tuple[int, ...] | None]:
    """The part after the dot: GPC (2 bits of type = 1, then the bit), or eight sensitive-data answers without a type."""
    reader = BitReader(text)
    if layout.sub_section == "sensitive":
        packed = reader.read(16)
        reader.finish()
        sensitive = tuple((packed >> shift) & 3 for shift in range(14, -1, -2))
        if 3 in sensitive:
            raise SignalError("an answer that does not exist", code="answer")
        return None, sensitive
    if reader.read(2) != 1:
        raise SignalError("a sub-section of unknown type", code="sub_section")
    gpc = bool(reader.read(1))
    reader.finish()
    return gpc, None


@dataclass(frozen=True, slots=True)
class UsAnswer:
    """What one section allows.

    `opted_out`: something in it is a refusal. `denied`: that, or it contradicts itself, or tells that no notice was given; not merely
    the absence of a permission.
    """

    may_sell: bool
    may_share: bool
    may_target: bool
    opted_out: bool
    denied: bool

    @property
    def permits_all(self) -> bool:
        """True when sale, sharing and targeted advertising are all permitted."""
        return self.may_sell and self.may_share and self.may_target


_KINDS: Final = ("Sale", "Sharing", "TargetedAdvertising")


def answer(section: UsSection, *, strict: bool = False) -> UsAnswer:
    """The decision table of specs/consent.md §2.3 for one section; `strict` adds what Prebid's rule set refuses besides."""
    refused = (
        section.gpc is True
        or section.answer("MspaServiceProviderMode") == 1
        or section.answer("MspaMode") == 2
        or 1 in section.answers(_CHILD)
    )
    strictly = strict and _strictly_refused(section)
    contradictory = section.answer("MspaCoveredTransaction") == 0
    allowed = {
        kind: not refused
        and not contradictory
        and not strictly
        and section.answer(f"{kind}OptOutNotice") == 1
        and section.answer(f"{kind}OptOut") == 2
        for kind in _KINDS
    }
    opted_out = refused or any(section.answer(f"{kind}OptOut") == 1 for kind in _KINDS)
    # California has no "targeted advertising", the other states no "sharing": one answer stands for both.
    has_sharing = section.has("SharingOptOut")
    has_targeting = section.has("TargetedAdvertisingOptOut")
    return UsAnswer(
        may_sell=allowed["Sale"],
        may_share=allowed["Sharing"] if has_sharing else allowed["TargetedAdvertising"],
        may_target=allowed["TargetedAdvertising"] if has_targeting else allowed["Sharing"],
        opted_out=opted_out,
        denied=opted_out
        or strictly
        or any(
            _contradicts(section.answer(f"{kind}OptOutNotice"), section.answer(f"{kind}OptOut"))
            for kind in _KINDS
            if section.has(f"{kind}OptOut")
        ),
    )


def _strictly_refused(section: UsSection) -> bool:
    """A known child under 13, consent to uses that were not disclosed, or no notice of sharing: `strict_mspa`."""
    return any(section.answers(_CHILD)[1:2]) or section.answer("PersonalDataConsents") == 2 or section.answer("SharingNotice") == 2


def _contradicts(notice: int | None, opt_out: int | None) -> bool:
    """No notice was given, or only one of notice and answer says that the matter does not apply."""
    return notice == 2 or (notice == 0) != (opt_out == 0)


def describe(section: UsSection) -> dict[str, Any]:
    """JSON values by the specification's field names: one entry of `sections` in `consent decode --kind gpp`."""
    shown: dict[str, Any] = {section.layout.version_field: section.version}
    for name, count in section.layout.versions[section.version].fields:
        # Version 1 of usnat shows its own list lengths also where an older encoder wrote longer ones.
        shown[name] = list(section.answers(name)[:count]) if count else section.answer(name)
    if section.layout.sub_section == "gpc":
        shown["Gpc"] = section.gpc
    elif section.layout.sub_section == "sensitive":
        shown[_SENSITIVE] = None if section.sensitive is None else list(section.sensitive)
    return shown
