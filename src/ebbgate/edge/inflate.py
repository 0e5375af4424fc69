"""Compressed bodies within bounds: RudderStack's server clients gzip by default. A small body cannot become a large one unseen."""

from __future__ import annotations

import zlib
from http import HTTPStatus
from typing import Final

from ebbgate.errors import RequestError

_GZIP_ONLY: Final = 16 + zlib.MAX_WBITS


def gunzip(raw: bytes, *, max_bytes: int) -> bytes:
    """One gzip member, whole. Raises RequestError 413 for more than `max_bytes` inside, 400 for anything but exactly one."""
    stream = zlib.decompressobj(_GZIP_ONLY)
    try:
        found = stream.decompress(raw, max_bytes + 1)
    except zlib.error:
        raise _broken() from None
    if len(found) > max_bytes:
        raise RequestError(
            f"the body is larger than {max_bytes} bytes once decompressed",
            status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            code="too_big",
            hint="send several smaller requests",
        )
    if not stream.eof or stream.unused_data:
        raise _broken()
    return found


def _broken() -> RequestError:
    return RequestError("the body is not one whole gzip member", code="gzip_broken", hint="compress it once, or send it as it is")
