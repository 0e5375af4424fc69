"""Tables of the GA4 dialects (web hits, Measurement Protocol) → our fields (specs/wire-formats.md §5a, §5b)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final

from ebbgate.collect.values import MAX_ITEMS, copy, item, mapping, own, put, scalar
from ebbgate.errors import EventError
from ebbgate.fields import ITEM_KEYS, Kind
from ebbgate.model import Scalar, Value

#: Event parameter → field, in hits (`ep.`, `epn.`) and in the Measurement Protocol (`params`).
PARAMETERS: Final = {
    "page_location": "page.url",
    "page_referrer": "page.referrer",
    "page_title": "page.title",
    "page_path": "page.path",
    "transaction_id": "order.id",
    "value": "order.value",
    "currency": "order.currency",
    "tax": "order.tax",
    "shipping": "order.shipping",
    "coupon": "order.coupon",
    "affiliation": "order.affiliation",
    "payment_type": "order.payment_type",
    "shipping_tier": "order.shipping_tier",
    "item_list_id": "order.list_id",
    "item_list_name": "order.list_name",
    "search_term": "search.term",
    "lead_source": "lead.source",
    "lead_id": "lead.id",
    "user_id": "user.id",
    "session_id": "visitor.session_id",
    "ga_session_id": "visitor.session_id",
    "ga_session_number": "visitor.session_number",
    "engagement_time_msec": "visitor.engagement_ms",
    "new_customer": "user.is_new_customer",
    "gclid": "click.gclid",
    "dclid": "click.dclid",
    "gbraid": "click.gbraid",
    "wbraid": "click.wbraid",
}
#: Read as a campaign on these events only: elsewhere `source`, `term` and `content` are a site's own words.
CAMPAIGN_EVENTS: Final = frozenset({"campaign_details", "page_view"})
CAMPAIGN: Final = {
    "campaign_id": "campaign.id",
    "campaign": "campaign.name",
    "source": "campaign.source",
    "medium": "campaign.medium",
    "term": "campaign.term",
    "content": "campaign.content",
}
#: Item parameter of the Measurement Protocol → (key of `order.items`, kind).
_ITEM_NAMES: Final = {
    "item_id": "id",
    "item_name": "name",
    "item_brand": "brand",
    "item_category": "category",
    "item_category2": "category2",
    "item_category3": "category3",
    "item_category4": "category4",
    "item_category5": "category5",
    "item_variant": "variant",
    "item_list_id": "list_id",
    "item_list_name": "list_name",
    **{k: k for k in (
        "price", "quantity", "coupon", "discount", "index", "affiliation", "currency", "promotion_id", "promotion_name",
        "creative_name", "creative_slot", "location_id",
    )},
}  # fmt: skip
ITEM: Final = {member: (key, ITEM_KEYS[key]) for member, key in _ITEM_NAMES.items()}
#: Two-letter keys of `pr1` … `pr200`.
_SHORT: Final = {
    "id": "id", "nm": "name", "br": "brand", "ca": "category", "c2": "category2", "c3": "category3", "c4": "category4",
    "c5": "category5", "va": "variant", "pr": "price", "qt": "quantity", "cp": "coupon", "ds": "discount", "ln": "list_name",
    "li": "list_id", "lp": "index", "lo": "location_id", "af": "affiliation", "cn": "creative_name", "cs": "creative_slot",
    "pi": "promotion_id", "pn": "promotion_name",
}  # fmt: skip
SHORT_ITEM: Final = {member: (key, ITEM_KEYS[key]) for member, key in _SHORT.items()}
_ITEM_KEY: Final = re.compile(r"pr([1-9]\d{0,2})\Z", re.ASCII)

#: `user_data`: clear or hashed, as the site sends it; either is personal data.
_PERSON: Final = {
    "email_address": "user.email",
    "email": "user.email",
    "sha256_email_address": "user.email",
    "phone_number": "user.phone",
    "sha256_phone_number": "user.phone",
}
_ADDRESS: Final = {
    "first_name": "user.first_name",
    "sha256_first_name": "user.first_name",
    "last_name": "user.last_name",
    "sha256_last_name": "user.last_name",
    "street": "user.street",
    "sha256_street": "user.street",
    "city": "user.city",
    "region": "user.region",
    "postal_code": "user.postcode",
    "country": "user.country",
}
#: Keys of the `em` parameter; the same data under short names.
_EM: Final = {
    "em": "user.email",
    "pn": "user.phone",
    "fn": "user.first_name",
    "ln": "user.last_name",
    "sa": "user.street",
    "ct": "user.city",
    "rg": "user.region",
    "pc": "user.postcode",
    "co": "user.country",
}
_EM_HASHED: Final = frozenset({"em", "pn", "fn", "ln", "sa"})
_EM_PART: Final = re.compile(r"([a-z]{2})\d*\.(.+)\Z")


def event_fields(name: str, params: Mapping[str, Any], fields: dict[str, Value]) -> None:
    """Parameters of one event → fields; what no table knows → `properties.*`. Raises EventError for what no platform could take."""
    placed = {*PARAMETERS, "items", "event_id", "user_data"}
    copy(params, PARAMETERS, fields)
    if name in CAMPAIGN_EVENTS:
        copy(params, CAMPAIGN, fields)
        placed |= CAMPAIGN.keys()
    if params.get("items") is not None:
        products(params["items"], fields)
    if params.get("user_data") is not None:
        person(mapping(params, "user_data"), fields)
    own(params, fields, placed=placed)


def products(listed: object, fields: dict[str, Value]) -> None:
    """`items` of the Measurement Protocol → `order.items`. Raises EventError."""
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise EventError("`items` is not a list of objects", code="field_type", hint='send [{"item_id": "sku", "price": 6}]')
    if len(listed) > MAX_ITEMS:
        raise EventError(f"more than {MAX_ITEMS} items", code="too_many_items", hint="platforms take at most 200")
    if found := tuple(row for one in listed if (row := item(one, ITEM))):
        fields["order.items"] = found


def short_products(parameters: Mapping[str, str], fields: dict[str, Value]) -> None:
    """`pr1` … `pr200` of a hit → `order.items`, in their order. A `~` inside a value is written twice. Raises EventError."""
    numbered = sorted((int(m[1]), value) for key, value in parameters.items() if (m := _ITEM_KEY.match(key)))
    if numbered and numbered[-1][0] > MAX_ITEMS:
        raise EventError(f"more than {MAX_ITEMS} items", code="too_many_items", hint="platforms take at most 200")
    rows: list[dict[str, Scalar]] = []
    for _, text in numbered:
        parts = [part.replace("\x00", "~") for part in text.replace("~~", "\x00").split("~")]
        members: dict[str, str] = {}
        for part in parts:
            members.setdefault(part[:2], part[2:])
        if row := item(members, SHORT_ITEM):
            rows.append(row)
    if rows:
        fields["order.items"] = tuple(rows)


def person(found: Mapping[str, Any], fields: dict[str, Value]) -> None:
    """`user_data` → `user.*`: the first of a list counts, hashed values stay hashed. Raises EventError."""
    for members, source in ((_PERSON, found), (_ADDRESS, _first_object(found.get("address")))):
        copy({k: _first(v) for k, v in source.items() if k in members}, members, fields)


def hashed_person(text: str, fields: dict[str, Value]) -> None:
    """`em=tv.1~em.<hash>~pn.<hash>…` → `user.*`; hashes arrive as base64url and become hex. What cannot be read is left out."""
    for part in text.split("~")[:64]:
        matched = _EM_PART.match(part)
        path = _EM.get(matched[1]) if matched else None
        if matched is None or path is None or path in fields:
            continue
        value = _hex(matched[2]) if matched[1] in _EM_HASHED else matched[2]
        if value is not None:
            put(fields, path, value)


def _hex(text: str) -> str | None:
    """A SHA-256 digest as hex, from hex or base64url; None for anything else."""
    if re.fullmatch(r"[0-9A-Fa-f]{64}", text):
        return text.lower()
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw.hex() if len(raw) == 32 else None


def _first(found: object) -> object:
    return (found[0] if found else None) if isinstance(found, list) else found


def _first_object(found: object) -> Mapping[str, Any]:
    one = _first(found)
    return one if isinstance(one, dict) else {}


def number(name: str, text: str) -> int | float:
    """A numeric parameter of a hit. Raises EventError that names the parameter's kind, not its value."""
    found = scalar(text, Kind.NUMBER)
    if not isinstance(found, (int, float)):
        raise EventError(f"`{name}` is not a number", code="field_type", hint="digits and a point, no currency sign")
    return found
