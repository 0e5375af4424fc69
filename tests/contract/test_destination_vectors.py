"""Other gateways' requests and hashes for the same inputs, held against ours on the facts that a platform acts on.

Facts are compared by value, not by place: event name, ids, time, money, products, digests, click ids, addresses. Where peers differ
among themselves the platform's documentation decides (specs/destinations.md §1.3); those known deviations are named here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import pytest

from ebbgate.cli.destination import hash_line, render_line
from ebbgate.destinations.registry import load
from tests.vectors import load as vectors

TIER_1, TIER_2 = 0.95, 0.90

#: file → (destination, least overlap, settings of a case).
FILES: Final[Mapping[str, tuple[str, float, Callable[[dict[str, Any], str], dict[str, Any]]]]] = {
    "ga4": ("ga4", TIER_1, lambda s, e: {"api_secret": "S", **_stream(s)}),
    "meta_capi": ("meta", TIER_1, lambda s, e: {"pixel_id": str(s["pixelId"]), "access_token": "T"}),
    "google_datamanager": ("google_data_manager", TIER_1, lambda s, e: _google(s, e)),
    "tiktok": ("tiktok", TIER_1, lambda s, e: {"pixel_code": s.get("pixelCode") or s.get("pixelId"), "access_token": "T"}),
    "linkedin": ("linkedin", TIER_1, lambda s, e: {"conversion_rules": {e: s["conversionRuleUrn"]}, "access_token": "T"}),
    "microsoft_ads": ("microsoft", TIER_1, lambda s, e: {"tag_id": s.get("UetTag") or s["uetTagId"], "access_token": "T"}),
    "matomo": ("matomo", TIER_1, lambda s, e: {"url": s["trackingUrl"], "site_id": s["siteId"], "token_auth": s["tokenAuth"]}),
    "posthog": ("posthog", TIER_1, lambda s, e: {"host": "https://us.i.posthog.com", "project_api_key": "phc_TEST"}),
    "pinterest": ("pinterest", TIER_2, lambda s, e: {"ad_account_id": "549755885175", "access_token": "T"}),
    "snapchat": ("snapchat", TIER_2, lambda s, e: {"pixel_id": "11111111-2222-3333-4444-555555555555", "access_token": "T"}),
    "reddit": ("reddit", TIER_2, lambda s, e: {"pixel_id": s["accountId"], "access_token": "T"}),
    "x_ads": ("x", TIER_2, lambda s, e: {"pixel_id": s["pixelId"], "event_ids": {e: s["eventId"]}, "access_token": "T"}),
    "mixpanel": ("mixpanel", TIER_2, lambda s, e: {"project_token": s.get("projectToken") or s.get("token"), "api_secret": "S"}),
    "amplitude": ("amplitude", TIER_2, lambda s, e: {"api_key": "TESTKEY"}),
    "klaviyo": ("klaviyo", TIER_2, lambda s, e: {"api_key": "TEST_KEY"}),
}

#: Peers hash or send these forms although the platforms document others (§1.3, "Traps found").
KNOWN_DEVIATIONS: Final = frozenset(
    form
    for raw in (
        "94107-1234", "0049 30 901820", "004930901820", "+004930901820", "Germany", "germany", "1990-12-31", "1985-03-02",
        "+1 (415) 555-0132", "14155550132", "frankfurt am main", "san francisco", " Jürgen ", "1984-07-04",
        "jane.doe+news@gmail.com", " jane.doe+news@gmail.com ", "jürgen.müller@example.de", " Jane.Doe+news@Gmail.com ",
    )
    for form in (raw, sha256(raw.encode()).hexdigest())
)  # fmt: skip

#: kind of fact → keys, or whole ends of a path, under which platforms keep it.
_ENDS: Final = {
    "name": r"event_name|eventName|event_type|tracking_type|data\[\d+\]\.event|events\[\d+\]\.name|metric\S*name",
    "id": r"event_id|eventId|transactionId|transaction_id|order_id|conversion_id|unique_id|messageId|client_id",
    "time": r"event_time|eventTime|event_at|timestamp_micros|conversionHappenedAt|conversion_time|eventTimestamp",
    "money": r"value|conversionValue|amount|revenue|currency|price_currency|currencyCode",
    "item": r"(?:items|contents|products)\[\d+\]\.(?:\w*[iI]d|price|item_price|unitPrice|content_price|quantity)",
    "click": r"fbc|fbp|ttclid|ttp|twclid|click_id|sc_click_id|sc_cookie1|msclkid|gclid|gbraid|wbraid",
    "url": r"page_location|event_source_url|eventSourceUrl|page\.url|url|\$current_url",
}
_KINDS: Final = tuple((kind, re.compile(rf"(?:^|\.)(?:{ends})$")) for kind, ends in _ENDS.items())
_HEX: Final = re.compile(r"[0-9a-f]{64}\Z")


def _stream(settings: dict[str, Any]) -> dict[str, Any]:
    app = settings.get("firebaseAppId")
    return {"firebase_app_id": app} if app else {"measurement_id": settings.get("measurementId", "G-TEST")}


def _google(settings: dict[str, Any], event: str) -> dict[str, Any]:
    target = settings["ownAuthDestinationsList"][0]
    actions = {event: target["productDestinationId"]}
    return {"customer_id": target["operatingAccountId"], "conversion_actions": actions, "access_token": "T"}


def _event_name(event: Mapping[str, Any]) -> str:
    return str(event.get("event") or {"page": "page_view", "screen": "screen_view"}.get(str(event.get("type")), event.get("type")))


def _leaves(found: object, path: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(found, dict):
        for key, part in found.items():
            yield from _leaves(part, f"{path}.{key}" if path else key)
    elif isinstance(found, list):
        for index, part in enumerate(found):
            yield from _leaves(part, f"{path}[{index}]")
    else:
        yield path, found


def _value(kind: str, found: object) -> object:
    if kind == "name":
        return re.sub(r"[^a-z0-9]", "", str(found).lower())
    if kind == "time":
        if isinstance(found, str) and not found.isdigit():
            return int(datetime.fromisoformat(found).timestamp())
        number = int(str(found))
        return number // next(d for d in (1_000_000, 1000, 1) if number // d > 10**8 or d == 1)
    try:
        return round(float(str(found)), 6)
    except ValueError:
        return str(found).lower() if kind == "money" else str(found)


def _masked(path: str, masks: list[str]) -> bool:
    return any(re.match(re.escape(m).replace(r"\[\*\]", r"\[\d+\]") + r"(?:$|[.\[])", path) for m in masks)


def facts(body: object, masks: list[str]) -> set[tuple[str, object]]:
    """(kind, value) of everything in a body that a platform acts on, without what the vector's masks name."""
    found: set[tuple[str, object]] = set()
    for path, leaf in _leaves({"body": body}):
        if leaf in (None, "") or isinstance(leaf, bool) or _masked(path, masks) or ".user_properties." in path:
            continue
        if isinstance(leaf, str) and _HEX.match(leaf):
            found.add(("hash", leaf))
            continue
        found |= {(kind, _value(kind, leaf)) for kind, pattern in _KINDS if pattern.search(path)}
    return {f for f in found if f[1] not in KNOWN_DEVIATIONS}


