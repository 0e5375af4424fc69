"""How much of other gateways' requests for the same inputs ours hold, in facts that a platform acts on: by value, per destination.

    python -m tests.contract.overlap [-v]      the table; with -v every fact that ours lack, and why it may

Masked is what the data itself says (vectors/destinations/README.md): the paths of `mask`, times that are `volatile` or those of the
recording run, digests that hashing.json calls a quirk, digests of a field that it shows this peer to write against the documented rule,
and constants that the author of a Segment or walkerOS `mapping` typed in, which no event says. What is left and differs stands in
`deviations.py`, each with the line of the specification that decides for us; the columns before the last count without that list.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from ebbgate.cli.destination import render_line
from ebbgate.cli.destination_walkeros import as_native
from ebbgate.destinations.registry import load
from tests.contract.deviations import DEVIATIONS, Deviation
from tests.vectors import load as vectors

TIER_1, TIER_2 = 0.95, 0.90
Settings = Callable[[dict[str, Any], str], dict[str, Any]]

#: file → (destination, least overlap, settings of a case from the peer's settings and the event's name).
FILES: Final[Mapping[str, tuple[str, float, Settings]]] = {
    "ga4": ("ga4", TIER_1, lambda s, e: {"api_secret": "S", **_stream(s)}),
    "meta_capi": ("meta", TIER_1, lambda s, e: {"pixel_id": str(s.get("pixelId", "1")), "access_token": "T"}),
    "google_datamanager": ("google_data_manager", TIER_1, lambda s, e: _google(s, e)),
    "tiktok": ("tiktok", TIER_1, lambda s, e: _tiktok(s)),
    "linkedin": ("linkedin", TIER_1, lambda s, e: {"conversion_rules": {e: s.get("conversionRuleUrn", "1")}, "access_token": "T"}),
    "microsoft_ads": ("microsoft", TIER_1, lambda s, e: {"tag_id": s.get("UetTag") or s.get("uetTagId", "1"), "access_token": "T"}),
    "matomo": ("matomo", TIER_1, lambda s, e: {"url": s["trackingUrl"], "site_id": s["siteId"], "token_auth": s["tokenAuth"]}),
    "posthog": ("posthog", TIER_1, lambda s, e: {"host": "https://us.i.posthog.com", "project_api_key": "phc_TEST"}),
    "pinterest": ("pinterest", TIER_2, lambda s, e: {"ad_account_id": "549755885175", "access_token": "T"}),
    "snapchat": ("snapchat", TIER_2, lambda s, e: {"pixel_id": "11111111-2222-3333-4444-555555555555", "access_token": "T"}),
    "reddit": ("reddit", TIER_2, lambda s, e: {"pixel_id": s["accountId"], "access_token": "T"}),
    "x_ads": ("x", TIER_2, lambda s, e: _x(s, e)),
    "mixpanel": ("mixpanel", TIER_2, lambda s, e: {"project_token": s.get("projectToken") or s["token"], "api_secret": "S"}),
    "amplitude": ("amplitude", TIER_2, lambda s, e: {"api_key": "TESTKEY"}),
    "klaviyo": ("klaviyo", TIER_2, lambda s, e: {"api_key": "TEST_KEY"}),
}

#: kind of fact → keys under which platforms keep it.
_KEYS: Final = {
    "name": "event_name eventName event_type tracking_type custom_event_name event eventType",
    "id": "event_id eventId transactionId transaction_id order_id orderId conversion_id unique_id messageId client_id insert_id "
    "$insert_id uuid user_id distinct_id device_id ec_id clientId app_instance_id uid",
    "time": "event_time eventTime event_at timestamp_micros conversionHappenedAt conversion_time eventTimestamp time timestamp",
    "money": "value conversionValue amount revenue currency price_currency currencyCode ecommTotalValue eventValue value_currency e_v",
    "item": "item_id item_price itemPrice unitPrice content_price price quantity content_id content_ids num_items product_id "
    "merchantProductId itemIds number_items item_count ec_items",
    "click": "fbc fbp ttclid ttp twclid click_id sc_click_id sc_cookie1 msclkid gclid gbraid wbraid",
    "url": "page_location event_source_url eventSourceUrl url $current_url",
}
#: Names under which platforms keep a field → hashing.json's.
_HASHED_FIELDS: Final = {
    "em": "em", "email": "em", "emailAddress": "em", "hashed_email": "em",
    "ph": "ph", "phone": "ph", "phoneNumber": "ph", "phone_number": "ph", "hashed_phone_number": "ph",
    "zp": "zp", "zip_code": "zp", "ct": "ct", "db": "db", "external_id": "external_id", "externalId": "external_id",
}  # fmt: skip
_KIND: Final = {key: kind for kind, keys in _KEYS.items() for key in keys.split()}
_HEX: Final = re.compile(r"[0-9a-f]{64}\Z")
#: Our name of a platform in hashing.json's words, where a file of requests has another.
_HASHED_AS: Final = {"ga4": ("google_ads", "google_datamanager")}

Fact = tuple[str, object]


def _stream(settings: dict[str, Any]) -> dict[str, Any]:
    app = settings.get("firebaseAppId")
    return {"firebase_app_id": app} if app else {"measurement_id": settings.get("measurementId", "G-TEST")}


def _google(settings: dict[str, Any], event: str) -> dict[str, Any]:
    (target, *_) = settings.get("ownAuthDestinationsList") or [{"operatingAccountId": "1", "productDestinationId": "2"}]
    found = {"customer_id": target["operatingAccountId"], "conversion_actions": {event: target["productDestinationId"]}}
    manager = {"login_customer_id": target["loginAccountId"]} if "loginAccountId" in target else {}
    return {**found, **manager, "access_token": "T"}


def _tiktok(settings: dict[str, Any]) -> dict[str, Any]:
    offline = {"offline_event_set_id": settings["eventSetID"]} if "eventSetID" in settings else {}
    pixel = settings.get("pixelCode") or settings.get("pixelId")
    return {"access_token": "T", **({"pixel_code": pixel} if pixel else {} if offline else {"pixel_code": "C1"}), **offline}


def _x(settings: dict[str, Any], event: str) -> dict[str, Any]:
    ids = {event: settings.get("eventId", "tw-o8z6j-o8z21")}
    return {"pixel_id": settings.get("pixelId", "o8z6j"), "event_ids": ids, "access_token": "T"}


def leaves(found: object, path: str = "", key: str = "") -> Iterator[tuple[str, str, object]]:
    """(path, the last name in it, value) of every end of a decoded body."""
    if isinstance(found, Mapping):
        for name, part in found.items():
            yield from leaves(part, f"{path}.{name}" if path else name, name)
    elif isinstance(found, list):
        for index, part in enumerate(found):
            yield from leaves(part, f"{path}[{index}]", key)
    else:
        yield path, key, found


def value_of(kind: str, found: object) -> object:
    """A value in a form that two platforms' spellings of it share."""
    if kind == "name":
        return re.sub(r"[^a-z0-9]", "", str(found).lower())
    if kind == "time":
        try:
            if isinstance(found, str) and not re.match(r"\d+(?:\.\d+)?\Z", found):
                return int(datetime.fromisoformat(found).timestamp())
            number = int(float(str(found)))
        except ValueError:
            return str(found)
        return number // next(d for d in (1_000_000, 1000, 1) if number // d > 10**8 or d == 1)
    try:
        return round(float(str(found)), 6)
    except ValueError:
        return str(found).lower() if kind == "money" else str(found)


