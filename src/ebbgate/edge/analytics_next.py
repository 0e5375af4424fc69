"""The settings document that Segment's analytics-next asks for before it sends anything: it keeps all requests on this host.

`apiHost` and the metrics' host are ours, no other integration and no remote plugin is named, the sample rate of its metrics is 0
(specs/experience.md §1.1, "Drop-in facts").
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final
from urllib.parse import SplitResult, urlsplit

import msgspec

from ebbgate.edge.credentials import ClientHead, page_origin
from ebbgate.edge.head import Head
from ebbgate.errors import RequestError

_KEY: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}\Z", re.ASCII)
_HOST: Final = re.compile(r"(?:[a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?\Z", re.ASCII)


def settings_document(key: str, head: Head, client: ClientHead, scheme: str, prefix: str, *, trusted: bool) -> bytes:
    """JSON of the document. `trusted`: the peer is a configured proxy. Raises RequestError 404 for no key, 400 for no host."""
    if not _KEY.match(key):
        raise RequestError(
            "there is no such project", status=HTTPStatus.NOT_FOUND, code="not_found", hint="use the site's write key"
        )
    host, protocol = _address(head, client, scheme, trusted=trusted)
    api = f"{host}{prefix}/v1"
    return msgspec.json.encode({
        "integrations": {
            "Segment.io": {
                "apiKey": key,
                "apiHost": api,
                "protocol": protocol,
                "unbundledIntegrations": [],
                "addBundledMetadata": True,
                "maybeBundledConfigIds": {},
                "versionSettings": {"version": "4.4.7", "componentTypes": ["browser"]},
            }
        },
        "plan": {
            "track": {"__default": {"enabled": True, "integrations": {}}},
            "identify": {"__default": {"enabled": True}},
            "group": {"__default": {"enabled": True}},
        },
        "edgeFunction": {},
        "analyticsNextEnabled": True,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0, "host": api, "protocol": protocol},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
        "autoInstrumentationSettings": {"sampleRate": 0, "disableTraffic": True},
    })  # fmt: skip


def _address(head: Head, client: ClientHead, scheme: str, *, trusted: bool) -> tuple[str, str]:
    """(host[:port], protocol) by which the page reaches us.

    A same-origin page is itself the witness, whatever a proxy made of Host. Otherwise a trusted proxy's word, then Host; a page
    reaches us by its own protocol, for a browser lets no secure page send to an insecure address.
    """
    origin = page_origin(head, client)
    page = _split(origin) if origin else None
    if page is not None and client.fetch_site == "same-origin":
        host = page.netloc
    else:
        host = (client.forwarded_host.partition(",")[0].strip() if trusted else "") or client.host
    forwarded = client.forwarded_proto.partition(",")[0].strip() if trusted else ""
    protocol = forwarded or (page.scheme if page is not None else "") or scheme
    if not _HOST.match(host) or protocol not in ("http", "https"):
        raise RequestError("the request names no host", code="host", hint="send a Host header")
    return host, protocol


def _split(origin: str) -> SplitResult | None:
    """A browser's own Origin in its parts; None for what no browser writes."""
    try:
        return urlsplit(origin)
    except ValueError:
        return None
