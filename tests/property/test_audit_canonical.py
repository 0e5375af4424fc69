"""Properties of the log's bytes, against another implementation of RFC 8785."""

from __future__ import annotations

import json
import string
from typing import Any

import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from ebbgate.audit.canonical import EntryError, decode, encode
from ebbgate.audit.decision import decision
from ebbgate.audit.entry import parse
from ebbgate.fields import FIELDS
from ebbgate.model import Consent, Decision, Event, Model, Place, PurposeConsent, Reason, SignalReading, Trust, Verdict
from ebbgate.model import ConsentState as State
from tests.scale import scaled

KEYS = st.text(string.ascii_lowercase + string.digits + "_.", min_size=1, max_size=8).filter(lambda k: k[0].isalpha())
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    TEXT | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=scaled(120), deadline=None)
@given(VALUES)
def test_canonical_bytes_agree_with_rfc8785(value: Any) -> None:
    """The same bytes as the reference implementation, and they read back as the same value."""
    data = encode(value).encode()
    assert data == rfc8785.dumps(value)
    assert decode(data) == value


@settings(max_examples=scaled(120), deadline=None)
@given(st.binary(max_size=60) | VALUES.map(lambda v: json.dumps(v).encode()))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    """`decode` takes exactly what `encode` makes and raises its own error for all else."""
    try:
        value = decode(data)
    except EntryError:
        return
    assert encode(value).encode() == data


CANARY = "cAnArY"
WORDS = st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=8).map(lambda t: f"{t}{CANARY}{t}")
PATHS = st.lists(st.sampled_from(sorted(FIELDS)) | WORDS.map(lambda w: f"properties.{w}"), max_size=8).map(tuple)
DECISIONS = st.lists(
    st.builds(
        Decision,
        destination=st.sampled_from(["ga4", "meta", "webhook"]),
        verdict=st.sampled_from(Verdict),
        reason=st.sampled_from(Reason),
        policy=st.just("ab" * 32),
        rule=st.just("eu.yaml:3"),
        fields=PATHS,
        removed=PATHS,
        hashed=PATHS,
    ),
    max_size=4,
).map(tuple)
CONSENTS = st.builds(
    Consent,
    model=st.sampled_from(Model),
    purposes=st.dictionaries(
        st.sampled_from(["ads", "analytics"]),
        st.builds(PurposeConsent, st.sampled_from(State), st.sampled_from(["tcf", "none"]), WORDS),
    ),
    readings=st.lists(st.builds(SignalReading, st.just("tcf"), st.booleans(), WORDS, st.just("ab" * 32)), max_size=2).map(tuple),
)
EVENTS = st.builds(
    Event,
    id=WORDS,
    name=WORDS | st.just("purchase"),
    time_ms=st.integers(0, 2**60),
    received_ms=st.integers(0, 2**42),
    site=st.just("shop"),
    dialect=WORDS,
    trust=st.sampled_from(Trust),
    fields=st.just({"user.email": CANARY}),
)
PLACES = st.builds(Place, WORDS | st.none() | st.just("DE"), WORDS | st.none() | st.just("US-CA"), WORDS)


@settings(max_examples=scaled(60), deadline=None)
@given(EVENTS, DECISIONS, CONSENTS, PLACES, st.binary(min_size=96, max_size=96))
def test_no_value_of_an_event_reaches_the_log(
    event: Event, decisions: tuple[Decision, ...], consent: Consent, place: Place, entropy: bytes
) -> None:
    """A canary in every free text of an event is in no entry; the entry is canonical and closed."""
    entry = decision(event, decisions, consent, place, node="n1", key=b"k" * 16, subject=CANARY.encode(), entropy=entropy)
    stored = entry.encode(3)
    assert CANARY.lower().encode() not in stored.lower()
    assert [d["dest"] for d in parse(stored)["dests"]] == [d.destination for d in decisions]
    assert rfc8785.dumps(json.loads(stored)) == stored
