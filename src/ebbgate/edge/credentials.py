"""Who vouches for a request in a dialect: a server key is the site's server, anything else is a browser of a known site.

The clients put keys where they always did: `Authorization: Bearer` or `Basic key:`, `X-Write-Key`, the query, the body. Where a
server key is found there, the site's server sends. A public write key proves nothing: the exact Origin stays a browser's evidence.
"""

from __future__ import annotations

import base64
import binascii
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from ebbgate.edge.head import Head
from ebbgate.edge.problems import Scope
from ebbgate.edge.sites import Sites
from ebbgate.errors import RequestError
from ebbgate.model import Trust

_MAX_KEY: Final = 512
#: Headers of the dialects' clients that travel on with the request.
_TRAVEL: Final = {b"anonymousid": "anonymousid", b"x-ip-policy": "x-ip-policy"}


class ClientHead:
    """What the dialects' clients say in the head beside what `Head` reads."""

    __slots__ = ("fetch_site", "forwarded_host", "forwarded_proto", "host", "kept", "write_key")

    def __init__(self, scope: Scope) -> None:
        self.write_key: str | None = None
        self.fetch_site = ""
        self.host = ""
        self.forwarded_host = ""
        self.forwarded_proto = ""
        kept: list[tuple[str, str]] = []
        for raw, value in scope["headers"]:
            if raw in _TRAVEL:
                kept.append((_TRAVEL[raw], value.decode("latin-1")))
            elif raw == b"x-write-key":
                self.write_key = value.decode("latin-1").strip()
            elif raw == b"sec-fetch-site":
                self.fetch_site = value.decode("latin-1").strip()
            elif raw == b"host":
                self.host = value.decode("latin-1").strip().lower()
            elif raw == b"x-forwarded-host":
                self.forwarded_host = value.decode("latin-1").strip().lower()
            elif raw == b"x-forwarded-proto":
                self.forwarded_proto = value.decode("latin-1").strip().lower()
        self.kept = tuple(kept)


def identify(sites: Sites, head: Head, client: ClientHead, inner_key: str | None) -> tuple[str, Trust]:
    """(site, trust). Raises RequestError 401 for a bad or missing key, 403 for a stranger's page.

    `inner_key` is the key of the query or the body; a key of the head counts before it.
    """
    key = _head_key(head, client) or inner_key
    if key is not None and len(key) > _MAX_KEY:
        raise _bad_key()
    server = sites.of_server_key(key) if key else None
    if server is not None:
        return server, Trust.SERVER
    keyed = sites.of_write_key(key) if key else None
    origin = page_origin(head, client)
    site = sites.of_origin(origin) or (_same_origin(sites, client) if origin is None else None)
    if site is None and origin is not None:
        raise _stranger()
    if site is None:
        if keyed is not None:
            return keyed, Trust.BROWSER
        if key:
            raise _bad_key()
        raise RequestError(
            "neither an Origin nor a key",
            status=HTTPStatus.UNAUTHORIZED,
            code="no_credentials",
            hint="servers send a server key where their client takes a write key; browsers send Origin by themselves",
        )
    if key and keyed != site and (keyed is not None or sites.has_write_keys(site)):
        raise _bad_key()
    return site, Trust.BROWSER


def page_origin(head: Head, client: ClientHead) -> str | None:
    """Origin of the page: the header, or the Referer's, for browsers send no Origin with images and same-origin GETs."""
    if head.origin is not None:
        return head.origin
    referer = head.header("referer")
    if not referer:
        return None
    try:
        parts = urlsplit(referer)
        host = parts.hostname
    except ValueError:
        return None
    if not host or parts.scheme not in ("http", "https"):
        return None
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"


def _same_origin(sites: Sites, client: ClientHead) -> str | None:
    """Site of the own host, for a page that hides its Referer: `Sec-Fetch-Site` is the browser's word, no script can write it."""
    if client.fetch_site != "same-origin":
        return None
    found = {sites.of_origin(f"{scheme}://{client.host}") for scheme in ("https", "http")} - {None}
    return found.pop() if len(found) == 1 else sites.only() if not found else None


def _head_key(head: Head, client: ClientHead) -> str | None:
    """The key of the head. Raises RequestError 401 for an `Authorization` that no client of these dialects sends."""
    if head.authorization is None:
        return client.write_key or None
    scheme, _, given = head.authorization.partition(" ")
    given = given.strip()
    if scheme.lower() == "bearer" and given:
        return given
    if scheme.lower() == "basic":
        try:
            user = base64.b64decode(given, validate=True).decode("utf-8").partition(":")[0]
        except (binascii.Error, ValueError):
            raise _bad_key() from None
        if user:
            return user
    raise _bad_key()


def refuse_strangers(sites: Sites, head: Head, client: ClientHead) -> None:
    """Refuse a stranger's page by its head alone, before its body is read. Raises RequestError 403."""
    keyed = head.authorization is not None or client.write_key is not None
    if not keyed and head.origin is not None and sites.of_origin(head.origin) is None:
        raise _stranger()


def _stranger() -> RequestError:
    return RequestError(
        "this origin is not one of a configured site",
        status=HTTPStatus.FORBIDDEN,
        code="unknown_origin",
        hint="add it to sites.<name>.origins, exactly as the browser sends it",
    )


def _bad_key() -> RequestError:
    return RequestError(
        "the key is not known",
        status=HTTPStatus.UNAUTHORIZED,
        code="bad_key",
        hint="see sites.<name>.server_keys and sites.<name>.write_keys",
    )


def travelling(client: ClientHead, head: Head, trust: Trust) -> tuple[tuple[str, str], ...]:
    """Headers that go on with the request: the kept ones, the clients' own, and a server's word about its visitor's address."""
    more: tuple[Any, ...] = client.kept
    if trust is Trust.SERVER and head.forwarded_for:
        more = (*more, ("x-forwarded-for", head.forwarded_for[0]))
    return (*head.headers, *more)
