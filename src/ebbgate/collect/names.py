"""Event names: GA4's recommended ones are the common tongue of all dialects and destinations (specs/destinations.md §1.1)."""

from __future__ import annotations

import difflib
import re
from typing import Final

RECOMMENDED: Final = frozenset({
    "page_view", "screen_view", "view_item", "view_item_list", "select_item", "view_promotion", "select_promotion", "search",
    "add_to_cart", "remove_from_cart", "view_cart", "add_to_wishlist", "begin_checkout", "add_shipping_info", "add_payment_info",
    "purchase", "refund", "sign_up", "login", "generate_lead", "qualify_lead", "close_convert_lead", "subscribe", "share",
    "scroll", "click", "form_submit", "file_download", "video_start", "video_progress", "video_complete",
    "identify", "group", "alias",
    "lead", "contact", "schedule", "start_trial", "submit_application", "find_location", "customize_product", "donate",
})  # fmt: skip

#: Events that mean money or a customer: their order number is a duplicate key too.
CONVERSIONS: Final = frozenset({"purchase", "refund", "generate_lead", "lead", "subscribe", "sign_up", "start_trial", "donate"})

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")


def is_name(value: str) -> bool:
    """True for a name of the native dialect; a site may use names of its own in the same form."""
    return value in RECOMMENDED or _NAME.fullmatch(value) is not None


def nearest(value: str) -> str | None:
    """The recommended name that was probably meant."""
    folded = re.sub(r"[^a-z0-9]+", "_", value[:80].lower()).strip("_")
    known = {"order_completed": "purchase", "pageview": "page_view", "page": "page_view", "product_added": "add_to_cart"}
    if folded in RECOMMENDED:
        return folded
    close = difflib.get_close_matches(folded, [*RECOMMENDED, *known], n=1, cutoff=0.75)
    return known.get(close[0], close[0]) if close else None
