"""Didomi: `didomi_token`, base64 of JSON with enabled and disabled purposes (specs/consent.md §5)."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Final

from ebbgate.consent.cmp_cookies.reading import CmpReading, approved_and_refused, decoded, json_object, strings
from ebbgate.errors import SignalError

CMP: Final = "didomi"
COOKIES: Final = ("didomi_token",)
PREFIXES: Final = ()


def read(cookies: Mapping[str, str]) -> CmpReading | None:
    """Purpose ids are the site's own; without a version no choice was made yet."""
    raw = cookies.get("didomi_token")
    if raw is None:
        return None
    text = decoded(raw).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        token = json_object(binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True).decode())
    except ValueError:
        raise SignalError("not base64 of text", code="cookie") from None
    if token.get("version") is None:
        return CmpReading(CMP, choice_made=False)
    purposes = token.get("purposes")
    if purposes is None:
        return CmpReading(CMP)
    if not isinstance(purposes, dict):
        raise SignalError("purposes are not an object", code="cookie")
    categories = approved_and_refused(strings(purposes.get("enabled", [])), strings(purposes.get("disabled", [])))
    return CmpReading(CMP, choice_made=True, categories=categories)
