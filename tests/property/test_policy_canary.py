from __future__ import annotations

import base64
import gzip
import hashlib
import json
import random
import urllib.parse
from collections.abc import Callable

import pytest

from ebbgate.fields import FIELDS, ITEM_KEYS, Kind
from ebbgate.model import Consent, ConsentState, Event, Model, Place, PurposeConsent, Scalar, Value, Verdict
from ebbgate.policy.clean import clean, dump
from ebbgate.policy.decide import decide
from ebbgate.policy.explain import as_json, as_text, story
from ebbgate.policy.load import load_policies
from ebbgate.policy.plan import Policy
from tests.scale import scaled
from tests.unit.policy.making import FACTS, NOW_MS, POLICIES, event

GRANTED = ConsentState.GRANTED
EVERYTHING = Consent(Model.OPT_IN, {p: PurposeConsent(GRANTED, "event", "x") for p in ("analytics", "advertising")})
SET = load_policies(POLICIES, FACTS)


def _gzip(text: str) -> bytes:
    return gzip.compress(text.encode(), mtime=0)


#: In how many forms a value could leak (issue 4): each must be absent.
FORMS: dict[str, Callable[[str], bytes]] = {
    "raw": str.encode,
    "upper": lambda t: t.upper().encode(),
    "percent": lambda t: urllib.parse.quote(t, safe="").encode(),
    "percent twice": lambda t: urllib.parse.quote(urllib.parse.quote(t, safe=""), safe="").encode(),
    "base64": lambda t: base64.b64encode(t.encode()).rstrip(b"="),
    "base64url": lambda t: base64.urlsafe_b64encode(t.encode()).rstrip(b"="),
    "hex": lambda t: t.encode().hex().encode(),
    "reversed": lambda t: t[::-1].encode(),
    "json": lambda t: json.dumps(t).strip('"').encode(),
    "gzip": _gzip,
    "md5": lambda t: hashlib.md5(t.encode()).hexdigest().encode(),
    "sha1": lambda t: hashlib.sha1(t.encode()).hexdigest().encode(),
    "sha256": lambda t: hashlib.sha256(t.encode()).hexdigest().encode(),
    "sha256 normalised": lambda t: hashlib.sha256(t.strip().lower().encode()).hexdigest().encode(),
}


def canary(number: int, path: str) -> str:
    """A value that occurs nowhere else: letters and a digit, so that no detector takes it for anything."""
    return "Cnry" + hashlib.sha256(f"{number} {path}".encode()).hexdigest()[:12].translate(
        str.maketrans("0123456789", "ghijklmnop")
    )


def laden(number: int) -> tuple[Event, dict[str, str]]:
    """An event with a canary in every field, and in places that are no field; and which canary stands where."""
    planted: dict[str, str] = {}
    fields: dict[str, Value] = {}

    def plant(path: str) -> str:
        planted[path] = canary(number, path)
        return planted[path]

    for path, known in FIELDS.items():
        if path in ("event.name", "event.time"):
            continue
        if known.kind in (Kind.TEXT, Kind.ANY):
            fields[path] = plant(path)
    for path in ("page.url", "page.referrer"):
        planted.pop(path)
        fields[path] = (
            f"https://{plant(path + ' user')}@shop.example/a;{plant(path + ' path parameter')}"
            f"?token={plant(path + ' parameter')}&utm_source=x#{plant(path + ' fragment')}"
        )
    item: dict[str, Scalar] = {**dict.fromkeys(ITEM_KEYS, "x"), "note": plant("item key"), plant("item key name"): 1}
    fields["order.items"] = (item,)
    fields["properties.note"] = plant("properties.note")
    fields["unknown.group"] = plant("unknown.group")
    fields["network.ip"] = "203.0.113.7"
    planted.pop("network.ip", None)
    names = ("purchase", "page_view", "lead", "begin_checkout", "search")
    happened = event(fields, name=names[number % len(names)], id_=planted["event.id"])
    return happened, planted


def leaks(payload: bytes, planted: dict[str, str], allowed: set[str]) -> list[tuple[str, str]]:
    """(path, form) of every canary that is in the payload although its path must not leave."""
    return [
        (path, form)
        for path, value in planted.items()
        if path not in allowed
        for form, make in FORMS.items()
        if make(value) in payload
    ]


def outgoing(happened: Event, policy: Policy, place: Place, destination: str) -> tuple[bytes, set[str]]:
    """Everything that leaves or is shown for one destination, and the paths that may be in it in clear or hashed."""
    (decision,) = decide(happened, EVERYTHING, policy, (destination,))
    shown = [repr(decision), repr(happened), as_text(story(happened, place, EVERYTHING, policy, [decision]))]
    shown.append(json.dumps(as_json(story(happened, place, EVERYTHING, policy, [decision]))))
    payload = b""
    allowed: set[str] = set()
    if decision.verdict is not Verdict.WITHHOLD:
        found = clean(
            happened, decision, policy, EVERYTHING, pseudonym=lambda text: hashlib.blake2b(text.encode(), key=b"k").hexdigest()
        )
        payload = dump(found)
        shown.append(repr(found))
        allowed = set(decision.fields)
    return payload + "".join(shown).encode().replace(happened.id.encode(), b""), allowed


@pytest.mark.parametrize("place", [Place("DE"), Place("US", "US-CA"), Place("BR")], ids=["eu", "california", "elsewhere"])
def test_removed_fields_leave_in_no_form(place: Place) -> None:
    """A value in every field, in fourteen encodings: none whose path the policy keeps here is in any byte that leaves."""
    policy = SET.select(place)
    assert policy is not None
    for number in range(scaled(40)):
        happened, planted = laden(number)
        for destination in policy.destinations:
            payload, allowed = outgoing(happened, policy, place, destination)
            assert leaks(payload, planted, allowed | ({"event.id"})) == []
            hashed = {"user.email", "user.phone"}
            assert all(planted[path].encode() not in payload for path in hashed)


def test_planted_leaks_are_found() -> None:
    """The search itself works: twenty leaks put into a clean payload, in every form, are all found."""
    chance = random.Random(7)
    happened, planted = laden(0)
    policy = SET.by_file["eu.yaml"]
    payload, allowed = outgoing(happened, policy, Place("DE"), "ga4")
    hidden = sorted(set(planted) - allowed)
    for number in range(20):
        path = chance.choice(hidden)
        form = list(FORMS)[number % len(FORMS)]
        middle = len(payload) // 2
        leaking = payload[:middle] + FORMS[form](planted[path]) + payload[middle:]
        assert path in {found for found, _ in leaks(leaking, planted, allowed | {"event.id"})}


def test_a_dropped_event_leaves_nothing() -> None:
    """With a card number in the search term no destination gets a byte."""
    happened, _ = laden(1)
    marked = Event(
        happened.id,
        "search",
        NOW_MS,
        NOW_MS,
        "shop",
        "native",
        happened.trust,
        {**happened.fields, "search.term": "4111 1111 1111 1111"},
    )
    for policy in SET.policies:
        assert not any(decision.fields for decision in decide(marked, EVERYTHING, policy, tuple(policy.destinations)))
