"""PostHog, batch capture (specs/destinations.md §2.8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from pydantic import Field, SecretStr, field_validator

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

EVENTS: Final = {
    "page_view": "$pageview",
    "screen_view": "$screen",
    "identify": "$identify",
    "group": "$groupidentify",
    "alias": "$create_alias",
}
_CONTEXT: Final = {
    "$current_url": "page.url",
    "$pathname": "page.path",
    "$referrer": "page.referrer",
    "$title": "page.title",
    "$ip": "network.ip",
    "$raw_user_agent": "device.user_agent",
    "$browser_language": "device.language",
    "$timezone": "device.timezone",
    "utm_source": "campaign.source",
    "utm_medium": "campaign.medium",
    "utm_campaign": "campaign.name",
    "utm_term": "campaign.term",
    "utm_content": "campaign.content",
}


class Settings(DestinationSettings):
    """A PostHog host and the key of a project."""

    host: str = Field(default="https://eu.i.posthog.com", description="EU or US cloud, or the address of an own installation.")
    project_api_key: SecretStr = Field(description="Project key, phc_…")

    @field_validator("host")
    @classmethod
    def _safe_host(cls, value: str) -> str:
        return safe_address(value)


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """One entry of `batch`. Without a user id no profile of a person is made."""
    who = spec_words.distinct_id(clean)
    if who is None:
        return Skip(Outcome.INVALID, "distinct_id_missing")
    properties = spec_words.properties(clean) | spec_words.picked(clean, _CONTEXT)
    properties |= {"distinct_id": who, "$lib": "ebbgate"}
    parts = reading.split_url(reading.text(clean, "page.url") or "")
    if parts is not None and parts.hostname:
        properties["$host"] = parts.hostname
    if "$ip" not in properties:
        properties["$geoip_disable"] = True  # else the address of this gateway would place the visitor
    if reading.text(clean, "user.id") is None:
        properties["$process_person_profile"] = False
    session = reading.text(clean, "visitor.session_id")
    if session and reading.uuid_of(session) == session.lower():
        properties["$session_id"] = session
    _person(clean, properties)
    return {
        "event": EVENTS.get(clean.name) or reading.own_name(clean),
        "properties": properties,
        "timestamp": reading.iso_time(clean.time_ms),
        "uuid": reading.uuid_of(clean.id),
    }


def _person(clean: CleanEvent, properties: dict[str, Any]) -> None:
    """What identify, group and alias calls say besides."""
    anonymous = reading.text(clean, "visitor.anonymous_id")
    if clean.name == "identify":
        own = reading.properties(clean)
        if traits := own | spec_words.traits(clean):
            properties["$set"] = traits
            for key in own:
                del properties[key]
        if anonymous and anonymous != properties["distinct_id"]:
            properties["$anon_distinct_id"] = anonymous
    elif clean.name == "group" and (group := reading.text(clean, "group.id")):
        name = reading.text(clean, "group.name")
        properties |= {"$group_type": "company", "$group_key": group, "$group_set": {"name": name} if name else {}}
    elif clean.name == "alias" and (previous := reading.text(clean, "user.previous_id")):
        properties["alias"] = previous


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """A batch of a few megabytes at most."""
    base = settings.endpoint or settings.host
    body = {"api_key": settings.project_api_key.get_secret_value(), "historical_migration": False, "batch": list(rows)}
    request = wire.post(f"{base}/batch/", body)
    return replace(request, secret_keys=("api_key",))


def classify(response: HttpResponse, n: int) -> Answer:
    """200 also where a quota dropped the events: then they are refused, not delivered."""
    if 200 <= response.status < 300:
        if wire.member(wire.decode(response), "quota_limited"):
            return Answer(Act.DONE, Outcome.REJECTED, reason="quota_limited")
        return Answer(Act.DONE, Outcome.DELIVERED, reason=f"http_{response.status}")
    return wire.by_status(response, n)


DESTINATION: Final = Destination(
    name="posthog",
    title="PostHog",
    recipient="PostHog, Inc., or the operator of the installation",
    kind="product_analytics",
    docs="specs/destinations.md §2.8",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=500, body_bytes=5 << 20),
    dedupe_window_s=30 * DAY_S,
    secret_settings=("project_api_key",),
    hosts=("eu.i.posthog.com", "us.i.posthog.com"),
    notes="Copies merge by uuid, event, timestamp and distinct_id, in time. Without network.ip no place is looked up.",
)
