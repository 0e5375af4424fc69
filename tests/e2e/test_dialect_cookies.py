"""The first-party cookie on the dialects' routes: the promises of `edge/visitor_cookie.py`, for each dialect that browsers speak."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import pytest_asyncio

from ebbgate.demo.http import request
from tests.e2e.harness import ORIGIN, SERVER_KEY, Gateway, gateway, received

pytestmark = pytest.mark.asyncio(loop_scope="module")

SET = re.compile(r"ebb_id=(\d+\.\d{10}); Max-Age=(\d+); Path=/; HttpOnly; Secure; SameSite=Lax\Z")
REMOVED = "ebb_id=; Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Lax"
FOUR_HUNDRED_DAYS = 400 * 86_400


def banner(*categories: str) -> str:
    """The cookie of a consent banner (cookieconsent v3) whose visitor accepted these categories."""
    services: dict[str, list[str]] = {"necessary": [], "analytics": [], "marketing": []}
    return "cc_cookie=" + quote(json.dumps({"categories": ["necessary", *categories], "services": services}))


@dataclass(frozen=True)
class Said:
    """One request of a browser in one dialect."""

    target: str
    body: Any = b""
    cookie: str = ""
    method: str = "POST"


def hit(mode: str, **more: str) -> str:
    gcs, gcd = {"yes": ("G111", "13n3n3n3n5"), "no": ("G100", "13m3m3m3m5"), "?": ("G1--", "13l3l3l3l5")}[mode]
    return "/g/collect?" + urlencode({"v": "2", "tid": "G-1", "en": "page_view", "gcs": gcs, "gcd": gcd, **more})


def context(mode: str) -> dict[str, Any]:
    answers = {"analytics": mode == "yes", "marketing": mode == "yes"}
    return {} if mode == "?" else {"consent": {"categoryPreferences": answers}}


def rudder(mode: str) -> dict[str, Any]:
    ids = ["analytics", "marketing"]
    allowed, denied = (ids, []) if mode == "yes" else ([], ids)
    return {} if mode == "?" else {"consentManagement": {"allowedConsentIds": allowed, "deniedConsentIds": denied}}


def call(mode: str) -> dict[str, Any]:
    return {"type": "page", "userId": "u-1", "context": context(mode)}


def cookies(mode: str) -> str:
    return {"yes": banner("analytics"), "no": banner(), "?": ""}[mode]


def rudder_pixel(mode: str) -> str:
    return "/pixel/v1/page?" + urlencode({"writeKey": "w", "userId": "u", "context": json.dumps(rudder(mode))})


def said(dialect: str, mode: str) -> Said:
    """A request without any id of the browser; its visitor said yes, no, or nothing."""
    found = {
        "ga4 get": Said(hit(mode), method="GET"),
        "ga4 post": Said(hit(mode), b"en=page_view\r\nen=scroll"),
        "segment": Said("/v1/page", call(mode)),
        "analytics-next": Said("/v1/p", call(mode)),
        "segment batch": Said("/v1/batch", {"batch": [call("?"), call(mode)]}),
        "rudderstack beacon": Said("/beacon/v1/batch?writeKey=w", {"batch": [{**call("?"), "context": rudder(mode)}]}),
        "rudderstack pixel": Said(rudder_pixel(mode), method="GET"),
        "jitsu": Said("/api/s/page", call(mode)),
        "plausible": Said("/api/event", {"name": "pageview", "url": f"{ORIGIN}/"}, cookies(mode)),
        "pixel": Said("/p.gif?event=page_view", cookie=cookies(mode), method="GET"),
    }
    return found[dialect]


DIALECTS = [
    "ga4 get", "ga4 post", "segment", "analytics-next", "segment batch", "rudderstack beacon", "rudderstack pixel", "jitsu", "plausible",
    "pixel",
]  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def behind(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with gateway(tmp_path_factory.mktemp("cookies")) as running:
        yield running


async def send(behind: Gateway, one: Said, *, brought: str = "", **headers: str) -> str | None:
    """Send it as a browser of the site does; the Set-Cookie header of the answer."""
    given = {"CF-IPCountry": "DE", "Origin": ORIGIN, **{k.replace("_", "-"): v for k, v in headers.items()}}
    if cookie := "; ".join(part for part in (one.cookie, brought) if part):
        given["Cookie"] = cookie
    raw = one.body if isinstance(one.body, bytes) else json.dumps(one.body).encode()
    status, answered, _ = await request(behind.address, one.method, f"/e{one.target}", headers=given, body=raw)
    assert status in (200, 202, 204)
    return answered.get("set-cookie")


async def ids(behind: Gateway) -> list[str | None]:
    """Client ids of all that GA4 got."""
    await behind.drained()
    return [event["client_id"] for event in received(behind.sink)["ga4"]]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_only_a_grant_sets_it_and_a_refusal_removes_it(behind: Gateway, dialect: str) -> None:
    """Silence and refusal set nothing; a grant sets it with every attribute; brought back it is used, not set again; a no removes it."""
    assert await send(behind, said(dialect, "?")) is None
    assert await send(behind, said(dialect, "no")) is None
    given = await send(behind, said(dialect, "yes"))
    assert given is not None
    found = SET.match(given)
    assert found is not None, given
    assert 0 < int(found[2]) <= FOUR_HUNDRED_DAYS
    brought = f"ebb_id={found[1]}"
    assert await send(behind, said(dialect, "yes"), brought=brought) is None
    assert await send(behind, said(dialect, "?"), brought=brought) is None
    assert await send(behind, said(dialect, "no"), brought=brought) == REMOVED
    assert (await ids(behind)).count(found[1]) >= 2  # of the event that made it and of the one that brought it


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_stranger_of_another_form_brings_nothing(behind: Gateway, dialect: str) -> None:
    """A cookie of that name that is not ours is as if there were none: a grant makes a new one, the old text goes nowhere."""
    given = await send(behind, said(dialect, "yes"), brought="ebb_id=forged-4711")
    assert given is not None
    assert SET.match(given)
    assert "forged-4711" not in await ids(behind)


@pytest.mark.parametrize(
    "one",
    [
        Said(hit("yes", cid="1.2"), method="GET"),
        Said("/v1/page", {**call("yes"), "anonymousId": "a-1"}),
        Said("/api/s/page", {**call("yes"), "anonymousId": "a-1"}),
        Said("/p.gif?event=page_view", cookie=f"{banner('analytics')}; _ga=GA1.1.77.1763600000", method="GET"),
    ],
    ids=["gtag", "segment", "jitsu", "pixel with _ga"],
)
async def test_who_names_the_browser_gets_no_second_id(behind: Gateway, one: Said) -> None:
    """Clients that keep an id of their own get no cookie beside it."""
    assert await send(behind, one) is None


@pytest.mark.parametrize(
    "one",
    [
        Said(f"/mp/collect?measurement_id=G-1&api_secret={SERVER_KEY}", {"client_id": "1.2", "events": [{"name": "page_view"}]}),
        Said("/v1/page", call("yes")),
        Said("/api/s/s2s/page", call("yes")),
        Said("/ecapi/v1/events", {"event_type": "page_view", "id": "e-1", "timestamp": int(time.time())}),
    ],
    ids=["measurement protocol", "segment", "jitsu", "ecapi"],
)
async def test_servers_get_no_cookie(behind: Gateway, one: Said) -> None:
    """A server's answer never carries one, whatever the visitor that it speaks for allowed."""
    basic = "Basic " + base64.b64encode(f"{SERVER_KEY}:".encode()).decode()
    assert await send(behind, replace(one, cookie=banner("analytics")), Authorization=basic) is None


async def test_a_page_grants_for_its_browser_and_never_for_a_user_it_names(behind: Gateway) -> None:
    """Segment's consent event of a page is recorded for the browser's own id: a later event of the named user alone is not let out."""
    told = {
        "event": "Segment Consent Preference Updated",
        "userId": "victim",
        "anonymousId": "browser-1",
        "context": context("yes"),
    }
    assert await send(behind, Said("/v1/track", told)) is None
    for who, name in (("userId", "victim"), ("anonymousId", "browser-1")):
        order = {"order_id": f"V-{name}", "revenue": 1, "currency": "EUR", "email": f"{name}@example.com"}
        silent = {"type": "track", "event": "Order Completed", who: name, "messageId": f"of-{name}", "properties": order}
        await send(behind, Said("/v1/track", silent))
    await behind.drained()
    sent = {event["event_id"] for event in received(behind.sink)["meta"]}
    assert "of-browser-1" in sent
    assert "of-victim" not in sent
