"""The egress check: every text of a finished request is looked at once more right before its intent is written (issue 4.9).

Most texts are the events' own values as the policy let them out, or constants of the mapping that were looked at before; both cost
one look into a set. What is left is searched for personal data (`policy/egress.py`). Whatever cannot be read is not sent.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, unquote_plus, urlsplit

import msgspec

from ebbgate.destinations.kit import DestinationSettings, HttpRequest, Row
from ebbgate.destinations.packed import is_zstd, unpacked_zstd
from ebbgate.model import CleanEvent
from ebbgate.policy.egress import CODE, PERSONAL_KEYS, Allowance, shown
from ebbgate.policy.plan import Policy

#: Reason of the outcome, and the kind for a request that cannot be read.
BLOCKED: Final = "egress_blocked"
UNREADABLE: Final = "unreadable"

FEW: Final = 8  #: rows up to which the finished body itself is looked at
_KEPT: Final = 4096  #: constants remembered
_LONGEST: Final = 200  #: characters of one
_SHORTEST: Final = 6  #: characters of the shortest e-mail address; nothing else of a person is shorter
_PART: Final = 1 << 15  #: characters taken at once
_DEPTH: Final = 4  #: texts within texts
_MOST: Final = 64 << 20  #: bytes that a packed body may unfold to

#: Characters of JSON outside its strings.
_BESIDE: Final = "{}[]:, \t\r\n0123456789.eE+-truefalsn"
_LONG: Final = re.compile(r"[0-9]{10,}")
_NO_NUMBER: Final = re.compile(r"1[0-9]{9}(?:[0-9]{3}){0,3}\Z|[0-9]{20}")  #: times in s, ms, µs, ns; what is longer than any number
_DECODE: Final = msgspec.json.Decoder().decode


class Outgoing:
    """Looks at the requests of one destination. Remembers texts without personal data, never any other."""

    def __init__(self, settings: Any) -> None:
        """`settings`: of the destination; its own words, such as an account number, may stand in every request."""
        self._settled = frozenset(_words(settings))
        self._harmless: set[str] = set()

    def leak(self, request: HttpRequest, cleans: Sequence[CleanEvent], policies: Mapping[str, Policy]) -> str:
        """The kind of personal data that this request of these events shows without leave; "" when it may be sent.

        `policies`: file name → policy in force. Never raises.
        """
        try:
            allowance = Allowance(cleans, policies)
            return (
                self._address(request, allowance)
                or self._headers(request, allowance)
                or self._json(_content(request.body), allowance)
            )
        except Exception:  # noqa: BLE001  whatever is wrong with the request or with this look, it is not sent
            return UNREADABLE

    def leak_of_many(
        self,
        request: HttpRequest,
        rows: Sequence[Row],
        cleans: Sequence[CleanEvent],
        policies: Mapping[str, Policy],
        envelope: Callable[[Sequence[Row]], HttpRequest],
    ) -> str:
        """The same for a request of many rows, at a fraction of the cost: each row by what its own event may show.

        An envelope is a pure function of rows and settings. What it adds is seen on the finished request of the first row alone;
        address and headers are those of `request` itself. Never raises.
        """
        try:
            for row, clean in zip(rows, cleans, strict=True):
                if found := self._row(row, Allowance((clean,), policies)):
                    return found
            allowance = Allowance(cleans[:1], policies)
            headers = self._address(request, allowance) or self._headers(request, allowance)
        except Exception:  # noqa: BLE001  as above
            return UNREADABLE
        return headers or self.leak(envelope(rows[:1]), cleans[:1], policies)

    def _row(self, row: Row, allowance: Allowance) -> str:
        """Every key and every value of a row. Lists stand under the key of what holds them."""
        own, harmless = allowance.identities(), self._harmless
        stack: list[tuple[str, Any]] = [("", row)]
        while stack:
            key, found = stack.pop()
            kind: Any = type(found)
            if kind is dict:
                if not harmless.issuperset(found) and (leak := self._keys(found, allowance)):
                    return leak
                for name, value in found.items():
                    if id(value) in own:
                        continue
                    what = type(value)
                    if what is str:
                        if value in harmless and name not in PERSONAL_KEYS:
                            continue
                        if not CODE.match(value) and (leak := self._text(name, value, allowance)):
                            return leak
                    elif what is int or what is float:
                        if not -1e9 < value < 1e9 and (leak := self._number(value, allowance)):
                            return leak
                    elif what is not bool and value is not None:
                        stack.append((name, value))
            elif kind is list or kind is tuple:
                stack += [(key, value) for value in found]
            elif kind is str:
                if id(found) not in own and (leak := self._text(key, found, allowance)):
                    return leak
            elif isinstance(found, (int, float)):
                if not -1e9 < found < 1e9 and (leak := self._number(found, allowance)):
                    return leak
            elif isinstance(found, Mapping):
                stack.append((key, dict(found)))
            elif found is not None:
                return UNREADABLE
        return ""

    def _keys(self, found: Iterable[str], allowance: Allowance) -> str:
        for name in found:
            if leak := self._text("", name, allowance):
                return leak
            if len(name) < _SHORTEST:
                self._remember(name)
        return ""

    def _number(self, found: float, allowance: Allowance) -> str:
        """A number long enough for a telephone's or a card's."""
        digits = format(abs(found), ".0f")
        return "" if _NO_NUMBER.match(digits) else shown("", digits, allowance) or ""

    def _address(self, request: HttpRequest, allowance: Allowance) -> str:
        url = request.url
        if url in self._harmless:
            return ""
        parts = urlsplit(url)
        # Where it may go is the client's to say; here the path and the parameters are texts like others.
        found = self._text("", unquote(parts.path), allowance) or self._query(parts.query, allowance, request.secret_params)
        if not found and not parts.query:
            self._remember(url)
        return found

    def _headers(self, request: HttpRequest, allowance: Allowance) -> str:
        for name, value in request.headers:
            if value not in self._harmless and name not in request.secret_headers and (found := self._text("", value, allowance)):
                return found
        return ""

    def _query(self, query: str, allowance: Allowance, secret: Iterable[str] = ()) -> str:
        own, harmless = allowance.own, self._harmless
        for pair in query.split("&"):
            name, _, value = pair.partition("=")
            if "%" in value or "+" in value:
                value = unquote_plus(value, errors="replace")
            if name not in harmless and name not in own and (found := self._text("", unquote_plus(name), allowance)):
                return found
            if value not in own and name not in secret and (found := self._text(name, value, allowance)):
                return found
        return ""

    def _json(self, text: str, allowance: Allowance, depth: int = 0) -> str:
        """Every string of JSON, keys too, and every long number. Raises ValueError for what is no JSON."""
        told = _decoded(text) if "\\" in text else _quickly(text, self._harmless, allowance.own)
        for key, value in told.personal:
            if value not in allowance.own and value not in self._settled and (found := shown(key, value, allowance)):
                return found
        strings = told.strings
        strings -= self._harmless
        strings -= allowance.own
        for one in strings:
            if len(one) >= _SHORTEST and not CODE.match(one) and (found := self._text("", one, allowance, depth)):
                return found
        for digits in told.numbers:
            if not _NO_NUMBER.match(digits) and (found := shown("", digits, allowance)):
                return found
        return ""

    def _text(self, key: str, text: str, allowance: Allowance, depth: int = 0) -> str:
        personal = key in PERSONAL_KEYS
        if not personal and (len(text) < _SHORTEST or text in self._harmless):
            return ""
        if text in self._settled or text in allowance.own:
            return ""
        if depth < _DEPTH:
            first = text[:1]
            if first == "?" and "=" in text:
                return self._query(text[1:], allowance)
            inner = _inner(text) if first in ("{", "[") or text[:3] == "eyJ" else ""
            if inner:
                return self._json(inner, allowance, depth + 1)
        found = shown(key, text, allowance)
        if found is None and not personal:
            self._remember(text)
        return found or ""

    def _remember(self, text: str) -> None:
        """A text that shows nothing of anybody. The words and addresses of a mapping come again with every event."""
        if len(text) <= _LONGEST:
            if len(self._harmless) >= _KEPT:
                self._harmless.clear()
            self._harmless.add(text)


def _content(body: bytes) -> str:
    """The text of a body, unpacked where it is packed. Raises ValueError (or zlib.error) for what is no text."""
    if body[:2] == b"\x1f\x8b":
        unpacker = zlib.decompressobj(wbits=31)
        body = unpacker.decompress(body, _MOST)
        if not unpacker.eof or unpacker.unused_data:
            raise ValueError("packed in a form that is not known")
    elif is_zstd(body):
        body = unpacked_zstd(body, _MOST)
    return body.decode()


class _Told(NamedTuple):
    """What stands in JSON."""

    strings: set[str]  #: keys too
    personal: list[tuple[str, str]]  #: texts under the keys that platforms have for a person's own data
    numbers: list[str]  #: the long ones, as digits


def _quickly(text: str, harmless: AbstractSet[str], own: AbstractSet[str]) -> _Told:
    """Of JSON without a backslash, without the strings that are known: every second piece between quotation marks is a string.

    Several times as fast as decoding it. A long body is taken in parts, which end behind a string, so that little is in memory.
    """
    told = _Told(set(), [], [])
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
        strings -= harmless
        strings -= own
        told.strings.update(strings)
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


def _decoded(text: str) -> _Told:
    """The same of any JSON or lines of JSON."""
    try:
        found = _DECODE(text)
    except msgspec.DecodeError:
        found = [_DECODE(line) for line in text.splitlines() if line.strip()]
    told = _Told(set(), [], [])
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


def _inner(text: str) -> str:
    """The JSON that a text is, plain or in base64; "" when it is none."""
    try:
        if text[:3] == "eyJ":
            text = base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True).decode()
        _DECODE(text)
    except (ValueError, binascii.Error):
        return ""
    return text


def _words(settings: Any) -> set[str]:
    """Every text in a destination's settings, secrets too."""
    found: set[str] = set()
    stack: list[Any] = [settings.model_dump() if isinstance(settings, DestinationSettings) else None]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            found.add(value)
        elif isinstance(value, Mapping):
            stack += [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple)):
            stack += value
        elif hasattr(value, "get_secret_value"):
            stack.append(value.get_secret_value())
    return found
