"""Tables of the Segment spec dialect: its names of events, properties, products and traits → ours (specs/destinations.md §1.1)."""

from __future__ import annotations

import re
from typing import Final

from ebbgate.collect.names import RECOMMENDED
from ebbgate.fields import ITEM_KEYS

#: The spec's names and what plug-ins write for the same → GA4's; folded: lower case, one `_` for blanks and punctuation.
EVENTS: Final = {
    "products_searched": "search",
    "product_searched": "search",
    "product_list_viewed": "view_item_list",
    "promotion_viewed": "view_promotion",
    "promotion_clicked": "select_promotion",
    "product_clicked": "select_item",
    "product_viewed": "view_item",
    "item_viewed": "view_item",
    "product_added": "add_to_cart",
    "product_removed": "remove_from_cart",
    "product_added_to_wishlist": "add_to_wishlist",
    "product_added_to_wish_list": "add_to_wishlist",
    "cart_viewed": "view_cart",
    "checkout_started": "begin_checkout",
    "payment_info_entered": "add_payment_info",
    "order_completed": "purchase",
    "order_refunded": "refund",
    "signed_up": "sign_up",
    "signup": "sign_up",
    "signed_in": "login",
    "lead_generated": "generate_lead",
    "lead_captured": "generate_lead",
    "subscription_started": "subscribe",
    "trial_started": "start_trial",
    "page_viewed": "page_view",
    "pageview": "page_view",
    "page": "page_view",
}
_FOLD: Final = re.compile(r"[^a-z0-9]+")
CALLS: Final = {"page": "page_view", "screen": "screen_view", "identify": "identify", "group": "group", "alias": "alias"}

PROPERTIES: Final = {
    "order_id": "order.id",
    "order_number": "order.id",
    "transaction_id": "order.id",
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
    "payment_type": "order.payment_type",
    "shipping_method": "order.shipping_tier",
    "shipping_tier": "order.shipping_tier",
    "list_id": "order.list_id",
    "list_name": "order.list_name",
    "query": "search.term",
    "search_term": "search.term",
    "search_string": "search.term",
    "lead_source": "lead.source",
    "lead_id": "lead.id",
    "lead_type": "lead.type",
    "lead_status": "lead.status",
}
PAGE: Final = {"url": "page.url", "referrer": "page.referrer", "title": "page.title", "path": "page.path"}
ITEM: Final = {
    "product_id": "id",
    "item_id": "id",
    "id": "id",
    "sku": "sku",
    "name": "name",
    "item_name": "name",
    "title": "name",
    "product_name": "name",
    "brand": "brand",
    "category": "category",
    "variant": "variant",
    "price": "price",
    "item_price": "price",
    "quantity": "quantity",
    "coupon": "coupon",
    "discount": "discount",
    "position": "index",
    "index": "index",
    "affiliation": "affiliation",
    "url": "url",
    "image_url": "image_url",
    "currency": "currency",
    "promotion_id": "promotion_id",
    "promotion_name": "promotion_name",
    "promotion": "promotion_name",
    "creative": "creative_name",
    "creative_name": "creative_name",
    "creative_slot": "creative_slot",
    "location_id": "location_id",
}
ITEM_KINDS: Final = {member: (key, ITEM_KEYS[key]) for member, key in ITEM.items()}
PERSON: Final = {
    "email": "user.email",
    "phone": "user.phone",
    "firstName": "user.first_name",
    "first_name": "user.first_name",
    "lastName": "user.last_name",
    "last_name": "user.last_name",
}
#: Property names that `_commerce` and `_identity` have put into their places.
ELSEWHERE: Final = frozenset({"products", "items", "contents", "traits", "address", "birthday", *PERSON})
PLACED: Final = ELSEWHERE | PROPERTIES.keys()
#: Property names that make an event without `products` an event about one product.
ONE_PRODUCT: Final = frozenset({"product_id", "sku"})
ABOUT_PRODUCT: Final = frozenset({
    "product_id", "sku", "name", "brand", "category", "variant", "price", "quantity", "position", "image_url",
})  # fmt: skip
TRAITS: Final = {
    "email": "user.email",
    "phone": "user.phone",
    "firstName": "user.first_name",
    "first_name": "user.first_name",
    "lastName": "user.last_name",
    "last_name": "user.last_name",
    "gender": "user.gender",
    "birthday": "user.birthday",
    "title": "user.title",
}
ADDRESS: Final = {
    "street": "user.street",
    "city": "user.city",
    "state": "user.region",
    "postalCode": "user.postcode",
    "postal_code": "user.postcode",
    "zip": "user.postcode",
    "country": "user.country",
}
CAMPAIGN: Final = {k: f"campaign.{k}" for k in ("source", "medium", "name", "term", "content", "id")}
CONTEXT: Final = {"ip": "network.ip", "userAgent": "device.user_agent", "locale": "device.language", "timezone": "device.timezone"}
IDS: Final = {
    "userId": "user.id",
    "anonymousId": "visitor.anonymous_id",
    "previousId": "user.previous_id",
    "groupId": "group.id",
}
#: (word in the name of an integration, its member) → field: what Segment's own browser plug-ins read from cookies and addresses.
INTEGRATIONS: Final = {
    ("snap", "click_id"): "click.sccid",
    ("snap", "uuid_c1"): "cookie.scid",
    ("facebook", "fbp"): "cookie.fbp",
    ("facebook", "fbc"): "cookie.fbc",
    ("tiktok", "ttclid"): "click.ttclid",
    ("tiktok", "ttp"): "cookie.ttp",
    ("bing", "msclkid"): "click.msclkid",
    ("google analytic", "session_id"): "visitor.session_id",
    ("amplitude", "session_id"): "visitor.session_id",
}
DEVICE: Final = {
    "model": "device.model",
    "manufacturer": "device.brand",
    "id": "visitor.device_id",
    "advertisingId": "visitor.advertising_id",
}
APP_LIBRARIES: Final = ("ios", "android", "react-native", "kotlin", "swift", "flutter")
GENDERS: Final = {"male": "m", "female": "f", "m": "m", "f": "f"}


#: Names that mean something else on some events only.
RENAMED: Final = {
    "view_promotion": {"name": "promotion_name", "creative": "creative_name", "position": "location_id"},
    "sign_up": {"type": "method"},
    "login": {"type": "method"},
}
RENAMED["select_promotion"] = RENAMED["view_promotion"]


def event_name(own: str) -> str:
    """GA4's name for a name of this dialect; a name that neither knows stays as it is."""
    folded = _FOLD.sub("_", own.lower()).strip("_")
    return EVENTS.get(folded) or (folded if folded in RECOMMENDED else own)
