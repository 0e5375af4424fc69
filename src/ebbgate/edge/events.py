"""`POST {prefix}/v1/events`: the native dialect's endpoint. An ASGI callable: no framework object is made on the hot path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec

from ebbgate.collect import native
from ebbgate.collect.request import request_fields, request_signals
from ebbgate.edge.body import Body, ClientGone, check_head
from ebbgate.edge.head import Head, read_cookies
from ebbgate.edge.problems import JSON, Headers, MethodNotAllowed, Receive, Scope, Send, answer, answer_problem
from ebbgate.edge.sites import Sites
from ebbgate.edge.visitor import Visitors
from ebbgate.edge.visitor_cookie import VisitorCookie
from ebbgate.errors import EventError, RequestError, StoreError, StoreFull
from ebbgate.model import Place, RawRequest, Trust
from ebbgate.pipeline import Pipeline, Receipt, Status
from ebbgate.settings import ServerSettings

RETRY_AFTER_S = 10
_ACCEPTED: Final = HTTPStatus.ACCEPTED.value  # looked up once: in Python 3.11 an enumeration's member costs as much as a call
_TAKEN: Final = Status.ACCEPTED
_BROWSER: Final = Trust.BROWSER
_encode = msgspec.json.Encoder().encode


class EventsEndpoint:
    """Takes events from browsers and servers, answers 202 once they are on disk."""

    def __init__(
        self,
        settings: ServerSettings,
        sites: Sites,
        visitors: Visitors,
        pipeline: Pipeline,
        cookie: VisitorCookie,
        *,
        clock_ms: Callable[[], int],
        new_id: Callable[[], str],
    ) -> None:
        self._settings = settings
        self._sites = sites
        self._visitors = visitors
        self._pipeline = pipeline
        self._cookie = cookie
        self._clock_ms = clock_ms
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Refusals are problem JSON; a page of a configured site may read them (CORS)."""
        head = Head(scope)
        cors = self._sites.cors(head.origin)
        body = Body(receive)
        limit = self._settings.max_body_bytes
        # All in one coroutine, and no other is made where nothing is waited for: each costs a small request a percent.
        try:
            if scope["method"] != "POST":
                if scope["method"] == "OPTIONS":
                    await answer_preflight(send, cors)
                    return
                raise MethodNotAllowed("POST", "OPTIONS")
            site, trust = self._sites.identify(head)
            check_head(head, max_bytes=limit)
            raw = body.at_once(max_bytes=limit)
            if raw is None:
                raw = await body.read(max_bytes=limit, timeout_s=self._settings.body_timeout_s)
            known: Sequence[native.Collected]
            known, place, received_ms = self._collect(scope, head, raw, site, trust)
            ignored = native.ignored_of(known)
            cookies: Headers = []
            if self._cookie.concerns(head, known):
                known, cookies = await self._cookie.for_events(head, known, place, received_ms)
            taking = self._pipeline.accept(known, place)
            # From here on the pipeline alone holds the events, so that it can let them go before they are on disk.
            del raw, known
            receipts = await taking
        except (RequestError, StoreError) as error:
            await body.discard()
            await answer_problem(send, as_unavailable(error) if isinstance(error, StoreError) else error, cors)
        except ClientGone:
            return
        else:
            answered = receipt_body(receipts, self._pipeline.durability, ignored, trust)
            await answer(send, _ACCEPTED, answered, [JSON, *cookies, *cors])

    def _collect(self, scope: Scope, head: Head, raw: bytes, site: str, trust: Trust) -> tuple[list[native.Collected], Place, int]:
        """The events of a body, the visitor's place, and the time of receipt (ms). Raises RequestError."""
        address, place = self._visitors.locate(scope["client"][0] if scope.get("client") else "", head)
        request = RawRequest(
            "POST", scope["path"], "", head.headers, raw, address, self._clock_ms(), read_cookies(head.cookie), site, trust
        )
        value, known = native.decode(raw)
        collected = native.parse_body(
            value,
            known=known,
            site=site,
            trust=trust,
            received_ms=request.received_ms,
            max_events=self._settings.max_events,
            new_id=self._new_id,
            signals=request_signals(request),
            base=self._cookie.fields(request_fields(request, place), head, request.received_ms) if trust is _BROWSER else None,
        )
        first = collected[0]
        if len(collected) == 1 and first.error is not None:
            raise RequestError(first.error.message, status=422, code=first.error.code, hint=first.error.hint)
        return collected, place, request.received_ms


async def accept(pipeline: Pipeline, collected: Sequence[native.Collected], place: Any) -> list[Receipt]:
    """Hand to the pipeline; a store that cannot take them becomes 503 with Retry-After."""
    taking = pipeline.accept(collected, place)
    del collected  # the pipeline lets the events go before they are on disk
    try:
        return await taking
    except StoreError as error:
        raise as_unavailable(error) from None


def as_unavailable(error: StoreError) -> RequestError:
    """503 with Retry-After: nothing was stored."""
    message = "the store is full" if isinstance(error, StoreFull) else "the store cannot be written"
    return RequestError(
        message,
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        code=error.code,
        hint="nothing was stored: send it again",
        retry_after_s=RETRY_AFTER_S,
    )


def receipt_body(receipts: list[Receipt], durability: str, ignored: tuple[str, ...], trust: Trust) -> bytes:
    """`{"accepted": n, "events": [...], "durability": ...}`; a server is also told which keys were ignored."""
    accepted = 0
    events: list[Any] = []
    for receipt in receipts:
        if receipt.status is _TAKEN:
            accepted += 1
        events.append(receipt if receipt.error is None else _refused(receipt, receipt.error))
    body: dict[str, Any] = {"accepted": accepted, "events": events, "durability": durability}
    if ignored and trust is Trust.SERVER:
        body["ignored"] = list(ignored)
    return _encode(body)


def _refused(receipt: Receipt, error: EventError) -> dict[str, Any]:
    said = {"code": error.code, "detail": error.message, "hint": error.hint}
    return {"id": receipt.id, "status": receipt.status, "error": said}


async def answer_preflight(send: Send, cors: Headers) -> None:
    """204 with what may be sent; a stranger gets no permission and so its browser stops."""
    allowed: Headers = [
        (b"access-control-allow-methods", b"POST, OPTIONS"),
        (b"access-control-allow-headers", b"content-type"),
        (b"access-control-max-age", b"600"),
    ]
    await answer(send, HTTPStatus.NO_CONTENT, b"", [*cors, *allowed] if cors else [])
