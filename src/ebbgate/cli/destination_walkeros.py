"""walkerOS events, as `ebbgate destination render` reads them beside native and Segment-spec ones: walkerOS → native, by table.

An event there is an entity and an action ("order complete") with `data`, `nested` entities, `user` and `source`. Which name a
platform gives to it is configured in walkerOS; here the usual shop names have GA4's, others become `entity_action`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_NAMES: Final = {
    "page view": "page_view",
    "product view": "view_item",
    "product detail": "view_item",
    "product add": "add_to_cart",
    "product remove": "remove_from_cart",
    "cart view": "view_cart",
    "checkout start": "begin_checkout",
    "order complete": "purchase",
    "order refund": "refund",
    "search submit": "search",
    "form submit": "generate_lead",
    "user register": "sign_up",
    "user login": "login",
}
_ORDER: Final = ("currency", "total", "revenue", "value", "tax", "shipping", "discount", "coupon")
_ITEM: Final = ("id", "name", "brand", "category", "variant", "price", "quantity", "coupon", "discount")
_USER: Final = {
    "id": "id",
    "email": "email",
    "phone": "phone",
    "firstName": "first_name",
    "lastName": "last_name",
    "street": "street",
    "city": "city",
    "region": "region",
    "zip": "postcode",
    "country": "country",
}
_NUMBERS: Final = frozenset({"price", "quantity", "discount", "total", "revenue", "value", "tax", "shipping"})


def is_walkeros(event: Mapping[str, Any]) -> bool:
    """True for an event that names its entity and its action."""
    return all(isinstance(event.get(key), str) for key in ("name", "entity", "action"))


def as_native(event: Mapping[str, Any]) -> dict[str, Any]:
    """The same event in the native form; what has no place in it is left out."""
    entity = str(event["entity"])
    own = f"{entity} {event['action']}"
    data, user, source = (_object(event.get(key)) for key in ("data", "user", "source"))
    found: dict[str, Any] = {
        "event": _NAMES.get(own, own.replace(" ", "_")),
        "id": event.get("id"),
        "time": event.get("timestamp"),
        "source": "web" if source.get("platform") == "web" else "server",
        "page": _picked(source, {"url": "url", "referrer": "referrer", "previous_url": "referrer"}),
        "user": _picked(user, _USER),
        "visitor": _picked(user, {"device": "client_id", "session": "session_id"}),
        "device": _picked(user, {"userAgent": "user_agent", "language": "language", "screenSize": "screen"}),
        "network": _picked(user, {"ip": "ip"}),
    }
    order: dict[str, Any] = _picked(data, {key: key for key in _ORDER}) if entity != "product" else {}
    if entity == "order" and data.get("id") is not None:
        order["id"] = str(data["id"])
    if products := _products(entity, data, event.get("nested")):
        order["items"] = products
    found["order"] = order
    return {key: value for key, value in found.items() if value not in (None, {})}


def _products(entity: str, data: Mapping[str, Any], nested: object) -> list[dict[str, Any]]:
    inside = [_object(one) for one in nested] if isinstance(nested, list) else []
    listed = [_object(one.get("data")) for one in inside if one.get("entity") == "product"]
    if not listed and entity == "product":
        listed = [data]
    return [row for one in listed if (row := _picked(one, {key: key for key in _ITEM}))]


def _picked(given: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Members under our names: numbers as numbers, all else as text."""
    found: dict[str, Any] = {}
    for key, name in names.items():
        value = given.get(key)
        if isinstance(value, bool) or not isinstance(value, (str, int, float)) or value == "":
            continue
        if name in _NUMBERS:
            if isinstance(value, (int, float)):
                found[name] = value
        else:
            found[name] = str(value)
    return found


def _object(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}
