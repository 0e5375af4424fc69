"""The sample visitors of the demo: different places, different choices, and a few who do not play by the rules."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ebbgate.collect.times import iso
from ebbgate.demo.tc_string import tc_string
from ebbgate.model import EMPTY

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0 Safari/537.36"


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a visitor: who, what the reader should watch for, headers and body."""

    who: str
    watch_for: str
    country: str | None
    body: Mapping[str, Any] | str
    region: str | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    origin: str | None = "shop"  #: "shop", "stranger" or None for a server
    expect: int = 202


def visits(now_ms: int) -> tuple[Visit, ...]:
    """All visits in order. Times are the demo's own; every id is made up."""
    granted = {"purposes": {"analytics": "granted", "advertising": "granted"}}
    refused = {"purposes": {"analytics": "granted", "advertising": "denied"}}
    tc = tc_string(now_ms=now_ms, purposes=range(1, 12), vendors={755, 804}, disclosed={755, 804})
    tc_without_google = tc_string(now_ms=now_ms, purposes=range(1, 12), vendors={804}, disclosed={755, 804})
    ana = _purchase("A-1009", "ana@example.com", now_ms, granted)

    def order(number: str, name: str, consent: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return _purchase(number, f"{name}@example.com", now_ms, consent)

    return (
        Visit("Ana, Berlin", "allows everything", "DE", _view("ana", now_ms, granted)),
        Visit("Ana, Berlin", "buys: e-mail and phone leave hashed, and only to Meta", "DE", ana),
        Visit("Ana, Berlin", "reloads the thank-you page: the same order must not count twice", "DE", ana),
        Visit("Jonas, Munich", "refused advertising", "DE", order("A-1010", "jonas", refused)),
        Visit("Claire, Paris", "a TC string of her banner decides", "FR", order("A-1011", "claire", {"tcf": tc})),
        Visit("Paul, Lyon", "his TC string leaves Google out", "FR", order("A-1012", "paul", {"tcf": tc_without_google})),
        Visit("Eva, Vienna", "her TC string arrives cut off: no consent", "AT", order("A-1013", "eva", {"tcf": tc[:40]})),
        Visit("Liam, Dublin", "has not chosen yet", "IE", order("A-1014", "liam")),
        Visit("Maya, San Diego", "has not opted out, where silence allows", "US", order("A-1015", "maya"), region="CA"),
        Visit("Noah, Oakland", "browser sends Sec-GPC: an opt-out by law", "US",
              order("A-1016", "noah", granted), region="CA", headers={"Sec-GPC": "1"}),
        Visit("somebody, unknown place", "no country known: the strictest policy governs", None, _view("x", now_ms)),
        Visit("Kenji, Osaka", "another place, another policy", "JP", order("A-1017", "kenji", refused)),
        Visit("the shop's server", "confirms Ana's order with its key; same order number, so platforms merge it", "DE",
              ana | {"place": {"country": "DE"}}, origin=None),
        Visit("a stranger's page", "posts in the shop's name", "DE", ana, origin="stranger", expect=403),
        Visit("a broken script", "writes the consent twice, denied and granted", "DE",
              '{"event":"purchase","consent":{"gcs":"G100"},"consent":{"gcs":"G111"}}', expect=400),
    )  # fmt: skip


def _view(client: str, now_ms: int, consent: Mapping[str, Any] | None = None) -> dict[str, Any]:
    event = {
        "event": "page_view",
        "id": f"view-{client}-{now_ms}",
        "time": iso(now_ms),
        "page": {
            "url": "https://shop.example/shoes?utm_source=newsletter&utm_medium=email&session_token=s3cret&fbclid=IwAR0abc",
            "referrer": "https://mail.example/inbox?user=ana",
            "title": "Trail shoes | Shop",
        },
        "visitor": {"client_id": "1234567890.1731400000", "session_id": "1763632000"},
    }
    return event | ({"consent": dict(consent)} if consent else {})


def _purchase(order: str, email: str, now_ms: int, consent: Mapping[str, Any] | None = None) -> dict[str, Any]:
    event = {
        "event": "purchase",
        "id": order,
        "time": iso(now_ms),
        "page": {"url": f"https://shop.example/thanks?order={order}&utm_source=newsletter", "title": "Thank you | Shop"},
        "visitor": {"client_id": f"{zlib.crc32(order.encode())}.1731400000", "session_id": "1763632000"},
        "user": {"email": email, "phone": "+49 30 901820"},
        "order": {
            "id": order,
            "value": 118,
            "currency": "EUR",
            "tax": 18.84,
            "items": [{"id": "shoe-42", "name": "Trail Shoe", "category": "Shoes", "price": 59, "quantity": 2}],
        },
        "properties": {"delivery_note": f"call {email} before"},
    }
    return event | ({"consent": dict(consent)} if consent else {})
