"""TikTok Events API 2.0 (specs/destinations.md §2.4). HTTP 200 always: `code` in the body says how it went."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Self

from pydantic import Field, SecretStr, model_validator

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
    "page_view": "Pageview",
    "view_item": "ViewContent",
    "view_item_list": "ViewContent",
    "search": "Search",
    "add_to_cart": "AddToCart",
    "add_to_wishlist": "AddToWishlist",
    "begin_checkout": "InitiateCheckout",
    "add_payment_info": "AddPaymentInfo",
    "purchase": "CompletePayment",
    "sign_up": "CompleteRegistration",
    "generate_lead": "SubmitForm",
    "subscribe": "Subscribe",
    "contact": "Contact",
    "file_download": "Download",
}
_USER: Final = {
    "email": "user.email",
    "phone": "user.phone",
    "external_id": "user.id",
    "first_name": "user.first_name",
    "last_name": "user.last_name",
    "zip_code": "user.postcode",
}
_CLEAR: Final = {
    "ttclid": "click.ttclid",
    "ttp": "cookie.ttp",
    "ip": "network.ip",
    "user_agent": "device.user_agent",
    "locale": "device.language",
}
_ITEM: Final = {"price": "price", "quantity": "quantity", "category": "content_category", "name": "content_name", "brand": "brand"}
_SOURCE: Final = {"web": "web", "server": "web", "app": "app"}
OFFLINE: Final = "offline"
#: Values of `properties.event_channel` that are no shop floor: such events are the pixel's.
_ONLINE: Final = frozenset({"website", "web", "app"})
_AUTH: Final = frozenset({40001, 40101, 40102, 40103, 40104, 40105, 40106, 40107})
_PHONE: Final = {"ios": "idfa", "android": "gaid"}
_NOT_ALNUM: Final = re.compile(r"[^\w]|_")


class Settings(DestinationSettings):
    """A pixel, an offline event set, or both, and the access token of the Events API."""

    pixel_code: str | None = Field(
        default=None, min_length=1, description="Pixel code, the `event_source_id` of web and app events."
    )
    offline_event_set_id: str | None = Field(
        default=None, min_length=1, description="Offline event set: takes what happened in a shop, by phone or on a server."
    )
    access_token: SecretStr = Field(description="Events API token; sent as a header.")
    test_event_code: str | None = Field(default=None, description="Shows events in the Test Events tab only.")

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.pixel_code is None and self.offline_event_set_id is None:
            raise ValueError("give pixel_code, offline_event_set_id or both")
        return self


def _user(clean: CleanEvent) -> dict[str, Any]:
    user: dict[str, Any] = dict(reading.hashed_fields(clean, _USER))
    for name, path in _CLEAR.items():
        if found := reading.text(clean, path):
            user[name] = found
    user |= reading.advertising_id(clean, _PHONE)
    for name, path in (("city", "user.city"), ("state", "user.region")):
        if (found := reading.text(clean, path)) and (short := _NOT_ALNUM.sub("", found.lower())):
            user[name] = short
    if code := reading.country(clean, "user.country"):
        user["country"] = code.lower()
    return user


def _properties(clean: CleanEvent) -> dict[str, Any]:
    contents = reading.mapped_items(clean, _ITEM, id_name="content_id")
    own = harmless.own_properties(clean)
    facts = {
        "contents": contents,
        "content_ids": [c["content_id"] for c in contents],
        "content_type": "product" if contents else None,
        "num_items": reading.pieces(clean),
        "currency": reading.currency(clean),
        "value": reading.value(clean),
        "query": harmless.plain_text(clean, "search.term"),
        "order_id": reading.text(clean, "order.id"),
    }
    return own | reading.without_empty(facts)


def _source(clean: CleanEvent, settings: Settings) -> str:
    """`offline` for the event set: what has a channel of its own or no page behind it, and everything where there is no pixel."""
    source = reading.text(clean, "event.source") or "web"
    if settings.offline_event_set_id is None:
        return _SOURCE.get(source, "web")
    channel = (reading.text(clean, "properties.event_channel") or "").lower()
    elsewhere = channel not in _ONLINE if channel else source == "server"
    return OFFLINE if elsewhere or settings.pixel_code is None else _SOURCE.get(source, "web")


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """One entry of `data`, with its source beside it: `source` and `event`."""
    user = _user(clean)
    if not user.keys() - {"user_agent", "locale", "city", "state", "country"}:
        return Skip(Outcome.INVALID, "user_missing")
    if reading.text(clean, "order.currency") and reading.currency(clean) is None:
        return Skip(Outcome.INVALID, "currency")
    source = _source(clean, settings)
    event: dict[str, Any] = {
        "event": (EVENTS.get(clean.name) or reading.own_name(clean))[:50],
        "event_time": reading.seconds(clean),
        "event_id": clean.id,
        "user": user,
        "limited_data_use": clean.flags.get("limited_data_use") is True,
    }
    if properties := _properties(clean):
        event["properties"] = properties
    page = {"url": harmless.address(clean, "page.url"), "referrer": harmless.address(clean, "page.referrer")}
    if page["url"]:
        event["page"] = reading.without_empty(page)
    elif source == "web":
        return Skip(Outcome.INVALID, "page_url_missing")
    return {"source": source, "event": event}


def batch_key(row: Row) -> str:
    """One request holds events of one source."""
    return str(row["source"])


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """Up to 1000 events of one source; the token stands in the `Access-Token` header."""
    source = rows[0]["source"]
    target = settings.offline_event_set_id if source == OFFLINE else settings.pixel_code
    body: dict[str, Any] = {"event_source": source, "event_source_id": target}
    if settings.test_event_code:
        body["test_event_code"] = settings.test_event_code
    body["data"] = [row["event"] for row in rows]
    base = settings.endpoint or "https://business-api.tiktok.com"
    token = (("access-token", settings.access_token.get_secret_value()),)
    return wire.post(f"{base}/open_api/v1.3/event/track/", body, headers=token, secret_headers=("access-token",))


def classify(response: HttpResponse, n: int) -> Answer:
    """By `code` of the body: 0 is delivered, 40100 pushed back, auth parks, 4xxxx is the content, 5xxxx theirs."""
    code = wire.member(wire.decode(response), "code")
    if not isinstance(code, int):
        # Gateways in front answer HTML; a 2xx without a code says nothing about the events.
        return Answer(Act.UNKNOWN, reason="no_code") if response.status < 300 else wire.by_status(response, n)
    reason = f"tiktok_{code}"
    if code == 0:
        return Answer(Act.DONE, Outcome.DELIVERED, reason=reason)
    if code == 40100:
        return Answer(Act.RETRY, reason=reason)
    if code in _AUTH:
        return Answer(Act.PARK, reason=reason)
    if 40000 <= code < 50000:
        return wire.rejected(reason, n)
    return Answer(Act.UNKNOWN, reason=reason)


DESTINATION: Final = Destination(
    name="tiktok",
    title="TikTok Events API",
    recipient="TikTok Technology Limited (EEA) / TikTok Inc.",
    kind="advertising",
    docs="specs/destinations.md §2.4",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=1000, body_bytes=1 << 20),
    max_age_s=7 * DAY_S,
    dedupe_window_s=48 * HOUR_S,
    hashes=hashes("tiktok"),
    demands_hash=frozenset(hashes("tiktok")),
    hash_names={"em": "user.email", "ph": "user.phone", "fn": "user.first_name", "ln": "user.last_name"},
    restriction_flags=frozenset({"limited_data_use"}),
    secret_settings=("access_token",),
    hosts=("business-api.tiktok.com",),
    batch_key=batch_key,
    notes="Copies merge by event, event_id and pixel code. Age (7 days) and dedupe window (48 hours) are not published.",
)
