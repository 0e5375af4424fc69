from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from ebbgate.demo.http import request
from tests.e2e.harness import ADMIN_TOKEN, ORIGIN, SERVER_KEY, Gateway, gateway, received

pytestmark = pytest.mark.asyncio(loop_scope="module")

HIT = {"v": "2", "tid": "G-1", "cid": "1.2", "sid": "17", "_p": "99", "gcs": "G111", "gcd": "13n3n3n3n5l1"}
GRANTED = {"consent": {"categoryPreferences": {"analytics": True, "marketing": True}}}
BASIC = "Basic " + base64.b64encode(f"{SERVER_KEY}:".encode()).decode()
STRICT, STRICT_KEY = "https://strict.example", "write-key-of-strict"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    strict = {"origins": [STRICT], "write_keys": [STRICT_KEY]}
    async with gateway(tmp_path_factory.mktemp("dialects"), **{"sites.strict": strict}) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def quiet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """A gateway to which nothing good is sent: any event that it counts as stored is a bad one."""
    async with gateway(
        tmp_path_factory.mktemp("quiet"), **{"sites.strict": {"origins": [STRICT], "write_keys": [STRICT_KEY]}}
    ) as running:
        yield running


async def send(
    served: Gateway, target: str, body: Any = b"", *, method: str = "POST", origin: str | None = ORIGIN, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    given = {"CF-IPCountry": "DE", **({"Origin": origin} if origin else {}), **{k.replace("_", "-"): v for k, v in headers.items()}}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await request(served.address, method, f"/e{target}", headers=given, body=raw)


def hit(**parameters: str) -> str:
    return "/g/collect?" + urlencode({**HIT, **parameters})


ANSWERS: list[tuple[str, str, Any, int, bytes, str]] = [
    ("GET", hit(_s="1", en="page_view"), b"", 204, b"", ""),
    ("POST", hit(_s="2"), b"en=scroll\r\nen=click", 204, b"", ""),
    ("POST", "/mp/collect?measurement_id=G-1", {"client_id": "1.2", "events": [{"name": "page_view"}]}, 204, b"", ""),
    *[
        ("POST", f"/v1/{call}", {"event": "E", "userId": "u", "groupId": "g", "previousId": "p"}, 200, b'{"success":true}', "json")
        for call in ("track", "page", "screen", "identify", "group", "alias", "t", "p", "s", "i", "g", "a")
    ],
    *[
        ("POST", path, {"batch": [{"type": "page", "anonymousId": "a"}]}, 200, b'{"success":true}', "json")
        for path in ("/v1/batch", "/v1/import", "/v1/b", "/beacon/v1/batch?writeKey=w")
    ],
    ("POST", "/v1/m", {"series": []}, 200, b'{"success":true}', "json"),
    ("GET", "/pixel/v1/page?writeKey=w&anonymousId=a", b"", 200, b"GIF89a", "image/gif"),
    ("POST", "/api/s/page", {"type": "page", "anonymousId": "a"}, 200, b'{"success":true}', "json"),
    ("POST", "/api/event", {"name": "pageview", "url": "https://shop.example/"}, 202, b"ok", "text/plain"),
    ("GET", "/p.gif?event=page_view", b"", 200, b"GIF89a", "image/gif"),
]


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "said", "kind"), ANSWERS, ids=[a[1].partition("?")[0] for a in ANSWERS]
)
async def test_each_route_answers_as_its_clients_expect(
    served: Gateway, method: str, target: str, body: Any, status: int, said: bytes, kind: str
) -> None:
    """Status, body and type are the dialect's own; a page of the site may read the answer, a stranger's may not send."""
    got, headers, content = await send(served, target, body, method=method)
    assert (got, content[: len(said)] if said else content) == (status, said)
    assert kind in headers.get("content-type", "")
    assert headers["access-control-allow-origin"] == ORIGIN
    got, headers, _ = await send(served, target, body, method=method, origin="https://evil.example")
    assert got in (403, 200 if target == "/v1/m" else 403)  # the clients' own metrics are dropped from anyone
    assert "access-control-allow-origin" not in headers


