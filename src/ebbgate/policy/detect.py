"""Personal data where it should not be: e-mail, phone, card, IBAN, IP, token, national id in free text.

Used on titles, addresses, search terms, campaign words, a site's own properties (names too) and product texts. Text is
unwrapped first (percent-encoding, base64, JSON in a string: at most three layers; specs/reliability.md §4, 7).
Every pattern has bounded repeats, so the time is linear in the length of the text. Nothing here raises.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator
from ipaddress import AddressValueError, IPv6Address
from typing import Final, TypeAlias
from urllib.parse import unquote_plus

LAYERS: Final = 3

_EMAIL: Final = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}(?:@|\(at\)|\[at\])[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}")
_JWT: Final = re.compile(r"\beyJ[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]{8,8192}(?:\.[A-Za-z0-9_-]{0,1024})?")
_DIGITS: Final = re.compile(r"(?<![0-9A-Za-z])[0-9](?:[ .-]?[0-9]){12,18}(?![0-9A-Za-z])")
_IBAN: Final = re.compile(r"(?<![0-9A-Za-z])[A-Za-z]{2}[0-9]{2}(?: ?[0-9A-Za-z]){11,30}(?![0-9A-Za-z])")
_IPV4: Final = re.compile(r"(?<![0-9A-Za-z.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z]|\.[0-9])")
_IPV6: Final = re.compile(r"(?<![0-9A-Za-z:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![0-9A-Za-z:])")
#: International (+49 …, 0049 …), five pairs, national with a leading 0 and a separator, or the North American grouping.
_PHONE: Final = re.compile(
    r"(?<![0-9A-Za-z+])(?:"
    r"(?:\+|00)[1-9](?:[ ./()-]{0,2}[0-9]){7,14}"
    r"|0[1-9](?:[ .-][0-9]{2}){4}"
    r"|0[1-9][ -][0-9]{4}[ -]?[0-9]{4}"
    r"|\(?0[1-9][0-9]{1,5}\)?(?:[ /-]{1,3}[0-9]{2,8}){1,4}"
    r"|\(?[2-9][0-9]{2}\)?[ .-][2-9][0-9]{2}[ .-][0-9]{4}"
    r")(?![0-9A-Za-z])"
)
_NATIONAL: Final = re.compile(
    r"(?<![0-9A-Za-z-])(?:[0-9]{3}-[0-9]{2}-[0-9]{4}"  # US social security
    r"|[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[-+A][0-9]{3}[0-9A-Z]"  # Nordic date and serial
    r"|[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]"  # Italian fiscal code
    r"|[0-9]{8}[A-HJ-NP-TV-Z]"  # Spanish identity card
    r"|[12][0-9]{2}(?:0[1-9]|1[0-2])[0-9]{10}"  # French social security
    r")(?![0-9A-Za-z-])"
)
_PERCENT: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_BASE64: Final = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{12,4096}={0,2}(?![A-Za-z0-9+/_=-])")
_JSON_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|([\"\\/]))")

#: Digits in the company that phones, cards, accounts, ids and addresses keep.
_MANY_DIGITS: Final = re.compile(
    r"[0-9](?:(?:[ ./()+-]{0,3}[0-9]){6}|[0-9]{0,2}\.[0-9]{1,3}\.[0-9]|[0-9][A-Z][0-9]{2}[A-Z][0-9]{3})"
)


def suspect(text: str) -> bool:
    """False when the text cannot hold anything that `kinds_in` finds: the cheap look at which most texts end."""
    return (
        "@" in text
        or "%" in text
        or "\\" in text
        or "eyJ" in text
        or "::" in text
        or "[at]" in text
        or "(at)" in text
        or text.count(":") >= 7
        or _MANY_DIGITS.search(text) is not None
        or any(map(_mixed_case, _BASE64.findall(text)))
    )


def _mixed_case(word: str) -> bool:
    """Encoded text has small and capital letters; the words of addresses and titles seldom have both."""
    return not word.islower() and not word.isupper() and not word.istitle() and not word.isdigit()


def kinds_in(text: str) -> frozenset[str]:
    """Kinds of personal data in a text, wrapped ones too: words of `if_free_text_contains`."""
    if not suspect(text):
        return frozenset()
    found: set[str] = set()
    for layer in unwrapped(text):
        found.update(kind for kind, find in _FINDERS.items() if kind not in found and any(True for _ in find(layer)))
    return frozenset(found)


def masked(text: str, kinds: frozenset[str]) -> str | None:
    """The text with every find of `kinds` replaced by `[kind]`; None when a find stands in a wrapped layer."""
    result = text
    for kind in sorted(kinds):
        spans = list(_FINDERS[kind](result))
        for start, end in reversed(spans):
            result = f"{result[:start]}[{kind}]{result[end:]}"
    return None if kinds_in(result) & kinds else result


def unwrapped(text: str) -> Iterator[str]:
    """The text and what it decodes to, at most three layers deep, until nothing changes."""
    layer = text
    yield layer
    for _ in range(LAYERS):
        inner = _decoded(layer)
        if inner == layer:
            return
        layer = inner
        yield layer


def _decoded(text: str) -> str:
    """One layer less: JSON escapes, percent-encoding and base64 words, each where it occurs."""
    if "\\" in text:
        text = _JSON_ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else m[2], text)
    if _PERCENT.search(text):
        return unquote_plus(text, errors="replace")
    return _BASE64.sub(_from_base64, text)


def _from_base64(found: re.Match[str]) -> str:
    word = found[0].rstrip("=")
    if len(word) % 4 == 1:
        return found[0]
    try:
        raw = base64.b64decode(word.replace("-", "+").replace("_", "/") + "=" * (-len(word) % 4), validate=True)
        inner = raw.decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return found[0]
    # Blanks keep what was inside apart from its surroundings.
    return f" {inner} " if inner.isprintable() else found[0]


Find: TypeAlias = Callable[[str], Iterator[tuple[int, int]]]


def _matches(pattern: re.Pattern[str], needed: tuple[str, ...], valid: Callable[[str], bool] | None = None) -> Find:
    """Finds of a pattern. `needed`: one of these stands in every match, which spares most texts the search."""

    def find(text: str) -> Iterator[tuple[int, int]]:
        if needed and not any(word in text for word in needed):
            return
        for match in pattern.finditer(text):
            if valid is None or valid(match[0]):
                yield match.span()

    return find


def _luhn(text: str) -> bool:
    """A card number: 13 to 19 digits that begin like a card's and whose check digit fits."""
    digits = [int(c) for c in text if c.isdigit() and c.isascii()]
    if digits[0] not in (2, 3, 4, 5, 6) or len(set(digits)) < 2:
        return False
    total = sum(digits[-1::-2]) + sum(d * 2 - 9 * (d > 4) for d in digits[-2::-2])
    return total % 10 == 0


