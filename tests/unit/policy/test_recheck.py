"""Judging again before sending takes away what must go and no more; and the reason names the purpose that is missing first."""

from __future__ import annotations

from ebbgate.model import CleanEvent
from ebbgate.policy.clean import clean, recheck
from ebbgate.policy.decide import decide
from ebbgate.policy.plan import PolicySet
from tests.unit.policy.making import CONSENT, GRANTED, HEAD, consent, event, policies, policy, pseudonym


def under(destination: str) -> PolicySet:
    """A set of one policy with one destination."""
    return policies(f"{HEAD}{CONSENT}destinations:\n  webhook: {destination}\n")


def stored(destination: str) -> CleanEvent:
    """A purchase as it is stored under that policy."""
    rules = under(destination).policies[0]
    happened, said = event({"order.value": 12, "order.currency": "EUR"}), consent(analytics=GRANTED)
    return clean(happened, decide(happened, said, rules, ("webhook",))[0], rules, said, pseudonym=pseudonym)


def test_a_listed_event_may_still_leave_under_a_changed_policy() -> None:
    """A later policy that lists the event lets it out; one that lists only others does not."""
    before = stored("{needs: [analytics], send: [event, order]}")
    listed = recheck(before, under("{needs: [analytics], events: [purchase, lead], send: [event, order]}"))
    assert listed is not None
    assert listed.fields["order.value"] == 12
    assert recheck(before, under("{needs: [analytics], events: [lead], send: [event, order]}")) is None


def test_an_event_without_its_id_may_still_leave() -> None:
    """Where the id was not let out at receipt, a later policy need not let it out either; where it was, it must."""
    without = recheck(stored("{needs: [analytics], send: [order]}"), under("{needs: [analytics], send: [order.value]}"))
    assert without is not None
    assert "order.value" in without.fields
    assert "order.currency" not in without.fields
    assert recheck(stored("{needs: [analytics], send: [event, order]}"), under("{needs: [analytics], send: [order]}")) is None


def test_the_first_missing_purpose_is_named() -> None:
    """Of several purposes that nothing is known about, and of several that were refused, the first in `needs` is told."""
    rules = policy("  webhook: {needs: [advertising, analytics], send: [event]}")
    (unknown,) = decide(event(), consent(), rules, ("webhook",))
    assert (unknown.reason, unknown.detail) == ("consent_unknown", "advertising")