def _matomo(hit: str) -> dict[str, str]:
    wanted = {"idsite", "url", "uid", "search", "ec_id", "ec_items", "ec_tx", "ec_sh", "cip", "ua", "urlref"}
    pairs = parse_qsl(urlsplit(hit).query)
    # An empty figure is no fact, and a product that a peer reports as a cart update is an event here (§2.7: "needs whole cart").
    order = any(k == "ec_id" for k, _ in pairs)
    return {k: v for k, v in pairs if k in wanted and v != "0" and (k != "ec_items" or order)}


def _amounts(event: Mapping[str, Any]) -> set[object]:
    """Amounts that an event offers: which of them is the value, peers do not agree on (§1.1)."""
    properties = event.get("properties") or {}
    return {_value("money", properties[k]) for k in ("value", "total", "revenue") if properties.get(k) is not None}


def _overlap(destination: str, case: Mapping[str, Any], settings: dict[str, Any]) -> tuple[int, int, set[tuple[str, object]]]:
    event = dict(case["input"])
    if case.get("cookies"):
        event["context"] = {**(event.get("context") or {}), "cookies": case["cookies"]}
    answer = render_line(load(destination), {"event": event, "settings": settings}, show_secrets=True)
    expected = case.get("expected") or case["expected_requests"][0]
    body = answer["requests"][0]["body"] if "requests" in answer else {}
    if destination == "matomo":
        ours: set[tuple[str, object]] = {("param", pair) for pair in _matomo(body["requests"][0]).items()}
        wanted: set[tuple[str, object]] = {("param", pair) for pair in _matomo(expected["url"]).items()}
    else:
        masks = case.get("mask") or []
        ours, wanted = facts(body, []), facts(expected["body"], masks)
    amounts = _amounts(event)
    if any(kind == "money" and value in amounts for kind, value in ours):
        wanted = {f for f in wanted if not (f[0] == "money" and f[1] in amounts)}
    return len(wanted & ours), len(wanted), wanted - ours