def _iban(text: str) -> bool:
    """An account number: mod 97 is 1 (ISO 13616). Words after it may have been caught too, so shorter forms are tried."""
    compact = text.replace(" ", "").upper()
    return any(_mod97(compact[:length]) == 1 for length in range(len(compact), 14, -1))


def _mod97(text: str) -> int:
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97


def _ipv4(text: str) -> bool:
    """Four numbers to 255 of which the first is a possible network: `1.0.2.3` of a version number is not."""
    parts = [int(p) for p in text.split(".")]
    return all(p <= 255 for p in parts) and parts[0] >= 1 and not all(p < 10 for p in parts[:3])


def _ipv6(text: str) -> bool:
    if text.count(":") < 7 and "::" not in text:
        return False
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return any(c not in ":0" for c in text)


def _phone(text: str) -> bool:
    """Enough digits: eight with a country code, nine without, since order numbers are short."""
    digits = sum(c.isdigit() for c in text)
    return (9 if text[:1] == "0" and text[:2] != "00" else 8) <= digits <= 15


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    yield from _matches(_IPV4, (".",), _ipv4)(text)
    yield from _matches(_IPV6, (":",), _ipv6)(text)


_FINDERS: Final[dict[str, Find]] = {
    "email": _matches(_EMAIL, ("@", "(at)", "[at]")),
    "phone": _matches(_PHONE, (), _phone),
    "card_number": _matches(_DIGITS, (), _luhn),
    "iban": _matches(_IBAN, (), _iban),
    "ip_address": _addresses,
    "token": _matches(_JWT, ("eyJ",)),
    "national_id": _matches(_NATIONAL, ()),
}
KINDS: Final = tuple(_FINDERS)


def finds(text: str, kinds: Iterable[str] = KINDS) -> Iterator[tuple[str, int, int]]:
    """(kind, start, end) of everything of these kinds in a text as it stands, not in what it decodes to; see `unwrapped`."""
    for kind in kinds:
        for start, end in _FINDERS[kind](text):
            yield kind, start, end
