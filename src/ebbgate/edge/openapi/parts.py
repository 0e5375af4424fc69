"""The pieces of which `edge/openapi/documents.py` makes its documents: parameters, answers, refusals, operations."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from ebbgate.consent.place import PLACE_HEADERS
from ebbgate.edge.openapi.shapes import TEXT, Schema, problem_schema

#: What the listener itself may answer to anything (edge/protocol.py), and what a fault becomes (edge/guard.py).
ALWAYS: Final = (400, 408, 431, 500, 505)
#: Besides, what a body may meet.
WITH_BODY: Final = (413, 415)
#: Besides, what whoever must say who it is may meet, and what the limits say.
OF_SENDERS: Final = (401, 403, 429)

_SECONDS: Final[Schema] = {"type": "integer", "minimum": 1}
_RETRY: Final[Schema] = {
    "Retry-After": {"description": "Seconds after which it may be sent again.", "required": True, "schema": _SECONDS},
}
_CORS: Final[Schema] = {
    "Access-Control-Allow-Origin": {"description": "The page's own origin, where it is one of a configured site.", "schema": TEXT},
    "Access-Control-Allow-Credentials": {"description": "`true`, with the header above.", "schema": TEXT},
}
_CHALLENGE: Final[Schema] = {"WWW-Authenticate": {"description": "How to say who one is.", "required": True, "schema": TEXT}}
_COOKIE: Final[Schema] = {
    "Set-Cookie": {"description": "The first-party cookie, set after a grant, removed after a refusal.", "schema": TEXT}
}

#: Headers that count whoever sends them.
_HEAD: Final = {
    "Sec-GPC": ("Global Privacy Control: `1` refuses what the policy says it refuses.", "1"),
    "DNT": ("Do Not Track, kept as evidence.", "1"),
    "User-Agent": ("`device.user_agent` of a browser's event.", "Mozilla/5.0"),
    "Accept-Language": ("`device.language` of a browser's event.", "de-DE,de;q=0.9"),
}
#: Headers that count only from `server.trusted_proxies`.
_PROXY: Final = {"X-Forwarded-For": "The visitor's address, read from the right."}


def parameter(
    name: str, where: str, about: str, schema: Schema | None = None, *, example: Any = None, required: bool = False
) -> Schema:
    """One parameter of a query, a head or a path."""
    found: Schema = {"name": name, "in": where, "description": about, "schema": schema or TEXT}
    if required:
        found["required"] = True
    if example is not None:
        found["example"] = example
    return found


def shared_parameters() -> dict[str, Schema]:
    """Component parameters: the headers that every event's request may carry."""
    found = {name: parameter(name, "header", about, example=example) for name, (about, example) in _HEAD.items()}
    for name, about in _PROXY.items():
        found[name] = parameter(name, "header", f"{about} Counts only from `server.trusted_proxies`.")
    for name in sorted(PLACE_HEADERS):
        found[name] = parameter(
            name, "header", "The visitor's place, as a CDN tells it. Counts only from `server.trusted_proxies`."
        )
    return found


def from_head() -> list[Schema]:
    """References to all shared parameters."""
    return [{"$ref": f"#/components/parameters/{name}"} for name in shared_parameters()]


def refusals() -> dict[str, Schema]:
    """Component responses: one a status."""
    return {f"Refused{status}": _refused(status) for status in (*ALWAYS, *WITH_BODY, *OF_SENDERS, 404, 422, 503)}


def _refused(status: int) -> Schema:
    headers = dict(_CORS)
    if status in (429, 503):
        headers |= _RETRY
    if status == HTTPStatus.UNAUTHORIZED:
        headers |= _CHALLENGE
    return {
        "description": HTTPStatus(status).phrase,
        "headers": headers,
        "content": {"application/problem+json": {"schema": problem_schema((status,))}},
    }


def answer(about: str, media: str = "", schema: Schema | None = None, *, cookie: bool = False, cors: bool = True) -> Schema:
    """One good answer. Without a media type it has no body."""
    found: Schema = {"description": about}
    headers = {**(_CORS if cors else {}), **(_COOKIE if cookie else {})}
    if headers:
        found["headers"] = headers
    if media:
        found["content"] = {media: {"schema": schema or {}}}
    return found


def operation(
    summary: str,
    tag: str,
    answers: dict[int, Schema],
    refused: tuple[int, ...],
    *,
    about: str = "",
    parameters: list[Schema] | None = None,
    body: Schema | None = None,
    security: list[dict[str, list[str]]] | None = None,
) -> Schema:
    """One operation. `refused`: statuses of refusals besides those that anything may meet."""
    responses: Schema = {str(status): said for status, said in answers.items()}
    for status in (*ALWAYS, *refused):
        responses.setdefault(str(status), {"$ref": f"#/components/responses/Refused{status}"})
    found: Schema = {"summary": summary, "tags": [tag], "security": security or []}
    if about:
        found["description"] = about
    if parameters:
        found["parameters"] = parameters
    if body is not None:
        found["requestBody"] = {"required": True, "content": body}
    return found | {"responses": dict(sorted(responses.items()))}


def preflight(tag: str) -> Schema:
    """OPTIONS: what a browser asks before a page may send."""
    allowed = {
        "Access-Control-Allow-Methods": {"description": "What a page of a configured site may send.", "schema": TEXT},
        "Access-Control-Allow-Headers": {"description": "With which headers.", "schema": TEXT},
        "Access-Control-Max-Age": {"description": "Seconds that the browser may remember it.", "schema": TEXT},
    }
    said = answer("To a page of a configured site the permission, to all others nothing.")
    said["headers"] = said["headers"] | allowed
    return operation("Ask whether a page may send", tag, {204: said}, ())


def head_of(get: Schema) -> Schema:
    """HEAD of a GET: the same answers without their bodies."""
    responses = {status: {k: v for k, v in said.items() if k != "content"} for status, said in get["responses"].items()}
    return {**get, "summary": f"{get['summary']}, head only", "responses": responses}


def json_body(schema: Schema, example: Any, *more: str) -> Schema:
    """A JSON body; `more` are media types under which the same text is taken."""
    said: Schema = {"application/json": {"schema": schema, "example": example}}
    return said | {media: {"schema": {"type": "string", "description": "The same JSON."}} for media in more}


SECURITY: Final[dict[str, Schema]] = {
    "origin": {"type": "apiKey", "in": "header", "name": "Origin", "description": "A browser is known by its page's exact Origin."},
    "referer": {
        "type": "apiKey",
        "in": "header",
        "name": "Referer",
        "description": "Its origin counts where a browser sends no Origin: images, and pages that ask their own origin.",
    },
    "serverKey": {"type": "http", "scheme": "bearer", "description": "A site's server is known by one of its `server_keys`."},
    "basicKey": {
        "type": "http",
        "scheme": "basic",
        "description": "The key as user name, without password, as Segment's clients do.",
    },
    "headerKey": {"type": "apiKey", "in": "header", "name": "X-Write-Key", "description": "The key as Jitsu's clients send it."},
    "writeKey": {"type": "apiKey", "in": "query", "name": "writeKey", "description": "The key as pixels and beacons send it."},
    "apiSecret": {
        "type": "apiKey",
        "in": "query",
        "name": "api_secret",
        "description": "A server key where Measurement Protocol has its secret.",
    },
}
ADMIN_SECURITY: Final[dict[str, Schema]] = {
    "adminToken": {"type": "http", "scheme": "bearer", "description": "One of `admin.tokens`."}
}
