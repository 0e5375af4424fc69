from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebbgate.model import Consent, ConsentState, Model, Place, PurposeConsent, Value, Verdict
from ebbgate.policy.clean import clean, dump, load, recheck, with_consent
from ebbgate.policy.decide import decide
from ebbgate.policy.load import load_texts
from ebbgate.policy.plan import PolicySet
from tests.property import policy_reference as reference
from tests.scale import scaled
from tests.unit.policy.making import FACTS, event, lower

PURPOSES = ("analytics", "advertising", "heatmap")
DESTINATIONS = ("ga4", "meta", "webhook")
EVENTS = ("purchase", "page_view", "lead")
PLAIN = (
    "page.title", "order.id", "order.value", "order.currency", "user.id", "user.gender", "visitor.client_id", "device.language",
    "place.country", "place.region", "campaign.source", "click.gclid", "properties.color", "properties.size.eu", "event.source",
)  # fmt: skip
HASHED = {"ga4": ("user.email",), "meta": ("user.email", "user.first_name"), "webhook": ()}
GROUP_WORDS = (
    "event",
    "page",
    "order",
    "visitor",
    "device",
    "place",
    "campaign",
    "click",
    "properties",
    "user.id",
    "order.value",
    "properties.size",
)
FAST = settings(max_examples=scaled(70), deadline=None, suppress_health_check=list(HealthCheck))
#: The facts of the product's tests, with one normalisation that the reference can repeat.
SIMPLE = {
    name: replace(facts, hashes=dict.fromkeys(facts.hashes, lower), demands_hash=facts.demands_hash & {"user.email"})
    for name, facts in FACTS.items()
}

states = st.dictionaries(st.sampled_from(PURPOSES), st.sampled_from(["granted", "denied", "unknown"]))
vendor_states = st.dictionaries(st.sampled_from(DESTINATIONS), st.sampled_from(["granted", "denied", "unknown"]))
words = st.lists(st.sampled_from(GROUP_WORDS), min_size=1, max_size=5, unique=True)
texts = st.text("abcxyz09 -", max_size=6)
event_fields = st.dictionaries(st.sampled_from((*PLAIN, "user.email", "user.first_name")), texts, max_size=10)


@st.composite
def destinations(draw: st.DrawFn, name: str, purposes: tuple[str, ...]) -> dict[str, Any]:
    """The rules of one destination that the linter has nothing against."""
    send = draw(words)
    rules: dict[str, Any] = {}
    if draw(st.integers(0, 9)) == 0:
        rules["enabled"] = False
    if draw(st.integers(0, 4)) == 0:
        rules["needs"], rules["because"] = "nothing", "a ground"
    else:
        rules["needs"] = draw(st.lists(st.sampled_from(purposes), min_size=1, max_size=2, unique=True))
    if draw(st.booleans()):
        rules["events"] = draw(st.lists(st.sampled_from(EVENTS), min_size=1, max_size=2, unique=True))
    hashed = draw(st.lists(st.sampled_from(HASHED[name]), unique=True)) if HASHED[name] else []
    rules["send"] = [*send, *hashed]
    if hashed:
        rules["hash"] = hashed
    if "visitor" in send and draw(st.booleans()):
        rules["pseudonymise"] = ["visitor.client_id"]
    if "order" in send and draw(st.booleans()):
        rules["remove"] = ["order.id"]
    if rules["needs"] != "nothing" and draw(st.integers(0, 2)) == 0:
        some = draw(st.lists(st.sampled_from(rules["send"]), min_size=1, unique=True))
        rules["if_refused"] = {"send_limited": {"send": some}}
    return rules


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    """One to three policy files that claim different places."""
    claims = [
        {"countries": ["EEA", "GB"], "when_country_unknown": "apply"},
        {"regions": ["US-CA"]},
        {"everywhere_else": True},
    ]
    made: dict[str, Any] = {}
    for number, places in enumerate(draw(st.permutations(claims))[: draw(st.integers(1, 3))]):
        model = draw(st.sampled_from(["opt_in", "opt_out"]))
        missing = draw(st.sampled_from(["refused", "hold"] if model == "opt_in" else ["refused", "allowed"]))
        own = [n for n in DESTINATIONS if draw(st.integers(0, 5))] or ["ga4"]
        data: dict[str, Any] = {
            "policy": "x",
            "applies_to": places,
            "consent": {"model": model, "read_from": ["event"], "if_missing": missing, "purposes": {p: {} for p in PURPOSES}},
            "destinations": {name: draw(destinations(name, PURPOSES)) for name in own},
        }
        if draw(st.booleans()):
            data["before_anything_leaves"] = {"remove": ["user.gender"], "pseudonymise": ["click"]}
        made[f"{'cab'[number]}.yaml"] = data
    return made


def compiled(data: Mapping[str, Any]) -> PolicySet:
    """The product's reading of the files."""
    return load_texts({name: yaml.safe_dump(d, sort_keys=False).encode() for name, d in data.items()}, SIMPLE)


def made_consent(states: Mapping[str, str], vendors: Mapping[str, str]) -> Consent:
    """A consent with these states."""
    return Consent(
        Model.OPT_IN,
        {name: PurposeConsent(ConsentState(state), "event", "x") for name, state in states.items()},
        vendors={name: ConsentState(state) for name, state in vendors.items()},
    )


