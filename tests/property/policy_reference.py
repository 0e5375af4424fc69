"""An evaluator of policies that shares no code with the product: it reads the YAML data itself and judges slowly.

It knows what the rules mean (DESIGN §4), not how ebbgate computes them. Times in free text and URL details are left out; the
properties it is used for generate none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from ebbgate.fields import FIELDS

EVERYWHERE = "before_anything_leaves"
words = str.split
EU = words("AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE GF GP MQ RE YT MF AX")
GROUPS = {"EU": EU, "EEA": [*EU, "IS", "LI", "NO"]}


def governs(files: Mapping[str, Any], country: str | None, region: str | None) -> str | None:
    """Name of the file that governs a place, or None."""

    def first(test: Any) -> str | None:
        return next((name for name, data in sorted(files.items()) if test(data["applies_to"])), None)

    def unknown() -> str | None:
        return first(lambda places: places.get("when_country_unknown") == "apply")

    if region is not None and country is not None and not region.startswith(country + "-"):
        return unknown()
    if region is not None:
        found = first(lambda places: region in places.get("regions", []))
        if found:
            return found
        country = region.split("-")[0]
    if country is None or len(country) != 2 or not country.isupper() or country in ("XX", "ZZ", "T1", "EU"):
        return unknown()
    named = first(lambda places: any(country in GROUPS.get(code, [code]) for code in places.get("countries", [])))
    return named or first(lambda places: places.get("everywhere_else") is True)


def stands_for(selectors: list[str], path: str) -> bool:
    """Whether one of the selectors means this path."""
    for selector in selectors:
        if path == selector or path.startswith(selector + "."):
            in_table = path in FIELDS
            own = path.startswith("properties.")
            if own or (in_table and ("." not in selector or selector == path)):
                return True
    return False


def verdict(data: Any, destination: str, event: str, states: Mapping[str, str], vendors: Mapping[str, str]) -> tuple[str, str]:
    """What happens to one event at one destination, and why."""
    rules = data["destinations"].get(destination)
    if rules is None:
        return "withhold", "not_in_policy"
    if rules.get("enabled", True) is False:
        return "withhold", "disabled"
    if rules.get("events", "all") != "all" and event not in rules["events"]:
        return "withhold", "event_not_listed"
    needs = [] if rules["needs"] == "nothing" else rules["needs"]
    missing = {purpose: states.get(purpose, "unknown") for purpose in needs if states.get(purpose) != "granted"}
    if not missing:
        if vendors.get(destination, "granted") != "granted":
            return "withhold", "vendor_denied"
        return "send", "granted" if needs else "not_needed"
    refused = "denied" in missing.values()
    waits = data["consent"]["model"] == "opt_in" and data["consent"]["if_missing"] == "hold"
    permitted = vendors.get(destination, "granted") == "granted"
    if waits and not refused and permitted:
        return "hold", "held"
    if "if_refused" in rules and permitted:
        return "limited", "limited"
    return "withhold", "consent_denied" if refused else "consent_unknown"


def fields(data: Any, destination: str, said: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """Path → value, `#…` for a hash, `~` for a pseudonym: what leaves of an event's plain fields."""
    rules = data["destinations"][destination]
    everywhere = data.get(EVERYWHERE, {})
    send = rules["if_refused"]["send_limited"]["send"] if said == "limited" else rules["send"]
    gone = everywhere.get("remove", []) + rules.get("remove", [])
    coded = everywhere.get("pseudonymise", []) + rules.get("pseudonymise", [])
    left: dict[str, Any] = {}
    for path, value in event.items():
        if path not in ("event.name", "event.time") and not stands_for(send, path):
            continue
        if stands_for(gone, path):
            continue
        if stands_for(rules.get("hash", []), path):
            text = str(value).strip().lower()
            if text:
                left[path] = "#" + hashlib.sha256(text.encode()).hexdigest()
        elif stands_for(coded, path):
            if str(value).strip():
                left[path] = "~"
        else:
            left[path] = value
    return left
