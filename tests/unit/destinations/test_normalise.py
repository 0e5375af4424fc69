from __future__ import annotations

from hashlib import sha256

import pytest

from ebbgate.destinations import normalise as n
from ebbgate.destinations.countries import BY_LETTERS, BY_NAME, CODES, iso2
from ebbgate.destinations.kit import Normaliser
from ebbgate.destinations.phones import digits

DIGEST = "AB" * 32


def test_an_empty_value_is_never_hashed() -> None:
    """There is no digest of nothing: it would be the same for everybody."""
    with pytest.raises(ValueError, match="never hashed"):
        n.sha256_hex("")
    for platform, rules in n.RULES.items():
        for field, rule in rules.items():
            assert rule.normalise("", None) is None, (platform, field)
            assert rule.normalise("  \t ", None) is None, (platform, field)


def test_a_digest_stays_what_it_is() -> None:
    """A value that was hashed before it came is passed on in lower case, by every rule that hashes a person."""
    assert n.sha256_hex(DIGEST) == DIGEST.lower()
    assert n.sha256_hex("a") == sha256(b"a").hexdigest()
    for platform, rules in n.RULES.items():
        for field, rule in rules.items():
            if rule.path and rule.hashed:
                assert rule.normalise(f" {DIGEST} ", "DE") == DIGEST.lower(), (platform, field)


def test_md5_passes_at_meta_only() -> None:
    """Meta's helper takes a 32-digit digest for hashed; nobody else does."""
    md5 = "d41d8cd98f00b204e9800998ecf8427e"
    rule = n.RULES["meta"]["em"]
    assert rule.digest(md5) == md5
    assert n.RULES["tiktok"]["em"].normalise(md5, None) is None


@pytest.mark.parametrize(
    ("rule", "raw", "wanted"),
    [
        (n.email, " Jane.Doe+news@Gmail.com ", "jane.doe+news@gmail.com"),
        (n.email_meta, "Jane.Doe+x@Gmail.com", "jane.doe+x@gmail.com"),
        (n.email_google, "Jane.Doe+x@Gmail.com", "janedoe@gmail.com"),
        (n.email_google, "Jane.Doe+x@example.com", "jane.doe+x@example.com"),
        (n.email_bare, "Jane.Doe+x@example.com", "janedoe@example.com"),
        (n.email, "no address", None),
        (n.email, "a@b@c", None),
        (n.email, "a b@example.com", None),
        (n.email_meta, "a@localhost", None),
        (n.email_meta, "john..doe@example.com", "john..doe@example.com"),
        (n.email_meta, "d41d8cd98f00b204e9800998ecf8427e", None),
        (n.email_meta_or_md5, " D41D8CD98F00B204E9800998ECF8427E ", "d41d8cd98f00b204e9800998ecf8427e"),
        (n.email_google, " ...@gmail.com", None),
        (n.email_google, "Cloudy.SanFrancisco+shopping@googlemail.com", "cloudysanfrancisco@googlemail.com"),
        (n.email_google, "user.name+NYC@Example.com", "user.name+nyc@example.com"),
        (n.without_punctuation, " 1 Main St., Apt. #4 ", "1 main st apt 4"),
        (n.currency, "US$", None),
        (n.currency, "u-s-d", "usd"),
        (n.gender_letter, "Male", "m"),
        (n.gender_letter, "diverse", None),
        (n.email_google, "+tag@gmail.com", None),
        (n.postcode, "94107-1234", "94107"),
        (n.postcode, "SW1A 1AA", "sw1a1aa"),
        (n.postcode, "00-950", "00950"),
        (n.postcode_digits, "D-10115", "10115"),
        (n.place_meta, "St. Louis 63101", "stlouis"),
        (n.letters_and_digits, "Frankfurt (Main)", "frankfurtmain"),
        (n.birthday, "1990-12-31", "19901231"),
        (n.birthday, "2/16/1997", "19970216"),
        (n.birthday, "1990-13-31", None),
        (n.birthday, "soon", None),
        (n.gender_initial, "Female", "f"),
        (n.country_lower, "Deutschland", "de"),
        (n.country_lower, "Atlantis", None),
        (n.country_upper, "Germany", "DE"),
        (n.country_upper, "usa", None),
    ],
)
def test_rules(rule: Normaliser, raw: str, wanted: str | None) -> None:
    """The documented forms of §1.3, gmail's rules only at Google, ZIP+4 cut, country names as codes."""
    assert rule(raw, None) == wanted


@pytest.mark.parametrize(
    ("raw", "country", "wanted"),
    [
        ("1 800 555 0100", None, "+18005550100"),
        ("+44-113-496-0987", None, "+441134960987"),
        ("0049 30 901820", None, "+004930901820"),
        ("0049 30 901820", "DE", "+4930901820"),
        ("030\u00a0901820", "Germany", "+4930901820"),
        ("030\u00a0901820", None, "+030901820"),
        (" +A BCD EFG ", None, None),
        ("415 555 0132 ext 5", None, None),
        ("٠٣٠٩٠١٨٢٠", None, None),
        ("1" * 16, None, None),
    ],
)
def test_phones_as_google_and_reddit_compare_them(raw: str, country: str | None, wanted: str | None) -> None:
    """Their helpers know no country and drop no zero; with the person's country known it is E.164. Letters are no number."""
    assert n.phone_as_written(raw, country) == wanted


def test_a_us_zip_of_nine_digits_is_cut_whatever_the_country_is_called() -> None:
    """ZIP+4 without a dash is known by the country, as code or as name; elsewhere nine digits stay."""
    assert n.postcode("941071234", "United States") == "94107"
    assert n.postcode("94107 1234", "us") == "94107"
    assert n.postcode("941071234", None) == "941071234"


@pytest.mark.parametrize(
    ("raw", "country", "wanted"),
    [
        ("+49 30 901820", None, "4930901820"),
        ("0049 30 901820", None, "4930901820"),
        ("030 901820", "DE", "4930901820"),
        ("030 901820", "Germany", "4930901820"),
        ("030 901820", None, "30901820"),
        ("06 1234 5678", "IT", "390612345678"),
        ("(415) 555-0132", "US", "14155550132"),
        ("1-415-555-0132", "US", "14155550132"),
        ("0044 844 412 4653", "DE", "448444124653"),
        ("+44 (0)7911 123456", None, "447911123456"),
        ("(650)555-1212 (US)", None, "16505551212"),
        ("415 555 0132 ext 5", "US", None),
        ("12345", None, None),
        ("1234567890123456", None, None),
        ("call me", "DE", None),
        ("٠٣٠٩٠١٨٢٠", "DE", None),
    ],
)
def test_phones_with_a_default_country(raw: str, country: str | None, wanted: str | None) -> None:
    """National numbers get the code of the person's country, international ones keep theirs, anything else is no number."""
    assert digits(raw, country) == wanted


def test_country_table() -> None:
    """All 249 codes of ISO 3166-1 and Kosovo's user-assigned one, no name or abbreviation for two countries."""
    assert len(CODES) == 250
    assert all(len(code) == 2 and code.isupper() for code in CODES)
    assert set(BY_LETTERS.values()) <= CODES
    assert not set(BY_NAME) & set(BY_LETTERS)
    assert iso2("  united   STATES ") == "US"
    assert iso2("no") == "NO"
