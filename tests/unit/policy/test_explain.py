from __future__ import annotations

import dataclasses

import pytest

from ebbgate.model import Consent, Model, Place, PurposeConsent, SignalReading, Value
from ebbgate.policy.clean import clean
from ebbgate.policy.decide import decide
from ebbgate.policy.explain import Story, as_json, as_text, story
from ebbgate.policy.plan import Policy
from tests.unit.policy.making import DENIED, GRANTED, consent, event, policy, pseudonym

TEXT = """\
  ga4:
    needs: [analytics]
    send: [event, page, order]
  meta:
    needs: [advertising]
    send: [event, order.value, user.email, user.phone]
    hash: [user.email, user.phone]
  webhook:
    needs: nothing
    because: Security
    send: [event.time, network.ip]"""
FIELDS: dict[str, Value] = {
    "page.url": "https://shop.example/?token=secretvalue&utm_source=x", "network.ip": "203.0.113.77",
    "user.email": "ana@example.com",
    "user.phone": "none", "order.value": 12, "order.tax": 1, "page.title": "mail bo@example.com", "order.currency": "EUR",
}  # fmt: skip
RULES = policy(TEXT, common="  keep_url_parameters: [utm_source]")


#: A long step goes on below its beginning; the policy's line stands behind its first line.
CLEANED = (
    "● cleaned everywhere: page.url without token, network.ip shortened to its network, (a.yaml:10)",
    "page.title: email found, removed page.title",
)
HERE = Place("DE", None, "cdn header")


def told(given: Consent, rules: Policy | None = RULES, place: Place = HERE) -> Story:
    """The story of one event."""
    happened = event(FIELDS)
    decisions = decide(happened, given, rules, ("ga4", "meta", "webhook", "other"))
    cleaned = {d.destination: clean(happened, d, rules, given, pseudonym=pseudonym) for d in decisions if rules and d.fields}
    return story(happened, place, given, rules, decisions, cleaned=cleaned)


def given() -> Consent:
    """Analytics allowed, advertising refused, with evidence."""
    purposes = {
        "analytics": PurposeConsent(GRANTED, "tcf", "purposes 1, 8 granted"),
        "advertising": PurposeConsent(DENIED, "tcf", "purpose 4 refused"),
    }
    return Consent(Model.OPT_IN, purposes, readings=(SignalReading("tcf", True, "valid", "0" * 64),))


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_a_story_fits_the_terminal(columns: int) -> None:
    """No line is wider than the terminal, each step keeps the policy's line behind it, and no word is lost."""
    narrow, free = as_text(told(given()), columns=columns), as_text(told(given()))
    assert max(map(len, narrow.splitlines())) <= columns
    assert sorted(narrow.split()) == sorted(free.split())


def test_json_has_the_published_shape() -> None:
    """The object of `explain --format json` (DESIGN §5.3), word for word."""
    found = as_json(told(given()))
    assert found == {
        "event_id": "A-1009",
        "policy": {"file": "a.yaml", "digest": RULES.digest},
        "place": {"country": "DE", "region": None, "source": "cdn header"},
        "consent": {
            "purposes": {
                "analytics": {"state": "granted", "source": "tcf", "rule": "purposes 1, 8 granted"},
                "advertising": {"state": "denied", "source": "tcf", "rule": "purpose 4 refused"},
            },
            "signals": ["tcf"],
        },
        "destinations": {
            "ga4": {
                "outcome": "sent",
                "reason": "granted",
                "rule": "a.yaml:13",
                "fields": ["event.id", "event.name", "event.time", "order.currency", "order.tax", "order.value", "page.url"],
                "removed": ["network.ip", "page.title", "user.email", "user.phone"],
                "hashed": [],
            },
            "meta": {
                "outcome": "not_sent",
                "reason": "consent_denied",
                "rule": "a.yaml:17",
                "fields": [],
                "removed": [],
                "hashed": [],
            },
            "webhook": {
                "outcome": "sent",
                "reason": "not_needed",
                "rule": "a.yaml:20",
                "fields": ["event.name", "event.time", "network.ip"],
                "removed": [
                    "event.id", "order.currency", "order.tax", "order.value", "page.title", "page.url", "user.email", "user.phone",
                ],
                "hashed": [],
            },
            "other": {
                "outcome": "not_sent",
                "reason": "not_in_policy",
                "rule": "a.yaml:12",
                "fields": [],
                "removed": [],
                "hashed": [],
            },
        },
    }  # fmt: skip


