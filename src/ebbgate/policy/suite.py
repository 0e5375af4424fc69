"""Runs `*_test.yaml` against a set of policies: the same decide and clean as the gateway, with a fixed clock.

Consent is resolved by a function that the caller hands in, because `consent` is a sibling of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

from ebbgate.errors import Problem
from ebbgate.model import EMPTY, Consent, ConsentRules, Decision, Event, Model, Place, Signals, Trust, Value
from ebbgate.policy.clean import clean
from ebbgate.policy.decide import decide
from ebbgate.policy.plan import ALWAYS_SENT, Policy, PolicySet
from ebbgate.policy.select import expand
from ebbgate.policy.suite_words import Case, Expected, Given, Known, SuiteWords, now_of, read_suite, signal_purposes
from ebbgate.policy.words import OUTCOMES, WHY
from ebbgate.policy.yaml import Document

#: `consent.resolve.resolve`: signals, place, rules and the time in ms → consent.
Resolve: TypeAlias = Callable[[Signals, Place, ConsentRules, int], Consent]


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case, run once (once for each combination of a matrix)."""

    file: str
    name: str
    line: int
    failures: tuple[str, ...]  #: "eu_test.yaml:14:9: expected …"; empty = passed
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """All cases of the test files beside one set of policies."""

    cases: tuple[CaseResult, ...]
    problems: tuple[Problem, ...]  #: test files that cannot be run
    hit: frozenset[str]  #: lines of policies that decided something
    rules: tuple[str, ...]  #: all that could have

    @property
    def ok(self) -> bool:
        """True when every test file could be run and every case passed."""
        return not self.problems and all(not case.failures for case in self.cases)


def known_words(policies: PolicySet) -> Known:
    """The destinations and purposes that tests of these policies may name."""
    purposes = {rule.name for policy in policies.policies for rule in policy.consent.purposes}
    return Known(frozenset(policies.destinations), frozenset(purposes))


def lint_suites(files: Mapping[str, bytes], policies: PolicySet) -> list[Problem]:
    """What is wrong with test files, without running them."""
    words = known_words(policies)
    return [problem for file, raw in sorted(files.items()) for problem in read_suite(raw, file, words)[0].problems]


def run_suites(
    files: Mapping[str, bytes], policies: PolicySet, resolve: Resolve, *, timer: Callable[[], float] = lambda: 0.0
) -> SuiteResult:
    """Runs every case of the test files (name → bytes). `timer` gives seconds, for the times in the report."""
    words = known_words(policies)
    cases: list[CaseResult] = []
    problems: list[Problem] = []
    hit: set[str] = set()
    for file, raw in sorted(files.items()):
        doc, suite = read_suite(raw, file, words)
        problems.extend(doc.problems)
        if suite is not None:
            cases.extend(_run_file(doc, suite, policies, resolve, timer, hit))
    rules = tuple(rule for policy in policies.policies for plan in policy.destinations.values() for rule in plan.rules)
    return SuiteResult(tuple(cases), tuple(problems), frozenset(hit), tuple(dict.fromkeys(rules)))


def _run_file(
    doc: Document, suite: SuiteWords, policies: PolicySet, resolve: Resolve, timer: Callable[[], float], hit: set[str]
) -> Iterator[CaseResult]:
    now_ms = now_of(suite) or 0
    for index, case in enumerate(suite.cases):
        base = _merged(suite.fixtures[case.given.use], case.given) if case.given.use else case.given
        for label, given, expected, at in _combinations(case, base, ("cases", index)):
            started = timer()
            failures = tuple(_failures(doc, at, given, expected, policies, resolve, now_ms, hit))
            yield CaseResult(doc.file, case.it + label, doc.line("cases", index), failures, timer() - started)


def _merged(fixture: Given, given: Given) -> Given:
    """A fixture with what the case says itself on top; fields and consent are merged name by name."""
    own = {name: getattr(given, name) for name in given.model_fields_set - {"use"}}
    own["fields"] = {**fixture.fields, **given.fields}
    own["consent"] = {**fixture.consent, **given.consent}
    return fixture.model_copy(update=own)


Combination: TypeAlias = tuple[str, Given, Mapping[str, Expected], tuple[str | int, ...]]


