"""`docs/reference/http.md`: both OpenAPI documents as one page for people, and every code that an answer can carry."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from ebbgate.edge.openapi.codes import CODES
from ebbgate.edge.openapi.documents import document
from ebbgate.edge.openapi.parts import ALWAYS

_HEAD: Final = """# HTTP reference

Every route of the two hosts. Generated from `src/ebbgate/edge/openapi/` by `make docs`; the same as OpenAPI 3.1: `ebbgate openapi`,
or `/openapi.json` of the admin host (with `?host=collection` for the other). `/e` stands for `server.prefix`.

A refusal is problem JSON (RFC 9457, `application/problem+json`) with `type`, `title`, `status`, `code`, `detail` and `hint`; 429 and 503
carry `Retry-After`, 405 carries `Allow`, 401 carries `WWW-Authenticate`. In the Segment dialects it has `success: false` and `message` too.
Any request may be answered {always}, and 405 for another method; what is listed below comes besides. Routes that a page may use
answer OPTIONS too, those that are read with GET and cost nothing HEAD. A page of a configured site may read every answer (CORS), a
stranger's page none.

Bodies are at most `server.max_body_bytes`, strict JSON in UTF-8: no key twice, at most 16 levels, 256 keys in an object, 8 KiB in a string.
"""
_CODES: Final = """## Codes

A code stands in a refusal with the status given; where several events came in one request, also in the answer of a single event.

| code | status | means |
|---|---|---|"""


def markdown() -> str:
    """The whole page."""
    always = ", ".join(str(status) for status in ALWAYS)
    parts = [_HEAD.format(always=always)]
    for host, title in (("collection", "Collection host"), ("admin", "Admin host")):
        whole = document(host)
        parts += [f"## {title}", "", *_routes(whole), ""]
    parts += [_CODES, *(f"| `{name}` | {', '.join(map(str, c.statuses))} | {c.about} |" for name, c in CODES.items()), ""]
    return "\n".join(parts)


def _routes(whole: dict[str, Any]) -> list[str]:
    schemes = whole["components"]["securitySchemes"]
    lines = ["| who | is known by |", "|---|---|", *(f"| `{name}` | {told['description']} |" for name, told in schemes.items()), ""]
    shared = whole["components"].get("parameters", {})
    if shared:
        lines += ["Headers that every event's request may carry:", ""]
        lines += [f"- `{one['name']}`: {one['description']}" for one in shared.values()]
        lines += [""]
    for tag in (tag["name"] for tag in whole["tags"]):
        alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for path, item in whole["paths"].items():
            for method, op in item.items():
                if op["tags"] == [tag] and method not in ("options", "head"):
                    alike.setdefault((_row(op), tuple(_details(op))), []).append(f"`{method.upper()} {path}`")
        lines += [f"### {tag}", "", "| routes | do | who | answers | refusals |", "|---|---|---|---|---|"]
        lines += [f"| {', '.join(routes)} | {row} |" for (row, _), routes in alike.items()]
        lines += [""]
        for (_, details), routes in alike.items():
            lines += [f"{', '.join(routes)}. {details[0]}", "", *details[1:]] if details else []
    return lines


def _row(op: dict[str, Any]) -> str:
    good = [_answer(s, said) for s, said in op["responses"].items() if "$ref" not in said]
    refused = [s for s, said in op["responses"].items() if "$ref" in said and int(s) not in ALWAYS]
    who = ", ".join(f"`{name}`" for way in op["security"] for name in way) or "anybody"
    return f"{op['summary']} | {who} | {', '.join(good)} | {', '.join(refused)}"


def _answer(status: str, said: dict[str, Any]) -> str:
    return f"{status} {next(iter(said.get('content', {})), '') or HTTPStatus(int(status)).phrase}"


def _details(op: dict[str, Any]) -> list[str]:
    """What else is to be said of a route: in words, its bodies' types, parameters of its own. [] for nothing."""
    own = [p for p in op.get("parameters", ()) if "$ref" not in p]
    body = op.get("requestBody", {}).get("content", {})
    said = [op["description"]] if "description" in op else []
    if body:
        said.append(f"Bodies: {', '.join(f'`{media}`' for media in body)}.")
    listed = [*(f"- `{p['name']}` ({p['in']}): {p['description']}" for p in own), ""] if own else []
    return [" ".join(said), *listed] if said or listed else []