def facts(body: object) -> dict[Fact, str]:
    """(kind, value) of everything in a body that a platform acts on → its path."""
    found: dict[Fact, str] = {}
    for path, key, leaf in leaves({"body": body}):
        if leaf in (None, "") or isinstance(leaf, bool) or ".user_properties." in path:
            continue
        if isinstance(leaf, str) and _HEX.match(leaf):
            found.setdefault(("hash", leaf), path)
            continue
        kind = _KIND.get(key)
        if key == "id" and re.search(r"(?:items|contents|products)\[\d+\]\.id\Z", path):
            kind = "item"
        elif key == "name" and re.search(r"(?:events\[\d+\]|metric\.data\.attributes)\.name\Z", path):
            kind = "name"
        if kind is not None:
            found.setdefault((kind, value_of(kind, leaf)), path)
    return found


def _masked(path: str, masks: list[str]) -> bool:
    return any(re.match(re.escape(m).replace(r"\[\*\]", r"\[\d+\]") + r"(?:\Z|[.\[])", path) for m in masks)


@cache
def _quirks(file: str) -> frozenset[str]:
    """Digests that hashing.json calls a quirk, of whatever platform, but for those that are right on this one."""
    rows = vectors("hashing")
    platforms = _HASHED_AS.get(file, (file,))
    right = {row.get("sha256") for row in rows if row["kind"] == "platform" and row["platform"] in platforms}
    return frozenset(row["sha256"] for row in rows if row["kind"] == "quirk" and row.get("sha256") not in right)


@cache
def quirky(file: str) -> frozenset[tuple[str, str]]:
    """(peer, field) for which hashing.json shows that the peer does not follow the rule that the platform documents."""
    return frozenset(
        (row["peer"], row["field"])
        for row in vectors("hashing")
        if row["kind"] == "quirk" and row["platform"] in _HASHED_AS.get(file, (file,)) and "documented rule" in row.get("note", "")
    )


def _field(path: str) -> str | None:
    """hashing.json's name of the field at the end of a path."""
    return _HASHED_FIELDS.get(re.sub(r"\[\d+\]", "", path).rpartition(".")[2])


def _recorded(case: Mapping[str, Any]) -> set[Fact]:
    """When the case was recorded: what the peer took for the event's time although the event has one of its own."""
    event = case["input"]
    if event.get("timestamp") is None:
        return set()
    return {("time", value_of("time", event[name])) for name in ("receivedAt", "sentAt") if event.get(name)}


