"""The types of a native event, for a decoder that checks them as it reads, in C: nearly every body fits, and needs no second look.

What does not fit is no error here: `native.py` reads it value by value and says what is wrong, or what it left out. A key that no
type has is dropped while decoding, and found by the same proof as a key that came twice (`strict_json.each_key_once`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import GenericAlias
from typing import Annotated, Any, Final, TypedDict

import msgspec

from ebbgate.collect.native_values import MAX_ITEMS
from ebbgate.collect.strict_json import MAX_INTEGER, MAX_KEYS, each_key_once, may_hold_odd_text, usual
from ebbgate.fields import FIELDS, GROUPS, ITEM_KEYS, Kind

MAX_ID: Final = 200
_CONSENT_LEVELS: Final = 4

_NUMBER: Final = Annotated[int, msgspec.Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)] | float
_KINDS: Final[Mapping[Kind, Any]] = {Kind.TEXT: str, Kind.NUMBER: _NUMBER, Kind.BOOLEAN: bool}
#: In a product an empty text, which is no value, would have to be taken out.
_IN_PRODUCTS: Final = {**_KINDS, Kind.TEXT: Annotated[str, msgspec.Meta(min_length=1)]}


def _object(name: str, parts: Mapping[str, Any]) -> Any:
    return TypedDict(name, parts, total=False)  # type: ignore[operator]  # made of the table of fields, which mypy does not read


#: A product without addresses: these would have to be rebuilt.
_PRODUCT: Final = _object(
    "product", {key: _IN_PRODUCTS[kind] for key, kind in ITEM_KEYS.items() if key not in ("url", "image_url")}
)
_PRODUCTS: Final[Any] = Annotated[GenericAlias(list, (_PRODUCT,)), msgspec.Meta(max_length=MAX_ITEMS)]
_PROPERTIES: Final[Any] = Annotated[GenericAlias(dict, (str, str | _NUMBER | bool)), msgspec.Meta(max_length=MAX_KEYS)]


def _group(name: str) -> Any:
    fields = [known for known in FIELDS.values() if known.group == name]
    return _object(name, {known.path.partition(".")[2]: _KINDS.get(known.kind, _PRODUCTS) for known in fields})


_ENVELOPE: Final = {
    "event": str, "id": Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID)], "time": usual(0), "source": str,
    "type": usual(0), "properties": _PROPERTIES, "consent": usual(_CONSENT_LEVELS),
}  # fmt: skip
_EVENT: Final = _object("event", {**{name: _group(name) for name in GROUPS}, **_ENVELOPE})
_BATCH: Final = _object("batch", {"events": GenericAlias(list, (_EVENT,)), "sent_at": usual(0)})

#: How a batch begins: a server's, and the tag's.
_BATCHES: Final = (b'{"events":', b'{"sent_at":')
_decode_event: Final = msgspec.json.Decoder(_EVENT).decode
_decode_batch: Final = msgspec.json.Decoder(_BATCH).decode


def loads_known(body: bytes) -> Any | None:
    """Decode a body in which every key is known and every value of its type; None where anything is otherwise. Never raises."""
    try:
        value = (_decode_batch if body.startswith(_BATCHES) else _decode_event)(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if not may_hold_odd_text(body) and each_key_once(body, value) else None
