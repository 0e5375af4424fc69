"""Where our request differs from another gateway's for the same input, and the line of the specification that decides for ours.

Every entry has to be used by a vector (tests/contract/test_destination_vectors.py), so the list cannot grow stale. §n is
specs/destinations.md; README is vectors/destinations/README.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Deviation:
    """One kind of difference: files, peer and path it is about, and which values of the peer's it covers."""

    files: str  #: expression over names of vector files
    peer: str  #: segment, stape or walkeros
    path: str  #: expression over the end of a path in the peer's body
    why: str
    values: frozenset[object] = frozenset()  #: empty = any value

    def covers(self, file: str, case: Mapping[str, Any], path: str, value: object) -> bool:
        """True when this difference is that one."""
        return (
            case["peer"] == self.peer
            and re.fullmatch(self.files, file) is not None
            and re.search(rf"(?:^|[.\]]){self.path}\Z", path) is not None
            and (not self.values or value in self.values)
        )


def _digests(*raw: str) -> frozenset[object]:
    return frozenset(sha256(one.encode()).hexdigest() for one in raw)


def _of(*values: object) -> frozenset[object]:
    return frozenset(values)


_SENT_WHERE_GIVEN: Final = "§1.1: Segment sends `revenue`; the default is `value`, then `total`, then `revenue`"
_SUM: Final = "§1.1: the amount is `value`, `total` or `revenue`; the peer adds up the products of an event that states none"
_OWN_NAME: Final = "§1.1: `—` is sent under the source's name; the peer was given the GA4 name (README: `input_ga4`)"
_MADE_UP: Final = "README: made by the peer at random; nothing in the input says it"

DEVIATIONS: Final[tuple[Deviation, ...]] = (
    Deviation("ga4", "segment", r"params\.value", "§1.1 value rule: the case's mapping reads `price` or `revenue`", _of(18.99, 5.99)),
    Deviation("ga4", "segment", r"events\[0\]\.name", "§1.1: Order Completed is `purchase`; the action here is customEvent",
              _of("ordercompleted")),
    Deviation("ga4", "segment", r"items\[0\]\.item_id", "README: `id` of a promotion is no product; the case's mapping says so"),
    Deviation("meta_capi|snapchat", "segment", r"custom_data\.value", _SENT_WHERE_GIVEN, _of(191.25)),
    Deviation("pinterest", "segment", r"custom_data\.value", "§1.1 value rule: the peer takes the price of one piece", _of(89.5)),
    Deviation("meta_capi", "segment", r"event_name", "§1.1: AddToWishlist", _of("productaddedtowishlist")),
    Deviation("meta_capi", "segment", r"external_id\[1\]", "README: the case's mapping reads a property of its own, `externalIds`"),
    Deviation("meta_capi", "stape", r"event_name", _OWN_NAME, _of("login", "viewitemlist")),
    Deviation("meta_capi", "stape", r"user_data\.fbp", _MADE_UP),
    Deviation("meta_capi|pinterest|snapchat", "stape", r"country(?:\[0\])?", "§1.3 traps: `Germany` is hashed verbatim by Stape",
              _digests("germany")),
    Deviation("google_datamanager", "stape", r"emailAddress", "§1.3 traps: Stape's gmail check runs before trim and lower",
              _digests("jane.doe+news@gmail.com")),
    Deviation("google_datamanager", "stape", r"phoneNumber", "§1.3 traps: no peer turned `0049 30 901820` into 4930901820",
              _digests("+004930901820")),
    Deviation("tiktok", "segment", r"email\[0\]", "§1.3 traps: Segment TikTok does not trim e-mail",
              _digests(" jane.doe+news@gmail.com ")),
    Deviation("tiktok", "segment", r"(?:email|phone)\[1\]", "§2.4: one value or a list; of several addresses we keep the first"),
    Deviation("tiktok", "segment", r"mileage\.value", "§2.4 lists no vehicle; the case's mapping groups properties"),
    Deviation("tiktok", "stape", r"data\[0\]\.event", _OWN_NAME, _of("login", "refund", "viewcart")),
    Deviation("microsoft_ads", "segment", r"userData\.ph", "§1.3: unsettled, Stape keeps + and Segment strips it; we keep it",
              _digests("14155550132", "14155550000")),
    Deviation("microsoft_ads", "stape", r"eventName", "§2.6: eventName is what the goals match on, so ours is `event_names` or "
              "the source's name, as with Segment", _of("purchase", "search")),
    Deviation("pinterest", "stape", r"custom_data\.value", _SUM, _of(191.25)),
    Deviation("microsoft_ads", "walkeros", r"customData\.value", "README: the case's mapping types in a currency; without one a sum of "
              "prices is no amount", _of(89.99)),
    Deviation("matomo", "stape", r"(?:revenue|ec_items)", "§2.7: a cart update needs the whole cart; the event names one product"),
    Deviation("posthog", "segment", r"event", "README: the peer's action was identify; the input is a track call", _of("identify")),
    Deviation("pinterest", "stape", r"event_name", "§3.1: Stape sends `custom` although standard names exist", _of("custom")),
    Deviation("pinterest", "walkeros", r"event_time", "§3.1: seconds; the peer divides seconds by a thousand"),
    Deviation("snapchat", "stape", r"num_items", "README: lines of the cart; ours are pieces, as with Segment", _of(1.0)),
    Deviation("snapchat", "stape", r"event_name", "§1.1: CUSTOM_EVENT_1..5", _of("quizfinished")),
    Deviation("snapchat", "stape", r"sc_cookie1", _MADE_UP),
    Deviation("snapchat", "walkeros", r".*", "§3.2: em, ph, madid, or address and agent are needed; these requests have none"),
    Deviation("reddit", "stape", r"tracking_type", "§1.1: CUSTOM (Stape: LEAD)", _of("lead")),
    Deviation("reddit", "stape", r"custom_event_name", _OWN_NAME),
    Deviation("x_ads", "walkeros", r"twclid", "README: the case's mapping reads a context of its own"),
    Deviation("mixpanel", "stape", r"distinct_id", _MADE_UP),
    Deviation("mixpanel|amplitude", "segment", r"event(?:_type)?", "§3.5, §3.6: one event in, one out; the peer adds one a product",
              _of("productpurchased")),
    Deviation("amplitude", "segment", r"device_id", "§3.6: `min_id_length` 5; `foo` is refused by the platform", _of("foo")),
    Deviation("amplitude", "segment", r"products\[0\]\.revenue", "DESIGN §3: a product has the keys of `order.items`", _of(4000.0)),
    Deviation("klaviyo", "segment", r"metric\S*name", "§3.11: a page call has no `event`", _of("testevent")),
)  # fmt: skip
