"""Google Analytics 4, Measurement Protocol (specs/destinations.md §2.1, consent: specs/consent.md §4.4).

The protocol answers 2xx whatever it is sent, so names and limits are checked here, by the documented rules: what the platform
would drop or misread is `invalid`, texts that are too long are cut as the platform cuts them. A 2xx is `accepted_unverified`.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, Self

from pydantic import Field, SecretStr, model_validator

from ebbgate.destinations import harmless, reading, wire
from ebbgate.destinations.kit import HOUR_S, Answer, Batch, Destination, DestinationSettings, HttpRequest, HttpResponse, Row, Skip
from ebbgate.destinations.normalise import hashes
from ebbgate.model import CleanEvent, Outcome, Scalar

HOSTS: Final = {"us": "https://www.google-analytics.com", "eu": "https://region1.google-analytics.com"}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}\Z")
_CLIENT_ID = re.compile(r"[\x21-\x7e]{1,500}\Z")
RESERVED_NAMES: Final = frozenset({
    "ad_activeview", "ad_click", "ad_exposure", "ad_impression", "ad_query", "ad_reward", "adunit_exposure", "app_clear_data",
    "app_exception", "app_install", "app_remove", "app_store_refund", "app_store_subscription_cancel",
    "app_store_subscription_convert", "app_store_subscription_renew", "app_update", "app_upgrade", "dynamic_link_app_open",
    "dynamic_link_app_update", "dynamic_link_first_open", "error", "first_open", "first_visit", "in_app_purchase",
    "notification_dismiss", "notification_foreground", "notification_open", "notification_receive", "os_update", "screen_view",
    "session_start", "session_start_with_rollout", "user_engagement",
})  # fmt: skip
RESERVED_PREFIXES: Final = ("_", "firebase_", "ga_", "google_", "gtag.", "dynamic_link_", "notification_")
#: Events whose amount has no meaning without a currency, on the event or on every product.
_NEEDS_CURRENCY: Final = frozenset({
    "add_payment_info", "add_shipping_info", "add_to_cart", "add_to_wishlist", "begin_checkout", "purchase", "refund",
    "remove_from_cart", "view_cart", "view_item",
})  # fmt: skip
_MAX_PARAMS: Final = 25
_MAX_ITEMS: Final = 200
_MAX_TEXT: Final = 100
_URLS: Final = frozenset({"page_location", "page_referrer"})
_TEXT_LIMITS: Final = {"page_location": 1000, "page_referrer": 420, "page_title": 300}

#: GA4 parameter → our field; texts.
_TEXTS: Final = {
    "page_location": "page.url",
    "page_referrer": "page.referrer",
    "page_title": "page.title",
    "session_id": "visitor.session_id",
    "transaction_id": "order.id",
    "affiliation": "order.affiliation",
    "coupon": "order.coupon",
    "payment_type": "order.payment_type",
    "shipping_tier": "order.shipping_tier",
    "item_list_id": "order.list_id",
    "item_list_name": "order.list_name",
    "search_term": "search.term",
    "lead_source": "lead.source",
}
#: Manual campaign parameters, read by Google on these events only.
_CAMPAIGN: Final = {
    "campaign_id": "campaign.id",
    "campaign": "campaign.name",
    "source": "campaign.source",
    "medium": "campaign.medium",
    "term": "campaign.term",
    "content": "campaign.content",
}
_CAMPAIGN_EVENTS: Final = frozenset({"page_view", "campaign_details"})
_NUMBERS: Final = {"tax": "order.tax", "shipping": "order.shipping"}
#: Key of a product → item parameter.
_ITEM: Final = {
    "name": "item_name",
    "brand": "item_brand",
    "category": "item_category",
    "category2": "item_category2",
    "category3": "item_category3",
    "category4": "item_category4",
    "category5": "item_category5",
    "variant": "item_variant",
    "list_id": "item_list_id",
    "list_name": "item_list_name",
    "affiliation": "affiliation",
    "coupon": "coupon",
    "discount": "discount",
    "index": "index",
    "price": "price",
    "quantity": "quantity",
    "currency": "currency",
    "promotion_id": "promotion_id",
    "promotion_name": "promotion_name",
    "creative_name": "creative_name",
    "creative_slot": "creative_slot",
    "location_id": "location_id",
}
_DEVICE: Final = {
    "category": "device.type",
    "language": "device.language",
    "screen_resolution": "device.screen",
    "operating_system": "device.os",
    "operating_system_version": "device.os_version",
    "model": "device.model",
    "brand": "device.brand",
    "browser": "device.browser",
    "browser_version": "device.browser_version",
}
_CONSENT: Final = {"granted": "GRANTED", "denied": "DENIED"}


class Settings(DestinationSettings):
    """A web stream (`measurement_id`) or an app stream (`firebase_app_id`) and its API secret."""

    measurement_id: str | None = Field(default=None, pattern=r"^G-[A-Za-z0-9]+$", description="G-… of a web stream.")
    firebase_app_id: str | None = Field(default=None, min_length=1, description="Firebase app id of an app stream.")
    api_secret: SecretStr = Field(description="Measurement Protocol API secret of the stream.")
    region: Literal["us", "eu"] = Field(default="us", description="Where Google collects: eu = region1 host.")
    requests_at_once: int = Field(
        default=16, ge=1, le=64, description="Most requests under way at a time: a request holds the events of one visitor only."
    )

    @model_validator(mode="after")
    def _one_stream(self) -> Self:
        if (self.measurement_id is None) == (self.firebase_app_id is None):
            raise ValueError("give measurement_id (web stream) or firebase_app_id (app stream), one of them")
        return self


def _invalid(reason: str) -> Skip:
    return Skip(Outcome.INVALID, reason)


@lru_cache(maxsize=1024)
def event_name(own: str) -> str | Skip:
    """GA4's name for an event: ours, made of letters, digits and `_`; reserved names are invalid."""
    name = re.sub(r"[^A-Za-z0-9_.]", "_", own)[:40]
    lowered = name.lower()
    if lowered in RESERVED_NAMES or lowered.startswith(RESERVED_PREFIXES):
        return _invalid("event_name_reserved")
    name = name.replace(".", "_")
    return name if _NAME.match(name) else _invalid("event_name")


