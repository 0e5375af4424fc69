"""Matomo, bulk tracking (specs/destinations.md §2.7). The token stands in the body of the POST, never in the address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from pydantic import Field, SecretStr, field_validator

from ebbgate.destinations import reading, wire
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

#: Parameter → our field, on every hit.
_COMMON: Final = {
    "url": "page.url",
    "urlref": "page.referrer",
    "uid": "user.id",
    "ua": "device.user_agent",
    "res": "device.screen",
    "cip": "network.ip",
}
_CART: Final = frozenset({"view_cart", "begin_checkout"})  #: events that hold the whole cart
_NO_VISIT: Final = frozenset({"identify", "group", "alias"})


class Settings(DestinationSettings):
    """A Matomo installation, one of its sites, and a token with write access."""

    url: str = Field(description="Address of the installation, with or without matomo.php.")
    site_id: str = Field(min_length=1, description="Id of the site in Matomo.")
    token_auth: SecretStr = Field(description="Token with write access: needed for addresses, times and countries.")

    @field_validator("url")
    @classmethod
    def _safe_url(cls, value: str) -> str:
        return safe_address(value)


def _common(clean: CleanEvent, settings: Settings) -> dict[str, Any]:
    hit: dict[str, Any] = {"idsite": settings.site_id, "rec": 1, "apiv": 1}
    for name, path in _COMMON.items():
        if found := reading.text(clean, path):
            hit[name] = found
    visitor = reading.first(reading.text(clean, "visitor.client_id"), reading.text(clean, "visitor.anonymous_id"))
    if visitor:
        hit["_id"] = reading.hex_id(settings.site_id + visitor, 16)
    if language := reading.text(clean, "device.language"):
        hit["lang"] = language.lower()
    if country := reading.country(clean, "place.country"):
        hit["country"] = country.lower()
    hit["cdt"] = reading.seconds(clean)
    hit["pv_id"] = reading.hex_id(clean.id, 6)
    return hit


def _items(clean: CleanEvent) -> list[list[Any]]:
    rows = []
    for item in reading.items(clean):
        sku = reading.item_id(item)
        if sku is not None:
            rows.append([sku, item.get("name", ""), item.get("category", ""), item.get("price", 0), item.get("quantity", 1)])
    return rows


def _order(clean: CleanEvent) -> dict[str, Any]:
    return reading.without_empty({
        "ec_st": reading.number(clean, "order.revenue"),
        "ec_tx": reading.number(clean, "order.tax"),
        "ec_sh": reading.number(clean, "order.shipping"),
        "ec_dt": reading.number(clean, "order.discount"),
    })  # fmt: skip


def _action(clean: CleanEvent) -> dict[str, Any] | Skip:
    """The parameters that say what happened."""
    title = {"action_name": title} if (title := reading.text(clean, "page.title")) else {}
    amount, products = reading.value(clean), _items(clean)
    if clean.name in ("page_view", "screen_view"):
        return title
    if clean.name in ("search", "view_search_results") and (term := reading.text(clean, "search.term")):
        category = reading.text(clean, "properties.category")
        return {"search": term, **({"search_cat": category} if category else {})}
    if clean.name == "view_item" and products:
        sku, name, category, price, _ = products[0]
        return title | reading.without_empty({"_pks": sku, "_pkn": name, "_pkc": category, "_pkp": price})
    if clean.name == "purchase" or (clean.name in _CART and products):
        order = reading.text(clean, "order.id")
        if clean.name == "purchase" and (order is None or amount is None):
            return Skip(Outcome.INVALID, "order_id_or_value_missing")
        hit: dict[str, Any] = {"idgoal": 0, "revenue": amount if amount is not None else 0}
        if clean.name == "purchase":
            hit |= {"ec_id": order, **_order(clean)}
        if products:
            hit["ec_items"] = wire.encode(products).decode()
        return hit
    action = reading.own_name(clean)
    label = reading.text(clean, "properties.label") or (clean.name if clean.name != action else None)
    event = {"e_c": reading.text(clean, "properties.category") or "track", "e_a": action, "e_n": label, "e_v": amount, "ca": 1}
    return reading.without_empty(event)


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """Row: `hit`, the parameters of one tracking request, as a query string."""
    if clean.name in _NO_VISIT:
        return Skip(Outcome.UNMAPPED, "no_hit_for_this_event")
    action = _action(clean)
    if isinstance(action, Skip):
        return action
    return {"hit": "?" + wire.query(_common(clean, settings) | action)}


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """A bulk request."""
    base = settings.endpoint or settings.url
    url = base if base.endswith(".php") else f"{base}/matomo.php"
    body = {"requests": [row["hit"] for row in rows], "token_auth": settings.token_auth.get_secret_value()}
    request = wire.post(url, body)
    return replace(request, secret_keys=("token_auth",))


def classify(response: HttpResponse, n: int) -> Answer:
    """Success names the invalid hits by index; an error stops at the hit after those it has tracked, and the rest goes again."""
    answer = wire.decode(response)
    status, tracked = wire.member(answer, "status"), wire.member(answer, "tracked")
    if status == "success" and 200 <= response.status < 300:
        indices = wire.member(answer, "invalid_indices")
        invalid = wire.member(answer, "invalid")
        rows: dict[int, Outcome | Act] = {
            i: Outcome.REJECTED for i in (indices if isinstance(indices, list) else []) if isinstance(i, int) and 0 <= i < n
        }
        if isinstance(invalid, int) and invalid != len(rows):
            return Answer(Act.UNKNOWN, reason="invalid_not_named")
        return Answer(Act.DONE, Outcome.DELIVERED, rows, reason="partial" if rows else f"http_{response.status}")
    refused = 400 <= response.status < 500
    # A refusal that came before anything was tracked may concern all of it: it is halved like any other.
    least = 1 if refused else 0
    if status == "error" and isinstance(tracked, int) and least <= tracked < n and response.status not in (401, 403):
        rows = {tracked: Outcome.REJECTED if refused else Act.UNKNOWN} | dict.fromkeys(range(tracked + 1, n), Act.RETRY)
        return Answer(Act.DONE, Outcome.DELIVERED, rows, reason="stopped")
    if 200 <= response.status < 300:
        return Answer(Act.UNKNOWN, reason="no_status")
    return wire.by_status(response, n)


DESTINATION: Final = Destination(
    name="matomo",
    title="Matomo",
    recipient="the operator of the Matomo installation",
    kind="analytics",
    docs="specs/destinations.md §2.7",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=200, body_bytes=1 << 20),
    dedupe_window_s=30 * DAY_S,
    dedupe=reading.is_order,
    secret_settings=("token_auth",),
    notes="Only orders merge, by ec_id. Without client id and user id a hit is anonymous; shorten network.ip by policy.",
)
