"""The properties of decisions that issue 4 names, in bulk: many events judged under each made-up set of policies.

Making and compiling policies is what takes time, so each set judges a crowd of events that a seed makes. A long run
(`make test-long`) judges over 100,000; by default it is a small part of that.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebbgate.model import Place, Value, Verdict
from ebbgate.policy.decide import decide
from tests.property import policy_reference as reference
from tests.property.test_policy_decide import DESTINATIONS, EVENTS, PLAIN, PURPOSES, RANK, compiled, files, made_consent
from tests.scale import SCALE
from tests.unit.policy.making import event

CROWD: Final = 30
#: With 30 events for each set, and two properties: 102,000 events in a long run.
SETS: Final = 12 if SCALE == 1 else 1_700
BULK: Final = settings(max_examples=SETS, deadline=None, suppress_health_check=list(HealthCheck))
STATES: Final = ("granted", "denied", "unknown")
PLACES: Final = (("DE", None), ("GB", None), ("US", "US-CA"), ("US", "US-NV"), ("BR", None), (None, None), ("DE", "US-CA"))
seeds = st.integers(0, 2**32 - 1)


class Case(NamedTuple):
    """One event and what its visitor said."""

    place: tuple[str | None, str | None]
    name: str
    fields: dict[str, Value]
    states: dict[str, str]
    vendors: dict[str, str]
    less: str  #: a purpose or a vendor that is refused as well


def crowd(seed: int) -> Iterator[Case]:
    """Events as a seed makes them."""
    chance = random.Random(seed)
    paths = (*PLAIN, "user.email", "user.first_name")
    for _ in range(CROWD):
        yield Case(
            chance.choice(PLACES),
            chance.choice(EVENTS),
            {p: chance.choice(("abc", "x 0", " Z", "")) for p in chance.sample(paths, chance.randrange(10))},
            {p: chance.choice(STATES) for p in PURPOSES if chance.random() < 0.8},
            {d: chance.choice(STATES) for d in DESTINATIONS if chance.random() < 0.4},
            chance.choice((*PURPOSES, *DESTINATIONS)),
        )


@BULK
@given(data=files(), seed=seeds)
def test_every_decision_equals_that_of_the_reference(data: dict[str, Any], seed: int) -> None:
    """Verdict and reason of every event of the crowd are what an evaluator without our code says, and so are the fields."""
    policies = compiled(data)
    for case in crowd(seed):
        policy = policies.select(Place(*case.place))
        expected_file = reference.governs(data, *case.place)
        assert (policy.file if policy else None) == expected_file
        happened = event(case.fields, name=case.name)
        for decision in decide(happened, made_consent(case.states, case.vendors), policy, DESTINATIONS):
            if policy is None or expected_file is None:
                assert (decision.verdict, decision.reason) == ("withhold", "no_policy")
                continue
            rules, name = data[expected_file], decision.destination
            assert (decision.verdict, decision.reason) == reference.verdict(rules, name, case.name, case.states, case.vendors)
            if decision.verdict is not Verdict.WITHHOLD:
                assert set(reference.fields(rules, name, decision.verdict, happened.fields)) <= set(decision.fields)


@BULK
@given(data=files(), seed=seeds)
def test_no_denial_adds_a_sending(data: dict[str, Any], seed: int) -> None:
    """One refusal more never brings a higher verdict or another field, at any destination, for any event of the crowd."""
    policies = compiled(data)
    for case in crowd(seed):
        policy = policies.select(Place(*case.place))
        happened = event(case.fields, name=case.name)
        fewer_states = {**case.states, case.less: "denied"} if case.less in PURPOSES else case.states
        fewer_vendors = {**case.vendors, case.less: "denied"} if case.less in DESTINATIONS else case.vendors
        before = decide(happened, made_consent(case.states, case.vendors), policy, DESTINATIONS)
        after = decide(happened, made_consent(fewer_states, fewer_vendors), policy, DESTINATIONS)
        for more, fewer in zip(before, after, strict=True):
            assert RANK[fewer.verdict] <= RANK[more.verdict]
            assert set(fewer.fields) <= set(more.fields)