def _comparable(case: Mapping[str, Any]) -> bool:
    """Well-formed by the platform's documentation, one event of the Segment spec, and made from the event alone.

    A Segment fixture with a mapping of its own shows what that mapping's author typed in, not what the event says.
    """
    if case["input_format"] != "segment" or "events" in case["input"] or "expected_error" in case:
        return False
    if case["origin"] != "executed":
        return False
    return case["kind"] == "platform" or bool(case.get("platform_after_mask"))


@pytest.mark.parametrize("file", FILES)
def test_requests_agree_with_the_platform_vectors(file: str) -> None:
    """Of the facts in well-formed requests of other gateways, ours for the same events hold at least the share of their tier."""
    destination, least, settings_of = FILES[file]
    hits = total = 0
    missing: list[str] = []
    for case in vectors(f"destinations/{file}"):
        if not _comparable(case):
            continue
        found, wanted, lost = _overlap(destination, case, settings_of(case.get("settings") or {}, _event_name(case["input"])))
        hits, total = hits + found, total + wanted
        missing += [f"{case['id']} {kind}: {value!r:.80}" for kind, value in sorted(lost, key=repr)]
    assert total, "no comparable case"
    assert hits / total >= least, f"{hits}/{total}\n" + "\n".join(missing)


#: Segment's own fixtures, masked as their notes say. Most show what the author of a mapping typed in (an event time, a second
#: external id, a promotion as a product), so the shares say less about a platform than the executed ones.
FIXTURES: Final = {"ga4": 0.94, "meta_capi": 0.95, "tiktok": 0.80, "mixpanel": 1.0}


@pytest.mark.parametrize("file", FIXTURES)
def test_fixtures_of_peers_agree_but_for_what_their_mapping_makes_up(file: str) -> None:
    """Where a fixture's request follows from its event, so does ours."""
    destination, _, settings_of = FILES[file]
    hits = total = 0
    for case in vectors(f"destinations/{file}"):
        good = case["kind"] == "platform" or case.get("platform_after_mask")
        if not good or case["origin"] != "fixture" or case["input_format"] != "segment" or "expected_error" in case:
            continue
        if "events" in case["input"] or "eventSetID" in (case.get("settings") or {}):
            continue
        found, wanted, _ = _overlap(destination, case, settings_of(case.get("settings") or {}, _event_name(case["input"])))
        hits, total = hits + found, total + wanted
    assert total, "no comparable case"
    assert hits / total >= FIXTURES[file], f"{hits}/{total}"


def test_linkedin_gets_names_where_the_settings_say_so() -> None:
    """With `send_names` the two names stand together in userInfo, as the platform takes them; without it no name leaves."""
    compared = 0
    for case in vectors("destinations/linkedin"):
        info = ((case.get("expected") or {}).get("body") or {}).get("user", {}).get("userInfo") or {}
        if case["origin"] != "executed" or not info.get("firstName"):
            continue
        settings = FILES["linkedin"][2](case["settings"], _event_name(case["input"]))
        event = {**case["input"], "context": {**case["input"]["context"], "cookies": case.get("cookies") or {}}}
        (asked,) = render_line(load("linkedin"), {"event": event, "settings": {**settings, "send_names": True}})["requests"]
        ours = asked["body"]["user"]["userInfo"]
        assert (ours["firstName"], ours["lastName"]) == (info["firstName"].strip(), info["lastName"].strip())
        (asked,) = render_line(load("linkedin"), {"event": event, "settings": settings})["requests"]
        assert "userInfo" not in asked["body"]["user"]
        compared += 1
    assert compared >= 5


def test_hashing_vectors_all_agree() -> None:
    """Every documented (platform, field, value) comes out as its normalised form and digest, every invalid one is rejected."""
    wrong = []
    for case in vectors("hashing"):
        if case["kind"] != "platform":
            continue
        line = {"platform": case["platform"], "field": case["field"], "value": case["raw"], "encoding": case.get("encoding")}
        answer = hash_line(line)
        good = (
            "rejected" in answer
            if not case["valid"]
            else answer == {"normalized": case["normalized"], "sha256": case.get("sha256")}
        )
        if not good:
            wrong.append(case["id"])
    assert wrong == []


def test_events_that_a_platform_refuses_for_missing_money_words_are_skipped() -> None:
    """An amount without a currency, or a currency that is none, never leaves: the platforms' validators refuse both."""
    refused = 0
    for file, words in (("ga4", "urrency is required"), ("ga4", "currency or top-level"), ("meta_capi", "not a valid currency")):
        destination, _, settings_of = FILES[file]
        for case in vectors(f"destinations/{file}"):
            if case["kind"] != "platform" or words not in (case.get("expected_error") or {}).get("message", ""):
                continue
            line = {"event": case["input"], "settings": settings_of(case["settings"], _event_name(case["input"]))}
            assert "skipped" in render_line(load(destination), line), case["id"]
            refused += 1
    assert refused >= 5
