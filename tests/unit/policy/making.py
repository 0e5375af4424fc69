"""What the policy tests are made of: facts of three destinations, events, consents, policies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ebbgate.model import EMPTY, Consent, ConsentState, Event, Model, PurposeConsent, Trust, Value
from ebbgate.policy.load import load_texts
from ebbgate.policy.plan import DestinationFacts, Policy, PolicySet

ROOT = Path(__file__).resolve().parents[3]
POLICIES = ROOT / "policies"

GRANTED, DENIED, UNKNOWN = ConsentState.GRANTED, ConsentState.DENIED, ConsentState.UNKNOWN
NOW_MS = 1_795_262_400_000


def lower(value: str, country: str | None) -> str | None:
    """A normaliser: small letters, no blanks around; an empty value has nothing to hash."""
    return value.strip().lower() or None


def digits(value: str, country: str | None) -> str | None:
    """A normaliser of telephone numbers that shows the country it was given."""
    found = "".join(c for c in value if c.isdigit())
    return f"{country or '?'}{found}" if found else None


FACTS: Mapping[str, DestinationFacts] = {
    "ga4": DestinationFacts(
        "ga4",
        hashes={"user.email": lower, "user.phone": digits},
        demands_hash=frozenset({"user.email", "user.phone"}),
        reserved_events=frozenset({"session_start", "first_visit"}),
        kind="analytics",
    ),
    "meta": DestinationFacts(
        "meta",
        hashes={"user.email": lower, "user.phone": digits, "user.first_name": lower},
        demands_hash=frozenset({"user.email", "user.phone"}),
        restriction_flags=frozenset({"limited_data_use", "opt_out"}),
        max_age_s=7 * 86_400,
        kind="advertising",
    ),
    "webhook": DestinationFacts("webhook", kind="generic"),
}

HEAD = """\
policy: Test
owner: privacy@shop.example
reason: test
applies_to: {everywhere_else: true, when_country_unknown: apply}
"""
CONSENT = """\
consent:
  model: opt_in
  read_from: [event]
  if_missing: refused
  purposes: {analytics: {}, advertising: {}}
"""


def policies(text: str, *more: str) -> PolicySet:
    """A set of policies from texts, named a.yaml, b.yaml and so on."""
    names = "abcdefgh"
    return load_texts({f"{names[i]}.yaml": t.encode() for i, t in enumerate((text, *more))}, FACTS)


def policy(destinations: str, *, common: str = "", consent: str = CONSENT, head: str = HEAD) -> Policy:
    """One policy that governs everything; `destinations` and `common` are its YAML, indented by two."""
    parts = [head, consent]
    if common:
        parts.append(f"before_anything_leaves:\n{common}\n")
    parts.append(f"destinations:\n{destinations}\n")
    return policies("".join(parts)).policies[0]


def event(fields: Mapping[str, Value] = EMPTY, *, name: str = "purchase", id_: str = "A-1009", time_ms: int = NOW_MS) -> Event:
    """An event with its envelope and these fields."""
    own: dict[str, Value] = {"event.id": id_, "event.name": name, "event.time": time_ms, **fields}
    return Event(id_, name, time_ms, NOW_MS, "shop", "native", Trust.BROWSER, own)


def consent(model: Model = Model.OPT_IN, vendors: Mapping[str, ConsentState] = EMPTY, **states: ConsentState) -> Consent:
    """What a visitor allowed."""
    return Consent(model, {name: PurposeConsent(state, "event", "test") for name, state in states.items()}, vendors=vendors)


def pseudonym(text: str) -> str:
    """A stand-in for the keyed pseudonym: it shows nothing of the text but differs with it."""
    return f"p{hash(text) & 0xFFFF_FFFF:08x}"
