"""Choices over time through the real gateway: consent route, parked events, status, restart."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ebbgate.demo.http import request
from ebbgate.policy.templates import templates
from tests.e2e.harness import BOTH, ORIGIN, SERVER_KEY, Gateway, gateway, received

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEITHER = {"purposes": {"analytics": "denied", "advertising": "denied"}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    folder = tmp_path_factory.mktemp("choices")
    async with gateway(folder, server={"gpc_well_known": "2026-11-21"}, holds={"max_per_visitor": 2}) as running:
        hold(folder)
        await running.stop()
        await running.start()
        yield running


def hold(folder: Path) -> None:
    """European visitors of this gateway are asked: their events wait until they have decided."""
    text = templates()["eu.yaml"].replace("if_missing: refused", "if_missing: hold\n  hold_for: 10 minutes")
    (folder / "policies" / "eu.yaml").write_text(text, encoding="utf-8")


async def choose(
    served: Gateway,
    body: Any,
    *,
    query: str = "",
    server: bool = False,
    headers: dict[str, str] | None = None,
    method: str = "POST",
    country: str = "DE",
) -> tuple[int, dict[str, str], Any]:
    """(status, headers, answer) of the consent route."""
    sent = {"Content-Type": "application/json", "CF-IPCountry": country}
    sent |= {"Authorization": f"Bearer {SERVER_KEY}"} if server else {"Origin": ORIGIN}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, answered, answer = await request(
        served.address, method, f"/e/consent{query}", headers={**sent, **(headers or {})}, body=raw
    )
    return status, answered, json.loads(answer) if answer else None


def of(client: str, consent: Any) -> dict[str, Any]:
    return {"visitor": {"client_id": client}, "consent": consent}


def view(client: str, number: int, consent: Any = None) -> dict[str, Any]:
    return {"event": "page_view", "id": f"{client}-{number}", "visitor": {"client_id": client}} | (
        {"consent": consent} if consent else {}
    )


def arrived(served: Gateway, client: str) -> list[Any]:
    """What GA4 got of one browser."""
    return [e for e in received(served.sink)["ga4"] if e["client_id"] == client]


async def test_an_event_waits_for_its_visitor(served: Gateway) -> None:
    """Parked before the decision, sent once after the grant, with the time at which it happened."""
    happened_s = int(time.time()) - 60
    person = {"user": {"email": "ana@example.com"}, "page": {"url": "https://shop.example/"}}
    happened = view("1.1", 1) | person | {"time": happened_s * 1000}
    assert (await served.post(happened, headers={"User-Agent": "Firefox"}))[0] == 202
    await served.drained()
    assert arrived(served, "1.1") == []
    status, headers, answer = await choose(served, of("1.1", BOTH))
    assert (status, answer) == (202, {"recorded": BOTH["purposes"], "durability": "fsync", "drained": False})
    assert headers["access-control-allow-origin"] == ORIGIN
    await served.drained()
    assert len(arrived(served, "1.1")) == 1
    assert [e["event_time"] for e in received(served.sink)["meta"] if e["event_id"] == "1.1-1"] == [happened_s]


async def test_a_refusal_shreds_what_waits(served: Gateway) -> None:
    """Neither sent nor kept: the queue holds nothing of it, and later events are refused whatever they say themselves."""
    await served.post(view("2.1", 1))
    assert await held(served) >= 1
    before = await held(served)
    await choose(served, of("2.1", NEITHER))
    assert await held(served) < before
    await served.post(view("2.1", 2, BOTH))
    await served.drained()
    assert arrived(served, "2.1") == []


async def held(served: Gateway) -> int:
    return sum(int(q["held"]) for q in await served.queues())


async def test_the_bound_of_one_visitor(served: Gateway) -> None:
    """The event over `holds.max_per_visitor` is accepted and withheld; a grant sends the others and not that one."""
    for number in range(4):
        assert (await served.post(view("3.1", number)))[0] == 202
    await choose(served, of("3.1", BOTH))
    await served.drained()
    assert len(arrived(served, "3.1")) == 2


async def test_a_withdrawal_that_waits(served: Gateway) -> None:
    """`?wait=drained` answers 200 when nothing gated before it is in flight; after that nothing arrives."""
    for number in range(10):
        await served.post(view("4.1", number, BOTH))
    status, _, answer = await choose(served, of("4.1", NEITHER), query="?wait=drained")
    assert (status, answer["drained"]) == (200, True)
    count = len(arrived(served, "4.1"))
    await served.post(view("4.1", 10, BOTH))
    await served.drained()
    assert len(arrived(served, "4.1")) == count


async def test_the_site_s_server_speaks_for_a_user(served: Gateway) -> None:
    """With its key it grants for a signed-in user; a page cannot, but may refuse."""
    user = {"user": {"id": "u-1"}}
    status, _, answer = await choose(served, user | {"consent": {"purposes": {"advertising": "granted"}}})
    assert (status, answer["code"]) == (422, "grant_needs_server")
    assert (await choose(served, user | {"consent": BOTH}, server=True))[0] == 202
    await served.post(view("5.1", 1) | user)
    await served.drained()
    assert len(arrived(served, "5.1")) == 1
    assert (await choose(served, user | {"consent": NEITHER}))[0] == 202
    await served.post(view("5.1", 2, BOTH) | user)
    await served.drained()
    assert len(arrived(served, "5.1")) == 1


async def test_a_browser_known_by_its_cookie_only(served: Gateway) -> None:
    """The event and the choice carry nothing but `_ga`: the same visitor."""
    cookie = {"Cookie": "session=secret; _ga=GA1.1.77.88"}
    await served.post({"event": "page_view", "id": "cookie-1"}, headers=cookie)
    status, _, _ = await choose(served, {"consent": BOTH}, headers=cookie)
    assert status == 202
    await served.drained()
    assert len(arrived(served, "77.88")) == 1


@pytest.mark.parametrize(
    ("body", "headers", "query", "method", "status", "code"),
    [
        (b"{", {}, "", "POST", 400, "json_malformed"),
        (of("6.1", NEITHER), {"Origin": "https://evil.example"}, "", "POST", 403, "unknown_origin"),
        (of("6.1", NEITHER), {"Authorization": "Bearer wrong-key-wrong-key"}, "", "POST", 401, "bad_key"),
        (of("6.1", NEITHER), {"Content-Type": "text/html"}, "", "POST", 415, "content_type"),
        (b'{"a":"' + b"x" * 70_000 + b'"}', {}, "", "POST", 413, "too_big"),
        ({"consent": NEITHER}, {}, "", "POST", 422, "no_subject"),
        (of("6.1", {}), {}, "", "POST", 422, "no_choice"),
        (of("6.1", {"tcf": "CPcut"}), {}, "", "POST", 422, "consent_unreadable"),
        (of("6.1", {"purposs": {}}), {}, "", "POST", 422, "consent_unknown_key"),
        (of("6.1", NEITHER) | {"event": "x"}, {}, "", "POST", 422, "choice_unknown_key"),
        (of("6.1", NEITHER), {}, "?wait=long", "POST", 400, "wait"),
        (b"", {}, "", "GET", 405, "method"),
    ],
)
async def test_refusals(
    served: Gateway, body: Any, headers: dict[str, str], query: str, method: str, status: int, code: str
) -> None:
    """Each with its status and code as problem JSON; nothing is stored."""
    before = served.stored_bytes()
    got, answered, answer = await choose(served, body, query=query, headers=headers, method=method)
    assert (got, answer["code"]) == (status, code)
    assert answered["content-type"] == "application/problem+json"
    assert answer["hint"]
    assert served.stored_bytes() == before


async def test_preflight(served: Gateway) -> None:
    """A configured page may post from the browser, a stranger's may not."""
    for origin, allowed in ((ORIGIN, True), ("https://evil.example", False)):
        status, answered, _ = await choose(served, b"", method="OPTIONS", headers={"Origin": origin})
        assert status == 204
        assert ("access-control-allow-origin" in answered) is allowed


