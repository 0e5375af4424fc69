"""How a destination reads a `CleanEvent`: the few questions that every platform asks in its own words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from ebbgate.destinations.countries import iso2
from ebbgate.model import CleanEvent, Scalar

#: Where the amount of an event is read, in order: a policy chooses by what it lets out (specs/destinations.md §1.1).
VALUE_FIELDS: Final = ("order.value", "order.total", "order.revenue", "lead.value")
#: GA4's name → the Segment spec's, for settings that name events as that spec does (specs/destinations.md §0.1).
SEGMENT_NAMES: Final = {
    "search": "Products Searched",
    "view_item_list": "Product List Viewed",
    "view_promotion": "Promotion Viewed",
    "select_promotion": "Promotion Clicked",
    "select_item": "Product Clicked",
    "view_item": "Product Viewed",
    "add_to_cart": "Product Added",
    "remove_from_cart": "Product Removed",
    "add_to_wishlist": "Product Added to Wishlist",
    "view_cart": "Cart Viewed",
    "begin_checkout": "Checkout Started",
    "add_payment_info": "Payment Info Entered",
    "purchase": "Order Completed",
    "refund": "Order Refunded",
    "sign_up": "Signed Up",
    "login": "Signed In",
    "generate_lead": "Lead Generated",
    "subscribe": "Subscription Started",
}
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\Z")
MOST_MONEY: Final = 2**53  #: beyond it not even whole units are exact
_REGION = re.compile(r"[A-Z]{2}-[A-Z0-9]{1,3}")


def text(clean: CleanEvent, path: str) -> str | None:
    """A field as text, None when absent or empty."""
    found = clean.fields.get(path)
    if isinstance(found, str):
        return found or None
    if found is None or isinstance(found, (tuple, bool)):
        return None
    return number_text(found)


def number(clean: CleanEvent, path: str) -> int | float | None:
    """A field as a number, None when absent or not a number."""
    found = clean.fields.get(path)
    return found if isinstance(found, (int, float)) and not isinstance(found, bool) else None


def value(clean: CleanEvent) -> int | float | None:
    """The amount: `order.value`, else `order.total`, else `order.revenue` of what the policy let out."""
    for path in VALUE_FIELDS:
        found = number(clean, path)
        if found is not None:
            return found
    return None


def worth(clean: CleanEvent) -> int | float | None:
    """`value`; of an event that states none but has a currency, what its products cost together: GA4's own definition (§1.1).

    For platforms where an event is a conversion because the operator made it one. None when a product has no price, and for a sum
    that no shop has (JSON could not carry it).
    """
    stated = value(clean)
    if stated is not None or currency(clean) is None:
        return stated
    total: int | float | None = None
    for product in items(clean):
        price, count = product.get("price"), product.get("quantity", 1)
        if isinstance(price, (str, bool)) or isinstance(count, (str, bool)) or price is None:
            return None
        total = round((total or 0) + price * count, 6)
    return total if total is not None and abs(total) <= MOST_MONEY else None


def currency(clean: CleanEvent) -> str | None:
    """The ISO 4217 code in capitals; None when absent or not three letters."""
    found = text(clean, "order.currency")
    if found is None:
        return None
    code = found.strip().upper()
    return code if len(code) == 3 and code.isascii() and code.isalpha() else None


def items(clean: CleanEvent) -> tuple[Mapping[str, Scalar], ...]:
    """The products of `order.items`, empty when there are none."""
    found = clean.fields.get("order.items")
    return tuple(i for i in found if isinstance(i, Mapping)) if isinstance(found, tuple) else ()


def item_id(item: Mapping[str, Scalar]) -> str | None:
    """A product's id, or its sku."""
    found = item.get("id") or item.get("sku")
    return None if found is None else str(found)


def mapped_items(clean: CleanEvent, names: Mapping[str, str], *, id_name: str) -> list[dict[str, Any]]:
    """Products in a platform's words: `names` maps our key to its own, `id_name` is its key of the id. Only those with an id."""
    rows = []
    for product in items(clean):
        identifier = item_id(product)
        if identifier is not None:
            rows.append({id_name: identifier} | mapped_item(product, names))
    return rows


def mapped_item(product: Mapping[str, Scalar], names: Mapping[str, str]) -> dict[str, Any]:
    """One product's keys in a platform's words, without those that it does not take or that are empty."""
    return {names[key]: found for key, found in product.items() if key in names and found != ""}


def item_category(item: Mapping[str, Scalar]) -> str | None:
    """A product's category as text."""
    found = item.get("category")
    return None if found in (None, "") else str(found)


def quantity(products: Iterable[Mapping[str, Scalar]]) -> int | float | None:
    """How many pieces in all; products without a quantity count as one, None without products."""
    counts = [q if isinstance(q := p.get("quantity"), (int, float)) and not isinstance(q, bool) else 1 for p in products]
    return sum(counts) if counts else None


def pieces(clean: CleanEvent) -> int | float | None:
    """How many pieces the event is about: as the sender counts them, else what its products say."""
    for path in ("properties.num_items", "properties.quantity"):
        if (stated := number(clean, path)) is not None:
            return stated
    return quantity(items(clean))


def advertising_id(clean: CleanEvent, names: Mapping[str, str]) -> dict[str, str]:
    """A phone's advertising id under the platform's name for its system; `names`: "ios" and "android" → name."""
    found = text(clean, "visitor.advertising_id")
    name = names.get((text(clean, "device.os") or "").lower())
    return {name: found} if found and name else {}


