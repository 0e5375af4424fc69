"""Axeptio: `axeptio_cookies`, JSON with one answer a vendor and `$$` fields about the banner (specs/consent.md §5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ebbgate.consent.cmp_cookies.reading import CmpReading, booleans, decoded, json_object

CMP: Final = "axeptio"
COOKIES: Final = ("axeptio_cookies",)
PREFIXES: Final = ()


def read(cookies: Mapping[str, str]) -> CmpReading | None:
    """Answers are per vendor; `$$completed` tells whether the visitor went through the banner."""
    raw = cookies.get("axeptio_cookies")
    if raw is None:
        return None
    fields = json_object(decoded(raw))
    completed = fields.get("$$completed")
    return CmpReading(
        CMP,
        choice_made=completed if isinstance(completed, bool) else None,
        categories=booleans({name: answer for name, answer in fields.items() if not name.startswith("$$")}),
    )
