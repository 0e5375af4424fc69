"""Every code that a refusal or an event's error can carry, what it means, and with which status it comes.

The documents of `edge/openapi/documents.py` and `docs/reference/http.md` are made of it; a test holds it to the source, code by code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Code:
    """One code. `statuses` are those of a whole refusal; an event of several carries the same code in its own `error`."""

    statuses: tuple[int, ...]
    about: str


#: Raised for one event: alone in its request it is the request's refusal, 422, or 400 in the Segment and ECAPI dialects.
_EVENT: Final = (400, 422)

CODES: Final[dict[str, Code]] = {
    # The message itself (edge/protocol.py): the connection is closed after it.
    "http_malformed": Code(
        (400,), "not HTTP/1.1: two lengths, a length and chunks, blanks or control characters where none may be"
    ),
    "host": Code((400,), "no Host header, more than one, or one that is no host"),
    "transfer_coding": Code((400,), "a transfer coding besides `chunked`"),
    "slow_head": Code((408,), "the head took longer than `server.header_timeout_s`"),
    "head_too_big": Code((431,), "the head has more than 100 lines or 32 KiB"),
    "http_version": Code((505,), "neither HTTP/1.1 nor HTTP/1.0"),
    # The request.
    "not_found": Code((404,), "nothing is served under this path"),
    "method": Code((405,), "the method is not one of those in `Allow`"),
    "content_type": Code((415,), "the content type is not taken here"),
    "content_encoding": Code((415,), "the body is compressed in a way that is not taken here"),
    "content_length": Code((400,), "Content-Length is not a number"),
    "slow_body": Code((408,), "the body took longer than `server.body_timeout_s`"),
    "too_big": Code((413,), "the body is larger than `server.max_body_bytes`, as sent or once decompressed"),
    "gzip_broken": Code((400,), "the body is not exactly one gzip member"),
    "too_many_requests": Code((429,), "this client address, or this key, sent more than `[limits]` allows; see `Retry-After`"),
    "internal": Code((500,), "a fault of the gateway; the hint has the id under which its log tells where"),
    # Who sends.
    "no_credentials": Code((401,), "neither an Origin nor a key"),
    "bad_key": Code((401,), "the key is not known, or not of this site"),
    "server_key": Code((401,), "only servers with a server key may send here"),
    "unknown_origin": Code((403,), "the page's origin is not one of a configured site"),
    "admin_token": Code((401,), "the admin host wants `Authorization: Bearer <admin token>`"),
    # JSON.
    "json_malformed": Code((400,), "not strict JSON: a comment, NaN, a lone surrogate, something missing"),
    "json_not_utf8": Code((400,), "not UTF-8"),
    "json_duplicate_key": Code((400,), "an object has the same key twice: which one counts would be a guess"),
    "json_too_deep": Code((400,), "nested deeper than 16 levels"),
    "json_too_many_keys": Code((400,), "an object has more than 256 keys"),
    "json_long_string": Code((400,), "a string is longer than 8 KiB"),
    "json_big_number": Code((400,), "an integer is larger than 2^53 - 1"),
    "json_nul": Code((400,), "a string holds a NUL character"),
    # Parameters.
    "form_not_utf8": Code((400,), "parameters that are not UTF-8"),
    "form_nul": Code((400,), "a parameter holds a NUL character"),
    "form_long_value": Code((400,), "a parameter is longer than 8 KiB"),
    "form_too_many_parameters": Code((413,), "more than 512 parameters"),
    "form_twice": Code((400,), "a parameter is given twice"),
    "form_path": Code((400,), "a dotted parameter is too deep, has an empty part, or goes through a value"),
    "ga4_version": Code((400,), "a hit whose `v` is not 2"),
    "pixel_body": Code((400,), "a pixel with a body"),
    "wait": Code((400,), "`wait` is something else than `drained`"),
    # Events.
    "not_an_event": Code(_EVENT, "not an event, or not a list of them"),
    "batch_unknown_key": Code((422,), "a batch has keys besides `events` and `sent_at`"),
    "too_many_events": Code((413,), "more than `server.max_events` events; a GA4 hit has at most 100 lines"),
    "event_name_missing": Code(_EVENT, "an event has no name"),
    "event_name_unknown": Code(_EVENT, "an event's name is not of the known form"),
    "event_type": Code(_EVENT, "`type` is no call of the Segment spec, or another than the path's"),
    "event_id": Code(_EVENT, "an id that is not a printable text of at most 200 characters"),
    "event_time": Code(_EVENT, "something that is not a time with a zone"),
    "event_time_far_off": Code(_EVENT, "a time in the future, or more than 7 days back, 90 for servers"),
    "field_type": Code(_EVENT, "a field has another JSON type than its own"),
    "field_value": Code(_EVENT, "a field has a value that it cannot have"),
    "too_many_items": Code(_EVENT, "more than 200 products, or more than 1000 values in one list"),
    "too_many_properties": Code(_EVENT, "more than 256 properties, 128 in other dialects, 30 in Plausible's dialect"),
    "property_depth": Code((422,), "`properties` is nested deeper than 15 levels"),
    "property_name": Code((422,), "a name in `properties` is not plain"),
    "consent_unknown_key": Code((422,), "`consent` has a key that is not known: a misspelt refusal must not look like silence"),
    # Choices.
    "not_a_choice": Code((422,), "the body is not a JSON object"),
    "choice_unknown_key": Code((422,), "a choice has keys besides `visitor`, `user`, `consent` and `place`"),
    "no_subject": Code((422,), "nobody is named whose choice this is"),
    "no_choice": Code((422,), "no purpose that a policy knows is granted or denied"),
    "grant_needs_server": Code((422,), "a page cannot grant for a user or an e-mail address"),
    "consent_unreadable": Code((422,), "the consent cannot be read completely"),
    "too_many_choices": Code((413,), "more than 20 changes of consent in one request of the Segment spec"),
    # The store: nothing was stored, send it again after `Retry-After`.
    "store": Code((503,), "the store cannot be written"),
    "store_full": Code((503,), "the store is full"),
    "store_busy": Code((503,), "another program holds the store's file"),
    "store_closed": Code((503,), "the gateway is starting or stopping"),
    "store_broken": Code((503,), "what is on disk is unknown until a fresh process has checked"),
    "store_stopped": Code((503,), "the store has stopped"),
    "io_error": Code((503,), "the operating system reported a fault of the disk"),
    "sqlite_error": Code((503,), "the database reported a fault"),
}


def with_status(status: int) -> list[str]:
    """Codes that a refusal with this status can carry, in the table's order."""
    return [name for name, code in CODES.items() if status in code.statuses]
