"""The Segment spec over HTTP: `POST /v1/{track,page,screen,identify,group,alias,batch,import}` and analytics-next's short paths.

RudderStack's clients post the same calls to the same paths (specs/wire-formats.md §5c). Pure. One call becomes one event through
`segment.parse_event`; here are its envelope, its clock, its trust, and what a batch says once for all of its calls.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from ebbgate.collect import segment
from ebbgate.collect import segment_words as words
from ebbgate.collect.dialect import Dialect, assemble, each, event_id, held_time, skew_of
from ebbgate.collect.native import Collected
from ebbgate.collect.request import request_signals
from ebbgate.collect.strict_json import loads
from ebbgate.collect.values import good_id, mapping
from ebbgate.errors import EventError, RequestError
from ebbgate.model import Place, RawRequest, Signals, Trust, Value

NAME: Final = "segment"
#: Last part of the path → call; a batch holds calls of any kind.
CALLS: Final = {
    "track": "track", "page": "page", "screen": "screen", "identify": "identify", "group": "group", "alias": "alias",
    "t": "track", "p": "page", "s": "screen", "i": "identify", "g": "group", "a": "alias",
    "batch": "batch", "import": "batch", "b": "batch",
}  # fmt: skip
#: The track call by which Segment's consent wrappers tell a visitor's choice.
CONSENT_CHANGED: Final = "Segment Consent Preference Updated"
#: A page call's properties that stand under `page.*`: a second copy would go round the policy's list of URL parameters.
_ABOUT_PAGE: Final = frozenset(f"properties.{name}" for name in (*words.PAGE, "search"))
_CONSENT_KEYS: Final = ("consent", "consentManagement")


def decode(request: RawRequest) -> dict[str, Any]:
    """The request's JSON object. Raises RequestError."""
    found = loads(request.body)
    if not isinstance(found, dict):
        raise RequestError("the body is not a JSON object", code="not_an_event", hint='send {"type": "track", "event": …}')
    return found


def collect(request: RawRequest, body: dict[str, Any], place: Place, max_events: int) -> list[Collected]:
    """The events of one request."""
    call = CALLS.get(request.path.rpartition("/")[2], "")
    return collect_calls(request, body, place, max_events, call=call, dialect=NAME)


def collect_calls(
    request: RawRequest, body: dict[str, Any], place: Place, max_events: int, *, call: str, dialect: str
) -> list[Collected]:
    """A call, or a batch of them, → events. Raises RequestError for a batch that is none, or one with too many calls."""
    outer: Mapping[str, Any] = {}
    calls: Any = [body]
    if call == "batch":
        outer, calls = body, body.get("batch")
        if not isinstance(calls, list) or not calls:
            raise RequestError("`batch` is not a list of calls", code="not_an_event", hint='send {"batch": [{"type": "track", …}]}')
    head = request_signals(request)
    anonymous = _anonymous_id(request)
    skew_ms = skew_of(outer.get("sentAt"), request)
    # Of what a batch says for all of its calls, each call's id takes in a digest: hundreds of calls would hash all of it again.
    digest = event_id("sg", outer["context"]) if outer.get("context") is not None else ""

    def one(index: int, given: Any) -> Collected:
        if not isinstance(given, dict):
            raise EventError("a call is not a JSON object", code="not_an_event", hint='send {"type": "track", "event": …}')
        obj = _completed(given, outer, call, anonymous)
        timed = obj.get("timestamp") is not None or obj.get("originalTimestamp") is not None
        if obj.get("messageId") in (None, ""):
            # Without a time of its own nothing tells a second call of the same words from the first sent again.
            content = {**obj, "context": [digest, given.get("context")]} if digest else obj
            obj["messageId"] = event_id("sg", index, content, None if timed else request.received_ms)
        event, said = segment.parse_event(obj, site=request.site, trust=request.trust, received_ms=request.received_ms)
        own_skew = skew_ms or skew_of(obj.get("sentAt"), request)
        fields: dict[str, Value] = {k: v for k, v in event.fields.items() if not k.startswith("event.")}
        if obj.get("type") in ("page", "screen"):
            fields = {k: v for k, v in fields.items() if k not in _ABOUT_PAGE}
        if "order.value" not in fields and (amount := fields.get("order.total", fields.get("order.revenue"))) is not None:
            fields["order.value"] = amount  # the policies' word for the amount, which this spec calls by three names
        _place(obj, request.trust, fields)
        shared = fields.pop("properties.event_id", None)
        original = event.fields.get("event.original_name")
        return assemble(
            request,
            place,
            dialect=dialect,
            event_id=good_id(shared) or event.id,
            name=event.name,
            original=original if isinstance(original, str) else "",
            time_ms=held_time(event.time_ms if timed else None, request, skew_ms=own_skew),
            fields=fields,
            signals=_joined(head, said, _outer_signals(given, outer, request)),
            source=str(event.fields["event.source"]),
        )

    return each(calls, max_events, one, _given_id)