@pytest.mark.parametrize(
    ("place", "gpc", "honoured", "advertising"),
    [
        ({"CF-IPCountry": "US", "cf-region-code": "CA"}, True, True, "denied"),
        ({"CF-IPCountry": "US", "cf-region-code": "CA"}, False, False, "granted"),
        ({"CF-IPCountry": "DE"}, True, True, "denied"),
        ({"CF-IPCountry": "DE"}, False, False, "unknown"),
        ({}, True, True, "denied"),
        ({}, False, False, "unknown"),
    ],
)
async def test_status_confirms_the_signal(
    served: Gateway, place: dict[str, str], gpc: bool, honoured: bool, advertising: str
) -> None:
    """California, Europe, an unknown place: the signal is confirmed where it came, and the state of each purpose told."""
    headers = {"Origin": ORIGIN, **place} | ({"Sec-GPC": "1"} if gpc else {})
    status, answered, body = await request(served.address, "GET", "/e/status", headers=headers)
    answer = json.loads(body)
    assert status == 200
    assert answered["cache-control"] == "no-store"
    assert answered["access-control-allow-origin"] == ORIGIN
    assert (answer["gpc"], answer["opt_out_honored"], answer["purposes"]["advertising"]) == (gpc, honoured, advertising)
    assert answer["text"]


async def test_the_well_known_document(served: Gateway) -> None:
    """/.well-known/gpc.json with the configured date."""
    status, headers, body = await served.get("/.well-known/gpc.json")
    assert (status, json.loads(body)) == (200, {"gpc": True, "lastUpdate": "2026-11-21"})
    assert headers["content-type"] == "application/json"


async def test_choices_and_parked_events_outlive_the_process(served: Gateway) -> None:
    """After a kill: a withdrawal still counts, and what was parked is released by the grant that comes then."""
    await choose(served, of("7.1", NEITHER))
    await served.post(view("8.1", 1))
    await served.stop(signal.SIGKILL)
    await served.start()
    await served.post(view("7.1", 1, BOTH))
    await choose(served, of("8.1", BOTH))
    await served.drained()
    assert arrived(served, "7.1") == []
    assert len(arrived(served, "8.1")) == 1
