"""orestbida's cookieconsent v3: `cc_cookie`, JSON with the accepted categories (specs/consent.md §5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ebbgate.consent.cmp_cookies.reading import CmpReading, decoded, json_object, normalized, strings
from ebbgate.errors import SignalError

CMP: Final = "cookieconsent_v3"
COOKIES: Final = ("cc_cookie",)
PREFIXES: Final = ()
_NAMES: Final = {name: name for name in ("necessary", "functional", "analytics", "marketing", "social")}


def read(cookies: Mapping[str, str]) -> CmpReading | None:
    """A category of the site that is not among the accepted ones was refused; `services` names them all."""
    raw = cookies.get("cc_cookie")
    if raw is None:
        return None
    fields = json_object(decoded(raw))
    accepted = strings(fields.get("categories"))
    services = fields.get("services", {})
    if not isinstance(services, dict):
        raise SignalError("services are not an object", code="cookie")
    categories = {name: name in accepted for name in (*services, *accepted)}
    expires = fields.get("expirationTime")
    return CmpReading(
        CMP,
        choice_made=True,
        categories=categories,
        normalized=normalized(categories, _NAMES),
        expires_ms=expires if isinstance(expires, int) and not isinstance(expires, bool) else None,
    )
