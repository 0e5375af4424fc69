from __future__ import annotations

import json
from typing import Any

import pytest

from ebbgate.deliver.batching import batches
from ebbgate.destinations.kit import Skip
from ebbgate.destinations.registry import load
from ebbgate.model import Outcome
from tests.unit.destinations.samples import TIME_MS, cleaned

SETTINGS: dict[str, dict[str, Any]] = {
    "meta": {"pixel_id": "1", "access_token": "t"},
    "microsoft": {"tag_id": "1", "access_token": "t"},
    "x": {"pixel_id": "p", "event_ids": {"purchase": "tw-p-1"}, "access_token": "t"},
    "ga4": {"measurement_id": "G-1", "api_secret": "s"},
    "posthog": {"project_api_key": "k"},
    "mixpanel": {"project_token": "t"},
    "snapchat": {"pixel_id": "1", "access_token": "t"},
    "matomo": {"url": "https://m.example", "site_id": 1, "token_auth": "t"},
}


def rendered(name: str, native: dict[str, Any], **more: Any) -> Any:
    destination = load(name)
    clean = cleaned(destination, {"event": "purchase", "id": "e1", **native}, **more)
    return destination.render(clean, destination.settings.model_validate(SETTINGS[name]))


@pytest.mark.parametrize(
    ("cookie", "click", "wanted"),
    [
        (None, None, None),
        ("fb.1.5.IwOld", None, "fb.1.5.IwOld"),
        (None, "IwNew", f"fb.1.{TIME_MS}.IwNew"),
        ("fb.1.5.IwNew", "IwNew", "fb.1.5.IwNew"),
        ("fb.1.5.IwOld", "IwNew", f"fb.1.{TIME_MS}.IwNew"),
        ("fb.2.5.Iw.Dots", "Iw.Dots", "fb.2.5.Iw.Dots"),
    ],
)
def test_meta_keeps_the_cookie_until_a_newer_click(cookie: str | None, click: str | None, wanted: str | None) -> None:
    """`_fbc` is the cookie, or built from a click id that differs; its case is kept."""
    native: dict[str, Any] = {
        "network": {"ip": "198.51.100.7"},
        "order": {"value": 1, "currency": "EUR"},
        "cookie": {},
        "click": {},
    }
    if cookie:
        native["cookie"]["fbc"] = cookie
    if click:
        native["click"]["fbclid"] = click
    assert rendered("meta", native)["user_data"].get("fbc") == wanted


@pytest.mark.parametrize(("state", "letter"), [("granted", "G"), ("denied", "D"), (None, "D")])
def test_microsoft_gets_a_g_only_for_an_explicit_grant(state: str | None, letter: str) -> None:
    """Unknown is written as denied."""
    google = {"ad_storage": state} if state else {}
    assert rendered("microsoft", {"network": {"ip": "198.51.100.7"}}, google=google)["adStorageConsent"] == letter


def test_x_never_gets_address_and_agent_alone() -> None:
    """The pair counts only beside another identifier; alone the event is invalid."""
    native = {"network": {"ip": "198.51.100.7"}, "device": {"user_agent": "UA"}}
    assert rendered("x", native) == Skip(Outcome.INVALID, "no_identifier")
    assert len(rendered("x", {**native, "click": {"twclid": "t"}})["identifiers"]) == 2


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ({"country": "DE", "region": "DE-BE"}, {"country_id": "DE", "region_id": "DE-BE"}),
        ({"country": "Germany", "region": "Berlin"}, {"country_id": "DE"}),
        ({"country": "nowhere", "region": "de-be"}, None),
    ],
)
def test_ga4_is_told_codes_of_places_or_nothing(place: dict[str, str], told: dict[str, str] | None) -> None:
    """Google refuses a request whose country or region is no ISO code, and with it all events of the request."""
    native = {"event": "page_view", "visitor": {"client_id": "1.2"}, "place": place}
    assert rendered("ga4", native)["top"].get("user_location") == told


def test_ga4_rows_of_two_people_never_share_a_request() -> None:
    """Client, user, consent and device stand once in a request, so they are the key of a batch."""
    key = load("ga4").batch_key
    assert key is not None
    base: dict[str, Any] = {"event": "scroll", "visitor": {"client_id": "1.2"}}
    rows = [rendered("ga4", n) for n in (base, {**base, "user": {"id": "u"}}, {**base, "visitor": {"client_id": "3.4"}})]
    rows.append(rendered("ga4", base, google={"ad_user_data": "denied"}))
    assert len({key(row) for row in rows}) == 4
    assert key(rows[0]) == key(rendered("ga4", {**base, "id": "other"}))


