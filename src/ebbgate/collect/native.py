"""The native dialect: `POST /e/v1/events`, one event or `{"events": [...]}` (DESIGN §5.1). Pure.

Groups of known fields become dotted paths; names the site adds itself live under `properties`. What is not in the table is
ignored and named in the answer; a wrong type is an error; what is odd in `consent` stays as malformed evidence, which never grants.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import msgspec

from ebbgate.collect import names
from ebbgate.collect.address import address_fields
from ebbgate.collect.consent_object import NO_SIGNALS, read_consent
from ebbgate.collect.times import parse_time
from ebbgate.errors import EventError, RequestError
from ebbgate.fields import FIELDS, ITEM_KEYS, Kind
from ebbgate.model import Event, KnownItems, Scalar, Signals, Trust, Value

MAX_ITEMS: Final = 200
MAX_PROPERTIES: Final = 256
MAX_LIST: Final = 1000  #: values of one property
MAX_ID: Final = 200
PROPERTY_DEPTH: Final = 15
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
_ENVELOPE: Final = frozenset({"event", "id", "time", "consent", "source", "properties", "order", "type"})
_PROPERTY_NAME: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$ -]{0,63}")


@dataclass(frozen=True, slots=True, repr=False)
class Collected:
    """One event of a request as a dialect understood it, or why it is not one."""

    event: Event | None
    signals: Signals = NO_SIGNALS
    error: EventError | None = None
    id: str = ""  #: as the sender wrote it, for the answer
    ignored: tuple[str, ...] = ()  #: keys of the envelope that the table does not know


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
) -> list[Collected]:
    """Decoded JSON of one request → its events, each good or with its own error. Raises RequestError for a wrong envelope.

    `signals` is what the request itself says (headers, cookies); every event's own consent object is laid over it. `base` holds
    the fields that the request itself vouches for: a browser's event cannot overwrite its network.* and place.*.
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
    return [_collect(item, site, trust, received_ms, skew_ms, new_id, signals, base) for item in items]


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
    event, found, _ = _parse(obj, site, trust, received_ms, 0, None, signals, base)
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
) -> Collected:
    try:
        event, found, ignored = _parse(item, site, trust, received_ms, skew_ms, new_id, signals, base)
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
) -> tuple[Event, Signals, tuple[str, ...]]:
    if not isinstance(obj, dict):
        raise EventError("an event is not a JSON object", code="not_an_event", hint='send {"event": "page_view", …}')
    name = _name(obj.get("event"))
    event_id = _id(obj, new_id)
    time_ms = _time(obj.get("time"), received_ms, skew_ms, trust)
    source = obj.get("source", "web" if trust is Trust.BROWSER else "server")
    if source not in ("web", "server", "app"):
        raise EventError("`source` is not web, server or app", code="field_value", hint="leave it out for the default")
    fields: dict[str, Value] = {
        **(base or {}), "event.id": event_id, "event.name": name, "event.time": time_ms, "event.source": source,
    }  # fmt: skip
    ignored: list[str] = []
    text = Kind.TEXT
    for key, value in obj.items():
        table = _TABLE.get(key)
        if table is None:
            if key not in _ENVELOPE:
                ignored.append(key)
            continue
        if type(value) is not dict:
            raise EventError(f"`{key}` is not an object", code="field_type", hint=f'send "{key}": {{…}}')
        if key in _SERVER_ONLY and trust is Trust.BROWSER:
            ignored.append(key)
            continue
        for part, item in value.items():
            entry = table.get(part)
            if entry is None:
                ignored.append(key)
                continue
            path, kind = entry
            if type(item) is str and kind is text:
                if item:
                    fields[path] = item
            elif item is not None and item != "":
                fields[path] = _typed(path, kind, item)
    properties = obj.get("properties")
    if properties is not None:
        if not isinstance(properties, dict):
            raise EventError("`properties` is not an object", code="field_type", hint='send "properties": {…}')
        _flatten(properties, "properties", fields, PROPERTY_DEPTH)
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
            fields.setdefault(path, value)


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise EventError("an event has no name", code="event_name_missing", hint='say what happened: "event": "purchase"')
    if not names.is_name(value):
        near = names.nearest(value)
        hint = f"did you mean '{near}'?" if near else "lower-case letters, digits and _, at most 40, starting with a letter"
        raise EventError("an event's name is not of the known form", code="event_name_unknown", hint=hint)
    return value


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
    if value is None:
        return received_ms
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


