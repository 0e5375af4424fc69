"""`GET {prefix}/t.js`: the browser tag, the same bytes for everybody, cacheable; and the snippet that a page embeds.

The file is built (src/ebbgate/tag/build.py) and comes in the wheel. Its subresource-integrity value changes with each version of
the tag: a page that pins it must take the new snippet when the gateway is updated.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from functools import lru_cache
from http import HTTPStatus
from importlib.resources import files
from typing import Final

from ebbgate.edge.problems import BASE_HEADERS, Headers, MethodNotAllowed, Receive, Scope, Send, answer_problem

CONTENT_TYPE: Final = "text/javascript; charset=utf-8"
#: An hour from any cache, then a day more while it is asked again in the background: an update reaches pages soon.
_CACHE: Final = b"public, max-age=3600, stale-while-revalidate=86400"


@lru_cache(maxsize=1)
def tag_source() -> bytes:
    """The built script."""
    return files("ebbgate").joinpath("tag", "t.min.js").read_bytes()


def integrity(script: bytes | None = None) -> str:
    """Subresource-integrity value of a script, by default the tag: `sha384-…`."""
    digest = hashlib.sha384(tag_source() if script is None else script).digest()
    return "sha384-" + base64.b64encode(digest).decode("ascii")


def snippet(url: str, *, nonce: str = "", pinned: bool = True) -> str:
    """The lines for a page: the queue that takes calls at once, and the script element. `url`: the path prefix or its address."""
    nonced = f' nonce="{nonce}"' if nonce else ""
    pin = f' integrity="{integrity()}" crossorigin="anonymous"' if pinned else ""
    return (
        f"<script{nonced}>window.ebb=window.ebb||function(){{(ebb.q=ebb.q||[]).push(arguments)}}</script>\n"
        f'<script async src="{url}/t.js"{pin}></script>\n'
    )


class TagEndpoint:
    """Serves the tag. Knows nobody: reads no cookie and sets none."""

    def __init__(self) -> None:
        plain = tag_source()
        packed = gzip.compress(plain, 9, mtime=0)
        self._forms = {name: (body, self._headers(body, name)) for name, body in (("", plain), ("gzip", packed))}

    @staticmethod
    def _headers(body: bytes, coding: str) -> Headers:
        own: Headers = [
            (b"content-type", CONTENT_TYPE.encode()),
            (b"cache-control", _CACHE),
            (b"vary", b"Accept-Encoding"),
            (b"etag", b'"' + hashlib.sha256(body).hexdigest()[:32].encode() + b'"'),
            # An integrity check across origins needs the script to be readable; it is the same for everybody.
            (b"access-control-allow-origin", b"*"),
        ]
        if coding:
            own.append((b"content-encoding", coding.encode()))
        replaced = {name for name, _ in own}
        return [*(h for h in BASE_HEADERS if h[0] not in replaced), *own]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """200, 304 for who has it, 405."""
        if scope["method"] not in ("GET", "HEAD"):
            await answer_problem(send, MethodNotAllowed("GET", "HEAD"))
            return
        asked = {name: value for name, value in scope["headers"] if name in (b"accept-encoding", b"if-none-match")}
        codings = [part.strip() for part in asked.get(b"accept-encoding", b"").lower().split(b",")]
        body, headers = self._forms["gzip" if b"gzip" in codings else ""]
        etag = dict(headers)[b"etag"]
        known = [part.strip().removeprefix(b"W/") for part in asked.get(b"if-none-match", b"").split(b",")]
        status = HTTPStatus.NOT_MODIFIED if etag in known else HTTPStatus.OK
        content = body if status is HTTPStatus.OK and scope["method"] == "GET" else b""
        length = [] if status is HTTPStatus.NOT_MODIFIED else [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": int(status), "headers": [*headers, *length]})
        await send({"type": "http.response.body", "body": content})
