"""`POST {prefix}/consent`: a visitor's choice or withdrawal. `?wait=drained` answers once nothing sent before it is in flight.

The body has the shape of an event without its name: `{"visitor": {"client_id": …}, "consent": {…}}`; a browser's `_ga` cookie
serves as its client id. What is recorded are explicit answers per purpose: those given by name, and those that the sent signals decide under
the policy of the place. Unreadable consent is refused: recording a guess would outlive the mistake.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from ebbgate.choices import Choices
from ebbgate.collect.native import parse_event
from ebbgate.collect.request import request_fields, request_signals
from ebbgate.collect.strict_json import loads
from ebbgate.edge.body import Body, ClientGone, check_head
from ebbgate.edge.events import answer_preflight, as_unavailable, cors_headers
from ebbgate.edge.head import Head, read_cookies
from ebbgate.edge.problems import JSON, Receive, Scope, Send, answer, answer_problem
from ebbgate.edge.sites import Sites
from ebbgate.edge.visitor import Visitors
from ebbgate.errors import EventError, RequestError, StoreError
from ebbgate.model import ConsentState, Event, Place, RawRequest, Signals, Trust
from ebbgate.pipeline import Govern
from ebbgate.settings import ServerSettings
from ebbgate.store.keys import KeyRing

MAX_BYTES: Final = 64 * 1024
#: Sources of a purpose's state that are no answer of the visitor's.
_NO_ANSWER: Final = frozenset({"none", "default", ""})


class ConsentEndpoint:
    """Records choices; tells browsers nothing about destinations."""

    def __init__(
        self,
        settings: ServerSettings,
        sites: Sites,
        visitors: Visitors,
        choices: Choices,
        keys: KeyRing,
        *,
        govern: Govern,
        drained: Callable[[], Awaitable[None]],
        clock_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._sites = sites
        self._visitors = visitors
        self._choices = choices
        self._keys = keys
        self._govern = govern
        self._drained = drained
        self._clock_ms = clock_ms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """202 once the choice is on disk; 200 with `?wait=drained` once nothing sent before it is in flight."""
        head = Head(scope)
        cors = cors_headers(self._sites, head)
        body = Body(receive)
        try:
            if scope["method"] == "OPTIONS":
                await answer_preflight(send, cors)
                return
            if scope["method"] != "POST":
                raise RequestError("only POST is answered here", status=405, code="method", hint="POST the choice as JSON")
            wait = parse_qs(scope["query_string"].decode("latin-1")).get("wait", [""])[-1]
            if wait not in ("", "drained"):
                raise RequestError("`wait` is not known", code="wait", hint="the only word is `drained`")
            told = await self._take(scope, head, body)
            if wait:
                await self._drained()
        except RequestError as error:
            await body.discard()
            await answer_problem(send, error, cors)
        except ClientGone:
            return
        else:
            status = HTTPStatus.OK if wait else HTTPStatus.ACCEPTED
            await answer(send, status, msgspec.json.encode(told | {"drained": bool(wait)}), [JSON, *cors])

    async def _take(self, scope: Scope, head: Head, body: Body) -> dict[str, Any]:
        site, trust = self._sites.identify(head)
        check_head(head, max_bytes=MAX_BYTES)
        raw = await body.read(max_bytes=MAX_BYTES, timeout_s=self._settings.body_timeout_s)
        address, place = self._visitors.locate(scope["client"][0] if scope.get("client") else "", head)
        request = RawRequest(
            "POST", scope["path"], "", head.headers, raw, address, self._clock_ms(), read_cookies(head.cookie), site, trust
        )
        event, signals = _parsed(loads(raw), request, place)
        if trust is Trust.SERVER and isinstance(event.fields.get("place.country"), str):
            place = Place(str(event.fields["place.country"]), _text(event.fields.get("place.region")), "server")
        explicit = self._explicit(signals, place, request.received_ms)
        subjects = [self._keys.subject_key(site, subject) for subject in event.subjects]
        if not subjects:
            raise RequestError(
                "nobody is named whose choice this is",
                status=422,
                code="no_subject",
                hint='send "visitor": {"client_id": …} or "user": {"id": …}',
            )
        if not explicit:
            raise RequestError(
                "no purpose is granted or denied",
                status=422,
                code="no_choice",
                hint='send "consent": {"purposes": {"advertising": "denied"}}',
            )
        try:
            recorded = await self._choices.record(subjects, explicit)
        except StoreError as error:
            raise as_unavailable(error) from None
        return {"recorded": recorded.choices, "durability": "fsync"}

    def _explicit(self, signals: Signals, place: Place, now_ms: int) -> dict[str, str]:
        """What the visitor answered: purpose → granted | denied."""
        if signals.malformed:
            raise _unreadable()
        found: dict[str, str] = {}
        _, consent = self._govern(signals, place, now_ms)
        if any(not reading.valid for reading in consent.readings):
            raise _unreadable()
        for name, purpose in consent.purposes.items():
            if purpose.state is not ConsentState.UNKNOWN and purpose.source not in _NO_ANSWER:
                found[name] = purpose.state.value
        # What was named outright counts also where the policy of this place does not know the purpose; a refusal above all.
        for name, state in signals.purposes:
            if found.get(name) != ConsentState.DENIED.value:
                found[name] = state
        return found


def _parsed(obj: Any, request: RawRequest, place: Place) -> tuple[Event, Signals]:
    if not isinstance(obj, dict):
        raise RequestError("the body is not a JSON object", status=422, code="not_a_choice", hint='send {"consent": {…}}')
    named = {k: v for k, v in obj.items() if k in ("visitor", "user", "consent", "place")}
    unknown = sorted(set(obj) - set(named))
    if unknown:
        raise RequestError(
            "a choice has keys that are not known",
            status=422,
            code="choice_unknown_key",
            hint="known: visitor, user, consent, place",
        )
    browser = request.trust is Trust.BROWSER
    try:
        return parse_event(
            {"event": "consent_update", **named},
            site=request.site,
            trust=request.trust,
            received_ms=request.received_ms,
            base=request_fields(request, place) if browser else None,
            signals=request_signals(request),
        )
    except EventError as error:
        raise RequestError(error.message, status=422, code=error.code, hint=error.hint) from None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _unreadable() -> RequestError:
    return RequestError(
        "the consent cannot be read completely",
        status=422,
        code="consent_unreadable",
        hint="`ebbgate consent decode` says what is in a string",
    )
