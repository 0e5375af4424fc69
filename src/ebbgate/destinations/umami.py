"""Umami v3, single and batch (specs/destinations.md §3.8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import Field, field_validator

from ebbgate.destinations import reading, wire
from ebbgate.destinations.kit import (
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

_AGENT: Final = ("user-agent", "Mozilla/5.0 (compatible; ebbgate)")


class Settings(DestinationSettings):
    """A website in Umami."""

    website_id: str = Field(pattern=r"^[0-9a-fA-F-]{36}$", description="Id of the website, a UUID.")
    host: str = Field(default="https://cloud.umami.is", description="Cloud, or the address of an own installation.")

    @field_validator("host")
    @classmethod
    def _safe_host(cls, value: str) -> str:
        return safe_address(value)


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """One send: `event` (a page view has no name), or `identify`."""
    address = reading.text(clean, "page.url")
    identify = clean.name == "identify"
    if address is None and not identify:
        return Skip(Outcome.INVALID, "page_url_missing")
    parts = reading.split_url(address or "")
    if parts is None:
        return Skip(Outcome.INVALID, "page_url")
    page = clean.name == "page_view"
    data = reading.properties(clean)
    if not identify and not page:
        facts = {"revenue": reading.value(clean), "currency": reading.currency(clean), "order_id": reading.text(clean, "order.id")}
        data |= reading.without_empty(facts)
    payload = {
        "website": settings.website_id,
        "hostname": (parts.hostname or "")[:100],
        "url": f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}" if address else None,
        "referrer": reading.text(clean, "page.referrer"),
        "title": reading.text(clean, "page.title"),
        "language": (reading.text(clean, "device.language") or "")[:35],
        "screen": (reading.text(clean, "device.screen") or "")[:11],
        "name": None if page or identify else reading.own_name(clean)[:50],
        "data": data,
        "ip": reading.text(clean, "network.ip"),
        "userAgent": reading.text(clean, "device.user_agent"),
        "timestamp": reading.seconds(clean),
        "id": reading.text(clean, "user.id"),
    }
    return {"type": "identify" if identify else "event", "payload": reading.without_empty(payload)}


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """One event to `/api/send`, several to `/api/batch`."""
    base = settings.endpoint or settings.host
    path, body = ("send", rows[0]) if len(rows) == 1 else ("batch", list(rows))
    return wire.post(f"{base}/api/{path}", body, headers=(_AGENT,))


def classify(response: HttpResponse, n: int) -> Answer:
    """A batch names its errors by index; `beep: boop` means that the event was taken for a robot's and dropped."""
    if not 200 <= response.status < 300:
        return wire.by_status(response, n)
    answer = wire.decode(response)
    if n == 1:
        dropped = wire.member(answer, "beep") is not None
        return Answer(Act.DONE, Outcome.REJECTED if dropped else Outcome.DELIVERED, reason="umami_robot" if dropped else "http_200")
    errors, rows = wire.member(answer, "errors"), wire.refused(wire.member(answer, "details"), n)
    if rows is None or (isinstance(errors, int) and errors != len(rows)):
        return Answer(Act.UNKNOWN, reason="errors_differ")
    return Answer(Act.DONE, Outcome.DELIVERED, rows, reason="partial" if rows else f"http_{response.status}")


DESTINATION: Final = Destination(
    name="umami",
    title="Umami",
    recipient="Umami Software, Inc., or the operator of the installation",
    kind="analytics",
    docs="specs/destinations.md §3.8",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=100, body_bytes=1 << 20),
    dedupe_window_s=None,
    hosts=("cloud.umami.is", "api-gateway.umami.dev"),
    notes="No dedupe key. Without network.ip and device.user_agent visitors cannot be told apart.",
)
