"""`GET {prefix}/doctor`: what the gateway sees of a request, told only to who holds its keys (`ebbgate doctor --url`).

The pass is an HMAC of the minute under the gateway's own key: no secret crosses the wire that could be used for anything else,
and a pass is of no use some minutes later. Everybody else gets the 404 of a path that is not there.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

import msgspec

from ebbgate import __version__
from ebbgate.edge.head import Head, one_cookie
from ebbgate.edge.problems import JSON, Receive, Scope, Send, answer, answer_problem
from ebbgate.edge.visitor import Visitors
from ebbgate.errors import RequestError
from ebbgate.store.keys import KeyRing

SCHEME: Final = "ebbgate-doctor"
COOKIE: Final = "ebb_doctor"
MINUTES: Final = 5  #: how far the clocks of doctor and gateway may be apart
MINUTE_MS: Final = 60_000


class DoctorEndpoint:
    """Tells the caller about its own request and whether the gateway is ready."""

    def __init__(
        self,
        keys: KeyRing,
        visitors: Visitors,
        *,
        ready: Callable[[], list[str]],
        policies: Callable[[], int],
        clock_ms: Callable[[], int],
    ) -> None:
        self._keys = keys
        self._visitors = visitors
        self._ready = ready
        self._policies = policies
        self._clock_ms = clock_ms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """200 with what is seen, and a cookie to be brought back; 404 without a valid pass."""
        head = Head(scope)
        now_ms = self._clock_ms()
        if scope["method"] != "GET" or not self._holds_keys(head, now_ms):
            await answer_problem(
                send, RequestError("nothing is served here", status=404, code="not_found", hint="see the README's routes")
            )
            return
        cookie = self._keys.pass_for(COOKIE, now_ms // MINUTE_MS)[:16]
        header = f"{COOKIE}={cookie}; Max-Age=60; Path=/; HttpOnly; Secure; SameSite=Lax".encode("ascii")
        await answer(send, HTTPStatus.OK, msgspec.json.encode(self._seen(scope, head, now_ms)), [JSON, (b"set-cookie", header)])

    def _holds_keys(self, head: Head, now_ms: int) -> bool:
        scheme, _, given = (head.authorization or "").partition(" ")
        minute = now_ms // MINUTE_MS
        passes = [self._keys.pass_for("doctor", at) for at in range(minute - MINUTES, minute + MINUTES + 1)]
        matches = [hmac.compare_digest(given.strip().encode(), known.encode()) for known in passes]
        return scheme.lower() == SCHEME and any(matches)

    def _seen(self, scope: Scope, head: Head, now_ms: int) -> dict[str, Any]:
        peer = scope["client"][0] if scope.get("client") else ""
        address, place = self._visitors.locate(peer, head)
        return {
            "version": __version__,
            "now_ms": now_ms,
            "problems": self._ready(),
            "policies": self._policies(),
            "proxy_trusted": self._visitors.trusts(peer),
            "peer_is_private": _private(peer),
            "address": address,
            "forwarded": bool(head.forwarded_for),
            "country": place.country,
            "region": place.region,
            "cookie": one_cookie(head.cookie, COOKIE),
        }


def _private(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_private
    except ValueError:
        return False