def _item(product: Mapping[str, Scalar]) -> dict[str, Any] | None:
    """One entry of `items`; None without an id and without a name."""
    found = reading.mapped_item(product, _ITEM)
    item = {k: v[:_MAX_TEXT] if isinstance(v, str) else v for k, v in found.items() if not isinstance(v, bool)}
    identifier = reading.item_id(product)
    if identifier:
        item = {"item_id": identifier[:_MAX_TEXT], **item}
    return item if "item_id" in item or "item_name" in item else None


def parameters(clean: CleanEvent, name: str) -> dict[str, Any] | Skip:
    """The `params` of an event of that name: at most 25, texts cut as the platform cuts them, money only with its currency."""
    params: dict[str, Any] = {}
    texts = _TEXTS | _CAMPAIGN if name in _CAMPAIGN_EVENTS else _TEXTS
    for key, path in texts.items():
        if path not in clean.fields:
            continue
        read = harmless.address if key in _URLS else harmless.plain_text
        found = read(clean, path)
        if found is not None:
            params[key] = found[: _TEXT_LIMITS.get(key, _MAX_TEXT)]
    if "page_location" in params and reading.ads_refused(clean):
        params["page_location"] = harmless.without_click_ids(params["page_location"])
    amount, code = reading.value(clean), reading.currency(clean)
    if reading.text(clean, "order.currency") is not None and code is None:
        return _invalid("currency")
    if amount is not None and code is None:
        return _invalid("currency_missing")
    if code is not None:
        params["currency"] = code
    if amount is not None:
        params["value"] = amount
    for key, path in _NUMBERS.items():
        if (figure := reading.number(clean, path)) is not None:
            params[key] = figure
    products = [item for product in reading.items(clean) if (item := _item(product)) is not None]
    if products:
        if code is None and name in _NEEDS_CURRENCY and not all("currency" in item for item in products):
            return _invalid("currency_missing")
        params["items"] = products[:_MAX_ITEMS]
    # The platform wants at least 1 ms for an event to count in reports; it is no statement about the visitor.
    params["engagement_time_msec"] = max(1, int(reading.number(clean, "visitor.engagement_ms") or 1))
    if (debug := clean.fields.get("properties.debug_mode")) is not None and debug is not False:
        params["debug_mode"] = 1
    _own_params(clean, params)
    return params


def _own_params(clean: CleanEvent, params: dict[str, Any]) -> None:
    """Add what the site added itself, as far as names, types and the number of parameters allow."""
    for key, found in harmless.own_properties(clean).items():
        if len(params) >= _MAX_PARAMS:
            return
        if key in params or key == "debug_mode" or not _NAME.match(key) or key.lower().startswith(RESERVED_PREFIXES):
            continue
        if isinstance(found, bool):
            params[key] = "true" if found else "false"
        elif isinstance(found, str) and found:
            params[key] = found[:_MAX_TEXT]
        elif isinstance(found, (int, float)):
            params[key] = found


