"""The admin host: health, readiness, metrics, the state of the queues, the OpenAPI documents. Bound to loopback unless told otherwise.

Nothing but health is open: everything else wants `Authorization: Bearer <admin token>`, and without a configured token it is shut.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

import msgspec
from pydantic import SecretStr
from starlette.routing import Route, Router

from ebbgate.edge.guard import Guard
from ebbgate.edge.openapi.documents import HOSTS, document
from ebbgate.edge.problems import JSON, MethodNotAllowed, Receive, Scope, Send, answer, answer_problem
from ebbgate.edge.public import Health, not_found
from ebbgate.errors import RequestError
from ebbgate.settings import secret_digest


class Closed:
    """Lets a GET through to `page` when it brings an admin token."""

    def __init__(self, tokens: Sequence[SecretStr], page: Callable[[str], Awaitable[tuple[bytes, bytes]]]) -> None:
        self._digests = [bytes.fromhex(secret_digest(t.get_secret_value())) for t in tokens]
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """200, 401, 405, or what the page refuses; it is asked with the query."""
        if scope["method"] not in ("GET", "HEAD"):
            await answer_problem(send, MethodNotAllowed("GET", "HEAD"))
            return
        if not self._allowed(scope):
            await answer_problem(
                send,
                RequestError(
                    "an admin token is needed", status=HTTPStatus.UNAUTHORIZED, code="admin_token", hint="set admin.tokens"
                ),
            )
            return
        try:
            content_type, body = await self._page(scope["query_string"].decode("latin-1"))
        except RequestError as error:
            await answer_problem(send, error)
            return
        await answer(send, HTTPStatus.OK, body, [(b"content-type", content_type)])

    def _allowed(self, scope: Scope) -> bool:
        given = next((v for k, v in scope["headers"] if k == b"authorization"), b"")
        scheme, _, token = given.partition(b" ")
        digest = hashlib.sha256(token.strip()).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return scheme.lower() == b"bearer" and any(matches)


def admin_app(
    tokens: Sequence[SecretStr],
    ready: Callable[[], list[str]],
    *,
    metrics: Callable[[], Awaitable[bytes]],
    queues: Callable[[], Awaitable[Any]],
    prefix: str = "/e",
) -> Guard:
    """The ASGI app of the admin host. `prefix` is the collection host's, for its document."""

    async def metrics_page(_: str) -> tuple[bytes, bytes]:
        return b"text/plain; version=0.0.4; charset=utf-8", await metrics()

    async def queues_page(_: str) -> tuple[bytes, bytes]:
        return JSON[1], msgspec.json.encode(await queues())

    async def openapi_page(query: str) -> tuple[bytes, bytes]:
        host = parse_qs(query).get("host", ["admin"])[-1]
        if host not in HOSTS:
            raise RequestError("there is no such host", status=404, code="not_found", hint=f"host={' or host='.join(HOSTS)}")
        return JSON[1], msgspec.json.encode(document(host, prefix))

    router = Router(
        routes=[
            Route("/healthz", endpoint=Health()),
            Route("/readyz", endpoint=Health(ready)),
            Route("/metrics", endpoint=Closed(tokens, metrics_page)),
            Route("/api/v1/queues", endpoint=Closed(tokens, queues_page)),
            Route("/openapi.json", endpoint=Closed(tokens, openapi_page)),
        ],
        redirect_slashes=False,
        default=not_found,  # type: ignore[arg-type]  # an ASGI app that returns its coroutine
    )
    return Guard(router)
