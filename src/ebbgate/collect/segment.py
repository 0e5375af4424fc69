"""The Segment spec dialect (track, page, screen, identify, group, alias) → Event and Signals. Pure.

Senders of this dialect are SDKs and shop plug-ins, so numbers may come as text and names may be anything: what has a known place
goes there, what the site adds itself goes under `properties`, what no policy could name is left out. Mapping of names:
specs/destinations.md §1.1.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from ebbgate.collect import categories
from ebbgate.collect import segment_words as words
from ebbgate.collect.address import address_fields
from ebbgate.collect.cookies import cookie_fields
from ebbgate.collect.native import subjects_of
from ebbgate.collect.times import parse_time
from ebbgate.errors import EventError, SignalError
from ebbgate.fields import FIELDS, ITEM_KEYS, Kind
from ebbgate.model import Event, Scalar, Signals, Trust, Value

MAX_ITEMS: Final = 200
MAX_PROPERTIES: Final = 128
MAX_ID: Final = 200
_MAX_NAME: Final = 200
_DEPTH: Final = 4
_PROPERTY_NAME: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$ -]{0,63}\Z")
_NUMBER: Final = re.compile(r"-?\d{1,15}(?:\.\d{1,10})?\Z")
_MAX_INTEGER: Final = 2**53


def parse_event(obj: Mapping[str, Any], *, site: str, trust: Trust, received_ms: int) -> tuple[Event, Signals]:
    """One Segment-spec event → Event and the consent evidence in it (`context.consent`). Raises EventError for what is no event.

    Cookies under `context.cookies` and click ids in the page's address become fields. Times are not held to a window here: the
    edge knows how old an event of its caller may be.
    """
    if not isinstance(obj, Mapping):
        raise EventError("an event is not a JSON object", code="not_an_event")
    context, properties = _object(obj, "context"), _object(obj, "properties")
    traits = {**_object(properties, "traits"), **_object(context, "traits"), **_object(obj, "traits")}
    name, original = _name(obj)
    event_id = _id(obj)
    time_ms = _time(obj, received_ms)
    fields: dict[str, Value] = {"event.id": event_id, "event.name": name, "event.time": time_ms}
    if original != name:
        fields["event.original_name"] = original
    _context(context, fields)
    _identity(obj, context, traits, properties, fields)
    _commerce(properties, fields)
    if obj.get("type") in ("page", "screen"):
        _copy(properties, words.PAGE, fields)
        _copy(obj, {"name": "properties.name", "category": "properties.category"}, fields)
    if names := words.RENAMED.get(name):
        properties = {names.get(k, k) if names.get(k) not in properties else k: v for k, v in properties.items()}
    if obj.get("type") in ("identify", "group"):
        skipped = words.TRAITS.keys() | {"address"}
        properties = {**{k: v for k, v in _object(obj, "traits").items() if k not in skipped}, **properties}
    fields["event.source"] = _source(obj, context, fields, trust)
    _own(properties, "properties", fields, _DEPTH, one_product=_is_one_product(properties))
    url = fields.get("page.url")
    # A click id of the address is newer than the one that a cookie keeps; what the event states itself stays.
    found = cookie_fields(_cookies(context)) | (dict(address_fields(url)) if isinstance(url, str) else {})
    fields = {**found, **fields}
    return Event(event_id, name, time_ms, received_ms, site, "segment", trust, fields, subjects_of(fields)), _signals(context)


def _object(obj: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = obj.get(key)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise EventError(f"`{key}` is not an object", code="field_type", hint=f'send "{key}": {{…}}')
    return found


def _name(obj: Mapping[str, Any]) -> tuple[str, str]:
    """(our name, the sender's own name)."""
    call = obj.get("type", "track" if "event" in obj else None)
    if call == "track":
        given = obj.get("event")
        if not isinstance(given, str) or not given.strip() or len(given) > _MAX_NAME:
            raise EventError("a track call has no event name", code="event_name_missing", hint='send "event": "Order Completed"')
        own = given.strip()
        return words.event_name(own), own
    if not isinstance(call, str) or call not in words.CALLS:
        calls = "track, page, screen, identify, group or alias"
        raise EventError("`type` is not a call of the Segment spec", code="event_type", hint=calls)
    return words.CALLS[call], call


def _id(obj: Mapping[str, Any]) -> str:
    value = obj.get("messageId")
    if value is None or value == "":
        return "ev_" + hashlib.sha256(msgspec.json.encode(obj, order="sorted")).hexdigest()[:24]
    if not isinstance(value, str) or len(value) > MAX_ID or not value.isprintable():
        raise EventError(f"`messageId` is not a printable text of at most {MAX_ID} characters", code="event_id", hint="use a UUID")
    return value


def _time(obj: Mapping[str, Any], received_ms: int) -> int:
    for key in ("timestamp", "originalTimestamp"):
        if obj.get(key) is not None:
            given = obj[key]
            # Some SDKs write unix seconds as text.
            parsed = parse_time(float(given) if isinstance(given, str) and _NUMBER.match(given) else given)
            if parsed is None:
                raise EventError(f"`{key}` is not a time", code="event_time", hint="ISO 8601 with a zone")
            return parsed
    return received_ms


def _copy(source: Mapping[str, Any], names: Mapping[str, str], fields: dict[str, Value]) -> None:
    for key, path in names.items():
        if (found := source.get(key)) is not None:
            _put(fields, path, found)


def _put(fields: dict[str, Value], path: str, found: object) -> None:
    """Store a value in its field's type; what does not fit is left out."""
    known = FIELDS.get(path)
    value = _scalar(found, known.kind if known else Kind.ANY)
    if value is not None and value != "":
        fields[path] = value


def _scalar(found: object, kind: Kind) -> Scalar | None:
    if isinstance(found, bool):
        return found if kind in (Kind.BOOLEAN, Kind.ANY) else None
    if isinstance(found, (int, float)):
        if not abs(found) <= _MAX_INTEGER:  # refuses NaN too
            return None
        return str(found) if kind is Kind.TEXT else None if kind is Kind.BOOLEAN else found
    if isinstance(found, str):
        if kind is Kind.NUMBER:
            text = found.strip()
            return (float(text) if "." in text else int(text)) if _NUMBER.match(text) else None
        return None if kind is Kind.BOOLEAN else found
    return None


def _context(context: Mapping[str, Any], fields: dict[str, Value]) -> None:
    _copy(context, words.CONTEXT, fields)
    _copy(_object(context, "page"), words.PAGE, fields)
    _copy(_object(context, "campaign"), words.CAMPAIGN, fields)
    screen = _object(context, "screen")
    if isinstance(screen.get("width"), int) and isinstance(screen.get("height"), int):
        fields["device.screen"] = f"{screen['width']}x{screen['height']}"
    _copy(_object(context, "os"), {"name": "device.os", "version": "device.os_version"}, fields)
    _copy(_object(context, "device"), {"model": "device.model", "manufacturer": "device.brand"}, fields)


def _identity(
    obj: Mapping[str, Any],
    context: Mapping[str, Any],
    traits: Mapping[str, Any],
    properties: Mapping[str, Any],
    fields: dict[str, Value],
) -> None:
    _copy(obj, words.IDS, fields)
    _copy(context, {"groupId": "group.id", "sessionId": "visitor.session_id"}, fields)
    _copy(properties, words.PERSON, fields)
    if obj.get("type") == "group":
        _copy(traits, {"name": "group.name", "email": "user.email", "phone": "user.phone"}, fields)
    else:
        _copy(traits, words.TRAITS, fields)
        company = traits.get("company")
        _copy(company if isinstance(company, Mapping) else {"name": company}, {"name": "user.company"}, fields)
    address = traits.get("address")
    _copy(traits, words.ADDRESS, fields)
    if isinstance(address, Mapping):
        _copy(address, words.ADDRESS, fields)
    gender = fields.get("user.gender")
    if isinstance(gender, str) and gender.strip().lower() in words.GENDERS:
        fields["user.gender"] = words.GENDERS[gender.strip().lower()]


def _is_one_product(properties: Mapping[str, Any]) -> bool:
    return "products" not in properties and not words.ONE_PRODUCT.isdisjoint(properties)


def _commerce(properties: Mapping[str, Any], fields: dict[str, Value]) -> None:
    _copy(properties, words.PROPERTIES, fields)
    products = next((found for key in ("products", "items", "contents") if (found := properties.get(key)) is not None), None)
    if products is None and _is_one_product(properties):
        products = [{k: v for k, v in properties.items() if k in words.ABOUT_PRODUCT}]
    if products is None:
        return
    if not isinstance(products, (list, tuple)):
        products = [products]
    if len(products) > MAX_ITEMS:
        raise EventError(f"`properties.products` has more than {MAX_ITEMS} products", code="too_many_items")
    found = []
    for product in products:
        if not isinstance(product, Mapping):
            raise EventError("`properties.products` holds something that is not an object", code="field_type")
        if item := _item(product):
            found.append(item)
    if found:
        fields["order.items"] = tuple(found)


def _item(product: Mapping[str, Any]) -> dict[str, Scalar]:
    item: dict[str, Scalar] = {}
    for key, name in words.ITEM.items():
        if name in item or product.get(key) is None:
            continue
        value = _scalar(product[key], ITEM_KEYS[name])
        if value is not None and value != "":
            item[name] = value
    return item


def _own(properties: Mapping[str, Any], prefix: str, fields: dict[str, Value], room: int, *, one_product: bool = False) -> None:
    """What has no place of its own → `properties.*`; names no policy could write and lists of objects are left out."""
    for key, found in _left_over(properties, prefix == "properties", one_product):
        path = f"{prefix}.{key}"
        if isinstance(found, Mapping):
            if room > 1:
                _own(found, path, fields, room - 1)
        elif isinstance(found, (list, tuple)):
            if found and all(isinstance(part, (str, int, float, bool)) for part in found):
                fields[path] = tuple(found)
        else:
            _put(fields, path, found)
        if len(fields) > MAX_PROPERTIES + len(FIELDS):
            raise EventError(f"more than {MAX_PROPERTIES} properties", code="too_many_properties")


def _left_over(properties: Mapping[str, Any], top: bool, one_product: bool) -> Iterator[tuple[str, Any]]:
    for key, found in properties.items():
        placed = top and (key in words.PROPERTIES or key in words.ELSEWHERE or (one_product and key in words.ABOUT_PRODUCT))
        if _PROPERTY_NAME.match(key) and not placed:
            yield key, found


def _source(obj: Mapping[str, Any], context: Mapping[str, Any], fields: Mapping[str, Value], trust: Trust) -> str:
    library = _object(context, "library").get("name")
    mobile = isinstance(library, str) and any(word in library for word in words.APP_LIBRARIES)
    if mobile or obj.get("type") == "screen":
        return "app"
    return "web" if trust is Trust.BROWSER or "page.url" in fields else "server"


def _cookies(context: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = context.get("cookies")
    return [(k, v) for k, v in found.items() if isinstance(v, str)] if isinstance(found, Mapping) else []


def _signals(context: Mapping[str, Any]) -> Signals:
    """The consent objects of `context`: Segment's and MetaRouter's `consent`, RudderStack's `consentManagement`; a no wins."""
    found: dict[str, bool] = {}
    malformed: list[str] = []
    for key, read in (("consent", categories.segment_consent), ("consentManagement", categories.rudderstack)):
        if context.get(key) is None:
            continue
        try:
            for name, allowed in read(context[key]):
                found[name] = found.get(name, True) and allowed
        except SignalError:
            malformed.append(key)
    return Signals(categories=tuple(sorted(found.items())), malformed=tuple(malformed))


def _is_names(found: object) -> bool:
    return isinstance(found, list) and all(isinstance(n, str) for n in found)
