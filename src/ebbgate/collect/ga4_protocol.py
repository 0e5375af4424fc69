"""GA4 Measurement Protocol: `POST /mp/collect`, web and app streams (specs/wire-formats.md §5b). Pure.

The sender is a server: `api_secret` is one of the site's server keys. Its request says nothing about the visitor; what it knows
stands in the body. `consent` there is consent mode by other words: it becomes a `gcd` value, so that one reader judges both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from ebbgate.collect.dialect import Dialect, assemble, each, event_id, event_name, held_time
from ebbgate.collect.form import query_key
from ebbgate.collect.ga4_words import event_fields, person
from ebbgate.collect.native import Collected
from ebbgate.collect.request import request_signals
from ebbgate.collect.strict_json import loads
from ebbgate.collect.values import copy, good_id, mapping
from ebbgate.errors import EventError, RequestError
from ebbgate.model import Place, RawRequest, Signals, Value

NAME: Final = "ga4_protocol"
_IDS: Final = {"client_id": "visitor.client_id", "app_instance_id": "device.app_instance_id", "user_id": "user.id"}
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
_LOCATION: Final = {"country_id": "place.country", "region_id": "place.region", "city": "user.city"}
#: Google's signals in the order of `gcd`; a letter says what an update set: granted, denied, or nothing.
_SIGNALS: Final = ("ad_storage", "analytics_storage", "ad_user_data", "ad_personalization")
_LETTER: Final = {"GRANTED": "n", "DENIED": "m"}
_UNSET: Final = "l"
_MAX_MICROS: Final = 4_102_444_800_000_000


def decode(request: RawRequest) -> dict[str, Any]:
    """The request's JSON object. Raises RequestError."""
    found = loads(request.body)
    if not isinstance(found, dict) or not isinstance(found.get("events"), list) or not found["events"]:
        raise RequestError(
            "the body is no Measurement Protocol request",
            status=422,
            code="not_an_event",
            hint='send {"client_id": …, "events": […]}',
        )
    return found


def collect(request: RawRequest, body: dict[str, Any], place: Place, max_events: int) -> list[Collected]:
    """The events of one request."""
    signals = _signals(body, request_signals(request))

    def one(index: int, obj: Any) -> Collected:
        if not isinstance(obj, dict):
            raise EventError("an event is not a JSON object", code="not_an_event", hint='send {"name": "purchase", "params": {…}}')
        params = mapping(obj, "params")
        name = event_name(obj.get("name"), hint='send "name": "purchase"')
        fields = _shared(body)
        event_fields(name, {**_own(params), **_of_user(body)}, fields)
        micros = next(
            (m for m in (params.get("timestamp_micros"), obj.get("timestamp_micros"), body.get("timestamp_micros")) if m), None
        )
        time_ms = _milliseconds(micros)
        made = event_id(
            "mp",
            [body.get(k) for k in _IDS],
            name,
            index,
            obj,
            request.received_ms if time_ms is None else time_ms,
        )
        return assemble(
            request,
            place,
            dialect=NAME,
            event_id=good_id(params.get("event_id")) or made,
            name=name,
            time_ms=held_time(time_ms, request),
            fields=fields,
            signals=signals,
            source="app" if "app_instance_id" in body else "",
        )

    return each(body["events"], max_events, one)


def _own(params: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in params.items() if k != "timestamp_micros"}


def _of_user(body: Mapping[str, Any]) -> dict[str, Any]:
    """`user_properties: {tier: {value: "gold"}}` → what `event_fields` puts under `properties.user_properties`."""
    found = mapping(body, "user_properties")
    values = {k: v.get("value") for k, v in found.items() if isinstance(v, dict)}
    return {"user_properties": values} if values else {}


def _shared(body: Mapping[str, Any]) -> dict[str, Value]:
    """Fields that hold for every event of the request."""
    fields: dict[str, Value] = {}
    copy(body, {**_IDS, "user_agent": "device.user_agent"}, fields)
    copy(mapping(body, "device"), _DEVICE, fields)
    if body.get("user_data") is not None:
        person(mapping(body, "user_data"), fields)
    copy(body, {"ip_override": "network.ip"}, fields)
    copy(mapping(body, "user_location"), _LOCATION, fields)
    return fields


def _milliseconds(micros: object) -> int | None:
    if micros is None:
        return None
    number = int(micros) if isinstance(micros, str) and micros.isascii() and micros.isdigit() and len(micros) < 18 else micros
    if type(number) is not int or not 0 < number < _MAX_MICROS:
        raise EventError("`timestamp_micros` is not a time", code="event_time", hint="microseconds since 1970, as an integer")
    return number // 1000


def _signals(body: Mapping[str, Any], head: Signals) -> Signals:
    """`consent` and `non_personalized_ads`; what is there and cannot be read stays as malformed evidence, which only refuses."""
    found: dict[str, Any] = {}
    malformed: list[str] = []
    consent = body.get("consent")
    if consent is not None:
        letters = _letters(consent)
        if letters is None:
            malformed.append("gcd")
        else:
            found["gcd"] = f"1{''.join('1' + letter for letter in letters)}1"
    npa = body.get("non_personalized_ads")
    if npa is not None:
        if isinstance(npa, bool):
            found["npa"] = "1" if npa else "0"
        else:
            malformed.append("npa")
    return replace(head, **found, malformed=(*head.malformed, *malformed)) if found or malformed else head


def _letters(consent: object) -> str | None:
    if not isinstance(consent, dict) or not set(consent) <= set(_SIGNALS):
        return None
    words = [consent.get(signal) for signal in _SIGNALS]
    if not all(word is None or (isinstance(word, str) and word in _LETTER) for word in words):
        return None
    return "".join(_LETTER[word] if word is not None else _UNSET for word in words)


def _key(request: RawRequest, body: dict[str, Any]) -> str | None:
    return query_key(request.query, "api_secret")


DIALECT: Final = Dialect(NAME, decode, collect, _key)
