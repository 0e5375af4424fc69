from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import ADMIN_TOKEN, BOTH, ORIGIN, WEBHOOK_SECRET, Gateway, gateway, received


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with gateway(tmp_path) as running:
        yield running


def purchase(number: str, consent: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    event = {
        "event": "purchase",
        "id": number,
        "page": {"url": f"https://shop.example/thanks?utm_source=mail&session={number}&fbclid=IwAR0x", "title": "Thanks"},
        "visitor": {"client_id": "123.456", "session_id": "789"},
        "user": {"email": " Ana@Example.com", "phone": "+49 30 901820", "first_name": "Ana"},
        "order": {
            "id": number,
            "value": 12.5,
            "currency": "EUR",
            "items": [{"id": "sku-1", "name": "Shoe", "price": 12.5, "quantity": 1}],
        },
        "properties": {"color": "red"},
    }
    return event | ({"consent": consent} if consent is not None else {}) | more


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def test_each_destination_gets_exactly_what_its_policy_lets_out(served: Gateway) -> None:
    """A granted purchase arrives everywhere with the allowed fields only, hashed where the policy says so."""
    assert await served.post(purchase("A-1", BOTH), headers={"User-Agent": "Firefox"}) == (
        202,
        {"accepted": 1, "events": [{"id": "A-1", "status": "accepted"}], "durability": "fsync"},
    )
    await served.drained()
    got = received(served.sink)
    (ga4,), (meta,), (hook,) = got["ga4"], got["meta"], got["webhook"]
    assert ga4["name"] == "purchase"
    assert ga4["client_id"] == "123.456"
    assert ga4["params"]["transaction_id"] == "A-1"
    assert ga4["params"]["page_location"] == "https://shop.example/thanks?utm_source=mail"
    assert "user_data" not in ga4
    assert meta["event_name"] == "Purchase"
    assert meta["event_id"] == "A-1"
    assert meta["user_data"]["em"] in (sha256("ana@example.com"), [sha256("ana@example.com")])
    assert meta["user_data"]["ph"] in (sha256("4930901820"), [sha256("4930901820")])
    assert "fn" not in meta["user_data"]
    assert meta["custom_data"]["value"] == 12.5
    assert set(hook["data"]) >= {"event", "order"}
    assert "user" not in hook["data"]
    every_byte = b"".join(r.body + r.query.encode() + r.path.encode() for r in served.sink.requests)
    for secret in (
        b"Ana@Example.com",
        b"ana@example.com",
        b"901820",
        b"session=",
        b"color",
        b"Firefox" if "client_user_agent" not in str(meta) else b"\0",
    ):
        assert secret not in every_byte


async def test_the_webhook_can_be_verified_by_its_receiver(served: Gateway) -> None:
    """The signature is Standard Webhooks' HMAC over id, time and body."""
    await served.post(purchase("A-1", BOTH))
    await served.drained()
    (hook,) = [r for r in served.sink.requests if r.path == "/hook"]
    signed = f"{hook.header('webhook-id')}.{hook.header('webhook-timestamp')}.".encode() + hook.body
    key = base64.b64decode(WEBHOOK_SECRET.removeprefix("whsec_"))
    assert hook.header("webhook-signature") == "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    assert hook.header("webhook-id") == "A-1"


#: (consent, country, region, who gets it in full)
WHO_GETS_IT: list[tuple[Any, str | None, str | None, set[str]]] = [
    (None, "DE", None, set()),
    ({}, "DE", None, set()),
    ({"purposes": {"analytics": "granted"}}, "DE", None, {"ga4"}),
    ({"purposes": {"analytics": "denied", "advertising": "granted"}}, "DE", None, {"meta"}),
    ({"tcf": "CPnonsense"}, "DE", None, set()),
    ({"purposes": {"analytics": "granted"}, "tcf": 5}, "DE", None, set()),
    (BOTH | {"gcs": "G100"}, "DE", None, set()),
    (BOTH, None, None, {"ga4", "meta"}),
    (None, None, None, set()),
    (None, "ZZ", None, set()),
    (None, "US", "CA", {"ga4", "meta"}),
    ({"us_privacy": "1YYN"}, "US", "CA", {"ga4"}),
    (None, "JP", None, set()),
]


async def test_only_an_explicit_grant_is_a_grant(served: Gateway) -> None:
    """What reaches whom, over the public route: missing, malformed or contradictory consent sends nothing that needs it."""
    for number, (consent, country, region, _) in enumerate(WHO_GETS_IT):
        assert (await served.post(purchase(f"N-{number}", consent), country=country, region=region))[0] == 202
    await served.drained()
    got = received(served.sink)
    reached: dict[str, set[str]] = {f"N-{number}": set() for number in range(len(WHO_GETS_IT))}
    for event in got["ga4"]:
        reached[event["params"]["transaction_id"]].add("ga4")
    for event in got["meta"]:
        if not event.get("data_processing_options"):  # the limited form is no full sending
            reached[event["event_id"]].add("meta")
    assert reached == {f"N-{number}": expected for number, (_, _, _, expected) in enumerate(WHO_GETS_IT)}


async def test_gpc_of_the_browser_is_an_opt_out(served: Gateway) -> None:
    """Sec-GPC in California: Meta gets the limited form with its flag and no identifiers, although the page says granted."""
    await served.post(purchase("A-1", BOTH), country="US", region="CA", headers={"Sec-GPC": "1", "User-Agent": "Firefox"})
    await served.drained()
    (meta,) = received(served.sink)["meta"]
    assert meta["data_processing_options"] == ["LDU"]
    assert not {"em", "ph", "fbc", "fbp"} & set(meta.get("user_data", {}))


async def test_the_same_order_counts_once_unless_the_server_confirms_it(served: Gateway) -> None:
    """A reload is a duplicate, under another event id too; a browser never suppresses the server, but the server the browser."""
    statuses = []
    for event, server in (
        (purchase("A-1", BOTH), False),
        (purchase("A-1", BOTH), False),
        (purchase("A-1", BOTH) | {"id": "other-id"}, False),
        (purchase("A-1", BOTH, place={"country": "DE"}), True),
        (purchase("A-1", BOTH, place={"country": "DE"}), True),
        (purchase("A-2", BOTH, place={"country": "DE"}), True),
        (purchase("A-2", BOTH), False),
    ):
        _, answer = await served.post(event, server=server)
        statuses.append(answer["events"][0]["status"])
    assert statuses == ["accepted", "duplicate", "duplicate", "accepted", "duplicate", "accepted", "duplicate"]
    await served.drained()
    assert sorted(e["event_id"] for e in received(served.sink)["meta"]) == ["A-1", "A-1", "A-2"]


async def test_a_servers_event_stands_where_the_server_says(served: Gateway) -> None:
    """A server's event stands where it says, not where its request comes from; without a place the strictest policy governs."""
    for number, place in (("A-1", {"country": "US", "region": "US-CA"}), ("A-2", None)):
        event = purchase(number) | ({"place": place} if place else {})
        assert (await served.post(event, server=True, country="US", region="CA"))[0] == 202
    await served.drained()
    assert [e["event_id"] for e in received(served.sink)["meta"]] == ["A-1"]


async def test_a_batch_is_answered_one_by_one(served: Gateway) -> None:
    """Good, duplicate and invalid events of one request each have their own status, in order."""
    status, answer = await served.post({"events": [purchase("A-1", BOTH), {"event": "Nope"}, purchase("A-1", BOTH)]})
    assert (status, answer["accepted"]) == (202, 1)
    assert [e["status"] for e in answer["events"]] == ["accepted", "invalid", "duplicate"]
    assert answer["events"][1]["error"]["code"] == "event_name_unknown"


async def test_browsers_may_read_answers_only_from_configured_pages(served: Gateway) -> None:
    """CORS names the exact origin, on answers and refusals alike, and says nothing to strangers."""
    from ebbgate.demo.http import request

    async def ask(method: str, origin: str, body: bytes = b"") -> tuple[int, dict[str, str]]:
        headers = {"Origin": origin, "Content-Type": "application/json", "Access-Control-Request-Method": "POST"}
        status, answered, _ = await request(served.address, method, "/e/v1/events", headers=headers, body=body)
        return status, answered

    for method, body, expected in (("OPTIONS", b"", 204), ("POST", b"{", 400), ("GET", b"", 405)):
        status, answered = await ask(method, ORIGIN, body)
        assert status == expected
        assert answered["access-control-allow-origin"] == ORIGIN
        assert answered["vary"] == "Origin"
    status, answered = await ask("OPTIONS", "https://evil.example")
    assert "access-control-allow-origin" not in answered
    status, answered = await ask("POST", "https://evil.example", b"{}")
    assert status == 403
    assert "access-control-allow-origin" not in answered


async def test_health_is_open_and_everything_else_of_the_admin_host_is_shut(served: Gateway) -> None:
    """Health and readiness answer anyone; metrics and queues want the token; the public host knows neither."""
    assert (await served.get("/healthz"))[0] == (await served.get("/readyz"))[0] == 200
    assert (await served.get("/healthz", admin=True))[0] == (await served.get("/readyz", admin=True))[0] == 200
    for path in ("/metrics", "/api/v1/queues"):
        assert (await served.get(path))[0] == 404
        assert (await served.get(path, admin=True))[0] == 401
        assert (await served.get(path, admin=True, token="wrong"))[0] == 401
        assert (await served.get(path, admin=True, token=ADMIN_TOKEN))[0] == 200
    await served.post(purchase("A-1", BOTH))
    await served.drained()
    _, _, metrics = await served.get("/metrics", admin=True, token=ADMIN_TOKEN)
    assert b'ebbgate_events_total{status="accepted"} 1.0' in metrics
    assert b'ebbgate_decisions_total{destination="meta",verdict="send"} 1.0' in metrics


async def test_sigterm_finishes_and_exits_clean(served: Gateway) -> None:
    """SIGTERM answers what is under way, closes the store and exits with 0; what was queued is there after a restart."""
    await served.post(purchase("A-1", BOTH))
    assert await served.stop() == 0
    await served.start()
    await served.drained()
    assert [e["event_id"] for e in received(served.sink)["meta"]] == ["A-1"]