def test_text_tells_the_story() -> None:
    """Received, consent, cleaned, then every destination with its reason and line (specs/experience.md §2.1)."""
    lines = as_text(told(given())).split("\n")
    squeezed = [" ".join(line.split()) for line in lines]
    assert squeezed == [
        f"event A-1009 purchase visitor DE (cdn header) policy a.yaml rev {RULES.digest[:6]}",
        "● received 11 fields, 4 personal: network.ip, page.url, user.email, user.phone",
        "● consent analytics granted by tcf, advertising refused by tcf [tcf] (a.yaml:5)",
        *CLEANED,
        "● ga4 SENT removed network.ip page.title user.email user.phone (a.yaml:13)",
        "○ meta NOT SENT needs advertising, visitor refused it (a.yaml:17)",
        "● webhook SENT needs no consent: Security · only event.name event.time network.ip (a.yaml:20)",
        "○ other NOT SENT the policy does not name this destination (a.yaml:12)",
    ]


def test_values_are_never_told() -> None:
    """Neither form shows a value of the event."""
    for shown in (as_text(told(given())), str(as_json(told(given()))), repr(told(given()))):
        for value in ("ana@example.com", "secretvalue", "203.0.113", "bo@example.com", "shop.example"):
            assert value not in shown


def test_a_field_that_could_not_be_hashed_is_told_as_removed() -> None:
    """The story is exact: a phone number without digits did not leave although the policy lets it out."""
    found = as_json(told(consent(analytics=GRANTED, advertising=GRANTED)))["destinations"]["meta"]
    assert found["fields"] == ["event.id", "event.name", "event.time", "order.value", "user.email"]
    assert "user.phone" in found["removed"]
    assert found["hashed"] == ["user.email"]


def test_no_policy() -> None:
    """A place without a policy is told as such."""
    found = told(Consent(Model.OPT_IN, {}), None, Place())
    assert as_json(found)["policy"] is None
    assert "visitor unknown place (unknown)" in as_text(found)
    assert "no policy governs this place" in as_text(found)


def test_draft_is_marked() -> None:
    """A story under a draft says so."""
    assert as_text(dataclasses.replace(told(given()), draft=True)).split("\n")[0].endswith("DRAFT")


def test_strange_names_are_not_told() -> None:
    """Parameter and property names are a stranger's words: only short plain ones are shown."""
    happened = event({"page.url": "https://s.example/?ana%40example.com=1&x=2", "properties.ana@example.com": 1})
    decisions = decide(happened, given(), RULES, ("ga4",))
    shown = as_text(story(happened, Place("DE"), given(), RULES, decisions))
    assert "ana" not in shown.replace("analytics", "")
    only = event({"page.url": "https://s.example/?ana%40example.com=1"})
    shown = as_text(story(only, Place("DE"), given(), RULES, decide(only, given(), RULES, ("ga4",))))
    assert "page.url without 1 parameters" in shown


def test_unreadable_signals_are_named_with_the_reason() -> None:
    """What does not count stands apart from what does, and says why."""
    read = SignalReading("event", True, "analytics granted")
    cut = SignalReading("tcf", False, "cut off: analytics denied", "0" * 64)
    for readings, shown in (((read, cut), "[event; tcf unreadable: cut off]"), ((cut,), "[tcf unreadable: cut off]")):
        text = as_text(told(dataclasses.replace(given(), readings=readings)))
        assert shown in " ".join(text.replace("(a.yaml:5)", "").split()), text
