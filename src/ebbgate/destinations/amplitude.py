"""Amplitude HTTP API v2 (specs/destinations.md §3.6). A 400 and a 429 name events by index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from pydantic import Field, SecretStr

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
)
from ebbgate.model import CleanEvent, Outcome

HOSTS: Final = {"us": "https://api2.amplitude.com", "eu": "https://api.eu.amplitude.com"}
_CONTEXT: Final = {
    "ip": "network.ip",
    "language": "device.language",
    "os_name": "device.os",
    "os_version": "device.os_version",
    "device_model": "device.model",
    "device_brand": "device.brand",
}
_CAMPAIGN: Final = {
    "utm_source": "campaign.source",
    "utm_medium": "campaign.medium",
    "utm_campaign": "campaign.name",
    "utm_term": "campaign.term",
    "utm_content": "campaign.content",
    "referrer": "page.referrer",
}
#: Keys of a 400 that name events by index.
_NAMING: Final = ("events_with_invalid_fields", "events_with_missing_fields", "silenced_events", "events_with_invalid_id_lengths")
_MIN_ID: Final = 5
_MAX_TEXT: Final = 1024


class Settings(DestinationSettings):
    """A project's API key."""

    api_key: SecretStr = Field(description="API key of the project.")
    region: Literal["us", "eu"] = Field(default="us", description="Where the project lives.")


def _cut(found: object) -> object:
    return found[:_MAX_TEXT] if isinstance(found, str) else found


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """One event; ids shorter than five characters are refused by the platform and left out."""
    user = reading.text(clean, "user.id")
    device = reading.first(*(reading.text(clean, f"visitor.{kind}") for kind in ("device_id", "anonymous_id", "client_id")))
    ids = {name: found for name, found in (("user_id", user), ("device_id", device)) if found and len(found) >= _MIN_ID}
    if not ids:
        return Skip(Outcome.INVALID, "user_id_and_device_id_missing")
    row: dict[str, Any] = {
        **ids,
        "event_type": reading.own_name(clean),
        "time": clean.time_ms,
        "insert_id": clean.id,
        "event_properties": {k: _cut(v) for k, v in spec_words.properties(clean).items()},
        "platform": {"web": "Web", "app": "App"}.get(reading.text(clean, "event.source") or "web", "Server"),
        "library": "ebbgate",
    }
    row |= spec_words.picked(clean, _CONTEXT)
    session = reading.text(clean, "visitor.session_id")
    if session and session.isascii() and session.isdigit() and len(session) <= 13:
        row["session_id"] = int(session) * (1000 if len(session) <= 10 else 1)
    campaign = spec_words.picked(clean, _CAMPAIGN)
    properties: dict[str, Any] = {}
    if campaign:
        properties = {"$set": campaign, "$setOnce": {f"initial_{k}": v for k, v in campaign.items()}}
    if clean.name == "identify":
        row["event_type"] = "$identify"
        properties["$set"] = properties.get("$set", {}) | spec_words.traits(clean) | reading.properties(clean)
    if properties:
        row["user_properties"] = properties
    _money(clean, row)
    return reading.without_empty(row)


def _money(clean: CleanEvent, row: dict[str, Any]) -> None:
    """The platform's own revenue fields, for purchases."""
    amount = reading.value(clean)
    if clean.name != "purchase" or amount is None:
        return
    row |= {"revenue": amount, "revenueType": "Purchase"}
    if code := reading.currency(clean):
        row["currency"] = code
    products = reading.items(clean)
    if len(products) == 1:
        only = products[0]
        row |= reading.without_empty(
            {"productId": reading.item_id(only), "price": only.get("price"), "quantity": only.get("quantity")}
        )


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """A small batch: the platform advises ten events a request."""
    base = settings.endpoint or HOSTS[settings.region]
    body = {"api_key": settings.api_key.get_secret_value(), "events": list(rows), "options": {"min_id_length": _MIN_ID}}
    request = wire.post(f"{base}/2/httpapi", body)
    return replace(request, secret_keys=("api_key",))


_DAILY: Final = ("exceeded_daily_quota_devices", "exceeded_daily_quota_users")


def _indices(found: object, n: int) -> set[int]:
    """Indices in a list, or in the lists of a field → indices mapping."""
    lists = found.values() if isinstance(found, dict) else [found]
    return {i for each in lists if isinstance(each, list) for i in each if isinstance(i, int) and 0 <= i < n}


def classify(response: HttpResponse, n: int) -> Answer:
    """400: named events are refused, the rest goes again. 429: throttled events go again, those over a daily quota are refused.

    The quota is told by device or user, not by event: halving finds whose events they are.
    """
    answer = wire.decode(response)
    if 200 <= response.status < 300:
        ingested = wire.member(answer, "events_ingested")
        if ingested == n:
            return Answer(Act.DONE, Outcome.DELIVERED, reason=f"http_{response.status}")
        return Answer(Act.UNKNOWN, reason="events_ingested_differs")
    if response.status == 400:
        bad = set[int]()
        for name in (
            "events_with_invalid_fields",
            "events_with_missing_fields",
            "silenced_events",
            "events_with_invalid_id_lengths",
        ):
            bad |= _indices(wire.member(answer, name), n)
        if bad:
            rows: dict[int, Outcome | Act] = {i: Outcome.REJECTED if i in bad else Act.RETRY for i in range(n)}
            return Answer(Act.DONE, Outcome.REJECTED, rows, reason="partial")
    if response.status == 429 and any(wire.member(answer, name) for name in _DAILY):
        return wire.rejected("daily_quota", n)
    if response.status == 429:
        return Answer(Act.RETRY, reason="http_429", retry_after_s=30.0)
    return wire.by_status(response, n)


DESTINATION: Final = Destination(
    name="amplitude",
    title="Amplitude",
    recipient="Amplitude, Inc.",
    kind="product_analytics",
    docs="specs/destinations.md §3.6",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=10, body_bytes=1 << 20),
    dedupe_window_s=7 * DAY_S,
    secret_settings=("api_key",),
    hosts=("api2.amplitude.com", "api.eu.amplitude.com"),
    notes="Copies merge by device_id and insert_id for seven days.",
)
