"""`GET {prefix}/status`: what was honoured for this visitor, for the page to show (California: 11 CCR §7025(c)(6)).

Also `/.well-known/gpc.json` where configured. Nothing personal is told: the visitor is known by the request's own head.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec

from ebbgate.choices import Choices
from ebbgate.collect.cookies import cookie_fields
from ebbgate.collect.native import subjects_of
from ebbgate.collect.request import request_signals
from ebbgate.consent.overlay import with_choices
from ebbgate.edge.events import answer_preflight, as_unavailable
from ebbgate.edge.head import Head, read_cookies
from ebbgate.edge.problems import JSON, MethodNotAllowed, Receive, Scope, Send, answer, answer_problem
from ebbgate.edge.sites import Sites
from ebbgate.edge.visitor import Visitors
from ebbgate.edge.visitor_cookie import VisitorCookie
from ebbgate.errors import StoreError
from ebbgate.model import ConsentState, RawRequest, Trust
from ebbgate.pipeline import Govern
from ebbgate.store.keys import KeyRing

HONOURED = "Opt-out request honored: your data is not sold or shared for advertising."
NOT_SENT = "Your browser sends no opt-out signal."
NOT_USED = "Your browser sends an opt-out signal. Nothing here is bound to it."


class StatusEndpoint:
    """Tells what holds for the visitor who asks."""

    def __init__(
        self,
        sites: Sites,
        visitors: Visitors,
        choices: Choices,
        keys: KeyRing,
        cookie: VisitorCookie,
        *,
        govern: Govern,
        clock_ms: Callable[[], int],
    ) -> None:
        self._sites = sites
        self._visitors = visitors
        self._choices = choices
        self._keys = keys
        self._cookie = cookie
        self._govern = govern
        self._clock_ms = clock_ms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """200 with `{"gpc", "opt_out_honored", "purposes", "text"}`."""
        head = Head(scope)
        cors = self._sites.cors(head.origin)
        if scope["method"] == "OPTIONS":
            await answer_preflight(send, cors)
            return
        if scope["method"] not in ("GET", "HEAD"):
            await answer_problem(send, MethodNotAllowed("GET", "HEAD", "OPTIONS"), cors)
            return
        try:
            status = await self._status(scope, head)
        except StoreError as error:
            await answer_problem(send, as_unavailable(error), cors)
            return
        await answer(send, HTTPStatus.OK, msgspec.json.encode(status), [JSON, *cors])

    async def _status(self, scope: Scope, head: Head) -> dict[str, Any]:
        now_ms = self._clock_ms()
        address, place = self._visitors.locate(scope["client"][0] if scope.get("client") else "", head)
        cookies = read_cookies(head.cookie)
        site = self._sites.of_origin(head.origin) or self._sites.only()
        request = RawRequest("GET", scope["path"], "", head.headers, b"", address, now_ms, cookies, site or "", Trust.BROWSER)
        signals = request_signals(request)
        policy, consent = self._govern(signals, place, now_ms)
        fields = self._cookie.fields(dict(cookie_fields(cookies)), head, now_ms)
        subjects = [self._keys.subject_key(site, s) for s in subjects_of(fields)] if site else []
        states = self._choices.states(b"".join(subjects), await self._choices.load(subjects))
        if states and policy is not None:
            consent = with_choices(consent, policy.consent, states)
        refused_by_gpc = [rule.name for rule in policy.consent.purposes if rule.refused_by_gpc] if policy else []
        # Where no policy governs nothing leaves at all, which honours every opt-out.
        honoured = signals.gpc and all(consent.state(name) is ConsentState.DENIED for name in refused_by_gpc)
        honoured = honoured and (policy is None or bool(refused_by_gpc))
        return {
            "gpc": signals.gpc,
            "opt_out_honored": honoured,
            "purposes": {name: purpose.state.value for name, purpose in consent.purposes.items()},
            "text": HONOURED if honoured else NOT_USED if signals.gpc else NOT_SENT,
        }


class WellKnownGpc:
    """`/.well-known/gpc.json`: that this site honours the signal, and since when the statement holds."""

    def __init__(self, last_update: str) -> None:
        self._body = msgspec.json.encode({"gpc": True, "lastUpdate": last_update})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """200 with the document, 405."""
        if scope["method"] not in ("GET", "HEAD"):
            await answer_problem(send, MethodNotAllowed("GET", "HEAD"))
            return
        await answer(send, HTTPStatus.OK, self._body, [JSON])
