"""The demo shop: its page, and the front that a real site would have before the gateway.

`/e/…` on the shop's own origin goes to the gateway, with the visitor's place in the header that a CDN would set: the set-up the
README recommends. Only the demo lets a page choose where it comes from.
"""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from importlib.resources import files
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from ebbgate.demo.http import request

_PAGES: Final = {
    "/": ("shop.html", "text/html; charset=utf-8"),
    "/shop.css": ("shop.css", "text/css"),
    "/shop.js": ("shop.js", "text/javascript"),
}
_CSP: Final = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'"
_PASSED: Final = (
    "content-type",
    "origin",
    "sec-gpc",
    "user-agent",
    "accept-language",
    "accept-encoding",
    "if-none-match",
    "cookie",
)
_ANSWERED: Final = ("content-type", "content-encoding", "cache-control", "etag", "set-cookie")


class Shop:
    """ASGI app of the shop. `stories(after)` gives what the page lists beside the product."""

    def __init__(self, gateway: str, stories: Callable[[int], list[dict[str, Any]]]) -> None:
        self._gateway = gateway
        self._stories = stories

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request of the page."""
        path = scope["path"]
        if path in _PAGES:
            name, kind = _PAGES[path]
            await _answer(send, 200, kind, files("ebbgate.demo").joinpath("pages", name).read_bytes())
        elif path == "/stories":
            after = parse_qs(scope["query_string"].decode("latin-1")).get("after", ["0"])[0]
            await _answer(send, 200, "application/json", msgspec.json.encode(self._stories(int(after) if after.isdigit() else 0)))
        elif path.startswith("/e/"):
            await self._forward(scope, receive, send)
        else:
            await _answer(send, 404, "text/plain", b"nothing here\n")

    async def _forward(self, scope: Any, receive: Any, send: Any) -> None:
        given = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        headers = {name: given[name] for name in _PASSED if name in given} | {"X-Forwarded-For": scope["client"][0]}
        country, _, region = _place(given.get("cookie", "")).partition("-")
        if country:
            headers["CF-IPCountry"] = country
        if region:
            headers["cf-region-code"] = region
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        query = scope["query_string"].decode("latin-1")
        path = scope["path"] + (f"?{query}" if query else "")
        status, answered, content = await request(self._gateway, scope["method"], path, headers=headers, body=body)
        await _reply(send, status, {name: answered[name] for name in _ANSWERED if name in answered}, content)


def _place(cookies: str) -> str:
    """Where the visitor of the demo wants to come from: `US-CA`, from the page's own cookie."""
    try:
        found = SimpleCookie(cookies).get("demo_place")
    except CookieError:
        return ""
    return found.value if found and found.value.replace("-", "").isalpha() else ""


async def _answer(send: Any, status: int, kind: str, body: bytes) -> None:
    await _reply(send, status, {"content-type": kind, "content-security-policy": _CSP, "cache-control": "no-store"}, body)


async def _reply(send: Any, status: int, told: dict[str, str], body: bytes) -> None:
    headers = [(name.encode(), value.encode("latin-1")) for name, value in told.items()]
    headers += [(b"content-length", str(len(body)).encode()), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
