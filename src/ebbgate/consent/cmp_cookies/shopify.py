"""Shopify: `_tracking_consent` version 2, JSON with `con.CMP.{a,m,p,s}` (specs/consent.md §5).

Version 3 is compact and undocumented: known to be there, not read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ebbgate.consent.cmp_cookies.reading import CmpReading, decoded, json_object, normalized
from ebbgate.errors import SignalError

CMP: Final = "shopify"
COOKIES: Final = ("_tracking_consent",)
PREFIXES: Final = ()
_NAMES: Final = {"a": "analytics", "m": "marketing", "p": "functional"}
_ANSWERS: Final = {"1": True, "0": False}
_COMPACT: Final = re.compile(r"[3-9]\.", re.ASCII)


def read(cookies: Mapping[str, str]) -> CmpReading | None:
    """`""` stands for "not chosen"; with nothing chosen there was no choice."""
    raw = cookies.get("_tracking_consent")
    if raw is None:
        return None
    text = decoded(raw)
    if _COMPACT.match(text):
        return CmpReading(CMP, decoded=False, opaque=True)
    fields = json_object(text)
    consent = fields.get("con")
    answers = consent.get("CMP") if isinstance(consent, dict) else None
    if not str(fields.get("v", "")).startswith("2") or not isinstance(answers, dict):
        raise SignalError("not version 2", code="cookie")
    categories: dict[str, bool] = {}
    for name, answer in answers.items():
        if answer == "":
            continue
        if not isinstance(answer, str) or answer not in _ANSWERS:
            raise SignalError("an answer that does not exist", code="cookie")
        categories[name] = _ANSWERS[answer]
    return CmpReading(CMP, choice_made=bool(categories), categories=categories, normalized=normalized(categories, _NAMES))