def hashed(clean: CleanEvent, path: str) -> str | None:
    """A field only if it is a SHA-256 digest: what a policy left in clear by mistake does not pass here."""
    found = clean.fields.get(path)
    return found if isinstance(found, str) and _DIGEST.match(found) else None


def hashed_fields(clean: CleanEvent, names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(platform's name, digest) of each field that is there and hashed; `names` maps the platform's name to ours."""
    for name, path in names.items():
        digest = hashed(clean, path)
        if digest is not None:
            yield name, digest


def properties(clean: CleanEvent) -> dict[str, Any]:
    """What the site added itself (`properties.*`), without the prefix; nested names keep their dots, lists stay lists."""
    return {
        path[11:]: list(found) if isinstance(found, tuple) else found
        for path, found in clean.fields.items()
        if path.startswith("properties.")
    }


def is_order(clean: CleanEvent) -> bool:
    """True for a purchase with its number, which some platforms merge although they merge nothing else."""
    return clean.name == "purchase" and text(clean, "order.id") is not None


def split_url(url: str) -> SplitResult | None:
    """The parts of an address; None for what is none, such as an unclosed bracket."""
    try:
        parts = urlsplit(url)
        _ = parts.hostname
    except ValueError:
        return None
    return parts


def without_empty(row: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is None, "", [] or {}: platforms refuse empty values or count them as data."""
    return {k: v for k, v in row.items() if v is not None and v != "" and v != [] and v != {}}


def configured(clean: CleanEvent, by_event: Mapping[str, str]) -> str | None:
    """What a setting such as `conversion_rules` says for this event, under our name for it or the sender's own."""
    found = by_event.get(clean.name)
    if found is None and (own := text(clean, "event.original_name")) is not None:
        found = by_event.get(own)
    if found is None and (spec := SEGMENT_NAMES.get(clean.name)) is not None:
        found = by_event.get(spec)
    return found


def own_name(clean: CleanEvent) -> str:
    """The sender's own name for the event, where its dialect has one, else ours."""
    return text(clean, "event.original_name") or clean.name


def platform_name(clean: CleanEvent, events: Mapping[str, str]) -> str | None:
    """What `events` (our name → the platform's) says; an event that already has one of the platform's names keeps it."""
    known = events.get(clean.name)
    if known is None and (own := own_name(clean)) in events.values():
        return own
    return known


def number_text(found: float) -> str:
    """A number as a decimal text: 12 → "12", 12.5 → "12.5", never with an exponent."""
    if isinstance(found, int):
        return str(found)
    if found.is_integer() and abs(found) < 1e15:
        return str(int(found))
    return format(found, ".10f").rstrip("0").rstrip(".")


def hex_id(found: str, length: int = 32) -> str:
    """A stable hexadecimal id for platforms that take no other form: the first digits of SHA-256."""
    return sha256(found.encode("utf-8", "replace")).hexdigest()[:length]


def uuid_of(found: str) -> str:
    """`found` when it is a UUID, else a stable UUID (version 8, RFC 9562) made of its SHA-256."""
    if _UUID.match(found):
        return found.lower()
    digits = hex_id(found)
    variant = "89ab"[int(digits[16], 16) % 4]
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


#: EEA, United Kingdom and Switzerland: where platforms set stricter rules for addresses and consent.
EEA_UK_CH: Final = frozenset({
    "AT", "BE", "BG", "HR", "CY", "CZ", "DK", "EE", "FI", "FR", "DE", "GR", "HU", "IE", "IT", "LV", "LT", "LU", "MT", "NL", "PL",
    "PT", "RO", "SK", "SI", "ES", "SE", "IS", "LI", "NO", "GB", "CH",
})  # fmt: skip


def outside_eea(clean: CleanEvent) -> bool:
    """True only when the visitor's country is known and lies outside EEA, UK and Switzerland."""
    found = country(clean, "place.country") or country(clean, "user.country")
    return found is not None and found not in EEA_UK_CH


def seconds(clean: CleanEvent) -> int:
    """When the event happened, unix seconds."""
    return clean.time_ms // 1000


def iso_time(time_ms: int) -> str:
    """`2026-11-21T22:31:21.123Z` of milliseconds since 1970, by arithmetic alone."""
    days, ms = divmod(time_ms, 86_400_000)
    hours, ms = divmod(ms, 3_600_000)
    minutes, ms = divmod(ms, 60_000)
    secs, ms = divmod(ms, 1000)
    year, month, day = _civil(days)
    return f"{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{secs:02}.{ms:03}Z"


def _civil(days: int) -> tuple[int, int, int]:
    """Year, month and day of days since 1970-01-01, proleptic Gregorian."""
    shifted = days + 719_468
    era, day_of_era = divmod(shifted, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_index = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_index + 2) // 5 + 1
    month = month_index + 3 if month_index < 10 else month_index - 9
    return year_of_era + era * 400 + (1 if month <= 2 else 0), month, day


def ads_refused(clean: CleanEvent) -> bool:
    """True when Google's `ad_user_data` was refused: then no user data and no click ids go to Google."""
    return clean.google.get("ad_user_data") == "denied"


def first(*found: str | None) -> str | None:
    """The first that is there."""
    return next((f for f in found if f), None)


def country(clean: CleanEvent, path: str) -> str | None:
    """A country field as ISO 3166-1 alpha-2 in capitals, None when unknown."""
    found = text(clean, path)
    return iso2(found) if found else None


def region(clean: CleanEvent, path: str) -> str | None:
    """A region field as ISO 3166-2 (`US-CA`), None when it is none."""
    found = text(clean, path)
    return found if found and _REGION.fullmatch(found) else None
