"""HubSpot: `__hs_cookie_cat_pref=1:true,2:false,3:true` (specs/consent.md §5, a secondary source)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ebbgate.consent.cmp_cookies.reading import CmpReading, decoded, normalized
from ebbgate.errors import SignalError

CMP: Final = "hubspot"
COOKIES: Final = ("__hs_cookie_cat_pref",)
PREFIXES: Final = ()
_NAMES: Final = {"1": "analytics", "2": "marketing", "3": "functional"}


def read(cookies: Mapping[str, str]) -> CmpReading | None:
    """The cookie records the categories a visitor answered for."""
    raw = cookies.get("__hs_cookie_cat_pref")
    if raw is None:
        return None
    categories: dict[str, bool] = {}
    for member in decoded(raw).split(","):
        name, _, value = member.partition(":")
        if not name or name in categories or value not in ("true", "false"):
            raise SignalError("a category without one answer", code="cookie")
        categories[name] = value == "true"
    return CmpReading(CMP, choice_made=True, categories=categories, normalized=normalized(categories, _NAMES))
