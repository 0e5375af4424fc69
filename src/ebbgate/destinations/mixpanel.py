"""Mixpanel `/import` (specs/destinations.md §3.5). A 400 is partial: what it does not name is stored."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Final, Literal

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

HOSTS: Final = {"us": "https://api.mixpanel.com", "eu": "https://api-eu.mixpanel.com", "in": "https://api-in.mixpanel.com"}
_CONTEXT: Final = {
    "$current_url": "page.url",
    "$referrer": "page.referrer",
    "$browser": "device.browser",
    "$browser_version": "device.browser_version",
    "$os": "device.os",
    "$device_id": "visitor.anonymous_id",
    "$user_id": "user.id",
    "$locale": "device.language",
    "utm_source": "campaign.source",
    "utm_medium": "campaign.medium",
    "utm_campaign": "campaign.name",
    "utm_term": "campaign.term",
    "utm_content": "campaign.content",
}
#: Ids that Mixpanel refuses, because they stand for everybody.
_NOBODY: Final = frozenset({
    "", "0", "-1", "00000000-0000-0000-0000-000000000000", "anon", "anonymous", "nil", "none", "null", "n/a", "na", "undefined",
    "unknown", "true", "false", "[]", "{}", "lmy47d", "lmy48f",
})  # fmt: skip
_INSERT_ID: Final = re.compile(r"[A-Za-z0-9-]{1,36}\Z")
_MAX_PROPERTIES: Final = 254
_MAX_ID_BYTES: Final = 255


class Settings(DestinationSettings):
    """A project: its token, and its API secret for imports."""

    project_id: str | None = Field(default=None, description="Project id.")
    project_token: SecretStr = Field(description="Project token.")
    api_secret: SecretStr | None = Field(default=None, description="API secret; without it the token authorises the import.")
    region: Literal["us", "eu", "in"] = Field(default="us", description="Where the project lives.")


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """One event; without a usable id the event is anonymous (`distinct_id` is empty)."""
    who = spec_words.distinct_id(clean) or ""
    if len(who.encode("utf-8", "replace")) > _MAX_ID_BYTES:
        return Skip(Outcome.INVALID, "distinct_id_too_long")
    properties = spec_words.properties(clean) | spec_words.picked(clean, _CONTEXT)
    identifier = clean.id if _INSERT_ID.match(clean.id) else reading.hex_id(clean.id)
    properties |= {
        "time": clean.time_ms,
        "distinct_id": "" if who.strip().lower() in _NOBODY else who,
        "$insert_id": identifier,
        "mp_lib": "ebbgate",
        "ip": reading.text(clean, "network.ip") or 0,  # 0: no look-up of this gateway's own address
    }
    if len(properties) > _MAX_PROPERTIES:
        return Skip(Outcome.INVALID, "too_many_properties")
    return {"event": reading.own_name(clean)[:255], "properties": properties}


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """Up to 2000 events as a JSON array, with Basic authorisation."""
    secret = settings.api_secret or settings.project_token
    basic = base64.b64encode(f"{secret.get_secret_value()}:".encode()).decode()
    query = {"strict": "1", **({"project_id": settings.project_id} if settings.project_id else {})}
    base = settings.endpoint or HOSTS[settings.region]
    headers = (("authorization", f"Basic {basic}"),)
    return wire.post(f"{base}/import", list(rows), headers=headers, query=query, secret_headers=("authorization",))


def classify(response: HttpResponse, n: int) -> Answer:
    """400 names the refused records by index; the batch is never sent again."""
    if response.status != 400:
        return wire.by_status(response, n)
    answer = wire.decode(response)
    failed, stored = wire.member(answer, "failed_records"), wire.member(answer, "num_records_imported")
    if not isinstance(failed, list) or not isinstance(stored, int):
        return wire.by_status(response, n)
    rows = wire.refused(failed, n)
    if rows is None or stored + len(rows) != n:
        return Answer(Act.UNKNOWN, reason="records_differ")
    return Answer(Act.DONE, Outcome.DELIVERED, rows, reason="partial")


DESTINATION: Final = Destination(
    name="mixpanel",
    title="Mixpanel",
    recipient="Mixpanel, Inc.",
    kind="product_analytics",
    docs="specs/destinations.md §3.5",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=2000, body_bytes=10 << 20),
    max_age_s=5 * 365 * DAY_S,
    dedupe_window_s=5 * DAY_S,
    secret_settings=("project_token", "api_secret"),
    hosts=("api.mixpanel.com", "api-eu.mixpanel.com", "api-in.mixpanel.com"),
    notes="Copies merge by event, time, distinct_id and $insert_id.",
)
