"""Rate limits of a running gateway: who is over one is told so as documented, and nothing tells who it was."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs

from ebbgate.demo.http import request
from ebbgate.edge.openapi.documents import document
from tests.e2e.harness import ADMIN_TOKEN, BOTH, ORIGIN, gateway


async def test_a_flood_is_refused_as_documented(tmp_path: Path) -> None:
    """The fourth event of an address is 429 with Retry-After; its withdrawal and the site's server are taken; metrics tell counts alone."""
    limits = {"per_address_per_s": 0.001, "per_address_burst": 3}
    async with gateway(tmp_path, server={"trusted_proxies": []}, limits=limits) as served:
        event = {"event": "page_view", "consent": BOTH}
        assert [(await served.post(event))[0] for _ in range(3)] == [202] * 3
        headers = {"Origin": ORIGIN, "Content-Type": "application/json"}
        status, said, body = await request(served.address, "POST", "/e/v1/events", headers=headers, body=json.dumps(event).encode())
        assert (status, said["content-type"], said["access-control-allow-origin"]) == (429, "application/problem+json", ORIGIN)
        assert 0 < int(said["retry-after"]) <= 1000
        refused = document("collection")["components"]["responses"]["Refused429"]["content"]["application/problem+json"]["schema"]
        jsonschema_rs.validate(refused, json.loads(body))

        choice = {"visitor": {"client_id": "1.2"}, "consent": {"purposes": {"advertising": "denied"}}}
        assert (await request(served.address, "POST", "/e/consent", headers=headers, body=json.dumps(choice).encode()))[0] == 202
        assert [(await served.post(event, server=True))[0] for _ in range(5)] == [202] * 5
        assert (await served.get("/readyz"))[0] == 200

        _, _, metrics = await served.get("/metrics", admin=True, token=ADMIN_TOKEN)
        assert b'ebbgate_rate_limited_total{by="address"} 1.0' in metrics
        assert b"ebbgate_rate_limit_senders 2.0" in metrics  # its events and its choices
        assert b"127.0.0.1" not in metrics
        assert b"127.0.0.1" not in served.log.replace(served.address.encode(), b"").replace(served.admin.encode(), b"")
