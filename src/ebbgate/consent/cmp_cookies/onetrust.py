"""OneTrust: `OptanonConsent`, a query string with `groups=C0001:1,C0002:0` (specs/consent.md §5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ebbgate.consent.cmp_cookies.reading import CmpReading, decoded, integer, normalized
from ebbgate.errors import SignalError

CMP: Final = "onetrust"
COOKIES: Final = ("OptanonConsent", "OptanonAlertBoxClosed")
PREFIXES: Final = ()
_NAMES: Final = {
    "C0001": "necessary",
    "C0002": "analytics",
    "C0003": "functional",
    "C0004": "marketing",
    "C0005": "social",
    # ids of older set-ups
    "1": "necessary",
    "2": "analytics",
    "3": "functional",
    "4": "marketing",
}
_ISO_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}", re.ASCII)


def read(cookies: Mapping[str, str]) -> CmpReading | None:
    """Groups are the region's defaults until the visitor has acted on the banner."""
    raw = cookies.get("OptanonConsent")
    if raw is None:
        return None
    fields: dict[str, str] = {}
    for pair in raw.split("&"):
        name, _, value = pair.partition("=")
        fields.setdefault(name, decoded(value))
    if "groups" not in fields:
        raise SignalError("no groups", code="cookie")
    categories = _groups(fields["groups"])
    return CmpReading(
        CMP,
        choice_made=_choice_made(fields, cookies.get("OptanonAlertBoxClosed", "")),
        categories=categories,
        normalized=normalized(categories, _NAMES),
        gpc={"1": True, "0": False}.get(fields.get("isGpcEnabled", "")),
    )


def _groups(text: str) -> dict[str, bool]:
    categories: dict[str, bool] = {}
    for member in text.split(",") if text else ():
        group, _, answer = member.partition(":")
        if not group or answer not in ("0", "1"):
            raise SignalError("a group without an answer", code="cookie")
        categories[group] = categories.get(group, True) and answer == "1"
    return categories


def _choice_made(fields: Mapping[str, str], closed: str) -> bool | None:
    """A choice: the banner was closed or settings were saved, and the site does not await a new one."""
    if fields.get("AwaitingReconsent") == "true":
        return False
    if _ISO_TIME.match(decoded(closed)):
        return True
    interactions = integer(fields.get("interactionCount", ""))
    return None if interactions is None else interactions > 0
