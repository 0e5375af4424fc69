"""What a text in a finished request may show: what stems from a field that left the policy in clear, and nothing else."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ebbgate.model import CleanEvent, Scalar, Value
from ebbgate.policy.clean import clean
from ebbgate.policy.decide import decide
from ebbgate.policy.egress import Allowance, shown
from tests.unit.policy.making import GRANTED, consent, event, policy, pseudonym

MAIL = "ana@example.com"
SEND = "  webhook: {needs: [analytics], send: [event, page, order, user, properties, network.ip]}"


def cleaned(fields: dict[str, Value], *, common: str = "") -> tuple[CleanEvent, Any]:
    """What a policy with these common rules lets out to the webhook, and the policy by file name."""
    rules = policy(SEND, common=common)
    happened, said = event(fields), consent(analytics=GRANTED)
    decision = decide(happened, said, rules, ("webhook",))[0]
    return clean(happened, decision, rules, said, pseudonym=pseudonym), {rules.file: rules}


def test_a_value_stems_from_its_field_in_any_spelling() -> None:
    """Case, blanks, punctuation and the country's code do not matter; another value does."""
    one, rules = cleaned({"user.email": " Ana@Example.com", "user.phone": "0171 987-6543"})
    told = Allowance([one], rules)
    assert shown("x", f"mail of {MAIL}", told) == ""
    assert shown("x", "491719876543", told) == ""
    assert shown("ph", "+49 171 9876543", told) == ""
    assert shown("x", "mail of petra@example.com", told) == "email"
    assert shown("x", "491719876544", told) == "phone"
    assert shown("first_name", "Petra", told) == "field"


@pytest.mark.parametrize("text", ["page_view", "2026-11-21T22:31:21.250Z", "2026-11-21", "1795300281250", "0" * 15 + "1f"])
def test_words_times_and_ids_show_nothing(text: str) -> None:
    """What is told from no event shows nothing for any event."""
    assert shown("x", text, Allowance([], {})) is None


#: The forms in which a mapping could let out a digest of what it must not.
DIGESTS = {
    "MD5": lambda text: hashlib.md5(text.encode()).hexdigest(),
    "MD5 in capitals": lambda text: hashlib.md5(text.encode()).hexdigest().upper(),
    "SHA-1": lambda text: hashlib.sha1(text.encode()).hexdigest(),
    "SHA-256": lambda text: hashlib.sha256(text.encode()).hexdigest(),
    "SHA-256 in base64": lambda text: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode(),
    "SHA-256 in base64url": lambda text: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode(),
    "the first half of SHA-256": lambda text: hashlib.sha256(text.encode()).hexdigest()[:32],
}


@pytest.mark.parametrize("key", ["x", "em"])
@pytest.mark.parametrize("form", DIGESTS)
def test_a_digest_passes_only_where_its_text_may(form: str, key: str) -> None:
    """A digest of something else is a leak under any key; one of the event's own texts, or of their usual spelling, is none."""
    one, rules = cleaned({"user.email": " Ana@Example.com", "user.id": "u-1"})
    told = Allowance([one], rules)
    assert shown(key, DIGESTS[form]("petra@example.com"), told) == "digest"
    assert shown(key, DIGESTS[form](MAIL), told) == ""
    assert shown(key, DIGESTS[form]("u-1"), told) == ""
    assert shown(key, DIGESTS[form](one.id), told) == ""


def test_a_digest_passes_where_the_policy_the_settings_or_the_body_made_it() -> None:
    """Hashes that the policy made pass in both cases and within own texts; so do account numbers and digests of the body."""
    made, account = hashlib.sha256(b"petra@example.com").hexdigest(), "0123456789abcdef0123456789abcdef"
    one, rules = cleaned({"user.id": "u-1", "page.url": f"https://shop.example/{account[::-1]}"})
    hashed = replace(one, fields={**one.fields, "user.email": made}, hashed=frozenset({"user.email"}))
    told = Allowance([hashed], rules, frozenset({f"https://t.example/{account}"}), b"body")
    assert shown("em", made.upper(), told) == ""
    assert shown("x", account, told) == ""
    assert shown("x", account[::-1], told) == ""
    assert shown("x", hashlib.sha256(b"body").hexdigest(), told) == ""
    assert shown("em", base64.b64encode(hashlib.sha256(b"body").digest()).decode(), told) == ""
    assert shown("em", "", told) is None
    assert shown("em", made, Allowance([one], rules)) == "digest"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("petra@example.com", "email"),
        ("to petra.kaiser@mailbox.example, at once", "email"),
        ("+49 171 9876543", "phone"),
        ("DE89 3704 0044 0532 0130 00", "iban"),
    ],
)
def test_what_is_written_backwards_is_found(text: str, kind: str) -> None:
    """A text turned round shows the same person; where the event may show it, it passes turned round too."""
    assert shown("x", text[::-1], Allowance([], {})) == kind
    one, rules = cleaned({"user.id": text.removeprefix("to ").removesuffix(", at once")})
    assert shown("x", text[::-1], Allowance([one], rules)) == ""


