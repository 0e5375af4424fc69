from __future__ import annotations

from dataclasses import replace

import pytest

from ebbgate.model import Consent, ConsentState, Model, Reason, Verdict
from ebbgate.policy.decide import decide
from tests.unit.policy.making import CONSENT, DENIED, GRANTED, UNKNOWN, consent, event, policy

BOTH = """\
  ga4:
    needs: [analytics]
    events: [purchase, page_view]
    send: [event, order.value]
  meta:
    needs: [analytics, advertising]
    vendor: {tcf: 1}
    send: [event, order.value, user.email]
    hash: [user.email]
  webhook:
    needs: nothing
    because: Security
    send: [event.time, network.ip]"""
HOLD = CONSENT.replace("if_missing: refused", "if_missing: hold\n  hold_for: 1 minute")
LIMITED = """\
  meta:
    needs: [advertising]
    send: [event, order.value, user.id]
    if_refused:
      send_limited: {send: [event, order.value]}"""


def verdicts(given: Consent, text: str = BOTH, *, rules: str = CONSENT, name: str = "purchase") -> dict[str, tuple[str, str, str]]:
    """Destination → verdict, reason, detail."""
    found = decide(event(name=name), given, policy(text, consent=rules), ("ga4", "meta", "webhook"))
    return {d.destination: (d.verdict.value, d.reason.value, d.detail) for d in found}


def test_without_a_policy_nothing_leaves() -> None:
    """No policy governs the place: every destination is withheld, in the order asked for."""
    found = decide(event(), consent(analytics=GRANTED), None, ("b", "a"))
    assert [(d.destination, d.verdict, d.reason) for d in found] == [
        ("b", Verdict.WITHHOLD, Reason.NO_POLICY),
        ("a", Verdict.WITHHOLD, Reason.NO_POLICY),
    ]


def test_one_decision_a_destination_in_order() -> None:
    """Every configured destination gets exactly one decision, whether the policy names it or not."""
    asked = ("webhook", "other", "meta", "ga4")
    found = decide(event(), consent(analytics=GRANTED), policy(BOTH), asked)
    assert tuple(d.destination for d in found) == asked
    assert found[1].reason is Reason.NOT_IN_POLICY
    assert found[1].verdict is Verdict.WITHHOLD


def test_all_needs_must_be_granted() -> None:
    """One granted purpose of two is not enough, whatever the other one is."""
    assert verdicts(consent(analytics=GRANTED, advertising=GRANTED))["meta"] == ("send", "granted", "analytics, advertising")
    assert verdicts(consent(analytics=GRANTED, advertising=DENIED))["meta"] == ("withhold", "consent_denied", "advertising")
    assert verdicts(consent(analytics=GRANTED))["meta"] == ("withhold", "consent_unknown", "advertising")
    assert verdicts(consent(analytics=UNKNOWN, advertising=DENIED))["meta"] == ("withhold", "consent_denied", "advertising")


def test_silence_is_no_grant() -> None:
    """Unknown purposes let nothing out but what needs nothing."""
    found = verdicts(consent())
    assert found["ga4"] == ("withhold", "consent_unknown", "analytics")
    assert found["webhook"] == ("send", "not_needed", "")


@pytest.mark.parametrize("state", [DENIED, UNKNOWN])
def test_a_vendor_that_is_not_permitted_gets_nothing(state: ConsentState) -> None:
    """With a consent string as evidence the vendor itself must be permitted."""
    given = consent(analytics=GRANTED, advertising=GRANTED, vendors={"meta": state})
    assert verdicts(given)["meta"] == ("withhold", "vendor_denied", "meta")
    assert verdicts(given)["ga4"][0] == "send"


def test_a_permitted_vendor_is_sent_to() -> None:
    """A vendor that the string permits changes nothing."""
    given = consent(analytics=GRANTED, advertising=GRANTED, vendors={"meta": GRANTED})
    assert verdicts(given)["meta"][0] == "send"


