"""Osano: `osano_consentmanager` is encrypted and cannot be read; the older `cookieconsent_status` can (specs/consent.md §5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ebbgate.consent.cmp_cookies.reading import CmpReading
from ebbgate.errors import SignalError

CMP: Final = "osano"
COOKIES: Final = ("osano_consentmanager", "cookieconsent_status")
PREFIXES: Final = ()


def read(cookies: Mapping[str, str]) -> CmpReading | None:
    """The old cookie is one answer without categories: it can refuse everything and grants nothing."""
    if "osano_consentmanager" in cookies:
        return CmpReading(CMP, decoded=False, opaque=True)
    status = cookies.get("cookieconsent_status")
    if status is None:
        return None
    if status not in ("allow", "deny", "dismiss"):
        raise SignalError("a status that does not exist", code="cookie")
    return CmpReading(CMP, choice_made=None if status == "dismiss" else True, refuses_all=status == "deny")
