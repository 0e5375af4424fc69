"""Meta Conversions API (specs/destinations.md §2.2, limited data use: specs/consent.md §4.5).

Every identifier but click ids, browser ids, address and user agent leaves as a SHA-256 digest. A request is all or nothing, and
one event older than seven days spoils all of it: `max_age_s` keeps those out before batching.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
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
from ebbgate.destinations.normalise import RULES, email_meta, gender_letter, hashes, is_md5
from ebbgate.model import CleanEvent, Outcome

EVENTS: Final = {
    "page_view": "PageView",
    "view_item": "ViewContent",
    "search": "Search",
    "view_search_results": "Search",
    "add_to_cart": "AddToCart",
    "add_to_wishlist": "AddToWishlist",
    "begin_checkout": "InitiateCheckout",
    "add_payment_info": "AddPaymentInfo",
    "purchase": "Purchase",
    "sign_up": "CompleteRegistration",
    "generate_lead": "Lead",
    "subscribe": "Subscribe",
    "start_trial": "StartTrial",
    "schedule": "Schedule",
    "contact": "Contact",
}
#: Events about goods that somebody wants: without an amount of their own they are worth what the goods cost.
_GOODS: Final = frozenset({"view_item", "add_to_cart", "add_to_wishlist", "begin_checkout", "add_payment_info", "purchase"})
#: Platform's name → our field, all hashed.
USER: Final = {name: rule.path for name, rule in RULES["meta"].items() if rule.path}
#: What leaves in the flow: no MD5, and a gender as the initial that Meta documents, though its own helper leaves `male` as it is.
_HASHES: Final = {**hashes("meta"), "user.email": email_meta, "user.gender": gender_letter}
_CLEAR: Final = {
    "client_ip_address": "network.ip",
    "client_user_agent": "device.user_agent",
    "fbp": "cookie.fbp",
    "lead_id": "lead.id",
}
ACTION_SOURCES: Final = frozenset({
    "website", "app", "email", "phone_call", "chat", "physical_store", "system_generated", "business_messaging", "other",
})  # fmt: skip
_ACTION_SOURCE: Final = {"web": "website", "app": "app", "server": "system_generated"}
#: The state whose law the visitor lives under, as Meta numbers them; 0 lets Meta locate by IP address.
US_STATES: Final = {
    "US-CA": 1000, "US-CO": 1001, "US-CT": 1002, "US-FL": 1003, "US-OR": 1004, "US-TX": 1005, "US-MT": 1006, "US-DE": 1007,
    "US-NE": 1008, "US-NH": 1009, "US-NJ": 1010,
}  # fmt: skip
_DELIVERY: Final = frozenset({"in_store", "curbside", "home_delivery"})

_TRANSIENT: Final = frozenset({1, 2, 21009})
_THROTTLE: Final = frozenset({4, 17, 32, 341, 613, *range(80000, 80015)})
_TOKEN: Final = frozenset({102, 190, 463, 467})
_PERMISSION: Final = frozenset({3, 10, *range(200, 300)})
_NO_OBJECT: Final = frozenset({33, 34, 38})  #: subcodes of 100: dataset missing or not ours


class Settings(DestinationSettings):
    """A dataset (pixel) and its access token."""

    pixel_id: str = Field(pattern=r"^[A-Za-z0-9_-]+$", description="Dataset or pixel id.")
    access_token: SecretStr = Field(description="Conversions API access token; sent as a header.")
    api_version: str = Field(default="v26.0", pattern=r"^v[0-9]+\.[0-9]+$", description="Graph API version.")
    test_event_code: str | None = Field(default=None, description="Shows events in the Test Events tab only.")


def fbc(clean: CleanEvent) -> str | None:
    """`_fbc`: the cookie, or built from a newer `fbclid`: `fb.1.<event time ms>.<fbclid>`.

    The subdomain index is 1, as Meta asks of servers that set no cookie. The click id keeps its case.
    """
    cookie, clicked = reading.text(clean, "cookie.fbc"), reading.text(clean, "click.fbclid")
    if clicked is None or (cookie is not None and cookie.split(".", 3)[-1] == clicked):
        return cookie
    return f"fb.1.{clean.time_ms}.{clicked}"


def _user_data(clean: CleanEvent) -> dict[str, Any]:
    data: dict[str, Any] = dict(reading.hashed_fields(clean, USER))
    if "external_id" in data:
        data["external_id"] = [data["external_id"]]
    for name, path in _CLEAR.items():
        found = reading.text(clean, path)
        if found is not None:
            data[name] = found
    if "em" not in data and (given := reading.text(clean, "user.email")) and is_md5(given):
        data["em"] = given.strip().lower()  # never in the flow: see normalise.email_meta_or_md5
    browser = fbc(clean)
    if browser is not None:
        data["fbc"] = browser
    return data


def _contents(clean: CleanEvent) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for product in reading.items(clean):
        identifier = reading.item_id(product)
        if identifier is None:
            continue
        entry: dict[str, Any] = {"id": identifier}
        if (count := product.get("quantity")) is not None:
            entry["quantity"] = count
        if (price := product.get("price")) is not None:
            entry["item_price"] = price
        for name in ("title", "brand", "category"):
            if text := product.get("name" if name == "title" else name):
                entry[name] = text
        if product.get("delivery_category") in _DELIVERY:
            entry["delivery_category"] = product["delivery_category"]
        found.append(entry)
    return found


def _custom_data(clean: CleanEvent) -> dict[str, Any]:
    contents = _contents(clean)
    products = reading.items(clean)
    only = products[0] if len(products) == 1 else {}
    own = harmless.own_properties(clean)
    own.pop("action_source", None)
    described = {
        "content_type": "product" if contents else None,
        "content_name": only.get("name"),
        "content_category": only.get("category"),
        "num_items": reading.pieces(clean),
    }
    facts = {
        "value": reading.worth(clean) if clean.name in _GOODS else reading.value(clean),
        "currency": reading.currency(clean),
        "contents": contents,
        "content_ids": [c["id"] for c in contents],
        "order_id": reading.text(clean, "order.id"),
        "search_string": harmless.plain_text(clean, "search.term"),
    }
    data = reading.without_empty(described) | own | reading.without_empty(facts)
    if data.get("delivery_category") not in (None, *_DELIVERY):
        del data["delivery_category"]
    return data


def _limited(clean: CleanEvent) -> dict[str, Any]:
    """Limited data use: the visitor's state where Meta has a number for it, else 0/0 = located by Meta."""
    if not clean.flags.get("limited_data_use"):
        return {"opt_out": True} if clean.flags.get("opt_out") else {}
    state = US_STATES.get(reading.text(clean, "place.region") or "", 0)
    return {
        "data_processing_options": ["LDU"],
        "data_processing_options_country": 1 if state else 0,
        "data_processing_options_state": state,
        **({"opt_out": True} if clean.flags.get("opt_out") else {}),
    }


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """One entry of `data`. Refused: a purchase without amount or currency, a web event without an address, no identifier."""
    name = EVENTS.get(clean.name) or reading.own_name(clean)
    source = reading.text(clean, "properties.action_source")
    if source not in ACTION_SOURCES:
        source = _ACTION_SOURCE.get(reading.text(clean, "event.source") or "web", "other")
    address = harmless.address(clean, "page.url")
    user = _user_data(clean)
    custom = _custom_data(clean)
    if not user.keys() - {"client_user_agent"}:
        return Skip(Outcome.INVALID, "user_data_missing")
    if reading.text(clean, "order.currency") and "currency" not in custom:
        return Skip(Outcome.INVALID, "currency")
    if name == "Purchase" and ("value" not in custom or "currency" not in custom):
        return Skip(Outcome.INVALID, "purchase_without_value_or_currency")
    row: dict[str, Any] = {
        "event_name": name[:50],
        "event_time": reading.seconds(clean),
        "event_id": clean.id,
        "action_source": source,
        "user_data": user,
    }
    if address:
        row["event_source_url"] = address
    if referrer := harmless.address(clean, "page.referrer"):
        row["referrer_url"] = referrer
    if custom:
        row["custom_data"] = custom
    return row | _limited(clean)


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """Up to 1000 events; the token stands in a header, never in the address."""
    body: dict[str, Any] = {"data": list(rows)}
    if settings.test_event_code:
        body["test_event_code"] = settings.test_event_code
    base = settings.endpoint or "https://graph.facebook.com"
    url = f"{base}/{settings.api_version}/{settings.pixel_id}/events"
    return wire.bearer(url, body, settings.access_token.get_secret_value())


