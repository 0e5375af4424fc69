"""Iubenda: `_iub_cs-<site>`, JSON with purposes 1-5 (specs/consent.md §5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ebbgate.consent.cmp_cookies.reading import CmpReading, booleans, decoded, json_object, normalized

CMP: Final = "iubenda"
COOKIES: Final = ()
PREFIXES: Final = ("_iub_cs-",)
_NAME: Final = re.compile(r"_iub_cs-[0-9]+", re.ASCII)
#: 3 ("experience") has no counterpart among the normalised words.
_NAMES: Final = {"1": "necessary", "2": "functional", "4": "analytics", "5": "marketing"}


def read(cookies: Mapping[str, str]) -> CmpReading | None:
    """The cookie is written only after a choice."""
    raw = next((value for name, value in cookies.items() if _NAME.fullmatch(name)), None)
    if raw is None:
        return None
    categories = booleans(json_object(decoded(raw)).get("purposes"))
    return CmpReading(CMP, choice_made=True, categories=categories, normalized=normalized(categories, _NAMES))
