"""How each platform wants a personal field written before it is hashed: shared rules, one table per platform and field.

Source: specs/destinations.md §1.3; the examples of hashing.json hold it. Every rule has the shape of `kit.Normaliser`:
(raw value, ISO country or None) → normalised text, or None when nothing fit to be hashed is left. A value that is a SHA-256
digest already comes out as it is, in lower case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from ebbgate.destinations.countries import iso2
from ebbgate.destinations.kit import Normaliser
from ebbgate.destinations.phones import MAX_DIGITS, digits

_SHA256 = re.compile(r"[0-9a-fA-F]{64}\Z")
_MD5 = re.compile(r"[0-9a-fA-F]{32}\Z")
_EMAIL = re.compile(r"[^\s@]+@(?:[^\s@.]+\.)+[^\s@.]+\Z")
_ZIP_PLUS_4 = re.compile(r"(\d{5})[-\s]?\d{4}\Z")
_NOT_IN_PLACE = re.compile(r"[0-9.\s\-()]")
_PUNCTUATION = re.compile(r"[^\w]|_")
_PUNCTUATION_BUT_BLANKS = re.compile(r"[^\w\s]|_")
_NOT_A_DIGIT = re.compile(r"[^\W0-9]")  # letters, and the digits of other scripts
_MAIL_DOMAINS_OF_GOOGLE: Final = ("gmail.com", "googlemail.com")


def is_sha256(value: str) -> bool:
    """True for 64 hex digits: a value that was hashed before it came to us."""
    return _SHA256.match(value) is not None


def is_md5(value: str) -> bool:
    """True for 32 hex digits, which Meta takes as an e-mail address that was hashed before."""
    return _MD5.match(value.strip()) is not None


def sha256_hex(normalised: str) -> str:
    """SHA-256 of the UTF-8 bytes, 64 lower-case hex digits; a value that is such a digest already comes back as it is.

    Raises ValueError for an empty text: an empty value is never hashed (specs/destinations.md §1.3).
    """
    if not normalised:
        raise ValueError("an empty value is never hashed")
    return normalised.lower() if is_sha256(normalised) else sha256(normalised.encode("utf-8", "replace")).hexdigest()


def _trimmed(value: str) -> str | None:
    return value.strip() or None


def plain(value: str, country: str | None = None) -> str | None:
    """Trim only: ids are case-sensitive."""
    text = value.strip()
    return text.lower() if is_sha256(text) else text or None


def lower(value: str, country: str | None = None) -> str | None:
    """Trim and lower-case; inner blanks and punctuation stay (names)."""
    return _trimmed(value.lower())


def compact(value: str, country: str | None = None) -> str | None:
    """Lower-case without blanks (towns, regions)."""
    return "".join(value.lower().split()) or None


def letters_and_digits(value: str, country: str | None = None) -> str | None:
    """Lower-case without blanks and punctuation (Pinterest towns)."""
    return _PUNCTUATION.sub("", value.lower()) or None


def without_punctuation(value: str, country: str | None = None) -> str | None:
    """Lower-case without punctuation, blanks between words stay (Google streets, towns and regions)."""
    text = value.strip().lower()
    return text if is_sha256(text) else _PUNCTUATION_BUT_BLANKS.sub("", text).strip() or None


def email(value: str, country: str | None = None) -> str | None:
    """Trim and lower-case; dots and +tag stay. None for what is not local@domain."""
    text = value.strip().lower()
    if is_sha256(text):
        return text
    local, at, domain = text.rpartition("@")
    if not (at and local and domain) or "@" in local or len(text.split()) != 1:
        return None
    return text


def email_meta(value: str, country: str | None = None) -> str | None:
    """As `email`, with a domain that has a dot."""
    text = value.strip().lower()
    return text if is_sha256(text) or _EMAIL.match(text) else None


def email_meta_or_md5(value: str, country: str | None = None) -> str | None:
    """As `email_meta`; an MD5 digest passes too, as in Meta's own helper.

    Only `destination hash` and `destination render` go by it: a policy that says `hash` lets nothing but SHA-256 out, so in the
    flow an MD5 digest is no e-mail address and stays here.
    """
    text = value.strip().lower()
    return text if is_md5(text) else email_meta(text)


def email_google(value: str, country: str | None = None) -> str | None:
    """As `email`; for addresses at Gmail without the dots and the +tag of the local part."""
    text = email(value)
    if text is None or "@" not in text:
        return text
    local, _, domain = text.partition("@")
    if domain in _MAIL_DOMAINS_OF_GOOGLE:
        local = local.partition("+")[0].replace(".", "")
    return f"{local}@{domain}" if local else None


def email_bare(value: str, country: str | None = None) -> str | None:
    """As `email`, without dots and +tag of the local part at every domain (Reddit, Microsoft)."""
    text = email(value)
    if text is None or "@" not in text:
        return text
    local, _, domain = text.partition("@")
    local = local.partition("+")[0].replace(".", "")
    return f"{local}@{domain}" if local else None


def phone_digits(value: str, country: str | None = None) -> str | None:
    """Country code and number as digits, no +, no leading zeros: `16505551212`."""
    text = value.strip()
    return text.lower() if is_sha256(text) else digits(text, country)


def phone_e164(value: str, country: str | None = None) -> str | None:
    """As `phone_digits` with a + before: `+16505551212`."""
    text = phone_digits(value, country)
    return text if text is None or is_sha256(text) else f"+{text}"


def phone_as_written(value: str, country: str | None = None) -> str | None:
    """E.164 when the country is known, else a + and the digits as written, zeros included (Google, Reddit).

    The platforms' own helpers know no country and drop no zero: what they make of a number is what they compare with.
    None for letters in it ("ext. 5" would become part of the number), and for more digits than E.164 has.
    """
    text = value.strip()
    if is_sha256(text):
        return text.lower()
    if country and (known := digits(text, country)):
        return f"+{known}"
    kept = "" if _NOT_A_DIGIT.search(text) else re.sub(r"[^0-9]", "", text)
    return f"+{kept}" if 0 < len(kept) <= MAX_DIGITS else None


def place_meta(value: str, country: str | None = None) -> str | None:
    """Lower-case without digits, dots, blanks, dashes and brackets (Meta towns and states)."""
    text = value.strip().lower()
    return text if is_sha256(text) else _NOT_IN_PLACE.sub("", text) or None


def postcode(value: str, country: str | None = None) -> str | None:
    """Lower-case without blanks and dashes; a US ZIP+4 keeps its first five digits."""
    text = value.strip().lower()
    if is_sha256(text):
        return text
    plus4 = _ZIP_PLUS_4.match(text)
    if plus4 and ("-" in text or (country is not None and iso2(country) == "US")):
        return plus4[1]
    return text.replace("-", "").replace(" ", "") or None


def postcode_digits(value: str, country: str | None = None) -> str | None:
    """As `postcode`, digits only (Pinterest)."""
    text = postcode(value, country)
    return text if text is None or is_sha256(text) else re.sub(r"\D", "", text) or None


def country_lower(value: str, country: str | None = None) -> str | None:
    """ISO 3166-1 alpha-2 in lower case, also from a name; None when unknown."""
    text = value.strip().lower()
    if is_sha256(text):
        return text
    code = iso2(text)
    return code.lower() if code else None


def country_upper(value: str, country: str | None = None) -> str | None:
    """ISO 3166-1 alpha-2 in capitals, also from a name, not from other abbreviations (Google)."""
    return iso2(value, letters=False)


def country_snapchat(value: str, country: str | None = None) -> str | None:
    """Lower-case without blanks: Snapchat's integrations hash a country name as it is (hashing.json)."""
    return compact(value)


