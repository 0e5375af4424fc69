"""Reading what is about to be sent: bodies, queries, and texts that hold others, into the strings and numbers they are made of.

Written for speed: most bodies are taken apart without being decoded. What cannot be read raises, and is not sent then. Pure.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import msgspec

from ebbgate.destinations.packed import is_zstd, unpacked_zstd
from ebbgate.model import Scalar
from ebbgate.policy.egress import PERSONAL_KEYS

_PART: Final = 1 << 15  #: characters taken at once
_MOST: Final = 64 << 20  #: bytes that a packed body may unfold to

#: Characters of JSON outside its strings.
_BESIDE: Final = "{}[]:, \t\r\n0123456789.eE+-truefalsn"
_LONG: Final = re.compile(r"[0-9]{10,}")
_QUOTED: Final = tuple((f"%{ord(sign):02X}", sign) for sign in '":/,=&?{}[] ')
_DECODE: Final = msgspec.json.Decoder().decode


def unquoted(text: str) -> str:
    """A name or a value of a query as it was before it was quoted."""
    if "+" in text:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    if "%25" not in text:
        # Most of what is quoted are these. No sign of percent comes of it, so that nothing is taken for quoted that was not.
        for quoted, sign in _QUOTED:
            text = text.replace(quoted, sign)
        if "%" not in text:
            return text
    return unquote(text, errors="replace")


def content(body: bytes) -> str:
    """The text of a body, unpacked where it is packed. Raises ValueError (or zlib.error) for what is no text."""
    if body[:2] == b"\x1f\x8b":
        unpacker = zlib.decompressobj(wbits=31)
        body = unpacker.decompress(body, _MOST)
        if not unpacker.eof or unpacker.unused_data:
            raise ValueError("packed in a form that is not known")
    elif is_zstd(body):
        body = unpacked_zstd(body, _MOST)
    return body.decode()


class Told(NamedTuple):
    """What stands in JSON."""

    strings: set[str]  #: keys too
    personal: list[tuple[str, str]]  #: texts under the keys that platforms have for a person's own data
    numbers: list[str]  #: the long ones, as digits


def quickly(text: str, harmless: AbstractSet[str], own: AbstractSet[Scalar]) -> Told:
    """Of JSON without a backslash, without the strings that are known: every second piece between quotation marks is a string.

    Several times as fast as decoding it. A long body is taken in parts, which end behind a string, so that little is in memory.
    """
    told = Told(set(), [], [])
    begin, keys = 0, set[str]()
    while begin < len(text):
        end = text.find('"', begin + _PART) + 1 or len(text)
        if text.count('"', begin, end) % 2:
            end = text.index('"', end) + 1
        pieces = text[begin:end].split('"')
        rest = "".join(pieces[::2])
        if rest.strip(_BESIDE):
            raise ValueError("no JSON")
        told.numbers.extend(_LONG.findall(rest))
        strings = set(pieces[1::2])
        keys |= PERSONAL_KEYS & strings
        told.strings.update(strings.difference(harmless, own))
        begin = end
    for key in keys:
        told.personal.extend((key, value) for value in _under(key, text))
    return told


def _under(key: str, text: str) -> Iterator[str]:
    """Texts under a key, one or a list of them, in JSON without a backslash."""
    name = f'"{key}":'
    at = text.find(name)
    while at >= 0:
        at += len(name)
        while text[at : at + 1].isspace():
            at += 1
        if text[at : at + 1] == '"':
            yield text[at + 1 : text.index('"', at + 1)]
        elif text[at : at + 1] == "[":
            yield from text[at : text.index("]", at)].split('"')[1::2]
        at = text.find(name, at)


def decoded(text: str) -> Told:
    """The same of any JSON or lines of JSON."""
    try:
        found = _DECODE(text)
    except msgspec.DecodeError:
        found = [_DECODE(line) for line in text.splitlines() if line.strip()]
    told = Told(set(), [], [])
    stack: list[tuple[str, Any]] = [("", found)]
    while stack:
        key, value = stack.pop()
        if isinstance(value, dict):
            told.strings.update(value)
            stack += value.items()
        elif isinstance(value, list):
            stack += [(key, one) for one in value]
        elif isinstance(value, str):
            told.strings.add(value)
            if key in PERSONAL_KEYS:
                told.personal.append((key, value))
        elif isinstance(value, (int, float)) and not -1e9 < value < 1e9:
            told.numbers.extend(_LONG.findall(format(value, "f") if isinstance(value, float) else str(value)))
    return told


def inner_of(text: str) -> Any:
    """What a text holds that is JSON, plain or in base64: a list or a mapping. None when it is none."""
    first = text[:1]
    if first != "{" and first != "[" and text[:3] != "eyJ":
        return None
    try:
        if first == "e":
            text = base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True).decode()
        return _DECODE(text)
    except (ValueError, binascii.Error):
        return None
