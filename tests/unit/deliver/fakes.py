"""Small parts that the delivery tests share: a clock that tests move, events, destinations of a made-up platform."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ebbgate.destinations import wire
from ebbgate.destinations.kit import Act, Answer, Batch, Destination, DestinationSettings, HttpRequest, HttpResponse, Row, Skip
from ebbgate.model import CleanEvent, Outcome, PurposeRule
from ebbgate.policy.clean import dump
from ebbgate.policy.load import load_policies
from ebbgate.policy.plan import DestinationFacts, DestinationPlan, Policy, PolicySet
from ebbgate.store.protocol import Queued

NOW_MS = 1_795_300_000_000  #: 21 November 2026
DIGEST = "a" * 64


class HandClock:
    """Wall and monotonic time that only the test moves."""

    def __init__(self, wall_ms: int = NOW_MS) -> None:
        self.wall = wall_ms
        self.mono = 1000.0

    def wall_ms(self) -> int:
        """The wall clock."""
        return self.wall

    def mono_s(self) -> float:
        """The monotonic clock."""
        return self.mono

    def pass_s(self, seconds: float) -> None:
        """Time passes on both clocks."""
        self.wall += int(seconds * 1000)
        self.mono += seconds


_POLICY = """
policy: Test visitors
owner: privacy@shop.example
reason: tests
applies_to: {countries: [DE], when_country_unknown: apply}
consent:
  model: opt_in
  read_from: [event]
  if_missing: refused
  if_sources_disagree: most_protective
  purposes:
    analytics: {categories: [analytics]}
    advertising: {categories: [marketing]}
destinations:
  sink:
    needs: [analytics]
    events: all
    send: [event.id, event.name, event.time, order.value, user.email]
    if_refused: {send_limited: {send: [event.id, event.name, event.time]}}
keep_evidence_for: 24 months
"""


@cache
def _loaded() -> Policy:
    with TemporaryDirectory() as folder:
        Path(folder, "eu.yaml").write_text(_POLICY, encoding="utf-8")
        return load_policies(Path(folder), {"sink": DestinationFacts("sink")}).policies[0]


def plan(destination: str = "sink", **changes: Any) -> DestinationPlan:
    """What a policy says about one destination: analytics is needed, a few fields leave."""
    return replace(_loaded().destinations["sink"], destination=destination, **changes)


def policies(
    *plans: DestinationPlan, digest: str = DIGEST, file: str = "eu.yaml", google: Sequence[tuple[str, str]] = ()
) -> PolicySet:
    """One policy in force with these destinations (default: `sink`); `google` names a signal of consent mode for purposes."""
    named = {p.destination: p for p in plans or (plan(),)}
    rules = replace(_loaded().consent, purposes=tuple(PurposeRule(name, google=(signal,)) for name, signal in google))
    consent = rules if google else _loaded().consent
    return PolicySet.of(digest, (replace(_loaded(), file=file, digest=digest, destinations=named, consent=consent),))


def clean_event(number: int = 1, destination: str = "sink", **changes: Any) -> CleanEvent:
    """A clean event as the policy stage leaves it; number names it."""
    whole = CleanEvent(
        destination=destination,
        id=f"e-{number}",
        name="purchase",
        time_ms=NOW_MS,
        site="shop",
        fields={"event.id": f"e-{number}", "event.name": "purchase", "event.time": NOW_MS, "order.value": number},
        consent={"analytics": "granted"},
        needs=("analytics",),
        policy=DIGEST,
        policy_file="eu.yaml",
    )
    return replace(whole, **changes)


def queued(number: int = 1, clean: CleanEvent | None = None, **changes: Any) -> Queued:
    """A row of the queue that holds `clean_event(number)`."""
    whole = Queued(
        position=number,
        key=number.to_bytes(16, "big"),
        subject=b"s" * 16,
        at_ms=NOW_MS,
        payload=dump(clean or clean_event(number)),
    )
    return replace(whole, **changes)


def _render(clean: CleanEvent, settings: DestinationSettings) -> Row | Skip:
    if clean.name == "unmapped":
        return Skip(Outcome.UNMAPPED, "event_not_mapped")
    if clean.name == "explodes":
        raise RuntimeError(clean.id)
    return {"id": clean.id, "name": clean.name, "value": clean.get("order.value"), "email": clean.get("user.email")}


def _envelope(rows: Sequence[Row], settings: DestinationSettings) -> HttpRequest:
    body = json.dumps({"rows": [dict(row) for row in rows]}).encode()
    return HttpRequest("POST", f"{settings.endpoint}/collect", (("content-type", "application/json"),), body)


def _classify(response: HttpResponse, n: int) -> Answer:
    """By status; a body {"bad": [i, …]} of a 200 names rows that were refused."""
    body = wire.decode(response)
    bad = wire.member(body, "bad")
    if response.status == 200 and bad is not None:
        return Answer(Act.DONE, rows={int(i): Outcome.REJECTED for i in bad}, reason="row_refused")
    return wire.by_status(response, n)


def destination(name: str = "sink", *, events: int = 10, window_s: int | None = 48 * 3600, **changes: Any) -> Destination:
    """A platform that takes batches of ten, deduplicates for two days and answers by status."""
    whole = Destination(
        name=name,
        title=name.title(),
        recipient="Test Ltd",
        kind="analytics",
        docs="tests",
        settings=DestinationSettings,
        render=_render,
        envelope=_envelope,
        classify=_classify,
        batch=Batch(events=events),
        dedupe_window_s=window_s,
        hosts=("collect.platform.example",),
    )
    return replace(whole, **changes)