def gender_meta(value: str, country: str | None = None) -> str | None:
    """`f` for the documented word `female`; all else trimmed and lower-cased, as Meta's own helper does."""
    text = lower(value)
    return "f" if text == "female" else text


def gender_letter(value: str, country: str | None = None) -> str | None:
    """`f` or `m`, from the words too; None for all else (Meta)."""
    text = value.strip().lower()
    return text if is_sha256(text) else {"female": "f", "f": "f", "male": "m", "m": "m"}.get(text)


def gender_initial(value: str, country: str | None = None) -> str | None:
    """First letter in lower case (Snapchat, Pinterest)."""
    text = value.strip().lower()
    return text if is_sha256(text) else text[:1] or None


def birthday(value: str, country: str | None = None) -> str | None:
    """YYYYMMDD from ISO dates, YYYYMMDD and the American M/D/YYYY; None for what is no date."""
    text = value.strip().lower()
    if is_sha256(text):
        return text
    if found := re.match(r"(\d{4})[-/.]?(\d{2})[-/.]?(\d{2})(?:t.*)?\Z", text):
        year, month, day = found.groups()
    elif found := re.match(r"(\d{1,2})/(\d{1,2})/(\d{4})\Z", text):
        month, day, year = found.groups()
    else:
        return None
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return None
    return f"{year}{int(month):02}{int(day):02}"


def currency(value: str, country: str | None = None) -> str | None:
    """Three letters in lower case once all else is removed, as Meta's own helper does; None for fewer or more."""
    text = re.sub(r"[^a-z]", "", value.lower())
    return text if len(text) == 3 else None


def _number_of(width: int, low: int, high: int) -> Normaliser:
    def rule(value: str, country: str | None = None) -> str | None:
        text = value.strip()
        if not re.match(r"\d+\Z", text) or len(text) > width or not low <= int(text) <= high:
            return None
        return text.zfill(width)

    return rule


def _first(count: int) -> Normaliser:
    def rule(value: str, country: str | None = None) -> str | None:
        text = lower(value)
        return text[:count] if text else None

    return rule


