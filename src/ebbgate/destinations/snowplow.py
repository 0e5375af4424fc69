"""Snowplow collector, tracker protocol (specs/destinations.md §3.12). All values are texts; copies merge by `eid`."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final

from pydantic import Field, field_validator

from ebbgate.destinations import reading, spec_words, wire
from ebbgate.destinations.kit import (
    DAY_S,
    Act,
    Answer,
    Batch,
    Destination,
    DestinationSettings,
    HttpRequest,
    HttpResponse,
    Row,
    Skip,
    safe_address,
)
from ebbgate.model import CleanEvent, Outcome

PAYLOAD: Final = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
_UNSTRUCT: Final = "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0"
_COMMON: Final = {
    "url": "page.url",
    "page": "page.title",
    "refr": "page.referrer",
    "uid": "user.id",
    "duid": "visitor.client_id",
    "ip": "network.ip",
    "ua": "device.user_agent",
    "lang": "device.language",
    "res": "device.screen",
    "vp": "device.viewport",
    "tz": "device.timezone",
}


class Settings(DestinationSettings):
    """A collector, the application id, and the Iglu schema of events that are no page views."""

    collector_url: str = Field(description="Address of the collector.")
    app_id: str = Field(default="ebbgate", min_length=1, description="Application id, `aid`.")
    event_schema: str | None = Field(
        default=None, pattern=r"^iglu:[\w.-]+/[\w-]+/jsonschema/\d+-\d+-\d+$", description="Iglu schema of self-describing events."
    )

    @field_validator("collector_url")
    @classmethod
    def _safe_url(cls, value: str) -> str:
        return safe_address(value)


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """A page view, a self-describing event where a schema is configured, else a structured event."""
    row: dict[str, Any] = {
        "eid": reading.uuid_of(clean.id),
        "dtm": str(clean.time_ms),
        "tv": "ebbgate-1",
        "tna": "ebbgate",
        "p": "web" if reading.text(clean, "page.url") else "srv",
        "aid": settings.app_id,
    }
    for name, path in _COMMON.items():
        if found := reading.text(clean, path):
            row[name] = found
    session = reading.text(clean, "visitor.session_id")
    if session:
        row["sid"] = reading.uuid_of(session)
    if clean.name == "page_view":
        row["e"] = "pv"
    elif settings.event_schema:
        data = spec_words.properties(clean) | {"event": reading.own_name(clean)}
        event = {"schema": _UNSTRUCT, "data": {"schema": settings.event_schema, "data": data}}
        row |= {"e": "ue", "ue_px": base64.urlsafe_b64encode(wire.encode(event)).decode()}
    else:
        amount = reading.value(clean)
        structured = {
            "e": "se",
            "se_ca": reading.text(clean, "properties.category") or "track",
            "se_ac": reading.own_name(clean),
            "se_la": reading.text(clean, "properties.label"),
            "se_pr": reading.text(clean, "order.id"),
            "se_va": None if amount is None else reading.number_text(amount),
        }
        row |= reading.without_empty(structured)
    return row


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """A payload of several events; without an address of the visitor the collector is told to keep none of its own."""
    headers: tuple[tuple[str, str], ...] = ()
    if not any("ip" in row for row in rows):
        headers = (("sp-anonymous", "*"),)
    base = settings.endpoint or settings.collector_url
    return wire.post(f"{base}/com.snowplowanalytics.snowplow/tp2", {"schema": PAYLOAD, "data": list(rows)}, headers=headers)


def batch_key(row: Row) -> bool:
    """Events with an address and without one do not share a request."""
    return "ip" in row


def classify(response: HttpResponse, n: int) -> Answer:
    """The collector validates later. All but 400, 401, 403, 410 and 422 may be sent again."""
    if response.status in (400, 422):
        return wire.rejected(f"http_{response.status}", n)
    if 400 <= response.status < 500 and response.status not in (401, 403, 404, 410, 413):
        return Answer(Act.RETRY, reason=f"http_{response.status}")
    return wire.by_status(response, n, outcome=Outcome.ACCEPTED_UNVERIFIED)


DESTINATION: Final = Destination(
    name="snowplow",
    title="Snowplow collector",
    recipient="the operator of the collector",
    kind="analytics",
    docs="specs/destinations.md §3.12",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=100, body_bytes=1_000_000),
    dedupe_window_s=30 * DAY_S,
    batch_key=batch_key,
    notes="Copies merge by eid in the pipeline's deduplication step.",
)
