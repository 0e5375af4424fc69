"""Google's Additional Consent string, versions 1 and 2 (specs/consent.md §1.7).

Names Google's "ad technology providers" that are not in IAB's vendor list. Only meaningful beside a valid TC string.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from ebbgate.consent.bits import MAX_CHARS
from ebbgate.errors import SignalError

_IDS: Final = r"[0-9]{1,9}(?:\.[0-9]{1,9})*"
_V1: Final = re.compile(rf"1~({_IDS})?", re.ASCII)
_V2: Final = re.compile(rf"2~({_IDS})?~dv\.?(?:(?<=\.)({_IDS}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class AdditionalConsent:
    """Provider ids that were consented to, and (version 2) those shown but not consented to."""

    version: int
    consented: frozenset[int]
    disclosed: frozenset[int]


def decode(text: str) -> AdditionalConsent:
    """Decode completely or raise `SignalError`: other versions, other characters, an id in both lists."""
    found = _decode(text)
    if isinstance(found, AdditionalConsent):
        return found
    raise SignalError(found, code="additional_consent")


@lru_cache(maxsize=4096)
def _decode(text: str) -> AdditionalConsent | str:
    if len(text) > MAX_CHARS:
        return "longer than 32 KiB"
    matched = _V1.fullmatch(text) or _V2.fullmatch(text)
    if matched is None:
        return "not an Additional Consent string of version 1 or 2"
    consented = _ids(matched[1])
    disclosed = _ids(matched[2]) if matched.re is _V2 else frozenset()
    if consented & disclosed:
        return "a provider stands in both lists"
    return AdditionalConsent(int(text[0]), consented, disclosed)


def _ids(joined: str | None) -> frozenset[int]:
    return frozenset(map(int, joined.split("."))) if joined else frozenset()


def describe(found: AdditionalConsent) -> dict[str, Any]:
    """JSON values, ids ascending: the shape of `consent decode --kind ac`."""
    return {"version": found.version, "consented": sorted(found.consented), "disclosed": sorted(found.disclosed)}
