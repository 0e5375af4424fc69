from __future__ import annotations

from xml.etree import ElementTree

import pytest

from ebbgate.model import Consent, ConsentRules, ConsentState, Place, PurposeConsent, Signals
from ebbgate.policy.suite import SuiteResult, lint_suites, run_suites
from ebbgate.policy.suite_report import as_junit, as_text
from tests.unit.policy.making import CONSENT, policies

POLICY = f"""\
policy: x
owner: o
reason: r
applies_to: {{countries: [DE, FR], when_country_unknown: apply}}
{CONSENT}destinations:
  ga4:
    needs: [analytics]
    events: [purchase]
    send: [event, order, user.id]
    pseudonymise: [user.id]
  meta:
    needs: [advertising]
    send: [event, order.value, user.email]
    hash: [user.email]
"""
SET = policies(POLICY)


def resolve(signals: Signals, place: Place, rules: ConsentRules, now_ms: int) -> Consent:
    """Consent by explicit purposes alone; GPC refuses all."""
    told = dict(signals.purposes)
    states = {
        rule.name: ConsentState.DENIED if signals.gpc else ConsentState(told.get(rule.name, "unknown")) for rule in rules.purposes
    }
    return Consent(rules.model, {name: PurposeConsent(state, "event", str(now_ms)) for name, state in states.items()})


def run(cases: str, head: str = "") -> SuiteResult:
    """A suite with these cases, indented by two."""
    return run_suites({"p/a_test.yaml": f"suite: s\n{head}cases:\n{cases}".encode()}, SET, resolve)


def failures(cases: str, head: str = "") -> list[str]:
    """What failed."""
    found = run(cases, head)
    assert not found.problems
    return [failure for case in found.cases for failure in case.failures]


GIVEN = (
    "given: {event: purchase, country: DE, consent: {analytics: granted, advertising: refused}, "
    "fields: {order.value: 1, user.id: u, user.email: a@b.example}}"
)


def test_the_form_of_the_design() -> None:
    """The example of DESIGN §4 runs as written."""
    cases = f"""\
  - it: drops advertising when the visitor refused
    {GIVEN}
    expect:
      ga4: {{outcome: sent, without: [user.email]}}
      meta: {{outcome: not_sent, why: consent}}
"""
    assert failures(cases) == []


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ("ga4: not_sent", "ga4 not_sent, got sent (granted); decided at a.yaml:11"),
        ("ga4: {outcome: sent, without: [user]}", "ga4 without user.id, got user.id; decided at a.yaml:11"),
        ("ga4: {outcome: sent, without: [order]}", "ga4 without order.value, got order.value; decided at a.yaml:11"),
        ("ga4: {outcome: sent, fields: [order.tax]}", "ga4 with order.tax, got without; decided at a.yaml:11"),
        ("ga4: {outcome: sent, only: [event, user]}", "ga4 only event user, got order.value too; decided at a.yaml:11"),
        ("ga4: {outcome: sent, hashed: [user.id]}", "ga4 with user.id hashed, got it in clear; decided at a.yaml:11"),
        ("ga4: {outcome: sent, hashed: [user.email]}", "ga4 with user.email hashed, got it not at all; decided at a.yaml:11"),
        ("ga4: {outcome: sent, why: not_needed}", "ga4 sent because of not_needed, got granted; decided at a.yaml:11"),
        ("meta: sent", "meta sent, got not_sent (consent_denied); decided at a.yaml:17"),
        ("meta: {outcome: not_sent, why: event}", "meta not_sent because of event, got consent_denied; decided at a.yaml:17"),
    ],
)
def test_a_wrong_expectation_fails(expected: str, said: str) -> None:
    """Each kind of expectation can fail, and says at which line of the test and of the policy."""
    found = failures(f"  - it: x\n    {GIVEN}\n    expect:\n      {expected}\n")
    assert found == [f"p/a_test.yaml:6:7: expected {said}"]


