"""WordPress: Complianz (`cmplz_*`) and the WP Consent API (`wp_consent_*`), one cookie a category, `allow` or `deny`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ebbgate.consent.cmp_cookies.reading import CmpReading, normalized
from ebbgate.errors import SignalError

_CATEGORIES: Final = ("functional", "preferences", "statistics", "statistics-anonymous", "marketing")
#: Both call "functional" what cannot be refused, and "preferences" what others call functional.
_NAMES: Final = {"functional": "necessary", "preferences": "functional", "statistics": "analytics", "marketing": "marketing"}


def _categories(cookies: Mapping[str, str], prefix: str) -> dict[str, bool]:
    categories: dict[str, bool] = {}
    for name in _CATEGORIES:
        value = cookies.get(prefix + name)
        if value is None or value == "":
            continue
        if value not in ("allow", "deny"):
            raise SignalError("a category without an answer", code="cookie")
        categories[name] = value == "allow"
    return categories


class Complianz:
    """Complianz: the choice is made once the banner was dismissed."""

    CMP: Final = "complianz"
    COOKIES: Final = tuple(f"cmplz_{name}" for name in (*_CATEGORIES, "banner-status"))
    PREFIXES: Final = ()

    @staticmethod
    def read(cookies: Mapping[str, str]) -> CmpReading | None:
        """Its categories, or None when it has set none."""
        categories = _categories(cookies, "cmplz_")
        if not categories:
            return None
        return CmpReading(
            Complianz.CMP,
            choice_made=True if cookies.get("cmplz_banner-status") == "dismissed" else None,
            categories=categories,
            normalized=normalized(categories, _NAMES),
        )


class WpConsentApi:
    """The WP Consent API never tells whether the visitor chose."""

    CMP: Final = "wp_consent_api"
    COOKIES: Final = tuple(f"wp_consent_{name}" for name in _CATEGORIES)
    PREFIXES: Final = ()

    @staticmethod
    def read(cookies: Mapping[str, str]) -> CmpReading | None:
        """Its categories, or None when it has set none."""
        categories = _categories(cookies, "wp_consent_")
        if not categories:
            return None
        return CmpReading(WpConsentApi.CMP, categories=categories, normalized=normalized(categories, _NAMES))
