"""The pixel: `GET /p.gif?event=purchase&order.value=12`, for e-mails and pages without scripts. Pure.

Parameters are the words policies use (`order.value`, `page.url`, `properties.color`); consent comes in the macros that ad servers
fill: `gdpr`, `gdpr_consent`, `us_privacy`, `gpp`, `gpp_sid`, `gcs`, `gcd`. Without `page.url` the page is the Referer's.
Mail programs tell neither page nor origin: there `writeKey`, one of the site's write keys, says whose image it is.
"""

from __future__ import annotations

from typing import Final

from ebbgate.collect.dialect import Dialect, assemble, each, event_id, event_name
from ebbgate.collect.form import Form, form_signals, query_key, read_form
from ebbgate.collect.names import is_name
from ebbgate.collect.native import Collected
from ebbgate.collect.request import request_signals
from ebbgate.collect.values import good_id, own, put
from ebbgate.errors import EventError, RequestError
from ebbgate.fields import FIELDS, Kind
from ebbgate.model import Place, RawRequest, Value

NAME: Final = "pixel"
_HINT: Final = "say what happened: event=page_view"
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}


def decode(request: RawRequest) -> Form:
    """The query's parameters. Raises RequestError; a body is refused: nobody would read it."""
    if request.body:
        raise RequestError("a pixel has no body", code="pixel_body", hint="put everything into the query")
    return read_form(request.query)


def collect(request: RawRequest, form: Form, place: Place, max_events: int) -> list[Collected]:
    """The one event of the request."""

    def one(index: int, found: Form) -> Collected:
        name = event_name(found.values.get("event"), hint=_HINT)
        if not is_name(name):
            raise EventError("the event's name is not of the known form", code="event_name_unknown", hint=_HINT)
        fields = _fields(found)
        referer = request.header("referer")
        if referer and "page.url" not in fields:
            put(fields, "page.url", referer[:4096])
        # An image is loaded anew each time it is shown: without an id of the sender's every load is an event.
        made = event_id("px", found.values, request.peer, request.received_ms)
        return assemble(
            request,
            place,
            dialect=NAME,
            event_id=good_id(found.values.get("id")) or made,
            name=name,
            time_ms=request.received_ms,
            fields=fields,
            signals=form_signals(found, request_signals(request)),
        )

    return each([form], max_events, one)


def _fields(form: Form) -> dict[str, Value]:
    fields: dict[str, Value] = {}
    properties: dict[str, str] = {}
    for key, text in form.values.items():
        known = FIELDS.get(key)
        if key.startswith("properties."):
            properties[key.removeprefix("properties.")] = text
        elif known is not None and known.group != "event" and known.kind is not Kind.ITEMS:
            put(fields, key, _FLAGS.get(text) if known.kind is Kind.BOOLEAN else text)
    own(properties, fields)
    return fields


def _key(request: RawRequest, form: Form) -> str | None:
    return query_key(request.query, "writeKey")


DIALECT: Final = Dialect(NAME, decode, collect, _key)
