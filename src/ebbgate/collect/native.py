"""The native dialect: `POST /e/v1/events`, one event or `{"events": [...]}` (DESIGN §5.1). Pure.

Groups of known fields become dotted paths; names the site adds itself live under `properties`. What is not in the table is
ignored and named in the answer; a wrong type is an error; what is odd in `consent` stays as malformed evidence, which never grants.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from ebbgate.collect import names
from ebbgate.collect.address import address_fields
from ebbgate.collect.consent_object import NO_SIGNALS, read_consent
from ebbgate.collect.native_types import MAX_ID, loads_known
from ebbgate.collect.native_values import flatten, typed
from ebbgate.collect.strict_json import loads
from ebbgate.collect.times import parse_time
from ebbgate.errors import EventError, RequestError
from ebbgate.fields import FIELDS, Kind
from ebbgate.model import Event, PlainItems, Signals, Trust, Value

DAY_MS: Final = 24 * 3600 * 1000
AHEAD_MS: Final = 5 * 60 * 1000  #: clocks a little ahead are set to the time of receipt
OLDEST_MS: Final = {Trust.BROWSER: 7 * DAY_MS, Trust.SERVER: 90 * DAY_MS}

_TABLE: Final[Mapping[str, Mapping[str, tuple[str, Kind]]]] = {
    group: {f.path.partition(".")[2]: (f.path, f.kind) for f in FIELDS.values() if f.group == group}
    for group in dict.fromkeys(f.group for f in FIELDS.values())
    if group != "event"
}
#: Groups that only a site's own server may state: for a browser the request itself is the evidence.
_SERVER_ONLY: Final = frozenset({"place", "network"})
#: Each group with its texts and its numbers apart, since nearly every value is one or the other: (texts, numbers, all, server only,
#: the path of each).
_GROUPS: Final = {
    group: (
        {part: path for part, (path, kind) in table.items() if kind is Kind.TEXT},
        {part: path for part, (path, kind) in table.items() if kind is Kind.NUMBER},
        table,
        group in _SERVER_ONLY,
        {part: path for part, (path, _) in table.items()},
    )
    for group, table in _TABLE.items()
}
_ITEMS: Final = "order.items"
_BROWSER: Final = Trust.BROWSER  # looking up a member costs more than the comparison
_ENVELOPE: Final = frozenset({"event", "id", "time", "consent", "source", "properties", "order", "type"})


class Collected(msgspec.Struct, frozen=True):
    """One event of a request as a dialect understood it, or why it is not one."""

    event: Event | None
    signals: Signals = NO_SIGNALS
    error: EventError | None = None
    id: str = ""  #: as the sender wrote it, for the answer
    ignored: tuple[str, ...] = ()  #: keys of the envelope that the table does not know

    __repr__ = object.__repr__  # shows no value


def decode(body: bytes) -> tuple[Any, bool]:
    """JSON of one request, and whether each key and type in it is proven: `known` of `parse_body`. Raises RequestError for other bytes."""
    value = loads_known(body)
    return (loads(body), False) if value is None else (value, True)


def parse_body(
    value: Any,
    *,
    site: str,
    trust: Trust,
    received_ms: int,
    max_events: int,
    new_id: Callable[[], str] | None = None,
    signals: Signals = NO_SIGNALS,
    base: Mapping[str, Value] | None = None,
    known: bool = False,
) -> list[Collected]:
    """Decoded JSON of one request → its events, each good or with its own error. Raises RequestError for a wrong envelope.

    `signals` is what the request itself says (headers, cookies); every event's own consent object is laid over it. `base` holds
    the fields that the request itself vouches for: a browser's event cannot overwrite its network.* and place.*. `known`: see
    `decode`.
    """
    if not isinstance(value, dict):
        raise RequestError("the body is not a JSON object", status=422, code="not_an_event", hint='send {"event": "page_view", …}')
    items: list[Any] = [value]
    skew_ms = 0
    if "events" in value:
        listed = value["events"]
        if not isinstance(listed, list) or not listed:
            raise RequestError(
                "`events` is not a list of events", status=422, code="not_an_event", hint='send {"events": [{…}, {…}]}'
            )
        unknown = sorted(set(value) - {"events", "sent_at"})
        if unknown:
            raise RequestError(
                "a batch has keys besides `events` and `sent_at`",
                status=422,
                code="batch_unknown_key",
                hint="consent belongs into each event",
            )
        items = listed
        skew_ms = _skew(value.get("sent_at"), received_ms, trust)
    if len(items) > max_events:
        raise RequestError(
            f"more than {max_events} events in one request",
            status=413,
            code="too_many_events",
            hint="send several smaller requests",
        )
    return [_collect(item, site, trust, received_ms, skew_ms, new_id, signals, base, known) for item in items]


def parse_event(
    obj: Mapping[str, Any],
    *,
    site: str,
    trust: Trust,
    received_ms: int,
    base: Mapping[str, Value] | None = None,
    signals: Signals = NO_SIGNALS,
) -> tuple[Event, Signals]:
    """One native event → Event and the consent evidence in it. Raises EventError. Without an id it gets one made of its content."""
    event, found, _ = _parse(obj, site, trust, received_ms, 0, None, signals, base, False)
    return event, found


def _collect(
    item: Any,
    site: str,
    trust: Trust,
    received_ms: int,
    skew_ms: int,
    new_id: Callable[[], str] | None,
    signals: Signals,
    base: Mapping[str, Value] | None,
    known: bool,
) -> Collected:
    try:
        event, found, ignored = _parse(item, site, trust, received_ms, skew_ms, new_id, signals, base, known)
    except EventError as error:
        given = item.get("id") if isinstance(item, dict) else None
        # Without its traceback, which would hold all that was read of the event.
        return Collected(
            None, error=error.with_traceback(None), id=given if isinstance(given, str) and len(given) <= MAX_ID else ""
        )
    return Collected(event, found, id=event.id, ignored=ignored)


def _parse(
    obj: Any,
    site: str,
    trust: Trust,
    received_ms: int,
    skew_ms: int,
    new_id: Callable[[], str] | None,
    request: Signals,
    base: Mapping[str, Value] | None,
    known: bool,
) -> tuple[Event, Signals, tuple[str, ...]]:
    if not isinstance(obj, dict):
        raise EventError("an event is not a JSON object", code="not_an_event", hint='send {"event": "page_view", …}')
    browser = trust is _BROWSER
    name: Any = obj.get("event")
    if type(name) is not str or name not in names.RECOMMENDED:
        _check_name(name)
    event_id: Any = obj.get("id")
    if type(event_id) is not str or not event_id or len(event_id) > MAX_ID or not event_id.isprintable():
        event_id = _id(obj, new_id)
    stated = obj.get("time")
    time_ms = received_ms if stated is None else _time(stated, received_ms, skew_ms, trust)
    source = obj.get("source", "web" if browser else "server")
    if source not in ("web", "server", "app"):
        raise EventError("`source` is not web, server or app", code="field_value", hint="leave it out for the default")
    fields: dict[str, Value] = dict(base) if base else {}
    fields["event.id"] = event_id
    fields["event.name"] = name
    fields["event.time"] = time_ms
    fields["event.source"] = source
    ignored: list[str] = []
    for key, value in obj.items():
        group = _GROUPS.get(key)
        if group is None:
            if key not in _ENVELOPE:
                ignored.append(key)
            continue
        if type(value) is not dict:
            raise EventError(f"`{key}` is not an object", code="field_type", hint=f'send "{key}": {{…}}')
        texts, numbers, table, server_only, paths = group
        if server_only and browser:
            ignored.append(key)
            continue
        if known:
            for part, item in value.items():
                if item != "":
                    fields[paths[part]] = item
            continue
        for part, item in value.items():
            form = type(item)
            if form is str:
                if part in texts:
                    if item:
                        fields[texts[part]] = item
                    continue
            elif (form is int or form is float) and part in numbers:
                fields[numbers[part]] = item
                continue
            entry = table.get(part)
            if entry is None:
                ignored.append(key)
            elif item is not None and item != "":
                fields[entry[0]] = typed(*entry, item)
    if known and _ITEMS in fields:
        fields[_ITEMS] = PlainItems(obj["order"]["items"])
    properties = obj.get("properties")
    if properties is not None:
        if not isinstance(properties, dict):
            raise EventError("`properties` is not an object", code="field_type", hint='send "properties": {…}')
        flatten(properties, fields)
    _from_address(fields)
    signals = read_consent(obj["consent"], request) if "consent" in obj else request
    event = Event(event_id, name, time_ms, received_ms, site, "native", trust, fields, subjects_of(fields))
    return event, signals, tuple(dict.fromkeys(ignored)) if ignored else ()


def subjects_of(fields: Mapping[str, Value]) -> tuple[str, ...]:
    """Who the event is about, strongest id first: signed-in user, e-mail, then ids of the browser."""
    found: list[str] = []
    get = fields.get
    if (user := get("user.id")) is not None:
        found.append(f"user:{user}")
    if (email := get("user.email")) is not None:
        found.append(f"email:{str(email).strip().lower()}")
    if (client := get("visitor.client_id")) is not None:
        found.append(f"client:{client}")
    if (anonymous := get("visitor.anonymous_id")) is not None:
        found.append(f"anonymous:{anonymous}")
    return tuple(found)


def _from_address(fields: dict[str, Value]) -> None:
    """Click ids and campaign of the page's address, where the event does not state them itself."""
    url = fields.get("page.url")
    if isinstance(url, str) and "?" in url:
        for path, value in address_fields(url).items():
            if path not in fields:
                fields[path] = value


