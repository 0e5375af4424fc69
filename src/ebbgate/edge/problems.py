"""Answers: RFC 9457 problem JSON with a code and a hint, and the few ASGI messages that all endpoints send."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import msgspec

from ebbgate.errors import RequestError

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]

#: On every answer of the collection host: nothing here may be cached, sniffed or framed.
BASE_HEADERS: Final[Headers] = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"vary", b"Origin"),
]
JSON: Final = (b"content-type", b"application/json")
PROBLEM_JSON: Final = (b"content-type", b"application/problem+json")


class MethodNotAllowed(RequestError):
    """405 with the `Allow` that RFC 9110 §15.5.6 wants."""

    def __init__(self, *methods: str) -> None:
        self.allow = ", ".join(methods)
        super().__init__(
            f"only {self.allow} is answered here", status=HTTPStatus.METHOD_NOT_ALLOWED, code="method", hint=f"send {methods[0]}"
        )


def problem(error: RequestError) -> tuple[int, bytes, Headers]:
    """(status, body, headers) of a refusal."""
    body = {
        "type": f"urn:ebbgate:problem:{error.code}",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "code": error.code,
        "detail": error.message,
        "hint": error.hint,
    }
    headers: Headers = [PROBLEM_JSON]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", str(error.retry_after_s).encode()))
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b'Bearer realm="ebbgate"'))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allow.encode()))
    return error.status, msgspec.json.encode(body), headers


def answer(send: Send, status: int, body: bytes = b"", headers: Headers | None = None) -> Awaitable[None]:
    """Send one whole answer: in one piece where the server takes it so (`edge/whole.py`), else as ASGI's two messages."""
    whole = getattr(send, "whole", None)
    if whole is not None:
        sent: Awaitable[None] = whole(status, headers or (), body)
        return sent
    return _in_two(send, status, body, headers or [])


async def _in_two(send: Send, status: int, body: bytes, headers: Headers) -> None:
    sent = [*BASE_HEADERS, *headers]
    if status != HTTPStatus.NO_CONTENT:  # RFC 9110 §8.6: a 204 has none
        sent.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})


async def answer_problem(send: Send, error: RequestError, headers: Headers | None = None) -> None:
    """Send a refusal."""
    status, body, own = problem(error)
    await answer(send, status, body, [*own, *(headers or ())])
