"""What every dialect is, and how what it read becomes an `Event`: the request's own fields, the window of time, the ids. Pure.

A dialect is one file with a `DIALECT`: `decode` takes a request apart (or refuses it as a whole), `collect` makes its events.
Between the two the edge learns from `key` who vouches for the request, where the credentials stand inside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ebbgate.collect.address import address_fields
from ebbgate.collect.native import AHEAD_MS, DAY_MS, OLDEST_MS, Collected, subjects_of
from ebbgate.collect.request import request_fields
from ebbgate.collect.times import parse_time
from ebbgate.errors import EventError, RequestError
from ebbgate.model import Event, Place, RawRequest, Signals, Trust, Value

#: Groups that a browser cannot state: for it the request itself is the evidence.
_VOUCHED: Final = ("network.", "place.")
_MIN_SKEW_MS: Final = 60_000  #: less is the network's delay


def _no_key(request: RawRequest, decoded: Any) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Dialect:
    """One dialect. `decode` and `collect` raise RequestError; `collect` never raises for a single bad event."""

    name: str
    decode: Callable[[RawRequest], Any]
    collect: Callable[[RawRequest, Any, Place, int], list[Collected]]  #: request, decoded, place, most events
    key: Callable[[RawRequest, Any], str | None] = _no_key  #: a key inside the query or the body


def parse(dialect: Dialect, request: RawRequest, place: Place, *, max_events: int) -> list[Collected]:
    """A whole request → its events, each good or with its own error. Raises RequestError for what is no request of this dialect."""
    return dialect.collect(request, dialect.decode(request), place, max_events)


def assemble(
    request: RawRequest,
    place: Place,
    *,
    dialect: str,
    event_id: str,
    name: str,
    original: str = "",
    time_ms: int,
    fields: Mapping[str, Value],
    signals: Signals,
    source: str = "",
) -> Collected:
    """One event. Strongest first: what the event states, click ids and campaign of its page's address, what the request says.

    A browser cannot state `network.*` and `place.*`; the head of a server's request says nothing about the visitor.
    """
    browser = request.trust is Trust.BROWSER
    stated = {k: v for k, v in fields.items() if not k.startswith(_VOUCHED)} if browser else fields
    url = stated.get("page.url")
    merged: dict[str, Value] = request_fields(request, place) if browser else {}
    if isinstance(url, str) and "?" in url:
        merged.update(address_fields(url))
    merged.update(stated)
    merged["event.id"] = event_id
    merged["event.name"] = name
    merged["event.time"] = time_ms
    merged["event.source"] = source or ("web" if browser or url is not None else "server")
    if original and original != name:
        merged["event.original_name"] = original
    event = Event(event_id, name, time_ms, request.received_ms, request.site, dialect, request.trust, merged, subjects_of(merged))
    return Collected(event, signals, id=event_id)


def each(
    items: list[Any], max_events: int, one: Callable[[int, Any], Collected], name_of: Callable[[Any], str] = lambda _: ""
) -> list[Collected]:
    """Apply `one` to every item of a request; an EventError becomes that event's own. Raises RequestError 413 for too many."""
    if len(items) > max_events:
        raise RequestError(
            f"more than {max_events} events in one request",
            status=413,
            code="too_many_events",
            hint="send several smaller requests",
        )
    found: list[Collected] = []
    for index, item in enumerate(items):
        try:
            found.append(one(index, item))
        except EventError as error:
            # Without its traceback, which would hold all that was read of the event.
            found.append(Collected(None, error=error.with_traceback(None), id=name_of(item)))
    return found


def held_time(time_ms: int | None, request: RawRequest, *, skew_ms: int = 0) -> int:
    """When it happened, within what a sender of this trust may claim (specs/reliability.md §2.6). Raises EventError."""
    if time_ms is None:
        return request.received_ms
    moved = time_ms + skew_ms
    if moved > request.received_ms + DAY_MS or moved < request.received_ms - OLDEST_MS[request.trust]:
        days = OLDEST_MS[request.trust] // DAY_MS
        raise EventError(
            "the event's time is too far from now",
            code="event_time_far_off",
            hint=f"at most {days} days back and not in the future",
        )
    return request.received_ms if moved > request.received_ms + AHEAD_MS else moved


def skew_of(sent_at: object, request: RawRequest) -> int:
    """How far a browser's clock is off, in ms, from the time it says it sent; 0 for servers and for what is no time."""
    sent_ms = None if request.trust is Trust.SERVER else parse_time(sent_at)
    skew = request.received_ms - sent_ms if sent_ms is not None else 0
    return skew if abs(skew) > _MIN_SKEW_MS else 0


def event_id(prefix: str, *parts: object) -> str:
    """An id made of what tells one event from another: the same parts give the same id, so that a retry is a duplicate."""
    return f"{prefix}_{hashlib.sha256(msgspec.json.encode(parts, order='sorted')).hexdigest()[:32]}"


def event_name(given: object, *, hint: str) -> str:
    """The sender's own name of an event, trimmed. Raises EventError for none, or for more than 200 characters."""
    if not isinstance(given, str) or not given.strip() or len(given) > 200 or not given.strip().isprintable():
        raise EventError("an event has no name", code="event_name_missing", hint=hint)
    return given.strip()
