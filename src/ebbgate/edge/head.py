"""A request's head, read once: only the headers and cookies that a later stage may need are kept.

On a first-party host all of the site's cookies arrive, its session among them (specs/reliability.md §4.4): names outside the
allow-lists are never even decoded, and `Cookie` and `Authorization` go no further than this file and `sites.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ebbgate.collect import cookies
from ebbgate.collect.request import TOO_MANY
from ebbgate.consent.cmp_cookies import is_consent_cookie
from ebbgate.consent.place import PLACE_HEADERS

#: Headers that may travel with a RawRequest. `cookie` and `authorization` are not among them.
KEPT_HEADERS: Final = frozenset({"user-agent", "accept-language", "sec-gpc", "dnt", "content-type", "referer"})
#: Header → what of `Head` it fills: all that are read, found in one look.
_READ: Final[dict[bytes, tuple[str, str]]] = {
    **{name.encode(): (name, "kept") for name in KEPT_HEADERS},
    **{name.encode(): (name, "place") for name in PLACE_HEADERS},
    b"content-type": ("content-type", "type"),
    b"origin": ("origin", "origin"),
    b"cookie": ("cookie", "cookie"),
    b"authorization": ("authorization", "authorization"),
    b"x-forwarded-for": ("x-forwarded-for", "forwarded"),
    b"content-length": ("content-length", "length"),
    b"content-encoding": ("content-encoding", "encoding"),
}
MAX_COOKIE_HEADER: Final = 16 * 1024
MAX_COOKIES: Final = 200


class Head:
    """What the head of one request says. Reads the ASGI scope's header list exactly once."""

    __slots__ = (
        "authorization",
        "content_encoding",
        "content_length",
        "content_type",
        "cookie",
        "forwarded_for",
        "headers",
        "origin",
        "place_headers",
    )

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self.origin: str | None = None
        self.authorization: str | None = None
        self.content_type = ""
        self.content_encoding = ""
        self.content_length: int | None = None
        self.cookie: bytes = b""
        self.forwarded_for: list[str] = []
        kept: list[tuple[str, str]] = []
        of_place: list[tuple[str, str]] = []
        for raw, value in scope["headers"]:
            read = _READ.get(raw)
            if read is None:
                continue
            name, what = read
            if what == "kept":
                kept.append((name, value.decode("latin-1")))
            elif what == "origin":
                self.origin = value.decode("latin-1")
            elif what == "length":
                self.content_length = int(value) if value.isdigit() and len(value) < 16 else -1
            elif what == "type":
                text = value.decode("latin-1")
                kept.append((name, text))
                self.content_type = text.partition(";")[0].strip().lower()
            elif what == "place":
                pair = (name, value.decode("latin-1"))
                kept.append(pair)
                of_place.append(pair)
            elif what == "cookie":
                self.cookie = self.cookie + b"; " + value if self.cookie else value
            elif what == "forwarded":
                self.forwarded_for.append(value.decode("latin-1"))
            elif what == "authorization":
                self.authorization = value.decode("latin-1")
            else:
                self.content_encoding = value.decode("latin-1").strip().lower()
        self.headers = tuple(kept)
        self.place_headers = tuple(of_place)  #: those of `headers` that name a place

    def header(self, name: str) -> str | None:
        """First value of a kept header."""
        return next((v for k, v in self.headers if k == name), None)


def one_cookie(raw: bytes, name: str) -> str | None:
    """Value of the first cookie of this name; None when there is none, or it is not printable ASCII."""
    if not raw or len(raw) > MAX_COOKIE_HEADER:
        return None
    wanted = name.encode("ascii")
    for part in raw.split(b";", MAX_COOKIES)[:MAX_COOKIES]:
        found, eq, value = part.strip(b" \t").partition(b"=")
        if eq and found == wanted:
            return value.decode("ascii") if value.isascii() and value.decode("ascii").isprintable() else None
    return None


def read_cookies(raw: bytes) -> tuple[tuple[str, str], ...]:
    """Allow-listed cookies in header order, the first of a name. Names must be plain ASCII tokens (no Unicode blanks: §4.11).

    `TOO_MANY` alone for a header that is too long to be read: what it refused must not look like silence.
    """
    if not raw:
        return ()
    parts = raw.split(b";", MAX_COOKIES) if len(raw) <= MAX_COOKIE_HEADER else []
    if not 0 < len(parts) <= MAX_COOKIES:
        return TOO_MANY
    found: dict[str, str] = {}
    for part in parts:
        name_bytes, eq, value = part.strip(b" \t").partition(b"=")
        if not eq or not name_bytes.isascii():
            continue
        name = name_bytes.decode("ascii")
        if name not in found and (cookies.wanted(name) or is_consent_cookie(name)):
            found[name] = value.decode("latin-1")
    return tuple(found.items())
