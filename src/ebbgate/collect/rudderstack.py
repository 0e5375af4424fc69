"""What RudderStack's clients have beside the Segment spec: `POST /beacon/v1/batch` and `GET /pixel/v1/{track,page}`. Pure.

The beacon has its write key in the query, the pixel has everything there: `properties` and `context` as JSON, or by dotted names.
"""

from __future__ import annotations

from typing import Any, Final

from ebbgate.collect import segment_http
from ebbgate.collect.dialect import Dialect
from ebbgate.collect.form import query_key, read_form
from ebbgate.collect.native import Collected
from ebbgate.collect.strict_json import loads
from ebbgate.errors import RequestError
from ebbgate.model import Place, RawRequest

NAME: Final = "rudderstack"
_TEXTS: Final = frozenset({
    "writeKey", "messageId", "anonymousId", "userId", "previousId", "groupId", "event", "name", "category", "timestamp",
    "originalTimestamp", "sentAt",
})  # fmt: skip
_OBJECTS: Final = frozenset({"properties", "context", "traits"})
_MAX_PARTS: Final = 6


def collect_beacon(request: RawRequest, body: dict[str, Any], place: Place, max_events: int) -> list[Collected]:
    """The events of one batch."""
    return segment_http.collect_calls(request, body, place, max_events, call="batch", dialect=NAME)


def decode_pixel(request: RawRequest) -> dict[str, Any]:
    """The call in the query of one image. Raises RequestError."""
    if request.body:
        raise RequestError("a pixel has no body", code="pixel_body", hint="put everything into the query")
    form = read_form(request.query)
    call: dict[str, Any] = {}
    for name, text in form.values.items():
        if name in form.ambiguous:
            raise RequestError("a parameter is given twice", code="form_twice", hint="each parameter may stand once")
        if name in _TEXTS:
            call[name] = text
        elif name in _OBJECTS:
            found = loads(text.encode()) if text else {}
            if not isinstance(found, dict):
                raise RequestError("a parameter is not a JSON object", code="field_type", hint="encode an object as JSON")
            call[name] = {**found, **call.get(name, {})}
        elif name.partition(".")[0] in _OBJECTS:
            _put(call, name.split("."), text)
    return call


def collect_pixel(request: RawRequest, call: dict[str, Any], place: Place, max_events: int) -> list[Collected]:
    """The one event of the request."""
    kind = request.path.rpartition("/")[2]
    return segment_http.collect_calls(request, call, place, max_events, call=kind, dialect=NAME)


def _put(call: dict[str, Any], path: list[str], text: str) -> None:
    """`context.page.url` → nested objects. Raises RequestError where the path goes through a value, or too deep."""
    if len(path) > _MAX_PARTS or not all(path):
        raise RequestError("a dotted parameter is too deep or has an empty part", code="form_path", hint="context.page.url")
    inner: Any = call
    for part in path[:-1]:
        inner = inner.setdefault(part, {})
        if not isinstance(inner, dict):
            raise RequestError("a dotted parameter goes through a value", code="form_path", hint="name each value once")
    if path[-1] in inner:
        raise RequestError("a parameter is given twice", code="form_twice", hint="each parameter may stand once")
    inner[path[-1]] = text


def _key(request: RawRequest, decoded: Any) -> str | None:
    return query_key(request.query, "writeKey") or segment_http.write_key(request, decoded)


BEACON: Final = Dialect(NAME, segment_http.decode, collect_beacon, _key)
PIXEL: Final = Dialect(NAME, decode_pixel, collect_pixel, _key)
