"""What can be done to one value before it leaves: each function takes a value and returns the smaller one, or None.

None means that the value cannot be made safe and the field is left out. Nothing here raises on any input.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, TypeAlias
from urllib.parse import unquote_plus

from ebbgate.fields import ITEM_KEYS, Kind
from ebbgate.model import KnownItems, PlainItems, Scalar, Value

#: (raw value, ISO country or None) → normalised value, or None when there is nothing to hash.
Normaliser: TypeAlias = Callable[[str, str | None], str | None]

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30})://([^/?#\\]*)([^?#]*)(?:\?([^#]*))?")
_PATH_URL: Final = re.compile(r"()()(/(?![/\\])[^?#]*)(?:\?([^#]*))?")
_HOST: Final = re.compile(r"(?:[^\W_]|[-._])+(?::[0-9]{1,5})?\Z|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?\Z")
_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f\\]")
_OCTET: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4: Final = re.compile(rf"((?:{_OCTET}\.){{3}}){_OCTET}\Z")
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}\Z")


def rebuild_url(value: Value, allowed: frozenset[str]) -> str | None:
    """The address without user info, fragment, path parameters and every query parameter that is not in `allowed`.

    Takes absolute addresses and paths that begin with one slash; anything else is None.
    """
    if not isinstance(value, str):
        return None
    return _short_url(value, allowed) if len(value) <= _SHORT_URL else _rebuilt(value, allowed)


def _rebuilt(value: str, allowed: frozenset[str]) -> str | None:
    if _UNSAFE.search(value):
        return None
    found = _URL.match(value) or _PATH_URL.match(value)
    if found is None:
        return None
    scheme, authority, path, query = found.groups()
    if ";" in path:
        path = "/".join(part.partition(";")[0] for part in path.split("/"))
    kept = [piece for piece in query.split("&") if _name(piece) in allowed] if query and allowed else ()
    tail = f"{path}?{'&'.join(kept)}" if kept else path
    if not scheme:
        return tail
    host = authority.rpartition("@")[2]
    return f"{scheme}://{host}{tail}" if _HOST.match(host) else None


#: Pages are seen again and again, so the addresses seen last are remembered.
_KEPT_URLS: Final = 8192
_short_url: Final = lru_cache(maxsize=_KEPT_URLS)(_rebuilt)
_SHORT_URL: Final = 512


@lru_cache(maxsize=64)
def url_rebuilder(allowed: frozenset[str]) -> Callable[[Value], str | None]:
    """`rebuild_url` with this list, which remembers what it made of the addresses that came last: at each event, twice.

    One for a list, whatever else tells the events apart: a memory for each would have no bound.
    """
    known: dict[Value, str | None] = {}

    def rebuild(value: Value) -> str | None:
        try:
            return known[value]
        except (KeyError, TypeError):
            if not isinstance(value, str) or len(value) > _SHORT_URL:
                return rebuild_url(value, allowed)
        if len(known) >= _KEPT_URLS:
            known.clear()
        rebuilt = known[value] = _rebuilt(value, allowed)  # remembered here, and not a second time by `rebuild_url`
        return rebuilt

    return rebuild


def _name(piece: str) -> str:
    name = piece.partition("=")[0]
    return unquote_plus(name) if "%" in name or "+" in name else name


def parameter_names(value: Value) -> tuple[str, ...]:
    """Names of the query parameters of an address, for the story of what was removed."""
    if not isinstance(value, str):
        return ()
    query = value.partition("#")[0].partition("?")[2]
    return tuple(dict.fromkeys(_name(piece) for piece in query.split("&") if piece))


def plain_path(value: Value) -> str | None:
    """A path without query, fragment and path parameters."""
    if not isinstance(value, str):
        return None
    path = value.partition("#")[0].partition("?")[0]
    return "/".join(part.partition(";")[0] for part in path.split("/")) if ";" in path else path


#: The last address and its network: the events of one request share the object.
_last_network: tuple[Value, str] | None = None


def to_network(value: Value) -> str | None:
    """An IP address cut to its network: /24 of version 4, /48 of version 6."""
    global _last_network  # one tuple swapped whole
    memo = _last_network
    if memo is not None and memo[0] is value:
        return memo[1]
    quick = _IPV4.match(value) if isinstance(value, str) else None
    if quick is not None:
        network = f"{quick[1]}0"
        _last_network = (value, network)
        return network
    address = _address(value)
    if address is None:
        return None
    if isinstance(address, IPv4Address):
        return str(IPv4Address(int(address) & 0xFFFFFF00))
    return str(IPv6Address(int(address) >> 80 << 80))


def whole_ip(value: Value) -> str | None:
    """A valid IP address as it is."""
    address = _address(value)
    return None if address is None else str(address)


def _address(value: Value) -> IPv4Address | IPv6Address | None:
    if not isinstance(value, str):
        return None
    try:
        return IPv4Address(value)
    except AddressValueError:
        pass
    try:
        address = IPv6Address(value)
    except AddressValueError:
        return None
    if address.scope_id is not None:
        return None
    return address.ipv4_mapped or address


def no_ip(_: Value) -> None:
    """No address at all."""
    return


def known_items(value: Value) -> Value | None:
    """Products with only the keys of `fields.ITEM_KEYS`, in their types; other keys are the site's own and stay here."""
    if type(value) is PlainItems or (type(value) is KnownItems and all(map(_ITEM_URLS.isdisjoint, value))):
        return value
    if not isinstance(value, tuple):
        return None
    items: list[Mapping[str, Scalar]] = []
    for item in value:
        if not isinstance(item, _MAPPING):
            return None
        kept: dict[str, Scalar] = {}
        for key, scalar in item.items():
            kind = ITEM_KEYS.get(key)
            safe = None if kind is None else _item_value(key, kind, scalar)
            if safe is not None:
                kept[key] = safe
        items.append(kept)
    return tuple(items)


