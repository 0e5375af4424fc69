"""Canonical JSON: RFC 8785 (JCS) limited to strings, booleans, integers |n| < 2^53, arrays and objects.

No floats and no nulls, so one value has exactly one form (specs/reliability.md §3). Keys are lower-case ASCII words, which
makes sorting by code point equal to JCS' sorting by UTF-16 unit.
"""

from __future__ import annotations

import json
import re
from json.encoder import encode_basestring as _quoted
from typing import Any, Final, TypeAlias

from ebbgate.errors import EbbgateError

Json: TypeAlias = "str | bool | int | list[Json] | tuple[Json, ...] | dict[str, Json]"

MAX_INTEGER: Final = 2**53 - 1
MAX_DEPTH: Final = 8
_KEY: Final = re.compile(r"[a-z][a-z0-9_.]{0,63}")


class EntryError(EbbgateError):
    """A value or bytes that the log's format does not have. Names keys, never values."""

    code = "entry"


def quoted(text: str) -> str:
    """JSON string of `text`. Raises EntryError for lone surrogates, which have no UTF-8 form."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise EntryError("a string holds a lone surrogate") from None
    return _quoted(text)


def encode(value: Json, _depth: int = 0) -> str:
    """The one JSON text of `value`. Raises EntryError for floats, None, big integers, odd keys and deep nesting."""
    if _depth > MAX_DEPTH:
        raise EntryError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise EntryError("an integer is not below 2^53")
        return str(int(value))
    if isinstance(value, list | tuple):
        return "[" + ",".join([encode(v, _depth + 1) for v in value]) + "]"
    if isinstance(value, dict):
        for key in value:
            if not _KEY.fullmatch(key):
                raise EntryError("a key is not a lower-case word")
        return "{" + ",".join([f'"{k}":{encode(value[k], _depth + 1)}' for k in sorted(value)]) + "}"
    raise EntryError(f"{type(value).__name__} has no canonical form")


def decode(data: bytes) -> Any:
    """The value of canonical bytes. Raises EntryError when they are not exactly what `encode` makes."""
    try:
        value = json.loads(data.decode(), parse_float=_refuse, parse_constant=_refuse)
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise EntryError("not canonical JSON") from None
    if encode(value).encode() != data:  # duplicate keys, spaces, escapes and order all end here
        raise EntryError("not canonical JSON")
    return value


def _refuse(_: str) -> Any:
    raise EntryError("floats have no canonical form")
