"""Consent objects that events carry themselves: native purposes, Segment, RudderStack, MetaRouter (specs/consent.md §5).

Each reader turns an untrusted JSON value into the explicit answers of `Signals`, or raises `SignalError`: an object that
is there but cannot be read must not count as "nothing was said".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ebbgate.errors import SignalError

Purposes = tuple[tuple[str, str], ...]
Categories = tuple[tuple[str, bool], ...]

MAX_ENTRIES: Final = 256
MAX_NAME_CHARS: Final = 128
_STATES: Final = {"granted": "granted", "denied": "denied", "refused": "denied"}
#: MetaRouter writes its booleans as text.
_OPTED_OUT: Final = {"true": True, "false": False, True: True, False: False}


def purposes(value: object) -> Purposes:
    """Native `consent.purposes`: `{"analytics": "granted" | "denied"}`, by the policy's purpose names."""
    found: list[tuple[str, str]] = []
    for name, state in _entries(value).items():
        word = _STATES.get(state) if isinstance(state, str) else None
        if word is None:
            raise SignalError("a purpose is neither granted nor denied", code="purposes")
        found.append((name, word))
    return tuple(found)


def categories(value: object) -> Categories:
    """Native `consent.categories` and Segment's `context.consent.categoryPreferences`: `{"Analytics": true}`."""
    found: list[tuple[str, bool]] = []
    for name, allowed in _entries(value).items():
        if not isinstance(allowed, bool):
            raise SignalError("a category is neither true nor false", code="categories")
        found.append((name, allowed))
    return tuple(found)


def rudderstack(value: object) -> Categories:
    """RudderStack's `context.consentManagement`: allowed and denied ids; an id in both is denied.

    `provider` and `resolutionStrategy` choose between "any" and "all" there; here all that a policy names must be allowed.
    """
    entries = _entries(value)
    found = dict.fromkeys(_ids(entries.get("allowedConsentIds")), True)
    found.update(dict.fromkeys(_ids(entries.get("deniedConsentIds")), False))
    return tuple(found.items())


def metarouter(value: object) -> Categories:
    """MetaRouter's `context.consent`: `optOut` by code, inverted and written as text.

    An opt-out always counts; "not opted out" counts as allowed only with `explicit: true`, otherwise it is a default.
    """
    entries = _entries(value)
    explicit = entries.get("explicit")
    found: list[tuple[str, bool]] = []
    for code, answer in _entries(entries.get("optOut", {})).items():
        opted_out = _OPTED_OUT.get(answer) if isinstance(answer, str | bool) else None
        if opted_out is None:
            raise SignalError("an opt-out is neither true nor false", code="categories")
        if opted_out:
            found.append((code, False))
        elif explicit is True or explicit == "true":
            found.append((code, True))
    return tuple(found)


def segment_consent(value: object) -> Categories:
    """A Segment-spec `context.consent`: Segment's or MetaRouter's object, whichever it is; both are joined, denials win."""
    entries = _entries(value)
    if entries and not {"categoryPreferences", "optOut"} & set(entries):
        raise SignalError("neither categoryPreferences nor optOut", code="categories")
    joined: dict[str, bool] = {}
    for name, allowed in (
        *(categories(entries["categoryPreferences"]) if "categoryPreferences" in entries else ()),
        *(metarouter(entries) if "optOut" in entries else ()),
    ):
        joined[name] = joined.get(name, True) and allowed
    return tuple(joined.items())


def _entries(value: object) -> Mapping[str, object]:
    """A JSON object with a bounded number of names of bounded length."""
    if not isinstance(value, Mapping):
        raise SignalError("not an object", code="categories")
    if len(value) > MAX_ENTRIES:
        raise SignalError("more than 256 entries", code="categories")
    if not all(isinstance(name, str) and 0 < len(name) <= MAX_NAME_CHARS for name in value):
        raise SignalError("a name is empty or longer than 128 characters", code="categories")
    return value


def _ids(value: object) -> tuple[str, ...]:
    """A JSON list of names; absent means none."""
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or len(value) > MAX_ENTRIES:
        raise SignalError("not a list of names", code="categories")
    names: list[str] = []
    for name in value:
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARS:
            raise SignalError("a name is empty, not text, or longer than 128 characters", code="categories")
        names.append(name)
    return tuple(names)
