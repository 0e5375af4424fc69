"""The last look: a text in a finished request shows no personal data that the policy did not let out.

A destination gets only what `clean` let out, so nothing should ever be found here. What is looked for are faults: a mapping that
takes a value from elsewhere, forgets a hash, or keeps something of an earlier event (issue 4.9). A text passes when it shows no
personal data, or when what it shows stems from a field that left the policy in clear. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import Final

from ebbgate.model import CleanEvent, Value
from ebbgate.policy.detect import _FINDERS as FINDERS
from ebbgate.policy.detect import suspect, unwrapped
from ebbgate.policy.plan import Policy
from ebbgate.policy.prepare import shape_of

#: Keys under which platforms take a person's own data: a value there must be a digest or stem from the event.
PERSONAL_KEYS: Final = frozenset({
    "email", "emails", "e_mail", "email_address", "em", "phone", "phones", "phone_number", "ph", "fn", "ln", "first_name",
    "last_name", "firstname", "lastname", "db", "dob", "birthday", "ip", "ip_address", "client_ip_address", "ip_override", "cip",
})  # fmt: skip
#: An unknown kind is told by its key, a bare row of digits by its length.
FIELD: Final = "field"
PHONE: Final = "phone"

_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2}){8,128}\Z")
#: Identifiers and times, which hold nothing: UUIDs, ISO times, unix times in s, ms, µs and ns of this age.
CODE: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z"
    r"|[0-9]{4}-[01][0-9]-[0-3][0-9](?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:Z|\+00:00)?)?\Z"
    r"|1[0-9]{9}(?:[0-9]{3}){0,3}\Z"
)
_BARE_DIGITS: Final = re.compile(r"\+?[0-9]{10,15}\Z")
_LOCAL: Final = 7  #: digits of a telephone number that are the same in all its forms
_NOT_ALNUM: Final = re.compile(r"[\W_]+")
_BETWEEN: Final = re.compile(r"[^\w\n]+|_+")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z|[A-Za-z0-9+/]{43}=\Z")


class Allowance:
    """What the events of one request may show: the values that their policies let out."""

    def __init__(self, cleans: Sequence[CleanEvent], policies: Mapping[str, Policy]) -> None:
        """`policies`: file name → policy in force, for what it does about each kind of personal data in free text."""
        self._cleans = cleans
        self._policies = policies

    @cached_property
    def own(self) -> AbstractSet[str]:
        """Texts that may stand as they are."""
        own: set[str] = set()
        for clean in self._cleans:
            own.update((clean.id, clean.name, clean.site))
            for value in clean.fields.values():
                if type(value) is str:
                    own.add(value)
                elif type(value) is tuple:
                    own.update(_strings(value))
        return own

    def identities(self) -> AbstractSet[int]:
        """Identities of the same values: what a mapping hands on as it is needs no look at its characters."""
        found: set[int] = set()
        for clean in self._cleans:
            found.update((id(clean.id), id(clean.name), id(clean.site)))
            found.update(map(id, clean.fields.values()))
            for value in clean.fields.values():
                if type(value) is tuple:
                    for item in value:
                        found.update(map(id, item.values()) if isinstance(item, Mapping) else (id(item),))
        return found

    @cached_property
    def _typed(self) -> str:
        """Values of fields that are no free text: an e-mail address in `user.email` may leave where that field may."""
        return _searchable(text for clean in self._cleans for text in self._of(clean, free=False))

    def _free(self, kind: str) -> str:
        """Free text of the events whose policy does nothing about such personal data in it, wrapped text too."""
        texts = (text for clean in self._cleans if not self._acts(clean, kind) for text in self._of(clean, free=True))
        return _searchable(layer for text in texts for layer in unwrapped(text))

    def _acts(self, clean: CleanEvent, kind: str) -> bool:
        policy = self._policies.get(clean.policy_file)
        return policy is not None and policy.everywhere.actions.get(kind, "report") != "report"

    def _of(self, clean: CleanEvent, *, free: bool) -> Iterator[str]:
        policy = self._policies.get(clean.policy_file)
        words = frozenset(shape_of(tuple(clean.fields), policy.everywhere).scanned) if policy is not None else frozenset[str]()
        for path, value in clean.fields.items():
            if (path in words) is free:
                yield from _strings(value)
                if free:
                    yield path  # a name of the site's own is text too
            elif not free and path == "order.items" and isinstance(value, tuple):
                yield from (str(item[k]) for item in value if isinstance(item, Mapping) for k in ("id", "sku") if k in item)

    def covers(self, kind: str, found: str) -> bool:
        """True when what was found stems from a field that left the policy in clear."""
        plain = found.strip().casefold()
        bare = _NOT_ALNUM.sub("", plain)
        if kind in (PHONE, FIELD) and bare.isdigit():
            bare = bare[-_LOCAL:]  # the same number with its country's code, or without
        told = self._typed
        if plain in told or (len(bare) >= _LOCAL and bare in told):
            return True
        told = self._free(kind)
        return plain in told or (len(bare) >= _LOCAL and bare in told)


def _strings(value: Value) -> Iterator[str]:
    if not isinstance(value, tuple):
        yield str(value)
        return
    for item in value:
        if isinstance(item, Mapping):
            yield from (str(v) for v in item.values())
        else:
            yield str(item)


def _searchable(texts: Iterable[str]) -> str:
    """The texts in small letters, each with and without what stands between letters and digits."""
    whole = "\n".join(texts).casefold()
    return f"{whole}\n{_BETWEEN.sub('', whole)}"


def shown(key: str, text: str, allowance: Allowance) -> str | None:
    """The kind of personal data that a text under a key shows without leave, "" when it has leave, None when it shows none.

    None holds for every event, "" only for these. `text` is not one of `allowance.own`.
    """
    if key in PERSONAL_KEYS and text and not _DIGEST.match(text):
        return "" if allowance.covers(FIELD, text) else FIELD
    if CODE.match(text):
        return None
    if _BARE_DIGITS.match(text):
        return "" if allowance.covers(PHONE, text) else PHONE
    inner = _from_hex(text) if _HEX.match(text) else text
    if not suspect(inner):
        return None
    said: str | None = None
    for layer in unwrapped(inner):
        for kind, find in FINDERS.items():
            for start, end in find(layer):
                if not allowance.covers(kind, layer[start:end]):
                    return kind
                said = ""
    return said


def _from_hex(text: str) -> str:
    """The text that hexadecimal digits stand for, or plain digits themselves; "" for a digest or an id, which stand for none."""
    raw = bytes.fromhex(text)
    found = raw.decode("ascii") if raw.isascii() else ""
    if found and found.isprintable():
        return found
    return text if text.isdigit() else ""