def _user_data(clean: CleanEvent) -> dict[str, Any]:
    """Enhanced measurement: digests only, and the coarse address that Google takes in clear."""
    data: dict[str, Any] = {}
    if digest := reading.hashed(clean, "user.email"):
        data["sha256_email_address"] = [digest]
    if digest := reading.hashed(clean, "user.phone"):
        data["sha256_phone_number"] = [digest]
    address = {
        "sha256_first_name": reading.hashed(clean, "user.first_name"),
        "sha256_last_name": reading.hashed(clean, "user.last_name"),
        "sha256_street": reading.hashed(clean, "user.street"),
    }
    if any(address.values()):
        address |= {
            "city": reading.text(clean, "user.city"),
            "region": reading.text(clean, "user.region"),
            "postal_code": reading.text(clean, "user.postcode"),
            "country": reading.country(clean, "user.country"),
        }
        data["address"] = [reading.without_empty(address)]
    return data


def _top(clean: CleanEvent, settings: Settings) -> dict[str, Any] | Skip:
    """What one request holds once: who, consent, device."""
    top: dict[str, Any] = {}
    if settings.firebase_app_id is not None:
        instance = reading.first(
            reading.text(clean, "device.app_instance_id"),
            reading.text(clean, "visitor.client_id"),
            reading.text(clean, "visitor.anonymous_id"),
        )
        if instance is None:
            return _invalid("app_instance_id_missing")
        top["app_instance_id"] = instance
    else:
        client = reading.first(reading.text(clean, "visitor.client_id"), reading.text(clean, "visitor.anonymous_id"))
        if client is None:
            return _invalid("client_id_missing")
        if not _CLIENT_ID.match(client):
            return _invalid("client_id")
        top["client_id"] = client
    refused = reading.ads_refused(clean)
    if user := reading.text(clean, "user.id"):
        top["user_id"] = user[:256]
    consent = {k: _CONSENT[v] for k in ("ad_user_data", "ad_personalization") if (v := clean.google.get(k)) in _CONSENT}
    if consent:
        top["consent"] = consent
    if not refused:
        if data := _user_data(clean):
            top["user_data"] = data
        if address := reading.text(clean, "network.ip"):
            top["ip_override"] = address
    if agent := reading.text(clean, "device.user_agent"):
        top["user_agent"] = agent
    device = {key: found for key, path in _DEVICE.items() if path in clean.fields and (found := reading.text(clean, path))}
    if device:
        top["device"] = device
    location = {"country_id": reading.country(clean, "place.country"), "region_id": reading.region(clean, "place.region")}
    if location := reading.without_empty(location):
        top["user_location"] = location
    return top


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """Row: `top` (once a request), `event` (name, params) and `time` (unix microseconds)."""
    name = event_name(clean.name)
    if isinstance(name, Skip):
        return name
    top = _top(clean, settings)
    if isinstance(top, Skip):
        return top
    params = parameters(clean, name)
    if isinstance(params, Skip):
        return params
    return {"top": top, "event": {"name": name, "params": params}, "time": clean.time_ms * 1000}


def batch_key(row: Row) -> Hashable:
    """Rows share a request when everything a request holds once is equal."""
    return wire.encode(row["top"])


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """One request of up to 25 events of one client; the time stands once, or at each event where there are several."""
    head = rows[0]
    body: dict[str, Any] = {**head["top"], "timestamp_micros": head["time"]}
    if len(rows) == 1:
        body["events"] = [head["event"]]
    else:
        body["events"] = [{**row["event"], "timestamp_micros": row["time"]} for row in rows]
    stream = (
        {"measurement_id": settings.measurement_id}
        if settings.measurement_id is not None
        else {"firebase_app_id": settings.firebase_app_id or ""}
    )
    query = {"api_secret": settings.api_secret.get_secret_value(), **stream}
    base = settings.endpoint or HOSTS[settings.region]
    return wire.post(f"{base}/mp/collect", body, query=query, secret_params=("api_secret",))


def classify(response: HttpResponse, n: int) -> Answer:
    """2xx whatever was sent: never called delivered."""
    return wire.by_status(response, n, outcome=Outcome.ACCEPTED_UNVERIFIED)


DESTINATION: Final = Destination(
    name="ga4",
    reserved_events=RESERVED_NAMES,
    title="Google Analytics 4",
    recipient="Google Ireland Limited (EEA, Switzerland) / Google LLC",
    kind="analytics",
    docs="specs/destinations.md §2.1",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=25, body_bytes=130_000),
    max_age_s=72 * HOUR_S,
    dedupe_window_s=72 * HOUR_S,
    dedupe=reading.is_order,
    hashes=hashes("google"),
    demands_hash=frozenset({"user.email", "user.phone", "user.first_name", "user.last_name", "user.street"}),
    hash_names={"em": "user.email", "ph": "user.phone", "fn": "user.first_name", "ln": "user.last_name", "street": "user.street"},
    hash_platform="google",
    secret_settings=("api_secret",),
    hosts=("www.google-analytics.com", "region1.google-analytics.com"),
    batch_key=batch_key,
    notes="No dedupe key: only purchases merge, by transaction_id. A 2xx says nothing about the payload.",
)