def _check_name(value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise EventError("an event has no name", code="event_name_missing", hint='say what happened: "event": "purchase"')
    if not names.is_name(value):
        near = names.nearest(value)
        hint = f"did you mean '{near}'?" if near else "lower-case letters, digits and _, at most 40, starting with a letter"
        raise EventError("an event's name is not of the known form", code="event_name_unknown", hint=hint)


def _id(obj: Mapping[str, Any], new_id: Callable[[], str] | None) -> str:
    value = obj.get("id")
    if value is None or value == "":
        if new_id is not None:
            return new_id()
        return "ev_" + hashlib.sha256(msgspec.json.encode(obj, order="sorted")).hexdigest()[:24]
    if type(value) is int:
        return str(value)
    if not isinstance(value, str) or len(value) > MAX_ID or not value.isprintable():
        raise EventError(
            f"`id` is not a printable text of at most {MAX_ID} characters", code="event_id", hint="use a UUID or the order number"
        )
    return value


def _time(value: Any, received_ms: int, skew_ms: int, trust: Trust) -> int:
    parsed = parse_time(value)
    if parsed is None:
        raise EventError(
            "`time` is not a time",
            code="event_time",
            hint='ISO 8601 with a zone, "2026-11-21T22:31:21Z", or milliseconds since 1970',
        )
    parsed += skew_ms
    if parsed > received_ms + DAY_MS or parsed < received_ms - OLDEST_MS[trust]:
        days = OLDEST_MS[trust] // DAY_MS
        raise EventError(
            "`time` is too far from now", code="event_time_far_off", hint=f"at most {days} days back and not in the future"
        )
    return received_ms if parsed > received_ms + AHEAD_MS else parsed


def _skew(sent_at: Any, received_ms: int, trust: Trust) -> int:
    """How far the sender's clock is off, from `sent_at`; a browser's events are moved by it (specs/reliability.md §2.6)."""
    if sent_at is None or trust is Trust.SERVER:
        return 0
    parsed = parse_time(sent_at)
    if parsed is None:
        raise RequestError("`sent_at` is not a time", status=422, code="event_time", hint="ISO 8601 with a zone")
    skew = received_ms - parsed
    return skew if abs(skew) > 60_000 else 0  # less is the network's delay


def ignored_of(collected: Iterable[Collected]) -> tuple[str, ...]:
    """Names of envelope keys that no table knows, over a whole request."""
    return tuple(dict.fromkeys(k for c in collected for k in c.ignored))
