"""The HTTP client of one destination: the only file that knows httpx (DESIGN §2, specs/performance.md §6).

Pools of at most four connections (a larger one costs more for each request it holds), HTTP/1.1, no redirects, no cookies, nothing
from the environment, an absolute deadline, at most 64 KiB of an answer. A trace of the connection tells how far a request came, so
that a failure is known to be "no byte left" or "perhaps processed", and asks the gate once more when the socket is ready for the
first byte.
"""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final, Protocol, TypeAlias

import httpx  # noqa: TID251  this is the one file

from ebbgate.deliver.address import AddressRefused, Network, Origin, check_origin, origin_of, vet
from ebbgate.deliver.classify import Failed, Failure
from ebbgate.destinations.kit import HttpRequest, HttpResponse

CONNECTIONS: Final = 4  #: of one pool: httpcore looks at all of a pool's requests for each of them
RESPONSE_CAP: Final = 64 * 1024
DEADLINE_S: Final = 30.0
#: The gate's word is at most 2 s old at the first byte, and so is a connection: together under the promised 5 s.
CONNECT_S: Final = 5.0
#: Shorter than the idle time after which common servers close, so that a request rarely meets a closing connection.
KEEPALIVE_S: Final = 4.0
RESOLVED_FOR_S: Final = 30.0
_TARGETS: Final = 256  #: addresses remembered in parsed form; a platform has a handful
_OURS: Final = frozenset({"host", "accept-encoding", "connection"})

if importlib.util.find_spec("sniffio") is None:
    # httpcore tries to import it several times a request; remembering that it is absent saves a third of a request's CPU time.
    sys.modules["sniffio"] = None  # type: ignore[assignment]  # None is how Python marks a module as known to be absent

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
Fresh: TypeAlias = Callable[[], bool]


class Sender(Protocol):
    """What the worker needs of a client; another transport is another implementation of this."""

    async def send(self, request: HttpRequest, fresh: Fresh) -> HttpResponse | Failed:
        """One attempt; never raises for anything the network does."""

    async def aclose(self) -> None:
        """Close idle connections."""


class _StaleGateError(Exception):
    """The first byte would leave on an old word of the gate."""


