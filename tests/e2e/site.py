"""A website in front of a real gateway, on one origin: its pages, what its visitors' browsers sent, and a real Chromium to visit it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ebbgate.demo.http import request
from ebbgate.edge.serving import address, listen, served
from ebbgate.edge.tag import integrity
from tests.e2e.harness import Gateway, gateway

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
CSP = "default-src 'none'; script-src 'self'; connect-src 'self'"
_PASSED = ("content-type", "origin", "sec-gpc", "user-agent", "accept-language", "cookie", "accept-encoding", "if-none-match")


def chromium_or_skip() -> Any:
    """Playwright's entry point; where it or Chromium is missing the test is skipped, or fails under EBBGATE_TEST_REQUIRE=1."""
    with suppress(ImportError):
        from playwright.async_api import async_playwright

        if shutil.which(CHROMIUM):
            return async_playwright
    why = f"needs playwright and {CHROMIUM}"
    if os.environ.get("EBBGATE_TEST_REQUIRE") == "1":
        pytest.fail(why)
    pytest.skip(why)


@dataclass
class Sent:
    """One request of a browser to the gateway."""

    method: str
    path: str
    cookie: str
    body: bytes
    status: int = 0

    def events(self) -> list[dict[str, Any]]:
        """Its native events."""
        if self.path != "/e/v1/events" or self.method != "POST":
            return []
        found: list[dict[str, Any]] = json.loads(self.body)["events"]
        return found


@dataclass
class Site:
    """The ASGI app: pages by path, `/e/…` to the gateway as a reverse proxy does. Records everything but the tag itself."""

    gateway: str = ""
    origin: str = ""
    country: str = "DE"
    attributes: str = ""  #: of the tag's script element
    script: str = ""  #: of the page, after the stub
    body: str = "<p>shop</p>"
    answer: Callable[[Sent], int] = lambda _: 0  #: a status in the gateway's place
    delay_s: float = 0  #: before an answer to events
    sent: list[Sent] = field(default_factory=list)

    def reset(self) -> None:
        """As new for the next test."""
        self.attributes = self.script = ""
        self.delay_s = 0
        self.body, self.country, self.answer = "<p>shop</p>", "DE", lambda _: 0
        self.sent.clear()

    def events(self) -> list[dict[str, Any]]:
        """All events that the gateway took."""
        return [event for one in self.sent if one.status == 202 for event in one.events()]

    def choices(self) -> list[dict[str, Any]]:
        """Bodies of the choices that the gateway took."""
        return [json.loads(one.body) for one in self.sent if one.path == "/e/consent" and one.status == 202]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        path = scope["path"]
        body = b""
        while (message := await receive()).get("more_body", False):
            body += message.get("body", b"")
        body += message.get("body", b"")
        if path.startswith("/e/"):
            await self._forward(scope, body, send)
        elif path == "/site.js":
            stub = "window.ebb=window.ebb||function(){(ebb.q=ebb.q||[]).push(arguments)};"
            await _answer(send, 200, "text/javascript", (stub + self.script).encode())
        elif path == "/favicon.ico":
            await _answer(send, 204, "image/x-icon", b"")
        else:
            tag = f'<script async src="/e/t.js" integrity="{integrity()}" crossorigin="anonymous" {self.attributes}></script>'
            html = f'<!doctype html><html lang=en><title>Page {path}</title><script src="/site.js"></script>{tag}<body>{self.body}'
            await _answer(send, 200, "text/html; charset=utf-8", html.encode())

    async def _forward(self, scope: Any, body: bytes, send: Any) -> None:
        given = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        path = scope["path"]
        sent = Sent(scope["method"], path, given.get("cookie", ""), body)
        if path != "/e/t.js":
            self.sent.append(sent)
            sent.status = self.answer(sent)
        if sent.status:
            await _answer(send, sent.status, "application/problem+json", b"{}")
            return
        headers = {name: given[name] for name in _PASSED if name in given}
        headers |= {"X-Forwarded-For": "203.0.113.7", "CF-IPCountry": self.country}
        query = scope["query_string"].decode()
        sent.status, answered, content = await request(
            self.gateway, scope["method"], path + (f"?{query}" if query else ""), headers=headers, body=body
        )
        if sent.events():
            await asyncio.sleep(self.delay_s)
        kept = ("content-type", "set-cookie", "cache-control", "content-encoding", "etag", "access-control-allow-origin", "vary")
        await _reply(send, sent.status, {k: answered[k] for k in kept if k in answered}, content)


async def _answer(send: Any, status: int, kind: str, body: bytes) -> None:
    await _reply(send, status, {"content-type": kind, "content-security-policy": CSP}, body)


async def _reply(send: Any, status: int, headers: dict[str, str], body: bytes) -> None:
    told = [(k.encode(), v.encode("latin-1")) for k, v in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": [*told, (b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def website(folder: Path) -> AsyncIterator[tuple[Site, Gateway]]:
    """A site and its gateway, both over real sockets."""
    site = Site()
    sock = listen("127.0.0.1", 0, what="site")
    site.origin = f"http://{address(sock)}"
    async with gateway(folder, **{"sites.shop": {"origins": [site.origin]}}) as behind, served(site, sock):
        site.gateway = behind.address
        yield site, behind