async def test_answers_do_not_depend_on_decisions(served: Gateway) -> None:
    """Who refused everything gets the same bytes as who granted everything."""
    for granted, refused in (
        (hit(_s="11", en="purchase", _et="1"), hit(_s="12", en="purchase", gcs="G100", gcd="13m3m3m3m5l1")),
        ("/p.gif?event=purchase&order.id=p1", "/p.gif?event=purchase&order.id=p2&gdpr=1&us_privacy=1YYN"),
    ):
        first, second = await send(served, granted, method="GET"), await send(served, refused, method="GET")
        assert first == second


@pytest.mark.parametrize("order", ["browser_first", "server_first"])
async def test_a_purchase_of_browser_and_server_counts_once(tmp_path: Path, order: str) -> None:
    """One order told by gtag and by the shop's Segment client, in both orders: one conversion at sinks that deduplicate."""
    async with gateway(tmp_path) as served:
        browser = hit(
            _s="3",
            en="purchase",
            **{"ep.transaction_id": "T-1", "ep.event_id": "evt-1", "epn.value": "12", "cu": "EUR"},
            **{"ep.user_data.email_address": "ana@example.com"},
        )
        call = {
            "event": "Order Completed",
            "messageId": "node-1",
            "anonymousId": "1.2",
            "context": GRANTED,
            "properties": {"order_id": "T-1", "event_id": "evt-1", "revenue": 12, "currency": "EUR", "email": "ana@example.com"},
        }
        sends = [(browser, b"", {}), ("/v1/track", call, {"Authorization": BASIC, "origin": None})]
        for target, body, more in sends if order == "browser_first" else reversed(sends):
            assert (await send(served, target, body, **more))[0] in (200, 204)  # type: ignore[arg-type]  # headers and origin alike
            await served.drained()
        purchases = [e for e in received(served.sink)["meta"] if e["event_name"] == "Purchase"]
        assert {(e["event_name"], e["event_id"]) for e in purchases} == {("Purchase", "evt-1")}
        assert len(purchases) == (2 if order == "browser_first" else 1)


async def test_a_forged_order_never_suppresses_the_servers(served: Gateway) -> None:
    """A stranger who guesses order numbers in any dialect does not keep the shop's own report from being sent."""
    await send(served, hit(_s="9", en="purchase", **{"ep.transaction_id": "T-77", "epn.value": "1", "cu": "EUR"}))
    await send(served, "/v1/track", {"event": "Order Completed", "anonymousId": "x", "properties": {"order_id": "T-77"}})
    await send(served, "/p.gif?event=purchase&order.id=T-77&order.value=1&order.currency=EUR", method="GET")
    call = {
        "event": "Order Completed",
        "userId": "u77",
        "messageId": "true-77",
        "context": GRANTED,
        "properties": {"order_id": "T-77", "revenue": 99, "currency": "EUR", "email": "ana@example.com"},
    }
    assert (await send(served, "/v1/track", call, origin=None, Authorization=BASIC))[0] == 200
    await served.drained()
    assert "true-77" in [e["event_id"] for e in received(served.sink)["meta"]]


async def test_the_same_hit_twice_is_a_duplicate(served: Gateway) -> None:
    """A hit that a browser repeats is sent on once; the next of the same page is another event."""
    for _ in range(3):
        await send(served, hit(_s="21", en="view_item", **{"ep.mark": "repeated"}))
    await send(served, hit(_s="22", en="view_item", **{"ep.mark": "repeated"}))
    await served.drained()
    assert len([e for e in received(served.sink)["ga4"] if e["name"] == "view_item"]) == 2


async def test_a_told_choice_holds_for_later_events(served: Gateway) -> None:
    """`Segment Consent Preference Updated` is recorded: a later grant on an event does not undo the refusal that was told."""
    refused = {"consent": {"categoryPreferences": {"marketing": False, "analytics": False}}}
    told = {"event": "Segment Consent Preference Updated", "anonymousId": "chooser", "context": refused}
    order = {
        "event": "Order Completed",
        "anonymousId": "chooser",
        "messageId": "after-choice",
        "context": GRANTED,
        "properties": {"order_id": "C-1", "revenue": 5, "currency": "EUR", "email": "c@example.com"},
    }
    assert (await send(served, "/v1/t", told))[0] == 200
    assert (await send(served, "/v1/t", order))[0] == 200
    other = {**order, "anonymousId": "other", "messageId": "of-another", "properties": {**order["properties"], "order_id": "C-2"}}  # type: ignore[dict-item]  # an object
    assert (await send(served, "/v1/t", other))[0] == 200
    await served.drained()
    ids = [e["event_id"] for e in received(served.sink)["meta"]]
    assert "after-choice" not in ids
    assert "of-another" in ids


