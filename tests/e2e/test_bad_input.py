from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ebbgate.demo.http import request
from tests.e2e.harness import BOTH, ORIGIN, SERVER_KEY, Gateway, gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with gateway(tmp_path_factory.mktemp("bad")) as running:
        yield running


GOOD = {"event": "page_view", "consent": BOTH}
CASES: list[tuple[str, Any, dict[str, str], int, str]] = [
    (
        "duplicate consent key",
        b'{"event":"page_view","consent":{"gcs":"G100"},"consent":{"gcs":"G111"}}',
        {},
        400,
        "json_duplicate_key",
    ),
    ("NaN", b'{"event":"page_view","order":{"value":NaN}}', {}, 400, "json_malformed"),
    ("huge number", b'{"event":"page_view","order":{"value":1e999}}', {}, 400, "json_malformed"),
    ("huge integer", b'{"event":"page_view","order":{"value":123456789012345678901234567890}}', {}, 400, "json_big_number"),
    ("depth", b'{"a":' * 40 + b"1" + b"}" * 40, {}, 400, "json_too_deep"),
    ("depth bomb", b"[" * 100_000, {}, 400, "json_too_deep"),
    ("lone surrogate", b'{"event":"page_view","page":{"title":"\\ud800"}}', {}, 400, "json_malformed"),
    ("NUL", b'{"event":"page_view","page":{"title":"a\\u0000b"}}', {}, 400, "json_nul"),
    ("not UTF-8", b'{"event":"page_view","page":{"title":"\xff"}}', {}, 400, "json_not_utf8"),
    ("empty body", b"", {}, 400, "json_malformed"),
    ("not an object", b"5", {}, 422, "not_an_event"),
    ("no name", {"id": "x"}, {}, 422, "event_name_missing"),
    ("unknown name", {"event": "Order Completed"}, {}, 422, "event_name_unknown"),
    ("wrong type", {"event": "page_view", "order": {"value": "12"}}, {}, 422, "field_type"),
    ("misspelt consent", {"event": "page_view", "consent": {"purposs": {}}}, {}, 422, "consent_unknown_key"),
    ("long ago", {"event": "page_view", "time": "1999-01-01T00:00:00Z"}, {}, 422, "event_time_far_off"),
    ("far ahead", {"event": "page_view", "time": "2099-01-01T00:00:00Z"}, {}, 422, "event_time_far_off"),
    ("thousands of items", {"event": "purchase", "order": {"items": [{"id": "x"}] * 3000}}, {}, 422, "too_many_items"),
    ("thousands of events", {"events": [{"event": "page_view"}] * 3000}, {}, 413, "too_many_events"),
    ("oversized", b'{"event":"page_view","properties":{"a":"' + b"x" * 600_000 + b'"}}', {}, 413, "too_big"),
    ("oversized, length hidden", b"x" * 600_000, {"Transfer-Encoding": "chunked"}, 413, "too_big"),
    ("wrong content type", GOOD, {"Content-Type": "application/x-www-form-urlencoded"}, 415, "content_type"),
    ("multipart", GOOD, {"Content-Type": "multipart/form-data; boundary=x"}, 415, "content_type"),
    ("compressed", GOOD, {"Content-Encoding": "gzip"}, 415, "content_encoding"),
    ("unknown origin", GOOD, {"Origin": "https://evil.example"}, 403, "unknown_origin"),
    ("null origin", GOOD, {"Origin": "null"}, 403, "unknown_origin"),
    ("no origin, no key", GOOD, {"Origin": ""}, 401, "no_credentials"),
    ("wrong key", GOOD, {"Authorization": "Bearer wrong-key-wrong-key"}, 401, "bad_key"),
    ("wrong scheme", GOOD, {"Authorization": f"Basic {SERVER_KEY}"}, 401, "bad_key"),
]


@pytest.mark.parametrize(("body", "headers", "status", "code"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
async def test_bad_requests_get_a_clear_error_and_store_nothing(
    served: Gateway, body: Any, headers: dict[str, str], status: int, code: str
) -> None:
    """Each has its own status and code as problem JSON with a hint; no byte of it is stored or logged."""
    before = served.stored_bytes()
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Origin": ORIGIN, "Content-Type": "application/json", "CF-IPCountry": "DE", **headers}
    if not sent["Origin"]:
        del sent["Origin"]
    if "Transfer-Encoding" in headers:
        raw = (
            b"".join(b"%x\r\n%b\r\n" % (len(raw[i : i + 9000]), raw[i : i + 9000]) for i in range(0, len(raw), 9000)) + b"0\r\n\r\n"
        )
        sent["Content-Length"] = ""
        answered = await _chunked(served.address, sent, raw)
    else:
        answered = await request(served.address, "POST", "/e/v1/events", headers=sent, body=raw)
    got, answer_headers, answer = answered
    problem = json.loads(answer)
    assert (got, problem["code"]) == (status, code)
    assert answer_headers["content-type"] == "application/problem+json"
    assert problem["type"] == f"urn:ebbgate:problem:{code}"
    assert problem["hint"]
    assert served.stored_bytes() == before


async def _chunked(address: str, headers: dict[str, str], raw: bytes) -> tuple[int, dict[str, str], bytes]:
    import asyncio

    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = "POST /e/v1/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    head += "".join(f"{k}: {v}\r\n" for k, v in headers.items() if k != "Content-Length") + "\r\n"
    writer.write(head.encode() + raw)
    said = b""
    try:
        while more := await reader.read(65536):
            said += more
    except ConnectionError:
        pass  # the rest of the body was not wanted any more
    finally:
        writer.close()
    top, _, content = said.partition(b"\r\n\r\n")
    lines = top.decode().split("\r\n")
    return int(lines[0].split()[1]), {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}, content


async def test_other_paths_are_not_there(served: Gateway) -> None:
    """Nothing is served beside the listed routes, whatever the Host header or the path's form says."""
    for path in (
        "/",
        "/e",
        "/e/v1",
        "/e/v1/events/",
        "/metrics",
        "/console",
        "/e/v1/../../metrics",
        "//healthz",
        "/%2e%2e/metrics",
    ):
        status, _, body = await request(served.address, "GET", path, headers={"Host": "127.0.0.1:8081"})
        assert status == 404, path
        assert json.loads(body)["code"] == "not_found"


async def test_forged_forwarded_for_and_geo_change_nothing(tmp_path: Path) -> None:
    """Without a trusted proxy, forged geo headers do not move a visitor out of the strictest policy."""
    async with gateway(tmp_path, server={"trusted_proxies": []}) as strict:
        for headers in (
            {"CF-IPCountry": "US", "cf-region-code": "CA", "X-Forwarded-For": "8.8.8.8"},
            {"CloudFront-Viewer-Country": "US"},
            {"X-Vercel-IP-Country": "JP"},
            {"X-AppEngine-Country": "US"},
        ):
            event = {"event": "purchase", "id": str(headers), "order": {"value": 1, "currency": "EUR"}}
            assert (await strict.post(event, country=None, headers=headers))[0] == 202
        await strict.drained()
        assert [r.path for r in strict.sink.requests if r.path != "/hook"] == []
