from __future__ import annotations

from typing import Any

import pytest

from ebbgate.collect.segment import parse_event
from ebbgate.collect.segment_words import event_name
from ebbgate.errors import EventError
from ebbgate.model import Event, Signals, Trust

TIME = "2026-11-21T22:31:21.250Z"
TIME_MS = 1_795_300_281_250


def parse(**obj: Any) -> tuple[Event, Signals]:
    base = {"type": "track", "event": "Order Completed", "messageId": "m1", "timestamp": TIME}
    return parse_event({**base, **obj}, site="shop", trust=Trust.SERVER, received_ms=TIME_MS + 500)


@pytest.mark.parametrize(
    ("own", "name"),
    [
        ("Order Completed", "purchase"), ("order_completed", "purchase"), ("Product Added", "add_to_cart"), ("Signed In", "login"),
        ("Lead Captured", "generate_lead"), ("Select Promotion", "select_promotion"), ("Quiz Finished", "Quiz Finished"),
        ("Product List Viewed", "view_item_list"), ("Page View", "page_view"),
    ],
)  # fmt: skip
def test_event_names(own: str, name: str) -> None:
    """The spec's names become GA4's, names of the site's own stay."""
    assert event_name(own) == name


def test_an_order() -> None:
    """Money, products and the person go to their places, the rest stays under `properties`; numbers may come as text."""
    event, _ = parse(
        userId="u1",
        anonymousId="a1",
        context={
            "ip": "203.0.113.9",
            "userAgent": "UA",
            "page": {"url": "https://shop.example/?gclid=Cj&utm_source=n"},
            "traits": {"email": "a@b.example", "address": {"country": "DE", "postalCode": "10115"}},
            "cookies": {"_fbp": "fb.1.1.2", "session": "s3cret"},
        },
        properties={
            "order_id": 77,
            "total": "12.50",
            "currency": "EUR",
            "products": [{"product_id": "S1", "price": "6.25", "quantity": 2, "secret_margin": 3}],
            "color": "red",
            "nested": {"a": {"b": 1}},
        },
    )
    assert (event.name, event.id, event.time_ms, event.dialect) == ("purchase", "m1", TIME_MS, "segment")
    expected = {
        "event.original_name": "Order Completed",
        "event.source": "web",
        "order.id": "77",
        "order.total": 12.5,
        "order.items": ({"id": "S1", "price": 6.25, "quantity": 2},),
        "user.email": "a@b.example",
        "user.country": "DE",
        "visitor.anonymous_id": "a1",
        "click.gclid": "Cj",
        "campaign.source": "n",
        "cookie.fbp": "fb.1.1.2",
        "properties.color": "red",
        "properties.nested.a.b": 1,
    }
    assert {k: event.fields.get(k) for k in expected} == expected
    assert "s3cret" not in repr(event.fields)
    assert event.subjects[0] == "user:u1"


def test_an_event_about_one_product() -> None:
    """Product properties in place become one item and do not stay behind as properties."""
    event, _ = parse(
        event="Product Viewed", properties={"product_id": "S1", "name": "Tea", "price": 3, "currency": "EUR", "note": "x"}
    )
    assert event.fields["order.items"] == ({"id": "S1", "name": "Tea", "price": 3},)
    assert [k for k in event.fields if k.startswith("properties.")] == ["properties.note"]


@pytest.mark.parametrize(
    ("kind", "name"),
    [("page", "page_view"), ("screen", "screen_view"), ("identify", "identify"), ("group", "group"), ("alias", "alias")],
)
def test_other_calls(kind: str, name: str) -> None:
    """Each call of the spec has its event."""
    event, _ = parse(type=kind, event=None, userId="u", groupId="g", previousId="p", properties={"title": "T"})
    assert event.name == name


def test_identify_keeps_unknown_traits_as_properties() -> None:
    """Known traits are fields of the person, others can be named by a policy."""
    event, _ = parse(type="identify", event=None, userId="u", traits={"email": "a@b.example", "plan": "gold"})
    assert (event.fields["user.email"], event.fields["properties.plan"]) == ("a@b.example", "gold")
    assert "properties.email" not in event.fields


def test_consent_of_segment_and_rudderstack() -> None:
    """Category preferences and allowed or denied ids become explicit categories; an unreadable form is malformed evidence."""
    _, signals = parse(context={"consent": {"categoryPreferences": {"Advertising": True, "Analytics": False}}})
    assert dict(signals.categories) == {"Advertising": True, "Analytics": False}
    _, signals = parse(context={"consentManagement": {"allowedConsentIds": ["a"], "deniedConsentIds": ["b", "a"]}})
    assert dict(signals.categories) == {"a": False, "b": False}
    unreadable: tuple[dict[str, Any], ...] = (
        {"consent": {"categoryPreferences": {"x": "yes"}}},
        {"consent": []},
        {"consentManagement": {"allowedConsentIds": "a"}},
    )
    for broken in unreadable:
        _, signals = parse(context=broken)
        assert signals.malformed
        assert not signals.categories


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "unknown"}, {"type": 3}, {"event": ""}, {"event": 5}, {"event": "x" * 300}, {"messageId": "x" * 300},
        {"messageId": 4}, {"messageId": "a\nb"}, {"timestamp": "yesterday"}, {"timestamp": "2026-11-21T22:31:21"}, {"context": []},
        {"properties": "x"},
        {"properties": {"products": ["x"]}}, {"properties": {"products": [{}] * 300}}, {"context": {"page": 3}},
    ],
)  # fmt: skip
def test_what_is_no_event_is_refused_without_quoting_it(wrong: dict[str, Any]) -> None:
    """A clear error with a code for every wrong form; the message names keys, never values."""
    with pytest.raises(EventError) as caught:
        parse(**wrong)
    assert caught.value.code != "event"
    for value in wrong.values():
        assert not isinstance(value, str) or len(value) < 2 or value not in caught.value.message


def test_times_without_a_timestamp_are_those_of_receipt() -> None:
    """Missing time: when it was received. Unix seconds as text are taken."""
    assert parse(timestamp=None)[0].time_ms == TIME_MS + 500
    assert parse(timestamp="1631210000")[0].time_ms == 1_631_210_000_000


def test_an_event_without_id_gets_one_of_its_content() -> None:
    """The same event sent twice without an id is the same event."""
    assert parse(messageId=None)[0].id == parse(messageId=None)[0].id
    assert parse(messageId=None)[0].id != parse(messageId=None, userId="u")[0].id
