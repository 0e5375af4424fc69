"""The words policies use for data: one table of dotted paths (DESIGN §3).

Dialects write these paths, policies name them, destinations read them. `docs/reference/fields.md` is generated from it.
A path under an open group (`properties.*`, `lead.*`, `visitor.*` …) is allowed only where `OPEN_GROUPS` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class DataClass(StrEnum):
    """What kind of data a field holds."""

    IDENTITY = "identity"
    CONTACT = "contact"
    DEVICE = "device"
    NETWORK = "network"
    LOCATION = "location"
    COMMERCE = "commerce"
    BEHAVIOUR = "behaviour"
    FREE_TEXT = "free_text"


class Kind(StrEnum):
    """The JSON type that a field takes."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    ITEMS = "items"
    ANY = "any"  #: any scalar or a list of scalars


@dataclass(frozen=True, slots=True)
class Field:
    """One known field: what it is and whether it is personal data."""

    path: str
    kind: Kind
    data_class: DataClass
    personal: bool
    about: str

    @property
    def group(self) -> str:
        """The part before the first dot."""
        return self.path.partition(".")[0]


def _table() -> tuple[Field, ...]:
    I, C, D, N, L, M, B, F = (  # noqa: E741, N806  one letter a class keeps the table readable
        DataClass.IDENTITY,
        DataClass.CONTACT,
        DataClass.DEVICE,
        DataClass.NETWORK,
        DataClass.LOCATION,
        DataClass.COMMERCE,
        DataClass.BEHAVIOUR,
        DataClass.FREE_TEXT,
    )
    t, n, b = Kind.TEXT, Kind.NUMBER, Kind.BOOLEAN
    rows: tuple[tuple[str, Kind, DataClass, bool, str], ...] = (
        ("event.id", t, B, False, "unique id of the event; shared with pixels for deduplication"),
        ("event.name", t, B, False, "GA4 recommended event name, or the site's own"),
        ("event.time", n, B, False, "when it happened, milliseconds since 1970 UTC"),
        ("event.source", t, B, False, "web, server or app"),
        ("event.original_name", t, B, False, "the sender's own name of the event, where its dialect has another"),
        ("page.url", t, B, True, "address of the page; parameters only as the policy lists them"),
        ("page.referrer", t, B, True, "address of the page before"),
        ("page.title", t, F, False, "title of the page"),
        ("page.path", t, B, False, "path of the page"),
        ("order.id", t, M, True, "order or transaction number"),
        ("order.value", n, M, False, "amount in `order.currency`"),
        ("order.total", n, M, False, "amount with tax and shipping"),
        ("order.revenue", n, M, False, "amount without tax and shipping"),
        ("order.currency", t, M, False, "ISO 4217 code"),
        ("order.tax", n, M, False, "tax amount"),
        ("order.shipping", n, M, False, "shipping amount"),
        ("order.discount", n, M, False, "discount amount"),
        ("order.coupon", t, M, False, "coupon code"),
        ("order.affiliation", t, M, False, "shop or partner that sold"),
        ("order.payment_type", t, M, False, "way of payment, as a word"),
        ("order.shipping_tier", t, M, False, "way of delivery, as a word"),
        ("order.list_id", t, M, False, "id of the product list shown"),
        ("order.list_name", t, M, False, "name of the product list shown"),
        ("order.items", Kind.ITEMS, M, False, "products: id, name, brand, category, variant, price, quantity …"),
        ("user.id", t, I, True, "the site's own id of a signed-in person"),
        ("user.email", t, C, True, "e-mail address"),
        ("user.phone", t, C, True, "telephone number"),
        ("user.first_name", t, C, True, "given name"),
        ("user.last_name", t, C, True, "family name"),
        ("user.gender", t, I, True, "gender as told by the person"),
        ("user.birthday", t, I, True, "date of birth, YYYY-MM-DD"),
        ("user.street", t, C, True, "street and house number"),
        ("user.city", t, L, True, "town"),
        ("user.region", t, L, True, "state or province"),
        ("user.postcode", t, L, True, "postal code"),
        ("user.country", t, L, True, "country of the address, ISO code or name"),
        ("user.title", t, I, True, "job title"),
        ("user.company", t, I, True, "company of the person"),
        ("visitor.client_id", t, I, True, "id of the browser (GA client id form where known)"),
        ("visitor.session_id", t, I, True, "id of the visit"),
        ("visitor.session_number", n, B, False, "how many visits so far"),
        ("visitor.anonymous_id", t, I, True, "id of a visitor who is not signed in"),
        ("visitor.device_id", t, I, True, "id of an app's installation or device, as its SDK gives it"),
        ("visitor.advertising_id", t, I, True, "advertising id of a phone (IDFA, GAID)"),
        ("visitor.engagement_ms", n, B, False, "time the page was in view, milliseconds"),
        ("device.user_agent", t, D, True, "browser's User-Agent header"),
        ("device.language", t, D, False, "preferred language, BCP 47"),
        ("device.screen", t, D, False, "screen size, e.g. 1920x1080"),
        ("device.viewport", t, D, False, "window size"),
        ("device.timezone", t, L, False, "time zone name"),
        ("device.type", t, D, False, "mobile, tablet or desktop"),
        ("device.os", t, D, False, "operating system"),
        ("device.os_version", t, D, False, "version of the operating system"),
        ("device.browser", t, D, False, "browser name"),
        ("device.browser_version", t, D, False, "browser version"),
        ("device.brand", t, D, False, "maker of the device"),
        ("device.model", t, D, False, "model of the device"),
        ("device.app_instance_id", t, I, True, "Firebase app instance id"),
        ("network.ip", t, N, True, "address of the visitor"),
        ("place.country", t, L, False, "country the visit comes from, ISO 3166-1"),
        ("place.region", t, L, False, "region the visit comes from, like US-CA"),
        ("campaign.source", t, B, False, "utm_source"),
        ("campaign.medium", t, B, False, "utm_medium"),
        ("campaign.name", t, B, False, "utm_campaign"),
        ("campaign.term", t, B, False, "utm_term"),
        ("campaign.content", t, B, False, "utm_content"),
        ("campaign.id", t, B, False, "utm_id"),
        *((f"click.{c}", t, I, True, f"{c} click id of an ad platform") for c in CLICK_IDS),
        *((f"cookie.{c}", t, I, True, about) for c, about in COOKIES),
        ("search.term", t, F, False, "what the visitor searched for on the site"),
        ("lead.id", t, M, True, "id of the lead"),
        ("lead.type", t, M, False, "kind of lead"),
        ("lead.value", n, M, False, "value of the lead"),
        ("lead.status", t, M, False, "state of the lead"),
        ("lead.source", t, M, False, "where the lead came from"),
        ("group.id", t, I, True, "id of the account or company"),
        ("group.name", t, I, True, "name of the account or company"),
        ("user.previous_id", t, I, True, "earlier id of the same person (alias)"),
        ("user.is_new_customer", b, M, False, "first order of this customer"),
    )
    return tuple(Field(*row) for row in rows)


