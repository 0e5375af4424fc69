"""The source document that RudderStack's JavaScript SDK asks its control plane for before it sends: it keeps all requests on this host.

No destination that a browser would load a script for, no reports of errors or metrics: the SDK then speaks to its data plane alone,
which is this gateway too (`configUrl` and data plane are both the prefix).
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

import msgspec

from ebbgate.errors import RequestError

#: The SDK adds `/sourceConfig/` to its `configUrl`.
PATHS: Final = frozenset({"/sourceConfig", "/sourceConfig/"})
_KEY: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}\Z", re.ASCII)
_OFF: Final = {"enabled": False}


def source_document(key: str | None) -> bytes:
    """JSON of the document for a write key; without one, for nobody: the SDK's probe for ad blockers names none. Raises RequestError."""
    if key is not None and not _KEY.match(key):
        raise RequestError(
            "there is no such source", status=HTTPStatus.NOT_FOUND, code="not_found", hint="use the site's write key"
        )
    return msgspec.json.encode({
        "source": {
            "id": key or "ebbgate",
            "name": "ebbgate",
            "writeKey": key or "",
            "workspaceId": "ebbgate",
            "enabled": True,
            "config": {"statsCollection": {"errors": _OFF, "metrics": _OFF}},
            "destinations": [],
        }
    })  # fmt: skip
