"""Requests of every dialect made of random signals, and a judge of what may leave: for test_fail_closed.py.

The judge knows the three shipped policies by heart and uses nothing of ebbgate's consent or policy code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import urlencode

from tests.e2e.signals import DENY, GRANT, NOW_MS, Piece, pieces

#: What each shipped policy reads, and its model.
READ = {
    "eu": {"event", "tcf", "gpp", "google", "cookie", "us_privacy", "gpc"},
    "elsewhere": {"event", "tcf", "gpp", "google", "cookie", "us_privacy", "gpc"},
    "california": {"event", "gpp", "us_privacy", "cookie", "google", "gpc"},
}
EUROPE = {"DE", "FR", "GB", "NO", "CH", "IE", "RE"}
#: Events that each policy lets each destination have; None = all of them.
SHOP = {"page_view", "view_item", "add_to_cart", "begin_checkout", "purchase", "generate_lead", "lead"}
EVENTS: dict[str, dict[str, set[str] | None]] = {
    "eu": {"ga4": {"page_view", "purchase"}, "meta": SHOP, "webhook": {"begin_checkout", "purchase"}},
    "california": {"ga4": None, "meta": SHOP, "webhook": {"begin_checkout", "purchase"}},
    "elsewhere": {"ga4": None, "meta": {"purchase", "generate_lead", "lead"}, "webhook": {"begin_checkout", "purchase"}},
}


@dataclass(frozen=True)
class Case:
    """One event in one dialect."""

    number: int
    dialect: str
    event: str
    place: tuple[Mapping[str, str], str, str]  #: headers, (country, region) as a server states them, and the policy that governs
    pieces: tuple[Piece, ...]

    @property
    def id(self) -> str:
        return f"case-{self.number:06d}"

    @property
    def policy(self) -> str:
        """A server's event stands where the server says."""
        if self.dialect == "ecapi":  # has no word for the place
            return "eu"
        return _policy_of(self.place[1]) if self.dialect in SERVERS else self.place[2]


def _policy_of(stated: str) -> str:
    country = stated.partition("-")[0]
    return "eu" if not country or country in EUROPE else "california" if stated == "US-CA" else "elsewhere"


PLACES: tuple[tuple[Mapping[str, str], str, str], ...] = (
    *(({"CF-IPCountry": c}, c, "eu") for c in sorted(EUROPE)),
    *[({"CF-IPCountry": "US", "cf-region-code": "CA"}, "US-CA", "california")] * 7,
    ({"CloudFront-Viewer-Country": "us", "CloudFront-Viewer-Country-Region": "ca"}, "US-CA", "california"),
    ({"CF-IPCountry": "US", "cf-region-code": "NY"}, "US-NY", "elsewhere"),
    ({"CF-IPCountry": "US"}, "US", "elsewhere"),
    ({"CF-IPCountry": "US", "cf-region-code": "California"}, "US", "elsewhere"),
    ({"CF-IPCountry": "BR"}, "BR", "elsewhere"),
    ({"X-Vercel-IP-Country": "JP"}, "JP", "elsewhere"),
    ({}, "", "eu"),
    ({"CF-IPCountry": "XX", "cf-region-code": "CA"}, "", "eu"),
    ({"CF-IPCountry": "T1"}, "", "eu"),
    ({"CF-IPCountry": "USA", "cf-region-code": "CA"}, "", "eu"),
    ({"CF-IPCountry": "US", "cf-region-code": "CA", "X-Vercel-IP-Country": "DE"}, "", "eu"),
    ({"cf-region-code": "CA"}, "", "eu"),
)
DIALECTS = ("native",) * 6 + ("native_server", "hit", "hit", "hit_lines", "pixel", "segment", "segment_server", "rudder", "protocol",
            "ecapi", "plausible")  # fmt: skip


def cases(seed: int, count: int) -> list[Case]:
    """Cases with no, one, two, three or many signals."""
    r = Random(seed)
    found: list[Case] = []
    for number in range(count):
        dialect = r.choice(DIALECTS)
        able = [p for p in pieces(r) if CARRIES[dialect](p)]
        chosen = r.sample(able, min(len(able), r.choice((0, 1, 1, 1, 2, 2, 3, 9))))
        place = r.choice(PLACES)
        event = r.choice(("purchase", "page_view", "page_view"))
        found.append(Case(number, dialect, "page_view" if dialect == "plausible" else event, place, tuple(chosen)))
    return found