@dataclass(frozen=True, slots=True)
class Rule:
    """How one field of one platform is written, and whether it is hashed after that or sent in clear."""

    normalise: Normaliser
    hashed: bool = True
    path: str = ""  #: our field, where we have one
    md5_passes: bool = False  #: a 32-digit MD5 is taken as hashed already

    def digest(self, normalised: str) -> str | None:
        """What the platform gets to compare: SHA-256 hex, or None for a field in clear."""
        if not self.hashed:
            return None
        return normalised if self.md5_passes and _MD5.match(normalised) else sha256_hex(normalised)


def _rules(*rows: tuple[str, str, Normaliser]) -> Mapping[str, Rule]:
    return {name: Rule(normaliser, path=path) for name, path, normaliser in rows}


_GOOGLE: Final[Mapping[str, Rule]] = {
    **_rules(
        ("em", "user.email", email_google),
        ("ph", "user.phone", phone_as_written),
        ("fn", "user.first_name", lower),
        ("ln", "user.last_name", lower),
        ("street", "user.street", without_punctuation),
    ),
    "city": Rule(without_punctuation, hashed=False, path="user.city"),
    "administrative_area": Rule(without_punctuation, hashed=False, path="user.region"),
    "postal_code": Rule(plain, hashed=False, path="user.postcode"),
    "region_code": Rule(country_upper, hashed=False, path="user.country"),
}

#: platform → field as hashing.json names it → rule. The one place where §1.3 is written down.
RULES: Final[Mapping[str, Mapping[str, Rule]]] = {
    "meta": {
        "em": Rule(email_meta_or_md5, path="user.email", md5_passes=True),
        **_rules(
            ("ph", "user.phone", phone_digits),
            ("fn", "user.first_name", lower),
            ("ln", "user.last_name", lower),
            ("ge", "user.gender", gender_meta),
            ("db", "user.birthday", birthday),
            ("ct", "user.city", place_meta),
            ("st", "user.region", place_meta),
            ("zp", "user.postcode", postcode),
            ("country", "user.country", country_lower),
            ("external_id", "user.id", plain),
            ("currency", "", currency),
            ("doby", "", _number_of(4, 0, 9999)),
            ("dobm", "", _number_of(2, 1, 12)),
            ("dobd", "", _number_of(2, 1, 31)),
            ("f5first", "", _first(5)),
            ("f5last", "", _first(5)),
            ("fi", "", _first(1)),
        ),
    },
    "google": _GOOGLE,
    "tiktok": _rules(
        ("em", "user.email", email),
        ("ph", "user.phone", phone_e164),
        ("fn", "user.first_name", lower),
        ("ln", "user.last_name", lower),
        ("zp", "user.postcode", postcode),
        ("external_id", "user.id", plain),
    ),
    "pinterest": _rules(
        ("em", "user.email", email),
        ("ph", "user.phone", phone_digits),
        ("fn", "user.first_name", lower),
        ("ln", "user.last_name", lower),
        ("ge", "user.gender", gender_initial),
        ("db", "user.birthday", birthday),
        ("ct", "user.city", letters_and_digits),
        ("st", "user.region", letters_and_digits),
        ("zp", "user.postcode", postcode_digits),
        ("country", "user.country", country_lower),
        ("external_id", "user.id", plain),
    ),
    "snapchat": _rules(
        ("em", "user.email", email),
        ("ph", "user.phone", phone_digits),
        ("fn", "user.first_name", lower),
        ("ln", "user.last_name", lower),
        ("ge", "user.gender", gender_initial),
        ("db", "user.birthday", birthday),
        ("ct", "user.city", compact),
        ("st", "user.region", compact),
        ("zp", "user.postcode", postcode),
        ("country", "user.country", country_snapchat),
        ("external_id", "user.id", plain),
    ),
    "reddit": _rules(
        ("em", "user.email", email_bare),
        ("ph", "user.phone", phone_as_written),
        ("external_id", "user.id", plain),
        ("conversion_id", "", plain),
    ),
    "x": _rules(("em", "user.email", email), ("ph", "user.phone", phone_e164)),
    "linkedin": _rules(("em", "user.email", email)),
    "ecapi": _rules(
        ("em", "user.email", email),
        ("ph", "user.phone", phone_e164),
        ("fn", "user.first_name", without_punctuation),
        ("ln", "user.last_name", without_punctuation),
        ("street", "user.street", without_punctuation),
        ("zp", "user.postcode", postcode),
        ("ge", "user.gender", lower),
        ("external_id", "user.id", lower),
    ),
    "microsoft": _rules(
        ("em", "user.email", email_bare),
        ("ph", "user.phone", phone_e164),
        ("external_id", "user.id", plain),
    ),
}


def hashes(platform: str, *names: str) -> Mapping[str, Normaliser]:
    """Our field → normaliser, for a destination's `hashes`: all hashed fields of the platform, or the ones named."""
    rules = RULES[platform]
    chosen = {n: rules[n] for n in names} if names else rules
    return {rule.path: rule.normalise for rule in chosen.values() if rule.path and rule.hashed}
