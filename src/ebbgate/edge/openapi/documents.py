"""OpenAPI 3.1 documents of the collection host and of the admin host, made of the routes and of the tables that read bodies.

The admin host serves both at `/openapi.json`, `ebbgate openapi` prints them, `docs/reference/http.md` is made of them. A test holds
them to the routes, and to what a running gateway answers to Schemathesis.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, Final

from ebbgate import __version__
from ebbgate.edge.openapi import dialects, parts
from ebbgate.edge.openapi.parts import OF_SENDERS, WITH_BODY, answer, from_head, head_of, json_body, operation, parameter, preflight
from ebbgate.edge.openapi.shapes import Schema, admin_schemas, collection_schemas, ref
from ebbgate.edge.routes import ROUTES, Route
from ebbgate.edge.rudder_source import PATHS as SOURCES

VERSION: Final = "3.1.0"
HOSTS: Final = ("collection", "admin")
_OURS: Final = "ebbgate"
_EITHER: Final[list[dict[str, list[str]]]] = [{"origin": []}, {"serverKey": []}]
_EVENTS_OF_SERVERS: Final = "503 means that nothing was stored: send it again after `Retry-After`."
_EXAMPLE: Final = {
    "event": "purchase",
    "id": "A-1009",
    "page": {"url": "https://shop.example/thanks"},
    "visitor": {"client_id": "1234567890.1731400000"},
    "order": {"id": "A-1009", "value": 12, "currency": "EUR", "items": [{"id": "sku", "price": 6, "quantity": 2}]},
    "consent": {"purposes": {"analytics": "granted", "advertising": "denied"}},
}
_EXAMPLE_CHOICE: Final = {"visitor": {"client_id": "1234567890.1731400000"}, "consent": {"purposes": {"advertising": "denied"}}}


def document(host: str, prefix: str = "/e") -> Schema:
    """The document of one of `HOSTS`. `prefix` is the collection host's path prefix."""
    return collection_document(prefix) if host == "collection" else admin_document()


def collection_document(prefix: str = "/e") -> Schema:
    """The collection host: what the internet can reach."""
    paths = {f"{prefix}{path}": item for path, item in {**_own_paths(), **_dialect_paths()}.items()}
    paths |= _health("Health", "Ready to take events: the store can be written, a policy is loaded", cors=False)
    paths["/.well-known/gpc.json"] = _with_head(
        operation(
            "That this site honours Global Privacy Control",
            _OURS,
            {200: answer("Only where `server.gpc_well_known` is set.", "application/json", ref("Gpc"), cors=False)},
            (404, 429),
        )
    )
    components = {
        "schemas": collection_schemas(),
        "parameters": parts.shared_parameters(),
        "responses": parts.refusals(),
        "securitySchemes": parts.SECURITY,
    }
    about = "Takes events and choices. Nothing in its answers depends on a decision."
    return _whole("ebbgate, collection host", about, paths, components, prefix)


def admin_document() -> Schema:
    """The admin host: never on the public listener; all but health wants an admin token."""
    token: list[dict[str, list[str]]] = [{"adminToken": []}]
    queue: Schema = {"type": "array", "items": ref("QueueState")}
    paths = {
        **_health("Health", "Ready: the store can be written, a policy is loaded", cors=False),
        "/metrics": _with_head(
            operation(
                "Metrics",
                "Figures",
                {200: answer("Prometheus' text format.", "text/plain", {"type": "string"}, cors=False)},
                (401,),
                security=token,
            ),
        ),
        "/api/v1/queues": _with_head(
            operation(
                "State of each destination's queue",
                "Figures",
                {200: answer("One entry a destination.", "application/json", queue, cors=False)},
                (401,),
                security=token,
            ),
        ),
        "/openapi.json": _with_head(
            operation(
                "These documents",
                "Documents",
                {
                    200: answer(
                        "An OpenAPI 3.1 document.",
                        "application/json",
                        {"type": "object", "required": ["openapi", "paths"]},
                        cors=False,
                    )
                },
                (401, 404),
                parameters=[
                    parameter(
                        "host",
                        "query",
                        "Whose document; default `admin`.",
                        {"type": "string", "enum": list(HOSTS)},
                        example="collection",
                    )
                ],
                security=token,
            )
        ),
    }
    responses = {f"Refused{s}": parts.refusals()[f"Refused{s}"] for s in (*parts.ALWAYS, 401, 404)}
    components = {"schemas": admin_schemas(), "responses": responses, "securitySchemes": parts.ADMIN_SECURITY}
    return _whole("ebbgate, admin host", "Bound to loopback unless told otherwise.", paths, components)


