"""The platforms' own rules as checks, over every destination and many events: forms, units, enums, and what must not leave."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from ebbgate.cli.destination import render_line
from ebbgate.destinations.kit import Destination
from ebbgate.destinations.registry import DESTINATIONS, load
from ebbgate.destinations.wire import member

CASES: Final = Path(__file__).parent / "cases"
SECRET: Final = "s3cret"
CANARY: Final = {
    "email": "Canary.Bird+x@mail.example",
    "phone": "+49 30 7654321",
    "first_name": "Zephyrina",
    "last_name": "Quillfeather",
}
LEAKS: Final = ("canary.bird", "7654321", "zephyrina", "quillfeather")
NAMES: Final = (
    "page_view", "view_item", "view_item_list", "search", "add_to_cart", "remove_from_cart", "add_to_wishlist", "view_cart",
    "begin_checkout", "add_payment_info", "purchase", "refund", "sign_up", "login", "generate_lead", "subscribe", "quiz_finished",
)  # fmt: skip
GA4_TEXTS: Final = {"page_location": 1000, "page_referrer": 420, "page_title": 300}
TIME_MS: Final = 1_795_300_281_250


def settings_of(name: str) -> dict[str, Any]:
    """Settings of a destination's golden purchase, with every event mapped where there is a map."""
    settings: dict[str, Any] = json.loads((CASES / name / "purchase.json").read_text())["settings"]
    for key in ("conversion_rules", "conversion_actions", "event_ids"):
        if key in settings:
            settings[key] = dict.fromkeys(NAMES, "77")
    return settings


def event(name: str, **more: Any) -> dict[str, Any]:
    """A full event with a canary in each personal field, in its address and in a property."""
    mail = CANARY["email"].replace("@", "%40").replace("+", "%2B")
    return {
        "event": name,
        "id": f"ev-{name}",
        "time": TIME_MS,
        "source": "web",
        "page": {
            "url": f"https://shop.example/p?email={mail}&q=1&to={mail}",
            "referrer": f"https://shop.example/?u={mail}",
            "title": "Shop",
        },
        "visitor": {"client_id": "1.2", "session_id": "1763632000"},
        "user": {"id": "cust-9", **CANARY, "city": "Berlin", "postcode": "10115", "country": "DE"},
        "device": {"user_agent": "Mozilla/5.0 Firefox/145.0", "language": "de-DE"},
        "network": {"ip": "198.51.100.7"},
        "place": {"country": "DE"},
        "order": {
            "id": "R-1",
            "value": 12.5,
            "currency": "EUR",
            "items": [{"id": "SKU", "name": "Tea", "price": 12.5, "quantity": 1}],
        },
        "click": {
            "gclid": "g1",
            "fbclid": "Fb1",
            "ttclid": "t1",
            "msclkid": "m1",
            "epik": "e1",
            "sccid": "s1",
            "rdt_cid": "r1",
            "twclid": "w1",
        },
        "cookie": {"fbp": "fb.1.1731400000000.1", "uetvid": "2f1e"},
        "search": {"term": CANARY["email"] if name == "search" else "tea"},
        "properties": {"note": CANARY["email"], "first_name": CANARY["first_name"], "phone": CANARY["phone"], "color": "red"},
        **more,
    }


def requests_of(destination: Destination, given: Mapping[str, Any], *, show_secrets: bool = False) -> list[dict[str, Any]]:
    """The requests one event becomes; none when it is skipped."""
    answer = render_line(destination, {"event": given, "settings": settings_of(destination.name)}, show_secrets=show_secrets)
    found: list[dict[str, Any]] = answer.get("requests", [])
    return found


def leaves(found: object, path: str = "") -> Iterator[tuple[str, object]]:
    """(path, value) of every end of a decoded body."""
    if isinstance(found, dict):
        for key, part in found.items():
            yield from leaves(part, f"{path}.{key}")
        if not found:
            yield path, found
    elif isinstance(found, list):
        for index, part in enumerate(found):
            yield from leaves(part, f"{path}[{index}]")
        if not found:
            yield path, found
    else:
        yield path, found


def body_of(name: str, event_name: str, **more: Any) -> Any:
    """The body of the one request of an event."""
    (request,) = requests_of(load(name), event(event_name, **more))
    return request["body"]


TAKES_HASHES: Final = sorted(name for name, d in DESTINATIONS.items() if d.demands_hash)


@pytest.mark.parametrize("name", TAKES_HASHES)
def test_no_raw_person_reaches_a_destination_that_takes_hashes(name: str) -> None:
    """E-mail, phone and names stand nowhere in address, headers or body of any event, nor in a page's address or a property."""
    for event_name in NAMES:
        for request in requests_of(load(name), event(event_name)):
            shown = json.dumps(request, ensure_ascii=False).lower()
            assert not [leak for leak in LEAKS if leak in shown], (event_name, shown)


@pytest.mark.parametrize("name", sorted(DESTINATIONS))
def test_no_secret_in_an_address_where_the_platform_offers_another_place(name: str) -> None:
    """Only GA4's Measurement Protocol takes its secret as a parameter; it is declared, so that no log line shows it."""
    (request,) = requests_of(load(name), event("purchase"), show_secrets=True)
    assert (SECRET in request["url"]) == (name == "ga4")


