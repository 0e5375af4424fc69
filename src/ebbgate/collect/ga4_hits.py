"""GA4 web hits: `GET|POST /g/collect`, as gtag and GTM send them (specs/wire-formats.md §5a). Pure.

Shared parameters stand in the query; a body holds one event a line, whose parameters override the query's. The page-load id
`_p` is no event id: one made of the hit's place in its page, its line and its content is, so that a retried hit is a duplicate.
"""

from __future__ import annotations

import re
from typing import Any, Final

from ebbgate.collect.dialect import Dialect, assemble, each, event_id, event_name
from ebbgate.collect.form import Form, form_signals, read_form
from ebbgate.collect.ga4_words import event_fields, hashed_person, number, short_products
from ebbgate.collect.native import Collected
from ebbgate.collect.request import request_signals
from ebbgate.collect.values import good_id, put
from ebbgate.errors import RequestError
from ebbgate.model import Place, RawRequest, Value

NAME: Final = "ga4"
MAX_LINES: Final = 100  #: tags send at most a few dozen; every line carries the whole query
#: Parameter of a hit → field.
_SHARED: Final = {
    "cid": "visitor.client_id",
    "uid": "user.id",
    "sid": "visitor.session_id",
    "sct": "visitor.session_number",
    "_et": "visitor.engagement_ms",
    "dl": "page.url",
    "dr": "page.referrer",
    "dt": "page.title",
    "dp": "page.path",
    "ul": "device.language",
    "sr": "device.screen",
    "vp": "device.viewport",
    "cu": "order.currency",
    "cs": "campaign.source",
    "cm": "campaign.medium",
    "cn": "campaign.name",
    "ck": "campaign.term",
    "cc": "campaign.content",
    "ci": "campaign.id",
    "gclid": "click.gclid",
    "dclid": "click.dclid",
    "uam": "device.model",
    "uap": "device.os",
    "uapv": "device.os_version",
}
#: What places a hit within its page and session: with these the same content again is another event.
_SEQUENCE: Final = ("tid", "cid", "uid", "sid", "_p", "_s")
#: What differs between two tries of one hit, or says nothing about it.
_VOLATILE: Final = re.compile(r"tfd|_z|gtm|richsstsse|sst\..*")
_NO_BRAND: Final = re.compile(r"[^A-Za-z]*Not", re.IGNORECASE)


def decode(request: RawRequest) -> list[Form]:
    """One form an event: the query with each line of the body laid over it. Raises RequestError."""
    shared = read_form(request.query)
    if shared.values.get("v", "2") != "2":
        raise RequestError("this is no GA4 hit", code="ga4_version", hint="`v` is 2 in hits of GA4")
    try:
        text = request.body.decode("utf-8")
    except UnicodeDecodeError:
        raise RequestError("the body is not UTF-8", code="form_not_utf8", hint="URL-encode the parameters") from None
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
    if len(lines) > MAX_LINES:  # before any of them is read
        raise RequestError(
            f"more than {MAX_LINES} events in one request", status=413, code="too_many_events", hint="send several requests"
        )
    return [shared.under(read_form(line)) for line in lines] or [shared]


def collect(request: RawRequest, forms: list[Form], place: Place, max_events: int) -> list[Collected]:
    """The events of one request."""
    head = request_signals(request)

    def one(index: int, form: Form) -> Collected:
        values = form.values
        name = event_name(values.get("en"), hint="`en` names the event: en=page_view")
        fields = _fields(name, form)
        return assemble(
            request,
            place,
            dialect=NAME,
            event_id=good_id(values.get("ep.event_id")) or _id(name, index, form, request),
            name=name,
            time_ms=request.received_ms,
            fields=fields,
            signals=form_signals(form, head),
        )

    return each(forms, max_events, one)


def _fields(name: str, form: Form) -> dict[str, Value]:
    values = form.values
    fields: dict[str, Value] = {}
    for key, path in _SHARED.items():
        if key in values:
            put(fields, path, values[key])
    _client_hints(values.get("uafvl", ""), values.get("uamb", ""), fields)
    params: dict[str, Any] = {}
    person: dict[str, Any] = {}
    address: dict[str, Any] = {}
    of_user: dict[str, Any] = {}
    for key, value in values.items():
        kind, dot, param = key.partition(".")
        if not dot or not param or value == "":
            continue
        if kind == "ep" and param.startswith("user_data."):
            part = param.removeprefix("user_data.")
            inner = address if part.startswith("address.") else person
            inner[part.removeprefix("address.")] = value
        elif kind == "ep":
            params.setdefault(param, value)
        elif kind == "epn":
            params[param] = number("epn.…", value)
        elif kind in ("up", "upn"):
            of_user[param] = number("upn.…", value) if kind == "upn" else value
    if person or address:
        params["user_data"] = {**person, "address": address}
    params.pop("user_properties", None)
    if of_user:
        params["user_properties"] = of_user
    if "tt" in values:
        params.setdefault("traffic_type", values["tt"])
    event_fields(name, params, fields)
    short_products(values, fields)
    if "em" in values:
        hashed_person(values["em"], fields)
    put(fields, "network.ip", values.get("_uip"))
    return fields


def _client_hints(brands: str, mobile: str, fields: dict[str, Value]) -> None:
    """`uafvl=Chromium;119.0|Google Chrome;119.0|Not?A_Brand;24` → browser and version; `uamb` → device type."""
    known = [(b, v) for b, _, v in (part.partition(";") for part in brands.split("|")[:10]) if b and not _NO_BRAND.match(b)]
    if known:
        brand, version = next((pair for pair in known if pair[0] != "Chromium"), known[0])
        put(fields, "device.browser", brand)
        put(fields, "device.browser_version", version)
    if mobile in ("0", "1"):
        fields["device.type"] = "mobile" if mobile == "1" else "desktop"


def _id(name: str, index: int, form: Form, request: RawRequest) -> str:
    """Deterministic, so that a hit sent twice is a duplicate; without a sequence two equal hits are two events."""
    values = form.values
    content = {k: v for k, v in values.items() if not _VOLATILE.fullmatch(k)}
    placed = "_s" in values or "_p" in values
    return event_id("ga4", [values.get(k, "") for k in _SEQUENCE], name, index, content, None if placed else request.received_ms)


DIALECT: Final = Dialect(NAME, decode, collect)
