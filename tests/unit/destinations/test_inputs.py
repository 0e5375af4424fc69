"""What `destination render` reads beside plain events: walkerOS events, cookies beside an event, what Segment's plug-ins add."""

from __future__ import annotations

from typing import Any

import pytest

from ebbgate.cli.destination import render_line
from ebbgate.cli.destination_walkeros import as_native, is_walkeros
from ebbgate.collect import segment
from ebbgate.destinations.registry import load
from ebbgate.model import Event, Trust

PIXEL = {"pixel_id": "1", "access_token": "s3cret"}
WALKEROS: dict[str, Any] = {
    "name": "order complete", "entity": "order", "action": "complete", "id": "w-1", "timestamp": 1_795_300_281_250,
    "data": {"id": 77, "total": 25, "currency": "EUR", "tax": True}, "user": {"id": "u-1", "email": "ana@shop.example"},
    "nested": [{"entity": "product", "data": {"id": "A", "price": 12.5, "quantity": 2}}, {"entity": "gift", "data": {"id": "B"}}, 3],
    "source": {"platform": "web", "url": "https://shop.example/thanks"},
}  # fmt: skip


def read(**more: Any) -> Event:
    """A Segment-spec event as the intake understands it."""
    given = {"type": "track", "event": "Order Completed", "messageId": "m", "timestamp": "2026-11-21T22:31:21.250Z", **more}
    event, _ = segment.parse_event(given, site="shop", trust=Trust.SERVER, received_ms=1_795_300_281_250)
    return event


def test_a_walkeros_order_is_a_purchase_with_its_products() -> None:
    """Entity and action become GA4's name, nested products the items, numbers stay numbers; a gift is no product."""
    found = as_native(WALKEROS)
    assert (found["event"], found["id"], found["source"]) == ("purchase", "w-1", "web")
    assert found["order"] == {"id": "77", "total": 25, "currency": "EUR", "items": [{"id": "A", "price": 12.5, "quantity": 2}]}
    (request,) = render_line(load("meta"), {"event": WALKEROS, "settings": PIXEL})["requests"]
    (row,) = request["body"]["data"]
    assert (row["event_name"], row["event_id"], row["custom_data"]["value"]) == ("Purchase", "w-1", 25)


def test_an_unknown_walkeros_action_keeps_its_own_name() -> None:
    """Nothing is guessed: `quiz finish` is `quiz_finish`; an entity that is the product itself is its own item."""
    assert as_native({**WALKEROS, "name": "quiz finish", "entity": "quiz", "action": "finish"})["event"] == "quiz_finish"
    own = as_native({**WALKEROS, "entity": "product", "action": "add", "data": {"id": "A", "price": 2}, "nested": []})
    assert (own["event"], own["order"]) == ("add_to_cart", {"items": [{"id": "A", "price": 2}]})
    assert not is_walkeros({"entity": "order", "action": 3, "name": "x"})


def test_cookies_beside_an_event_count_as_its_own() -> None:
    """The vector files keep them there; what stands in the event's context wins."""
    event = {
        "type": "track",
        "event": "Signed Up",
        "messageId": "m",
        "timestamp": "2026-11-21T22:31:21Z",
        "context": {"ip": "1.2.3.4"},
    }
    beside = {"event": event, "cookies": {"_fbp": "fb.1.1731400000000.7"}, "settings": PIXEL}
    (request,) = render_line(load("meta"), beside)["requests"]
    assert request["body"]["data"][0]["user_data"]["fbp"] == "fb.1.1731400000000.7"
    inside = {**event, "context": {"ip": "1.2.3.4", "cookies": {"_fbp": "fb.1.1731400000000.8"}}}
    (request,) = render_line(load("meta"), {**beside, "event": inside})["requests"]
    assert request["body"]["data"][0]["user_data"]["fbp"] == "fb.1.1731400000000.8"


def test_ids_that_segments_plug_ins_add_are_read() -> None:
    """Click ids and browser ids of `integrations` by the plug-in's name; a cookie of the request is better, junk is left out."""
    found = read(
        integrations={
            "All": True,
            "Snap Conversions Api": {"click_id": "sc-1", "uuid_c1": "sc-2"},
            "Facebook Conversions API (Actions)": {"fbp": "fb.1.1.1", "fbc": "x" * 2000},
            "Actions Google Analytic 4": {"session_id": 1763632000},
            "Something Else": {"click_id": "no"},
        },
        context={"cookies": {"_scid": "from-cookie"}},
    ).fields
    assert (found["click.sccid"], found["cookie.scid"]) == ("sc-1", "from-cookie")
    assert (found["cookie.fbp"], found["visitor.session_id"]) == ("fb.1.1.1", "1763632000")
    assert "cookie.fbc" not in found
    assert "no" not in found.values()


def test_a_person_in_the_properties_gets_its_place() -> None:
    """Address, birthday and the first of several e-mail addresses are the person's; they do not stay among the properties."""
    found = read(
        properties={
            "email": ["ana@shop.example", "b@shop.example"],
            "address": {"city": "Bonn", "country": "DE", "postalCode": "53111"},
            "birthday": "1990-01-02",
            "gender": "Female",
        }
    ).fields
    assert (found["user.email"], found["user.city"], found["user.postcode"]) == ("ana@shop.example", "Bonn", "53111")
    assert (found["user.birthday"], found["user.gender"]) == ("1990-01-02", "f")
    assert [path for path in found if path.startswith(("properties.address", "properties.birthday", "properties.email"))] == []


@pytest.mark.parametrize("word", ["women", "unisex", "Kids"])
def test_the_gender_of_a_product_is_no_persons(word: str) -> None:
    """Only a word for a person's gender becomes `user.gender`."""
    assert "user.gender" not in read(properties={"gender": word}).fields


def test_a_phones_ids_are_read() -> None:
    """Installation id and advertising id of the mobile SDKs have fields of their own, which a policy has to name."""
    found = read(context={"device": {"id": "D-1", "advertisingId": "A-1"}}).fields
    assert (found["visitor.device_id"], found["visitor.advertising_id"]) == ("D-1", "A-1")
