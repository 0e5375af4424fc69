"""Reading a request's body within bounds of size and time: memory stays flat whatever is sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Generator
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import msgspec

from ebbgate.edge.head import Head
from ebbgate.edge.problems import Message, Receive
from ebbgate.errors import RequestError

DISCARD_BYTES: Final = 4 << 20  #: of a refused body that is still taken in
DISCARD_S: Final = 2.0
JSON_TYPES: Final = frozenset({"application/json", "text/plain", ""})
PLAIN: Final = frozenset({"", "identity"})  #: content codings that are none


class ClientGone(Exception):
    """The client closed before its request was complete: there is nobody to answer."""


def check_head(head: Head, *, max_bytes: int, types: frozenset[str] = JSON_TYPES, codings: frozenset[str] = PLAIN) -> None:
    """Refuse by the head alone what the body could not mend. Raises RequestError 400, 413 or 415."""
    if head.content_type not in types:
        raise RequestError(
            "this content type is not taken here",
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            code="content_type",
            hint="send application/json, or text/plain from a beacon",
        )
    if head.content_encoding not in codings:
        raise RequestError(
            "compressed requests are not taken",
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            code="content_encoding",
            hint="send the body as it is",
        )
    if head.content_length is not None:
        if head.content_length < 0:
            raise RequestError("Content-Length is not a number", code="content_length", hint="send digits alone")
        if head.content_length > max_bytes:
            _too_big(max_bytes)


class Body(msgspec.Struct):
    """The body of one request, read at most once."""

    _receive: Receive
    _complete: bool = False

    def at_once(self, *, max_bytes: int) -> bytes | None:
        """The whole body where it is in already, as nearly all are that came with their head; else None. Raises RequestError 413."""
        whole = getattr(self._receive, "whole", None)
        found: bytes | None = whole() if whole is not None else None
        if found is not None:
            self._complete = True
            if len(found) > max_bytes:
                _too_big(max_bytes)
        return found

    async def read(self, *, max_bytes: int, timeout_s: float) -> bytes:
        """The whole body. Raises RequestError 413 or 408, or ClientGone."""
        at_once = self.at_once(max_bytes=max_bytes)
        if at_once is not None:
            return at_once
        message = await self._next(timeout_s)
        body: bytes = message.get("body", b"")
        if self._complete:
            if len(body) > max_bytes:
                _too_big(max_bytes)
            return body
        parts = [body]
        size = len(body)
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        while not self._complete:
            if size > max_bytes:
                _too_big(max_bytes)
            message = await self._next(deadline - clock())
            parts.append(message.get("body", b""))
            size += len(parts[-1])
        if size > max_bytes:
            _too_big(max_bytes)
        return b"".join(parts)

    async def discard(self) -> None:
        """Take in the rest of a refused body, within bounds: who is cut off while sending never sees the refusal."""
        size = 0
        with contextlib.suppress(RequestError, ClientGone, TimeoutError):
            async with asyncio.timeout(DISCARD_S):
                while not self._complete and size < DISCARD_BYTES:
                    size += len((await self._next(DISCARD_S)).get("body", b""))

    async def _next(self, timeout_s: float) -> Message:
        step = _Step(self._receive())
        message = step.at_once()  # what is there already costs no timer
        if message is None:
            try:
                async with asyncio.timeout(timeout_s):
                    message = await step
            except TimeoutError:
                self._complete = True  # nothing more is waited for
                raise RequestError(
                    "the body took too long", status=HTTPStatus.REQUEST_TIMEOUT, code="slow_body", hint="send it in one go"
                ) from None
        if message["type"] == "http.disconnect":
            self._complete = True
            raise ClientGone
        self._complete = not message.get("more_body", False)
        return message


class _Step:
    """A coroutine that is first run as far as it comes without waiting, and then, if need be, awaited for the rest."""

    __slots__ = ("_coroutine", "_waits_for")

    def __init__(self, awaitable: Awaitable[Message]) -> None:
        self._coroutine = awaitable.__await__()
        self._waits_for: object = None

    def at_once(self) -> Message | None:
        """What it returned, or None: it waits for something."""
        try:
            self._waits_for = self._coroutine.send(None)
        except StopIteration as end:
            message: Message = end.value
            return message
        return None

    def __await__(self) -> Generator[Any, Any, Message]:
        while True:
            try:
                sent = yield self._waits_for
            except BaseException as error:  # noqa: BLE001  a cancellation too belongs to the coroutine that waits
                step = partial(self._coroutine.throw, error)
            else:
                step = partial(self._coroutine.send, sent)
            try:
                self._waits_for = step()
            except StopIteration as end:
                message: Message = end.value
                return message


def _too_big(limit: int) -> None:
    raise RequestError(
        f"the body is larger than {limit} bytes",
        status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        code="too_big",
        hint="send several smaller requests",
    )
