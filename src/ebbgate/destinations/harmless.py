"""What a platform that takes people as hashes may see of texts, addresses and properties: nothing that looks like a person.

A second line: a policy has decided already what leaves. Here an e-mail address in a page's address, in a search or in a property of
the site's own is caught that a policy let out without meaning to (issue 5: no raw e-mail, phone or name in any body or URL).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlencode, urlunsplit

from ebbgate.destinations.reading import properties, split_url, text
from ebbgate.fields import CLICK_IDS
from ebbgate.model import CleanEvent

_EMAIL_INSIDE = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
_PHONE = re.compile(r"\+\d[\d ()./-]{6,20}\Z")
_PERSONAL_WORDS: Final = r"(?:e?-?mail|phone|telephone|mobile|first_?name|last_?name|full_?name|surname|street|birth|password|iban)"
_PERSONAL_NAME = re.compile(rf"(?:^|[._-]){_PERSONAL_WORDS}", re.IGNORECASE)
#: An address without one of these has nothing to take out: an at sign or a plus, plain or encoded, or a telling name.
_SUSPICIOUS_URL = re.compile(rf"@|%40|\+\d|%2b|[?&._-]{_PERSONAL_WORDS}|[?&][^=&]*%", re.IGNORECASE)
_CLICK_PARAMETERS: Final = frozenset({*CLICK_IDS, "gclsrc", "gad_source", "_gl"})


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
    """An address without parameters that hold an e-mail address or are named like one; None when its path holds one."""
    found = text(clean, path)
    if found is None or not _SUSPICIOUS_URL.search(found):
        return found
    parts = split_url(found)
    if parts is None or "@" in parts.netloc:
        return None
    if any(_EMAIL_INSIDE.search(part) for part in unquote(f"{parts.path}/{parts.fragment}").split("/")):
        return None
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(k, v) for k, v in pairs if not (_personal_name(k) or _EMAIL_INSIDE.search(v) or _PHONE.match(v))]
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
