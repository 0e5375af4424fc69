"""What a text in a finished request may show: what stems from a field that left the policy in clear, and nothing else."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    "text", ["page_view", "2026-11-21T22:31:21.250Z", "2026-11-21", "1795300281250", "a" * 64, "0" * 31 + "1f"]
)
def test_words_times_and_ids_show_nothing(text: str) -> None:
    """What is told from no event shows nothing for any event."""
    assert shown("x", text, Allowance([], {})) is None


def test_digests_may_stand_under_personal_keys() -> None:
    """SHA-256 in hexadecimal or base64 is what these keys are for."""
    told = Allowance([], {})
    assert shown("em", "0" * 64, told) is None
    assert shown("em", "A" * 43 + "=", told) is None
    assert shown("em", "", told) is None
    assert shown("em", "ana", told) == "field"


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
