"""The endpoint of the dialects that clients already speak: head → key → body → events → pipeline → the answer they expect.

Also what their scripts ask for besides: analytics-next its settings document and its own metrics, which are taken and dropped;
RudderStack's SDK its source document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from ebbgate.choices import Choices
from ebbgate.collect.consent_object import NO_SIGNALS
from ebbgate.collect.form import query_key
from ebbgate.collect.native import Collected
from ebbgate.collect.segment_http import CONSENT_CHANGED
from ebbgate.consent.place import make_place
from ebbgate.edge.analytics_next import settings_document
from ebbgate.edge.body import Body, ClientGone, check_head
from ebbgate.edge.consent import granted_by
from ebbgate.edge.credentials import ClientHead, identify, refuse_strangers, travelling
from ebbgate.edge.events import accept, as_unavailable
from ebbgate.edge.head import Head, read_cookies
from ebbgate.edge.inflate import gunzip
from ebbgate.edge.problems import JSON, Headers, MethodNotAllowed, Receive, Scope, Send, answer, answer_problem, problem
from ebbgate.edge.routes import ROUTES, Route
from ebbgate.edge.rudder_source import PATHS as SOURCES
from ebbgate.edge.rudder_source import source_document
from ebbgate.edge.sites import Sites
from ebbgate.edge.visitor import Visitors
from ebbgate.edge.visitor_cookie import VisitorCookie
from ebbgate.errors import RequestError, StoreError
from ebbgate.model import ConsentState, Event, Place, RawRequest, Signals, Trust
from ebbgate.pipeline import Pipeline, Receipt, Status
from ebbgate.settings import ServerSettings
from ebbgate.store.keys import KeyRing

#: Changes of choices in one request: each is written to disk by itself.
MAX_CHOICES: Final = 20
#: What the clients' scripts send beside a plain request's headers; RudderStack's SDK names its retries (`rsa-…`).
_ALLOWED_HEADERS: Final = (
    b"content-type, authorization, x-write-key, anonymousid, sentat, x-ip-policy, x-enable-debug, x-retry-count, x-requested-with, "
    b"rsa-retry-attempt, rsa-retry-reason, rsa-recovered, rsa-since-first-attempt, rsa-since-last-attempt"
)
_METRICS: Final = "/v1/m"
_PROJECTS: Final = "/v1/projects/"


class Dialects:
    """Everything below the prefix that is not ours alone. Unknown paths are 404."""

    def __init__(
        self,
        settings: ServerSettings,
        sites: Sites,
        visitors: Visitors,
        pipeline: Pipeline,
        choices: Choices,
        keys: KeyRing,
        cookie: VisitorCookie,
        *,
        clock_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._sites = sites
        self._visitors = visitors
        self._pipeline = pipeline
        self._choices = choices
        self._keys = keys
        self._cookie = cookie
        self._clock_ms = clock_ms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. A page of a configured site may read refusals (CORS); to a stranger's page nothing is told."""
        head = Head(scope)
        cors = self._sites.cors(head.origin)
        body = Body(receive)
        path = scope["path"].removeprefix(self._settings.prefix)
        route = ROUTES.get(path)
        try:
            if route is None:
                await self._beside(scope, path, head, body, send, cors)
                return
            if scope["method"] == "OPTIONS":
                await answer(send, HTTPStatus.NO_CONTENT, b"", _preflight(cors, route.methods))
                return
            if scope["method"] not in route.methods:
                raise MethodNotAllowed(*sorted(route.methods), "OPTIONS")
            collected, receipts, cookies = await self._take(scope, route, head, body)
        except RequestError as error:
            await body.discard()
            await _refuse(send, route, error, cors)
        except ClientGone:
            return
        else:
            content = _told(collected, receipts) if route.tells else route.answer
            await answer(send, route.status, content, [*([route.content_type] if route.content_type else []), *cookies, *cors])

    async def _take(self, scope: Scope, route: Route, head: Head, body: Body) -> tuple[Sequence[Collected], list[Receipt], Headers]:
        limit = self._settings.max_body_bytes
        client = ClientHead(scope)
        refuse_strangers(self._sites, head, client)
        check_head(head, max_bytes=limit, types=route.types if scope["method"] == "POST" else route.types | {head.content_type},
                   codings=route.codings)  # fmt: skip
        raw = await body.read(max_bytes=limit, timeout_s=self._settings.body_timeout_s)
        if head.content_encoding == "gzip":
            raw = gunzip(raw, max_bytes=limit)
        address, place = self._visitors.locate(scope["client"][0] if scope.get("client") else "", head)
        query = scope["query_string"].decode("latin-1")
        request = RawRequest(scope["method"], scope["path"], query, (), raw, address, self._clock_ms())
        decoded = route.dialect.decode(request)
        site, trust = identify(self._sites, head, client, route.dialect.key(request, decoded))
        if route.servers_only and trust is not Trust.SERVER:
            raise RequestError(
                "only the site's servers send here", status=HTTPStatus.UNAUTHORIZED, code="server_key", hint="send a server key"
            )
        request = replace(
            request, headers=travelling(client, head, trust), cookies=read_cookies(head.cookie), site=site, trust=trust
        )
        collected = route.dialect.collect(request, decoded, place, self._settings.max_events)
        first = next((c.error for c in collected if c.error is not None), None)
        if first is not None and all(c.event is None for c in collected):
            raise RequestError(first.message, status=route.invalid, code=first.code, hint=first.hint)
        known = self._cookie.on_events(collected, head, request.received_ms)
        try:
            known, cookies = await self._cookie.for_events(head, known, place, request.received_ms)
        except StoreError as error:
            raise as_unavailable(error) from None
        if route.choices:
            await self._record(known, place, request.received_ms)
        return known, await accept(self._pipeline, known, place), cookies

    async def _record(self, collected: Sequence[Collected], place: Place, now_ms: int) -> None:
        """Choices that Segment's consent wrappers tell by an event: kept for later events of the same visitor.

        Only categories that the policy of the place maps to a purpose are answers; what cannot be read is none. As on `/consent`,
        a page grants only for its browser's own ids, never for a user that it names.
        """
        told = [(c.event, c.signals) for c in collected if c.event is not None and c.event.name == CONSENT_CHANGED]
        if not told:
            return
        if len(told) > MAX_CHOICES:
            raise RequestError(
                f"more than {MAX_CHOICES} changes of consent in one request",
                status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                code="too_many_choices",
                hint="send several smaller requests",
            )
        found: dict[bytes, dict[str, str]] = {}
        for event, signals in told:
            explicit = self._explicit(signals, _place(event, place), now_ms)
            for subject in event.subjects if explicit else ():
                if said := granted_by(event.trust, subject, explicit):
                    found.setdefault(self._keys.subject_key(event.site, subject), {}).update(said)
        if found:
            try:
                await self._choices.record(found)
            except StoreError as error:
                raise as_unavailable(error) from None

    def _explicit(self, signals: Signals, place: Place, now_ms: int) -> dict[str, str]:
        """Purpose → granted | denied, by the event's own categories."""
        if signals.malformed:
            return {}
        own = replace(NO_SIGNALS, categories=signals.categories)
        _, consent = self._pipeline.govern(own, place, now_ms)
        return {
            name: purpose.state.value
            for name, purpose in consent.purposes.items()
            if purpose.source == "event" and purpose.state is not ConsentState.UNKNOWN
        }

    async def _beside(self, scope: Scope, path: str, head: Head, body: Body, send: Send, cors: Headers) -> None:
        """The documents that scripts start with, and their metrics; 404 for all else. Raises RequestError."""
        key = path.removeprefix(_PROJECTS).removesuffix("/settings")
        documents = path in SOURCES or path == f"{_PROJECTS}{key}/settings"
        if not documents and path != _METRICS:
            raise RequestError(
                "nothing is served here", status=HTTPStatus.NOT_FOUND, code="not_found", hint="see the README's routes"
            )
        methods = ("GET", "HEAD") if documents else ("POST",)
        if scope["method"] == "OPTIONS":
            await answer(send, HTTPStatus.NO_CONTENT, b"", _preflight(cors, frozenset(methods)))
            return
        if scope["method"] not in methods:
            raise MethodNotAllowed(*methods, "OPTIONS")
        if path == _METRICS:
            await body.discard()
            document = b'{"success":true}'
        elif path in SOURCES:
            document = source_document(query_key(scope["query_string"].decode("latin-1"), "writeKey"))
        else:
            trusted = self._visitors.trusts(scope["client"][0]) if scope.get("client") else False
            document = settings_document(key, head, ClientHead(scope), scope["scheme"], self._settings.prefix, trusted=trusted)
        await answer(send, HTTPStatus.OK, document, [JSON, *cors])


