"""Reddit Conversions API v3 (specs/destinations.md §3.3). Times in milliseconds; one invalid event refuses the request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from pydantic import Field, SecretStr

from ebbgate.destinations import harmless, reading, wire
from ebbgate.destinations.kit import (
    DAY_S,
    HOUR_S,
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
from ebbgate.destinations.normalise import hashes
from ebbgate.model import CleanEvent, Outcome

EVENTS: Final = {
    "page_view": "PAGE_VISIT",
    "view_item": "VIEW_CONTENT",
    "search": "SEARCH",
    "add_to_cart": "ADD_TO_CART",
    "add_to_wishlist": "ADD_TO_WISHLIST",
    "purchase": "PURCHASE",
    "sign_up": "SIGN_UP",
    "generate_lead": "LEAD",
}
_HASHED: Final = {"email": "user.email", "phone_number": "user.phone", "external_id": "user.id"}
_CLEAR: Final = {"uuid": "cookie.rdt_uuid", "ip_address": "network.ip", "user_agent": "device.user_agent"}
_ITEM: Final = {"name": "name", "category": "category"}
_SOURCE: Final = {"web": "WEBSITE", "app": "APP", "server": "OTHER"}
_PHONE: Final = {"ios": "idfa", "android": "aaid"}
_SCREEN: Final = re.compile(r"(\d{2,5})x(\d{2,5})\Z")


class Settings(DestinationSettings):
    """A pixel and its conversion access token."""

    pixel_id: str = Field(pattern=r"^[0-9A-Za-z_.-]+$", description="Pixel id, t2_… or a2_…")
    access_token: SecretStr = Field(description="Conversion access token; sent as a header.")
    test_id: str | None = Field(default=None, description="Shows events in the event tester only.")


def _user(clean: CleanEvent) -> dict[str, Any]:
    user: dict[str, Any] = dict(reading.hashed_fields(clean, _HASHED))
    for name, path in _CLEAR.items():
        if found := reading.text(clean, path):
            user[name] = found
    user |= reading.advertising_id(clean, _PHONE)
    if screen := _SCREEN.match(reading.text(clean, "device.screen") or ""):
        user["screen_dimensions"] = {"width": int(screen[1]), "height": int(screen[2])}
    if clean.flags.get("limited_data_use") is True:
        place = {"country": reading.country(clean, "place.country"), "region": reading.text(clean, "place.region")}
        user["data_processing_options"] = {"modes": ["LDU"], **reading.without_empty(place)}
    return user


def _metadata(clean: CleanEvent) -> dict[str, Any]:
    products = reading.mapped_items(clean, _ITEM, id_name="id")
    return reading.without_empty({
        "conversion_id": clean.id,
        "currency": reading.currency(clean),
        "value": reading.value(clean),
        "item_count": reading.pieces(clean),
        "products": products,
    })  # fmt: skip


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """One entry of `events`; an event without a standard type is CUSTOM under its own name."""
    user = _user(clean)
    click = reading.text(clean, "click.rdt_cid")
    if not click and not user.keys() - {"user_agent", "screen_dimensions", "data_processing_options"}:
        return Skip(Outcome.INVALID, "user_missing")
    if reading.text(clean, "order.currency") and reading.currency(clean) is None:
        return Skip(Outcome.INVALID, "currency")
    known = reading.platform_name(clean, EVENTS)
    kind = {"tracking_type": known} if known else {"tracking_type": "CUSTOM", "custom_event_name": reading.own_name(clean)[:100]}
    row: dict[str, Any] = {
        "event_at": clean.time_ms,
        "action_source": _SOURCE.get(reading.text(clean, "event.source") or "web", "OTHER"),
        "type": kind,
        "user": user,
        "metadata": _metadata(clean),
    }
    if click:
        row["click_id"] = click
    if address := harmless.address(clean, "page.url"):
        row["event_source_url"] = address
    return row


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """Up to 1000 events."""
    data: dict[str, Any] = {"events": list(rows)}
    if settings.test_id:
        data["test_id"] = settings.test_id
    base = settings.endpoint or "https://ads-api.reddit.com"
    url = f"{base}/api/v3/pixels/{settings.pixel_id}/conversion_events"
    return wire.bearer(url, {"data": data}, settings.access_token.get_secret_value())


_TAKEN: Final = re.compile(rb"processed (\d{1,6}) conversion events")


def classify(response: HttpResponse, n: int) -> Answer:
    """A 403 that names a field is a wrong type in the body, any other one is the token. A success says how many it took."""
    taken = _TAKEN.search(response.body) if 200 <= response.status < 300 else None
    if taken and int(taken[1]) != n:
        return Answer(Act.UNKNOWN, reason="events_processed_differs")
    if response.status == 403 and wire.member(wire.decode(response), "invalid_events"):
        return wire.rejected("reddit_invalid", n)
    return wire.by_status(response, n)


DESTINATION: Final = Destination(
    name="reddit",
    title="Reddit Conversions API",
    recipient="Reddit Ireland Limited (EEA) / Reddit, Inc.",
    kind="advertising",
    docs="specs/destinations.md §3.3",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=1000, body_bytes=5 << 20),
    max_age_s=7 * DAY_S,
    dedupe_window_s=48 * HOUR_S,
    hashes=hashes("reddit"),
    demands_hash=frozenset(hashes("reddit")),
    hash_names={"em": "user.email", "ph": "user.phone", "external_id": "user.id"},
    restriction_flags=frozenset({"limited_data_use"}),
    secret_settings=("access_token",),
    hosts=("ads-api.reddit.com",),
    notes="Copies merge by conversion_id with the pixel's conversionId. People leave as hashes only.",
)
