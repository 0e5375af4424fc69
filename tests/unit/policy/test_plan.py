from __future__ import annotations

from ebbgate.model import Place, Reason
from ebbgate.policy.decide import decide
from ebbgate.policy.plan import MAX_FIELDS, MAX_KEPT, Memo
from tests.unit.policy.making import CONSENT, consent, event, policies, policy

TEXT = """\
  ga4:
    needs: [analytics]
    events: [purchase]
    send: [event, properties]
  meta:
    needs: [advertising]
    send: [event]
    if_refused: {send_limited: {send: [event]}}
  webhook:
    enabled: false
    needs: nothing
    because: x
    send: [event]"""


def test_memory_is_bounded() -> None:
    """A stranger who invents property names fills no memory: the memos start anew, wide events are not kept at all."""
    rules = policy(TEXT.replace("needs: [analytics]", "needs: nothing\n    because: x"))
    plan = rules.destinations["ga4"]
    for number in range(MAX_KEPT + 10):
        decide(event({f"properties.n{number}": 1}), consent(), rules, ("ga4",))
        assert len(plan.decisions) <= MAX_KEPT
        assert len(rules.everywhere.shapes) <= MAX_KEPT
    before = len(plan.decisions), len(rules.everywhere.shapes)
    wide = {f"properties.n{number}": 1 for number in range(MAX_FIELDS)}
    found = decide(event(wide), consent(), rules, ("ga4",))
    assert len(found[0].fields) == MAX_FIELDS + 3
    assert (len(plan.decisions), len(rules.everywhere.shapes)) == before


def test_a_memo_starts_anew_when_full() -> None:
    """The newest answer is always kept."""
    memo: Memo[int, int] = Memo()
    for number in range(MAX_KEPT + 1):
        memo.keep(number, number, 1)
    assert dict(memo) == {MAX_KEPT: MAX_KEPT}


def test_rules_that_can_decide() -> None:
    """For coverage: the destination, its needs or its limited form, its events; of a switched-off one only that line."""
    rules = policy(TEXT)
    found = {name: plan.rules for name, plan in rules.destinations.items()}
    assert found == {
        "ga4": ("a.yaml:11", "a.yaml:12", "a.yaml:13"),
        "meta": ("a.yaml:15", "a.yaml:18"),
        "webhook": ("a.yaml:20",),
    }
    assert rules.destinations["ga4"].rule_for(Reason.GRANTED) == "a.yaml:11"
    assert rules.destinations["webhook"].rule_for(Reason.DISABLED) == "a.yaml:20"


def test_names_of_all_destinations() -> None:
    """Sorted, each once, over all policies."""

    def text(country: str, destination: str) -> str:
        head = f"policy: x\nowner: o\nreason: r\napplies_to: {{countries: [{country}]}}\n"
        return f"{head}{CONSENT}destinations:\n  {destination}: {{needs: [analytics], send: [event]}}\n"

    found = policies(text("DE", "meta"), text("FR", "ga4"))
    assert found.destinations == ("ga4", "meta")
    assert found.select(Place("IT")) is None
