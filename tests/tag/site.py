"""Websites before a real gateway: pages with the tag on them, `/e/…` passed on as a reverse proxy does, all of it written down.

Each visit of a test has a website of its own, on a host of its own (`v7.localhost`, which Chromium resolves to this machine and treats
as secure): cookies, storage and late requests of one test never reach another.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ebbgate.demo.http import request
from ebbgate.edge.serving import address, listen, served
from ebbgate.edge.tag import integrity
from tests.e2e.harness import Gateway, gateway

CSP: Final = "default-src 'none'; script-src 'self'; connect-src 'self'"
HOSTS: Final = 400  #: visits that one gateway knows the origins of
_PASSED: Final = (
    "content-type", "origin", "sec-gpc", "user-agent", "accept-language", "cookie", "accept-encoding", "if-none-match",
)  # fmt: skip
_RETURNED: Final = (
    "content-type", "set-cookie", "cache-control", "content-encoding", "etag", "access-control-allow-origin", "vary",
)  # fmt: skip


@dataclass
class Sent:
    """One request of a browser to the gateway."""

    method: str
    path: str
    cookie: str
    body: bytes
    beacon: bool
    status: int = 0

    def events(self) -> list[dict[str, Any]]:
        """Its native events."""
        if self.path != "/e/v1/events" or self.method != "POST":
            return []
        found: list[dict[str, Any]] = json.loads(self.body)["events"]
        return found


@dataclass
class Site:
    """The ASGI app of one website. Records every request to the gateway but the one for the tag itself."""

    gateway: str
    origin: str
    country: str = "DE"
    region: str = ""
    attributes: str = ""  #: of the tag's script element
    script: str = ""  #: of the page, after the stub
    body: str = "<p>shop</p>"
    answer: Callable[[Sent], int] = lambda _: 0  #: a status in the gateway's place
    answer_headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0  #: before an answer to events
    hanging: asyncio.Event = field(default_factory=asyncio.Event)  #: what `/hang` waits for
    sent: list[Sent] = field(default_factory=list)

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
        elif path == "/hang":
            await self.hanging.wait()
            await _answer(send, 200, "text/plain", b"")
        else:
            tag = f'<script async src="/e/t.js" integrity="{integrity()}" crossorigin="anonymous" {self.attributes}></script>'
            html = f'<!doctype html><html lang=en><title>Page {path}</title><script src="/site.js"></script>{tag}<body>{self.body}'
            await _answer(send, 200, "text/html; charset=utf-8", html.encode())

    async def _forward(self, scope: Any, body: bytes, send: Any) -> None:
        given = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        path = scope["path"]
        sent = Sent(scope["method"], path, given.get("cookie", ""), body, given.get("sec-fetch-mode") == "no-cors")
        if path != "/e/t.js":
            self.sent.append(sent)
            sent.status = self.answer(sent)
        if sent.status:
            await _reply(send, sent.status, {"content-type": "application/problem+json", **self.answer_headers}, b"{}")
            return
        headers = {name: given[name] for name in _PASSED if name in given}
        headers |= {"X-Forwarded-For": "203.0.113.7", "CF-IPCountry": self.country}
        if self.region:
            headers["cf-region-code"] = self.region
        query = scope["query_string"].decode()
        sent.status, answered, content = await request(
            self.gateway, scope["method"], path + (f"?{query}" if query else ""), headers=headers, body=body
        )
        if sent.events():
            await asyncio.sleep(self.delay_s)
        await _reply(send, sent.status, {k: answered[k] for k in _RETURNED if k in answered}, content)


@dataclass
class Hosts:
    """All websites of one server, told apart by their host."""

    port: int
    gateway: str = ""
    sites: dict[str, Site] = field(default_factory=dict)

    def new(self) -> Site:
        """A website that nobody has visited."""
        host = f"v{len(self.sites)}.localhost:{self.port}"
        self.sites[host] = Site(self.gateway, f"http://{host}")
        assert len(self.sites) <= HOSTS
        return self.sites[host]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        await self.sites[host](scope, receive, send)


async def _answer(send: Any, status: int, kind: str, body: bytes) -> None:
    await _reply(send, status, {"content-type": kind, "content-security-policy": CSP}, body)


async def _reply(send: Any, status: int, headers: dict[str, str], body: bytes) -> None:
    told = [(k.encode(), v.encode("latin-1")) for k, v in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": [*told, (b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def websites(folder: Path) -> AsyncIterator[tuple[Hosts, Gateway]]:
    """The websites and their gateway, all over real sockets."""
    sock = listen("127.0.0.1", 0, what="site")
    hosts = Hosts(int(address(sock).rpartition(":")[2]))
    origins = [f"http://v{n}.localhost:{hosts.port}" for n in range(HOSTS)]
    async with gateway(folder, **{"sites.shop": {"origins": origins}}) as behind, served(hosts, sock):
        hosts.gateway = behind.address
        yield hosts, behind