REFUSED: list[tuple[str, str, Any, dict[str, Any], int, str]] = [
    ("wrong basic key", "/v1/track", {"event": "E"}, {"origin": None, "Authorization": "Basic d3Jvbmc6"}, 401, "bad_key"),
    ("broken basic", "/v1/track", {"event": "E"}, {"origin": None, "Authorization": "Basic %%%"}, 401, "bad_key"),
    ("no key, no origin", "/v1/track", {"event": "E"}, {"origin": None}, 401, "no_credentials"),
    ("wrong api_secret", "/mp/collect?api_secret=no", {"events": [{"name": "x"}]}, {"origin": None}, 401, "bad_key"),
    ("null origin", "/v1/track", {"event": "E"}, {"origin": "null"}, 403, "unknown_origin"),
    ("write key of another site", "/v1/track", {"event": "E", "writeKey": STRICT_KEY}, {}, 401, "bad_key"),
    ("wrong write key", "/v1/track", {"event": "E", "writeKey": "x"}, {"origin": STRICT}, 401, "bad_key"),
    (
        "a stranger's page with a write key",
        "/v1/track",
        {"event": "E", "writeKey": STRICT_KEY},
        {"origin": "https://evil.example"},
        403,
        "unknown_origin",
    ),
    (
        "a stranger's image",
        "/p.gif?event=page_view",
        b"",
        {"origin": None, "Referer": "https://evil.example/x", "method": "GET"},
        403,
        "unknown_origin",
    ),
    (
        "an image without a page",
        "/p.gif?event=page_view",
        b"",
        {"origin": None, "Sec_Fetch_Site": "cross-site", "method": "GET"},
        401,
        "no_credentials",
    ),
    ("browser at ECAPI", "/ecapi/v1/events", {"event_type": "purchase"}, {}, 401, "server_key"),
    ("bad gzip", "/v1/batch", b"\x1f\x8bnope", {"Content_Encoding": "gzip"}, 400, "gzip_broken"),
    ("gzip bomb", "/v1/batch", gzip.compress(b" " * 5_000_000), {"Content_Encoding": "gzip"}, 413, "too_big"),
    ("gzip where nobody sends it", "/g/collect", gzip.compress(b"en=x"), {"Content_Encoding": "gzip"}, 415, "content_encoding"),
    ("wrong type", "/v1/track", b"<a/>", {"Content_Type": "text/xml"}, 415, "content_type"),
    ("wrong method", "/v1/track", b"", {"method": "GET"}, 405, "method"),
    ("duplicate key", "/v1/track", b'{"event":"a","event":"b"}', {}, 400, "json_duplicate_key"),
    ("depth bomb", "/api/event", b"[" * 50_000, {}, 400, "json_too_deep"),
    ("too many lines", "/g/collect?v=2", b"en=a\n" * 101, {}, 413, "too_many_events"),
    ("too many calls", "/v1/batch", {"batch": [{}] * 501}, {}, 413, "too_many_events"),
    (
        "too many choices",
        "/v1/batch",
        {
            "batch": [
                {"type": "track", "event": "Segment Consent Preference Updated", "userId": str(n), "context": GRANTED}
                for n in range(21)
            ]
        },
        {},
        413,
        "too_many_choices",
    ),
    ("no call", "/v1/track", {"properties": {}}, {}, 400, "event_name_missing"),
    ("no event", "/g/collect?v=2", b"", {}, 422, "event_name_missing"),
    ("unknown path", "/v1/dance", {}, {}, 404, "not_found"),
    ("unknown project", "/v1/projects/a b/settings".replace(" ", "%20"), b"", {"method": "GET"}, 404, "not_found"),
]