@pytest.mark.parametrize("name", sorted(DESTINATIONS))
def test_secrets_are_shown_as_stars_everywhere(name: str) -> None:
    """Every place where a destination puts a secret is declared, so that what is printed holds none."""
    (request,) = requests_of(load(name), event("purchase"))
    assert SECRET not in json.dumps(request)


@pytest.mark.parametrize("name", sorted(DESTINATIONS))
def test_a_settings_object_never_shows_its_secrets(name: str) -> None:
    """`repr` and `str` of settings, which end up in error messages, hold no secret; all secrets are declared as such."""
    destination = load(name)
    settings = destination.settings.model_validate(settings_of(name))
    assert SECRET not in repr(settings) + str(settings)
    assert set(destination.secret_settings) <= set(destination.settings.model_fields)


@pytest.mark.parametrize("name", sorted(set(DESTINATIONS) - {"matomo", "piwik_pro"}))
def test_no_empty_values(name: str) -> None:
    """No "", null, [] or {} in any body: platforms refuse them or count them as data."""
    allowed = (".userIds",)  # LinkedIn wants the list even when it is empty
    for event_name in NAMES:
        for request in requests_of(load(name), event(event_name)):
            found = leaves(request["body"])
            empty = [path for path, leaf in found if leaf in ("", None, [], {}) and not path.endswith(allowed)]
            assert empty == [], event_name


@pytest.mark.parametrize("name", TAKES_HASHES)
def test_a_field_left_in_clear_by_mistake_is_dropped(name: str) -> None:
    """A destination takes a demanded field only as a digest: a raw value that came through a mistake is left out."""
    from ebbgate.policy.clean import clean_everything
    from tests.unit.destinations.samples import collected

    destination = load(name)
    raw = clean_everything(collected(event("purchase")), destination=name, hashes={}, demands_hash=frozenset())
    row = destination.render(raw, destination.settings.model_validate(settings_of(name)))
    shown = repr(row).lower()
    assert not [leak for leak in LEAKS if leak in shown]


@pytest.mark.parametrize("name", sorted(DESTINATIONS))
def test_the_same_rows_make_the_same_bytes(name: str) -> None:
    """Rendering reads no clock and draws no numbers: a retry is byte-identical."""
    first = requests_of(load(name), event("purchase"), show_secrets=True)
    assert first == requests_of(load(name), event("purchase"), show_secrets=True)


@pytest.mark.parametrize("name", sorted(DESTINATIONS))
def test_declarations_are_complete(name: str) -> None:
    """Each destination says who receives, under which spec, how much fits, and demands only fields it can normalise."""
    destination = load(name)
    assert destination.recipient
    assert destination.docs.startswith(("specs/destinations.md §", "specs/wire-formats.md §"))
    assert destination.batch.events >= 1
    assert destination.demands_hash <= destination.hashes.keys()
    assert all(re.fullmatch(r"[a-z0-9.-]+", host) for host in destination.hosts)
    assert destination.kind in ("advertising", "analytics", "product_analytics", "warehouse", "messaging", "generic")


def test_meta_rules() -> None:
    """Meta: seconds, SHA-256 digests, known action source, an address for website events, contents with ids."""
    for name in NAMES:
        for row in body_of("meta", name)["data"]:
            assert row["event_time"] == TIME_MS // 1000
            assert row["action_source"] == "website"
            assert row["event_source_url"].startswith("https://")
            for key in ("em", "ph", "fn", "ln", "ct", "zp", "country"):
                assert re.fullmatch(r"[0-9a-f]{64}", row["user_data"][key])
            assert row["user_data"]["fbc"] == f"fb.1.{TIME_MS}.Fb1"
            assert all(c["id"] for c in row["custom_data"]["contents"])
    assert body_of("meta", "refund")["data"][0]["event_name"] != "Purchase"


def test_ga4_rules() -> None:
    """GA4: names, at most 25 parameters, numbers and texts only, money with its currency, items with id or name."""
    for name in NAMES:
        body = body_of("ga4", name, properties={f"p{i}": "v" * 300 for i in range(40)})
        assert set(body) <= {
            "client_id", "user_id", "timestamp_micros", "user_properties", "consent", "user_data", "user_location", "ip_override",
            "device", "user_agent", "events",
        }  # fmt: skip
        assert body["timestamp_micros"] == TIME_MS * 1000
        assert set(body["consent"]) <= {"ad_user_data", "ad_personalization"}
        for found in body["events"]:
            assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,39}", found["name"])
            assert len(found["params"]) <= 25
            assert "value" not in found["params"] or "currency" in found["params"]
            for key, value in found["params"].items():
                assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,39}", key)
                assert isinstance(value, (str, int, float)) or key == "items"
                assert not isinstance(value, str) or len(value) <= GA4_TEXTS.get(key, 100)
            assert all("item_id" in i or "item_name" in i for i in found["params"].get("items", []))


