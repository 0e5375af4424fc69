"""Rate limits of the collection host: so many requests a second of one client address, and of one server key. Off by default.

Token buckets in the form of GCRA: of an address only one number is kept, the moment at which its bucket would be full again, under
a hash keyed with random bytes of this process. No address is in memory, a dump or a metric, and who knows the code cannot guess
them. An IPv6 visitor is its /64, for that is what one household gets. What is remembered is bounded: over the bound, and as soon
as the oldest buckets must be full, the older half is forgotten whole, so no list is ever walked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

from ebbgate.edge.body import Body
from ebbgate.edge.head import Head
from ebbgate.edge.problems import Receive, Scope, Send, answer_problem
from ebbgate.edge.sites import Sites
from ebbgate.edge.visitor import Visitors
from ebbgate.errors import RequestError
from ebbgate.settings import LimitSettings

_HASH_BYTES: Final = 8
_MAX_KEY: Final = 512
_MAX_QUERY: Final = 4096
#: Asked by load balancers from one address, and cheap.
_FREE: Final = frozenset({"/healthz", "/readyz"})


class Buckets:
    """One bucket a name: `burst` requests at once, `per_s` a second on average. Pure: time comes as an argument, in seconds."""

    def __init__(self, per_s: float, burst: int, remembered: int) -> None:
        self._interval_s = 1 / per_s
        self._room_s = burst / per_s
        self._half = max(1, remembered // 2)
        self._recent: dict[bytes, float] = {}  #: name → when its bucket is full again
        self._older: dict[bytes, float] = {}
        self._turn_s = -math.inf

    def __len__(self) -> int:
        return len(self._recent) + len(self._older)

    def take(self, name: bytes, now_s: float) -> float:
        """Take one from the bucket. 0.0 when there was one, else the seconds until there will be."""
        if now_s - self._turn_s > self._room_s or len(self._recent) >= self._half:
            # Who was not seen since the last turn has a full bucket by now, unless the bound on memory came first.
            self._recent, self._older, self._turn_s = {}, self._recent, now_s
        full_s = self._recent.get(name)
        if full_s is None:
            full_s = self._older.get(name, now_s)
        after_s = max(full_s, now_s) + self._interval_s
        if after_s - now_s > self._room_s + 1e-9:
            self._recent[name] = full_s
            return after_s - now_s - self._room_s
        self._recent[name] = after_s
        return 0.0


class RateLimit:
    """Stands before an app and refuses with 429 what is over a limit.

    Choices have buckets of their own: a flood of events must not keep anyone from withdrawing.
    """

    def __init__(
        self,
        settings: LimitSettings,
        sites: Sites,
        visitors: Visitors,
        *,
        prefix: str,
        now_s: Callable[[], float],
        entropy: Callable[[int], bytes],
    ) -> None:
        self.refused: dict[str, int] = {"address": 0, "key": 0}
        self._sites = sites
        self._visitors = visitors
        self._choices = f"{prefix}/consent"
        self._now_s = now_s
        self._secret = entropy(32)
        self._address = self._key = None
        if settings.per_address_per_s:
            self._address = Buckets(settings.per_address_per_s, settings.per_address_burst, settings.remembered)
        if settings.per_key_per_s:
            self._key = Buckets(settings.per_key_per_s, settings.per_key_burst, settings.remembered)

    @property
    def remembered(self) -> int:
        """How many addresses and keys are in memory, as keyed hashes."""
        return sum(len(buckets) for buckets in (self._address, self._key) if buckets is not None)

    def before(self, app: Any) -> Callable[[Scope, Receive, Send], Any]:
        """The app behind these limits."""

        async def limited(scope: Scope, receive: Receive, send: Send) -> None:
            by, wait_s = self._wait_s(scope)
            if not wait_s:
                await app(scope, receive, send)
                return
            self.refused[by] += 1
            await Body(receive).discard()
            error = RequestError(
                f"too many requests of one {by}",
                status=HTTPStatus.TOO_MANY_REQUESTS,
                code="too_many_requests",
                hint="send it again after Retry-After, and several events in one request",
                retry_after_s=math.ceil(wait_s),
            )
            await answer_problem(send, error, self._sites.cors(Head(scope).origin))

        return limited

    def _wait_s(self, scope: Scope) -> tuple[str, float]:
        """(what limit, seconds to wait)."""
        path = scope["path"]
        if path in _FREE or scope["method"] == "OPTIONS":
            return "", 0.0
        kind = b"c" if path == self._choices else b"e"
        key = self._server_key(scope)
        if key is not None:
            return "key", self._key.take(self._hashed(kind + key), self._now_s()) if self._key is not None else 0.0
        network = self._network(scope) if self._address is not None else b""
        if self._address is None or not network:
            return "", 0.0
        return "address", self._address.take(self._hashed(kind + network), self._now_s())

    def _hashed(self, name: bytes) -> bytes:
        return hashlib.blake2b(name, key=self._secret, digest_size=_HASH_BYTES).digest()

    def _network(self, scope: Scope) -> bytes:
        """Bytes of the client's address, or of its IPv6 /64. Behind trusted proxies: of the address they vouch for, or b""."""
        address = scope["client"][0] if scope.get("client") else ""
        if self._visitors.trusts(address):
            address, _ = self._visitors.locate(address, Head(scope))
            if self._visitors.trusts(address):
                return b""  # the proxy speaks for itself, or for all its visitors: there is no one to count
        if ":" not in address:
            return address.encode()
        try:
            ip = ipaddress.IPv6Address(address)
        except ValueError:
            return address.encode()
        return str(ip.ipv4_mapped).encode() if ip.ipv4_mapped else ip.packed[:8]

    def _server_key(self, scope: Scope) -> bytes | None:
        """The server key of the head or of the query, if it is one: a key that nobody knows must not open a bucket of its own."""
        found = ""
        for name, value in scope["headers"]:
            if name == b"authorization":
                found = _credential(value)
            elif name == b"x-write-key" and not found:
                found = value.decode("latin-1").strip()
        query = scope["query_string"]
        if not found and b"api_secret=" in query and len(query) <= _MAX_QUERY:
            found = parse_qs(query.decode("latin-1")).get("api_secret", [""])[0]
        if not found or len(found) > _MAX_KEY or self._sites.of_server_key(found) is None:
            return None
        return found.encode("utf-8", "surrogatepass")


def _credential(authorization: bytes) -> str:
    """The key of `Bearer key`, or of `Basic` as user name; "" for anything else."""
    scheme, _, given = authorization.decode("latin-1").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(given.strip(), validate=True).decode("utf-8").partition(":")[0]
        except (binascii.Error, ValueError):
            return ""
    return ""