def test_only_listed_events_leave() -> None:
    """`events` is an allow-list of names; without it all events are meant."""
    found = verdicts(consent(analytics=GRANTED, advertising=GRANTED), name="video_start")
    assert found["ga4"] == ("withhold", "event_not_listed", "")
    assert found["meta"][0] == "send"


def test_a_switched_off_destination_gets_nothing() -> None:
    """`enabled: false` beats every consent."""
    text = BOTH.replace("    needs: [analytics]\n", "    enabled: false\n    needs: [analytics]\n")
    assert verdicts(consent(analytics=GRANTED, advertising=GRANTED), text)["ga4"] == ("withhold", "disabled", "")


def test_unknown_is_held_where_the_policy_holds() -> None:
    """`if_missing: hold` parks what is merely unknown; a refusal is never parked."""
    assert verdicts(consent(), rules=HOLD)["ga4"] == ("hold", "held", "analytics")
    assert verdicts(consent(analytics=DENIED), rules=HOLD)["ga4"] == ("withhold", "consent_denied", "analytics")
    assert verdicts(consent(analytics=UNKNOWN, advertising=DENIED), rules=HOLD)["meta"][0] == "withhold"


def test_a_refused_vendor_is_not_waited_for() -> None:
    """No decision about the purposes would let that vendor have the event, so nothing is parked for it."""
    assert verdicts(consent(vendors={"ga4": DENIED}), rules=HOLD)["ga4"] == ("withhold", "consent_unknown", "analytics")


def test_a_refusal_may_leave_the_limited_form() -> None:
    """`if_refused: send_limited` answers a refusal and silence, with its own line."""
    for given in (consent(advertising=DENIED), consent()):
        (found,) = decide(event({"order.value": 1, "user.id": "u"}), given, policy(LIMITED), ("meta",))
        assert (found.verdict, found.reason, found.detail) == (Verdict.LIMITED, Reason.LIMITED, "advertising")
        assert found.fields == ("event.id", "event.name", "event.time", "order.value")
        assert found.removed == ("user.id",)


def test_limited_data_use_is_no_substitute_for_consent() -> None:
    """Under opt-in a limited form that lives by US opt-out law is withheld: outside the US platforms ignore its flag."""
    flagged = LIMITED.replace("[event, order.value]}", "[event, order.value], add: {limited_data_use: true}}")
    for given, reason in ((consent(advertising=DENIED), Reason.CONSENT_DENIED), (consent(), Reason.CONSENT_UNKNOWN)):
        (found,) = decide(event(), given, policy(flagged), ("meta",))
        assert (found.verdict, found.reason) == (Verdict.WITHHOLD, reason)
    opt_out = CONSENT.replace("opt_in", "opt_out")
    (found,) = decide(event(), consent(advertising=DENIED), policy(flagged, consent=opt_out), ("meta",))
    assert found.verdict is Verdict.LIMITED


def test_what_is_held_is_not_sent_limited() -> None:
    """While the visitor may still decide, nothing leaves, not even the limited form."""
    (found,) = decide(event(), consent(), policy(LIMITED, consent=HOLD), ("meta",))
    assert found.verdict is Verdict.HOLD
    (found,) = decide(event(), consent(advertising=DENIED), policy(LIMITED, consent=HOLD), ("meta",))
    assert found.verdict is Verdict.LIMITED


def test_a_denied_vendor_is_not_sent_the_limited_form() -> None:
    """The limited form answers missing consent for purposes only."""
    text = LIMITED.replace(
        "    send: [event, order.value, user.id]", "    vendor: {tcf: 1}\n    send: [event, order.value, user.id]"
    )
    (found,) = decide(event(), consent(advertising=GRANTED, vendors={"meta": DENIED}), policy(text), ("meta",))
    assert (found.verdict, found.reason) == (Verdict.WITHHOLD, Reason.VENDOR_DENIED)


