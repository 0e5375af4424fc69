"""TrustArc: `cmapi_cookie_privacy=permit 1,2,3` and `notice_gdpr_prefs=0,1,2:` (specs/consent.md §5, a secondary source).

Neither tells whether the visitor chose, so refusals count and permissions do not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ebbgate.consent.cmp_cookies.reading import CmpReading, decoded, normalized
from ebbgate.errors import SignalError

CMP: Final = "trustarc"
COOKIES: Final = ("cmapi_cookie_privacy", "notice_gdpr_prefs")
PREFIXES: Final = ()
_NAMES: Final = {"1": "necessary", "2": "functional", "3": "marketing"}
_PERMIT: Final = re.compile(r"permit\s+([1-9](?:\s*,\s*[1-9])*)", re.ASCII)
_PREFERENCES: Final = re.compile(r"([0-9](?:,[0-9])*):?", re.ASCII)


def read(cookies: Mapping[str, str]) -> CmpReading | None:
    """A category that is not listed was refused."""
    permit, preferences = cookies.get("cmapi_cookie_privacy"), cookies.get("notice_gdpr_prefs")
    if permit is not None:
        allowed = _numbers(_PERMIT, decoded(permit).replace("+", " ").strip())
    elif preferences is not None:
        # Counted from 0 here, from 1 in the other cookie.
        allowed = {number + 1 for number in _numbers(_PREFERENCES, decoded(preferences).strip())}
    else:
        return None
    categories = {str(number): number in allowed for number in sorted({1, 2, 3} | allowed)}
    return CmpReading(CMP, categories=categories, normalized=normalized(categories, _NAMES))


def _numbers(form: re.Pattern[str], text: str) -> set[int]:
    matched = form.fullmatch(text)
    if matched is None:
        raise SignalError("not a list of categories", code="cookie")
    return {int(number) for number in matched[1].split(",")}
