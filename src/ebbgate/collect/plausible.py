"""Plausible's events API: `POST /api/event`, as its script and its server libraries send it (specs/destinations.md §3.7). Pure.

Cookieless: no id of the visitor, none of the event. The script writes short names (`n`, `u`, `r`), libraries write long ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ebbgate.collect.dialect import Dialect, assemble, each, event_id, event_name
from ebbgate.collect.native import Collected
from ebbgate.collect.request import request_signals
from ebbgate.collect.segment_words import event_name as common_name
from ebbgate.collect.strict_json import loads
from ebbgate.collect.values import own, put
from ebbgate.errors import EventError, RequestError
from ebbgate.model import Place, RawRequest, Trust, Value

NAME: Final = "plausible"
_MAX_PROPS: Final = 30
_URL_BYTES: Final = 2000


def decode(request: RawRequest) -> dict[str, Any]:
    """The event's JSON object. Raises RequestError."""
    found = loads(request.body)
    if not isinstance(found, dict):
        raise RequestError(
            "the body is not a JSON object", status=422, code="not_an_event", hint='send {"name": "pageview", "url": …}'
        )
    return found


def collect(request: RawRequest, body: dict[str, Any], place: Place, max_events: int) -> list[Collected]:
    """The one event of the request."""

    def one(index: int, obj: dict[str, Any]) -> Collected:
        own_name = event_name(_either(obj, "name", "n"), hint='send "name": "pageview"')
        # The script's own report of how long a page was read.
        name = "user_engagement" if own_name == "engagement" else common_name(own_name)
        fields = _fields(obj)
        made = event_id("pl", obj, request.peer, request.header("user-agent"), request.received_ms)
        if request.trust is Trust.SERVER:
            # A server passes its visitor's headers on, by the rules of this API.
            put(fields, "device.user_agent", (request.header("user-agent") or "")[:1024])
            put(fields, "network.ip", (request.header("x-forwarded-for") or "").partition(",")[0].strip()[:64])
        return assemble(
            request,
            place,
            dialect=NAME,
            event_id=made,
            name=name,
            original=own_name,
            time_ms=request.received_ms,
            fields=fields,
            signals=request_signals(request),
        )

    return each([body], max_events, one)


def _fields(obj: Mapping[str, Any]) -> dict[str, Value]:
    fields: dict[str, Value] = {}
    url = _either(obj, "url", "u")
    if not isinstance(url, str) or not url or len(url.encode()) > _URL_BYTES:
        raise EventError("`url` is missing, or longer than 2000 bytes", code="field_value", hint='send "url": location.href')
    fields["page.url"] = url
    put(fields, "page.referrer", _either(obj, "referrer", "r"))
    put(fields, "visitor.engagement_ms", obj.get("e"))
    revenue = _object(_either(obj, "revenue", "$"), "revenue")
    put(fields, "order.value", revenue.get("amount"))
    put(fields, "order.currency", revenue.get("currency"))
    props = _object(next((obj[k] for k in ("props", "p", "meta", "m") if obj.get(k) is not None), None), "props")
    if len(props) > _MAX_PROPS:
        raise EventError(f"more than {_MAX_PROPS} props", code="too_many_properties", hint="leave out what no policy names")
    own(props, fields)
    return fields


def _either(obj: Mapping[str, Any], long: str, short: str) -> Any:
    return obj[long] if obj.get(long) is not None else obj.get(short)


def _object(found: Any, name: str) -> Mapping[str, Any]:
    """An object, or one written as JSON text (older scripts)."""
    if isinstance(found, str) and found:
        try:
            found = loads(found.encode())
        except RequestError:
            found = ()
    if found is None or found == "":
        return {}
    if not isinstance(found, dict):
        raise EventError(f"`{name}` is not an object", code="field_type", hint=f'send "{name}": {{…}}')
    return found


DIALECT: Final = Dialect(NAME, decode, collect)
