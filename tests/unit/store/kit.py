"""Events, entries and keys for the tests of the store."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ebbgate.audit import entry as entries
from ebbgate.audit.decision import decision
from ebbgate.audit.entry import Entry
from ebbgate.model import (
    Consent,
    ConsentState,
    Decision,
    Event,
    Model,
    Outcome,
    Place,
    PurposeConsent,
    Reason,
    SignalReading,
    Trust,
    Verdict,
)
from ebbgate.store.keys import KeyRing
from ebbgate.store.protocol import Lease, NewEvent, Queued, Result, Store

NOW = 1_760_000_000_000
TTL = 90_000
NODE = "n1"
KEYS = KeyRing(b"d" * 32, b"p" * 32, b"l" * 32, NODE)  # the same in every process of a test
DECISIONS = tuple(
    Decision(
        name,
        Verdict.SEND,
        Reason.GRANTED,
        policy="ab" * 32,
        rule="eu.yaml:31",
        fields=("event.id", "event.name", "order.value"),
        removed=("user.email",),
    )
    for name in ("ga4", "meta", "webhook")
)
CONSENT = Consent(
    Model.OPT_IN,
    MappingProxyType({"analytics": PurposeConsent(ConsentState.GRANTED, "tcf", "purposes 1, 8 granted")}),
    readings=(SignalReading("tcf", True, "analytics granted", "cd" * 32),),
)


def event(
    number: int | str,
    *,
    to: Sequence[str] = ("ga4", "meta"),
    held: Sequence[str] = (),
    subject: bytes = b"",
    at_ms: int = NOW,
    conversion: bool = True,
    payloads: Mapping[str, bytes] | None = None,
) -> NewEvent:
    """A decided purchase; its payloads say which event and destination they are for."""
    made = Event(f"E-{number}", "purchase", at_ms, at_ms, "shop", "native", Trust.SERVER, {})
    key = KEYS.event_key("shop", made.id)
    claim = KEYS.claim_key("shop", made.trust, made.name, made.id)
    entry = decision(made, DECISIONS, CONSENT, Place("DE"), node=NODE, key=key, subject=subject, entropy=os.urandom(96))
    return NewEvent(
        key=key,
        checks=(claim,),
        claims=(claim,),
        subject=subject,
        at_ms=at_ms,
        payloads=payloads if payloads is not None else {name: payload(number, name) for name in to},
        entry=entry,
        event_id=made.id,
        duplicate_entry=lambda _: entries.duplicate(event_id=made.id, key=key, node=NODE, at_ms=at_ms, entropy=os.urandom(32)),
        held={name: payload(number, name) for name in held},
        held_until_ms=at_ms + 600_000 if held else 0,
        conversion=conversion,
    )


def payload(number: int | str, destination: str) -> bytes:
    """What `event(number)` carries to a destination."""
    return f"payload-{number}-{destination}".encode()


def key_of(number: int | str) -> bytes:
    """The event key of `event(number)`."""
    return KEYS.event_key("shop", f"E-{number}")


def started(queued: Sequence[Queued], destination: str = "ga4") -> Entry:
    """The intent entry of a request."""
    return entries.attempt_started(
        destination=destination,
        request=os.urandom(8).hex(),
        keys=[q.key for q in queued],
        fields=["event.id"],
        payload_sha256=bytes(32),
        attempt=1,
        node=NODE,
        at_ms=NOW,
        entropy=os.urandom(64),
    )


def finished(n: int = 1, destination: str = "ga4") -> Entry:
    """The closing entry of a request."""
    return entries.attempt_finished(
        destination=destination,
        request=os.urandom(8).hex(),
        results={(Outcome.DELIVERED, "http_200"): n},
        retried=0,
        node=NODE,
        at_ms=NOW,
    )


def ended(outcome: Outcome = Outcome.EXPIRED, destination: str = "ga4") -> Entry:
    """The entry of events that ended without a request."""
    return entries.outcome(
        destination=destination, outcome=outcome, reason="too_old", keys=[bytes(16)], node=NODE, at_ms=NOW, entropy=os.urandom(32)
    )


def acted(action: str = "queue.retry") -> Entry:
    """The entry of an operator's action."""
    return entries.admin_action(action=action, actor="operator", n=1, node=NODE, at_ms=NOW)


def released(n: int = 1) -> Entry:
    """The entry of a release."""
    return entries.held_released(subject=b"s" * 16, destinations=["meta"], n=n, node=NODE, at_ms=NOW, entropy=os.urandom(32))


async def release(store: Store, subject: bytes) -> int:
    """Release everything that is parked for a visitor."""
    ids = {h.id for h in await store.held(subject)}
    return await store.release_held(subject, ids, now_ms=NOW, entry=released)


def shredded(n: int = 1) -> Entry:
    """The entry of a shredding."""
    return entries.held_shredded(
        subject=b"", destinations=["meta"], outcome=Outcome.WITHDRAWN, n=n, node=NODE, at_ms=NOW, entropy=os.urandom(32)
    )


async def take(store: Store, destination: str = "ga4", *, now_ms: int = NOW) -> Lease:
    """A lease that must be granted."""
    lease = await store.lease(destination, now_ms=now_ms, ttl_ms=TTL)
    assert lease is not None
    return lease


async def deliver(store: Store, destination: str = "ga4", *, limit: int = 100, now_ms: int = NOW) -> list[bytes]:
    """Send everything that waits, as a worker would; returns the payloads in order."""
    lease = await take(store, destination, now_ms=now_ms)
    sent: list[bytes] = []
    while True:
        chunk = await store.due(lease, limit=limit, now_ms=now_ms)
        if not chunk.queued:
            return sent
        attempt = await store.begin(lease, chunk.queued, started(chunk.queued, destination), now_ms=now_ms)
        results = [Result(q, Outcome.DELIVERED, reason="http_200") for q in chunk.queued]
        await store.finish(lease, attempt, results, finished(len(results), destination), cursor=chunk.scanned_to, now_ms=now_ms)
        sent += [q.payload for q in chunk.queued]
