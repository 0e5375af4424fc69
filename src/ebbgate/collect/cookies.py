"""First-party identifiers: cookies that ad and analytics scripts set, and click ids in the address of a page.

Parsed once, here, for every destination (specs/destinations.md §1.2). Everything is written by strangers: names come from a
closed list, values are bounded and printable, the first cookie of a name wins. Nothing here is consent evidence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qsl, urlsplit

MAX_VALUE: Final = 1024
_PRINTABLE = re.compile(r"[\x21-\x7e]+\Z")
_GA = re.compile(r"GA\d+\.[\d-]+\.(\d+\.\d+)\Z")
_GA_SESSION = re.compile(r"GS1\.\d+\.(\d+)(?:\.|\Z)|GS2\.\d+\.s(\d+)(?:\$|\Z)")
_GCL = re.compile(r"GCL\.\d+\.(.+)\Z")
_FB = re.compile(r"fb\.\d+\.\d+\.\S+\Z")
_REDDIT_UUID = re.compile(r"(\d+)\.([0-9a-fA-F-]{36})\Z")

#: cookie → field, taken as it is.
_OPAQUE: Final = {
    "_ttp": "cookie.ttp",
    "ttclid": "click.ttclid",
    "li_fat_id": "click.li_fat_id",
    "_epik": "cookie.epik",
    "_scclid": "click.sccid",
    "_scid": "cookie.scid",
    "_rdt_cid": "click.rdt_cid",
    "twclid": "click.twclid",
    "_uetvid": "cookie.uetvid",
    "_uetsid": "cookie.uetsid",
    "hubspotutk": "cookie.hubspotutk",
}
#: cookie → field, the click id after `GCL.<time>.`.
_GOOGLE_CLICK: Final = {
    "_gcl_aw": "cookie.gcl_aw",
    "FPGCLAW": "cookie.gcl_aw",
    "_gcl_gb": "cookie.gcl_gb",
    "FPGCLGB": "cookie.gcl_gb",
}
_FACEBOOK: Final = {"_fbp": "cookie.fbp", "_fbc": "cookie.fbc"}
_SINGLE: Final = frozenset({"_ga", "_uetmsclkid", "_rdt_uuid", *_OPAQUE, *_GOOGLE_CLICK, *_FACEBOOK})

#: URL parameter → field. Matched as written, but for `ScCid`, which senders write in several ways.
_PARAMETERS: Final = {
    name: f"click.{name}"
    for name in (
        "gclid", "gbraid", "wbraid", "dclid", "fbclid", "msclkid", "ttclid", "li_fat_id", "epik", "rdt_cid", "twclid",
        "irclickid", "yclid",
    )
} | {"ScCid": "click.sccid", "sccid": "click.sccid", "SCCID": "click.sccid"}  # fmt: skip


def wanted(name: str) -> bool:
    """True for a cookie that `cookie_fields` reads: an edge keeps only these."""
    return name in _SINGLE or name.startswith("_ga_")


def printable(raw: str) -> str | None:
    """An identifier without blanks around it: printable ASCII of at most `MAX_VALUE` characters, None for anything else."""
    value = raw.strip()
    return value if value and len(value) <= MAX_VALUE and _PRINTABLE.match(value) else None


def cookie_fields(cookies: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Fields of the identifier cookies among (name, value) pairs, in header order.

    Click ids that have a cookie of their own stand under `click.*`; Google's stand under `cookie.gcl_*`.
    """
    fields: dict[str, str] = {}
    oldest_reddit: int | None = None
    for name, raw in cookies:
        value = printable(raw)
        if value is None:
            continue
        if name in _OPAQUE:
            fields.setdefault(_OPAQUE[name], value)
        elif name in _FACEBOOK:
            if _FB.match(value):
                fields.setdefault(_FACEBOOK[name], value)
        elif name in _GOOGLE_CLICK:
            if found := _GCL.match(value):
                fields.setdefault(_GOOGLE_CLICK[name], found[1])
        elif name == "_ga":
            if (found := _GA.match(value)) and "cookie.ga" not in fields:
                fields["cookie.ga"] = value
                fields["visitor.client_id"] = found[1]
        elif name.startswith("_ga_"):
            if (found := _GA_SESSION.match(value)) and "cookie.ga_session" not in fields:
                fields["cookie.ga_session"] = fields["visitor.session_id"] = found[1] or found[2]
        elif name == "_uetmsclkid":
            if msclkid := value.removeprefix("_uet"):
                fields.setdefault("click.msclkid", msclkid)
        elif name == "_rdt_uuid" and (found := _REDDIT_UUID.match(value)):
            age = int(found[1])
            if oldest_reddit is None or age < oldest_reddit:
                oldest_reddit = age
                fields["cookie.rdt_uuid"] = found[2]
    return fields


def click_fields(url: str) -> dict[str, str]:
    """Click ids among the parameters of a page's address; empty for what is no address."""
    if "?" not in url:
        return {}
    try:
        pairs = parse_qsl(urlsplit(url).query, max_num_fields=256)
    except ValueError:
        return {}
    fields: dict[str, str] = {}
    for name, value in pairs:
        path = _PARAMETERS.get(name)
        if path and 0 < len(value) <= MAX_VALUE and _PRINTABLE.match(value):
            fields.setdefault(path, value)
    return fields