CLICK_IDS: Final = (
    "gclid", "gbraid", "wbraid", "dclid", "fbclid", "msclkid", "ttclid", "li_fat_id", "epik", "sccid", "rdt_cid", "twclid",
    "irclickid", "yclid",
)  # fmt: skip

COOKIES: Final = (
    ("ga", "_ga"), ("ga_session", "_ga_<stream>, session id part"), ("fbp", "_fbp"), ("fbc", "_fbc"), ("ttp", "_ttp"),
    ("gcl_aw", "_gcl_aw, click id part"), ("gcl_gb", "_gcl_gb, click id part"), ("epik", "_epik"), ("scid", "_scid"),
    ("rdt_uuid", "_rdt_uuid, uuid part"), ("uetvid", "_uetvid"), ("uetsid", "_uetsid"), ("hubspotutk", "hubspotutk"),
)  # fmt: skip

#: Keys of one product in `order.items`, and their types.
ITEM_KEYS: Final = {
    "id": Kind.TEXT, "name": Kind.TEXT, "brand": Kind.TEXT, "category": Kind.TEXT, "category2": Kind.TEXT, "category3": Kind.TEXT,
    "category4": Kind.TEXT, "category5": Kind.TEXT, "variant": Kind.TEXT, "price": Kind.NUMBER, "quantity": Kind.NUMBER,
    "coupon": Kind.TEXT, "discount": Kind.NUMBER, "index": Kind.NUMBER, "affiliation": Kind.TEXT, "list_id": Kind.TEXT,
    "list_name": Kind.TEXT, "sku": Kind.TEXT, "url": Kind.TEXT, "image_url": Kind.TEXT, "currency": Kind.TEXT,
    "promotion_id": Kind.TEXT, "promotion_name": Kind.TEXT, "creative_name": Kind.TEXT, "creative_slot": Kind.TEXT,
    "location_id": Kind.TEXT,
}  # fmt: skip

#: Groups in which a site may add names of its own; they are personal until a policy says otherwise.
OPEN_GROUPS: Final = frozenset({"properties"})

FIELDS: Final = {f.path: f for f in _table()}
GROUPS: Final = {g: tuple(p for p, f in FIELDS.items() if f.group == g) for g in dict.fromkeys(f.group for f in FIELDS.values())}


def known(path: str) -> bool:
    """True for a field of the table, or a path below an open group such as `properties.color`."""
    if path in FIELDS:
        return True
    group, dot, rest = path.partition(".")
    return bool(dot and rest) and group in OPEN_GROUPS


def is_personal(path: str) -> bool:
    """True for personal data; a name the site added itself counts as personal."""
    found = FIELDS.get(path)
    return found.personal if found else True
