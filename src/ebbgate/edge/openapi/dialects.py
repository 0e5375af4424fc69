"""What the documents tell of the dialects: one entry a dialect; paths, methods, types and answers come from `edge/routes.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ebbgate.edge.openapi.parts import parameter
from ebbgate.edge.openapi.shapes import TEXT, Schema, obj

_OBJECT: Final[Schema] = {"type": ["object", "null"]}
_TIME: Final[Schema] = {"type": ["string", "number", "null"], "description": "ISO 8601, or seconds or milliseconds since 1970."}
_NUMBER: Final[Schema] = {"type": ["number", "string", "null"]}


@dataclass(frozen=True, slots=True)
class About:
    """One dialect as the documents tell it. `body` None: everything stands in the query."""

    tag: str
    summary: str
    security: tuple[str, ...]
    text: str = ""
    body: Schema | None = None
    example: Any = None
    parameters: tuple[Schema, ...] = ()
    examples: Mapping[str, Any] = field(default_factory=dict)  #: last part of the path → another example


def _query(name: str, about: str, example: Any = None) -> Schema:
    return parameter(name, "query", about, example=example)


_CONSENT: Final = (
    _query("gdpr", "Whether the GDPR applies, `0` or `1`."),
    _query("gdpr_consent", "IAB TCF string."),
    _query("us_privacy", "IAB US Privacy string."),
    _query("gpp", "IAB GPP string."),
    _query("gpp_sid", "GPP sections that apply, `7` or `7,8`."),
    _query("gcs", "Google consent mode, short.", "G111"),
    _query("gcd", "Google consent mode, long."),
)
_GZIP: Final = parameter("Content-Encoding", "header", "`gzip`, or none.", {"type": "string", "enum": ["gzip", "identity"]})

_CALL_MEMBERS: Final[Schema] = {
    "type": {"type": "string", "description": "The call, where the path does not say it."},
    "event": {"type": "string", "description": "Name of a track call."},
    "messageId": {"type": ["string", "null"], "maxLength": 200, "description": "Id of the event: a second one is a duplicate."},
    "userId": {"type": ["string", "integer", "null"]},
    "anonymousId": {"type": ["string", "integer", "null"]},
    "groupId": {"type": ["string", "integer", "null"]},
    "previousId": {"type": ["string", "integer", "null"]},
    "timestamp": _TIME,
    "sentAt": _TIME,
    "properties": _OBJECT,
    "traits": _OBJECT,
    "context": {**_OBJECT, "description": "Page, campaign, library, and consent: `consent`, or RudderStack's `consentManagement`."},
    "writeKey": {"type": "string", "description": "The key, where the head has none."},
}
_CALL: Final = obj(_CALL_MEMBERS, closed=False)
_EXAMPLE_CALL: Final = {
    "event": "Order Completed",
    "messageId": "m-1009",
    "anonymousId": "a-1",
    "userId": "u-1",
    "groupId": "g-1",
    "previousId": "a-0",
    "properties": {"order_id": "A-1009", "revenue": 12, "currency": "EUR"},
    "context": {"consent": {"categoryPreferences": {"analytics": True}}},
}
_BATCH: Final = obj(
    {
        "batch": {"type": "array", "minItems": 1, "items": _CALL},
        "context": _OBJECT,
        "sentAt": _TIME,
        "writeKey": _CALL_MEMBERS["writeKey"],
    },
    "batch",
    closed=False,
)
_EXAMPLE_BATCH: Final = {"batch": [{"type": "page", "anonymousId": "a-1"}, {"type": "track", "event": "E", "userId": "u-1"}]}
_KEYS: Final = ("origin", "referer", "serverKey", "basicKey", "headerKey", "writeKey")

SEGMENT_BATCH: Final = About(
    "Segment, RudderStack", "A batch of calls", _KEYS, body=_BATCH, example=_EXAMPLE_BATCH, parameters=(_GZIP,)
)
SEGMENT_CALL: Final = About(
    "Segment, RudderStack",
    "One call of the Segment spec",
    _KEYS,
    body=_CALL,
    example=_EXAMPLE_CALL,
    parameters=(_GZIP, parameter("AnonymousId", "header", "RudderStack: the anonymous id, base64 or as it is.")),
)

DIALECTS: Final[dict[str, About]] = {
    "ga4": About(
        "Google",
        "GA4 web hits",
        ("origin", "referer"),
        "Parameters of all events stand in the query; a body has one event a line, whose parameters override the query's. "
        "Besides those listed: `ep.NAME`, `epn.NAME`, `up.NAME`, `upn.NAME`, products `pr1` … `pr200`, `em`, client hints.",
        body={"type": "string", "description": "One event a line, URL-encoded."},
        example="en=page_view&_et=1200\r\nen=scroll&epn.percent_scrolled=90",
        parameters=(
            _query("v", "Version, `2`.", "2"),
            _query("tid", "Stream.", "G-TEST"),
            _query("en", "Name of the event.", "page_view"),
            _query("cid", "Client id.", "1.2"),
            _query("sid", "Session id.", "1731400000"),
            _query("uid", "User id."),
            _query("_p", "Page-load id.", "99"),
            _query("_s", "Number of the hit in its session.", "1"),
            _query("dl", "Address of the page.", "https://shop.example/"),
            _query("dr", "Referrer."),
            _query("dt", "Title."),
            _query("ul", "Language."),
            _query("sr", "Screen."),
            _query("cu", "Currency."),
            _query("npa", "`1`: no personalised advertising."),
            *_CONSENT,
        ),
    ),
    "ga4_protocol": About(
        "Google",
        "GA4 Measurement Protocol",
        ("origin", "referer", "apiSecret", "serverKey"),
        body=obj(
            {
                "client_id": TEXT,
                "app_instance_id": TEXT,
                "user_id": TEXT,
                "timestamp_micros": {"type": ["integer", "string", "null"]},
                "user_properties": _OBJECT,
                "user_data": _OBJECT,
                "user_location": _OBJECT,
                "device": _OBJECT,
                "ip_override": TEXT,
                "consent": {
                    "type": ["object", "null"],
                    "properties": {n: {"enum": ["GRANTED", "DENIED"]} for n in ("ad_user_data", "ad_personalization")},
                },
                "events": {
                    "type": "array",
                    "minItems": 1,
                    "items": obj(
                        {"name": {"type": "string", "minLength": 1, "maxLength": 200}, "params": _OBJECT}, "name", closed=False
                    ),
                },
            },
            "events",
            closed=False,
        ),
        example={"client_id": "1.2", "events": [{"name": "purchase", "params": {"transaction_id": "A-1009", "value": 12}}]},
        parameters=(_query("measurement_id", "Stream; not used here.", "G-TEST"), _query("firebase_app_id", "App; not used here.")),
    ),
    "jitsu": About(
        "Jitsu",
        "One call of Jitsu's clients",
        _KEYS,
        body=_CALL,
        example=_EXAMPLE_CALL,
        parameters=(
            _GZIP,
            parameter("X-IP-Policy", "header", "`keep`, `stripLastOctet`, `remove`; any other word removes the address too."),
        ),
    ),
    "plausible": About(
        "Plausible",
        "An event of Plausible's script or libraries",
        ("origin", "referer", "serverKey"),
        body=obj(
            {
                "name": {"type": "string", "description": "Short: `n`."},
                "url": {"type": "string", "description": "Short: `u`."},
                "domain": {"type": "string", "description": "Short: `d`. Not used here."},
                "referrer": {"type": ["string", "null"], "description": "Short: `r`."},
                "props": {"type": ["object", "string", "null"], "maxProperties": 30, "description": "Short: `p`."},
                "revenue": {"type": ["object", "string", "null"], "description": "Short: `$`. Amount and currency."},
            },
            closed=False,
        ),
        example={"name": "pageview", "url": "https://shop.example/", "domain": "shop.example"},
    ),
    "pixel": About(
        "Pixel",
        "An event in the address of an image",
        ("origin", "referer", "writeKey"),
        "Any field by its name in policies (`order.value`, `page.url`), and `properties.NAME`.",
        parameters=(
            _query("event", "Name of the event.", "page_view"),
            _query("id", "Id of the event."),
            _query("page.url", "Address of the page; default: the Referer."),
            _query("order.id", "Order number."),
            _query("order.value", "Amount."),
            _query("order.currency", "Currency."),
            *_CONSENT,
        ),
    ),
    "ecapi": About(
        "IAB ECAPI",
        "Events of the Event and Conversion API 1.0",
        ("serverKey", "basicKey", "headerKey"),
        'One event, a list of them, or `{"events": […]}`.',
        body={
            "type": ["object", "array"],
            "properties": {
                "id": {"type": ["string", "integer", "null"]},
                "timestamp": {"type": ["number", "string"], "description": "Seconds since 1970; at most 90 days back."},
                "event_type": TEXT,
                "custom_event": TEXT,
                "value": _NUMBER,
                "currency_code": TEXT,
                "source": TEXT,
                "properties": _OBJECT,
                "user_data": _OBJECT,
            },
        },
    ),
}

#: RudderStack's own routes, which share one dialect's name.
BEACON: Final = About(
    "Segment, RudderStack", "A batch by beacon", ("origin", "referer", "writeKey"), body=_BATCH, example=_EXAMPLE_BATCH
)
PIXEL: Final = About(
    "Segment, RudderStack",
    "A call in the address of an image",
    ("origin", "referer", "writeKey"),
    "`properties`, `context` and `traits` as JSON, or by dotted names.",
    parameters=(
        _query("event", "Name of a track call.", "Opened"),
        _query("anonymousId", "Anonymous id.", "a-1"),
        _query("userId", "User id."),
        _query("messageId", "Id of the event."),
        _query("properties", "JSON of an object."),
        _query("context", "JSON of an object."),
        _query("timestamp", "When it happened."),
    ),
)


def about(path: str, name: str) -> About:
    """The entry of one route: its path below the prefix, its dialect's name."""
    last = path.rpartition("/")[2]
    if name == "segment":
        return SEGMENT_BATCH if last in ("batch", "import", "b") else SEGMENT_CALL
    if name == "rudderstack":
        return PIXEL if path.startswith("/pixel/") else BEACON
    return DIALECTS[name]
