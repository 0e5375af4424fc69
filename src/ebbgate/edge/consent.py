"""`POST {prefix}/consent`: a visitor's choice or withdrawal. `?wait=drained` answers once nothing sent before it is in flight.

The body has the shape of an event without its name: `{"visitor": {"client_id": …}, "consent": {…}}`; a browser's `_ga` cookie
serves as its client id. What is recorded are explicit answers per purpose: those given by name, and those that the sent signals
decide under the policy of the place.

Two rules keep a guess or a stranger from granting anything. Beside something that cannot be read only refusals by name are
recorded. And a browser grants only for its own ids: who is signed in as which user, only the site's server can vouch for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from ebbgate.choices import Choices
from ebbgate.collect.native import parse_event
from ebbgate.collect.request import request_fields, request_signals
from ebbgate.collect.strict_json import loads
from ebbgate.edge.body import Body, ClientGone, check_head
from ebbgate.edge.events import answer_preflight, as_unavailable
from ebbgate.edge.head import Head, read_cookies
from ebbgate.edge.problems import JSON, Headers, MethodNotAllowed, Receive, Scope, Send, answer, answer_problem
from ebbgate.edge.sites import Sites
from ebbgate.edge.visitor import Visitors
from ebbgate.edge.visitor_cookie import VisitorCookie
from ebbgate.errors import EventError, RequestError, StoreError
from ebbgate.model import ConsentState, Event, Place, RawRequest, Signals, Trust, Value
from ebbgate.pipeline import Govern
from ebbgate.settings import ServerSettings
from ebbgate.store.keys import KeyRing

MAX_BYTES: Final = 64 * 1024
#: Sources of a purpose's state that are no answer of the visitor's.
_NO_ANSWER: Final = frozenset({"none", "default", ""})
#: Ids that a browser holds itself (collect/native.py `subjects_of`); the others name a person.
_BROWSERS_OWN: Final = ("client:", "anonymous:")
_DENIED: Final = ConsentState.DENIED.value


class ConsentEndpoint:
    """Records choices; tells browsers nothing about destinations."""

    def __init__(
        self,
        settings: ServerSettings,
        sites: Sites,
        visitors: Visitors,
        choices: Choices,
        keys: KeyRing,
        cookie: VisitorCookie,
        *,
        govern: Govern,
        purposes: Callable[[], Collection[str]],
        drained: Callable[[], Awaitable[None]],
        clock_ms: Callable[[], int],
        durability: str,
    ) -> None:
        self._settings = settings
        self._sites = sites
        self._visitors = visitors
        self._choices = choices
        self._keys = keys
        self._cookie = cookie
        self._govern = govern
        self._purposes = purposes
        self._drained = drained
        self._clock_ms = clock_ms
        self._durability = durability

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """202 once the choice is on disk; 200 with `?wait=drained` once nothing sent before it is in flight."""
        head = Head(scope)
        cors = self._sites.cors(head.origin)
        body = Body(receive)
        query = parse_qs(scope["query_string"].decode("latin-1"))
        try:
            if scope["method"] == "OPTIONS":
                await answer_preflight(send, cors)
                return
            if scope["method"] != "POST":
                raise MethodNotAllowed("POST", "OPTIONS")
            wait = query.get("wait", [""])[-1]
            if wait not in ("", "drained"):
                raise RequestError("`wait` is not known", code="wait", hint="the only word is `drained`")
            told, cookies = await self._take(scope, head, body)
            if wait:
                await self._drained()
        except RequestError as error:
            await body.discard()
            if "quiet" in query and error.status == HTTPStatus.UNPROCESSABLE_ENTITY:
                # The tag cannot mend it, and the browser would show its refusal to every visitor who opens the console.
                await answer(send, HTTPStatus.ACCEPTED, msgspec.json.encode({"recorded": {}, "drained": False}), [JSON, *cors])
                return
            await answer_problem(send, error, cors)
        except ClientGone:
            return
        else:
            status = HTTPStatus.OK if wait else HTTPStatus.ACCEPTED
            await answer(send, status, msgspec.json.encode(told | {"drained": bool(wait)}), [JSON, *cookies, *cors])

    async def _take(self, scope: Scope, head: Head, body: Body) -> tuple[dict[str, Any], Headers]:
        site, trust = self._sites.identify(head)
        check_head(head, max_bytes=MAX_BYTES)
        raw = await body.read(max_bytes=MAX_BYTES, timeout_s=self._settings.body_timeout_s)
        address, place = self._visitors.locate(scope["client"][0] if scope.get("client") else "", head)
        request = RawRequest(
            "POST", scope["path"], "", head.headers, raw, address, self._clock_ms(), read_cookies(head.cookie), site, trust
        )
        base = self._cookie.fields(request_fields(request, place), head, request.received_ms) if trust is Trust.BROWSER else None
        event, signals = _parsed(loads(raw), request, base)
        if trust is Trust.SERVER and isinstance(event.fields.get("place.country"), str):
            place = Place(str(event.fields["place.country"]), _text(event.fields.get("place.region")), "server")
        explicit = self._explicit(signals, place, request.received_ms)
        event, cookies = self._cookie.for_choice(head, event, explicit, request.received_ms)
        if not event.subjects:
            raise RequestError(
                "nobody is named whose choice this is",
                status=422,
                code="no_subject",
                hint='send "visitor": {"client_id": …} or "user": {"id": …}',
            )
        if not explicit:
            raise RequestError(
                "no purpose that a policy knows is granted or denied",
                status=422,
                code="no_choice",
                hint='send "consent": {"purposes": {"advertising": "denied"}}, by the names of the policies',
            )
        choices = {self._keys.subject_key(site, who): said for who in event.subjects if (said := granted_by(trust, who, explicit))}
        if not choices:
            raise RequestError(
                "a page cannot grant for a user or an e-mail address",
                status=422,
                code="grant_needs_server",
                hint='name the browser too, "visitor": {"client_id": …}, or send it from your server with its key',
            )
        try:
            await self._choices.record(choices)
        except StoreError as error:
            raise as_unavailable(error) from None
        return {"recorded": {p: s for said in choices.values() for p, s in said.items()}, "durability": self._durability}, cookies

    def _explicit(self, signals: Signals, place: Place, now_ms: int) -> dict[str, str]:
        """What the visitor answered: purpose → granted | denied. Beside something unreadable: what is refused by name."""
        found: dict[str, str] = {}
        _, consent = self._govern(signals, place, now_ms)
        known = self._purposes()
        if signals.malformed or any(not reading.valid for reading in consent.readings):
            found = {name: state for name, state in signals.purposes if state == _DENIED and name in known}
            if not found:
                raise _unreadable()
            return found
        for name, purpose in consent.purposes.items():
            if purpose.state is not ConsentState.UNKNOWN and purpose.source not in _NO_ANSWER:
                found[name] = purpose.state.value
        # What was named outright counts also where the policy of this place does not know the purpose; a refusal above all. A name
        # that no policy knows is a stranger's own word: it would stand in the log for ever, whatever it says.
        for name, state in signals.purposes:
            if name in known and found.get(name) != _DENIED:
                found[name] = state
        return found


def granted_by(trust: Trust, subject: str, explicit: Mapping[str, str]) -> dict[str, str]:
    """What of an answer counts for one of the ids that it names: a page's grant only for ids of the browser itself."""
    if trust is Trust.SERVER or subject.startswith(_BROWSERS_OWN):
        return dict(explicit)
    return {name: state for name, state in explicit.items() if state == _DENIED}


def _parsed(obj: Any, request: RawRequest, base: Mapping[str, Value] | None) -> tuple[Event, Signals]:
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
    try:
        return parse_event(
            {"event": "consent_update", **named},
            site=request.site,
            trust=request.trust,
            received_ms=request.received_ms,
            base=base,
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