def _typed(path: str, kind: Kind, value: Any) -> Value:
    if kind is Kind.TEXT:
        if type(value) is int:  # ids are often numbers in a shop's own data
            return str(value)
        raise EventError(f"`{path}` is not text", code="field_type", hint="put it in quotes")
    if kind is Kind.NUMBER:
        if type(value) is int or type(value) is float:
            return value
        raise EventError(f"`{path}` is not a number", code="field_type", hint="leave out quotes and currency signs")
    if kind is Kind.BOOLEAN:
        if isinstance(value, bool):
            return value
        raise EventError(f"`{path}` is not true or false", code="field_type", hint="leave out the quotes")
    return _items(path, value)


#: Keys and types of products that were taken as they are: the next ones of the same form need no look at each key.
_plain_items: Final[set[tuple[object, ...]]] = set()
_MAX_SHAPES: Final = 1024


def _items(path: str, value: Any) -> tuple[Mapping[str, Scalar], ...]:
    if not isinstance(value, list):
        raise EventError(f"`{path}` is not a list", code="field_type", hint='send [{"id": "sku", "price": 6, "quantity": 2}]')
    if len(value) > MAX_ITEMS:
        raise EventError(f"`{path}` has more than {MAX_ITEMS} products", code="too_many_items", hint="platforms take at most 200")
    found: list[Mapping[str, Scalar]] = []
    for item in value:
        if not isinstance(item, dict):
            raise EventError(
                f"`{path}` holds something that is not an object", code="field_type", hint='send [{"id": "sku", "price": 6}]'
            )
        shape = (*item, *map(type, item.values()))
        if shape in _plain_items and "" not in item.values():
            found.append(item)
            continue
        row: dict[str, Scalar] = {}
        for key, part in item.items():
            kind = ITEM_KEYS.get(key)
            if kind is None or part is None or part == "":
                continue
            if kind is Kind.TEXT and type(part) is int:
                part = str(part)
            if type(part) not in ((str,) if kind is Kind.TEXT else (int, float)):
                raise EventError(
                    f"`{path}[].{key}` is not {'text' if kind is Kind.TEXT else 'a number'}",
                    code="field_type",
                    hint="text in quotes, numbers without",
                )
            row[key] = part
        found.append(row)
        if row == item and len(item) <= len(ITEM_KEYS) and "" not in row.values() and (*row, *map(type, row.values())) == shape:
            if len(_plain_items) >= _MAX_SHAPES:
                _plain_items.clear()
            _plain_items.add(shape)
    return KnownItems(found)


def _flatten(value: Mapping[str, Any], prefix: str, into: dict[str, Value], room: int) -> None:
    """`properties` → `properties.a.b`; names outside a plain form would be free text in a policy's and a log's place."""
    for key, item in value.items():
        path = _property_path(prefix, key)
        if type(item) in _SCALARS:
            into[path] = item
        elif isinstance(item, dict):
            if room <= 1:
                raise EventError(
                    f"`properties` is nested deeper than {PROPERTY_DEPTH} levels", code="property_depth", hint="flatten it"
                )
            _flatten(item, path, into, room - 1)
        elif isinstance(item, list):
            if len(item) > MAX_LIST:
                raise EventError(
                    f"a list in `properties` has more than {MAX_LIST} values",
                    code="too_many_items",
                    hint="leave out what no policy names",
                )
            if not all(isinstance(part, str | int | float | bool) for part in item):
                raise EventError(
                    "a list in `properties` holds something that is not a plain value",
                    code="field_type",
                    hint="send text, numbers, true or false",
                )
            into[path] = tuple(item)
        elif item is not None:
            into[path] = item
    if len(into) > MAX_PROPERTIES + len(FIELDS):
        raise EventError(
            f"more than {MAX_PROPERTIES} properties", code="too_many_properties", hint="leave out what no policy names"
        )


_SCALARS: Final = frozenset({str, int, float, bool})


@lru_cache(maxsize=4096)
def _property_path(prefix: str, key: str) -> str:
    """The path of a property. A site uses the same names in all its events, so the names seen last are not checked again."""
    if not _PROPERTY_NAME.fullmatch(key):
        raise EventError(
            "a name in `properties` is not plain",
            code="property_name",
            hint="letters, digits, _ $ - and blanks, at most 64, no dots",
        )
    return f"{prefix}.{key}"


def ignored_of(collected: Iterable[Collected]) -> tuple[str, ...]:
    """Names of envelope keys that no table knows, over a whole request."""
    return tuple(dict.fromkeys(k for c in collected for k in c.ignored))
