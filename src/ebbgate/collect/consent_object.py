"""The `consent` object of a native event → Signals. Pure.

What is there but cannot be read stays as malformed evidence: it can refuse, never grant. A key nobody knows is an error, since a
misspelt refusal must not look like silence.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import replace

from ebbgate.collect import categories
from ebbgate.collect.times import parse_time
from ebbgate.errors import EventError, SignalError
from ebbgate.model import Signals

NO_SIGNALS: Final = Signals()
_T = TypeVar("_T", str, bool)


def read_consent(value: Any, request: Signals) -> Signals:
    """Lay an event's consent object over what the request says. GPC on either side counts. Raises EventError for an unknown key."""
    if value is None:
        return request
    if not isinstance(value, dict):
        return replace(request, malformed=(*request.malformed, "consent"))
    if request is not NO_SIGNALS:
        return _read_object(value, request)
    try:
        raw = _encode(value)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
        return _read_object(value, request)  # not from JSON
    found = _seen.get(raw)
    if found is None:
        found = _read_object(value, request)
        if len(raw) <= _SHORT:
            if len(_seen) >= _MAX_SEEN:
                _seen.clear()
            _seen[raw] = found
    return found


#: What objects said, by their JSON: one visitor's events carry the same one again and again.
_seen: Final[dict[bytes, Signals]] = {}
_MAX_SEEN: Final = 4096
_SHORT: Final = 4096  #: bytes of an object that is remembered
_encode: Final = msgspec.json.Encoder().encode


def _read_object(value: dict[str, Any], request: Signals) -> Signals:
    found: dict[str, Any] = {}
    malformed: list[str] = []
    for key, item in value.items():
        reader = _READERS.get(key)
        if reader is None:
            close = difflib.get_close_matches(key[:40], _READERS, n=1)
            raise EventError(
                "`consent` has a key that is not known",
                code="consent_unknown_key",
                hint=f"did you mean '{close[0]}'?" if close else f"known: {', '.join(_READERS)}",
            )
        if item is None:
            continue
        name, read = reader
        parsed = read(item)
        if parsed is None:
            malformed.append(key)
        else:
            found[name] = parsed
    if request is NO_SIGNALS:
        return _signals(tuple(found.items()), tuple(malformed))
    found["gpc"] = request.gpc or found.get("gpc", False)
    return replace(request, **found, malformed=request.malformed + tuple(malformed))


@lru_cache(maxsize=4096)
def _signals(found: tuple[tuple[str, Any], ...], malformed: tuple[str, ...]) -> Signals:
    """One visitor's events carry the same evidence again and again: one object, so that later stages can cache on it."""
    return Signals(**dict(found), malformed=malformed)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _short(value: Any) -> str | None:
    return str(value) if type(value) in (str, int) else None


def _flag(value: Any) -> bool | None:
    if value is True or value == 1 or value == "1":
        return True
    if value is False or value == 0 or value == "0":
        return False
    return None


def _sids(value: Any) -> tuple[int, ...] | None:
    if isinstance(value, str):
        parts = [p.strip() for p in value.split(",")]
        return tuple(int(p) for p in parts) if all(p.isascii() and p.isdigit() and len(p) < 4 for p in parts) else None
    if isinstance(value, list) and all(type(v) is int for v in value):
        return tuple(value)
    return None


def _purposes(value: Any) -> tuple[tuple[str, str], ...] | None:
    """`unknown` is a word of ours for no answer; anything else than an answer makes the whole object unreadable."""
    answers = {k: v for k, v in value.items() if v != "unknown"} if isinstance(value, dict) else value
    return _read(categories.purposes, answers)


def _categories(value: Any) -> tuple[tuple[str, bool], ...] | None:
    return _read(categories.categories, value)


def _read(reader: Callable[[object], tuple[tuple[str, _T], ...]], value: object) -> tuple[tuple[str, _T], ...] | None:
    try:
        return tuple(sorted(reader(value)))
    except SignalError:
        return None


_READERS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "purposes": ("purposes", _purposes),
    "categories": ("categories", _categories),
    "tcf": ("tcf", _text),
    "gdpr_applies": ("gdpr_applies", _flag),
    "addtl_consent": ("addtl_consent", _text),
    "gpp": ("gpp", _text),
    "gpp_sid": ("gpp_sid", _sids),
    "us_privacy": ("us_privacy", _text),
    "gcs": ("gcs", _text),
    "gcd": ("gcd", _text),
    "npa": ("npa", _short),
    "dma": ("dma", _short),
    "gpc": ("gpc", _flag),
    "dnt": ("dnt", _flag),
    "time": ("choice_ms", parse_time),
}
