"""The last look: a text in a finished request shows no personal data that the policy did not let out.

A destination gets only what `clean` let out, so nothing should ever be found here. What is looked for are faults: a mapping that
takes a value from elsewhere, forgets a hash, or keeps something of an earlier event (issue 4.9). A text passes when it shows no
personal data, or when what it shows stems from a field that left the policy in clear. A digest shows personal data too: it passes
when it is one that the policy made, or when it is made of what the event may show. Pure.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import Final

from ebbgate.model import CleanEvent, Scalar, Value
from ebbgate.policy.detect import finds, suspect, unwrapped
from ebbgate.policy.plan import Policy
from ebbgate.policy.prepare import shape_of

#: Keys under which platforms take a person's own data: a value there must be a digest or stem from the event.
PERSONAL_KEYS: Final = frozenset({
    "email", "emails", "e_mail", "email_address", "em", "phone", "phones", "phone_number", "ph", "fn", "ln", "first_name",
    "last_name", "firstname", "lastname", "db", "dob", "birthday", "ip", "ip_address", "client_ip_address", "ip_override", "cip",
})  # fmt: skip
#: An unknown kind is told by its key, a bare row of digits by its length, a digest by its form.
FIELD: Final = "field"
PHONE: Final = "phone"
DIGEST: Final = "digest"

_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2}){8,4096}\Z")
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
#: MD5, SHA-1 and SHA-256 in hexadecimal; SHA-256 in base64.
_DIGEST: Final = re.compile(
    r"(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9A-F]{32}|[0-9A-F]{40}|[0-9A-F]{64}|[A-Za-z0-9+/_-]{43}=)\Z"
)
_BY_LENGTH: Final = {32: (hashlib.md5, hashlib.sha256), 40: (hashlib.sha1, hashlib.sha256), 64: (hashlib.sha256,)}
#: What shows a person read backwards too. Bare digits do not: backwards, one order number in ten has a card's check digit.
_BACKWARDS: Final = ("email", "iban", "phone")
#: gzip in base64 begins like this (RFC 1952 §2.3.1), and so much of it is looked at.
_PACKED: Final = re.compile(r"H4sI[A-Za-z0-9+/_-]{16,65536}={0,2}")
_MOST: Final = 1 << 16


class Allowance:
    """What the events of one request may show: the values that their policies let out."""

    def __init__(
        self,
        cleans: Sequence[CleanEvent],
        policies: Mapping[str, Policy],
        settled: AbstractSet[str] = frozenset(),
        body: bytes = b"",
    ) -> None:
        """`policies`: file name → policy in force, for what it does about each kind of personal data in free text.

        `settled`: words of the destination's settings. `body`: of the request, whose digest its headers and address may tell.
        """
        self._cleans = cleans
        self._policies = policies
        self._settled = settled
        self._body = body

    @cached_property
    def own(self) -> AbstractSet[Scalar]:
        """Texts and numbers that may stand as they are."""
        own: set[Scalar] = set(self.products)
        for clean in self._cleans:
            own.update((clean.id, clean.name, clean.site, clean.policy))
            own.update([value for value in clean.fields.values() if not isinstance(value, tuple)])
        return own

    @cached_property
    def products(self) -> AbstractSet[Scalar]:
        """What stands in lists: of products, or of a site's own words."""
        found: set[Scalar] = set()
        for clean in self._cleans:
            for value in clean.fields.values():
                if isinstance(value, tuple):
                    for item in value:
                        found.update(item.values() if isinstance(item, _MAPPING) else (item,))
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

    def explains(self, digest: str) -> bool:
        """True for a digest that left the policy as one, that stands in the settings, or that is made of what may be shown.

        An id in hexadecimal looks the same, and passes where it stems from the event. The first digits of SHA-256 count as a
        digest of their length: platforms that take shorter ids get those.
        """
        if digest in self.own or (self._body and digest in _digests(self._body, len(digest))):
            return True
        if any(digest in word for word in self._settled) or self.covers(DIGEST, digest):
            return True
        texts = {str(value) for value in self.own}
        shown = {spelt.encode("utf-8", "replace") for text in texts for spelt in (text, text.strip(), text.strip().lower())}
        return any(digest in _digests(data, len(digest)) for data in shown)


def _digests(data: bytes, length: int) -> tuple[str, ...]:
    """Digests of so many characters, in small and in capital letters; 44 are those of SHA-256 in base64."""
    if length == _BASE64:
        found = b64encode(hashlib.sha256(data).digest()).decode()
        return (found, found.translate(_TO_URLSAFE))
    made = tuple(make(data, usedforsecurity=False).hexdigest()[:length] for make in _BY_LENGTH[length])
    return (*made, *(one.upper() for one in made))


_BASE64: Final = 44
_TO_URLSAFE: Final = str.maketrans("+/", "-_")
#: Nearly every product is a dict, which is checked several times faster than the abstract class.
_MAPPING: Final = (dict, Mapping)


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
    if CODE.match(text) and key not in PERSONAL_KEYS:
        return None
    if _DIGEST.match(text) and not text.isdigit():
        return "" if allowance.explains(text) else DIGEST
    if key in PERSONAL_KEYS and text:
        return "" if allowance.covers(FIELD, text) else FIELD
    if _BARE_DIGITS.match(text):
        return "" if allowance.covers(PHONE, text) else PHONE
    inner = _from_hex(text) if _HEX.match(text) else text
    if not suspect(inner) and "H4sI" not in inner:
        return None
    said: str | None = None
    for layer in _layers(inner):
        for kind, find in _found(layer):
            if not (allowance.covers(kind, find) or allowance.covers(kind, find[::-1])):
                return kind
            said = ""
    return said


def _layers(text: str) -> Iterator[str]:
    """The text, what it decodes to, and what is packed in it."""
    yield from unwrapped(text)
    for found in _PACKED.findall(text) if "H4sI" in text else ():
        word = found.rstrip("=")
        yield from unwrapped(_unpacked(urlsafe_b64decode(word.translate(_TO_URLSAFE) + "=" * (-len(word) % 4))))


def _found(text: str) -> Iterator[tuple[str, str]]:
    """(kind, find) of everything in a text; where nothing is, of what shows itself when the text is read backwards."""
    nothing = True
    for kind, start, end in finds(text):
        nothing = False
        yield kind, text[start:end]
    if nothing:
        back = text[::-1]
        for kind, start, end in finds(back, _BACKWARDS):
            find = back[start:end]
            if kind != PHONE or find[0] == "+":
                yield kind, find


def _from_hex(text: str) -> str:
    """The text that hexadecimal digits stand for, or plain digits themselves; "" for a digest or an id, which stand for none."""
    raw = bytes.fromhex(text)
    if raw[:2] == b"\x1f\x8b":
        return _unpacked(raw)
    found = raw.decode("ascii") if raw.isascii() else ""
    if found and found.isprintable():
        return found
    return text if text.isdigit() else ""


def _unpacked(raw: bytes) -> str:
    """The text in packed bytes, as far as it goes; what cannot be unpacked holds none."""
    try:
        return zlib.decompressobj(wbits=31).decompress(raw, _MOST).decode("utf-8", "replace")
    except zlib.error:
        return ""
