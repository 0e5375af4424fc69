"""Twilio Segment, batch (specs/destinations.md §3.11). The shapes of a call are shared with `rudderstack`."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final, Literal

from pydantic import Field, SecretStr

from ebbgate.destinations import reading, spec_words, wire
from ebbgate.destinations.kit import DAY_S, Answer, Batch, Destination, DestinationSettings, HttpRequest, HttpResponse, Row, Skip
from ebbgate.model import CleanEvent, Outcome

HOSTS: Final = {"us": "https://api.segment.io/v1", "eu": "https://events.eu1.segmentapis.com/v1"}
_CALLS: Final = {"page_view": "page", "screen_view": "screen", "identify": "identify", "group": "group", "alias": "alias"}
_CONTEXT: Final = {
    "ip": "network.ip",
    "userAgent": "device.user_agent",
    "locale": "device.language",
    "timezone": "device.timezone",
}
_MAX_EVENT: Final = 32 << 10


class Settings(DestinationSettings):
    """A source of a workspace."""

    write_key: SecretStr = Field(description="Write key of the source; sent as Basic authorisation.")
    region: Literal["us", "eu"] = Field(default="us", description="Region of the workspace; the wrong one drops events silently.")


def call(clean: CleanEvent) -> dict[str, Any] | Skip:
    """The event as a call of the Segment spec."""
    kind = _CALLS.get(clean.name, "track")
    ids = {
        "userId": reading.text(clean, "user.id"),
        "anonymousId": reading.first(reading.text(clean, "visitor.anonymous_id"), reading.text(clean, "visitor.client_id")),
    }
    if not any(ids.values()):
        return Skip(Outcome.INVALID, "user_id_and_anonymous_id_missing")
    context: dict[str, Any] = {"library": {"name": "ebbgate", "version": "1"}, **spec_words.picked(clean, _CONTEXT)}
    for name, words in (("page", spec_words.PAGE), ("campaign", spec_words.CAMPAIGN)):
        if found := spec_words.picked(clean, words):
            context[name] = found
    traits = spec_words.traits(clean)
    own = spec_words.properties(clean)
    message: dict[str, Any] = {"type": kind, "messageId": clean.id, "timestamp": reading.iso_time(clean.time_ms), **ids}
    if kind == "track":
        name = reading.text(clean, "event.original_name") or reading.SEGMENT_NAMES.get(clean.name, clean.name)
        message |= {"event": name, "properties": own}
    elif kind in ("page", "screen"):
        message["properties"] = own | spec_words.picked(clean, spec_words.PAGE)
    elif kind == "identify":
        message["traits"] = traits | reading.properties(clean)
    elif kind == "group":
        message |= {"groupId": reading.text(clean, "group.id"), "traits": {"name": reading.text(clean, "group.name")}}
        if message["groupId"] is None:
            return Skip(Outcome.INVALID, "group_id_missing")
    else:
        message["previousId"] = reading.text(clean, "user.previous_id")
        if message["previousId"] is None:
            return Skip(Outcome.INVALID, "previous_id_missing")
    if traits and kind != "identify":
        context["traits"] = traits
    message["context"] = context
    return reading.without_empty(message)


def basic(key: SecretStr) -> tuple[tuple[str, str], ...]:
    """Basic authorisation with the write key as user."""
    return (("authorization", f"Basic {base64.b64encode(f'{key.get_secret_value()}:'.encode()).decode()}"),)


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """One call, with what the visitor allowed under `context.consent`."""
    message = call(clean)
    if isinstance(message, Skip):
        return message
    if clean.consent:
        choices = {name: state == "granted" for name, state in clean.consent.items()}
        message["context"]["consent"] = {"categoryPreferences": choices}
    return message if len(wire.encode(message)) <= _MAX_EVENT else Skip(Outcome.INVALID, "event_too_big")


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """A batch; Segment stamps the time of receipt itself."""
    base = settings.endpoint or HOSTS[settings.region]
    return wire.post(f"{base}/batch", {"batch": list(rows)}, headers=basic(settings.write_key), secret_headers=("authorization",))


def classify(response: HttpResponse, n: int) -> Answer:
    """200 also for a wrong key or region: accepted, not verified."""
    return wire.by_status(response, n, outcome=Outcome.ACCEPTED_UNVERIFIED)


DESTINATION: Final = Destination(
    name="segment",
    title="Twilio Segment",
    recipient="Twilio Ireland Limited / Segment.io, Inc.",
    kind="generic",
    docs="specs/destinations.md §3.11",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=100, body_bytes=500 << 10),
    dedupe_window_s=DAY_S,
    secret_settings=("write_key",),
    hosts=("api.segment.io", "events.eu1.segmentapis.com"),
    notes="Copies merge by messageId, best effort, for about a day.",
)
