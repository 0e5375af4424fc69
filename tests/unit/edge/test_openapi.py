"""The OpenAPI documents are whole: every route, every code, every reference."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from starlette.routing import Route as Endpoint
from starlette.routing import Router

import ebbgate
from ebbgate.edge.admin import admin_app
from ebbgate.edge.openapi.codes import CODES
from ebbgate.edge.openapi.documents import HOSTS, document
from ebbgate.edge.public import Exact, public_app
from ebbgate.edge.routes import ROUTES
from ebbgate.edge.rudder_source import PATHS as SOURCES
from ebbgate.fields import FIELDS

SOURCE = Path(ebbgate.__file__).parent
METHODS = {"get", "head", "post", "options"}
#: Paths that edge/dialects.py knows beside ROUTES, by the constants it compares them with.
BESIDE = {"_METRICS": {"/v1/m"}, "_PROJECTS": {"/v1/projects/{key}/settings"}, "SOURCES": set(SOURCES)}


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from nodes(item)
    elif isinstance(value, list):
        for item in value:
            yield from nodes(item)


def routed(guard: Any) -> set[str]:
    router = guard._app.router if isinstance(guard._app, Exact) else guard._app
    assert isinstance(router, Router)
    return {route.path for route in router.routes if isinstance(route, Endpoint)}


def test_every_route_of_the_collection_host_is_documented_and_none_besides() -> None:
    """The document's paths are the router's, the dialects', and the two that stand beside them."""
    stub: Any = object()
    own = routed(public_app("/in", stub, stub, stub, stub, stub, list, gpc_since="2026-01-01")) - {"/in/{path:path}"}
    dialects = {f"/in{path}" for path in {*ROUTES, *(path for paths in BESIDE.values() for path in paths)}}
    assert set(document("collection", "/in")["paths"]) == own | dialects


def test_no_path_beside_the_routes_is_overlooked() -> None:
    """What edge/dialects.py compares a path with is what the test above knows."""
    source = ast.parse((SOURCE / "edge" / "dialects.py").read_text(encoding="utf-8"))
    (beside,) = [n for n in ast.walk(source) if isinstance(n, ast.AsyncFunctionDef) and n.name == "_beside"]
    compared = [n for n in ast.walk(beside) if isinstance(n, ast.Compare) and isinstance(n.left, ast.Name) and n.left.id == "path"]
    assert {name.id for n in compared for right in n.comparators for name in ast.walk(right) if isinstance(name, ast.Name)} == {
        *BESIDE,
        "key",
    }


def test_every_route_of_the_admin_host_is_documented_and_none_besides() -> None:
    """The document's paths are the router's."""
    stub: Any = None
    assert set(document("admin")["paths"]) == routed(admin_app([], list, metrics=stub, queues=stub))


def test_methods_types_and_answers_of_dialects_are_the_routes() -> None:
    """What edge/routes.py says of a path stands in the document: methods, media types of bodies, status and type of the answer."""
    paths = document("collection")["paths"]
    for path, route in ROUTES.items():
        item = paths[f"/e{path}"]
        assert set(item) == {m.lower() for m in route.methods} | {"options"}
        for method in route.methods:
            told = item[method.lower()]
            good = told["responses"][str(int(route.status))]
            media = [route.content_type[1].decode().partition(";")[0]] if route.content_type else []
            assert list(good.get("content", {})) == media
            if method == "POST":
                taken = route.types - {""}
                assert set(told["requestBody"]["content"]) <= taken
                assert taken - set(told["requestBody"]["content"]) <= {"application/json"}  # a hit's lines are no JSON
            assert {"400", "401", "403", "422", "429", "500", "503"} <= set(told["responses"])


@pytest.mark.parametrize("host", HOSTS)
def test_a_document_is_whole(host: str) -> None:
    """References lead somewhere, ids are unique, every operation has tag, summary and answers, schemas are JSON Schema 2020-12."""
    whole = document(host)
    json.dumps(whole, allow_nan=False)
    targets = [n["$ref"] for n in nodes(whole) if "$ref" in n]
    for target in targets:
        here: Any = whole
        for part in target.removeprefix("#/").split("/"):
            here = here[part]
    used = {t.rpartition("/")[2] for t in targets} | {"Problem"}
    assert [
        name for kind in ("schemas", "parameters", "responses") for name in whole["components"].get(kind, ()) if name not in used
    ] == []
    operations = [op for item in whole["paths"].values() for op in item.values()]
    assert all(set(item) <= METHODS for item in whole["paths"].values())
    assert len({op["operationId"] for op in operations}) == len(operations)
    assert all(op["summary"] and op["tags"] and op["responses"] for op in operations)
    schemes = {name for op in operations for way in op["security"] for name in way}
    assert schemes == set(whole["components"]["securitySchemes"])
    for name, schema in whole["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}), name


def test_every_field_stands_in_the_native_event() -> None:
    """A field that policies know and senders may state is a member of the document's event."""
    event = document("collection")["components"]["schemas"]["Event"]["properties"]
    told = {f"{group}.{name}" for group, schema in event.items() for name in schema.get("properties", ())}
    assert told == {path for path in FIELDS if not path.startswith("event.")}


def raised(folder: str) -> Iterator[tuple[str, str, int | None]]:
    """(exception, code, status) of every place in a folder's source that refuses a request or an event."""
    for path in sorted((SOURCE / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            given = {k.arg: k.value for k in node.keywords}
            code, status = given.get("code"), given.get("status")
            if name == "_refuse" and path.name == "strict_json.py":
                code = node.args[0]
            elif name == "_refusal":
                code, status = node.args[1], node.args[0]
            elif name not in ("RequestError", "EventError", "__init__"):
                continue
            if isinstance(code, ast.Constant) and isinstance(code.value, str):
                yield name, code.value, number(status)


def number(status: ast.expr | None) -> int | None:
    from http import HTTPStatus

    if isinstance(status, ast.Constant):
        return int(status.value)  # type: ignore[arg-type]  # statuses are written as numbers
    return int(HTTPStatus[status.attr]) if isinstance(status, ast.Attribute) and status.attr.isupper() else None


def test_every_code_is_documented_with_its_status() -> None:
    """Each code that the source raises is in the table with the status it is raised with, and the table has no code besides."""
    found = {(name, code, status) for folder in ("edge", "collect") for name, code, status in raised(folder)}
    assert len(found) > 60
    assert {code for _, code, _ in found} - set(CODES) == set()
    store = {code for code, entry in CODES.items() if entry.statuses == (503,)}
    assert set(CODES) - {code for _, code, _ in found} == store
    for name, code, status in found:
        if name == "EventError":
            assert 422 in CODES[code].statuses, code
        elif status is None:
            assert 400 in CODES[code].statuses, code
        else:
            assert status in CODES[code].statuses, code


def test_the_stores_codes_are_its_own() -> None:
    """Each code told with 503 is one that the store's source raises, or the class's own."""
    text = "".join(p.read_text(encoding="utf-8") for p in [*(SOURCE / "store").rglob("*.py"), SOURCE / "errors.py"])
    known = set(re.findall(r'code="([a-z_]+)"', text)) | set(re.findall(r'^    code = "([a-z_]+)"', text, re.MULTILINE))
    assert {code for code, entry in CODES.items() if entry.statuses == (503,)} <= known
