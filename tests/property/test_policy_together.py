"""The stored form for all destinations at once against `clean`, the form for one: equal for every destination, and nothing more."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from ebbgate.errors import PolicyError, StoreError
from ebbgate.model import CleanEvent, Consent, Decision, Event, KnownItems, Model, PurposeConsent, Value
from ebbgate.policy.clean import clean, dump, load
from ebbgate.policy.decide import decide
from ebbgate.policy.plan import Policy
from ebbgate.policy.stored import alone
from ebbgate.policy.together import clean_all
from tests.property.test_policy_decide import DESTINATIONS, EVENTS, compiled, files, made_consent
from tests.scale import scaled
from tests.unit.policy.making import DENIED, GRANTED, consent, event, policy

FAST = settings(max_examples=scaled(40), deadline=None, suppress_health_check=list(HealthCheck))
#: Every way in which a value can be treated for one destination and not for another.
MANY = """\
  ga4:
    needs: [analytics]
    send: [event, page, order, user.email, user.phone, properties, network.ip, visitor]
    hash: [user.email, user.phone]
    expire_after: 3 days
    limit: {page.title: 5, properties.size: 3}
    generalise: {time: hour}
  meta:
    needs: [advertising]
    send: [event, page.url, page.title, user.email, user.phone, click, order.value]
    hash: [user.email, user.phone]
    pseudonymise: [click]
    keep_url_parameters: [utm_source]
    if_refused: {send_limited: {send: [event, order.value], add: {opt_out: true}}}
  webhook:
    needs: nothing
    because: own records
    send: [order, page.title]
    limit: {page.title: 8}
"""
COMMON = "  keep_url_parameters: [utm_source, ref]\n  pseudonymise: [visitor]"
ITEMS = KnownItems(({"id": "sku", "name": "Shoe", "price": 6}, {"id": "b", "quantity": 2}))

texts = st.text("abcxyz09 -", max_size=12)
values: dict[str, st.SearchStrategy[Value]] = {
    "page.title": texts,
    "page.url": st.sampled_from(["https://shop.example/a?utm_source=n&ref=b#x", "not an address", "https://u:p@shop.example/very/long/path/name/x"]),
    "order.id": texts,
    "order.value": st.floats(0, 1e6) | st.integers(0, 2**80),
    "order.items": st.just(ITEMS),
    "user.email": st.sampled_from(["A@example.org", "", " ", "ü@example.org", "a" * 300 + "@example.org"]),
    "user.phone": st.sampled_from(["+49 30 901820", "none"]),
    "visitor.client_id": texts,
    "click.gclid": texts | st.just("\ud800"),
    "properties.size": st.integers() | st.booleans() | st.just(("a", 1)),
    "network.ip": st.sampled_from(["203.0.113.7", "nowhere", "2001:db8::1"]),
    "place.country": st.sampled_from(["DE", "US"]),
}  # fmt: skip
laden = st.fixed_dictionaries({}, optional=values)


def pseudonym(text: str) -> str:
    """Another code for each text that shows nothing of it."""
    return f"p{hash(text) & 0xFFFF_FFFF:08x}"


def same_as_clean(happened: Event, decisions: tuple[Decision, ...], under: Policy, allowed: Consent) -> None:
    """Every destination's part is what `clean` makes, and there is a part for those that get something only."""
    shared, records = clean_all(happened, decisions, under, allowed, pseudonym=pseudonym)
    assert set(records) == {d.destination for d in decisions if d.sends}
    for decision in decisions:
        if decision.sends:
            expected = clean(happened, decision, under, allowed, pseudonym=pseudonym)
            whole = shared + records[decision.destination]
            assert load(whole) == as_stored(expected)
            assert alone(whole) == alone(dump(as_stored(expected))), "what is kept for later holds this destination's part only"


def as_stored(expected: Any) -> Any:
    """What MessagePack cannot hold goes into the store as text."""
    fields = {p: str(v) if type(v) is int and not -(1 << 63) <= v < 1 << 64 else v for p, v in expected.fields.items()}
    return replace(expected, fields={p: v.replace("\ud800", "?") if isinstance(v, str) else v for p, v in fields.items()})


@FAST
@given(
    data=files(),
    name=st.sampled_from(EVENTS),
    own=laden,
    states=st.dictionaries(
        st.sampled_from(["analytics", "advertising", "heatmap"]), st.sampled_from(["granted", "denied", "unknown"])
    ),
)
def test_together_is_what_clean_makes_for_each(
    data: dict[str, Any], name: str, own: dict[str, Value], states: Mapping[str, str]
) -> None:
    """Any policies, any event, any consent: `load(shared + record)` equals `clean` for every destination."""
    happened, allowed = event(own, name=name), made_consent(states, {})
    for under in compiled(data).policies:
        decisions = decide(happened, allowed, under, (*DESTINATIONS, "other"))
        same_as_clean(happened, decisions, under, allowed)


MANY_POLICY = policy(MANY, common=COMMON)
GRANTS = [consent(analytics=a, advertising=b) for a in (GRANTED, DENIED) for b in (GRANTED, DENIED)]


