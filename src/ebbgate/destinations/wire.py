"""Requests and answers that most platforms share: JSON bodies, bearer tokens, and the meaning of HTTP statuses.

The rules of what is safe to repeat: specs/destinations.md §1.5 and specs/reliability.md §2.3. The delivery stage reads
`Retry-After` itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

import msgspec

from ebbgate.destinations.kit import Act, Answer, HttpRequest, HttpResponse
from ebbgate.model import Outcome

JSON: Final = ("content-type", "application/json")
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]+\Z")
_QUOTED: Final = tuple(quote_plus(bytes((byte,))) for byte in range(256))  # of each byte, twice as fast as the library's own
_ENCODER = msgspec.json.Encoder()
_PARK: Final = frozenset({401, 403, 404, 410})


def encode(body: object) -> bytes:
    """Compact UTF-8 JSON, keys in the order written. Half characters (lone surrogates) become `?`: no event may spoil a batch."""
    try:
        return _ENCODER.encode(body)
    except UnicodeEncodeError:
        return _ENCODER.encode(_whole(body))


def _whole(found: object) -> object:
    if isinstance(found, str):
        return found.encode("utf-8", "replace").decode()
    if isinstance(found, Mapping):
        return {_whole(k): _whole(v) for k, v in found.items()}
    return [_whole(v) for v in found] if isinstance(found, (list, tuple)) else found


def query(parameters: Mapping[str, object]) -> str:
    """`a=1&b=x+y` of names and values; names are plain words."""
    return "&".join(f"{name}={_quoted(str(value))}" for name, value in parameters.items())


def _quoted(text: str) -> str:
    return text if _PLAIN.match(text) else "".join(map(_QUOTED.__getitem__, text.encode("utf-8", "replace")))


def decode(response: HttpResponse) -> Any:
    """The JSON of an answer, None when it is none (some platforms answer 502 with HTML)."""
    try:
        return msgspec.json.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def member(found: object, *names: str | int) -> Any:
    """What stands under a path of keys and indices in decoded JSON, None when anything on the way is missing."""
    for name in names:
        if isinstance(found, Mapping) and isinstance(name, str):
            found = found.get(name)
        elif isinstance(found, list) and isinstance(name, int) and -len(found) <= name < len(found):
            found = found[name]
        else:
            return None
    return found


def post(
    url: str,
    body: object,
    *,
    headers: tuple[tuple[str, str], ...] = (),
    query: Mapping[str, str] | None = None,
    secret_params: tuple[str, ...] = (),
    secret_headers: tuple[str, ...] = (),
) -> HttpRequest:
    """A POST of JSON (or of bytes as they are)."""
    full = f"{url}?{urlencode(query)}" if query else url
    content = body if isinstance(body, bytes) else encode(body)
    kept = headers if any(k == "content-type" for k, _ in headers) else (JSON, *headers)
    return HttpRequest("POST", full, kept, content, secret_params, secret_headers)


def bearer(url: str, body: object, token: str, headers: tuple[tuple[str, str], ...] = ()) -> HttpRequest:
    """A POST of JSON with `Authorization: Bearer`."""
    return post(url, body, headers=(("authorization", f"Bearer {token}"), *headers), secret_headers=("authorization",))


def by_status(response: HttpResponse, n: int, *, outcome: Outcome = Outcome.DELIVERED) -> Answer:
    """What an HTTP status alone says about a batch of `n` rows. 2xx means `outcome` for every row."""
    status = response.status
    reason = f"http_{status}"
    if 200 <= status < 300:
        return Answer(Act.DONE, outcome, reason=reason)
    if status == 429 or (status == 503 and "retry-after" in response.headers):
        return Answer(Act.RETRY, reason=reason)
    if status in (408, 425) or status >= 500:
        # Perhaps processed: whether a repeat is safe depends on the platform's dedupe key, which the delivery stage knows.
        return Answer(Act.UNKNOWN, reason=reason)
    if status == 413:
        return Answer(Act.HALVE if n > 1 else Act.DONE, Outcome.REJECTED, reason=reason)
    if status in _PARK:
        return Answer(Act.PARK, reason=reason, refresh=status == 401)
    if 400 <= status < 500:
        return rejected(reason, n)
    return Answer(Act.PARK, reason=reason)  # 1xx and 3xx: misconfigured; a redirect is never followed


def refused(errors: object, n: int) -> dict[int, Outcome | Act] | None:
    """Rows of `n` that a list of errors names by index, as REJECTED; None when one names none: then nothing is known of any row.

    The partial failure of Microsoft, Mixpanel and Umami: the others were taken. `errors` None: the answer has no such list.
    """
    rows: dict[int, Outcome | Act] = {}
    if errors is not None and not isinstance(errors, list):
        return None
    for error in errors or ():
        index = member(error, "index")
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < n:
            return None
        rows[index] = Outcome.REJECTED
    return rows


def rejected(reason: str, n: int) -> Answer:
    """A request refused for its content: one row of several may be to blame, so halve; one alone is rejected."""
    return Answer(Act.BISECT, reason=reason) if n > 1 else Answer(Act.DONE, Outcome.REJECTED, reason=reason)