def classify(response: HttpResponse, n: int) -> Answer:
    """By `error.code`, not by status: 190 and 3 come with 400 or 500. Success is all or nothing."""
    answer = wire.decode(response)
    code = wire.member(answer, "error", "code")
    if isinstance(code, int):
        return _by_code(code, answer, response, n)
    if 200 <= response.status < 300:
        received = wire.member(answer, "events_received")
        if received == n:
            return Answer(Act.DONE, Outcome.DELIVERED, reason=f"http_{response.status}")
        return Answer(Act.UNKNOWN, reason="events_received_differs")
    return wire.by_status(response, n)


def _regained_s(response: HttpResponse) -> float | None:
    """When there is budget again, as `X-Business-Use-Case-Usage` estimates it in minutes; the longest of several."""
    try:
        found = msgspec.json.decode(response.headers.get("x-business-use-case-usage", ""))
    except msgspec.DecodeError:
        return None
    minutes = [
        minute
        for uses in (found.values() if isinstance(found, dict) else ())
        for use in (uses if isinstance(uses, list) else ())
        if isinstance(minute := wire.member(use, "estimated_time_to_regain_access"), (int, float)) and 0 < minute < 1e6
    ]
    return max(minutes) * 60.0 if minutes else None


def _by_code(code: int, answer: object, response: HttpResponse, n: int) -> Answer:
    reason = f"meta_{code}" if 0 <= code < 1_000_000 else "meta_error"
    if code in _TOKEN:
        return Answer(Act.PARK, reason=reason, refresh=True)
    if code in _THROTTLE:
        return Answer(Act.RETRY, reason=reason, retry_after_s=_regained_s(response))
    if code in _TRANSIENT or wire.member(answer, "error", "is_transient") is True:
        return Answer(Act.UNKNOWN, reason=reason)
    if code in _PERMISSION or (code == 100 and wire.member(answer, "error", "error_subcode") in _NO_OBJECT):
        return Answer(Act.PARK, reason=reason)
    if code == 100 or 400 <= response.status < 500:
        return wire.rejected(reason, n)
    return Answer(Act.UNKNOWN, reason=reason)


DESTINATION: Final = Destination(
    name="meta",
    title="Meta Conversions API",
    recipient="Meta Platforms Ireland Limited (EEA) / Meta Platforms, Inc.",
    kind="advertising",
    docs="specs/destinations.md §2.2",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=1000, body_bytes=5 << 20),
    max_age_s=7 * DAY_S,
    dedupe_window_s=48 * HOUR_S,
    hashes=_HASHES,
    demands_hash=frozenset(_HASHES),
    hash_names=USER,
    restriction_flags=frozenset({"limited_data_use", "opt_out"}),
    secret_settings=("access_token",),
    hosts=("graph.facebook.com",),
    notes="Copies merge by event_name and event_id with the pixel's eventID for 48 hours. An e-mail address that came as MD5 is "
    "shown by `destination render`; under a policy it stays here, because only SHA-256 counts as hashed. "
    "Without an amount, an event about goods is worth their sum.",
)
