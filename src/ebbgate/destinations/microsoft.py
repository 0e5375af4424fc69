"""Microsoft Advertising, UET Conversions API (specs/destinations.md §2.6, consent: specs/consent.md §4.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

_HASHED: Final = {"em": "user.email", "ph": "user.phone", "externalId": "user.id"}
_ITEM: Final = {"name": "name", "price": "price", "quantity": "quantity"}
_PAGE_TYPE: Final = {
    "view_item": "product",
    "view_item_list": "category",
    "view_cart": "cart",
    "purchase": "purchase",
    "search": "searchresults",
}
_PHONE: Final = {"ios": "idfa", "android": "gaid"}
_PROVIDER: Final = "ebbgate"


class Settings(DestinationSettings):
    """A UET tag and its Conversions API token."""

    tag_id: str = Field(pattern=r"^[A-Za-z0-9_-]+$", description="UET tag id.")
    access_token: SecretStr = Field(description="Token of the UET tag page; sent as a header.")
    event_names: Mapping[str, str] = Field(default_factory=dict, description="Event name → the name that your goals match on.")


def _user_data(clean: CleanEvent) -> dict[str, Any]:
    data: dict[str, Any] = dict(reading.hashed_fields(clean, _HASHED))
    clear = {
        "clientUserAgent": reading.text(clean, "device.user_agent"),
        "clientIpAddress": reading.text(clean, "network.ip"),
        "msclkid": reading.text(clean, "click.msclkid"),
        "anonymousId": reading.first(reading.text(clean, "cookie.uetvid"), reading.text(clean, "visitor.anonymous_id")),
    }
    return data | reading.without_empty(clear) | reading.advertising_id(clean, _PHONE)


def _custom_data(clean: CleanEvent) -> dict[str, Any]:
    amount = reading.worth(clean)
    products = reading.mapped_items(clean, _ITEM, id_name="id")
    return reading.without_empty({
        "eventCategory": reading.text(clean, "properties.category"),
        "eventLabel": reading.text(clean, "properties.label"),
        "eventValue": amount,
        "value": amount,
        "ecommTotalValue": amount,
        "currency": reading.currency(clean),
        "transactionId": reading.text(clean, "order.id"),
        "searchTerm": harmless.plain_text(clean, "search.term"),
        "itemIds": [p["id"] for p in products],
        "items": products,
        "pageType": _PAGE_TYPE.get(clean.name),
        "listId": reading.text(clean, "order.list_id"),
        "listName": reading.text(clean, "order.list_name"),
    })  # fmt: skip


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """One entry of `data`. `adStorageConsent` is G only for an explicit grant."""
    user = _user_data(clean)
    if not user.keys() - {"clientUserAgent"}:
        return Skip(Outcome.INVALID, "user_data_missing")
    if reading.text(clean, "order.currency") and reading.currency(clean) is None:
        return Skip(Outcome.INVALID, "currency")
    page = clean.name == "page_view"
    row: dict[str, Any] = {
        "eventType": "pageLoad" if page else "custom",
        "eventId": clean.id,
        "eventTime": reading.seconds(clean),
        "adStorageConsent": "G" if clean.google.get("ad_storage") == "granted" else "D",
        "userData": user,
    }
    if not page:
        row["eventName"] = reading.configured(clean, settings.event_names) or reading.own_name(clean)
    for name, found in (
        ("eventSourceUrl", harmless.address(clean, "page.url")),
        ("referrerUrl", harmless.address(clean, "page.referrer")),
        ("pageTitle", harmless.plain_text(clean, "page.title")),
    ):
        if found:
            row[name] = found
    if custom := _custom_data(clean):
        row["customData"] = custom
    return row


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """Up to 1000 events; one bad event does not stop the others."""
    body = {"data": list(rows), "dataProvider": _PROVIDER, "continueOnValidationError": True}
    base = settings.endpoint or "https://capi.uet.microsoft.com"
    return wire.bearer(f"{base}/v1/{settings.tag_id}/events", body, settings.access_token.get_secret_value())


def classify(response: HttpResponse, n: int) -> Answer:
    """200 with `error.details[]` names the refused events by index; what cannot be told apart stays unknown."""
    if not 200 <= response.status < 300:
        return wire.by_status(response, n)
    answer = wire.decode(response)
    rows = wire.refused(wire.member(answer, "error", "details"), n)
    if rows is None or (wire.member(answer, "error") and not rows):
        return Answer(Act.UNKNOWN, reason="error_without_index")
    received = wire.member(answer, "eventsReceived")
    if isinstance(received, int) and received != n and received + len(rows) != n:
        return Answer(Act.UNKNOWN, reason="events_received_differs")
    return Answer(Act.DONE, Outcome.DELIVERED, rows, reason="partial" if rows else f"http_{response.status}")


DESTINATION: Final = Destination(
    name="microsoft",
    title="Microsoft Advertising UET Conversions API",
    recipient="Microsoft Ireland Operations Limited / Microsoft Corporation",
    kind="advertising",
    docs="specs/destinations.md §2.6",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=1000, body_bytes=5 << 20),
    max_age_s=7 * DAY_S,
    dedupe_window_s=24 * HOUR_S,
    hashes=hashes("microsoft"),
    demands_hash=frozenset(hashes("microsoft")),
    hash_names={"em": "user.email", "ph": "user.phone", "external_id": "user.id"},
    secret_settings=("access_token",),
    hosts=("capi.uet.microsoft.com",),
    notes="Not published, so assumed: phones as E.164 with +, age 7 days, dedupe window 24 hours, the shape of partial errors. "
    "Without an amount, an event is worth the sum of its products.",
)