def _item_value(key: str, kind: Kind, value: Scalar) -> Scalar | None:
    if kind is Kind.NUMBER:
        return value if isinstance(value, _NUMBER) and not isinstance(value, bool) else None
    if not isinstance(value, str):
        return None if isinstance(value, bool) else str(value)
    return rebuild_url(value, _NO_PARAMETERS) if key in _ITEM_URLS else value


#: Tuples are checked several times faster than unions and abstract classes; nearly every product is a dict.
_NUMBER: Final = (int, float)
_MAPPING: Final = (dict, Mapping)
_NO_PARAMETERS: Final[frozenset[str]] = frozenset()
_ITEM_URLS: Final = frozenset({"url", "image_url"})


def floor_time(value: Value, step_ms: int) -> int | None:
    """A time in milliseconds cut down to the hour or the day."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) // step_ms * step_ms


def cut_text(value: Value, length: int) -> Value:
    """Text of at most `length` characters; other values as they are."""
    return value[:length] if isinstance(value, str) else value


def hashed(value: Value, country: str | None, normalise: Normaliser) -> str | None:
    """SHA-256 hex of the normalised value; a value that is one already stays. None when nothing is left to hash."""
    text = value.strip() if type(value) is str else _as_text(value)
    if text is None:
        return None
    return _short_hashed(text, country, normalise) if len(text) <= _SHORT_TEXT else _hashed(text, country, normalise)


def _hashed(text: str, country: str | None, normalise: Normaliser) -> str | None:
    if _SHA256.match(text):
        return text.lower()
    normalised = normalise(text, country)
    return hashlib.sha256(normalised.encode("utf-8", "replace")).hexdigest() if normalised else None


#: A visitor's events follow each other with the same address and number: their hashes are remembered for a while.
_short_hashed: Final = lru_cache(maxsize=4096)(_hashed)
_SHORT_TEXT: Final = 256


def pseudonymised(value: Value, path: str, pseudonym: Callable[[str], str]) -> str | None:
    """The keyed pseudonym of a value. The path is part of the input, so that two fields cannot be joined by it."""
    text = _as_text(value)
    return pseudonym(f"{path}\x00{text}") if text else None


def _as_text(value: Value) -> str | None:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool | tuple):
        return None
    return str(value)
