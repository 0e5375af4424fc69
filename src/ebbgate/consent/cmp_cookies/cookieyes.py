"""CookieYes: `cookieyes-consent=key:value,…`, and its older cookies `cookielawinfo-checkbox-<category>` (specs/consent.md §5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ebbgate.consent.cmp_cookies.reading import CmpReading, decoded, normalized
from ebbgate.errors import SignalError

CMP: Final = "cookieyes"
COOKIES: Final = ("cookieyes-consent",)
PREFIXES: Final = ("cookielawinfo-checkbox-",)
_NAMES: Final = {
    "necessary": "necessary",
    "functional": "functional",
    "analytics": "analytics",
    "advertisement": "marketing",
}
_CATEGORIES: Final = (*_NAMES, "performance", "other")
_NOT_CATEGORIES: Final = frozenset({"consentid", "consent", "action"})


def read(cookies: Mapping[str, str]) -> CmpReading | None:
    """`action:yes` marks a choice; with every value empty there was none."""
    raw = cookies.get("cookieyes-consent")
    if raw is None:
        return _legacy(cookies)
    fields: dict[str, str] = {}
    for member in decoded(raw).split(","):
        name, colon, value = member.partition(":")
        if not colon or name in fields:
            raise SignalError("not a list of single values", code="cookie")
        fields[name] = value
    if not any(name in fields for name in _CATEGORIES):
        raise SignalError("no categories", code="cookie")
    categories: dict[str, bool] = {}
    for name, value in fields.items():
        if name in _NOT_CATEGORIES or not value:
            continue
        if value in ("yes", "no"):
            categories[name] = value == "yes"
        elif name in _CATEGORIES:
            raise SignalError("a category without an answer", code="cookie")
    if fields.get("action") == "yes":
        choice_made: bool | None = True
    else:
        choice_made = None if categories else False
    return CmpReading(CMP, choice_made=choice_made, categories=categories, normalized=normalized(categories, _NAMES))


def _legacy(cookies: Mapping[str, str]) -> CmpReading | None:
    (prefix,) = PREFIXES
    categories: dict[str, bool] = {}
    for name, value in cookies.items():
        if name.startswith(prefix):
            if value not in ("yes", "no"):
                raise SignalError("a category without an answer", code="cookie")
            categories[name.removeprefix(prefix)] = value == "yes"
    if not categories:
        return None
    return CmpReading(CMP, categories=categories, normalized=normalized(categories, _NAMES))