@pytest.mark.parametrize(
    "expected",
    [
        "ga4: {outcome: sent, why: granted, fields: [order.value], only: [event, order, user], without: [page, user.email]}",
        "meta: {outcome: not_sent, why: refused, without: [order]}",
        "ga4: {outcome: sent, only: [order.value, user.id, event.id, event.source]}",
    ],
)
def test_a_right_expectation_passes(expected: str) -> None:
    """The same kinds of expectation pass when they hold."""
    assert failures(f"  - it: x\n    {GIVEN}\n    expect:\n      {expected}\n") == []


def test_hashed_is_seen() -> None:
    """A failure tells that the field that should not leave leaves hashed."""
    given = GIVEN.replace("refused", "granted")
    found = failures(
        f"  - it: x\n    {given}\n    expect:\n      meta: {{outcome: sent, without: [user.email], hashed: [user.email]}}\n"
    )
    assert found == ["p/a_test.yaml:6:7: expected meta without user.email, got user.email=<hashed>; decided at a.yaml:16"]


def test_fixtures_and_matrix() -> None:
    """A fixture is a start, a case adds to it; a matrix makes a case of every combination."""
    head = "fixtures:\n  order: {event: purchase, consent: {analytics: granted}, fields: {order.value: 1}}\n"
    cases = """\
  - it: depends on the choice
    given: {use: order, fields: {order.tax: 2}}
    matrix:
      country: [DE, FR]
      consent:
        yes to all: {advertising: granted}
        no: {analytics: refused}
    expect_each:
      yes to all: {ga4: {outcome: sent, fields: [order.value, order.tax]}, meta: sent}
      no: {ga4: not_sent, meta: not_sent}
"""
    found = run(cases, head)
    assert found.ok
    assert [case.name.partition(" [")[2] for case in found.cases] == ["DE, yes to all]", "DE, no]", "FR, yes to all]", "FR, no]"]


def test_signals_and_clock_are_handed_on() -> None:
    """Consent signals of a case reach the resolver; the clock is the suite's, not today's."""
    seen: list[tuple[Signals, int]] = []

    def spy(signals: Signals, place: Place, rules: ConsentRules, now_ms: int) -> Consent:
        seen.append((signals, now_ms))
        return resolve(signals, place, rules, now_ms)

    case = "{it: x, given: {signals: {gpc: true, us_privacy: 1YNN}, event: purchase}, expect: {ga4: not_sent}}"
    text = f"suite: s\nnow: 2026-01-02T03:04:05Z\ncases: [{case}]".encode()
    assert run_suites({"a_test.yaml": text}, SET, spy).ok
    assert seen == [(Signals(us_privacy="1YNN", gpc=True), 1_767_323_045_000)]


