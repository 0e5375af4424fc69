"""IAB Tech Lab's Event and Conversion API 1.0, out: one form of event for every receiver that speaks it (specs/wire-formats.md §5c).

The standard fixes the event, not the address nor the authorisation: both are settings. Persons leave as SHA-256 digests. A consent
string is not handed on, because what it allowed has been decided here; what the receiver has to know is in `mmt_only`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from pydantic import Field, SecretStr, field_validator

from ebbgate.destinations import harmless, reading, wire
from ebbgate.destinations.kit import (
    DAY_S,
    HOUR_S,
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
from ebbgate.destinations.normalise import hashes, without_punctuation
from ebbgate.model import CleanEvent, Outcome

#: The standard's names that are not ours, and those that are.
RENAMED: Final = {"view_cart": "viewed_cart", "view_item": "viewed_item"}
STANDARD: Final = frozenset({
    "purchase", "page_view", "ad_impression", "add_to_wishlist", "add_to_cart", "begin_checkout", "add_payment_info",
    "remove_from_cart", "refund", "generate_lead", "qualify_lead", "close_convert_lead", "disqualify_lead", "close_unconvert_lead",
    "sign_up", "search", "unlock_achievement", "install", "customize_product", "contact", "donate", "find_location", "schedule",
    "start_trial", "subscribe", "add_shipping_info", "share", "select_content", "select_item", "select_promotion",
    "view_item_list", "view_promotion", "view_search_results", "spend_virtual_currency", "earn_virtual_currency", "working_lead",
    "login", "join_group", "level_up", "post_score", "tutorial_begin", "tutorial_complete",
})  # fmt: skip
#: Properties of the standard that a site adds itself, under the same name.
_OWN: Final = (
    "customer_segments", "virtual_currency_name", "virtual_item_name", "lead_reason", "ad_platform", "ad_format", "ad_unit_name",
    "login_method", "character_level", "character", "post_score", "achievement_id", "creative_name", "creative_slot", "promotion_id",
    "promotion_name", "availability", "body_style", "condition_of_vehicle", "arrival_date", "departure_date",
    "destination_airport", "destination_ids", "drivetrain", "exterior_color", "fuel_type", "lease_end_date", "lease_start_date",
    "listing_type", "make", "model", "transmission", "vin",
)  # fmt: skip
_TEXTS: Final = {
    "transaction_id": "order.id",
    "ad_source": "campaign.source",
    "payment_type": "order.payment_type",
    "shipping_tier": "order.shipping_tier",
    "lead_source": "lead.source",
    "lead_status": "lead.status",
    "group_id": "group.id",
}
_NUMBERS: Final = {"shipping": "order.shipping", "tax": "order.tax"}
_ITEM: Final = {
    "name": "name",
    "price": "price",
    "discount": "discount",
    "quantity": "quantity",
    "brand": "brand",
    "affiliation": "affiliation",
    "category": "category",
    "coupon": "item_coupon",
    "list_id": "item_list_id",
    "list_name": "item_list_name",
    "variant": "item_item_variant",
    "location_id": "item_location_id",
}
_ADDRESS: Final = {
    "first_name": "user.first_name",
    "last_name": "user.last_name",
    "street": "user.street",
    "postal_code": "user.postcode",
}
_SOURCE: Final = {"web": "website", "app": "app", "server": "other"}
_ClickId = Literal[
    "gclid", "gbraid", "wbraid", "dclid", "fbclid", "msclkid", "ttclid", "li_fat_id", "epik", "sccid", "rdt_cid", "twclid",
    "irclickid", "yclid",
]  # fmt: skip


class Settings(DestinationSettings):
    """A receiver: its address, the data set agreed with it, its token."""

    url: str = Field(description="Address that takes the events, as the receiver says.")
    data_set_id: str = Field(min_length=1, description="Data set agreed with the receiver: ids of events are unique in it.")
    access_token: SecretStr = Field(description="Token of the receiver; sent as a header.")
    click_id: _ClickId | None = Field(default=None, description="Which click id is the receiver's own.")
    batches: bool = Field(default=False, description="The receiver takes a list of events in one request.")

    @field_validator("url")
    @classmethod
    def _safe_url(cls, value: str) -> str:
        return safe_address(value)


def _user_data(clean: CleanEvent, settings: Settings) -> dict[str, Any]:
    digests = dict(reading.hashed_fields(clean, {"email": "user.email", "phone": "user.phone"}))
    flagged = clean.flags.get("limited_data_use") is True
    return reading.without_empty({
        "customer_identifier": reading.hashed(clean, "user.id"),
        "email_address": [digests["email"]] if "email" in digests else None,
        "phone_numbers": [digests["phone"]] if "phone" in digests else None,
        "address": _address(clean),
        "gender": reading.hashed(clean, "user.gender"),
        "click_id": reading.text(clean, f"click.{settings.click_id}") if settings.click_id else None,
        "ifa": reading.text(clean, "visitor.advertising_id"),
        "event_ip_address": reading.text(clean, "network.ip"),
        "event_user_agent": reading.text(clean, "device.user_agent"),
        # Only an explicit grant lets the receiver steer advertising by the event; without one it may count it.
        "mmt_only": flagged or clean.google.get("ad_personalization") != "granted",
    })  # fmt: skip


def _address(clean: CleanEvent) -> list[dict[str, str]]:
    """At most one: names, street and postcode hashed, town, state and country as lower-case letters."""
    found = dict(reading.hashed_fields(clean, _ADDRESS))
    for name, path in (("city", "user.city"), ("state", "user.region")):
        if (clear := without_punctuation(reading.text(clean, path) or "")) is not None:
            found[name] = clear
    if code := reading.country(clean, "user.country"):
        found["country_code"] = code.lower()
    return [found] if found else []


def _properties(clean: CleanEvent) -> dict[str, Any]:
    own = harmless.own_properties(clean)
    coupon = reading.text(clean, "order.coupon")
    return reading.without_empty({
        **{name: own[name] for name in _OWN if name in own and name != "customer_segments"},
        **{name: reading.text(clean, path) for name, path in _TEXTS.items()},
        **{name: reading.number(clean, path) for name, path in _NUMBERS.items()},
        "coupon": [coupon] if coupon else None,
        "page_url": harmless.address(clean, "page.url"),
        "referrer": harmless.address(clean, "page.referrer"),
        "search_term": harmless.plain_text(clean, "search.term"),
        "items": reading.mapped_items(clean, _ITEM, id_name="id"),
    })  # fmt: skip


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """Row: `event`, and `alone`: the event's id where the receiver takes one event a request."""
    amount, code = reading.value(clean), reading.currency(clean)
    if reading.text(clean, "order.currency") and code is None:
        return Skip(Outcome.INVALID, "currency")
    if amount is not None and code is None:
        return Skip(Outcome.INVALID, "currency_missing")
    name = RENAMED.get(clean.name, clean.name)
    standard = name in STANDARD or clean.name in RENAMED
    user = _user_data(clean, settings)
    segments = harmless.own_properties(clean).get("customer_segments")
    if segments:
        user["customer_segments"] = segments if isinstance(segments, list) else [str(segments)]
    event = reading.without_empty({
        "data_set_id": settings.data_set_id,
        "id": clean.id,
        "timestamp": reading.seconds(clean),
        "event_type": name if standard else "custom",
        "custom_event": None if standard else reading.own_name(clean),
        "value": amount,
        "currency_code": code,
        "source": _SOURCE.get(reading.text(clean, "event.source") or "web", "other"),
        "user_data": user,
        "properties": _properties(clean),
    })  # fmt: skip
    return {"event": event, "alone": "" if settings.batches else clean.id}