def _whole(title: str, about: str, paths: Schema, components: Schema, prefix: str = "") -> Schema:
    tags = dict.fromkeys(tag for item in paths.values() for op in item.values() for tag in op["tags"])
    for path, item in paths.items():
        for method, op in item.items():
            words = re.findall(r"[A-Za-z0-9]+|/$", path.removeprefix(prefix))
            op["operationId"] = "_".join((method, *words)).replace("/", "slash")
    info = {
        "title": title,
        "version": __version__,
        "description": about,
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    }
    return {
        "openapi": VERSION,
        "info": info,
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in tags],
        "paths": paths,
        "components": components,
    }


def _with_head(get: Schema) -> Schema:
    return {"get": get, "head": head_of(get)}


def _health(tag: str, about: str, *, cors: bool) -> dict[str, Schema]:
    said = answer("What keeps it from it: nothing.", "application/json", ref("Health"), cors=cors)
    troubled = answer("What keeps it from it.", "application/json", ref("Health"), cors=cors)
    return {
        "/healthz": _with_head(operation("The process answers", tag, {200: said}, ())),
        "/readyz": _with_head(operation(about, tag, {200: said, 503: troubled}, ())),
    }


def _own_paths() -> dict[str, Schema]:
    """The gateway's own routes below the prefix."""
    drained: Schema = {"type": "string", "enum": ["drained"]}
    wait = parameter("wait", "query", "`drained`: answer once nothing sent before it is in flight.", drained)
    quiet = parameter("quiet", "query", "Answer 202 to what cannot be used; the tag cannot mend it.")
    recorded = answer("On disk, and nothing sent before it is in flight.", "application/json", ref("Recorded"), cookie=True)
    key: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,128}$"}
    project = parameter("key", "path", "The site's write key.", key, example="shop", required=True)
    known = parameter("If-None-Match", "header", "The ETag that the caller has.")
    coding = parameter("Accept-Encoding", "header", "`gzip` is served compressed.", example="gzip")
    seen = parameter("Authorization", "header", "`ebbgate-doctor` and a pass made with the gateway's keys.")
    event = {"oneOf": [ref("Event"), ref("Batch")]}
    recorded["links"] = {"status": {"operationId": "get_status", "description": "What holds for this visitor then."}}
    return {
        "/v1/events": {
            "post": operation(
                "Events, one or several",
                _OURS,
                {202: answer("On disk. One receipt an event.", "application/json", ref("Receipts"), cookie=True)},
                (*OF_SENDERS, *WITH_BODY, 422, 503),
                about=_EVENTS_OF_SERVERS,
                parameters=from_head(),
                body=json_body(event, _EXAMPLE, "text/plain"),
                security=_EITHER,
            ),
            "options": preflight(_OURS),
        },
        "/consent": {
            "post": operation(
                "A visitor's choice or withdrawal",
                _OURS,
                {200: recorded, 202: answer("On disk.", "application/json", ref("Recorded"), cookie=True)},
                (*OF_SENDERS, *WITH_BODY, 422, 503),
                parameters=[wait, quiet, *from_head()],
                body=json_body(ref("Choice"), _EXAMPLE_CHOICE, "text/plain"),
                security=_EITHER,
            ),
            "options": preflight(_OURS),
        },
        "/status": {
            **_with_head(
                operation(
                    "What was honoured for this visitor",
                    _OURS,
                    {200: answer("For the page to show.", "application/json", ref("Honoured"))},
                    (429, 503),
                    parameters=from_head(),
                )
            ),
            "options": preflight(_OURS),
        },
        "/t.js": _with_head(
            operation(
                "The browser tag",
                _OURS,
                {
                    200: answer("The same bytes for everybody.", "text/javascript", {"type": "string"}, cors=False),
                    304: answer("Who asks has it.", cors=False),
                },
                (429,),
                parameters=[known, coding],
            )
        ),
        "/doctor": {
            "get": operation(
                "What the gateway sees of a request",
                _OURS,
                {
                    200: answer(
                        "Told only to who holds the gateway's keys.", "application/json", ref("Seen"), cookie=True, cors=False
                    )
                },
                (404, 429),
                about="For `ebbgate doctor --url`. To everybody else this path is not there.",
                parameters=[seen],
            )
        },
        "/v1/m": {
            "post": operation(
                "The clients' own metrics, taken and dropped",
                "Segment, RudderStack",
                {200: answer("Dropped.", "application/json", ref("Success"))},
                (429,),
                body={"application/json": {"schema": {}, "example": {"series": []}}, "text/plain": {"schema": {"type": "string"}}},
            ),
            "options": preflight("Segment, RudderStack"),
        },
        **{path: _source() for path in sorted(SOURCES)},
        "/v1/projects/{key}/settings": {
            **_with_head(
                operation(
                    "The settings document of analytics-next",
                    "Segment, RudderStack",
                    {200: answer("Keeps all of its requests on this host.", "application/json", ref("ClientSettings"))},
                    (404, 429),
                    parameters=[project],
                )
            ),
            "options": {**preflight("Segment, RudderStack"), "parameters": [project]},
        },
    }


