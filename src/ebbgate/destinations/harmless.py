"""What a platform that takes people as hashes may see of texts, addresses and properties: nothing that looks like a person.

A second line: a policy has decided already what leaves. Here an e-mail address in a page's address, in a search or in a property of
the site's own is caught that a policy let out without meaning to (issue 5: no raw e-mail, phone or name in any body or URL).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlencode, urlunsplit

from ebbgate.destinations.kit import Render, Row, Skip
from ebbgate.destinations.reading import items, properties, split_url, text
from ebbgate.fields import CLICK_IDS
from ebbgate.model import CleanEvent, Outcome, Value

_EMAIL_INSIDE = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
_PHONE = re.compile(r"\+\d[\d ()./-]{6,20}\Z")
_PERSONAL_WORDS: Final = r"(?:e?-?mail|phone|telephone|mobile|first_?name|last_?name|full_?name|surname|street|birth|password|iban)"
_PERSONAL_NAME = re.compile(rf"(?:^|[._-]){_PERSONAL_WORDS}", re.IGNORECASE)
#: An address without one of these has nothing to take out: an at sign or a plus, plain or encoded, or a telling name.
_SUSPICIOUS_URL = re.compile(rf"@|%40|\+\d|%2b|[?&._-]{_PERSONAL_WORDS}|[?&][^=&]*%", re.IGNORECASE)
#: Addresses lose only the parameters that are to blame; identities are digests where the platform wants them so.
_READ_WITH_CARE: Final = frozenset({"page.url", "page.referrer", "user.email", "user.phone"})
_CLICK_PARAMETERS: Final = frozenset({*CLICK_IDS, "gclsrc", "gad_source", "_gl"})


def guarded(render: Render) -> Render:
    """`render` of an event without the fields that hold an e-mail address or a telephone number where none belongs.

    For every destination that takes people as hashes (`registry`), those of third parties too. An event whose own name or id is one is
    not sent: both leave as they are.
    """

    def harmless(clean: CleanEvent, settings: Any) -> Row | Skip:
        if _names_somebody(clean.name) or _names_somebody(clean.id):
            return Skip(Outcome.INVALID, "personal_data_in_name_or_id")
        shown = [
            path
            for path, found in clean.fields.items()
            # Nearly every text passes the first two looks: what costs more comes after them.
            if (("@" in found or "+" in found[:3]) and _names_somebody(found) if type(found) is str else _lists_somebody(found))
            and path not in _READ_WITH_CARE
        ]
        return render(_without(clean, shown) if shown else clean, settings)

    return harmless


def _names_somebody(found: str) -> bool:
    if "@" in found:
        return _EMAIL_INSIDE.search(found) is not None
    return "+" in found[:3] and _PHONE.match(found.strip()) is not None


def _lists_somebody(found: Value) -> bool:
    if type(found) is int or type(found) is float or not isinstance(found, tuple):
        return False
    for one in found:
        texts = one.values() if isinstance(one, Mapping) else (one,)
        for each in texts:
            if type(each) is str and ("@" in each or "+" in each[:3]) and _names_somebody(each):
                return True
    return False


def _without(clean: CleanEvent, shown: Collection[str]) -> CleanEvent:
    """The event without these fields; products lose only the keys that are to blame."""
    fields: dict[str, Value] = {path: found for path, found in clean.fields.items() if path not in shown}
    if "order.items" in shown:
        fields["order.items"] = tuple(
            {key: found for key, found in product.items() if not (isinstance(found, str) and _names_somebody(found))}
            for product in items(clean)
        )
    return replace(clean, fields=fields)


def own_properties(clean: CleanEvent) -> dict[str, Any]:
    """`properties` for a platform that takes people as hashes: without names and values that look like a person's own data."""
    return {k: v for k, v in properties(clean).items() if not (_personal_name(k) or _looks_personal(v))}


@lru_cache(maxsize=2048)
def _personal_name(name: str) -> bool:
    return _PERSONAL_NAME.search(name) is not None


def _looks_personal(found: object) -> bool:
    if isinstance(found, str):
        mail = "@" in found and _EMAIL_INSIDE.search(found) is not None
        return mail or ("+" in found and _PHONE.match(found.strip()) is not None)
    return any(_looks_personal(f) for f in found) if isinstance(found, list) else False


def plain_text(clean: CleanEvent, path: str) -> str | None:
    """A text in which no e-mail address stands, for a platform that takes people as hashes."""
    found = text(clean, path)
    return None if found is None or ("@" in found and _EMAIL_INSIDE.search(found)) else found


def address(clean: CleanEvent, path: str) -> str | None:
    """An address without parameters that hold an e-mail address or are named like one; None when its path holds one, or a number."""
    found = text(clean, path)
    if found is None or not _SUSPICIOUS_URL.search(found):
        return found
    parts = split_url(found)
    if parts is None or "@" in parts.netloc:
        return None
    steps = unquote(f"{parts.path}/{parts.fragment}").split("/")
    if any(_names_somebody(step) for step in steps):
        return None
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(k, v) for k, v in pairs if not (_personal_name(k) or _names_somebody(k) or _names_somebody(v))]
    return found if len(kept) == len(pairs) else urlunsplit(parts._replace(query=urlencode(kept, errors="replace"), fragment=""))


def without_click_ids(url: str) -> str:
    """The address without click-id parameters, for use where advertising was refused (specs/destinations.md §1.2)."""
    if "?" not in url:
        return url
    parts = split_url(url)
    if parts is None:
        return url.partition("?")[0]
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(k, v) for k, v in pairs if k.lower() not in _CLICK_PARAMETERS]
    return url if len(kept) == len(pairs) else urlunsplit(parts._replace(query=urlencode(kept, errors="replace")))
