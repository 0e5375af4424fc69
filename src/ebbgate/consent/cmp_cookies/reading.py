"""What all consent-platform cookies have in common: the cookie jar, safe parsing, and the reading they become.

Cookie values are attacker-controlled: bounded before they are parsed, decoded once, never evaluated (specs/consent.md §5).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from ebbgate.errors import SignalError
from ebbgate.model import EMPTY

MAX_COOKIES: Final = 200
MAX_VALUE_CHARS: Final = 8 * 1024
MAX_HEADER_CHARS: Final = 256 * 1024
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class CmpReading:
    """What one platform's cookie says. An id without a value is left out of `categories`.

    `choice_made`: False = the values are defaults, None = the cookie does not tell. `decoded` False = nothing was read;
    with `opaque` that is how the platform writes it, without it the cookie is broken.
    """

    cmp: str
    decoded: bool = True
    choice_made: bool | None = None
    categories: Mapping[str, bool] = field(default_factory=lambda: EMPTY)
    normalized: Mapping[str, bool] = field(default_factory=lambda: EMPTY)
    gpc: bool | None = None
    tc_string: str | None = None
    ac_string: str | None = None
    region_exempt: bool | None = None  #: Cookiebot only: the platform says that no consent is needed there
    opaque: bool = False
    refuses_all: bool = False  #: one answer for everything, and it was no
    expires_ms: int | None = None


def jar(header: str) -> tuple[tuple[str, str], ...]:
    """A Cookie header as pairs, first of each name, of its first 200 entries; an overlong header gives none.

    Values longer than 8 KiB become empty: no platform's reader takes that for a grant.
    """
    if len(header) > MAX_HEADER_CHARS:
        return ()
    found: dict[str, str] = {}
    for entry in header.split(";")[:MAX_COOKIES]:
        name, equals, value = entry.strip(" \t").partition("=")
        if equals and name and name not in found:
            found[name] = value if len(value) <= MAX_VALUE_CHARS else ""
    return tuple(found.items())


def decoded(value: str) -> str:
    """Percent-decoded once; text that is not UTF-8 raises `SignalError`."""
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise SignalError("not UTF-8", code="cookie") from None


def json_object(text: str) -> dict[str, Any]:
    """A JSON object; anything else, a key twice, NaN or deep nesting raise `SignalError`."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise SignalError("not JSON", code="cookie") from None
    if not isinstance(value, dict):
        raise SignalError("not a JSON object", code="cookie")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(_: str) -> None:
    raise ValueError("not JSON")


def booleans(value: object) -> dict[str, bool]:
    """An object of booleans, or `SignalError`."""
    if not isinstance(value, dict):
        raise SignalError("not an object of yes and no", code="cookie")
    found: dict[str, bool] = {}
    for name, answer in value.items():
        if not isinstance(answer, bool):
            raise SignalError("an answer that is neither yes nor no", code="cookie")
        found[str(name)] = answer
    return found


def strings(value: object) -> list[str]:
    """A list of texts, or `SignalError`."""
    if not isinstance(value, list) or not all(isinstance(member, str) for member in value):
        raise SignalError("not a list of names", code="cookie")
    return value


def approved_and_refused(approved: list[str], refused: list[str]) -> dict[str, bool]:
    """Two lists of ids as one answer each; an id in both is refused."""
    return {**dict.fromkeys(approved, True), **dict.fromkeys(refused, False)}


def integer(text: str) -> int | None:
    """A plain decimal number, or None."""
    return int(text) if _INTEGER.fullmatch(text) else None


def normalized(categories: Mapping[str, bool], names: Mapping[str, str]) -> dict[str, bool]:
    """The platform's ids in ebbgate's words; two ids for one word must both be allowed."""
    found: dict[str, bool] = {}
    for name, allowed in categories.items():
        word = names.get(name)
        if word is not None:
            found[word] = found.get(word, True) and allowed
    return found
