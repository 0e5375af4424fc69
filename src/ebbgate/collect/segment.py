"""The Segment spec dialect (track, page, screen, identify, group, alias) → Event and Signals. Pure.

Senders of this dialect are SDKs and shop plug-ins, so numbers may come as text and names may be anything: what has a known place
goes there, what the site adds itself goes under `properties`, what no policy could name is left out. Mapping of names:
specs/destinations.md §1.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from ebbgate.collect import categories
from ebbgate.collect import segment_words as words
from ebbgate.collect.address import address_fields
from ebbgate.collect.cookies import cookie_fields, printable
from ebbgate.collect.native import subjects_of
from ebbgate.collect.times import parse_time
from ebbgate.collect.values import MAX_ID, MAX_ITEMS, NUMBER, copy, item, mapping, own, put
from ebbgate.errors import EventError, SignalError
from ebbgate.model import Event, Signals, Trust, Value

_MAX_NAME: Final = 200


def parse_event(obj: Mapping[str, Any], *, site: str, trust: Trust, received_ms: int) -> tuple[Event, Signals]:
    """One Segment-spec event → Event and the consent evidence in it (`context.consent`). Raises EventError for what is no event.

    Cookies under `context.cookies` and click ids in the page's address become fields. Times are not held to a window here: the
    edge knows how old an event of its caller may be.
    """
    if not isinstance(obj, Mapping):
        raise EventError("an event is not a JSON object", code="not_an_event", hint='send {"type": "track", "event": …}')
    context, properties = mapping(obj, "context"), mapping(obj, "properties")
    traits = {**mapping(properties, "traits"), **mapping(context, "traits"), **mapping(obj, "traits")}
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
        copy(properties, words.PAGE, fields)
        copy(obj, {"name": "properties.name", "category": "properties.category"}, fields)
    if names := words.RENAMED.get(name):
        properties = {names.get(k, k) if names.get(k) not in properties else k: v for k, v in properties.items()}
    if obj.get("type") in ("identify", "group"):
        skipped = words.TRAITS.keys() | {"address"}
        properties = {**{k: v for k, v in mapping(obj, "traits").items() if k not in skipped}, **properties}
    fields["event.source"] = _source(obj, context, fields, trust)
    placed = words.PLACED | words.ABOUT_PRODUCT if _is_one_product(properties) else words.PLACED
    own(properties, fields, placed=placed)
    url = fields.get("page.url")
    # A click id of the address is newer than the one that a cookie keeps; what the event states itself stays.
    found = (
        dict(_integrations(obj)) | cookie_fields(_cookies(context)) | (dict(address_fields(url)) if isinstance(url, str) else {})
    )
    fields = {**found, **fields}
    return Event(event_id, name, time_ms, received_ms, site, "segment", trust, fields, subjects_of(fields)), signals_of(context)


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
            parsed = parse_time(float(given) if isinstance(given, str) and NUMBER.match(given) else given)
            if parsed is None:
                raise EventError(f"`{key}` is not a time", code="event_time", hint="ISO 8601 with a zone")
            return parsed
    return received_ms


def _context(context: Mapping[str, Any], fields: dict[str, Value]) -> None:
    copy(context, words.CONTEXT, fields)
    copy(mapping(context, "page"), words.PAGE, fields)
    copy(mapping(context, "campaign"), words.CAMPAIGN, fields)
    screen = mapping(context, "screen")
    if isinstance(screen.get("width"), int) and isinstance(screen.get("height"), int):
        fields["device.screen"] = f"{screen['width']}x{screen['height']}"
    copy(mapping(context, "os"), {"name": "device.os", "version": "device.os_version"}, fields)
    copy(mapping(context, "device"), words.DEVICE, fields)


def _identity(
    obj: Mapping[str, Any],
    context: Mapping[str, Any],
    traits: Mapping[str, Any],
    properties: Mapping[str, Any],
    fields: dict[str, Value],
) -> None:
    copy(obj, words.IDS, fields)
    copy(context, {"groupId": "group.id", "sessionId": "visitor.session_id"}, fields)
    copy({k: _first(properties[k]) for k in words.PERSON if k in properties}, words.PERSON, fields)
    put(fields, "user.birthday", properties.get("birthday"))
    if obj.get("type") == "group":
        copy(traits, {"name": "group.name", "email": "user.email", "phone": "user.phone"}, fields)
    else:
        copy(traits, words.TRAITS, fields)
        company = traits.get("company")
        copy(company if isinstance(company, Mapping) else {"name": company}, {"name": "user.company"}, fields)
    copy(traits, words.ADDRESS, fields)
    for address in (properties.get("address"), traits.get("address")):
        if isinstance(address, Mapping):
            copy(address, words.ADDRESS, fields)
    gender = fields.get("user.gender", properties.get("gender"))  # of a product it is "women", which is no word of a person's
    if isinstance(gender, str) and gender.strip().lower() in words.GENDERS:
        fields["user.gender"] = words.GENDERS[gender.strip().lower()]


def _is_one_product(properties: Mapping[str, Any]) -> bool:
    return "products" not in properties and not words.ONE_PRODUCT.isdisjoint(properties)


def _commerce(properties: Mapping[str, Any], fields: dict[str, Value]) -> None:
    copy(properties, words.PROPERTIES, fields)
    products = next((found for key in ("products", "items", "contents") if (found := properties.get(key)) is not None), None)
    if products is None and _is_one_product(properties):
        products = [{k: v for k, v in properties.items() if k in words.ABOUT_PRODUCT}]
    if products is None:
        return
    if not isinstance(products, (list, tuple)):
        products = [products]
    if len(products) > MAX_ITEMS:
        raise EventError(
            f"`properties.products` has more than {MAX_ITEMS} products", code="too_many_items", hint="platforms take at most 200"
        )
    found = []
    for product in products:
        if not isinstance(product, Mapping):
            raise EventError(
                "`properties.products` holds something that is not an object",
                code="field_type",
                hint='send [{"product_id": "sku", "price": 6}]',
            )
        if product := item(product, words.ITEM_KINDS):
            found.append(product)
    if found:
        fields["order.items"] = tuple(found)


def _source(obj: Mapping[str, Any], context: Mapping[str, Any], fields: Mapping[str, Value], trust: Trust) -> str:
    library = mapping(context, "library").get("name")
    mobile = isinstance(library, str) and any(word in library for word in words.APP_LIBRARIES)
    if mobile or obj.get("type") == "screen":
        return "app"
    return "web" if trust is Trust.BROWSER or "page.url" in fields else "server"


def _integrations(obj: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What Segment's own plug-ins add for one destination each, as `{"integrations": {"Snap Conversions Api": {"click_id": …}}}`."""
    members = obj.get("integrations")
    for name, found in members.items() if isinstance(members, Mapping) else ():
        if not isinstance(name, str) or not isinstance(found, Mapping):
            continue
        lowered = name.lower()
        for (word, member), path in words.INTEGRATIONS.items():
            value = found.get(member)
            if word in lowered and isinstance(value, (str, int)) and (text := printable(str(value))):
                yield path, text


def _first(found: object) -> object:
    return (found[0] if found else None) if isinstance(found, (list, tuple)) else found


def _cookies(context: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = context.get("cookies")
    return [(k, v) for k, v in found.items() if isinstance(v, str)] if isinstance(found, Mapping) else []


def signals_of(context: Mapping[str, Any]) -> Signals:
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