def test_backwards_gives_no_false_alarm_about_what_stands_forwards() -> None:
    """An address that may be shown is not found again from its other end, whatever stands beside it."""
    one, rules = cleaned({"user.email": "ana.b@example.com"})
    assert shown("x", "mail ana.b@example.com/thanks", Allowance([one], rules)) == ""


@pytest.mark.parametrize(
    "wrap",
    [lambda raw: base64.b64encode(raw).decode(), lambda raw: raw.hex(), lambda raw: f"z={base64.urlsafe_b64encode(raw).decode()}"],
)
def test_what_is_packed_in_a_text_is_found(wrap: Callable[[bytes], str]) -> None:
    """Gzip within base64 or hexadecimal is opened; what only looks packed holds nothing."""
    assert shown("x", wrap(gzip.compress(b'{"mail": "petra@example.com"}')), Allowance([], {})) == "email"
    assert shown("x", wrap(gzip.compress(b"nothing of anybody, nothing")), Allowance([], {})) is None
    assert shown("x", wrap(b"\x1f\x8b\x08" + b"\x07" * 40), Allowance([], {})) is None


def test_digits_are_read_as_digits_and_as_hexadecimal() -> None:
    """A card's number is one although its digits are hexadecimal too; an e-mail address in hexadecimal is found."""
    told = Allowance([], {})
    assert shown("x", "4111111111111111", told) == "card_number"
    assert shown("x", MAIL.encode().hex(), told) == "email"


def test_free_text_gives_no_leave_to_what_the_policy_removes() -> None:
    """An e-mail address that stands in a title although the policy removes them there has no leave; one let stay has."""
    reporting = "  if_free_text_contains: {email: report}"
    one, rules = cleaned({"page.title": f"mail {MAIL}", "properties.note": "x"}, common=reporting)
    assert shown("x", f"title: mail {MAIL}", Allowance([one], rules)) == ""
    clean_now, removing = cleaned({"page.title": "no mail"})
    smuggled = replace(clean_now, fields={**clean_now.fields, "page.title": f"mail {MAIL}"})
    assert shown("x", f"title: mail {MAIL}", Allowance([smuggled], removing)) == "email"
    own = replace(smuggled, fields={**smuggled.fields, "user.email": MAIL})
    assert shown("x", f"title: mail {MAIL}", Allowance([own], removing)) == ""


def test_wrapped_free_text_gives_leave_too() -> None:
    """What a policy lets stay in an address stays when the mapping decodes it."""
    reporting = "  if_free_text_contains: {email: report}\n  keep_url_parameters: [q]"
    one, rules = cleaned({"page.url": "https://shop.example/?q=ana%40example.com"}, common=reporting)
    assert shown("x", f"q {MAIL}", Allowance([one], rules)) == ""


def test_ids_of_products_are_no_free_text() -> None:
    """A product's number that looks like a card's may leave where the products may."""
    item: dict[str, Scalar] = {"id": "4111 1111 1111 1111", "name": "Tea", "price": 3}
    items: Value = (item,)
    one, rules = cleaned({"order.items": items, "properties.tags": ("a", "b")})
    told = Allowance([one], rules)
    assert shown("x", "sku 4111 1111 1111 1111", told) == ""
    assert "Tea" in told.own
    assert "a" in told.own


def test_without_its_policy_an_event_gives_leave_by_its_values_alone() -> None:
    """Where the policy is not known, no field counts as free text of which something was removed."""
    one, _ = cleaned({"user.email": MAIL})
    assert shown("x", f"mail {MAIL}", Allowance([one], {})) == ""
    assert shown("x", "mail petra@example.com", Allowance([one], {})) == "email"