def write_key(request: RawRequest, body: Any) -> str | None:
    """The `writeKey` of the body."""
    found = body.get("writeKey") if isinstance(body, dict) else None
    return found if isinstance(found, str) and found else None


def _given_id(obj: Any) -> str:
    return (good_id(obj.get("messageId")) or "") if isinstance(obj, dict) else ""


def _completed(given: dict[str, Any], outer: Mapping[str, Any], call: str, anonymous: str | None) -> dict[str, Any]:
    """A call with what its path, its batch and its request's head say for it. Raises EventError where they contradict it."""
    obj = dict(given)
    if call != "batch" and obj.setdefault("type", call) != call:
        raise EventError("`type` is another than the path's", code="event_type", hint=f'leave it out, or send "{call}"')
    if outer.get("context") is not None:
        obj["context"] = {**mapping(outer, "context"), **mapping(obj, "context")}
    if anonymous is not None and obj.get("anonymousId") in (None, "") and obj.get("userId") in (None, ""):
        obj["anonymousId"] = anonymous
    return obj


def _outer_signals(given: Mapping[str, Any], outer: Mapping[str, Any], request: RawRequest) -> Signals | None:
    """Consent of the batch, where a call has an object of its own instead: a no of either stays a no."""
    context, own = mapping(outer, "context"), mapping(given, "context")
    hidden = {key: context[key] for key in _CONSENT_KEYS if key in context and key in own}
    return segment.signals_of(hidden) if hidden else None


def _joined(head: Signals, said: Signals, outer: Signals | None) -> Signals:
    categories = dict(said.categories)
    malformed = (*head.malformed, *said.malformed)
    if outer is not None:
        for name, allowed in outer.categories:
            categories[name] = categories.get(name, True) and allowed
        malformed = (*malformed, *outer.malformed)
    if not categories and not malformed:
        return head
    return replace(head, categories=tuple(sorted(categories.items())), malformed=tuple(dict.fromkeys(malformed)))


def _place(obj: Mapping[str, Any], trust: Trust, fields: dict[str, Value]) -> None:
    """`context.location` of a server's call: an ISO country code, and perhaps a region."""
    if trust is not Trust.SERVER:
        return
    location = mapping(mapping(obj, "context"), "location")
    country, region = location.get("country"), location.get("region")
    if isinstance(country, str) and len(country) == 2:
        fields["place.country"] = country.upper()
        if isinstance(region, str) and 0 < len(region) <= 6:
            code = region.upper()
            fields["place.region"] = code if "-" in code else f"{country.upper()}-{code}"


def _anonymous_id(request: RawRequest) -> str | None:
    """RudderStack's `AnonymousId` header: base64 of the id, or the id as it is."""
    given = request.header("anonymousid")
    if not given or len(given) > 1024:
        return None
    try:
        return base64.b64decode(given, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return given


DIALECT: Final = Dialect(NAME, decode, collect, write_key)
