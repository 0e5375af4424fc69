"""Values of a native event: the types of its fields, its products, and the properties that a site adds itself. Pure.

A wrong type is an error that names the path, never the value. What nearly every event holds is looked at first and taken as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from ebbgate.errors import EventError
from ebbgate.fields import FIELDS, ITEM_KEYS, Kind
from ebbgate.model import KnownItems, PlainItems, Scalar, Value

MAX_ITEMS: Final = 200
MAX_PROPERTIES: Final = 256
MAX_LIST: Final = 1000  #: values of one property
PROPERTY_DEPTH: Final = 15
PROPERTIES: Final = "properties"

_ITEM_URLS: Final = frozenset({"url", "image_url"})
#: All texts of a product but its addresses.
_PLAIN_TEXTS: Final = frozenset(key for key, kind in ITEM_KEYS.items() if kind is Kind.TEXT) - _ITEM_URLS
_ITEM_NUMBERS: Final = frozenset(key for key, kind in ITEM_KEYS.items() if kind is Kind.NUMBER)
_PROPERTY_NAME: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$ -]{0,63}")
_SCALARS: Final = frozenset({str, int, float, bool})
_ITEMS: Final = Kind.ITEMS  # looking up a member costs more than the comparison
#: Paths of the names seen last right below `properties`: nearly all there are, and cheaper to find than with the prefix.
_plain_paths: Final[dict[str, str]] = {}
_MAX_PLAIN: Final = 2048


def typed(path: str, kind: Kind, value: Any) -> Value:
    """A value of one field as its kind, or EventError. Text is never empty here: an empty one is no value."""
    if kind is _ITEMS:
        return _items(path, value)
    if kind is Kind.TEXT:
        if type(value) is int:  # ids are often numbers in a shop's own data
            return str(value)
        raise EventError(f"`{path}` is not text", code="field_type", hint="put it in quotes")
    if kind is Kind.NUMBER:
        if type(value) is int or type(value) is float:
            return value
        raise EventError(f"`{path}` is not a number", code="field_type", hint="leave out quotes and currency signs")
    if isinstance(value, bool):
        return value
    raise EventError(f"`{path}` is not true or false", code="field_type", hint="leave out the quotes")


def _items(path: str, value: Any) -> tuple[Mapping[str, Scalar], ...]:
    if not isinstance(value, list):
        raise EventError(f"`{path}` is not a list", code="field_type", hint='send [{"id": "sku", "price": 6, "quantity": 2}]')
    if len(value) > MAX_ITEMS:
        raise EventError(f"`{path}` has more than {MAX_ITEMS} products", code="too_many_items", hint="platforms take at most 200")
    found: list[Mapping[str, Scalar]] = []
    plain = True
    for item in value:
        if not isinstance(item, dict):
            raise EventError(
                f"`{path}` holds something that is not an object", code="field_type", hint='send [{"id": "sku", "price": 6}]'
            )
        for key, part in item.items():
            form = type(part)
            if form is str:
                if not part or key not in _PLAIN_TEXTS:
                    break
            elif (form is not int and form is not float) or key not in _ITEM_NUMBERS:
                break
        else:  # nothing to change: nearly every product
            found.append(item)
            continue
        row: dict[str, Scalar] = {}
        for key, part in item.items():
            kind = ITEM_KEYS.get(key)
            if kind is None or part is None or part == "":
                continue
            if kind is Kind.TEXT and type(part) is int:
                part = str(part)
            if type(part) not in ((str,) if kind is Kind.TEXT else (int, float)):
                raise EventError(
                    f"`{path}[].{key}` is not {'text' if kind is Kind.TEXT else 'a number'}",
                    code="field_type",
                    hint="text in quotes, numbers without",
                )
            row[key] = part
        found.append(row)
        plain = plain and _ITEM_URLS.isdisjoint(row)
    return PlainItems(found) if plain else KnownItems(found)


def flatten(value: Mapping[str, Any], into: dict[str, Value], prefix: str = PROPERTIES, room: int = PROPERTY_DEPTH) -> None:
    """`properties` → `properties.a.b` in `into`, or EventError. `room`: levels that are left.

    A name outside a plain form would be free text in a policy's and a log's place.
    """
    known = _plain_paths if prefix == PROPERTIES else None
    for key, item in value.items():
        path = known.get(key) if known is not None else None
        if path is None:
            path = _property_path(prefix, key)
            if known is not None:
                if len(known) >= _MAX_PLAIN:
                    known.clear()
                known[key] = path
        if type(item) in _SCALARS:
            into[path] = item
        elif isinstance(item, dict):
            if room <= 1:
                raise EventError(
                    f"`properties` is nested deeper than {PROPERTY_DEPTH} levels", code="property_depth", hint="flatten it"
                )
            flatten(item, into, path, room - 1)
        elif isinstance(item, list):
            if len(item) > MAX_LIST:
                raise EventError(
                    f"a list in `properties` has more than {MAX_LIST} values",
                    code="too_many_items",
                    hint="leave out what no policy names",
                )
            if not all(isinstance(part, str | int | float | bool) for part in item):
                raise EventError(
                    "a list in `properties` holds something that is not a plain value",
                    code="field_type",
                    hint="send text, numbers, true or false",
                )
            into[path] = tuple(item)
        elif item is not None:
            into[path] = item
    if len(into) > MAX_PROPERTIES + len(FIELDS):
        raise EventError(
            f"more than {MAX_PROPERTIES} properties", code="too_many_properties", hint="leave out what no policy names"
        )


@lru_cache(maxsize=4096)
def _property_path(prefix: str, key: str) -> str:
    """The path of a property. A site uses the same names in all its events, so the names seen last are not checked again."""
    if not _PROPERTY_NAME.fullmatch(key):
        raise EventError(
            "a name in `properties` is not plain",
            code="property_name",
            hint="letters, digits, _ $ - and blanks, at most 64, no dots",
        )
    return f"{prefix}.{key}"