@FAST
@given(own=laden, allowed=st.sampled_from(GRANTS), id_=st.sampled_from(["A-1", "\ud800"]))
def test_together_treats_values_for_one_destination_only(own: dict[str, Value], allowed: Consent, id_: str) -> None:
    """Hashes, pseudonyms, limits, addresses, coarse times and expiries of one destination change nothing for another."""
    happened = event(own, id_=id_) if id_ == "A-1" else structs.replace(event(own), fields={**event(own).fields, "event.id": 7})
    decisions = decide(happened, allowed, MANY_POLICY, DESTINATIONS)
    same_as_clean(happened, decisions, MANY_POLICY, allowed)


@FAST
@given(own=laden, allowed=st.sampled_from(GRANTS))
def test_what_no_destination_gets_is_not_in_the_shared_part(own: dict[str, Value], allowed: Consent) -> None:
    """Every value of the shared part belongs to a destination: a name, a site, or a slot that some record points to."""
    happened = event({**own, "user.id": "Canary-id", "user.first_name": "Canary"})
    decisions = decide(happened, allowed, MANY_POLICY, DESTINATIONS)
    shared, records = clean_all(happened, decisions, MANY_POLICY, allowed, pseudonym=pseudonym)
    if not records:
        assert shared == b""
        return
    whole = [msgspec.msgpack.decode(shared + record) for record in records.values()]
    written, paths = whole[0][1], whole[0][2]
    used = {slot % len(written) for _, _, _, own_part in whole for slot in (*own_part[1], *own_part[2:5]) if slot is not None}
    assert used | {len(written) - 1, len(written) - 2} == set(range(len(written)))
    left = {path for d in decisions if d.sends for path in d.fields}
    assert {path for path in paths if path} <= left
    assert b"Canary" not in shared


@pytest.mark.parametrize(
    "own", [{}, {"place.country": "DE"}, {"place.country": "DE", "user.country": "at"}, {"user.country": "Austria"}]
)
def test_telephones_are_hashed_by_the_country_of_the_event(own: dict[str, Value]) -> None:
    """The country by which a number is read is found for all destinations at once, and is the one by which `clean` reads it."""
    happened = event({**own, "user.phone": "030 901820", "user.email": "a@example.org"})
    decisions = decide(happened, GRANTS[0], MANY_POLICY, DESTINATIONS)
    same_as_clean(happened, decisions, MANY_POLICY, GRANTS[0])


def test_the_id_stays_when_no_destination_gets_it() -> None:
    """An id that the policy keeps here is in no stored byte: a pseudonym stands for it."""
    under = policy("  webhook:\n    needs: nothing\n    because: own records\n    send: [order.value]\n")
    happened = event({"order.value": 3.5}, id_="order-number-4711")
    decisions = decide(happened, GRANTS[0], under, DESTINATIONS)
    shared, records = clean_all(happened, decisions, under, GRANTS[0], pseudonym=pseudonym)
    assert set(records) == {"webhook"}
    assert b"4711" not in shared + records["webhook"]


def test_a_plan_belongs_to_its_decisions_and_consent() -> None:
    """Consents with other states, one after the other under the same decisions, each keep their own states."""
    happened = event({"order.value": 1})
    under = policy("  webhook:\n    needs: nothing\n    because: own records\n    send: [event]\n")
    for state in (GRANTED, DENIED, GRANTED):
        allowed = Consent(Model.OPT_IN, {"analytics": PurposeConsent(state, "event", "x")})
        shared, records = clean_all(happened, decide(happened, allowed, under, ("webhook",)), under, allowed, pseudonym=pseudonym)
        assert load(shared + records["webhook"]).consent == {"analytics": state.value}


def test_a_decision_of_another_policy_lets_nothing_out() -> None:
    """A decision is only worth something under the policy that made it."""
    happened = event({"order.value": 1})
    made_elsewhere = decide(happened, GRANTS[0], MANY_POLICY, DESTINATIONS)
    other = policy(MANY.replace("own records", "another ground"), common=COMMON)
    with pytest.raises(PolicyError):
        clean_all(happened, made_elsewhere, other, GRANTS[0], pseudonym=pseudonym)


@given(cut=st.integers(0, 400), flip=st.integers(0, 255))
@FAST
def test_damaged_bytes_are_refused_or_stay_one_destinations_event(cut: int, flip: int) -> None:
    """Whatever became of stored bytes: `load` says StoreError, or gives an event, and nothing else happens."""
    happened = event({"order.value": 1, "page.title": "Shoes"})
    shared, records = clean_all(
        happened, decide(happened, GRANTS[0], MANY_POLICY, DESTINATIONS), MANY_POLICY, GRANTS[0], pseudonym=pseudonym
    )
    stored = bytearray(shared + records["ga4"])
    at = cut % len(stored)
    for damaged in (bytes(stored[:at]), bytes([*stored[:at], flip, *stored[at + 1 :]])):
        with suppress(StoreError):
            assert isinstance(load(damaged), CleanEvent)
