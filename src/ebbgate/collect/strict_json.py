"""Strict JSON for bytes from the internet: one reading only, bounded in depth, keys, strings and numbers.

Every JSON decoder for Python keeps the last of two equal keys, so `{"consent":"denied","consent":"granted"}` would be a grant
(specs/reliability.md §0.9). The quick path proves by counting that no key came twice; all else takes the slow path.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final, NoReturn

import msgspec

from ebbgate.errors import RequestError

MAX_DEPTH: Final = 16
MAX_KEYS: Final = 256  #: in one object
MAX_STRING_BYTES: Final = 8 * 1024
MAX_INTEGER: Final = 2**53 - 1  #: larger ones do not survive other people's JSON

#: A string over the limit would fill at least one aligned block of this size, in which there is then no quote.
QUIET_BLOCK: Final = 1024
_CONTAINERS: Final = frozenset({dict, list})

WHITE_SPACE: Final = b" \t\r\n"

_DIGITS_AS_ZERO = bytes.maketrans(b"0123456789", b"0" * 10)
_decode = msgspec.json.Decoder().decode


def loads(body: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """Decode one JSON text. Raises RequestError (400) with a code and a hint; the message never quotes the body."""
    try:
        value = _decode(body)
    except UnicodeDecodeError:
        _refuse("json_not_utf8", "the body is not UTF-8", "send UTF-8 without a byte order mark")
    except RecursionError:
        _too_deep(max_depth)
    except msgspec.DecodeError as error:  # includes numbers out of range
        _refuse("json_malformed", f"the body is not strict JSON{_where(error)}", "no comments, NaN, Infinity or lone surrogates")
    keys = _count_keys(value, max_depth)
    if _suspicious(body):
        _check_values(value)
    if not _each_key_once(body, keys):
        _find_duplicate(body)
    return value


def _count_keys(value: Any, room: int) -> int:
    """Number of keys at and below `value`; refuses what is nested too deep or too wide."""
    if type(value) is dict:
        keys = len(value)
        if keys > MAX_KEYS:
            _refuse("json_too_many_keys", f"an object has more than {MAX_KEYS} keys", "send fewer, larger groups")
        inner: Iterable[Any] = value.values()
    elif type(value) is list:
        keys = 0
        inner = value
    else:
        return 0
    if room <= 0:
        _too_deep(MAX_DEPTH)
    for item in inner:
        if type(item) in _CONTAINERS:
            keys += _count_keys(item, room - 1)
    return keys


def _suspicious(body: bytes) -> bool:
    """False when no string can be too long or hold NUL and no integer can be too big: then no value needs a look."""
    return (
        (b"\\" in body and b"\\u0000" in body)
        or body.translate(_DIGITS_AS_ZERO).find(b"0" * 16) >= 0
        or any(body.find(b'"', start, start + QUIET_BLOCK) < 0 for start in range(0, len(body) - QUIET_BLOCK + 1, QUIET_BLOCK))
    )


def _check_values(value: Any) -> None:
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key)
            _check_values(item)
    elif isinstance(value, list):
        for item in value:
            _check_values(item)
    elif type(value) is int and not -MAX_INTEGER <= value <= MAX_INTEGER:
        _refuse("json_big_number", "an integer is larger than 2^53 - 1", "send long ids as text")


def _check_text(text: str) -> None:
    if "\x00" in text:
        _refuse("json_nul", "a string holds a NUL character", "remove it")
    if len(text.encode()) > MAX_STRING_BYTES:
        _refuse("json_long_string", f"a string is longer than {MAX_STRING_BYTES} bytes", "shorten it")


def _each_key_once(body: bytes, keys: int) -> bool:
    """True when counting alone proves that no object has a key twice.

    Without white space and without escaped quotes, each `":` of the text ends exactly one key: in strings a quote would be
    escaped. If there are as many as the decoded objects have keys, none was dropped.
    """
    return (b"\\" not in body or b'\\"' not in body) and body.translate(None, WHITE_SPACE).count(b'":') == keys


def _find_duplicate(body: bytes) -> None:
    """Slow path: decode again with every pair in hand. Returns when there is no duplicate."""
    json.loads(body, object_pairs_hook=_no_twins)


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        _refuse(
            "json_duplicate_key", "an object has the same key twice", "each key may stand once: which one counts would be a guess"
        )
    return found


def _where(error: msgspec.DecodeError) -> str:
    head, _, place = str(error).rpartition("(byte ")
    return f" at byte {place.rstrip(')')}" if head and place.rstrip(")").isdigit() else ""


def _too_deep(limit: int) -> NoReturn:
    _refuse("json_too_deep", f"the body is nested deeper than {limit} levels", "flatten it")


def _refuse(code: str, message: str, hint: str) -> NoReturn:
    raise RequestError(message, status=400, code=code, hint=hint)
