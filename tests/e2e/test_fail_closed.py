"""Thousands of requests with good, refusing, stale, broken and contradicting signals in every carrier, against a running gateway."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ebbgate.demo.http import request
from tests.e2e import fail_closed as made
from tests.e2e.harness import ORIGIN, SERVER_KEY, Gateway, gateway
from tests.scale import scaled

ID = re.compile(r"case-\d{6}")
#: What the limited form may tell Meta of the visitor in California.
LIMITED = {"client_ip_address", "client_user_agent", "country", "st"}
TAKEN = {200, 202, 204}
#: Dialects whose requests here carry all that the platforms ask for.
IDENTIFIED = {"native", "native_server", "hit", "hit_lines"}


async def _send(served: Gateway, cases: Sequence[made.Case]) -> dict[str, int]:
    """Status by case id."""
    answers: dict[str, int] = {}
    queue = iter(cases)

    async def worker() -> None:
        for case in queue:
            method, target, headers, body = made.request_of(case, ORIGIN, SERVER_KEY)
            answers[case.id] = (await request(served.address, method, target, headers=headers, body=body, timeout_s=60))[0]

    await asyncio.gather(*(worker() for _ in range(8)))
    return answers


def _arrived(served: Gateway) -> list[tuple[str, str, dict[str, Any]]]:
    """(destination, case id, the event as the destination got it) of everything that reached a sink."""
    found: list[tuple[str, str, dict[str, Any]]] = []
    for one in served.sink.requests:
        body = one.json()
        if one.path.startswith("/mp/"):
            rows = [("ga4", {**event, "consent": body.get("consent")}) for event in body["events"]]
        elif one.path.endswith("/events"):
            rows = [("meta", row) for row in body["data"]]
        else:
            rows = [("webhook", body)]
        for destination, row in rows:
            ids = set(ID.findall(json.dumps(row)))
            assert len(ids) == 1, (destination, ids)
            found.append((destination, ids.pop(), row))
    return found


def _too_much(case: made.Case, destination: str, row: dict[str, Any]) -> str:
    """Why this should not have reached the destination in this form; empty when it may."""
    allowed = made.may_leave(case, destination)
    text = json.dumps(row)
    if not allowed:
        return "nothing may leave"
    if f"{case.id}@" in text or "birthday" in text or "password" in text:
        return "a field that no policy lets out"
    whole = row.get("data_processing_options") != ["LDU"] or not row.get("user_data", {}).keys() <= LIMITED or "order_id" in text
    if destination == "meta" and allowed == "limited" and whole:
        return "more than the limited form"
    if destination == "ga4" and "GRANTED" in json.dumps(row["consent"]) and not made.granted(case, "advertising"):
        return "Google is told of a consent that was not given"
    return ""


async def test_whatever_reaches_a_destination_is_justified(tmp_path: Path) -> None:
    """Over all carriers, places and policies: an independent judge finds nothing that should not have left, nor left in that form."""
    cases = {case.id: case for case in made.cases(20261121, scaled(1000))}
    async with gateway(tmp_path) as served:
        answers = await _send(served, list(cases.values()))
        await served.drained(timeout_s=300)
        arrived = _arrived(served)
    wrong = [
        (why, case.policy, case.dialect, destination, [(p.name, dict(p.opt_in)) for p in case.pieces])
        for destination, number, row in arrived
        for case in [cases[number]]
        if (why := "refused at the door" if answers[number] not in TAKEN else _too_much(case, destination, row))
    ]
    assert wrong == []
    # Not by sending nothing: where one clear signal says yes to everything, everything that is meant for it arrives.
    reached = Counter((destination, number) for destination, number, _ in arrived)
    clear = [c for c in cases.values() if c.dialect in IDENTIFIED and len(c.pieces) <= 1 and not any(p.broken for p in c.pieces)]
    missing = [
        (case.policy, case.dialect, case.event, destination, [p.name for p in case.pieces])
        for case in clear
        for destination in ("ga4", "meta", "webhook")
        if made.may_leave(case, destination) and not reached[destination, case.id]
    ]
    assert missing == []
    assert len(clear) > len(cases) // 5
    assert {destination for destination, _ in reached} == {"ga4", "meta", "webhook"}
    assert max(reached.values()) == 1
