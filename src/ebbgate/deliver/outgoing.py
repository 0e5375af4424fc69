"""The egress check: every text of a finished request is looked at once more right before its intent is written (issue 4.9).

Most texts are the events' own values as the policy let them out, or constants of the mapping that were looked at before; both cost
one look into a set. What is left is searched for personal data (`policy/egress.py`). Whatever cannot be read is not sent.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any, Final, TypeAlias
from urllib.parse import unquote, urlsplit

import msgspec

from ebbgate.deliver.bodies import content, decoded, inner_of, quickly, unquoted
from ebbgate.destinations.kit import DestinationSettings, HttpRequest, Row
from ebbgate.fields import FIELDS
from ebbgate.model import EMPTY, CleanEvent, Value
from ebbgate.policy.detect import suspect
from ebbgate.policy.egress import CODE, PERSONAL_KEYS, Allowance, shown
from ebbgate.policy.plan import Policy

#: Reason of the outcome, and the kind for a request that cannot be read.
BLOCKED: Final = "egress_blocked"
UNREADABLE: Final = "unreadable"

FEW: Final = 8  #: rows up to which the finished body itself is looked at
_KEPT: Final = 4096  #: constants remembered
_LONGEST: Final = 200  #: characters of one
_SHORTEST: Final = 6  #: characters of the shortest e-mail address; nothing else of a person is shorter
_SHAPES: Final = 512  #: sets of keys remembered
_WIDE: Final = 96  #: keys of one
_DEPTH: Final = 4  #: texts within texts
_NO_NUMBER: Final = re.compile(r"1[0-9]{9}(?:[0-9]{3}){0,3}\Z|[0-9]{20}")  #: times in s, ms, µs, ns; what is longer than any number
_HEX: Final = re.compile(r"(?<![0-9A-Za-z])[0-9a-f]{32,64}(?![0-9A-Za-z])")
_ENCODE: Final = msgspec.json.Encoder().encode


class Outgoing:
    """Looks at the requests of one destination. Remembers texts without personal data, never any other."""

    def __init__(self, settings: Any) -> None:
        """`settings`: of the destination; its own words, such as an account number, may stand in every request."""
        self._settled = frozenset(_words(settings))
        self._harmless: set[str] = set()
        self._mappings: dict[tuple[str, ...], _Mapping] = {}

    def leak(self, request: HttpRequest, cleans: Sequence[CleanEvent], policies: Mapping[str, Policy]) -> str:
        """The kind of personal data that this request of these events shows without leave; "" when it may be sent.

        `policies`: file name → policy in force. Never raises.
        """
        try:
            allowance = Allowance(cleans, policies, self._settled, request.body)
            return (
                self._address(request, allowance)
                or self._headers(request, allowance)
                or self._json(content(request.body), allowance)
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
                if found := self._values("", row, Allowance((clean,), policies, self._settled), clean):
                    return found
            allowance = Allowance(cleans[:1], policies, self._settled, request.body)
            headers = self._address(request, allowance) or self._headers(request, allowance)
            return headers or self.leak(envelope(rows[:1]), cleans[:1], policies)
        except Exception:  # noqa: BLE001  as above
            return UNREADABLE

    def _values(self, key: str, held: Any, allowance: Allowance, clean: CleanEvent | None = None, depth: int = 0) -> str:
        """Every key and every value of what holds others. Lists stand under the key of what holds them.

        `clean`: the one event that all of it is made of, if it is one.
        """
        harmless, mappings = self._harmless, self._mappings
        fields: Mapping[str, Value] = EMPTY if clean is None else clean.fields
        own: set[int] | None = None  #: identities of the event's own values, where they are asked for
        stack: list[tuple[str, Any]] = [(key, held)]
        while stack:
            key, found = stack.pop()
            pairs: Iterable[tuple[str, Any]]
            if type(found) is dict:
                known = mappings.get(names := tuple(found))
                if known is None:
                    known = _Mapping(names, found, fields)
                    if leak := self._keys(known, allowance):
                        return leak
                names = known.left(found, fields)
                pairs = zip(names, map(found.__getitem__, names), strict=True)
            elif type(found) is list or type(found) is tuple:
                pairs = zip(repeat(key), found, strict=False)
            elif isinstance(found, Mapping):
                stack.append((key, dict(found)))
                continue
            else:
                return UNREADABLE
            for name, value in pairs:
                kind = type(value)
                if kind is str:
                    if (len(value) < _SHORTEST or value in harmless) and name not in PERSONAL_KEYS:
                        continue
                    if clean is not None:
                        if value is clean.id or value is clean.name or value is clean.policy:
                            continue
                        if own is None:
                            own = set(map(id, fields.values()))
                        if id(value) in own:
                            continue
                    if value[:1] == "[" and "order.items" in fields and value.encode() == _ENCODE(fields["order.items"]):
                        continue
                    if (inner := inner_of(value)) is not None:
                        stack.append((name, inner))
                    elif leak := self._text(name, value, allowance, depth):
                        return leak
                elif kind is int or kind is float:
                    if not -1e9 < value < 1e9 and (leak := self._number(value, allowance)):
                        return leak
                elif kind is not bool and value is not None:
                    stack.append((name, value))
        return ""

    def _keys(self, mapping: _Mapping, allowance: Allowance) -> str:
        """The keys of a mapping are texts too. Those that show nothing of anybody are remembered together."""
        for name in mapping.names:
            if leak := self._text("", name, allowance):
                return leak
        if all(len(name) < _SHORTEST or name in self._harmless for name in mapping.names) and len(mapping.names) <= _WIDE:
            if len(self._mappings) >= _SHAPES:
                self._mappings.clear()
            self._mappings[mapping.names] = mapping
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
        path = unquote(parts.path)
        found = alike = self._text("", path, allowance)
        if alike:
            # A file is named by the digest of its lines, and one in thirty such names looks like an account number.
            path = _HEX.sub(lambda name: "" if _names(name[0], request.body) else name[0], path)
            found = self._text("", path, allowance)
        found = found or self._query(parts.query, allowance, request.secret_params)
        if not found and not alike and not parts.query:
            self._remember(url)
        return found

    def _headers(self, request: HttpRequest, allowance: Allowance) -> str:
        for name, value in request.headers:
            if value not in self._harmless and name not in request.secret_headers and (found := self._text("", value, allowance)):
                return found
        return ""

    def _query(self, query: str, allowance: Allowance, secret: Iterable[str] = (), depth: int = 0) -> str:
        harmless = self._harmless
        for pair in query.split("&"):
            name, _, value = pair.partition("=")
            if len(name) >= _SHORTEST and name not in harmless and (found := self._text("", unquoted(name), allowance, depth)):
                return found
            if name in secret or ((len(value) < _SHORTEST or value in harmless) and name not in PERSONAL_KEYS):
                continue
            if found := self._text(name, unquoted(value), allowance, depth):
                return found
        return ""

    def _json(self, text: str, allowance: Allowance) -> str:
        """Every string of JSON, keys too, and every long number. Raises ValueError for what is no JSON."""
        told = decoded(text) if "\\" in text else quickly(text, self._harmless, allowance.own)
        for key, value in told.personal:
            if value not in allowance.own and value not in self._settled and (found := shown(key, value, allowance)):
                return found
        for one in told.strings.difference(self._harmless, allowance.own):
            if found := self._text("", one, allowance):
                return found
        for digits in told.numbers:
            if not _NO_NUMBER.match(digits) and (found := shown("", digits, allowance)):
                return found
        return ""

    def _text(self, key: str, text: str, allowance: Allowance, depth: int = 0) -> str:
        personal = key in PERSONAL_KEYS
        if not personal:
            if len(text) < _SHORTEST or text in self._harmless or CODE.match(text):
                return ""
            if text in allowance.products:
                if not suspect(text):
                    self._remember(text)  # products come again, with other visitors
                return ""
        if text in self._settled or text in allowance.own:
            return ""
        if depth < _DEPTH:
            if text[:1] == "?" and "=" in text:
                return self._query(text[1:], allowance, depth=depth + 1)
            if (inner := inner_of(text)) is not None:
                return self._values(key, inner, allowance, depth=depth + 1)
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


_Pull: TypeAlias = Callable[[Mapping[str, Any]], tuple[Any, ...]]


class _Mapping:
    """What one mapping of a row, known by its keys, takes over from the event as it is.

    A mapping mostly puts the same fields under the same keys, so that both are pulled and compared at once. What was found the same
    for one event is only a guess about the next: where it fails, every value is looked at, and the guess becomes smaller.
    """

    def __init__(self, names: tuple[str, ...], found: Mapping[str, Any], fields: Mapping[str, Value]) -> None:
        self.names = names
        # Names that a site made up may be personal data themselves: nothing is remembered about those fields.
        paths = {id(value): path for path, value in fields.items() if path in FIELDS}
        self._learn({name: paths[id(value)] for name, value in found.items() if id(value) in paths})

    def _learn(self, same: dict[str, str]) -> None:
        self._same = same
        self._other = tuple(name for name in self.names if name not in same)
        self._of_row: _Pull = itemgetter(*same) if same else _nothing
        self._of_event: _Pull = itemgetter(*same.values()) if same else _nothing

    def left(self, found: Mapping[str, Any], fields: Mapping[str, Value]) -> tuple[str, ...]:
        """The keys whose values do not come straight from the event."""
        try:
            if self._of_row(found) == self._of_event(fields):
                return self._other
        except KeyError:  # the event has not all of these fields
            pass
        unlike = object()
        self._learn({name: path for name, path in self._same.items() if found[name] == fields.get(path, unlike)})
        return self.names


def _names(name: str, body: bytes) -> bool:
    """True for the first digits of the SHA-256 of what a body holds."""
    return hashlib.sha256(content(body).encode()).hexdigest().startswith(name)


def _nothing(_: Mapping[str, Any]) -> tuple[()]:
    return ()


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