@pytest.mark.parametrize("name", ["ga_x", "firebase_x", "google_x", "_x", "error", "session_start", "notification_open", "gtag.x"])
def test_ga4_reserved_names_are_invalid(name: str) -> None:
    """Google drops them without a word; here they are told."""
    from ebbgate.destinations.ga4 import event_name

    assert event_name(name) == Skip(Outcome.INVALID, "event_name_reserved")


def test_posthog_makes_no_profile_of_an_anonymous_visitor_and_looks_up_no_place() -> None:
    """Without a user id no person profile; without an address of the visitor no look-up of ours."""
    properties = rendered("posthog", {"visitor": {"anonymous_id": "a"}})["properties"]
    assert properties["$process_person_profile"] is False
    assert properties["$geoip_disable"] is True


@pytest.mark.parametrize("identifier", ["x" * 40, "order 1", "a_b"])
def test_mixpanel_insert_ids_fit(identifier: str) -> None:
    """At most 36 letters, digits and dashes; another id becomes a stable one of that form."""
    found = rendered("mixpanel", {"id": identifier})["properties"]["$insert_id"]
    assert found != identifier
    assert len(found) <= 36
    assert found == rendered("mixpanel", {"id": identifier})["properties"]["$insert_id"]


def test_matomo_needs_an_order_number_and_an_amount_for_an_order() -> None:
    """An order without either would be counted as a cart."""
    assert rendered("matomo", {"order": {"value": 1}}) == Skip(Outcome.INVALID, "order_id_or_value_missing")
    assert rendered("matomo", {"event": "identify"}) == Skip(Outcome.UNMAPPED, "no_hit_for_this_event")


def test_a_currency_that_is_none_makes_an_event_invalid() -> None:
    """A platform would refuse it, or worse, count it in its own currency."""
    for name in ("meta", "ga4", "snapchat"):
        native = {
            "order": {"value": 1, "currency": "Euros"},
            "visitor": {"client_id": "1.2"},
            "network": {"ip": "198.51.100.7"},
            "device": {"user_agent": "UA"},
            "page": {"url": "https://shop.example/"},
        }
        assert rendered(name, native) == Skip(Outcome.INVALID, "currency")


def test_pinterest_gets_a_language_of_two_letters_or_none() -> None:
    """`fil-PH` is Filipino, not Finnish."""
    pinterest = load("pinterest")
    settings = pinterest.settings.model_validate({"ad_account_id": "1", "access_token": "s3cret"})
    wanted = {"de-DE": "de", "EN": "en", "fil-PH": None, "0": None}
    for given, language in wanted.items():
        native = {"event": "page_view", "network": {"ip": "198.51.100.7"}, "device": {"user_agent": "x", "language": given}}
        row = pinterest.render(cleaned(pinterest, native), settings)
        assert not isinstance(row, Skip)
        assert row.get("language") == language


def test_mixpanel_ids_that_the_platform_refuses_never_leave() -> None:
    """An id that stands for everybody is left out; one that is too long is not cut, which could make two people one."""
    mixpanel = load("mixpanel")
    settings = mixpanel.settings.model_validate({"project_token": "s3cret"})
    for given in ("anon", "00000000-0000-0000-0000-000000000000", "[]"):
        row = mixpanel.render(cleaned(mixpanel, {"event": "quiz", "user": {"id": given}}), settings)
        assert not isinstance(row, Skip)
        assert row["properties"]["distinct_id"] == ""
    assert isinstance(mixpanel.render(cleaned(mixpanel, {"event": "quiz", "user": {"id": "é" * 128}}), settings), Skip)


def test_google_names_at_most_ten_conversion_actions_a_request() -> None:
    """Events of twelve actions go out in two requests, each naming the actions of its own events; one action needs no reference."""
    destination = load("google_data_manager")
    actions = {f"event_{number}": str(100 + number) for number in range(12)}
    settings = destination.settings.model_validate({"customer_id": "1", "conversion_actions": actions, "access_token": "t"})
    rows = []
    for name in actions:
        row = destination.render(cleaned(destination, {"event": name, "id": name, "user": {"email": "ana@b.example"}}), settings)
        assert not isinstance(row, Skip)
        rows.append(row)
    groups = batches(rows, limit=destination.batch.events, key=destination.batch_key)
    bodies = [json.loads(destination.envelope(group, settings).body) for group in groups]
    assert [len(body["destinations"]) for body in bodies] == [10, 2]
    for body in bodies:
        named = {found["reference"] for found in body["destinations"]}
        assert {reference for found in body["events"] for reference in found["destinationReferences"]} == named
