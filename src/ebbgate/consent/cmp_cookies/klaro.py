"""Klaro: `klaro`, JSON with one answer a service; written only after a choice (specs/consent.md §5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ebbgate.consent.cmp_cookies.reading import CmpReading, booleans, decoded, json_object

CMP: Final = "klaro"
COOKIES: Final = ("klaro",)
PREFIXES: Final = ()


def read(cookies: Mapping[str, str]) -> CmpReading | None:
    """One answer a service of the site."""
    raw = cookies.get("klaro")
    return None if raw is None else CmpReading(CMP, choice_made=True, categories=booleans(json_object(decoded(raw))))
