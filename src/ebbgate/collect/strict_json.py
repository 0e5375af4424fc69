"""Strict JSON for bytes from the internet: one reading only, bounded in depth, keys, strings and numbers.

Every JSON decoder for Python keeps the last of two equal keys, so `{"consent":"denied","consent":"granted"}` would be a grant
(specs/reliability.md §0.9). The quick path proves that no key came twice by writing the value again; all else takes the slow path.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from types import GenericAlias
from typing import Annotated, Any, Final, NoReturn

import msgspec

from ebbgate.errors import RequestError

MAX_DEPTH: Final = 16
MAX_KEYS: Final = 256  #: in one object
MAX_STRING_BYTES: Final = 8 * 1024
MAX_INTEGER: Final = 2**53 - 1  #: larger ones do not survive other people's JSON

#: A string over the limit would fill at least one aligned block of this size, in which there is then no quote.
QUIET_BLOCK: Final = MAX_STRING_BYTES // 2
#: Levels that the quick decoder takes: a batch of events with nested properties. Each level more doubles what it is made of.
USUAL_DEPTH: Final = 7


def usual(levels: int) -> Any:
    """The type of JSON within the bounds, for a decoder that checks depth, keys of an object and integers as it reads, in C."""
    scalar = str | Annotated[int, msgspec.Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)] | float | bool | None
    if not levels:
        return scalar
    inner = usual(levels - 1)
    objects: Any = Annotated[GenericAlias(dict, (str, inner)), msgspec.Meta(max_length=MAX_KEYS)]
    return scalar | GenericAlias(list, (inner,)) | objects


_decode_usual = msgspec.json.Decoder(usual(USUAL_DEPTH)).decode
_decode_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def loads(body: bytes) -> Any:
    """Decode one JSON text. Raises RequestError (400) with a code and a hint; the message never quotes the body."""
    try:
        value = _decode_usual(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = _loads_unusual(body)
    else:
        if may_hold_odd_text(body):
            _check_values(value)
    if not each_key_once(body, value):
        _find_duplicate(body)
    return value


def _loads_unusual(body: bytes) -> Any:
    """What is nested deeper than usual; all else that comes here is refused, with the reason."""
    try:
        value = _decode_any(body)
    except UnicodeDecodeError:
        _refuse("json_not_utf8", "the body is not UTF-8", "send UTF-8 without a byte order mark")
    except RecursionError:
        _too_deep()
    except msgspec.DecodeError as error:  # includes numbers out of range
        _refuse("json_malformed", f"the body is not strict JSON{_where(error)}", "no comments, NaN, Infinity or lone surrogates")
    _check_nesting(value, MAX_DEPTH)
    _check_values(value)
    return value


def _check_nesting(value: Any, room: int) -> None:
    """Refuses what is nested too deep or too wide at or below `value`."""
    if type(value) is dict:
        if len(value) > MAX_KEYS:
            _refuse("json_too_many_keys", f"an object has more than {MAX_KEYS} keys", "send fewer, larger groups")
        inner: Iterable[Any] = value.values()
    elif type(value) is list:
        inner = value
    else:
        return
    if room <= 0:
        _too_deep()
    for item in inner:
        if type(item) is dict or type(item) is list:
            _check_nesting(item, room - 1)


def may_hold_odd_text(body: bytes) -> bool:
    """False when no string can be too long or hold NUL: then no value needs a look."""
    escapes = b"\\" in body
    if escapes and b"\\u0000" in body:
        return True
    if len(body) <= MAX_STRING_BYTES:
        return False
    if escapes and b'\\"' in body:
        return True  # a string may hold quotes: a block with one proves nothing
    return any(body.find(b'"', start, start + QUIET_BLOCK) < 0 for start in range(0, len(body) - QUIET_BLOCK + 1, QUIET_BLOCK))


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


def each_key_once(body: bytes, value: Any) -> bool:
    r"""True when it is proven that no object of `body`, which decoded to `value`, has a key twice.

    Written again, `value` has each key once, so an equal text has too. In a text written otherwise, with blanks or escapes, each
    colon ends a key or stands in a string. Both go when a decoder drops a pair, so as many colons prove that none was dropped,
    unless an escape (`\u003a`) put a colon into a string that is none in the text.
    """
    written = _encode(value)
    return written == body or ((b"\\" not in body or b"\\u003" not in body) and written.count(b":") == body.count(b":"))


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


def _too_deep() -> NoReturn:
    _refuse("json_too_deep", f"the body is nested deeper than {MAX_DEPTH} levels", "flatten it")


def _refuse(code: str, message: str, hint: str) -> NoReturn:
    raise RequestError(message, status=400, code=code, hint=hint)
