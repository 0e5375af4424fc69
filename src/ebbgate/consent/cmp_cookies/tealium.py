"""Tealium: `CONSENTMGR=c1:1|c2:0|ts:…|consent:true`, categories by number (specs/consent.md §5, a secondary source)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ebbgate.consent.cmp_cookies.reading import CmpReading, decoded, normalized
from ebbgate.errors import SignalError

CMP: Final = "tealium"
COOKIES: Final = ("CONSENTMGR",)
PREFIXES: Final = ()
_CATEGORY: Final = re.compile(r"c[0-9]{1,2}", re.ASCII)
_NAMES: Final = {"c1": "analytics"}


def read(cookies: Mapping[str, str]) -> CmpReading | None:
    """`consent` is the visitor's overall answer; a `consent:false` refuses every category."""
    raw = cookies.get("CONSENTMGR")
    if raw is None:
        return None
    categories: dict[str, bool] = {}
    overall: str | None = None
    for member in decoded(raw).split("|"):
        name, colon, value = member.partition(":")
        if not colon:
            raise SignalError("not a list of single values", code="cookie")
        if _CATEGORY.fullmatch(name):
            if value not in ("0", "1") or name in categories:
                raise SignalError("a category without one answer", code="cookie")
            categories[name] = value == "1"
        elif name == "consent":
            if value not in ("true", "false") or overall is not None:
                raise SignalError("an overall answer that does not exist", code="cookie")
            overall = value
    if not categories and overall is None:
        raise SignalError("no categories", code="cookie")
    if overall == "false":
        categories = dict.fromkeys(categories, False)
    return CmpReading(
        CMP,
        choice_made=None if overall is None else True,
        categories=categories,
        normalized=normalized(categories, _NAMES),
        refuses_all=overall == "false",
    )