class Client:
    """Sends requests of one destination: as many at a time as its caller likes, four to a pool."""

    def __init__(
        self,
        *,
        hosts: Collection[str] = (),
        endpoint: str | None = None,
        networks: Sequence[Network] = (),
        deadline_s: float = DEADLINE_S,
        connect_s: float = CONNECT_S,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        """`hosts`, `endpoint` and `networks`: see `address`. `tls` replaces the system's trust, for tests; `resolve` the resolver.

        Raises AddressRefused when `endpoint` is not an http or https URL.
        """
        self._hosts = hosts
        self._endpoint: Origin | None = origin_of(endpoint) if endpoint else None
        self._networks = networks
        self._deadline_s = deadline_s
        self._timeouts = httpx.Timeout(deadline_s, connect=min(connect_s, deadline_s)).as_dict()
        self._tls = tls
        self._resolve: Resolve = resolve or _system_resolve
        self._addresses: dict[tuple[str, int], tuple[float, list[str]]] = {}
        self._pools: dict[str, list[_Pool]] = {}
        self._targets: dict[str, tuple[Origin, httpx.URL]] = {}

    async def send(self, request: HttpRequest, fresh: Fresh) -> HttpResponse | Failed:
        """Send once, without retrying.

        `fresh` is asked when the socket is ready, before the first byte; False gives a Failed of kind STALE and sends nothing.
        Returns the answer, of whatever status, or how far the request came. Raises only what cancels the task.
        """
        progress = _Progress(fresh)
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._attempt(request, progress)
        except _StaleGateError:
            return Failed(Failure.STALE, "gate_stale")
        except AddressRefused as refused:
            return Failed(Failure.REFUSED, str(refused))
        except TimeoutError:
            return progress.failed("deadline")
        except httpx.TimeoutException:
            return progress.failed("timeout")
        except httpx.RemoteProtocolError:
            return progress.failed("answer_broken")
        except (httpx.LocalProtocolError, httpx.InvalidURL, httpx.UnsupportedProtocol):
            return progress.failed("request_invalid", otherwise=Failure.INVALID)
        except (httpx.TransportError, OSError):
            return progress.failed("connection_lost")

    async def aclose(self) -> None:
        """Close all connections."""
        pools, self._pools = [pool for pools in self._pools.values() for pool in pools], {}
        for pool in pools:
            await pool.transport.aclose()

    async def _attempt(self, request: HttpRequest, progress: _Progress) -> HttpResponse:
        known = self._targets.get(request.url)
        origin = origin_of(request.url) if known is None else known[0]
        addresses = await self._vetted(origin, progress)
        url = self._parsed(request.url, origin) if known is None else known[1]
        headers = [(k, v) for k, v in request.headers if k.lower() not in _OURS]
        # Answers stay uncompressed: a small answer must not become a large one (specs/reliability.md §4 row 19).
        headers += [("host", origin.authority), ("accept-encoding", "identity")]
        message = httpx.Request(
            request.method,
            url if url.host == addresses[0] else url.copy_with(host=addresses[0]),
            headers=headers,
            content=request.body,
            extensions={"timeout": self._timeouts, "sni_hostname": origin.host, "trace": progress.trace},
        )
        pool = self._pool(origin.host)
        pool.busy += 1
        try:
            return await _exchanged(pool.transport, message)
        except httpx.ConnectError:
            # The next attempt tries another address of the name.
            addresses.append(addresses.pop(0))
            raise
        finally:
            pool.busy -= 1

    async def _vetted(self, origin: Origin, progress: _Progress) -> list[str]:
        loopback = check_origin(origin, endpoint=self._endpoint, hosts=self._hosts)
        known = self._addresses.get((origin.host, origin.port))
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        progress.step = "name"
        try:
            found = await self._resolve(origin.host, origin.port)
        except UnicodeError:
            raise AddressRefused("url_invalid") from None
        addresses = vet(found, loopback=loopback, networks=self._networks)
        self._addresses[origin.host, origin.port] = (time.monotonic() + RESOLVED_FOR_S, addresses)
        progress.step = "connect"
        return addresses

    def _parsed(self, url: str, origin: Origin) -> httpx.URL:
        """An address that was vetted, in the form that httpx takes, kept for the next request. Raises httpx.InvalidURL."""
        found = httpx.URL(url)
        if len(self._targets) >= _TARGETS:
            self._targets.clear()
        self._targets[url] = (origin, found)
        return found

    def _pool(self, host: str) -> _Pool:
        """The first pool of a host name with room. By name: two names at one address must not share a TLS session."""
        pools = self._pools.setdefault(host, [])
        for pool in pools:
            if pool.busy < CONNECTIONS:
                return pool
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=KEEPALIVE_S)
        verify = self._tls if self._tls is not None else True
        pools.append(_Pool(httpx.AsyncHTTPTransport(verify=verify, trust_env=False, http2=False, limits=limits)))
        return pools[-1]


class _Pool:
    """Up to four connections to one host name."""

    __slots__ = ("busy", "transport")

    def __init__(self, transport: httpx.AsyncHTTPTransport) -> None:
        self.transport = transport
        self.busy = 0


async def _exchanged(transport: httpx.AsyncHTTPTransport, message: httpx.Request) -> HttpResponse:
    """One request and its answer, by the transport itself: what a whole client adds (redirects, cookies, hooks) is not wanted."""
    response = await transport.handle_async_request(message)
    try:
        return HttpResponse(response.status_code, {k.lower(): v for k, v in response.headers.items()}, await _capped(response))
    finally:
        await response.aclose()


class _Progress:
    """How far one request has come, from the connection's own trace."""

    __slots__ = ("_fresh", "step")

    def __init__(self, fresh: Fresh) -> None:
        self._fresh = fresh
        self.step = "connect"

    async def trace(self, event: str, _info: dict[str, Any]) -> None:
        """Called by httpcore at each step."""
        if event == "http11.send_request_headers.started":
            if not self._fresh():
                raise _StaleGateError
            self.step = "sending"
        elif event == "http11.send_request_body.complete":
            self.step = "sent"
        elif event == "connection.start_tls.started":
            self.step = "tls"

    def failed(self, reason: str, *, otherwise: Failure | None = None) -> Failed:
        """The failure and its closed word, by how far the request came."""
        if self.step == "sent":
            return Failed(Failure.UNKNOWN, reason)
        if self.step == "sending":
            return Failed(otherwise or Failure.NOT_RECEIVED, "write_failed" if otherwise is None else reason)
        return Failed(otherwise or Failure.NOT_SENT, f"{self.step}_failed" if otherwise is None else reason)


async def _capped(response: httpx.Response) -> bytes:
    """The first 64 KiB of the body; what follows is not read."""
    parts: list[bytes] = []
    left = RESPONSE_CAP
    async for part in response.aiter_raw():
        parts.append(part[:left])
        left -= len(parts[-1])
        if left <= 0:
            break
    return b"".join(parts)


async def _system_resolve(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
