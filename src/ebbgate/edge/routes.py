"""The dialects' routes: which path below the prefix is read by which dialect, what it takes, and how it answers.

The answers are the ones that each dialect's clients expect, and the same for every event that is taken: none depends on a decision.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from ebbgate.collect import ecapi, ga4_hits, ga4_protocol, jitsu, pixel, plausible, rudderstack, segment_http
from ebbgate.collect.dialect import Dialect
from ebbgate.edge.body import JSON_TYPES, PLAIN
from ebbgate.edge.problems import JSON

_GIF: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_SUCCESS: Final = b'{"success":true}'
_FORM_TYPES: Final = JSON_TYPES | {"application/x-www-form-urlencoded"}


@dataclass(frozen=True, slots=True)
class Route:
    """One path of one dialect."""

    dialect: Dialect
    methods: frozenset[str] = frozenset({"POST"})
    status: HTTPStatus = HTTPStatus.OK
    answer: bytes = _SUCCESS
    content_type: tuple[bytes, bytes] | None = JSON
    types: frozenset[str] = JSON_TYPES
    codings: frozenset[str] = PLAIN
    invalid: HTTPStatus = HTTPStatus.UNPROCESSABLE_ENTITY  #: when none of the events is one
    servers_only: bool = False
    tells: bool = False  #: answers with `success`, and with what was wrong with which event
    choices: bool = False  #: calls may tell a visitor's choice


def _calls(dialect: Dialect) -> Route:
    codings = PLAIN | {"gzip"}
    return Route(dialect, invalid=HTTPStatus.BAD_REQUEST, types=_FORM_TYPES, codings=codings, tells=True, choices=True)


def _image(dialect: Dialect) -> Route:
    return Route(dialect, frozenset({"GET"}), answer=_GIF, content_type=(b"content-type", b"image/gif"))


_SEGMENT: Final = _calls(segment_http.DIALECT)
_JITSU: Final = _calls(jitsu.DIALECT)
_SINGLE: Final = tuple(name for name, call in segment_http.CALLS.items() if name == call and call != "batch")

ROUTES: Final[dict[str, Route]] = {
    "/g/collect": Route(
        ga4_hits.DIALECT,
        frozenset({"GET", "POST"}),
        HTTPStatus.NO_CONTENT,
        b"",
        None,
        types=_FORM_TYPES,
    ),
    "/mp/collect": Route(ga4_protocol.DIALECT, status=HTTPStatus.NO_CONTENT, answer=b"", content_type=None, types=_FORM_TYPES),
    **{f"/v1/{name}": _SEGMENT for name in segment_http.CALLS},
    "/beacon/v1/batch": _calls(rudderstack.BEACON),
    **{f"/pixel/v1/{name}": _image(rudderstack.PIXEL) for name in ("track", "page")},
    **{f"/api/s/{to}{name}": _JITSU for name in _SINGLE for to in ("", "s2s/")},
    "/api/event": Route(
        plausible.DIALECT, status=HTTPStatus.ACCEPTED, answer=b"ok", content_type=(b"content-type", b"text/plain; charset=utf-8")
    ),
    "/p.gif": _image(pixel.DIALECT),
    "/ecapi/v1/events": Route(ecapi.DIALECT, invalid=HTTPStatus.BAD_REQUEST, servers_only=True, tells=True),
}
