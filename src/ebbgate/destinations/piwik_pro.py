"""Piwik PRO tracking API, bulk (specs/destinations.md §3.9). As Matomo, but for e-commerce events and anonymous visitors.

The vendor's page could not be verified while this was written: the e-commerce parameters are as §3.9 gives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydantic import Field, field_validator

from ebbgate.destinations import reading, wire
from ebbgate.destinations.kit import (
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

_COMMON: Final = {
    "url": "page.url",
    "urlref": "page.referrer",
    "uid": "user.id",
    "ua": "device.user_agent",
    "lang": "device.language",
    "res": "device.screen",
    "cip": "network.ip",
}
ECOMMERCE: Final = {
    "view_item": "product-detail-view",
    "add_to_cart": "add-to-cart",
    "remove_from_cart": "remove-from-cart",
    "view_cart": "cart-update",
    "purchase": "order",
}
_NO_VISIT: Final = frozenset({"identify", "group", "alias"})


class Settings(DestinationSettings):
    """An account of Piwik PRO and one of its sites."""

    url: str = Field(description="Address of the account, https://<account>.piwik.pro")
    site_id: str = Field(pattern=r"^[0-9a-fA-F-]{36}$", description="Id of the site, a UUID.")

    @field_validator("url")
    @classmethod
    def _safe_url(cls, value: str) -> str:
        return safe_address(value)


def _products(clean: CleanEvent) -> list[dict[str, Any]]:
    rows = []
    for item in reading.items(clean):
        sku = reading.item_id(item)
        if sku is not None:
            wanted = {"sku": sku, **{k: item.get(k) for k in ("name", "category", "price", "quantity", "brand", "variant")}}
            rows.append(reading.without_empty(wanted))
    return rows


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """Row: `hit`, the parameters of one tracking request, as a query string."""
    if clean.name in _NO_VISIT:
        return Skip(Outcome.UNMAPPED, "no_hit_for_this_event")
    hit: dict[str, Any] = {"idsite": settings.site_id, "rec": 1, "ts_n": "ebbgate", "ts_v": "1"}
    for name, path in _COMMON.items():
        if found := reading.text(clean, path):
            hit[name] = found
    visitor = reading.first(reading.text(clean, "visitor.client_id"), reading.text(clean, "visitor.anonymous_id"))
    if visitor:
        hit["_id"] = reading.hex_id(settings.site_id + visitor, 16)
    else:
        hit["uia"] = 1
    hit["cdt"] = reading.seconds(clean)
    products = _products(clean)
    if clean.name in ("page_view", "screen_view"):
        hit["action_name"] = reading.text(clean, "page.title") or ""
    elif clean.name in ("search", "view_search_results") and (term := reading.text(clean, "search.term")):
        hit["search"] = term
    elif clean.name in ECOMMERCE and products:
        order, amount = reading.text(clean, "order.id"), reading.value(clean)
        if clean.name == "purchase" and (order is None or amount is None):
            return Skip(Outcome.INVALID, "order_id_or_value_missing")
        numbers = {"ec_st": "order.revenue", "ec_tx": "order.tax", "ec_sh": "order.shipping", "ec_dt": "order.discount"}
        hit |= {"e_t": ECOMMERCE[clean.name], "ec_products": wire.encode(products).decode(), "ec_id": order, "revenue": amount}
        hit |= {name: reading.number(clean, path) for name, path in numbers.items()}
    else:
        hit |= {
            "e_c": reading.text(clean, "properties.category") or "track",
            "e_a": reading.own_name(clean),
            "e_n": reading.text(clean, "properties.label"),
            "e_v": reading.value(clean),
        }
    return {"hit": "?" + wire.query(reading.without_empty(hit))}


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """A bulk request."""
    base = settings.endpoint or settings.url
    return wire.post(f"{base}/ppms.php", {"requests": [row["hit"] for row in rows]})


def classify(response: HttpResponse, n: int) -> Answer:
    """By status only."""
    return wire.by_status(response, n, outcome=Outcome.ACCEPTED_UNVERIFIED)


DESTINATION: Final = Destination(
    name="piwik_pro",
    title="Piwik PRO",
    recipient="Piwik PRO GmbH",
    kind="analytics",
    docs="specs/destinations.md §3.9",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=200, body_bytes=1 << 20),
    dedupe_window_s=None,
    notes="Without client id the visitor is anonymous (uia=1).",
)
