"""Jitsu's clients: `POST /api/s/{type}` from browsers, `POST /api/s/s2s/{type}` from servers (specs/wire-formats.md §5c). Pure.

Calls of the Segment spec, one a request. `context.clientIds` tells the ids that other platforms' cookies hold. `X-IP-Policy` says what
of the visitor's address the site wants kept; a policy that is not known keeps nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_network
from typing import Any, Final

from msgspec.structs import replace

from ebbgate.collect import segment_http
from ebbgate.collect.cookies import cookie_fields
from ebbgate.collect.dialect import Dialect
from ebbgate.collect.native import Collected, subjects_of
from ebbgate.model import Event, Place, RawRequest, Value

NAME: Final = "jitsu"
_ADDRESS: Final = "network.ip"
_GA_CLIENT: Final = re.compile(r"\d{1,19}\.\d{1,19}", re.ASCII)
_GA_SESSION: Final = re.compile(r"\d{1,19}", re.ASCII)


def collect(request: RawRequest, body: dict[str, Any], place: Place, max_events: int) -> list[Collected]:
    """The one event of the request."""
    kind = request.path.rpartition("/")[2]
    found = segment_http.collect_calls(request, body, place, max_events, call=segment_http.CALLS.get(kind, ""), dialect=NAME)
    ids = _client_ids(body)
    if ids:
        found = [replace(one, event=_with_ids(one.event, ids)) if one.event else one for one in found]
    policy = request.header("x-ip-policy")
    if policy in (None, "", "keep"):
        return found
    return [replace(one, event=_without_address(one.event, policy)) if one.event else one for one in found]


def _client_ids(body: Mapping[str, Any]) -> dict[str, Value]:
    """Fields of `context.clientIds`: `fbp`, `fbc`, and GA4's client id, with its session where the page has one stream only."""
    told = _object(_object(body.get("context")).get("clientIds"))
    pairs = [(f"_{name}", told[name]) for name in ("fbp", "fbc") if isinstance(told.get(name), str)]
    fields: dict[str, Value] = {**cookie_fields(pairs)}
    ga4 = _object(told.get("ga4"))
    client = ga4.get("clientId")
    if isinstance(client, str) and _GA_CLIENT.fullmatch(client):
        fields["visitor.client_id"] = client
        sessions = [v for v in _object(ga4.get("sessionIds")).values() if isinstance(v, str) and _GA_SESSION.fullmatch(v)]
        if len(sessions) == 1:
            fields["visitor.session_id"] = sessions[0]
    return fields


def _object(found: Any) -> Mapping[str, Any]:
    """An object; {} for anything else: ids are no reason to refuse a call."""
    return found if isinstance(found, Mapping) else {}


def _with_ids(event: Event, ids: Mapping[str, Value]) -> Event:
    """With the ids that it does not state itself."""
    fields = {**ids, **event.fields}
    return replace(event, fields=fields, subjects=subjects_of(fields))


def _without_address(event: Event, policy: str | None) -> Event:
    """Without the address; under `stripLastOctet` its network stays: /24, or /48 of an IPv6 address."""
    fields: dict[str, Value] = {k: v for k, v in event.fields.items() if k != _ADDRESS}
    address = event.fields.get(_ADDRESS)
    if policy == "stripLastOctet" and isinstance(address, str):
        with suppress(ValueError):
            bits = 48 if ":" in address else 24
            fields[_ADDRESS] = str(ip_network((address, bits), strict=False).network_address)
    return replace(event, fields=fields)


DIALECT: Final = Dialect(NAME, segment_http.decode, collect, segment_http.write_key)