#: destination → where its time and its amount stand, and the forms that its documentation asks for.
UNITS: Final[Mapping[str, tuple[tuple[str | int, ...], object, tuple[str | int, ...], object]]] = {
    "meta": (("data", 0, "event_time"), TIME_MS // 1000, ("data", 0, "custom_data", "value"), 12.5),
    "tiktok": (("data", 0, "event_time"), TIME_MS // 1000, ("data", 0, "properties", "value"), 12.5),
    "snapchat": (("data", 0, "event_time"), TIME_MS // 1000, ("data", 0, "custom_data", "value"), 12.5),
    "microsoft": (("data", 0, "eventTime"), TIME_MS // 1000, ("data", 0, "customData", "value"), 12.5),
    "pinterest": (("data", 0, "event_time"), TIME_MS // 1000, ("data", 0, "custom_data", "value"), "12.5"),
    "reddit": (("data", "events", 0, "event_at"), TIME_MS, ("data", "events", 0, "metadata", "value"), 12.5),
    "x": (("conversions", 0, "conversion_time"), "2026-11-21T22:31:21.250Z", ("conversions", 0, "value"), "12.5"),
    "linkedin": (("conversionHappenedAt",), TIME_MS, ("conversionValue", "amount"), "12.5"),
    "amplitude": (("events", 0, "time"), TIME_MS, ("events", 0, "revenue"), 12.5),
    "mixpanel": ((0, "properties", "time"), TIME_MS, (0, "properties", "value"), 12.5),
}


@pytest.mark.parametrize("name", UNITS)
def test_times_and_money_stand_in_the_platforms_units(name: str) -> None:
    """Seconds or milliseconds, numbers or decimal texts: as each platform's documentation says."""
    body = body_of(name, "purchase")
    time_path, time, money_path, money = UNITS[name]
    assert (member(body, *time_path), member(body, *money_path)) == (time, money)


def test_enums_of_event_names() -> None:
    """Where a platform takes only its own names, no other one is ever sent."""
    pinterest = {
        "add_payment_info", "add_to_cart", "add_to_wishlist", "app_install", "checkout", "custom", "initiate_checkout", "lead",
        "page_visit", "search", "signup", "subscribe", "view_category", "view_content", "watch_video",
    }  # fmt: skip
    reddit = {"PAGE_VISIT", "VIEW_CONTENT", "SEARCH", "ADD_TO_CART", "ADD_TO_WISHLIST", "PURCHASE", "LEAD", "SIGN_UP", "CUSTOM"}
    for name in NAMES:
        assert body_of("pinterest", name)["data"][0]["event_name"] in pinterest
        kind = body_of("reddit", name)["data"]["events"][0]["type"]
        assert kind["tracking_type"] in reddit
        assert (kind["tracking_type"] == "CUSTOM") == ("custom_event_name" in kind)
        assert re.fullmatch(r"[A-Z_]+[1-5]?", body_of("snapchat", name)["data"][0]["event_name"])


@pytest.mark.parametrize("name", ["meta", "tiktok", "pinterest", "snapchat", "reddit"])
def test_limited_data_use_is_stated(name: str) -> None:
    """The flag of a reduced sending becomes the platform's own field."""
    place = {"country": "US", "region": "US-CA"}
    plain = json.dumps(body_of(name, "purchase", place=place))
    limited = json.dumps(body_of(name, "purchase", place=place, flags={"limited_data_use": True}))
    marks = {"meta": '"LDU"', "tiktok": '"limited_data_use": true', "pinterest": '"LDP"', "snapchat": '"LDU"', "reddit": '"LDU"'}
    assert marks[name] in limited
    assert marks[name] not in plain


def test_google_gets_no_address_of_visitors_in_the_eea_or_of_unknown_place() -> None:
    """Data Manager: an IP address only of visitors known to be outside EEA, UK and Switzerland."""
    user = {"id": "u", "email": CANARY["email"]}
    inside = body_of("google_data_manager", "purchase", user=user)
    unknown = body_of("google_data_manager", "purchase", user=user, place={})
    outside = body_of("google_data_manager", "purchase", user=user, place={"country": "US"})
    assert "198.51.100.7" not in json.dumps([inside, unknown])
    assert "198.51.100.7" in json.dumps(outside)


def test_google_click_ids_stand_alone() -> None:
    """gclid, gbraid and wbraid are never sent together."""
    body = body_of("google_data_manager", "purchase", click={"gclid": "a", "gbraid": "b", "wbraid": "c"})
    assert body["events"][0]["adIdentifiers"] == {"gclid": "a"}


@pytest.mark.parametrize("name", ["ga4", "google_data_manager", "microsoft"])
def test_a_refusal_of_advertising_is_stated_and_kept(name: str) -> None:
    """Denied: Google gets no user data and no click id, Microsoft a D; unknown consent is never written as a grant."""
    for request in requests_of(load(name), event("sign_up", consent={"purposes": {"advertising": "denied"}})):
        shown = json.dumps(request)
        assert '"G"' not in shown
        assert "GRANTED" not in shown
        if name != "microsoft":
            assert not [w for w in ("sha256_email", "emailAddress", "g1", "198.51.100.7") if w in shown]
