"""`ebbgate doctor --url`: the gateway as the internet sees it, through whatever stands before it (issue 6.7).

Each check gives one `Finding`: what is so, and what to do where it is wrong. Nothing here sends an event: the probe of an origin is a
body that is no event, which the gateway refuses without storing anything.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from ebbgate.edge.doctor import COOKIE, MINUTE_MS, SCHEME
from ebbgate.edge.tag import integrity

TIMEOUT_S: Final = 5
MAX_BYTES: Final = 1 << 20
CLOCK_MS: Final = 60_000  #: a gateway whose clock is further off than this refuses events as too old or too new
FORGED_ADDRESS: Final = "192.0.2.77"  #: of a range that no visitor has
FORGED_COUNTRY: Final = "AQ"
_FORGED: Final = {
    "X-Forwarded-For": FORGED_ADDRESS,
    **dict.fromkeys(
        ("CF-IPCountry", "CloudFront-Viewer-Country", "X-Vercel-IP-Country", "X-AppEngine-Country", "X-Gclb-Country"),
        FORGED_COUNTRY,
    ),
}

Resolve = Callable[[str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. `ok` is None where it could not be made."""

    check: str
    ok: bool | None
    what: str
    do: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, with lower-case header names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; empty when it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def ask(url: str, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
    """One request, no redirect followed. Raises OSError (TLS failures included) or http.client.HTTPException."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=ssl.create_default_context())
    else:
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request(method, parts.path or "/", body=body or None, headers=dict(headers or {}))
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read(MAX_BYTES))
    finally:
        connection.close()


def resolve(host: str) -> Sequence[str]:
    """The addresses of a host. Raises OSError."""
    return sorted({str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})


def examine(
    url: str, *, pass_at: Callable[[int], str], now_ms: int, origins: Sequence[str], resolver: Resolve = resolve
) -> list[Finding]:
    """All checks of the gateway at `url` (address of the path prefix). `pass_at`: minute → the pass of `edge/doctor.py`."""
    url = url.rstrip("/")
    try:
        status = ask(f"{url}/status")
    except ssl.SSLError as error:
        what = f"no secure connection ({error.reason or 'TLS failed'})"
        return [Finding("reachable", False, what, "give the host a valid certificate; the gateway's own port speaks plain http")]
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
        return [Finding("reachable", False, f"nobody answers ({why})", "is the name right, is the proxy up?")]
    if status.status != 200 or "opt_out_honored" not in status.json():
        return [
            Finding(
                "reachable",
                False,
                f"something else answers under this path (status {status.status})",
                "the proxy must pass the whole prefix to the gateway, path unchanged: see docs/guides/reverse-proxy.md",
            )
        ]
    found = [Finding("reachable", True, "the gateway answers under this path"), _encrypted(url), _tag(url)]
    found += [_origin(url, origin) for origin in origins[:10]]
    skew_ms = _skew_ms(status, now_ms)
    seen, again = _seen(url, pass_at, now_ms - skew_ms)
    if seen is None or again is None:
        found.append(_clock(skew_ms))
        found.append(
            Finding("inside", None, "cookies, proxy headers and policies not checked: the gateway did not take this machine's keys",
                    "run it with the gateway's own ebbgate.toml and keys, and let the proxy pass Authorization on")
        )  # fmt: skip
    else:
        told = again.json()
        found += [_clock(now_ms - int(told["now_ms"])), _cookies(seen, told), *_proxy(seen.json(), told), _ready(told)]
    return [*found, *_safari(url, origins, resolver)]


def _encrypted(url: str) -> Finding:
    parts = urlsplit(url)
    if parts.scheme == "https":
        return Finding("encrypted", True, "https with a valid certificate")
    if parts.hostname in ("localhost", "127.0.0.1", "::1"):
        return Finding("encrypted", None, "plain http on this machine", "enough for a trial; visitors need https")
    return Finding("encrypted", False, "plain http", "browsers keep no Secure cookie and no beacon is safe: serve it over https")


def _tag(url: str) -> Finding:
    try:
        tag = ask(f"{url}/t.js")
    except (OSError, http.client.HTTPException):
        return Finding("tag", False, "t.js is not answered", "the proxy must pass the whole prefix on")
    kind = tag.headers.get("content-type", "").partition(";")[0].strip().lower()
    if tag.status != 200:
        return Finding("tag", False, f"t.js is answered with status {tag.status}", "the proxy must pass the whole prefix on")
    if kind != "text/javascript":
        return Finding(
            "tag", False, f"t.js comes as {kind or 'no type'}: browsers refuse it", "let the proxy leave Content-Type alone"
        )
    if integrity(tag.body) != integrity():
        return Finding(
            "tag",
            False,
            "t.js is not byte for byte the tag of this version: pages with a pinned integrity value refuse it",
            "let the proxy leave it alone and empty its cache; after an update of the gateway print the snippet anew: `ebbgate tag`",
        )
    return Finding("tag", True, "t.js is served whole, with the right type")


def _origin(url: str, origin: str) -> Finding:
    """A body that is no event: 422 when the origin is known, 403 when it is not."""
    try:
        answer = ask(f"{url}/v1/events", "POST", {"Origin": origin, "Content-Type": "text/plain"}, b"{}")
    except (OSError, http.client.HTTPException):
        return Finding("origin", False, f"{origin}: posting is not answered", "does the proxy allow POST?")
    if answer.json().get("code") == "event_name_missing":
        return Finding("origin", True, f"pages of {origin} may post")
    return Finding(
        "origin", False, f"pages of {origin} are refused (status {answer.status})", "name it in sites.<name>.origins, exactly"
    )


def _skew_ms(answer: Answer, now_ms: int) -> int:
    """How far this machine is ahead of who answered, by its Date header; 0 without one."""
    try:
        theirs = parsedate_to_datetime(answer.headers["date"]).timestamp() * 1000
    except (KeyError, ValueError, TypeError):
        return 0
    skew = now_ms - int(theirs)
    return skew if abs(skew) > CLOCK_MS else 0


def _clock(skew_ms: int) -> Finding:
    if abs(skew_ms) <= CLOCK_MS:
        return Finding("clock", True, "its clock and this machine's agree")
    ahead = "behind" if skew_ms > 0 else "ahead of"
    return Finding("clock", False, f"its clock is {abs(skew_ms) // 1000} s {ahead} this machine's", "let both follow a time server")


def _seen(url: str, pass_at: Callable[[int], str], now_ms: int) -> tuple[Answer | None, Answer | None]:
    """What the gateway sees of a request that forges its place, and of an honest one that brings the first one's cookie."""
    authorization = {"Authorization": f"{SCHEME} {pass_at(now_ms // MINUTE_MS)}"}
    try:
        forged = ask(f"{url}/doctor", headers=authorization | _FORGED)
        brought = forged.headers.get("set-cookie", "").partition(";")[0]
        honest = ask(f"{url}/doctor", headers=authorization | ({"Cookie": f"{brought}; other=1"} if brought else {}))
    except (OSError, http.client.HTTPException):
        return None, None
    if forged.status != 200 or honest.status != 200 or "now_ms" not in honest.json():
        return None, None
    return forged, honest


def _cookies(seen: Answer, told: Mapping[str, Any]) -> Finding:
    given = seen.headers.get("set-cookie", "")
    attributes = {part.strip().lower() for part in given.split(";")[1:]}
    if not given.startswith(f"{COOKIE}="):
        return Finding(
            "cookies", False, "Set-Cookie does not come through", "let the proxy pass Set-Cookie on, and cache nothing but t.js"
        )
    missing = {"httponly", "secure", "samesite=lax", "path=/"} - attributes
    if missing:
        return Finding(
            "cookies", False, f"Set-Cookie loses {', '.join(sorted(missing))}", "let the proxy leave cookie attributes alone"
        )
    if told.get("cookie") != given.partition(";")[0].partition("=")[2]:
        return Finding("cookies", False, "cookies do not reach the gateway", "let the proxy pass Cookie on")
    return Finding("cookies", True, "cookies survive in both directions")


def _proxy(forged: Mapping[str, Any], told: Mapping[str, Any]) -> list[Finding]:
    found = []
    if told["proxy_trusted"]:
        if forged.get("address") == FORGED_ADDRESS:
            found.append(
                Finding(
                    "proxy", False, "a visitor can choose its own address", "let the proxy set X-Forwarded-For, or append to it"
                )
            )
        elif told["forwarded"]:
            found.append(Finding("proxy", True, "the proxy is trusted and tells the visitor's address"))
        else:
            found.append(
                Finding(
                    "proxy", False, "the proxy is trusted but tells no address", "let the proxy add X-Forwarded-For to each request"
                )
            )
    elif told["peer_is_private"] and told["forwarded"]:
        found.append(
            Finding(
                "proxy",
                False,
                "every visitor has the proxy's address and no place",
                "name the proxy's network in server.trusted_proxies",
            )
        )
    else:
        found.append(Finding("proxy", True, "no proxy is trusted, and forged headers change nothing"))
    if forged.get("country") == FORGED_COUNTRY:
        found.append(
            Finding(
                "place", False, "a visitor can choose its own country", "let the proxy overwrite or remove geo headers of requests"
            )
        )
    elif told.get("country"):
        found.append(Finding("place", True, "the country of this machine is known"))
    else:
        found.append(
            Finding(
                "place",
                None,
                "the country of this machine is not known: the policy with when_country_unknown governs",
                "a CDN's country header gives the place",
            )
        )
    return found


def _ready(told: Mapping[str, Any]) -> Finding:
    if told["problems"]:
        return Finding("ready", False, "; ".join(told["problems"]), "`ebbgate doctor` on the gateway's machine, and its log")
    return Finding("ready", True, f"{told['policies']} policies loaded, the store can be written, version {told['version']}")


def _safari(url: str, origins: Sequence[str], resolver: Resolve) -> list[Finding]:
    """Safari shortens a cookie's life to seven days when the first half of the addresses of page and gateway differs."""
    host = urlsplit(url).hostname or ""
    pages = sorted({urlsplit(origin).hostname or "" for origin in origins})
    if not pages:
        return [Finding("safari", None, "no page to compare with", "name the site's origins in the settings, or with --page")]
    found = []
    for page in pages:
        if page == host:
            found.append(Finding("safari", True, f"{page}: page and gateway are one host"))
            continue
        try:
            near = {_first_half(a) for a in resolver(page)} & {_first_half(a) for a in resolver(host)}
        except OSError:
            found.append(Finding("safari", None, f"{page}: its addresses cannot be found", "run it where the names resolve"))
            continue
        if near:
            found.append(Finding("safari", True, f"{page}: page and gateway are neighbours in the network"))
        else:
            found.append(
                Finding(
                    "safari",
                    False,
                    f"{page}: page and gateway are far apart, so Safari keeps the cookie for seven days only",
                    "put the gateway on a path of the site's own origin: see docs/guides/reverse-proxy.md",
                )
            )
    return found


def _first_half(address: str) -> bytes:
    packed = ipaddress.ip_address(address.partition("%")[0]).packed
    return packed[: len(packed) // 2]