def _source() -> Schema:
    """The route that RudderStack's SDK asks first."""
    key: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,128}$"}
    get = operation(
        "The source document of RudderStack's SDK",
        "Segment, RudderStack",
        {200: answer("Keeps all of its requests on this host.", "application/json", ref("ClientSource"))},
        (404, 429),
        parameters=[parameter("writeKey", "query", "The site's write key.", key, example="shop")],
    )
    return {**_with_head(get), "options": preflight("Segment, RudderStack")}


def _dialect_paths() -> dict[str, Schema]:
    return {
        path: {
            **{method.lower(): _dialect_operation(path, route, method) for method in sorted(route.methods)},
            "options": preflight(dialects.about(path, route.dialect.name).tag),
        }
        for path, route in ROUTES.items()
    }


def _dialect_operation(path: str, route: Route, method: str) -> Schema:
    told = dialects.about(path, route.dialect.name)
    media = route.content_type[1].decode().partition(";")[0] if route.content_type else ""
    schema: Schema = ref("Success") if route.tells else {"type": "string"}
    if media == "application/json" and not route.tells:
        schema = ref("Success")
    body = _dialect_body(route, told) if method == "POST" and told.body is not None else None
    security: list[dict[str, list[str]]] = [{name: []} for name in told.security]
    return operation(
        told.summary,
        told.tag,
        {int(route.status): answer(HTTPStatus(route.status).phrase, media, schema, cookie=True)},
        (*OF_SENDERS, *WITH_BODY, 422, 503),
        about=told.text,
        parameters=[*told.parameters, *from_head()],
        body=body,
        security=security,
    )


def _dialect_body(route: Route, told: dialects.About) -> Schema:
    plain: dict[str, Any] = {"schema": {"type": "string", "description": "The same text."}}
    if told.body is not None and told.body.get("type") == "string":
        return {media: {"schema": told.body, "example": told.example} for media in sorted(route.types - {"", "application/json"})}
    schema: Schema = {"schema": told.body} | ({"example": told.example} if told.example is not None else {})
    return {media: schema if media == "application/json" else plain for media in sorted(route.types - {""})}
