from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from ebbgate.cli import doctor_outside
from ebbgate.cli.doctor_outside import FORGED_ADDRESS, FORGED_COUNTRY, Answer, examine
from ebbgate.edge.doctor import COOKIE, SCHEME, DoctorEndpoint
from ebbgate.edge.tag import tag_source
from ebbgate.edge.visitor import Visitors
from ebbgate.store.keys import KeyRing

NOW_MS = 1_763_632_000_000
MINUTE = NOW_MS // 60_000
URL = "https://shop.example/e"
SEEN: dict[str, Any] = {
    "version": "0.1.0", "now_ms": NOW_MS, "problems": [], "policies": 3, "proxy_trusted": True, "peer_is_private": True,
    "address": "203.0.113.7", "forwarded": True, "country": "DE", "region": None, "cookie": "c1",
}  # fmt: skip
SET_COOKIE = f"{COOKIE}=c1; Max-Age=60; Path=/; HttpOnly; Secure; SameSite=Lax"
Ask = Callable[..., Answer]


def answer(body: Any = b"", status: int = 200, **headers: str) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, {k.replace("_", "-"): v for k, v in headers.items()}, raw)


def world(**changes: Any) -> Ask:
    """A gateway and a proxy without fault; `changes` put one in."""
    told = {
        "status": answer({"gpc": False, "opt_out_honored": False}),
        "t.js": answer(tag_source(), content_type="text/javascript; charset=utf-8"),
        "v1/events": answer({"code": "event_name_missing"}, 422),
        "forged": answer(SEEN, set_cookie=SET_COOKIE),
        "honest": answer(SEEN, set_cookie=SET_COOKIE),
    } | changes

    def ask(url: str, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        path = url.removeprefix(f"{URL.partition('://')[0]}://shop.example/e/").partition("/e/")[2] or url.rpartition("/e/")[2]
        if path == "doctor":
            path = "forged" if "X-Forwarded-For" in (headers or {}) else "honest"
        found = told[path]
        if isinstance(found, Exception):
            raise found
        assert isinstance(found, Answer)
        return found

    return ask


def look(
    monkeypatch: pytest.MonkeyPatch, ask: Ask, *, url: str = URL, origins: Sequence[str] = ("https://shop.example",), **hosts: str
) -> dict[str, bool | None]:
    """Check → ok, with the last word of several."""
    monkeypatch.setattr(doctor_outside, "ask", ask)

    def resolver(host: str) -> Sequence[str]:
        if host.replace(".", "_") not in hosts:
            raise OSError
        return hosts[host.replace(".", "_")].split()

    found = examine(url, pass_at=str, now_ms=NOW_MS, origins=origins, resolver=resolver)
    assert all(f.do for f in found if f.ok is False)
    return {f.check: f.ok for f in found}


CHECKS = ("reachable", "encrypted", "tag", "origin", "clock", "cookies", "proxy", "place", "ready", "safari")


def test_a_sound_set_up_has_no_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check is made and passes."""
    assert look(monkeypatch, world()) == dict.fromkeys(CHECKS, True)


FAULTS: list[tuple[str, str, dict[str, Any]]] = [
    ("nobody answers", "reachable", {"status": ConnectionRefusedError(111, "refused")}),
    ("another server answers", "reachable", {"status": answer(b"<html>", 404)}),
    ("a page under every path", "reachable", {"status": answer(b"<html>", 200)}),
    ("the tag is blocked", "tag", {"t.js": answer(b"", 403)}),
    ("the tag is a page", "tag", {"t.js": answer(tag_source(), content_type="text/html")}),
    ("the tag is rewritten", "tag", {"t.js": answer(tag_source() + b"//", content_type="text/javascript")}),
    ("the origin is not named", "origin", {"v1/events": answer({"code": "unknown_origin"}, 403)}),
    ("posting is not allowed", "origin", {"v1/events": answer(b"", 405)}),
    ("the gateway's clock is late", "clock", {"honest": answer(SEEN | {"now_ms": NOW_MS - 90_000}, set_cookie=SET_COOKIE)}),
    ("Set-Cookie is dropped", "cookies", {"forged": answer(SEEN)}),
    ("Secure is dropped", "cookies", {"forged": answer(SEEN, set_cookie=SET_COOKIE.replace(" Secure;", ""))}),
    ("the path is rewritten", "cookies", {"forged": answer(SEEN, set_cookie=SET_COOKIE.replace("Path=/;", "Path=/e;"))}),
    ("Cookie is dropped", "cookies", {"honest": answer(SEEN | {"cookie": None}, set_cookie=SET_COOKIE)}),
    ("an address can be chosen", "proxy", {"forged": answer(SEEN | {"address": FORGED_ADDRESS}, set_cookie=SET_COOKIE)}),
    ("the proxy tells no address", "proxy", {"honest": answer(SEEN | {"forwarded": False}, set_cookie=SET_COOKIE)}),
    ("the proxy is not trusted", "proxy", {"honest": answer(SEEN | {"proxy_trusted": False}, set_cookie=SET_COOKIE)}),
    ("a country can be chosen", "place", {"forged": answer(SEEN | {"country": FORGED_COUNTRY}, set_cookie=SET_COOKIE)}),
    ("the store is full", "ready", {"honest": answer(SEEN | {"problems": ["the store cannot be written"]}, set_cookie=SET_COOKIE)}),
]


@pytest.mark.parametrize(("check", "fault"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_each_fault_is_found_where_it_is(monkeypatch: pytest.MonkeyPatch, check: str, fault: dict[str, Any]) -> None:
    """One fault, one finding with what to do; the other checks stand as they are."""
    found = look(monkeypatch, world(**fault))
    assert found.pop(check) is False
    assert set(found.values()) <= {True}


def test_without_the_keys_the_inside_is_unknown_and_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the gateway's keys checks what anybody can see, and claims nothing about the rest."""
    found = look(monkeypatch, world(forged=answer(b"", 404)))
    assert found["inside"] is None
    assert not {"cookies", "proxy", "ready"} & set(found)


def test_an_unknown_country_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a CDN the place stays unknown, which the strictest policy covers."""
    assert look(monkeypatch, world(honest=answer(SEEN | {"country": None}, set_cookie=SET_COOKIE)))["place"] is None


@pytest.mark.parametrize(
    ("page", "gateway", "expected"),
    [
        ("203.0.113.7", "203.0.200.1", True), ("203.0.113.7", "203.1.113.7", False), ("", "203.0.113.7", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:9::1", True), ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("203.0.113.7 2001:db8::1", "198.51.100.1 2001:db8::2", True),
    ],
)  # fmt: skip
def test_safaris_rule_compares_the_first_half_of_the_addresses(
    monkeypatch: pytest.MonkeyPatch, page: str, gateway: str, expected: bool
) -> None:
    """Two octets of IPv4, 64 bits of IPv6, any pair (specs/experience.md §3)."""
    hosts = {"www_shop_example": page, "shop_example": gateway}
    assert look(monkeypatch, world(), origins=["https://www.shop.example"], **hosts)["safari"] is expected


def test_addresses_that_cannot_be_found_are_said_to_be_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that does not resolve, or no page at all, is no verdict."""
    assert look(monkeypatch, world(), origins=["https://www.shop.example"])["safari"] is None
    assert look(monkeypatch, world(), origins=[])["safari"] is None


@pytest.mark.parametrize(("url", "expected"), [("http://shop.example/e", False), ("http://127.0.0.1/e", None)])
def test_plain_http_is_a_fault_outside_this_machine(monkeypatch: pytest.MonkeyPatch, url: str, expected: bool | None) -> None:
    """Secure cookies need https everywhere but on loopback."""
    assert look(monkeypatch, world(), url=url)["encrypted"] is expected


def endpoint(keys: KeyRing, authorization: str) -> tuple[int, Any]:
    """(status, body) of one GET of the doctor's route."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    made = DoctorEndpoint(keys, Visitors(()), ready=list, policies=lambda: 3, clock_ms=lambda: NOW_MS)
    headers = [(b"authorization", authorization.encode())] if authorization else []
    asyncio.run(
        made({"type": "http", "method": "GET", "path": "/e/doctor", "headers": headers, "client": ("10.0.0.9", 1)}, receive, send)
    )
    return sent[0]["status"], json.loads(sent[1]["body"])


def test_only_who_holds_the_keys_is_told() -> None:
    """Another gateway's pass, an old one, another scheme or none: the path is not there."""
    keys = KeyRing.ephemeral("a")
    assert endpoint(keys, f"{SCHEME} {keys.pass_for('doctor', MINUTE)}")[0] == 200
    assert endpoint(keys, f"{SCHEME} {keys.pass_for('doctor', MINUTE - 5)}")[0] == 200
    for refused in (
        "", SCHEME, f"{SCHEME} x", f"Bearer {keys.pass_for('doctor', MINUTE)}", f"{SCHEME} {keys.pass_for('doctor', MINUTE - 6)}",
        f"{SCHEME} {keys.pass_for('doctor', MINUTE + 6)}", f"{SCHEME} {keys.pass_for(COOKIE, MINUTE)}",
        f"{SCHEME} {KeyRing.ephemeral('b').pass_for('doctor', MINUTE)}", f"{SCHEME} ü",
    ):  # fmt: skip
        status, body = endpoint(keys, refused)
        assert (status, body["code"]) == (404, "not_found")


def test_the_route_tells_what_the_checks_need() -> None:
    """The shape that `examine` reads."""
    keys = KeyRing.ephemeral("a")
    _, told = endpoint(keys, f"{SCHEME} {keys.pass_for('doctor', MINUTE)}")
    assert set(told) == set(SEEN)
    assert (told["address"], told["peer_is_private"], told["proxy_trusted"], told["country"]) == ("10.0.0.9", True, False, None)
