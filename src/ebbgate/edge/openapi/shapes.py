"""JSON Schemas of what travels: events, choices, answers and refusals. Made of the tables that read and write them."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec

from ebbgate.collect.native_types import MAX_ID
from ebbgate.collect.native_values import MAX_ITEMS, MAX_PROPERTIES, PROPERTY_DEPTH
from ebbgate.edge.openapi.codes import CODES, with_status
from ebbgate.fields import FIELDS, GROUPS, ITEM_KEYS, Kind
from ebbgate.model import ConsentState
from ebbgate.pipeline import Status
from ebbgate.store.protocol import QueueState

Schema: TypeAlias = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
ANSWERS: Final = [state.value for state in ConsentState]
#: What is told of groups that only a site's server may state.
_SERVER_ONLY: Final = " A browser's is ignored: the request itself is the evidence."
_KINDS: Final[dict[Kind, Schema]] = {
    Kind.TEXT: {"type": ["string", "integer", "null"]},
    Kind.NUMBER: {"type": ["number", "null"]},
    Kind.BOOLEAN: {"type": ["boolean", "null"]},
    Kind.ITEMS: {"type": "array", "maxItems": MAX_ITEMS, "items": {"$ref": "#/components/schemas/Item"}},
    Kind.ANY: {},
}


def ref(name: str) -> Schema:
    """A reference to a component schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def obj(properties: Schema, *required: str, closed: bool = True, **more: Any) -> Schema:
    """An object; `closed` ones have no other members."""
    found: Schema = {"type": "object", "properties": properties}
    if required:
        found["required"] = list(required)
    if closed:
        found["additionalProperties"] = False
    return found | more


def problem_schema(statuses: tuple[int, ...] = ()) -> Schema:
    """A refusal with one of these statuses, or any. The codes of 503 are the store's own and may grow."""
    codes = [c for s in statuses for c in with_status(s)] if statuses else list(CODES)
    code: Schema = {"type": "string"} if 503 in statuses else {"type": "string", "enum": list(dict.fromkeys(codes))}
    status: Schema = {"type": "integer", "enum": list(statuses)} if statuses else {"type": "integer"}
    members = {
        "type": {"type": "string", "pattern": "^urn:ebbgate:problem:[a-z0-9_]+$"},
        "title": TEXT,
        "status": status,
        "code": code,
        "detail": {"type": "string", "description": "What is wrong. Names paths and limits, never values."},
        "hint": {"type": "string", "description": "What to do about it."},
        "success": {"type": "boolean", "const": False, "description": "Only in the dialects whose clients look for it."},
        "message": {"type": "string", "description": "`detail` again, in the same dialects."},
    }
    return obj(members, "type", "title", "status", "code", "detail", "hint")


def collection_schemas() -> dict[str, Schema]:
    """Component schemas of the collection host."""
    groups: Schema = {}
    for group, paths in GROUPS.items():
        if group == "event":
            continue
        members = {p.partition(".")[2]: {**_KINDS[FIELDS[p].kind], "description": FIELDS[p].about} for p in paths}
        about = f"Fields `{group}.*`.{_SERVER_ONLY if group in ('place', 'network') else ''}"
        groups[group] = obj(members, closed=False, description=about)
    groups["properties"] = {
        "type": ["object", "null"],
        "maxProperties": MAX_PROPERTIES,
        "propertyNames": {"pattern": r"^[A-Za-z_$][A-Za-z0-9_$ -]{0,63}$"},
        "description": f"What the site adds itself: plain values, lists of them, objects to a depth of {PROPERTY_DEPTH}.",
    }
    event = obj(
        {
            "event": {
                "type": "string",
                "pattern": "^[a-z][a-z0-9_]{0,39}$",
                "description": "GA4's recommended name, or the site's own.",
            },
            "id": {
                "type": ["string", "integer", "null"],
                "maxLength": MAX_ID,
                "description": "Unique: a second event with it is a duplicate.",
            },
            "time": {
                "type": ["string", "number", "null"],
                "description": "ISO 8601 with a zone, or seconds or milliseconds since 1970. Default: now.",
            },
            "source": {"type": "string", "enum": ["web", "server", "app"]},
            **groups,
            "consent": ref("Consent"),
        },
        "event",
        closed=False,
        description="One event. Members that no table knows are ignored; a server is told their names.",
    )
    batch = obj(
        {"events": {"type": "array", "minItems": 1, "items": ref("Event")}, "sent_at": {"type": ["string", "number", "null"]}},
        "events",
        description="Several events, answered one by one. `sent_at` is the sender's clock: a browser's times are moved by it.",
    )
    return {
        "Event": event,
        "Batch": batch,
        "Item": obj({key: _KINDS[kind] for key, kind in ITEM_KEYS.items()}, closed=False),
        "Consent": _consent(),
        "Choice": obj({"visitor": groups["visitor"], "user": groups["user"], "place": groups["place"], "consent": ref("Consent")}),
        **_answers(),
        "Problem": problem_schema(),
    }


