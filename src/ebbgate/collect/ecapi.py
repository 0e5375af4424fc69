"""IAB Tech Lab's Event and Conversion API 1.0, in: `POST /ecapi/v1/events`, one event or a list of them. Pure.

Server to server only. Persons arrive hashed and stay so. `gpp_string` and `gpp_sid` are consent evidence; `mmt_only` says that the
event may be measured but not used to steer advertising, which counts as a refusal of personalised advertising.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from ebbgate.collect.dialect import Dialect, assemble, each, event_id, event_name, held_time
from ebbgate.collect.native import Collected
from ebbgate.collect.request import request_signals
from ebbgate.collect.strict_json import loads
from ebbgate.collect.times import parse_time
from ebbgate.collect.values import MAX_ITEMS, copy, good_id, item, mapping, own, put
from ebbgate.errors import EventError, RequestError
from ebbgate.fields import ITEM_KEYS
from ebbgate.model import Place, RawRequest, Signals, Value

NAME: Final = "ecapi"
#: The standard's names that differ from ours.
_EVENTS: Final = {"viewed_cart": "view_cart", "viewed_item": "view_item", "view_search_results": "search"}
_SOURCES: Final = {"website": "web", "app": "app"}
_PROPERTIES: Final = {
    "transaction_id": "order.id",
    "page_url": "page.url",
    "referrer": "page.referrer",
    "ad_source": "campaign.source",
    "coupon": "order.coupon",
    "shipping": "order.shipping",
    "tax": "order.tax",
    "payment_type": "order.payment_type",
    "shipping_tier": "order.shipping_tier",
    "lead_source": "lead.source",
    "lead_status": "lead.status",
    "search_term": "search.term",
    "group_id": "group.id",
}
_ITEM_NAMES: Final = {
    "id": "id",
    "name": "name",
    "price": "price",
    "discount": "discount",
    "quantity": "quantity",
    "brand": "brand",
    "affiliation": "affiliation",
    "category": "category",
    "item_coupon": "coupon",
    "item_list_id": "list_id",
    "item_list_name": "list_name",
    "item_item_variant": "variant",
    "item_variant": "variant",
    "item_location_id": "location_id",
}
_ITEM: Final = {member: (key, ITEM_KEYS[key]) for member, key in _ITEM_NAMES.items()}
_PERSON: Final = {
    "customer_identifier": "user.id",
    "email_address": "user.email",
    "email_addresses": "user.email",
    "phone_numbers": "user.phone",
    "gender": "user.gender",
    "event_ip_address": "network.ip",
    "event_user_agent": "device.user_agent",
}
_ADDRESS: Final = {
    "first_name": "user.first_name",
    "last_name": "user.last_name",
    "street": "user.street",
    "city": "user.city",
    "state": "user.region",
    "postal_code": "user.postcode",
    "country_code": "user.country",
}
#: Kept under `properties`, where a policy has to name them.
_OTHER: Final = ("click_id", "impression_id", "ifa", "customer_segments")


def decode(request: RawRequest) -> list[Any]:
    """The events of the body: an object, a list, or `{"events": [...]}`. Raises RequestError."""
    found = loads(request.body)
    if isinstance(found, dict):
        found = found.get("events", [found])
    if not isinstance(found, list) or not found:
        raise RequestError("the body holds no event", status=422, code="not_an_event", hint='send {"event_type": "purchase", …}')
    return found


def collect(request: RawRequest, events: list[Any], place: Place, max_events: int) -> list[Collected]:
    """The events of one request."""
    head = request_signals(request)

    def one(index: int, obj: Any) -> Collected:
        if not isinstance(obj, dict):
            raise EventError("an event is not a JSON object", code="not_an_event", hint='send {"event_type": "purchase", …}')
        name, original = _name(obj)
        time_ms = parse_time(obj.get("timestamp"))
        if time_ms is None:
            raise EventError("`timestamp` is missing or not a time", code="event_time", hint="seconds since 1970, as an integer")
        given = good_id(obj.get("id"))
        if obj.get("id") is not None and given is None:
            raise EventError("`id` is not a printable text of at most 200 characters", code="event_id", hint="use a UUID")
        user = mapping(obj, "user_data")
        return assemble(
            request,
            place,
            dialect=NAME,
            event_id=given or event_id("ec", index, obj),
            name=name,
            original=original,
            time_ms=held_time(time_ms, request),
            fields=_fields(obj, user),
            signals=_signals(user, head),
            source=_SOURCES.get(str(obj.get("source")), "server"),
        )

    return each(events, max_events, one, _given_id)


def _given_id(obj: Any) -> str:
    return (good_id(obj.get("id")) or "") if isinstance(obj, dict) else ""


def _name(obj: Mapping[str, Any]) -> tuple[str, str]:
    """(our name, the sender's own)."""
    kind = event_name(obj.get("event_type"), hint='send "event_type": "purchase"')
    own_name = event_name(obj.get("custom_event"), hint="`custom` needs `custom_event`") if kind == "custom" else kind
    return _EVENTS.get(own_name, own_name), own_name


def _fields(obj: Mapping[str, Any], user: Mapping[str, Any]) -> dict[str, Value]:
    fields: dict[str, Value] = {}
    copy(obj, {"value": "order.value", "currency_code": "order.currency"}, fields)
    if "order.value" in fields and "order.currency" not in fields:
        raise EventError("`value` without `currency_code`", code="field_value", hint="ISO 4217, such as EUR")
    properties = mapping(obj, "properties")
    copy({k: _first(v) for k, v in properties.items() if k in _PROPERTIES}, _PROPERTIES, fields)
    copy({k: _first(v) for k, v in user.items() if k in _PERSON}, _PERSON, fields)
    address = _first(user.get("address", user.get("addresses")))
    if isinstance(address, dict):
        copy(address, _ADDRESS, fields)
    _items(properties.get("items"), fields)
    own({k: user[k] for k in _OTHER if user.get(k) is not None}, fields)
    put(fields, "properties.data_set_id", obj.get("data_set_id"))
    own(properties, fields, placed={*_PROPERTIES, "items", "ext"})
    return fields


def _items(listed: object, fields: dict[str, Value]) -> None:
    if listed is None:
        return
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise EventError("`properties.items` is not a list of objects", code="field_type", hint='send [{"id": "sku", "price": 6}]')
    if len(listed) > MAX_ITEMS:
        raise EventError(f"more than {MAX_ITEMS} items", code="too_many_items", hint="platforms take at most 200")
    if found := tuple(row for one in listed if (row := item(one, _ITEM))):
        fields["order.items"] = found


def _signals(user: Mapping[str, Any], head: Signals) -> Signals:
    found: dict[str, Any] = {}
    malformed: list[str] = []
    gpp, sids, only = user.get("gpp_string"), user.get("gpp_sid"), user.get("mmt_only")
    if gpp is not None:
        found.update({"gpp": gpp} if isinstance(gpp, str) else {})
        malformed += [] if isinstance(gpp, str) else ["gpp"]
    if sids is not None:
        good = isinstance(sids, list) and all(type(s) is int for s in sids)
        found.update({"gpp_sid": tuple(sids)} if good else {})
        malformed += [] if good else ["gpp_sid"]
    if only is not None:
        if only in (True, 1):
            found["npa"] = "1"
        elif only not in (False, 0):
            malformed.append("npa")
    return replace(head, **found, malformed=(*head.malformed, *malformed)) if found or malformed else head


def _first(found: object) -> object:
    return (found[0] if found else None) if isinstance(found, list) else found


DIALECT: Final = Dialect(NAME, decode, collect)