def _typed(case: Mapping[str, Any]) -> set[Fact]:
    """What the author of the case's mapping typed in as a constant, and the event does not say."""
    said = {str(leaf) for _, _, leaf in leaves(case["input"])}
    typed: set[Fact] = set()
    for path, _, leaf in leaves(case.get("mapping") or {}):
        if leaf is None or isinstance(leaf, bool) or str(leaf) in said or "@" in path:
            continue
        typed |= {(kind, value_of(kind, leaf)) for kind in _KEYS}
        typed |= {("hash", sha256(form.encode()).hexdigest()) for form in (str(leaf), str(leaf).strip().lower())}
    return typed


def _requests(body: object) -> object:
    """Matomo's requests stand in one text each."""
    if isinstance(body, Mapping) and isinstance(body.get("requests"), list):
        return [dict(parse_qsl(urlsplit(one).query)) for one in body["requests"]]
    return body


@dataclass
class Score:
    """Of how many facts of other gateways ours hold which."""

    wanted: int = 0
    held: int = 0
    excused: int = 0  #: lacking, and a line of the specification says that they are not to be there
    lacking: list[str] = field(default_factory=list)
    used: set[Deviation] = field(default_factory=set)

    @property
    def plain(self) -> float:
        """Share held of all facts that the data leaves unmasked."""
        return self.held / self.wanted

    @property
    def share(self) -> float:
        """Share held of the facts that the specification does not decide otherwise."""
        return self.held / (self.wanted - self.excused)


def cases(file: str) -> Iterator[Mapping[str, Any]]:
    """Requests that the platform takes, as they are or once masked."""
    for case in vectors(f"destinations/{file}"):
        good = case["kind"] == "platform" or case.get("platform_after_mask")
        if good and "expected_error" not in case and (case.get("expected") or case.get("expected_requests")):
            yield case


def name_of(event: Mapping[str, Any]) -> str:
    """The event's name in the settings that map names."""
    if "entity" in event:
        return str(as_native(event)["event"])
    return str(event.get("event") or {"page": "page_view", "screen": "screen_view"}.get(str(event.get("type")), event.get("type")))


def rendered(file: str, case: Mapping[str, Any]) -> list[object]:
    """The bodies that `destination render` makes of a case's input, as it stands in the file."""
    name, _, settings_of = FILES[file]
    event = case["input"]
    first = event["events"][0] if "events" in event else event
    line = {"event": event, "cookies": case.get("cookies"), "settings": settings_of(case.get("settings") or {}, name_of(first))}
    answer = render_line(load(name), line, show_secrets=True)
    return [_requests(request["body"]) for request in answer.get("requests", [])]


def _expected(case: Mapping[str, Any]) -> Iterator[object]:
    for request in [case["expected"]] if case.get("expected") else case["expected_requests"]:
        query = urlsplit(request["url"]).query
        yield dict(parse_qsl(query)) if "idsite=" in query else request.get("body")


def score(file: str, origin: str = "") -> Score:
    """One file's cases, or those of one origin, against ours."""
    found = Score()
    for case in cases(file):
        if origin and case["origin"] != origin:
            continue
        ours: set[Fact] = set()
        for body in rendered(file, case):
            ours |= facts(body).keys()
        masks, typed, quirks = case.get("mask") or [], _typed(case) | _recorded(case), _quirks(file)
        wanted: dict[Fact, str] = {}
        for body in _expected(case):
            wanted |= facts(body)
        for fact, path in wanted.items():
            if fact in ours:
                found.wanted, found.held = found.wanted + 1, found.held + 1
                continue
            kind, value = fact
            if _masked(path, masks) or fact in typed or value in quirks or (kind == "time" and case.get("volatile")):
                continue
            if kind == "hash" and (case["peer"], _field(path)) in quirky(file):
                continue
            found.wanted += 1
            why = next((d for d in DEVIATIONS if d.covers(file, case, path, value)), None)
            if why is None:
                found.lacking.append(f"{case['id']} {path} = {value!r:.80}")
            else:
                found.excused += 1
                found.used.add(why)
    return found


def main() -> None:
    """Print the table."""
    print(f"{'file':<20}{'tier':>6}{'executed':>10}{'fixture':>9}{'all':>7}{'with deviations':>17}")
    for file, (_, least, _) in FILES.items():
        parts = [score(file, origin) for origin in ("executed", "fixture", "")]
        shown = [f"{s.plain:.3f}" if s.wanted else "-" for s in parts]
        print(f"{file:<20}{1 if least == TIER_1 else 2:>6}{shown[0]:>10}{shown[1]:>9}{shown[2]:>7}{parts[2].share:>17.3f}")
        if "-v" in sys.argv:
            for line in parts[2].lacking:
                print("    ", line)
            for why in sorted(parts[2].used, key=lambda d: d.path):
                print("     may:", json.dumps([why.path, why.why]))


if __name__ == "__main__":
    main()
