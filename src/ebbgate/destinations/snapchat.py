"""Snapchat Conversions API v3 (specs/destinations.md §3.2, limited data use: specs/consent.md §4.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

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
from ebbgate.destinations.normalise import RULES, country_lower, hashes
from ebbgate.model import CleanEvent, Outcome

EVENTS: Final = {
    "page_view": "PAGE_VIEW",
    "view_item": "VIEW_CONTENT",
    "view_item_list": "LIST_VIEW",
    "search": "SEARCH",
    "add_to_cart": "ADD_CART",
    "add_to_wishlist": "ADD_TO_WISHLIST",
    "begin_checkout": "START_CHECKOUT",
    "add_payment_info": "ADD_BILLING",
    "purchase": "PURCHASE",
    "sign_up": "SIGN_UP",
    "login": "LOGIN",
    "generate_lead": "SIGN_UP",
    "subscribe": "SUBSCRIBE",
    "start_trial": "START_TRIAL",
    "share": "SHARE",
}
#: `db` is not in the list of v3.
USER: Final = {name: rule.path for name, rule in RULES["snapchat"].items() if name != "db"}
#: In the flow a country is its ISO code, as documented; `destination hash` shows a name as Snapchat's integrations hash it.
_HASHED: Final = {
    **{path: rule for path, rule in hashes("snapchat").items() if path != "user.birthday"},
    "user.country": country_lower,
}
_CLEAR: Final = {
    "client_ip_address": "network.ip",
    "client_user_agent": "device.user_agent",
    "sc_click_id": "click.sccid",
    "sc_cookie1": "cookie.scid",
    "lead_id": "lead.id",
    "madid": "visitor.advertising_id",
}
_ITEM: Final = {"quantity": "quantity", "price": "item_price", "brand": "brand"}
_SOURCE: Final = {"web": "WEB", "app": "MOBILE_APP", "server": "OFFLINE"}
_FALLBACK: Final = "CUSTOM_EVENT_1"


class Settings(DestinationSettings):
    """A pixel (or app) and its long-lived token."""

    pixel_id: str = Field(pattern=r"^[0-9A-Za-z_.-]+$", description="Pixel id, or the id of a Snap app.")
    access_token: SecretStr = Field(description="Conversions API token; sent as a header.")
    custom_events: Mapping[str, Literal[1, 2, 3, 4, 5]] = Field(
        default_factory=dict, description="Event name → number of the custom event it is; others are number 1."
    )


def _user_data(clean: CleanEvent) -> dict[str, Any]:
    data: dict[str, Any] = dict(reading.hashed_fields(clean, USER))
    if "external_id" in data:
        data["external_id"] = [data["external_id"]]
    for name, path in _CLEAR.items():
        if found := reading.text(clean, path):
            data[name] = found
    return data


def _custom_data(clean: CleanEvent) -> dict[str, Any]:
    products = reading.items(clean)
    contents = reading.mapped_items(clean, _ITEM, id_name="id")
    return reading.without_empty({
        "currency": reading.currency(clean),
        "value": reading.value(clean),
        "contents": contents,
        "content_ids": [c["id"] for c in contents],
        "content_category": list(dict.fromkeys(c for p in products if (c := reading.item_category(p)))),
        "brands": list(dict.fromkeys(str(b) for p in products if (b := p.get("brand")))),
        "num_items": reading.pieces(clean),
        "order_id": reading.text(clean, "order.id"),
        "search_string": harmless.plain_text(clean, "search.term"),
        "sign_up_method": reading.text(clean, "properties.method") if clean.name == "sign_up" else None,
    })  # fmt: skip


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """One entry of `data`: time in whole seconds."""
    user = _user_data(clean)
    if not ({"em", "ph", "madid"} & user.keys() or {"client_ip_address", "client_user_agent"} <= user.keys()):
        return Skip(Outcome.INVALID, "user_data_missing")
    if reading.text(clean, "order.currency") and reading.currency(clean) is None:
        return Skip(Outcome.INVALID, "currency")
    address = harmless.address(clean, "page.url")
    source = "WEB" if address else _SOURCE.get(reading.text(clean, "event.source") or "web", "WEB")
    if source == "WEB" and not address:
        return Skip(Outcome.INVALID, "page_url_missing")
    number = settings.custom_events.get(clean.name, settings.custom_events.get(reading.own_name(clean)))
    row: dict[str, Any] = {
        "event_name": f"CUSTOM_EVENT_{number}" if number else reading.platform_name(clean, EVENTS) or _FALLBACK,
        "event_time": reading.seconds(clean),
        "event_id": clean.id,
        "action_source": source,
        "user_data": user,
    }
    if address:
        row["event_source_url"] = address
    if custom := _custom_data(clean):
        row["custom_data"] = custom
    if clean.flags.get("limited_data_use") is True:
        california = reading.text(clean, "place.region") == "US-CA"
        row |= {
            "data_processing_options": ["LDU"],
            "data_processing_options_country": 1 if california else 0,
            "data_processing_options_state": 1000 if california else 0,
        }
    return row


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """Up to 2000 events."""
    base = settings.endpoint or "https://tr.snapchat.com"
    return wire.bearer(f"{base}/v3/{settings.pixel_id}/events", {"data": list(rows)}, settings.access_token.get_secret_value())


def classify(response: HttpResponse, n: int) -> Answer:
    """`status` of the body: INVALID refuses the request; records in error are named without an index, so they are halved."""
    answer = wire.decode(response)
    status = str(wire.member(answer, "status") or "").upper()
    records = wire.member(answer, "error_records")
    if 200 <= response.status < 300:
        if status == "INVALID" or records:
            return wire.rejected("snapchat_invalid", n)
        return Answer(Act.DONE, Outcome.DELIVERED, reason=f"http_{response.status}")
    return wire.by_status(response, n)


DESTINATION: Final = Destination(
    name="snapchat",
    title="Snapchat Conversions API",
    recipient="Snap Group Limited (EEA) / Snap Inc.",
    kind="advertising",
    docs="specs/destinations.md §3.2",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=2000, body_bytes=5 << 20),
    max_age_s=37 * DAY_S,
    dedupe_window_s=48 * HOUR_S,
    hashes=_HASHED,
    demands_hash=frozenset(_HASHED),
    hash_names=USER,
    restriction_flags=frozenset({"limited_data_use"}),
    secret_settings=("access_token",),
    hosts=("tr.snapchat.com",),
    notes="Copies merge by event_id for 48 hours, purchases by order id too.",
)
