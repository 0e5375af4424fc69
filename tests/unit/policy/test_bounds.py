from __future__ import annotations

import pytest

from ebbgate.consent import overlay
from ebbgate.model import Consent, ConsentRules, ConsentState, Model, PurposeConsent, PurposeRule
from ebbgate.policy.clean import shorter
from ebbgate.policy.decide import decide
from ebbgate.policy.plan import LargeMemo
from tests.unit.policy.making import GRANTED, consent, event, policy

RULES = ConsentRules(Model.OPT_IN, ("event",), "refused", "most_protective", (PurposeRule("analytics"),))
TEXT = "  ga4:\n    needs: [analytics]\n    send: [event]"


def test_remembered_choices_are_bounded_and_stay_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for one answer the memory of overlaid consents still gives each visitor's own."""
    monkeypatch.setattr(overlay, "_KEPT", 1)
    unknown = Consent(Model.OPT_IN, {"analytics": PurposeConsent(ConsentState.UNKNOWN, "none", "")})
    for _ in range(2):
        for state in (ConsentState.GRANTED, ConsentState.DENIED):
            found = overlay.with_choices(unknown, RULES, (("analytics", state.value),))
            assert found.state("analytics") is state


def test_remembered_decisions_are_bounded_and_stay_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for no decision each event is still decided as before."""
    monkeypatch.setattr(LargeMemo, "most", 0)
    rules = policy(TEXT)
    verdicts = [decide(event(), given, rules, ("ga4",))[0].sends for given in (consent(analytics=GRANTED), consent())]
    assert verdicts == [True, False]


def test_an_address_that_cannot_be_rebuilt_does_not_leave() -> None:
    """What is no address has no shorter form: the field is left out."""
    assert shorter("no address", allowed=frozenset()) is None
    assert shorter("https://a.example/?x=1&y=2", allowed=frozenset({"x"})) == "https://a.example/?x=1"
