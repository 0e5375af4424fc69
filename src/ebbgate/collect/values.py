"""Values as strangers write them → values of our fields: numbers may come as text, what does not fit is left out. Pure.

Shared by the dialects whose senders are SDKs, tags and plug-ins. The native dialect is stricter: there a wrong type is an error.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from ebbgate.errors import EventError
from ebbgate.fields import FIELDS, Kind
from ebbgate.model import Scalar, Value

MAX_PROPERTIES: Final = 128
MAX_LIST: Final = 1000  #: values of one property; a longer list is left out
MAX_DEPTH: Final = 4  #: of names below `properties`
MAX_ID: Final = 200
MAX_ITEMS: Final = 200
_PROPERTY_NAME: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$ -]{0,63}\Z")
NUMBER: Final = re.compile(r"-?\d{1,15}(?:\.\d{1,10})?\Z", re.ASCII)
_MAX_INTEGER: Final = 2**53


def scalar(found: object, kind: Kind) -> Scalar | None:
    """A value as its field's kind, None for what does not fit (NaN and numbers beyond 2^53 included)."""
    if isinstance(found, bool):
        return found if kind in (Kind.BOOLEAN, Kind.ANY) else None
    if isinstance(found, (int, float)):
        if not abs(found) <= _MAX_INTEGER:  # refuses NaN too
            return None
        return str(found) if kind is Kind.TEXT else None if kind is Kind.BOOLEAN else found
    if isinstance(found, str):
        if kind is Kind.NUMBER:
            text = found.strip()
            return (float(text) if "." in text else int(text)) if NUMBER.match(text) else None
        return None if kind is Kind.BOOLEAN else found
    return None


def put(fields: dict[str, Value], path: str, found: object) -> None:
    """Store a value in its field's kind; what does not fit, and empty text, is left out."""
    known = FIELDS.get(path)
    value = scalar(found, known.kind if known else Kind.ANY)
    if value is not None and value != "":
        fields[path] = value


def copy(source: Mapping[str, Any], names: Mapping[str, str], fields: dict[str, Value]) -> None:
    """`put` every member of `source` that `names` (member → path) knows; a later name of the table wins over an earlier one."""
    for key, path in names.items():
        if (found := source.get(key)) is not None:
            put(fields, path, found)


def item(product: Mapping[str, Any], names: Mapping[str, tuple[str, Kind]]) -> dict[str, Scalar]:
    """One product by a table member → (key, kind); the first member that has a key's value counts."""
    found: dict[str, Scalar] = {}
    for member, (key, kind) in names.items():
        if key in found or product.get(member) is None:
            continue
        value = scalar(product[member], kind)
        if value is not None and value != "":
            found[key] = value
    return found


def own(
    properties: Mapping[str, Any],
    fields: dict[str, Value],
    *,
    prefix: str = "properties",
    placed: Collection[str] = (),
    room: int = MAX_DEPTH,
) -> None:
    """What has no place of its own → `properties.*`; names no policy could write and lists of objects are left out.

    `placed`: names of the top level that already have a place. Raises EventError for more than 128 properties.
    """
    for key, found in _plain(properties, placed):
        path = f"{prefix}.{key}"
        if isinstance(found, Mapping):
            if room > 1:
                own(found, fields, prefix=path, room=room - 1)
        elif isinstance(found, (list, tuple)):
            if 0 < len(found) <= MAX_LIST and all(isinstance(part, (str, int, float, bool)) for part in found):
                fields[path] = tuple(found)
        else:
            put(fields, path, found)
        if len(fields) > MAX_PROPERTIES + len(FIELDS):
            raise EventError(
                f"more than {MAX_PROPERTIES} properties", code="too_many_properties", hint="leave out what no policy names"
            )


def mapping(obj: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A member that is an object, {} when it is absent. Raises EventError for anything else."""
    found = obj.get(key)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise EventError(f"`{key}` is not an object", code="field_type", hint=f'send "{key}": {{…}}')
    return found


def good_id(found: object) -> str | None:
    """An event id of the sender's: printable text of at most 200 characters, or an integer as text; None for anything else."""
    if type(found) is int:
        return str(found)
    return found if isinstance(found, str) and 0 < len(found) <= MAX_ID and found.isprintable() else None


def _plain(properties: Mapping[str, Any], placed: Collection[str]) -> Iterator[tuple[str, Any]]:
    return ((key, found) for key, found in properties.items() if key not in placed and _PROPERTY_NAME.match(key))