def test_fields_and_hashes_are_named() -> None:
    """A decision says which paths leave, which stay and which are hashed."""
    given = consent(analytics=GRANTED, advertising=GRANTED)
    (found,) = decide(event({"order.value": 1, "user.email": "a@b.example", "user.id": "u"}), given, policy(BOTH), ("meta",))
    assert found.fields == ("event.id", "event.name", "event.time", "order.value", "user.email")
    assert found.removed == ("user.id",)
    assert found.hashed == ("user.email",)


def test_what_could_not_be_made_safe_is_removed() -> None:
    """A value that is dropped before anything leaves is not said to leave."""
    text = "  ga4: {needs: nothing, because: x, send: [event, page.title, page.url]}"
    fields = {"page.title": "write to ana@example.com", "page.url": "no address"}
    (found,) = decide(event(fields), consent(), policy(text), ("ga4",))
    assert found.fields == ("event.id", "event.name", "event.time")
    assert found.removed == ("page.title", "page.url")
    (again,) = decide(event({**fields, "page.title": "fine"}), consent(), policy(text), ("ga4",))
    assert again.fields == ("event.id", "event.name", "event.time", "page.title")


def test_removed_is_told_of_each_event() -> None:
    """Two events that end with the same fields, one of which lost a title on the way, are told apart."""
    rules = policy("  ga4: {needs: nothing, because: x, send: [event, page.title]}")
    (lost,) = decide(event({"page.title": "ana@example.com"}), consent(), rules, ("ga4",))
    (none,) = decide(event(), consent(), rules, ("ga4",))
    assert (lost.fields, lost.removed) == (none.fields, ("page.title",))
    assert none.removed == ()


def test_holding_is_for_opt_in_only() -> None:
    """Even rules that the linter would refuse do not hold where silence is no question: nothing leaves at once."""
    rules = policy(BOTH, consent=HOLD)
    wrong = replace(rules, consent=replace(rules.consent, model=Model.OPT_OUT))
    (found,) = decide(event(), consent(), wrong, ("ga4",))
    assert found.verdict is Verdict.WITHHOLD


def test_drop_event_stops_every_destination() -> None:
    """Personal data that the policy will not have anywhere: nothing leaves, not even where no consent is needed."""
    text = policy(BOTH, common="  if_free_text_contains: {card_number: drop_event}")
    found = decide(event({"search.term": "4111 1111 1111 1111"}), consent(analytics=GRANTED), text, ("ga4", "meta", "webhook"))
    assert [(d.verdict, d.reason) for d in found] == [
        (Verdict.WITHHOLD, Reason.PERSONAL_DATA),
        (Verdict.WITHHOLD, Reason.CONSENT_UNKNOWN),
        (Verdict.WITHHOLD, Reason.PERSONAL_DATA),
    ]
    assert found[0].rule == "a.yaml:11"
    assert found[0].detail == "card_number"


def test_each_reason_has_its_line() -> None:
    """A decision points at the line that made it."""
    rules = policy(BOTH)

    def line(given: Consent, destination: str, name: str = "purchase") -> str:
        return decide(event(name=name), given, rules, (destination,))[0].rule

    everything = consent(analytics=GRANTED, advertising=GRANTED)
    assert line(everything, "ga4") == "a.yaml:11"
    assert line(consent(), "ga4") == "a.yaml:12"
    assert line(everything, "ga4", "other") == "a.yaml:13"
    assert line(consent(analytics=GRANTED, advertising=GRANTED, vendors={"meta": DENIED}), "meta") == "a.yaml:17"
    assert line(everything, "nowhere") == "a.yaml:10"


def test_opt_out_silence_is_what_consent_says() -> None:
    """Under opt_out the resolver has granted what silence allows; unknown is still a no here."""
    rules = CONSENT.replace("model: opt_in", "model: opt_out").replace("if_missing: refused", "if_missing: allowed")
    assert verdicts(consent(Model.OPT_OUT), rules=rules)["ga4"][0] == "withhold"
    assert verdicts(consent(Model.OPT_OUT, analytics=GRANTED), rules=rules)["ga4"][0] == "send"