def _combinations(case: Case, given: Given, at: tuple[str | int, ...]) -> Iterator[Combination]:
    """A case once, or once for every place and named choice of its matrix."""
    matrix = case.matrix
    countries: Sequence[str | None] = matrix.country or [given.country]
    regions: Sequence[str | None] = matrix.region or [given.region]
    choices: Sequence[str | None] = list(matrix.consent) or [None]
    for country, region, choice in product(countries, regions, choices):
        update: dict[str, Any] = {"country": country, "region": region}
        if choice is not None:
            update["consent"] = {**given.consent, **matrix.consent[choice]}
        varied = [word for word, many in ((country, matrix.country), (region, matrix.region), (choice, matrix.consent)) if many]
        label = f" [{', '.join(str(word) for word in varied)}]" if varied else ""
        each = case.expect_each.get(choice, {}) if choice is not None else {}
        if case.expect:
            yield label, given.model_copy(update=update), case.expect, (*at, "expect")
        if each:
            yield label, given.model_copy(update=update), each, (*at, "expect_each", str(choice))


def _failures(
    doc: Document,
    at: tuple[str | int, ...],
    given: Given,
    expected: Mapping[str, Expected],
    policies: PolicySet,
    resolve: Resolve,
    now_ms: int,
    hit: set[str],
) -> Iterator[str]:
    place = Place(given.country or (given.region or "")[:2] or None, given.region, "test")
    policy = policies.select(place)
    event = _event(given, now_ms)
    consent = resolve(_signals(given), place, policy.consent, now_ms) if policy else Consent(Model.OPT_IN, EMPTY)
    for decision in decide(event, consent, policy, tuple(expected)):
        hit.add(decision.rule)
        span = doc.key(*at, decision.destination)
        for failure in _compare(expected[decision.destination], decision, event, consent, policy):
            where = f"; decided at {decision.rule}" if decision.rule else ""
            yield f"{doc.file}:{span.line}:{span.column}: expected {decision.destination} {failure}{where}"


def _compare(expected: Expected, decision: Decision, event: Event, consent: Consent, policy: Policy | None) -> Iterator[str]:
    outcome = OUTCOMES[decision.verdict]
    if outcome != expected.outcome:
        yield f"{expected.outcome}, got {outcome} ({decision.reason.value})"
        return
    if expected.why is not None and decision.reason not in WHY[expected.why]:
        yield f"{outcome} because of {expected.why}, got {decision.reason.value}"
    if policy is None or outcome == "not_sent":
        return
    cleaned = clean(event, decision, policy, consent, pseudonym=lambda _: "pseudonym")
    leaving = cleaned.fields.keys()
    for path in expected.fields:
        if not any(expand([path]).covers(p) for p in leaving):
            yield f"with {path}, got without"
    for selector in expected.without:
        for path in sorted(p for p in leaving if expand([selector]).covers(p)):
            yield f"without {path}, got {path}{'=<hashed>' if path in cleaned.hashed else ''}"
    if expected.only is not None:
        allowed = expand([*expected.only, *ALWAYS_SENT])
        for path in sorted(p for p in leaving if not allowed.covers(p)):
            yield f"only {' '.join(expected.only)}, got {path} too"
    for path in expected.hashed:
        if path not in cleaned.hashed or path not in leaving:
            yield f"with {path} hashed, got it {'in clear' if path in leaving else 'not at all'}"


def _event(given: Given, now_ms: int) -> Event:
    name = given.event or "page_view"
    fields: dict[str, Value] = {"event.id": "test-event", "event.name": name, "event.time": now_ms, "event.source": "server"}
    fields.update({path: _value(value) for path, value in given.fields.items() if value is not None})
    return Event("test-event", name, now_ms, now_ms, "test", "native", Trust.SERVER, fields)


def _value(value: Any) -> Value:
    """YAML lists as the tuples that events hold; a nested group of settings becomes nothing a destination knows."""
    if isinstance(value, list):
        return tuple({str(k): v for k, v in item.items()} if isinstance(item, dict) else item for item in value)
    if isinstance(value, dict):
        return (value,)
    return value if isinstance(value, str | int | float | bool) else str(value)


def _signals(given: Given) -> Signals:
    told = given.signals
    purposes = signal_purposes(given.consent)
    if told is None:
        return Signals(purposes=purposes)
    return Signals(
        purposes=purposes,
        categories=tuple(sorted(told.categories.items())),
        tcf=told.tcf,
        gpp=told.gpp,
        us_privacy=told.us_privacy,
        gcs=told.gcs,
        gcd=told.gcd,
        addtl_consent=told.addtl_consent,
        gpc=told.gpc,
        dnt=told.dnt,
    )


def never_hit(result: SuiteResult) -> Collection[str]:
    """Lines of the policies that no case reached, in the order of the files."""
    return [rule for rule in result.rules if rule not in result.hit]