def batch_key(row: Row) -> str:
    """Events share a request only where the receiver takes lists."""
    return str(row["alone"])


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """One event as an object, or a list of at most 100."""
    body: object = [row["event"] for row in rows] if settings.batches else rows[0]["event"]
    headers = (("accept", "application/json"),)
    return wire.bearer(settings.endpoint or settings.url, body, settings.access_token.get_secret_value(), headers)


def classify(response: HttpResponse, n: int) -> Answer:
    """The standard has HTTP statuses only: a 400 has an event in it that cannot be read."""
    return wire.by_status(response, n)


DESTINATION: Final = Destination(
    name="ecapi",
    title="IAB Event and Conversion API 1.0",
    recipient="the receiver named in the settings",
    kind="advertising",
    docs="specs/wire-formats.md §5c",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=100, body_bytes=1 << 20),
    max_age_s=7 * DAY_S,
    dedupe_window_s=24 * HOUR_S,
    hashes=hashes("ecapi"),
    demands_hash=frozenset(hashes("ecapi")),
    hash_names={"em": "user.email", "ph": "user.phone", "fn": "user.first_name", "ln": "user.last_name"},
    restriction_flags=frozenset({"limited_data_use"}),
    secret_settings=("access_token",),
    batch_key=batch_key,
    notes="Copies merge by data_set_id and id. The standard names no age, window or batch: 7 days, 24 hours and 100 are ours. "
    "`mmt_only` is false only where personalised advertising was granted.",
)
