from __future__ import annotations

import base64
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

from ebbgate.demo.http import request
from ebbgate.fields import FIELDS, Kind
from tests.e2e.harness import BOTH, ORIGIN, Gateway, gateway

#: Fields that some destination of the shipped European policy gets, in clear or hashed: their canaries may be found.
LET_OUT = {
    "event.id", "page.url", "page.referrer", "page.title", "page.path", "order.id", "order.coupon", "order.affiliation",
    "order.payment_type",
    "order.shipping_tier", "order.list_id", "order.list_name", "order.currency", "order.items", "search.term", "visitor.client_id",
    "visitor.session_id", "campaign.source", "campaign.medium", "campaign.name", "campaign.term", "campaign.content", "campaign.id",
    "device.language", "device.user_agent", "user.email", "user.phone", "click.fbclid", "cookie.fbp", "cookie.fbc",
}  # fmt: skip


def canary(name: str) -> str:
    """A value that stands nowhere else."""
    return "Kx" + hashlib.sha256(name.encode()).hexdigest()[:14]


def encodings(value: str) -> dict[str, bytes]:
    """The forms in which a value could leak (specs/reliability.md §5, T1)."""
    raw = value.encode()
    lowered = value.strip().lower().encode()
    return {
        "raw": raw, "upper": value.upper().encode(), "percent": "".join(f"%{b:02X}" for b in raw).encode(),
        "percent twice": "".join(f"%25{b:02X}" for b in raw).encode(), "base64": base64.b64encode(raw).rstrip(b"=")[:-1],
        "base64url": base64.urlsafe_b64encode(raw).rstrip(b"=")[:-1], "hex": raw.hex().encode(), "reversed": raw[::-1],
        "JSON-escaped": "".join(f"\\u{b:04x}" for b in raw).encode(), "gzip": gzip.compress(raw, mtime=0)[10:-8],
        "MD5": hashlib.md5(raw).hexdigest().encode(), "SHA-1": hashlib.sha1(raw).hexdigest().encode(),
        "SHA-256": hashlib.sha256(raw).hexdigest().encode(), "SHA-256 normalised": hashlib.sha256(lowered).hexdigest().encode(),
    }  # fmt: skip


def found(value: str, where: bytes) -> list[str]:
    return [name for name, form in encodings(value).items() if len(form) > 4 and form in where]


def event_with_canaries() -> dict[str, Any]:
    """Every text field of the table, and names of the site's own, each with its own canary."""
    event: dict[str, Any] = {"event": "purchase", "id": canary("event.id"), "consent": BOTH}
    for path, field in FIELDS.items():
        group, _, key = path.partition(".")
        if group == "event":
            continue
        if field.kind is Kind.TEXT:
            event.setdefault(group, {})[key] = canary(path)
        elif field.kind is Kind.NUMBER:
            event.setdefault(group, {})[key] = 1
    event["user"]["email"] = f"{canary('user.email')}@example.com"
    event["user"]["phone"] = "+49 30 90182034"
    event["order"] |= {
        "currency": "EUR",
        "items": [{"id": "sku", "name": canary("order.items"), "price": 1, "quantity": 1, "secret": canary("item.secret")}],
    }
    event["page"]["url"] = (
        f"https://shop.example/{canary('page.url')}?token={canary('url.token')}&utm_source=x#{canary('url.fragment')}"
    )
    event["page"]["referrer"] = f"https://user:{canary('url.password')}@a.example/?q={canary('referrer.q')}"
    event["properties"] = {
        "plain": canary("properties.plain"),
        canary("properties.name"): 1,
        "nested": {"deep": canary("properties.deep")},
    }
    event["strange"] = canary("envelope.strange")
    return event


ELSEWHERE = [
    "item.secret", "url.token", "url.fragment", "url.password", "referrer.q", "properties.plain", "properties.name",
    "properties.deep",
    "envelope.strange", "header.x-secret", "header.authorization-like", "cookie.session", "cookie.remember", "query.secret",
]  # fmt: skip


async def _send(served: Gateway) -> None:
    headers = {
        "Origin": ORIGIN, "Content-Type": "application/json", "CF-IPCountry": "DE", "User-Agent": canary("device.user_agent"),
        "X-Secret": canary("header.x-secret"), "X-Api-Key": canary("header.authorization-like"),
        "Cookie": f"session={canary('cookie.session')}; remember_me={canary('cookie.remember')}",
    }  # fmt: skip
    path = f"/e/v1/events?secret={canary('query.secret')}"
    status, _, _ = await request(served.address, "POST", path, headers=headers, body=json.dumps(event_with_canaries()).encode())
    assert status == 202
    for broken in (b'{"event":"purchase","x":"%b"' % canary("broken").encode(), b'{"event":"%b!"}' % canary("broken").encode()):
        _, _, answer = await request(served.address, "POST", path, headers=headers, body=broken)
        assert not found(canary("broken"), answer)


async def test_nothing_appears_that_its_policy_does_not_let_out(tmp_path: Path) -> None:
    """Canaries in every field, header and cookie, 14 encodings: only what the policy lets out reaches sink, disk, log or error."""
    async with gateway(tmp_path) as served:
        await _send(served)
        await served.drained()
        sent = b"\n".join(r.path.encode() + r.query.encode() + str(r.headers).encode() + r.body for r in served.sink.requests)
        assert len(served.sink.requests) == 3
        kept_here = [p for p, f in FIELDS.items() if f.kind is Kind.TEXT and p not in LET_OUT and not p.startswith("event.")]
        for name in [*kept_here, *ELSEWHERE]:
            assert found(canary(name), sent) == [], name
        for name in ("page.title", "visitor.client_id", "device.user_agent"):
            assert found(canary(name), sent) == ["raw"], name  # the search itself finds what is there
        email = f"{canary('user.email')}@example.com"
        assert found(email, sent) == ["SHA-256 normalised"]
        await served.stop()
        for place, content in (("store", served.stored_bytes()), ("log", served.log)):
            for name in [*FIELDS, *ELSEWHERE, "broken"]:
                assert found(canary(name), content) == [], (place, name)
            assert found(email, content) == [], place


async def test_without_consent_nothing_personal_is_even_stored(tmp_path: Path) -> None:
    """A refusing visitor's event leaves a log entry and the allowed fraud check behind; secrets of destinations stand nowhere."""
    async with gateway(tmp_path) as served:
        status, _ = await served.post(
            event_with_canaries() | {"consent": {"purposes": {"analytics": "denied", "advertising": "denied"}}}
        )
        assert status == 202
        await served.drained()
        assert [r.path for r in served.sink.requests] == ["/hook"]
        await served.stop()
        for secret in (b"ga4-secret", b"meta-token", b"e2e-server-key", b"e2e-admin-token"):
            assert secret not in served.stored_bytes() + served.log