_HEAD = {"header", "cookie"}
CARRIES: dict[str, Callable[[Piece], bool]] = {
    "native": lambda p: True,
    "native_server": lambda p: "json" in p.parts,
    **dict.fromkeys(("hit", "hit_lines", "pixel"), lambda p: bool(p.parts.keys() & {"query", *_HEAD})),
    **dict.fromkeys(("segment", "rudder"), lambda p: p.name == "categories" or bool(p.parts.keys() & _HEAD)),
    "segment_server": lambda p: p.name == "categories",
    "protocol": lambda p: "protocol" in p.parts,
    "ecapi": lambda p: p.name == "gpp",
    "plausible": lambda p: bool(p.parts.keys() & _HEAD),
}


def granted(case: Case, purpose: str) -> bool:
    """Whether everything said about a purpose amounts to a yes: any no, and anything that cannot be read, is a no."""
    opt_out = case.policy == "california"
    heard = [
        (p.opt_out if opt_out else p.opt_in).get(purpose)
        for p in case.pieces
        if p.source in READ[case.policy] and not (opt_out and p.name == "tc cookie")
    ]
    if DENY in heard:
        return False
    return GRANT in heard or opt_out


def may_leave(case: Case, destination: str) -> str:
    """`full`, `limited` or `` (nothing): the most that may reach a destination."""
    events = EVENTS[case.policy][destination]
    if events is not None and case.event not in events:
        return ""
    if destination == "webhook":
        return "full"
    if destination == "ga4":
        strings = [p for p in case.pieces if p.google_vendor is not None and p.source in READ[case.policy]]
        refused = case.policy == "eu" and not all(p.google_vendor for p in strings)
        return "full" if granted(case, "analytics") and not refused else ""
    if granted(case, "advertising"):
        return "full"
    return "limited" if case.policy == "california" else ""


