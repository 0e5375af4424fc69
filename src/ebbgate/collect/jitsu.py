"""Jitsu's clients: `POST /api/s/{type}` from browsers, `POST /api/s/s2s/{type}` from servers (specs/wire-formats.md §5c). Pure.

Calls of the Segment spec, one a request. `X-IP-Policy` says what of the visitor's address the site wants kept; a policy that is not
known keeps nothing.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_network
from typing import Any, Final

from ebbgate.collect import segment_http
from ebbgate.collect.dialect import Dialect
from ebbgate.collect.native import Collected
from ebbgate.model import Event, Place, RawRequest, Value

NAME: Final = "jitsu"
_ADDRESS: Final = "network.ip"


def collect(request: RawRequest, body: dict[str, Any], place: Place, max_events: int) -> list[Collected]:
    """The one event of the request."""
    kind = request.path.rpartition("/")[2]
    found = segment_http.collect_calls(request, body, place, max_events, call=segment_http.CALLS.get(kind, ""), dialect=NAME)
    policy = request.header("x-ip-policy")
    if policy in (None, "", "keep"):
        return found
    return [replace(one, event=_without_address(one.event, policy)) if one.event else one for one in found]


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
