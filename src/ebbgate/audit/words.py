"""The closed lists of the log: entry types, their keys, and the words that may stand in clear."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

VERSION: Final = 1
MAX_ENTRY: Final = 16 * 1024  #: bytes; the tree format allows 65,535 (specs/reliability.md §3)


@dataclass(frozen=True, slots=True)
class Shape:
    """Which keys an entry type has beside `v, type, t, node, nseq`; none else is allowed."""

    required: frozenset[str]
    optional: frozenset[str] = frozenset()


def _shape(required: str, optional: str = "") -> Shape:
    return Shape(frozenset(required.split()), frozenset(optional.split()))


COMMON: Final = frozenset({"v", "type", "t", "node", "nseq"})

#: specs/reliability.md §3, with `outcome`, `held.released` and `held.shredded` for what ends without a request.
TYPES: Final[dict[str, Shape]] = {
    "decision": _shape("site event trust place regime policy purposes dests consent_c evt_c", "subj_c"),
    "attempt.started": _shape("dest request n fields other payload_c batch_c", "attempt"),
    "attempt.finished": _shape("dest request n results retried", "status ms"),
    "outcome": _shape("dest outcome reason n", "batch_c evt_c retried"),
    "consent.changed": _shape("purposes source subj_c"),
    "erasure.applied": _shape("n subj_c"),
    "policy.activated": _shape("policy files"),
    "key.rotated": _shape("key fingerprint"),
    "admin.action": _shape("action actor n", "dest reason"),
    "export.made": _shape("what n digest"),
    "clock.anomaly": _shape("delta_s"),
    "heartbeat": _shape("n"),
    "held.released": _shape("dests n", "subj_c"),
    "held.shredded": _shape("outcome n", "dests subj_c"),
}

#: Keys of the objects inside entries.
INNER: Final[dict[str, Shape]] = {
    "dests": _shape("dest decision reason", "detail rule fields hashed removed other other_removed"),
    "purposes": _shape("name state", "source"),
    "results": _shape("outcome reason n"),
    "files": _shape("file digest"),
}

#: Where a list of field names would make an entry too long, its count and SHA-256 stand instead.
DIGESTED: Final = frozenset({"count", "sha256"})

#: Event names that say nothing about the visitor. A site's own name could: it stands in the opening, and here as `custom`.
EVENT_NAMES: Final = frozenset({
    "page_view", "screen_view", "view_item", "view_item_list", "select_item", "view_promotion", "select_promotion", "search",
    "add_to_cart", "remove_from_cart", "view_cart", "add_to_wishlist", "begin_checkout", "add_shipping_info", "add_payment_info",
    "purchase", "refund", "sign_up", "login", "generate_lead", "qualify_lead", "close_convert_lead", "subscribe", "share",
    "scroll", "click", "form_submit", "file_download", "video_start", "video_progress", "video_complete", "identify", "group",
    "alias",    "lead", "contact", "schedule", "start_trial", "submit_application", "find_location", "customize_product", "donate",
})  # fmt: skip
CUSTOM: Final = "custom"
NO_DESTINATION: Final = "-"  #: in an outcome that concerns the event as a whole, such as `duplicate`

_WORD: Final = re.compile(r"[a-z0-9][a-z0-9_.:-]{0,79}")
_HEX: Final = re.compile(r"[0-9a-f]{16,128}")
_PLACE: Final = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")


def is_word(text: str) -> bool:
    """True for a word of a closed list: short, lower case, no spaces: nothing that a visitor typed fits by accident of prose."""
    return _WORD.fullmatch(text) is not None


def is_label(text: str) -> bool:
    """True for what an operator named (destination, purpose, policy file): short and printable."""
    return 0 < len(text) <= 200 and text.isprintable()


def is_hex(text: str) -> bool:
    """True for a digest or id in lower-case hexadecimal."""
    return _HEX.fullmatch(text) is not None


@lru_cache(maxsize=8192)
def place_word(country: str | None, region: str | None) -> str:
    """`US-CA`, `DE` or `unknown`."""
    found = region or country or ""
    return found if _PLACE.fullmatch(found) else "unknown"