places = st.sampled_from(
    [
        ("DE", None),
        ("GB", None),
        ("US", "US-CA"),
        ("US", "US-NV"),
        ("BR", None),
        (None, None),
        ("XX", None),
        ("DE", "US-CA"),
        (None, "US-CA"),
        ("de", None),
    ]
)


@FAST
@given(data=files(), place=places, name=st.sampled_from(EVENTS), own=event_fields, states=states, vendors=vendor_states)
def test_decisions_equal_those_of_the_reference(
    data: dict[str, Any],
    place: tuple[str | None, str | None],
    name: str,
    own: dict[str, Value],
    states: dict[str, str],
    vendors: dict[str, str],
) -> None:
    """Verdict, reason and every field that leaves are what an evaluator without our code says."""
    policy = compiled(data).select(Place(*place))
    expected_file = reference.governs(data, *place)
    assert (policy.file if policy else None) == expected_file
    happened = event(own, name=name)
    consent = made_consent(states, vendors)
    for decision in decide(happened, consent, policy, (*DESTINATIONS, "other")):
        if policy is None or expected_file is None:
            assert (decision.verdict, decision.reason) == ("withhold", "no_policy")
            continue
        expected = reference.verdict(data[expected_file], decision.destination, name, states, vendors)
        assert (decision.verdict, decision.reason) == expected
        if decision.verdict is Verdict.WITHHOLD:
            assert decision.fields == ()
            continue
        left = reference.fields(data[expected_file], decision.destination, decision.verdict, happened.fields)
        found = clean(happened, decision, policy, consent, pseudonym=lambda text: "~")
        told = {path: f"#{value}" if path in found.hashed else value for path, value in found.fields.items()}
        assert told == left
        assert set(found.fields) <= set(decision.fields)
        assert load(dump(found)) == found


RANK = {Verdict.WITHHOLD: 0, Verdict.LIMITED: 1, Verdict.HOLD: 2, Verdict.SEND: 3}


@FAST
@given(
    data=files(),
    name=st.sampled_from(EVENTS),
    own=event_fields,
    states=states,
    vendors=vendor_states,
    less=st.sampled_from((*PURPOSES, *DESTINATIONS)),
)
def test_adding_a_denial_never_adds_a_sending(
    data: dict[str, Any], name: str, own: dict[str, Value], states: dict[str, str], vendors: dict[str, str], less: str
) -> None:
    """Less consent never sends more: no higher verdict, no more fields, at any destination.

    Held counts as more than limited: a held event may still be sent in full.
    """
    policies = compiled(data).policies
    happened = event(own, name=name)
    fewer_states = {**states, less: "denied"} if less in PURPOSES else states
    fewer_vendors = {**vendors, less: "denied"} if less in DESTINATIONS else vendors
    for policy in policies:
        before = decide(happened, made_consent(states, vendors), policy, DESTINATIONS)
        after = decide(happened, made_consent(fewer_states, fewer_vendors), policy, DESTINATIONS)
        for more, fewer in zip(before, after, strict=True):
            assert RANK[fewer.verdict] <= RANK[more.verdict]
            assert set(fewer.fields) <= set(more.fields)


@FAST
@given(data=files(), place=places, states=states, own=event_fields)
def test_order_of_files_and_destinations_does_not_matter(
    data: dict[str, Any], place: tuple[str | None, str | None], states: dict[str, str], own: dict[str, Value]
) -> None:
    """The same files in another order decide the same."""
    other = dict(reversed(list(data.items())))
    happened, consent = event(own), made_consent(states, {})
    found = [decide(happened, consent, compiled(d).select(Place(*place)), DESTINATIONS) for d in (data, other)]
    assert found[0] == found[1]
    backwards = decide(happened, consent, compiled(data).select(Place(*place)), DESTINATIONS[::-1])
    assert tuple(reversed(backwards)) == found[0]


@FAST
@given(old=files(), new=files(), name=st.sampled_from(EVENTS), own=event_fields, states=states, now=states)
def test_the_gate_only_takes_away(
    old: dict[str, Any], new: dict[str, Any], name: str, own: dict[str, Value], states: dict[str, str], now: dict[str, str]
) -> None:
    """What `recheck` lets out is part of what was stored, and part of what the policy and consent of now let out."""
    later = compiled(new)
    happened = event(own, name=name)
    for policy in compiled(old).policies:
        consent = made_consent(states, {})
        for decision in decide(happened, consent, policy, DESTINATIONS):
            if decision.verdict is Verdict.WITHHOLD:
                continue
            stored = clean(happened, decision, policy, consent, pseudonym=lambda text: "~")
            found = recheck(with_consent(stored, now), later)
            if found is None:
                continue
            assert found.fields.items() <= stored.fields.items()
            current = later.by_file[policy.file]
            fresh = decide(happened, made_consent({**states, **now}, {}), current, (decision.destination,))[0]
            if stored.limited:
                plan = current.destinations[decision.destination]
                assert plan.limited is not None
                assert all(plan.limited.lets_out(path) for path in found.fields)
            else:
                assert fresh.verdict is Verdict.SEND
                assert set(found.fields) <= set(fresh.fields)
                assert not (set(fresh.hashed) & set(found.fields)) - set(found.hashed)
