"""Recorded requests of the clients that sites already run, each with the events and the consent evidence that it must become."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import fields

from ebbgate.collect.dialect import Dialect, parse
from ebbgate.collect.native import Collected
from ebbgate.edge.routes import ROUTES
from ebbgate.errors import RequestError
from ebbgate.fields import known
from ebbgate.model import Place, RawRequest, Signals, Trust

FOLDER = Path(__file__).parent / "requests"
CASES = sorted(FOLDER.rglob("*.json"))
PREFIX = "/e"


def dialect_of(path: str) -> Dialect:
    return ROUTES[path.removeprefix(PREFIX)].dialect


def request_of(case: dict[str, Any]) -> tuple[RawRequest, Place]:
    given = case["request"]
    body = given.get("body", "")
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    path, _, query = given["target"].partition("?")
    request = RawRequest(
        given.get("method", "POST"),
        path,
        query,
        tuple(given.get("headers", {}).items()),
        raw,
        given.get("peer", "203.0.113.9"),
        given["received_ms"],
        tuple(given.get("cookies", {}).items()),
        "shop",
        Trust(given.get("trust", "browser")),
    )
    place = given.get("place", {})
    return request, Place(place.get("country"), place.get("region"), "test" if place else "unknown")


def described(one: Collected) -> dict[str, Any]:
    """An event as a case writes it."""
    if one.event is None:
        assert one.error is not None
        return {"error": one.error.code}
    event = one.event
    shown = {k: v for k, v in event.fields.items() if k not in ("event.id", "event.name", "event.time")}
    signals = {f.name: getattr(one.signals, f.name) for f in fields(Signals) if getattr(one.signals, f.name) != f.default}
    found: Any = json.loads(
        json.dumps(
            {
                "id": event.id,
                "name": event.name,
                "time_ms": event.time_ms,
                "dialect": event.dialect,
                "trust": event.trust.value,
                "subjects": event.subjects,
                "fields": dict(sorted(shown.items())),
                "signals": signals,
            }
        )
    )
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.relative_to(FOLDER).with_suffix("").as_posix())
def test_a_recorded_request_becomes_its_events(path: Path) -> None:
    """Every field, id, time, subject and signal is as written in the case: nothing is lost, nothing is made up."""
    case = json.loads(path.read_text(encoding="utf-8"))
    request, place = request_of(case)
    dialect = dialect_of(request.path)
    if "refused" in case:
        with pytest.raises(RequestError) as refused:
            parse(dialect, request, place, max_events=500)
        assert {"status": refused.value.status, "code": refused.value.code} == case["refused"]
        return
    collected = parse(dialect, request, place, max_events=500)
    assert [described(one) for one in collected] == case["events"]
    assert all(known(path) for one in collected if one.event for path in one.event.fields)


def test_every_route_has_a_recorded_request() -> None:
    """No dialect is without cases."""
    told = {dialect_of(json.loads(p.read_text(encoding="utf-8"))["request"]["target"].partition("?")[0]) for p in CASES}
    assert told == {route.dialect for route in ROUTES.values()}


def test_a_request_sent_again_gives_the_same_ids() -> None:
    """A retry is a duplicate: the same bytes a minute later make the same event ids wherever the client's data allow it."""
    for path in CASES:
        case = json.loads(path.read_text(encoding="utf-8"))
        if case.get("retry") == "duplicate":
            request, place = request_of(case)
            case["request"]["received_ms"] += 60_000
            later, _ = request_of(case)
            dialect = dialect_of(request.path)
            first, second = ([c.event.id for c in parse(dialect, r, place, max_events=500) if c.event] for r in (request, later))
            assert first == second, path
            assert len(set(first)) == len(first), path
