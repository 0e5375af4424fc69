"""Consent strings in cookies of their own: `euconsent-v2`, `eupubconsent-v2`, `addtl_consent`, `FCCDCF` (specs/consent.md §5)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from ebbgate.consent import tcf
from ebbgate.consent.cmp_cookies.reading import CmpReading, decoded
from ebbgate.errors import SignalError

CMP: Final = "tcf"
COOKIES: Final = ("euconsent-v2", "eupubconsent-v2", "addtl_consent", "FCCDCF")
PREFIXES: Final = ()


def read(cookies: Mapping[str, str]) -> CmpReading | None:
    """A TC string without a platform around it; whether the visitor chose is the string's own matter."""
    text = tc_string(cookies)
    if text is None:
        return None
    tcf.decode(text)
    return CmpReading(CMP, tc_string=text, ac_string=ac_string(cookies))


def tc_string(cookies: Mapping[str, str]) -> str | None:
    """The TC string of any of these cookies as it stands there."""
    for name in ("euconsent-v2", "eupubconsent-v2"):
        if cookies.get(name):
            return decoded(cookies[name])
    return _funding_choices(cookies, 0)


def ac_string(cookies: Mapping[str, str]) -> str | None:
    """The Additional Consent string of any of these cookies as it stands there."""
    if cookies.get("addtl_consent"):
        return decoded(cookies["addtl_consent"])
    return _funding_choices(cookies, 1)


def _funding_choices(cookies: Mapping[str, str], index: int) -> str | None:
    """Google's `FCCDCF`: a JSON array whose fourth member holds the TC and the AC string."""
    raw = cookies.get("FCCDCF")
    if raw is None:
        return None
    try:
        value: Any = json.loads(decoded(raw))
    except (ValueError, RecursionError):
        raise SignalError("not JSON", code="cookie") from None
    if not isinstance(value, list) or len(value) < 4 or not isinstance(value[3], list) or len(value[3]) <= index:
        return None
    text = value[3][index]
    return text if isinstance(text, str) and text else None