def _told(case: Case, carrier: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for piece in case.pieces:
        found |= piece.parts.get(carrier, {})
    return found


SERVERS = ("native_server", "segment_server", "protocol", "ecapi")


def request_of(case: Case, origin: str, server_key: str) -> tuple[str, str, dict[str, str], bytes]:
    """(method, target, headers, body) of the case's one request."""
    target, headers, body = _WRITERS[case.dialect](case)
    if case.dialect in SERVERS:
        headers["Authorization"] = f"Bearer {server_key}"
    else:
        headers |= {**case.place[0], "Origin": origin, "User-Agent": AGENT, **_told(case, "header")}
        # A signal that has a parameter here does not stand in a cookie as well.
        jar = {
            k: v
            for p in case.pieces
            if case.dialect not in QUERIES or "query" not in p.parts
            for k, v in p.parts.get("cookie", {}).items()
        }
        headers |= {"Cookie": "; ".join(f"{k}={v}" for k, v in jar.items())} if jar else {}
    raw = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return "GET" if body is None else "POST", target, headers, raw


AGENT = "Mozilla/5.0 (fail closed)"
QUERIES = ("hit", "hit_lines", "pixel")
Written = tuple[str, dict[str, str], Any]  #: target, headers of its own, body


def _page(case: Case) -> str:
    return f"https://shop.example/{case.id}"


def _native(case: Case) -> Written:
    body: dict[str, Any] = {
        "event": case.event, "id": case.id, "page": {"url": _page(case)}, "order": {"id": case.id, "value": 12, "currency": "EUR"},
        "user": {"email": f"{case.id}@example.com", "birthday": case.id}, "visitor": {"client_id": case.id},
        "click": {"fbclid": f"fb-{case.id}"}, "properties": {"password": case.id},
    }  # fmt: skip
    if told := _told(case, "json"):
        body["consent"] = told
    if case.dialect == "native_server":
        body |= {"network": {"ip": "203.0.113.9"}, "device": {"user_agent": AGENT}}
        country, _, region = case.place[1].partition("-")
        body |= {"place": {"country": country, **({"region": case.place[1]} if region else {})}} if country else {}
    return "/e/v1/events", {"Content-Type": "text/plain"}, body


def _hit(case: Case) -> Written:
    shared = {"v": "2", "tid": "G-1", "cid": case.id, "_p": case.id, "dl": _page(case), **_told(case, "query")}
    event = {
        "en": case.event, "ep.transaction_id": case.id, "epn.value": "12", "cu": "EUR", "ep.event_id": case.id,
        "ep.user_data.email_address": f"{case.id}@example.com",
    }  # fmt: skip
    if case.dialect == "hit":
        return "/e/g/collect?" + urlencode(shared | event), {}, None
    return "/e/g/collect?" + urlencode(shared), {}, urlencode(event)


def _pixel(case: Case) -> Written:
    query = {
        "event": case.event, "id": case.id, "page.url": _page(case), "order.id": case.id, "order.value": "12",
        "order.currency": "EUR", "user.email": f"{case.id}@example.com", "visitor.client_id": case.id, **_told(case, "query"),
    }  # fmt: skip
    return "/e/p.gif?" + urlencode(query), {}, None


def _protocol(case: Case) -> Written:
    country = case.place[1].partition("-")[0]
    params = {"event_id": case.id, "transaction_id": case.id, "page_location": _page(case), "value": 12, "currency": "EUR"}
    body = {
        "client_id": case.id, "events": [{"name": case.event, "params": params}],
        "consent": {k: {GRANT: "GRANTED", DENY: "DENIED"}[v] for k, v in _told(case, "protocol").items() if v},
        "user_location": {"country_id": country, "region_id": case.place[1]} if country else {},
    }  # fmt: skip
    return "/e/mp/collect", {}, body


def _ecapi(case: Case) -> Written:
    body = {
        "id": case.id, "timestamp": NOW_MS // 1000, "event_type": case.event, "value": 12, "currency_code": "EUR",
        "user_data": {{"gpp": "gpp_string"}.get(k, k): v for k, v in _told(case, "json").items()},
        "properties": {"transaction_id": case.id, "page_url": _page(case)},
    }  # fmt: skip
    return "/e/ecapi/v1/events", {"Content-Type": "application/json"}, body


def _plausible(case: Case) -> Written:
    return "/e/api/event", {}, {"name": "pageview", "url": _page(case)}


def _segment(case: Case) -> Written:
    context: dict[str, Any] = {"page": {"url": _page(case)}}
    if (told := _told(case, "json").get("categories")) is not None:
        context |= {"consentManagement": _ids(told)} if case.dialect == "rudder" else {"consent": {"categoryPreferences": told}}
    country, _, region = case.place[1].partition("-")
    if case.dialect == "segment_server" and country:
        context["location"] = {"country": country, **({"region": region} if region else {})}
    own = {"order_id": case.id, "revenue": 12, "currency": "EUR", "email": f"{case.id}@example.com", "event_id": case.id}
    call = {"messageId": case.id, "anonymousId": case.id, "context": context, "properties": own}
    headers = {"Content-Type": "application/json"}
    return (
        ("/e/v1/track", headers, call | {"event": "Order Completed"}) if case.event == "purchase" else ("/e/v1/page", headers, call)
    )


def _ids(told: Any) -> Any:
    """Categories in RudderStack's words."""
    if not isinstance(told, dict):
        return told
    if not all(isinstance(v, bool) for v in told.values()):
        return {"allowedConsentIds": told}
    return {
        "provider": "x",
        "allowedConsentIds": [k for k, v in told.items() if v],
        "deniedConsentIds": [k for k, v in told.items() if not v],
    }


_WRITERS: Mapping[str, Callable[[Case], Written]] = {
    **dict.fromkeys(("native", "native_server"), _native), **dict.fromkeys(("hit", "hit_lines"), _hit), "pixel": _pixel,
    **dict.fromkeys(("segment", "segment_server", "rudder"), _segment), "protocol": _protocol, "ecapi": _ecapi, "plausible": _plausible,
}  # fmt: skip
