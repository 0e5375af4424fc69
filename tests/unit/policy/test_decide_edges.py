"""Edges of decide and clean at which a changed condition would let something out, or tell something else than what happened."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from msgspec import structs

from ebbgate.errors import PolicyError
from ebbgate.model import ConsentState, Event, Reason, Value, Verdict
from ebbgate.policy.clean import clean
from ebbgate.policy.decide import decide
from ebbgate.policy.plan import MAX_ANSWERS
from tests.unit.policy.making import DENIED, GRANTED, UNKNOWN, consent, event, policy, pseudonym

LIMITED = """\
  meta:
    needs: [advertising]
    vendor: {tcf: 1}
    send: [event, order.value, user.id]
    if_refused:
      send_limited: {send: [event, order.value]}"""
FREE = "needs: nothing, because: x"


@pytest.mark.parametrize("vendor", [DENIED, UNKNOWN])
@pytest.mark.parametrize("purpose", [DENIED, UNKNOWN])
def test_a_refused_vendor_is_no_way_to_the_limited_form(vendor: ConsentState, purpose: ConsentState) -> None:
    """Who refused the vendor and the purpose gets less than who refused the purpose alone: nothing is sent."""
    rules = policy(LIMITED)
    alone = consent(advertising=purpose)
    assert decide(event(), alone, rules, ("meta",))[0].verdict is Verdict.LIMITED
    both = replace(alone, vendors={"meta": vendor})
    (found,) = decide(event(), both, rules, ("meta",))
    assert (found.verdict, found.fields) == (Verdict.WITHHOLD, ())


def test_the_first_refusal_is_the_one_told() -> None:
    """Of several refused or undecided purposes the first of `needs` is named; a refusal before what is undecided."""
    rules = policy("  ga4: {needs: [analytics, advertising], send: [event]}")

    def detail(analytics: ConsentState, advertising: ConsentState) -> tuple[Reason, str]:
        (found,) = decide(event(), consent(analytics=analytics, advertising=advertising), rules, ("ga4",))
        return found.reason, found.detail

    assert detail(DENIED, DENIED) == (Reason.CONSENT_DENIED, "analytics")
    assert detail(UNKNOWN, UNKNOWN) == (Reason.CONSENT_UNKNOWN, "analytics")
    assert detail(UNKNOWN, DENIED) == (Reason.CONSENT_DENIED, "advertising")
    assert detail(GRANTED, UNKNOWN) == (Reason.CONSENT_UNKNOWN, "advertising")


def test_without_a_policy_no_line_is_named() -> None:
    """Nobody decided, so neither a revision nor a line answers for it."""
    (found,) = decide(event(), consent(), None, ("ga4",))
    assert (found.policy, found.rule) == ("", "")


def test_tuples_of_decisions_are_bounded() -> None:
    """However many sets of destinations are asked about, only so many answers are kept."""
    under, allowed = policy(f"  ga4: {{{FREE}, send: [event]}}"), consent()
    for number in range(MAX_ANSWERS + 50):
        decide(event({"page.title": "a"}), allowed, under, (f"d{number}",))
    assert len(under.tuples) <= MAX_ANSWERS


def test_what_is_refused_is_told_by_its_code() -> None:
    """A caller can tell a refusal of ours from a fault: by the code, and by words without values."""
    rules = policy(f"  ga4: {{{FREE}, send: [event, search]}}", common="  if_free_text_contains: {email: drop_event}")
    (decision,) = decide(event(), consent(), rules, ("ga4",))
    with pytest.raises(PolicyError, match=r"^this event holds what the policy keeps here$") as dropped:
        clean(event({"search.term": "ana@example.com"}), decision, rules, consent(), pseudonym=pseudonym)
    with pytest.raises(PolicyError, match=r"^this decision lets nothing out under this policy$") as withheld:
        clean(event(), replace(decision, verdict=Verdict.WITHHOLD), rules, consent(), pseudonym=pseudonym)
    assert {dropped.value.code, withheld.value.code} == {"not_permitted"}


def test_a_country_is_two_letters() -> None:
    """What is no code of a country decides nothing about a phone number: the country of the visit does."""
    rules = policy(f"  ga4: {{{FREE}, send: [event, user.phone], hash: [user.phone]}}")
    fields: dict[str, Value] = {"user.phone": "0151", "user.country": "1a", "place.country": "AT"}
    (decision,) = decide(event(fields), consent(), rules, ("ga4",))
    found = clean(event(fields), decision, rules, consent(), pseudonym=pseudonym)
    assert found.fields["user.phone"] == hashlib.sha256(b"AT0151").hexdigest()


def test_an_event_without_its_time_is_made_coarser_too() -> None:
    """A time that is not there is not cut, and nothing is raised."""
    rules = policy(f"  ga4: {{{FREE}, send: [event, order.value], generalise: {{time: day}}}}")
    whole = event({"order.value": 1})
    happened: Event = structs.replace(whole, fields={"order.value": 1})
    (decision,) = decide(happened, consent(), rules, ("ga4",))
    found = clean(happened, decision, rules, consent(), pseudonym=pseudonym)
    assert found.fields == {"order.value": 1}
    assert found.time_ms % 86_400_000 == 0
