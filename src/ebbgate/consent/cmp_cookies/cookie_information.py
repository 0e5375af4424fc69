"""Cookie Information: `CookieInformationConsent`, JSON with approved and denied categories (specs/consent.md §5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ebbgate.consent.cmp_cookies.reading import CmpReading, approved_and_refused, decoded, json_object, normalized, strings

CMP: Final = "cookie_information"
COOKIES: Final = ("CookieInformationConsent",)
PREFIXES: Final = ()
_NAMES: Final = {
    "cookie_cat_necessary": "necessary",
    "cookie_cat_functional": "functional",
    "cookie_cat_statistic": "analytics",
    "cookie_cat_marketing": "marketing",
}


def read(cookies: Mapping[str, str]) -> CmpReading | None:
    """The cookie is written only after a choice."""
    raw = cookies.get("CookieInformationConsent")
    if raw is None:
        return None
    fields = json_object(decoded(raw))
    categories = approved_and_refused(strings(fields.get("consents_approved")), strings(fields.get("consents_denied")))
    return CmpReading(CMP, choice_made=True, categories=categories, normalized=normalized(categories, _NAMES))
