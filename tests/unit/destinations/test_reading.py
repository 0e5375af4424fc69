from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from ebbgate.destinations import harmless, reading
from ebbgate.destinations.registry import load
from ebbgate.model import CleanEvent
from tests.unit.destinations.samples import cleaned


def clean(native: Mapping[str, Any]) -> CleanEvent:
    return cleaned(load("webhook"), {"event": "purchase", "id": "e1", **native})


def test_the_amount_is_the_first_that_the_policy_let_out() -> None:
    """`order.value`, else `total`, else `revenue`; zero is an amount."""
    assert reading.value(clean({"order": {"value": 0, "total": 5, "revenue": 4}})) == 0
    assert reading.value(clean({"order": {"total": 5, "revenue": 4}})) == 5
    assert reading.value(clean({"order": {"revenue": 4}})) == 4
    assert reading.value(clean({})) is None


def test_a_conversion_without_an_amount_is_worth_its_products() -> None:
    """Price times quantity of all, one piece where none is said; a stated amount, no currency or a missing price: no sum."""
    tea, cup = {"id": "tea", "price": 0.1, "quantity": 3}, {"id": "cup", "price": 7}

    def order(*products: Mapping[str, Any], **more: Any) -> CleanEvent:
        return clean({"order": {"currency": "EUR", "items": [*products], **more}})

    assert reading.worth(order(tea, cup)) == 7.3
    assert reading.worth(order(tea, cup, value=5)) == 5
    assert reading.worth(order(tea, cup, value=0)) == 0
    assert reading.worth(order(tea, {"id": "cup"})) is None
    assert reading.worth(order()) is None
    assert reading.worth(clean({"order": {"items": [tea]}})) is None
    assert reading.worth(order({"id": "sun", "price": 2**53, "quantity": 2**53})) is None, "no JSON encoder takes that number"
    assert reading.worth(order({"id": "sun", "price": 1e308, "quantity": 100})) is None
    assert reading.value(order(tea, cup)) is None, "analytics get no amount that nobody stated"


@pytest.mark.parametrize(("raw", "wanted"), [("eur", "EUR"), (" usd ", "USD"), ("EURO", None), ("€", None), ("12", None)])
def test_a_currency_has_three_letters(raw: str, wanted: str | None) -> None:
    """Anything else is no currency."""
    assert reading.currency(clean({"order": {"currency": raw}})) == wanted


def test_hashed_gives_digests_only() -> None:
    """A raw value, or a digest in capitals, does not pass."""
    assert reading.hashed(clean({"user": {"email": "a@b.example"}}), "user.email") is None
    assert reading.hashed(clean({"user": {"email": "A" * 64}}), "user.email") is None
    assert reading.hashed(clean({"user": {"email": "a" * 64}}), "user.email") == "a" * 64


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://shop.example/a?q=tea", "https://shop.example/a?q=tea"),
        ("https://shop.example/a?q=tea&mail=ana%40b.example", "https://shop.example/a?q=tea"),
        ("https://shop.example/a?email=x&q=1", "https://shop.example/a?q=1"),
        ("https://shop.example/a?to=%2B49%2030%20901820&q=1", "https://shop.example/a?q=1"),
        ("https://shop.example/u/ana@b.example", None),
        ("https://shop.example/u/ana%40b.example?q=1", None),
    ],
)
def test_an_address_loses_what_looks_like_a_person(url: str, wanted: str | None) -> None:
    """Parameters with an e-mail address or a phone go; a path that holds one makes the address unusable."""
    assert harmless.address(clean({"page": {"url": url}}), "page.url") == wanted


def test_click_ids_can_be_taken_out_of_an_address() -> None:
    """All known click ids, whatever their case; other parameters stay in order."""
    url = "https://shop.example/a?a=1&gclid=x&FBCLID=y&ScCid=z&b=2"
    assert harmless.without_click_ids(url) == "https://shop.example/a?a=1&b=2"
    assert harmless.without_click_ids("https://shop.example/a?a=%20x") == "https://shop.example/a?a=%20x"


def test_properties_that_look_like_a_person_stay_behind() -> None:
    """By name and by value, in lists too."""
    given = {"color": "red", "note": "ask ana@b.example", "tags": ["x", "+49 30 901820"], "first_name": "Ana", "n": 3}
    assert harmless.own_properties(clean({"properties": given})) == {"color": "red", "n": 3}


@pytest.mark.parametrize("value", [0, 12, -3, 12.5, 0.1 + 0.2, 1e-7, 1234567890.25, 99999999999999.0])
def test_numbers_as_texts_have_no_exponent(value: float) -> None:
    """A decimal text that reads back as the number, to ten places."""
    text = reading.number_text(value)
    assert "e" not in text
    assert float(text) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("ms", [0, 951_782_399_999, 951_782_400_000, 1_709_164_800_001, 1_795_300_281_250, 4_102_444_799_999])
def test_iso_times_agree_with_the_calendar(ms: int) -> None:
    """Milliseconds to ISO 8601 by arithmetic gives what the standard library gives, leap days included."""
    wanted = datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ms % 1000:03}Z"
    assert reading.iso_time(ms) == wanted


def test_uuids_are_stable_and_valid() -> None:
    """A UUID stays, anything else becomes one and the same version-8 UUID."""
    given = "6F1A2B3C-4D5E-6F70-8192-A3B4C5D6E7F8"
    assert reading.uuid_of(given) == given.lower()
    made = reading.uuid_of("A-1009")
    assert made == reading.uuid_of("A-1009") == reading.uuid_of(made)
    assert made[14] == "8"
    assert made[19] in "89ab"


def test_configured_takes_native_and_segment_names() -> None:
    """Keys of `conversion_rules` and the like may be `purchase` or `Order Completed`."""
    event = clean({})
    assert reading.configured(event, {"purchase": "1"}) == "1"
    assert reading.configured(event, {"Order Completed": "2"}) == "2"
    assert reading.configured(event, {"lead": "3"}) is None


def test_the_place_of_a_visitor_must_be_known_to_be_outside_the_eea() -> None:
    """Unknown counts as inside."""
    assert not reading.outside_eea(clean({}))
    assert not reading.outside_eea(clean({"place": {"country": "FR"}}))
    assert reading.outside_eea(clean({"place": {"country": "US"}}))


def test_an_event_that_has_the_platforms_own_name_keeps_it() -> None:
    """`PURCHASE` sent to a platform whose word that is needs no mapping; any other unknown name has none."""
    words = {"purchase": "PURCHASE"}
    assert reading.platform_name(clean({}), words) == "PURCHASE"
    assert reading.platform_name(replace(clean({}), name="PURCHASE"), words) == "PURCHASE"
    assert reading.platform_name(clean({"event": "quiz"}), words) is None


def test_only_a_purchase_with_its_number_merges_where_orders_do() -> None:
    """A refund, or a purchase that a policy sends without its order, has no key."""
    assert reading.is_order(clean({"order": {"id": "R-1"}}))
    assert not reading.is_order(clean({"order": {"value": 1}}))
    assert not reading.is_order(clean({"event": "refund", "order": {"id": "R-1"}}))