def admin_schemas() -> dict[str, Schema]:
    """Component schemas of the admin host; queues as the store's own dataclass says."""
    _, components = msgspec.json.schema_components([QueueState], ref_template="#/components/schemas/{name}")
    return {**components, "Health": _answers()["Health"], "Problem": problem_schema()}


def _consent() -> Schema:
    """Every member of a native event's `consent` (collect/consent_object.py); what cannot be read only ever refuses."""
    flag: Schema = {"type": ["boolean", "integer", "string", "null"]}
    text: Schema = {"type": ["string", "null"]}
    short: Schema = {"type": ["string", "integer", "null"]}
    return {
        "type": ["object", "null"],
        "additionalProperties": False,
        "description": "Evidence of consent. An unknown key is an error; a value that cannot be read is evidence that only refuses.",
        "properties": {
            "purposes": {"type": ["object", "null"], "additionalProperties": {"type": "string", "enum": ANSWERS}},
            "categories": {"type": ["object", "null"], "additionalProperties": {"type": "boolean"}},
            "tcf": {**text, "description": "IAB TCF 2 string."},
            "gdpr_applies": flag,
            "addtl_consent": {**text, "description": "Google's Additional Consent string."},
            "gpp": {**text, "description": "IAB GPP string."},
            "gpp_sid": {"type": ["array", "string", "null"], "items": {"type": "integer"}},
            "us_privacy": {**text, "description": "IAB US Privacy string."},
            "gcs": {**text, "description": "Google consent mode, short."},
            "gcd": {**text, "description": "Google consent mode, long."},
            "npa": short,
            "dma": short,
            "gpc": {**flag, "description": "Global Privacy Control."},
            "dnt": flag,
            "time": {"type": ["string", "number", "null"], "description": "When the choice was made."},
        },
    }


def _answers() -> dict[str, Schema]:
    error = obj({"code": {"type": "string", "enum": list(CODES)}, "detail": TEXT, "hint": TEXT}, "code", "detail", "hint")
    receipt = obj(
        {"id": TEXT, "status": {"type": "string", "enum": [s.value for s in Status]}, "error": error},
        "id",
        "status",
    )
    states: Schema = {"type": "object", "additionalProperties": {"type": "string", "enum": ANSWERS}}
    invalid = obj(
        {"index": {"type": "integer", "minimum": 0}, "id": TEXT, "code": error["properties"]["code"], "detail": TEXT, "hint": TEXT},
        "index",
        "id",
        "code",
        "detail",
        "hint",
    )
    durability: Schema = {"type": "string", "enum": ["fsync", "memory"], "description": "What survives: `fsync` is on disk."}
    return {
        "Receipts": obj(
            {
                "accepted": {"type": "integer", "minimum": 0},
                "events": {"type": "array", "items": receipt},
                "durability": durability,
                "ignored": {"type": "array", "items": TEXT, "description": "Told to servers: members that no table knows."},
            },
            "accepted",
            "events",
            "durability",
        ),
        "Success": obj({"success": {"type": "boolean", "const": True}, "invalid": {"type": "array", "items": invalid}}, "success"),
        "Recorded": obj({"recorded": states, "durability": durability, "drained": {"type": "boolean"}}, "recorded", "drained"),
        "Honoured": obj(
            {"gpc": {"type": "boolean"}, "opt_out_honored": {"type": "boolean"}, "purposes": states, "text": TEXT},
            "gpc",
            "opt_out_honored",
            "purposes",
            "text",
        ),
        "Health": obj({"ok": {"type": "boolean"}, "problems": {"type": "array", "items": TEXT}}, "ok", "problems"),
        "Seen": obj(
            {
                "version": TEXT,
                "now_ms": {"type": "integer"},
                "problems": {"type": "array", "items": TEXT},
                "policies": {"type": "integer"},
                "proxy_trusted": {"type": "boolean"},
                "peer_is_private": {"type": "boolean"},
                "address": TEXT,
                "forwarded": {"type": "boolean"},
                "country": {"type": ["string", "null"]},
                "region": {"type": ["string", "null"]},
                "cookie": {"type": ["string", "null"]},
            },
            "version",
            "now_ms",
            "problems",
            "policies",
            "address",
        ),
        "ClientSettings": {
            "type": "object",
            "required": ["integrations", "plan", "metrics"],
            "description": "The settings document of Segment's analytics-next; every address in it is this host.",
        },
        "ClientSource": {
            "type": "object",
            "required": ["source"],
            "description": "The source document of RudderStack's SDK; it names no destination to load a script for.",
        },
        "Gpc": obj(
            {"gpc": {"type": "boolean", "const": True}, "lastUpdate": {"type": "string", "format": "date"}}, "gpc", "lastUpdate"
        ),
    }
