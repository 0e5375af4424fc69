"""The Event and Conversion API out and in again: what our destination writes, our own intake reads (wire-formats.md §5c)."""

from __future__ import annotations

from typing import Any

import pytest

from ebbgate.cli.destination import render_line
from ebbgate.collect.dialect import parse
from ebbgate.collect.ecapi import DIALECT
from ebbgate.collect.native import Collected
from ebbgate.destinations.ecapi import RENAMED, STANDARD
from ebbgate.destinations.registry import load
from ebbgate.destinations.wire import encode
from tests.contract.test_destination_rules import NAMES, TIME_MS, event, settings_of
from tests.contract.test_dialects import request_of

#: What the standard has a place for, of the full event of the rules.
FIELDS = {
    "order.id", "order.value", "order.currency", "order.items", "user.id", "user.email", "user.phone", "user.first_name",
    "user.last_name", "user.postcode", "user.city", "user.country", "device.user_agent", "network.ip", "page.url", "page.referrer",
}  # fmt: skip


def out(given: dict[str, Any], **settings: Any) -> list[Any]:
    """Bodies of the requests that an event, or a batch of them, becomes."""
    line = {"event": given, "settings": {**settings_of("ecapi"), **settings}}
    return [request["body"] for request in render_line(load("ecapi"), line)["requests"]]


def back(body: object) -> list[Collected]:
    """The events that our intake finds in a body."""
    case = {"target": "/e/ecapi/v1/events", "headers": {}, "trust": "server", "body": body, "received_ms": TIME_MS + 5000}
    request, place = request_of({"request": case})
    return parse(DIALECT, request, place, max_events=100)


@pytest.mark.parametrize("name", NAMES)
def test_what_goes_out_comes_in_as_the_same_event(name: str) -> None:
    """Name, id, second, money, products, digests and the words of the order survive the way out and in."""
    (body,) = out(event(name))
    (collected,) = back(body)
    assert collected.event is not None
    found = collected.event
    assert (found.name, found.id, found.time_ms) == (name, f"ev-{name}", TIME_MS // 1000 * 1000)
    assert found.fields.keys() >= FIELDS
    assert found.fields["event.source"] == "web"
    assert (found.fields["order.id"], found.fields["order.value"], found.fields["order.currency"]) == ("R-1", 12.5, "EUR")
    assert encode(found.fields["order.items"]) == encode([{"id": "SKU", "name": "Tea", "price": 12.5, "quantity": 1}])
    assert [found.fields["user.email"]] == body["user_data"]["email_address"]
    assert [found.fields["user.phone"]] == body["user_data"]["phone_numbers"]
    assert found.fields["user.id"] == body["user_data"]["customer_identifier"]
    assert all(len(str(found.fields[path])) == 64 for path in ("user.first_name", "user.last_name", "user.postcode"))


def test_a_list_goes_out_and_in_whole() -> None:
    """A receiver that takes lists gets one request, and nothing of it is lost."""
    (body,) = out({"events": [event(name) for name in NAMES]}, batches=True)
    assert [one.event.name for one in back(body) if one.event is not None] == list(NAMES)
    assert len(out({"events": [event(name) for name in NAMES]})) == len(NAMES)


@pytest.mark.parametrize(("told", "only"), [({"ad_personalization": "granted"}, False), ({"ad_personalization": "denied"}, True)])
def test_only_a_grant_lets_the_receiver_steer_advertising(told: dict[str, str], only: bool) -> None:
    """`mmt_only` is false for an explicit grant and true for a refusal, which our intake reads as a refusal again."""
    (body,) = out({**event("purchase"), "consent": {"purposes": told}})
    assert body["user_data"]["mmt_only"] is only
    (collected,) = back(body)
    assert (collected.signals.npa == "1") is only


def test_limited_data_use_overrules_a_grant() -> None:
    """The restriction flag of a policy makes an event one that may only be counted."""
    (body,) = out({**event("purchase"), "flags": {"limited_data_use": True}})
    assert body["user_data"]["mmt_only"] is True


def test_only_names_of_the_standard_stand_as_its_types() -> None:
    """Our name where the standard has another does not slip through, and every other name is `custom` under its own."""
    for name in NAMES:
        (body,) = out(event(name))
        assert body["event_type"] in STANDARD | set(RENAMED.values()) | {"custom"}
        assert (body["event_type"] == "custom") == (body.get("custom_event") == name)
