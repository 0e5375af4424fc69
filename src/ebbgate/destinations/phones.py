"""Telephone numbers → country code and national number as digits.

The bare rule handles what is international already (+… or 00…). `phonenumberslite` is asked only where it cannot decide: a
national number of a known country. Without a country a national number keeps its digits (specs/destinations.md §1.3).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import phonenumbers

from ebbgate.destinations.countries import iso2

_BETWEEN: Final = str.maketrans("", "", " \t\u00a0\u202f-.()/\u2010\u2011\u2013")
_COUNTRY_AFTER: Final = re.compile(r"\(([A-Za-z]{2})\)\Z")  # "(650)555-1212 (US)", the example in Meta's documentation
_TRUNK_ZERO: Final = re.compile(r"\(0\)")
_MIN_DIGITS: Final = 7
MAX_DIGITS: Final = 15  # ITU-T E.164


def digits(value: str, country: str | None) -> str | None:
    """Digits with country code, no + and no leading zeros; None for what is no telephone number.

    `country` is the ISO code or name of the country that a number without country code belongs to, None when unknown.
    """
    text = value.strip()
    after = _COUNTRY_AFTER.search(text)
    if after:
        country, text = after[1].upper(), text[: after.start()]
    international = text.startswith(("+", "00"))
    bare = (_TRUNK_ZERO.sub("", text) if international else text).translate(_BETWEEN).removeprefix("+")
    if not (bare.isascii() and bare.isdigit()):
        return None
    region = iso2(country) if country and not international else None
    if region:
        bare = _with_country(bare, region) or bare
    bare = bare.lstrip("0")
    return bare if _MIN_DIGITS <= len(bare) <= MAX_DIGITS else None


@lru_cache(maxsize=4096)
def _calling_code(country: str) -> int:
    return phonenumbers.country_code_for_region(country)


def _with_country(number: str, country: str) -> str | None:
    """Put the country code before a national number; None when it does not parse as one."""
    if not _calling_code(country):
        return None
    try:
        parsed = phonenumbers.parse(number, country)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(parsed):
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")
