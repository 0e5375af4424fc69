"""Pinterest Conversions API v5 (specs/destinations.md §3.1). A 422 is a partial answer: one entry an event, in order."""

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
from ebbgate.destinations.normalise import RULES, hashes
from ebbgate.model import CleanEvent, Outcome

EVENTS: Final = {
    "page_view": "page_visit",
    "view_item": "view_content",
    "view_item_list": "view_category",
    "search": "search",
    "add_to_cart": "add_to_cart",
    "add_to_wishlist": "add_to_wishlist",
    "begin_checkout": "initiate_checkout",
    "add_payment_info": "add_payment_info",
    "purchase": "checkout",
    "sign_up": "signup",
    "generate_lead": "lead",
    "subscribe": "subscribe",
    "video_start": "watch_video",
}
USER: Final = {name: rule.path for name, rule in RULES["pinterest"].items()}
_ITEM: Final = {"name": "item_name", "category": "item_category", "brand": "item_brand", "quantity": "quantity"}
_LANGUAGE: Final = re.compile(r"([A-Za-z]{2})(?:[-_]|\Z)")  # ISO 639-1: a language of three letters has no place
_SOURCE: Final = {"web": "web", "server": "offline", "app": "web"}


class Settings(DestinationSettings):
    """An ad account and its conversion token."""

    ad_account_id: str = Field(pattern=r"^[0-9A-Za-z_-]+$", description="Ad account id.")
    access_token: SecretStr = Field(description="Conversion token; sent as a header.")
    test: bool = Field(default=False, description="Pinterest checks the events and records nothing.")


def _user_data(clean: CleanEvent) -> dict[str, Any]:
    data: dict[str, Any] = {name: [digest] for name, digest in reading.hashed_fields(clean, USER)}
    clear = {
        "client_ip_address": reading.text(clean, "network.ip"),
        "client_user_agent": reading.text(clean, "device.user_agent"),
        "click_id": reading.first(reading.text(clean, "click.epik"), reading.text(clean, "cookie.epik")),
    }
    return data | reading.without_empty(clear)


def _custom_data(clean: CleanEvent) -> dict[str, Any]:
    products = reading.items(clean)
    contents = reading.mapped_items(clean, _ITEM, id_name="id")
    prices = [p.get("price") for p in products if reading.item_id(p) is not None]
    for row, price in zip(contents, prices, strict=True):
        if isinstance(price, (int, float)):
            row["item_price"] = reading.number_text(price)
    amount, only = reading.value(clean), products[0] if len(products) == 1 else {}
    return reading.without_empty({
        "currency": reading.currency(clean),
        "value": None if amount is None else reading.number_text(amount),
        "content_ids": [c["id"] for c in contents],
        "contents": contents,
        "num_items": reading.pieces(clean),
        "order_id": reading.text(clean, "order.id"),
        "search_string": harmless.plain_text(clean, "search.term"),
        "content_name": only.get("name"),
        "content_category": only.get("category"),
        "content_brand": only.get("brand"),
        "opt_out_type": "LDP" if clean.flags.get("limited_data_use") is True else None,
    })  # fmt: skip


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """One entry of `data`. It needs an e-mail digest, or address and user agent together."""
    user = _user_data(clean)
    if "em" not in user and not {"client_ip_address", "client_user_agent"} <= user.keys():
        return Skip(Outcome.INVALID, "user_data_missing")
    if reading.text(clean, "order.currency") and reading.currency(clean) is None:
        return Skip(Outcome.INVALID, "currency")
    address = harmless.address(clean, "page.url")
    row: dict[str, Any] = {
        "event_name": reading.platform_name(clean, EVENTS) or "custom",
        "action_source": "web" if address else _SOURCE.get(reading.text(clean, "event.source") or "web", "web"),
        "event_time": reading.seconds(clean),
        "event_id": clean.id,
        "user_data": user,
    }
    if address:
        row["event_source_url"] = address
    if custom := _custom_data(clean):
        row["custom_data"] = custom
    if clean.flags.get("opt_out") is True:
        row["opt_out"] = True
    if language := _LANGUAGE.match(reading.text(clean, "device.language") or ""):
        row["language"] = language[1].lower()
    return row


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """Up to 1000 events."""
    base = settings.endpoint or "https://api.pinterest.com"
    url = f"{base}/v5/ad_accounts/{settings.ad_account_id}/events{'?test=true' if settings.test else ''}"
    return wire.bearer(url, {"data": list(rows)}, settings.access_token.get_secret_value())


def classify(response: HttpResponse, n: int) -> Answer:
    """200 and 422 list the events in order; a 503 means the endpoint is being ramped down."""
    if response.status not in (200, 422):
        return wire.by_status(response, n)
    answer = wire.decode(response)
    events = wire.member(answer, "events")
    if not isinstance(events, list) or len(events) != n:
        if response.status == 200 and wire.member(answer, "num_events_processed") == n:
            return Answer(Act.DONE, Outcome.DELIVERED, reason="http_200")
        return wire.by_status(response, n) if response.status == 422 else Answer(Act.UNKNOWN, reason="events_differ")
    rows: dict[int, Outcome | Act] = {}
    for index, event in enumerate(events):
        status = wire.member(event, "status")
        if status == "failed":
            rows[index] = Outcome.REJECTED
        elif status != "processed":
            rows[index] = Act.UNKNOWN
    return Answer(Act.DONE, Outcome.DELIVERED, rows, reason="partial" if rows else f"http_{response.status}")


DESTINATION: Final = Destination(
    name="pinterest",
    title="Pinterest Conversions API",
    recipient="Pinterest Europe Limited (EEA) / Pinterest, Inc.",
    kind="advertising",
    docs="specs/destinations.md §3.1",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=1000, body_bytes=5 << 20),
    max_age_s=7 * DAY_S,
    dedupe_window_s=24 * HOUR_S,
    hashes=hashes("pinterest"),
    demands_hash=frozenset(hashes("pinterest")),
    hash_names=USER,
    restriction_flags=frozenset({"limited_data_use", "opt_out"}),
    secret_settings=("access_token",),
    hosts=("api.pinterest.com",),
    notes="Copies merge by event_id and event_name for 24 hours. Events without a standard name are sent as `custom`.",
)