def _place(event: Event | None, place: Place) -> Place:
    """Where the event's visitor is: for a server's event only what it states itself."""
    if event is None or event.trust is not Trust.SERVER:
        return place
    return make_place(event.fields.get("place.country"), event.fields.get("place.region"), "server")


def _told(collected: Sequence[Collected], receipts: list[Receipt]) -> bytes:
    """`{"success": true}`, and which events of the request were none. Nothing here depends on a decision."""
    wrong = [
        {"index": index, "id": receipt.id, "code": receipt.error.code, "detail": receipt.error.message, "hint": receipt.error.hint}
        for index, receipt in enumerate(receipts)
        if receipt.status is Status.INVALID and receipt.error is not None
    ]
    told: dict[str, Any] = {"success": True, "invalid": wrong} if wrong else {"success": True}
    return msgspec.json.encode(told)


async def _refuse(send: Send, route: Route | None, error: RequestError, cors: Headers) -> None:
    """Problem JSON; for Segment's clients also in the words they log."""
    if route is None or not route.tells:
        await answer_problem(send, error, cors)
        return
    status, body, headers = problem(error)
    said: Mapping[str, Any] = {**msgspec.json.decode(body), "success": False, "message": error.message}
    await answer(send, status, msgspec.json.encode(said), [*headers, *cors])


def _preflight(cors: Headers, methods: frozenset[str]) -> Headers:
    """What a page of a configured site may send; a stranger gets no permission and so its browser stops."""
    if not cors:
        return []
    allowed: Headers = [
        (b"access-control-allow-methods", ", ".join([*sorted(methods), "OPTIONS"]).encode()),
        (b"access-control-allow-headers", _ALLOWED_HEADERS),
        (b"access-control-max-age", b"600"),
    ]
    return [*cors, *allowed]
