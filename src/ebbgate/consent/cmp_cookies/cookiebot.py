"""Cookiebot: `CookieConsent`, an object with unquoted keys; `-1` where no consent is needed (specs/consent.md §5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ebbgate.consent.cmp_cookies.reading import CmpReading, decoded, normalized
from ebbgate.errors import SignalError

CMP: Final = "cookiebot"
COOKIES: Final = ("CookieConsent",)
PREFIXES: Final = ()
_NAMES: Final = {"necessary": "necessary", "preferences": "functional", "statistics": "analytics", "marketing": "marketing"}
_METHODS: Final = {"explicit": True, "implied": False}
_PAIR: Final = re.compile(
    r"""\s*["']?([A-Za-z_][A-Za-z0-9_]*)["']?\s*:\s*(?:'([^']*)'|"([^"]*)"|(true|false|null|-?[0-9]{1,18}))\s*""", re.ASCII
)


def read(cookies: Mapping[str, str]) -> CmpReading | None:
    """`method:'implied'` and `-1` are not choices of the visitor."""
    raw = cookies.get("CookieConsent")
    if raw is None:
        return None
    text = decoded(raw).strip()
    if text == "-1":
        everything = dict.fromkeys(_NAMES, True)
        return CmpReading(
            CMP, choice_made=False, categories=everything, normalized=normalized(everything, _NAMES), region_exempt=True
        )
    fields = _fields(text)
    categories: dict[str, bool] = {}
    for name in _NAMES:
        if name in fields:
            answer = fields[name]
            if answer not in ("true", "false"):
                raise SignalError("a category without an answer", code="cookie")
            categories[name] = answer == "true"
    if not categories:
        raise SignalError("no categories", code="cookie")
    return CmpReading(
        CMP,
        choice_made=_METHODS.get(fields.get("method", "")),
        categories=categories,
        normalized=normalized(categories, _NAMES),
        tc_string=fields.get("iab2") or None,
        ac_string=fields.get("gacm") or None,
        region_exempt=False,
    )


def _fields(text: str) -> dict[str, str]:
    """`{key:value,…}` with quoted texts, numbers and booleans; read to the last character or refused."""
    if not (text.startswith("{") and text.endswith("}")):
        raise SignalError("not an object", code="cookie")
    fields: dict[str, str] = {}
    position, last = 1, len(text) - 1
    while position < last:
        matched = _PAIR.match(text, position, last)
        if matched is None or matched[1] in fields:
            raise SignalError("not an object of single values", code="cookie")
        fields[matched[1]] = next(value for value in matched.groups()[1:] if value is not None)
        position = matched.end()
        if position < last:
            if text[position] != ",":
                raise SignalError("not an object of single values", code="cookie")
            position += 1
    return fields
