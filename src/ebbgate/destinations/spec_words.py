"""An event in the words of the Segment spec, for destinations that speak it: product analytics, Klaviyo, Segment, RudderStack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ebbgate.destinations import reading
from ebbgate.model import CleanEvent, Scalar

#: Property → our field; texts and numbers as they are.
_PROPERTIES: Final = {
    "order_id": "order.id",
    "value": "order.value",
    "total": "order.total",
    "revenue": "order.revenue",
    "currency": "order.currency",
    "tax": "order.tax",
    "shipping": "order.shipping",
    "discount": "order.discount",
    "coupon": "order.coupon",
    "affiliation": "order.affiliation",
    "payment_method": "order.payment_type",
    "shipping_method": "order.shipping_tier",
    "list_id": "order.list_id",
    "list_name": "order.list_name",
    "query": "search.term",
    "lead_id": "lead.id",
    "lead_type": "lead.type",
    "lead_value": "lead.value",
    "lead_status": "lead.status",
    "lead_source": "lead.source",
}
_PRODUCT: Final = {"id": "product_id", "index": "position"}  #: our key → the spec's, where they differ
_ABOUT_ONE: Final = frozenset({"view_item", "add_to_cart", "remove_from_cart", "add_to_wishlist", "select_item"})
PAGE: Final = {"url": "page.url", "path": "page.path", "referrer": "page.referrer", "title": "page.title"}
TRAITS: Final = {
    "email": "user.email",
    "phone": "user.phone",
    "firstName": "user.first_name",
    "lastName": "user.last_name",
    "gender": "user.gender",
    "birthday": "user.birthday",
    "title": "user.title",
    "company": "user.company",
}
ADDRESS: Final = {
    "street": "user.street",
    "city": "user.city",
    "state": "user.region",
    "postalCode": "user.postcode",
    "country": "user.country",
}
CAMPAIGN: Final = {name: f"campaign.{name}" for name in ("source", "medium", "name", "term", "content", "id")}


def picked(clean: CleanEvent, names: Mapping[str, str]) -> dict[str, Any]:
    """The fields that are there, under the names of `names` (theirs → ours)."""
    return {name: found for name, path in names.items() if (found := clean.fields.get(path)) is not None and found != ""}


def product(item: Mapping[str, Scalar]) -> dict[str, Any]:
    """One product in the spec's words."""
    return {_PRODUCT.get(key, key): found for key, found in item.items()}


def properties(clean: CleanEvent) -> dict[str, Any]:
    """`properties` of a track call; an event about one product has it in place, others have `products`."""
    found = reading.properties(clean) | picked(clean, _PROPERTIES)
    products = reading.items(clean)
    if len(products) == 1 and clean.name in _ABOUT_ONE:
        found = product(products[0]) | found
    elif products:
        found["products"] = [product(item) for item in products]
    return found


def traits(clean: CleanEvent) -> dict[str, Any]:
    """`traits` of the person, with the address in its own object."""
    found = picked(clean, TRAITS)
    if address := picked(clean, ADDRESS):
        found["address"] = address
    return found


def distinct_id(clean: CleanEvent) -> str | None:
    """Who it is, for product analytics: the site's own id of a person, else the id of the browser."""
    return reading.first(
        reading.text(clean, "user.id"), reading.text(clean, "visitor.anonymous_id"), reading.text(clean, "visitor.client_id")
    )