def test_unknown_place() -> None:
    """A case without a place is judged by the policy for unknown places; one of nobody's place by none."""
    assert failures("  - {it: x, given: {event: purchase, consent: {analytics: granted}}, expect: {ga4: sent}}\n") == []
    assert failures("  - {it: x, given: {event: purchase, country: BR}, expect: {ga4: {outcome: not_sent, why: place}}}\n") == []


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("suite: s\ncases: [{it: x, expect: {ga5: sent}}]", "T001", 2, 26),
        ("suite: s\ncases: [{it: x, given: {use: ordr}, expect: {ga4: sent}}]", "T002", 2, 30),
        ("suite: s\ncases: [{it: x, given: {consent: {analitics: granted}}, expect: {ga4: sent}}]", "T002", 2, 35),
        ("suite: s\ncases: [{it: x, given: {fields: {user.mail: a}}, expect: {ga4: sent}}]", "T002", 2, 34),
        ("suite: s\ncases: [{it: x, given: {country: UK}, expect: {ga4: sent}}]", "T002", 2, 34),
        ("suite: s\ncases: [{it: x, given: {region: CA}, expect: {ga4: sent}}]", "T002", 2, 33),
        ("suite: s\ncases: [{it: x, matrix: {country: [DE, XX]}, expect: {ga4: sent}}]", "T002", 2, 40),
        ("suite: s\ncases: [{it: x, matrix: {region: [XX]}, expect: {ga4: sent}}]", "T002", 2, 35),
        ("suite: s\ncases: [{it: x, expect: {ga4: {outcome: not_sent, why: reasons}}}]", "T002", 2, 56),
        ("suite: s\ncases: [{it: x, expect: {ga4: {outcome: sent, without: [usr]}}}]", "T002", 2, 57),
        ("suite: s\ncases: [{it: x, matrix: {consent: {a: {}}}, expect_each: {b: {ga4: sent}}}]", "T002", 2, 59),
        ("suite: s\ncases: [{it: x}]", "T003", 2, 10),
        ("suite: s\nnow: tomorrow\ncases: [{it: x, expect: {ga4: sent}}]", "T003", 2, 6),
        ("suite: s\nnow: 2026-13-41\ncases: [{it: x, expect: {ga4: sent}}]", "T003", 2, 6),
        ("suite: s\ncases: [{it: x, expect: {ga4: {outcome: not_sent, fields: [order]}}}]", "T003", 2, 31),
        ("suite: s\ncases: [{it: x, expects: {ga4: sent}}]", "P001", 2, 17),
        ("suite: s\ncases: [{it: x, expect: {ga4: send}}]", "P002", 2, 31),
        ("suite: s\ncases: [{it: x, given: {consent: {analytics: yes}}, expect: {ga4: sent}}]", "P002", 2, 46),
        ("suite: s\ncases: []", "P007", 2, 8),
        ("cases: [{it: x, expect: {ga4: sent}}]", "P006", 1, 1),
    ],
)
def test_wrong_tests(text: str, code: str, line: int, column: int) -> None:
    """A test file that names unknown things is refused with its place, never skipped."""
    found = lint_suites({"a_test.yaml": text.encode()}, SET)
    assert (code, line, column) in [(p.code, p.line, p.column) for p in found]
    assert not run_suites({"a_test.yaml": text.encode()}, SET, resolve).ok


def test_report() -> None:
    """Failures are printed with their place, then one line with the count and the lines never reached."""
    cases = f"""\
  - it: passes
    {GIVEN}
    expect: {{ga4: sent, meta: not_sent}}
  - it: fails
    {GIVEN}
    expect: {{ga4: not_sent}}
"""
    found = run(cases)
    shown = as_text([found], coverage=True).split("\n")
    assert shown[0].startswith("a_test.yaml  fails ....")
    assert " FAIL " in shown[0]
    assert shown[1] == "  p/a_test.yaml:8:14: expected ga4 not_sent, got sent (granted); decided at a.yaml:11"
    assert shown[2] == "FAIL: 1/2   rules exercised: 2/5 (never hit: a.yaml:12, a.yaml:13, a.yaml:16)"
    assert "passes" in as_text([found], verbose=True)
    assert as_text([run(cases.split("  - it: fails")[0])]) == "PASS: 1/1"


def test_no_cases_is_no_pass() -> None:
    """A folder without tests does not pass: a promise that is not tested is none."""
    assert as_text([run_suites({}, SET, resolve)]) == "FAIL: 0/0"


def test_junit() -> None:
    """Build servers get well-formed XML with every case, failure and unreadable file."""
    bad = {
        "p/b_test.yaml": b"suite: '<&>\"'\ncases: [{it: '<x>', given: {event: purchase}, expect: {ga4: sent}}]",
        "p/c_test.yaml": b"cases: [",
    }
    root = ElementTree.fromstring(as_junit([run_suites(bad, SET, resolve)]))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("1", "1", "1")
    case = root.find(".//testcase[@name='<x>']")
    assert case is not None
    assert case.find("failure") is not None
    assert root.find(".//error") is not None
