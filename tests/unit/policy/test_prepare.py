"""What is done to an event once, before any destination is looked at: the parts that are remembered from event to event."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ebbgate.fields import ITEM_KEYS, Kind
from ebbgate.model import Scalar
from ebbgate.policy.plan import Everywhere
from ebbgate.policy.prepare import prepare_fields

MAIL = "canary@mail.example"
EVERYWHERE = Everywhere(actions={"email": "remove"})
CODES = {"id", "sku", "list_id"}  #: of a shop's own making: an order number may look like a telephone's
ADDRESSES = {"url", "image_url"}  #: what is none stays here, unsearched


@pytest.mark.parametrize("key", sorted(key for key, kind in ITEM_KEYS.items() if kind is Kind.TEXT))
def test_every_text_of_a_product_is_searched(key: str) -> None:
    """Also where products with the same keys were harmless before, and where only the second product tells."""
    harmless: Mapping[str, Scalar] = {"id": "shoe", "price": 5, key: "trail"}
    assert prepare_fields({"order.items": (harmless, harmless)}, EVERYWHERE).reported == ()
    found = prepare_fields({"order.items": (harmless, {**harmless, key: MAIL})}, EVERYWHERE)
    assert found.reported == (() if key in CODES | ADDRESSES else ("order.items: email",))
    assert (MAIL in repr(found.fields["order.items"])) is (key in CODES)