@pytest.mark.parametrize(("target", "body", "more", "status", "code"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
async def test_bad_requests_get_a_clear_error_and_store_nothing(
    quiet: Gateway, target: str, body: Any, more: dict[str, Any], status: int, code: str
) -> None:
    """Each has its status and code as problem JSON with a hint; no event of it is stored."""
    got, headers, answer = await send(quiet, target, body, **more)
    problem = json.loads(answer)
    assert (got, problem["code"]) == (status, code)
    assert headers["content-type"] == "application/problem+json"
    assert problem["hint"]
    _, _, metrics = await quiet.get("/metrics", admin=True, token=ADMIN_TOKEN)
    assert not re.search(rb'ebbgate_events_total\{status="(accepted|duplicate)"\}', metrics)


async def test_write_keys_open_browsers_only(served: Gateway) -> None:
    """A listed write key lets a browser or app in, with or without Origin; it never speaks as the site's server."""
    call = {
        "event": "Order Completed",
        "anonymousId": "a",
        "messageId": "wk-1",
        "context": {"ip": "8.8.8.8"},
        "writeKey": STRICT_KEY,
    }
    assert (await send(served, "/v1/t", call, origin=STRICT))[0] == 200
    assert (await send(served, "/v1/t", call, origin=None))[0] == 200
    assert (await send(served, "/ecapi/v1/events", {"event_type": "purchase"}, origin=None, X_Write_Key=STRICT_KEY))[0] == 401
    image = f"/p.gif?event=page_view&writeKey={STRICT_KEY}"
    assert (await send(served, image, method="GET", origin=None))[0] == 200


async def test_partly_wrong_batches_say_which(served: Gateway) -> None:
    """Good calls are taken, the others are named by index and code, without a value of theirs."""
    calls = [
        {"type": "track", "event": "Fine", "anonymousId": "a"},
        {"type": "track", "anonymousId": "secret-id", "messageId": "m-2"},
    ]
    status, _, answer = await send(served, "/v1/batch", {"batch": calls})
    told = json.loads(answer)
    assert (status, told["success"]) == (200, True)
    assert [(w["index"], w["id"], w["code"]) for w in told["invalid"]] == [(1, "m-2", "event_name_missing")]
    assert b"secret-id" not in answer


async def test_a_servers_place_is_not_its_visitors(served: Gateway) -> None:
    """A server's own country governs nothing: unknown is treated strictest, a stated place counts."""
    base = {"event": "Order Completed", "anonymousId": "x"}
    props = {"revenue": 1, "currency": "USD", "email": "p@example.com"}
    unknown = {**base, "messageId": "place-unknown", "properties": {**props, "order_id": "L-1"}}
    stated = {
        **base,
        "messageId": "place-stated",
        "properties": {**props, "order_id": "L-2"},
        "context": {"location": {"country": "US", "region": "CA"}},
    }
    batch = {"batch": [{"type": "track", **one} for one in (unknown, stated, unknown | {"messageId": "place-unknown-2"})]}
    assert (await send(served, "/v1/batch", batch, origin=None, Authorization=BASIC, CF_IPCountry="US", cf_region_code="CA"))[
        0
    ] == 200
    await served.drained()
    ids = [e["event_id"] for e in received(served.sink)["meta"]]
    assert "place-stated" in ids
    assert "place-unknown" not in ids
    assert "place-unknown-2" not in ids


async def test_other_cookies_and_authorization_never_get_past_the_edge(served: Gateway) -> None:
    """The site's session cookie and the credentials are nowhere on disk, in the log, or at a destination."""
    secret = "session-cookie-canary-4711"
    await send(served, hit(_s="31", en="purchase", **{"ep.transaction_id": "K-1"}), Cookie=f"session={secret}; _ga=GA1.1.1.2")
    await send(
        served,
        "/v1/track",
        {"event": "Order Completed", "userId": "u", "context": GRANTED},
        origin=None,
        Authorization=BASIC,
        Cookie=f"sid={secret}",
    )
    await served.drained()
    everything = served.stored_bytes() + served.log + b"".join(r.body + repr(r.headers).encode() for r in served.sink.requests)
    for canary in (secret, SERVER_KEY, BASIC.removeprefix("Basic ")):
        assert canary.encode() not in everything


@pytest.mark.parametrize(
    ("headers", "host", "protocol"),
    [
        ({"Origin": ORIGIN, "Host": "collect.shop.example"}, "collect.shop.example", "https"),
        ({"Referer": f"{ORIGIN}/p", "Sec-Fetch-Site": "same-origin", "Host": "10.0.0.5:8080"}, "shop.example", "https"),
        (
            {"Host": "10.0.0.5", "X-Forwarded-Host": "collect.shop.example", "X-Forwarded-Proto": "https"},
            "collect.shop.example",
            "https",
        ),
    ],
)
async def test_the_settings_document_keeps_analytics_next_here(
    served: Gateway, headers: dict[str, str], host: str, protocol: str
) -> None:
    """Every address in it is ours, as the page knows us; no other integration, no metrics, no plugin."""
    status, _, body = await request(served.address, "GET", "/e/v1/projects/WK/settings", headers=headers)
    document = json.loads(body)
    assert status == 200
    assert list(document["integrations"]) == ["Segment.io"]
    segment = document["integrations"]["Segment.io"]
    assert (segment["apiHost"], segment["protocol"], segment["apiKey"]) == (f"{host}/e/v1", protocol, "WK")
    assert (document["metrics"]["host"], document["metrics"]["sampleRate"]) == (f"{host}/e/v1", 0)
    assert document["remotePlugins"] == []


async def test_a_host_header_that_is_none_is_refused(served: Gateway) -> None:
    """Nothing that is not a host name is reflected."""
    status, _, body = await request(served.address, "GET", "/e/v1/projects/WK/settings", headers={"Host": 'x"/><script>'})
    assert (status, json.loads(body)["code"]) == (400, "host")


async def test_the_source_document_keeps_rudderstacks_sdk_here(served: Gateway) -> None:
    """No destination that a page would load a script for, no reports of errors or metrics; what is no write key is not reflected."""
    for target in ("/sourceConfig/?writeKey=WK&v=3", "/sourceConfig?writeKey=WK", "/sourceConfig/?view=ad"):
        status, headers, body = await send(served, target, method="GET", Authorization="Basic V0s6")
        source = json.loads(body)["source"]
        assert (status, headers["access-control-allow-origin"]) == (200, ORIGIN)
        assert (source["enabled"], source["destinations"]) == (True, [])
        assert source["config"]["statsCollection"] == {"errors": {"enabled": False}, "metrics": {"enabled": False}}
        assert source["id"] == ("WK" if "WK" in target else "ebbgate")
    assert (await send(served, "/sourceConfig/?view=ad", method="HEAD"))[0] == 200
    assert (await send(served, "/sourceConfig/?writeKey=%3Cb%3E", method="GET"))[0] == 404
    assert (await send(served, "/sourceConfig/", {}))[0] == 405
    status, headers, _ = await send(served, "/sourceConfig/", method="OPTIONS")
    assert (status, headers["access-control-allow-methods"]) == (204, "GET, HEAD, OPTIONS")


async def test_same_origin_gets_need_no_origin_header(served: Gateway) -> None:
    """Browsers send no Origin with same-origin GETs and images: Referer, or Sec-Fetch-Site with the own host, stands for it."""
    for headers in ({"Referer": f"{ORIGIN}/page"}, {"Sec_Fetch_Site": "same-origin", "Host": "shop.example"}):
        assert (await send(served, hit(en="page_view"), method="GET", origin=None, **headers))[0] == 204


async def test_preflight_lets_the_clients_headers_through(served: Gateway) -> None:
    """Cross-origin clients with an Authorization or X-Write-Key header may send; a stranger's browser stops."""
    status, headers, _ = await send(served, "/v1/t", method="OPTIONS")
    assert status == 204
    assert {"authorization", "x-write-key", "anonymousid", "content-type", "sentat", "rsa-retry-attempt"} <= set(
        headers["access-control-allow-headers"].split(", ")
    )
    _, headers, _ = await send(served, "/v1/t", method="OPTIONS", origin="https://evil.example")
    assert "access-control-allow-headers" not in headers
