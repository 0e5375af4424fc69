"""Where a visitor is, read from the geo headers of a trusted CDN (specs/consent.md §6).

Geo is evidence: whatever is missing, malformed or contradictory makes the place unknown, and unknown is treated strictest.
"""

from __future__ import annotations

import binascii
import json
import re
from typing import Final

from ebbgate.consent.jurisdictions import COUNTRIES
from ebbgate.model import Place

#: (country header, region header), lower case. Fastly and Google's load balancer have no fixed names: sites set one of these.
_PAIRS: Final = (
    ("cf-ipcountry", "cf-region-code"),
    ("cloudfront-viewer-country", "cloudfront-viewer-country-region"),
    ("x-vercel-ip-country", "x-vercel-ip-country-region"),
    ("x-appengine-country", "x-appengine-region"),
    ("x-gclb-country", "x-gclb-region"),
)
_AKAMAI: Final = "x-akamai-edgescape"
_NETLIFY: Final = "x-nf-geo"
#: Headers the edge lets through from trusted proxies and strips from everyone else.
PLACE_HEADERS: Final = frozenset({*(name for pair in _PAIRS for name in pair), _AKAMAI, _NETLIFY})

_SUBDIVISION: Final = re.compile(r"[A-Z0-9]{1,3}", re.ASCII)
_MAX_CHARS: Final = 2048
#: Codes in use that ISO does not assign to the country meant.
_ALIASES: Final = {"UK": "GB", "EL": "GR"}
UNKNOWN: Final = Place()


def country_code(text: object) -> str | None:
    """An ISO 3166-1 alpha-2 code in capitals; `XX`, `T1`, `ZZ` and anything else are unknown."""
    if not isinstance(text, str) or len(text) > 8:
        return None
    code = text.strip().upper()
    code = _ALIASES.get(code, code)
    return code if code in COUNTRIES else None


def region_code(country: str | None, text: object) -> str | None:
    """A subdivision as `US-CA`, from `CA`, `US-CA` or `USCA`; None when it does not fit the country."""
    if country is None or not isinstance(text, str) or len(text) > 16:
        return None
    code = text.strip().upper()
    if "-" in code:
        prefix, _, code = code.partition("-")
        if prefix != country:
            return None
    elif len(code) > 3 and code.startswith(country):
        code = code[2:]
    return f"{country}-{code}" if _SUBDIVISION.fullmatch(code) else None


def make_place(country: object, region: object, source: str) -> Place:
    """A place from untrusted texts, normalised; without a country nothing is known."""
    code = country_code(country)
    return Place(code, region_code(code, region), source) if code else UNKNOWN


def place_from_headers(headers: tuple[tuple[str, str], ...], trusted: bool) -> Place:
    """The place that a trusted proxy's headers name.

    `headers` have lower-case names. Two headers that name different countries contradict each other: unknown. Different
    regions of one country: the country alone.
    """
    if not trusted:
        return UNKNOWN
    values: dict[str, set[str]] = {}
    for name, value in headers:
        if name in PLACE_HEADERS:
            values.setdefault(name, set()).add(value if len(value) <= _MAX_CHARS else "")
    found: list[Place] = []
    for country_header, region_header in _PAIRS:
        if country_header in values:
            found.append(make_place(_only(values[country_header]), _only(values.get(region_header, set())), country_header))
    if _AKAMAI in values:
        fields = dict(_pair(member) for member in (_only(values[_AKAMAI]) or "").split(","))
        found.append(make_place(fields.get("country_code"), fields.get("region_code"), _AKAMAI))
    if _NETLIFY in values:
        found.append(_netlify(_only(values[_NETLIFY]) or ""))
    if len({place.country for place in found}) != 1 or found[0].country is None:
        return UNKNOWN
    regions = {place.region for place in found if place.region}
    return Place(found[0].country, regions.pop() if len(regions) == 1 else None, found[0].source)


def _only(values: set[str]) -> str | None:
    """The value when all lines of a header agree."""
    return next(iter(values)) if len(values) == 1 else None


def _pair(member: str) -> tuple[str, str]:
    name, _, value = member.partition("=")
    return name.strip(), value.strip()


def _netlify(text: str) -> Place:
    """Base64 of `{"country": {"code": "US"}, "subdivision": {"code": "CA"}}`."""
    try:
        value = json.loads(binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True))
    except (ValueError, RecursionError):
        return UNKNOWN
    country, region = (value.get(key) for key in ("country", "subdivision")) if isinstance(value, dict) else (None, None)
    return make_place(
        country.get("code") if isinstance(country, dict) else None,
        region.get("code") if isinstance(region, dict) else None,
        _NETLIFY,
    )
