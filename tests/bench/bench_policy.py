"""What a decision costs in CPU time, and as a ratio to hashing six fields in the same run (issue 4); what cleaning and loading cost.

Run: `python -m tests.bench.bench_policy`. Limits: deciding about one event over eight destinations ≤ 60 µs and ≤ 12 × six hashes, for
a consent that was never seen before too; fifty policies load within a second. A hash is SHA-256 of a trimmed text in small letters;
nothing is remembered between two of them. Every event is a fresh one, and with "another person" so are address, number and ids.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import sha256
from itertools import count

from ebbgate.app import facts_of
from ebbgate.destinations.registry import DESTINATIONS
from ebbgate.model import Consent, Event, Model, PurposeConsent, Scalar, Value
from ebbgate.policy.clean import clean, dump
from ebbgate.policy.decide import decide
from ebbgate.policy.load import load_texts
from ebbgate.policy.places import COUNTRIES
from ebbgate.policy.plan import DestinationFacts, Policy
from ebbgate.policy.together import clean_all
from tests.unit.policy.making import GRANTED, POLICIES, event

ITEM: dict[str, Scalar] = {"id": "sku-1", "name": "Red shoe", "price": 6, "quantity": 2}
FIELDS: dict[str, Value] = {
    "page.url": "https://shop.example/checkout/thanks?utm_source=news&token=abc",
    "page.referrer": "https://shop.example/checkout/payment",
    "page.title": "Thank you for your order",
    "user.email": "Ana@Example.com",
    "user.phone": "+49 151 23456789",
    "user.country": "DE",
    "order.id": "A-1009",
    "order.value": 12,
    "order.currency": "EUR",
    "order.items": (ITEM,),
    "visitor.client_id": "1234567890.1234567890",
    "visitor.session_id": "1732230000",
    "network.ip": "203.0.113.77",
    "device.user_agent": "Mozilla/5.0",
    "properties.color": "red",
}
SIX = (" Ana@Example.com", "+49 151 23456789", "Ana", "Müller", "Berlin", "10115")
CONSENT = Consent(Model.OPT_IN, {p: PurposeConsent(GRANTED, "event", "x") for p in ("analytics", "advertising")})


def best_us(call: Callable[[], object], *, rounds: int = 20, inner: int = 200) -> float:
    """Best mean CPU time of one call, microseconds: the least disturbed of many rounds."""
    best = float("inf")
    for _ in range(rounds):
        started = time.thread_time()
        for _ in range(inner):
            call()
        best = min(best, (time.thread_time() - started) / inner)
    return best * 1e6


def policy_of(facts: dict[str, DestinationFacts], names: list[str]) -> Policy:
    """eu.yaml's rules for meta, handed to each of these destinations as far as they hash."""
    head = (POLICIES / "eu.yaml").read_text(encoding="utf-8").split("destinations:")[0]
    parts = []
    for name in names:
        hash_ = [p for p in ("user.email", "user.phone") if p in facts[name].hashes]
        send = ", ".join(["event", "page.url", "order", "visitor.client_id", *hash_])
        parts.append(f"  {name}:\n    needs: [advertising]\n    send: [{send}]")
        if hash_:
            parts.append(f"    hash: [{', '.join(hash_)}]")
    text = f"{head}destinations:\n" + "\n".join(parts) + "\n"
    return load_texts({"eu.yaml": text.encode()}, facts).policies[0]


_numbers = count()


def another_person() -> Event:
    """An event of somebody never seen before: nothing that was hashed or rebuilt for another one fits."""
    n = next(_numbers)
    own: dict[str, Value] = {
        "user.email": f"Ana{n}@Example.com",
        "user.phone": f"+49 151 2{n % 10**7:07d}",
        "order.id": f"A-{n}",
        "visitor.client_id": f"{n}.1",
        "page.url": f"https://shop.example/p/{n}?utm_source=a&x=1",
    }
    return event({**FIELDS, **own})


def same_person() -> Event:
    """Another event of the same person."""
    return event(FIELDS)


def fresh_consent() -> Consent:
    """A consent that no decision was made about before."""
    return Consent(Model.OPT_IN, dict(CONSENT.purposes))


def deciding(rules: Policy, names: tuple[str, ...], make: Callable[[], Event], said: Callable[[], Consent]) -> Callable[[], None]:
    """Decide about one event."""

    def go() -> None:
        decide(make(), said(), rules, names)

    return go


def cleaning(rules: Policy, names: tuple[str, ...], make: Callable[[], Event], said: Callable[[], Consent]) -> Callable[[], None]:
    """Decide, and make what every destination gets, as the pipeline does."""

    def go() -> None:
        happened, consent = make(), said()
        clean_all(happened, decide(happened, consent, rules, names), rules, consent, pseudonym=str)

    return go


def six_hashes() -> list[str]:
    """Six fields hashed as platforms want them."""
    return [sha256(text.strip().lower().encode()).hexdigest() for text in SIX]


def main() -> None:
    """Print the table."""
    facts = facts_of(DESTINATIONS)
    six = best_us(six_hashes)
    shipped = load_texts({"eu.yaml": (POLICIES / "eu.yaml").read_bytes()}, facts).policies[0]
    eight = [n for n in facts if {"user.email", "user.phone"} & facts[n].hashes.keys()][:8]
    eight += [n for n in facts if n not in eight][: 8 - len(eight)]
    setups = {"3 destinations": (shipped, ("ga4", "meta", "webhook")), "8 destinations": (policy_of(facts, eight), tuple(eight))}
    print(f"{'hashing six fields':<62}{six:>8.1f} µs")
    for what, work in (("decide", deciding), ("decide and clean", cleaning)):
        for title, (rules, names) in setups.items():
            for who, make in (("same person", same_person), ("another person", another_person)):
                for how, said in (("consent seen before", lambda: CONSENT), ("fresh consent", fresh_consent)):
                    us = best_us(work(rules, names, make, said)) - best_us(make) - best_us(said)
                    print(f"{f'{what}, {title}, {who}, {how}':<62}{us:>8.1f} µs   {us / six:>5.1f} × six hashes")
    happened = event(FIELDS)
    decision = decide(happened, CONSENT, shipped, ("ga4",))[0]
    found = clean(happened, decision, shipped, CONSENT, pseudonym=str)
    print(f"{'dump of one clean event':<62}{best_us(lambda: dump(found)):>8.1f} µs")
    text = (POLICIES / "eu.yaml").read_text(encoding="utf-8").replace("when_country_unknown: apply", "when_country_unknown: skip")
    files = {f"{c}.yaml": text.replace("[EEA, GB, CH]", f"[{c}]").encode() for c in sorted(COUNTRIES)[:50]}
    print(f"{'loading 50 policies':<62}{best_us(lambda: load_texts(files, facts), rounds=3, inner=1) / 1000:>8.0f} ms")


if __name__ == "__main__":
    main()
