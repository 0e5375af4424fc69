"""The stored forms of what may leave: MessagePack that the store encrypts.

Two forms, told apart by their first byte. *One*: everything about one destination in one array of fifteen members. *Together*: what
several destinations get of one event, written once (`shared`), and for each a constant `record` that says what the values are and
which are its own; `shared + record` is one array of four members, and that concatenation is all that a store must know. What waits
for a retry or lies as a dead letter is kept in the form *one*: it outlives the event's other deliveries, and must not keep their values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from ebbgate.errors import StoreError
from ebbgate.model import Value

StoredScalar: TypeAlias = str | int | float | bool
StoredValue: TypeAlias = str | int | float | bool | list[str | int | float | bool | dict[str, str | int | float | bool]]

_pack: Final = msgspec.msgpack.Encoder().encode
_ARRAY_OF_4: Final = b"\x94"
VERSION: Final = 2  #: of the form *together*


class One(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """All about one destination. New members go to the end with a default, so that older rows still load."""

    destination: str
    id: str
    name: str
    time_ms: int
    site: str
    fields: dict[str, StoredValue]
    hashed: list[str]
    flags: dict[str, StoredScalar]
    consent: dict[str, str]
    google: dict[str, str]
    expires_ms: int
    needs: list[str]
    limited: bool
    policy: str
    policy_file: str


class Record(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What is constant about one destination. Numbers are slots of the shared values; negative ones count from the end."""

    destination: str
    fields: list[int]  #: slots of the fields that leave, in their order
    id: int
    time_ms: int
    expires_ms: int | None
    hashed: list[str]
    flags: dict[str, StoredScalar]
    consent: dict[str, str]
    google: dict[str, str]
    needs: list[str]
    limited: bool
    policy: str
    policy_file: str


class _Together(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    version: int
    values: list[StoredValue | None]  #: None = could not be treated as told, so it is left out
    paths: list[str]  #: of each value; "" for one that is no field
    record: Record


#: Slots of the shared values that every event has.
NAME_SLOT: Final = -1
SITE_SLOT: Final = -2

_one: Final = msgspec.msgpack.Decoder(One).decode
_together: Final = msgspec.msgpack.Decoder(_Together).decode


def pack_one(row: Sequence[object]) -> bytes:
    """The members of `One` in their order → bytes. Raises OverflowError or UnicodeEncodeError: see `storable`."""
    return _pack(row)


_HEAD: Final = _ARRAY_OF_4 + _pack(VERSION)


def pack_shared(values: Sequence[Value | None]) -> bytes:
    """The shared part of one event: the values of its slots."""
    try:
        return _HEAD + _pack(values)
    except (OverflowError, UnicodeEncodeError):
        return _HEAD + _pack([storable(value) for value in values])


def pack_record(paths: Sequence[str], record: Record) -> bytes:
    """What follows it for one destination: the path of each slot, and the destination's record."""
    return _pack(paths) + _pack(record)


def unpack(data: bytes) -> One:
    """Either form → all about its one destination. Raises StoreError when the bytes are neither."""
    try:
        return _own_part(_together(data)) if data[:1] == _ARRAY_OF_4 else _one(data)
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError, TypeError):
        raise StoreError("a stored event does not decode", code="stored_event") from None


def alone(data: bytes) -> bytes:
    """Either form → the form *one*: without the values that stand beside it for other destinations. Raises StoreError as `unpack`."""
    return _pack(unpack(data)) if data[:1] == _ARRAY_OF_4 else data


def _own_part(both: _Together) -> One:
    own, values, paths = both.record, both.values, both.paths
    if both.version != VERSION or len(paths) != len(values):
        raise IndexError("not of this version")
    fields: dict[str, Any] = {paths[slot]: values[slot] for slot in own.fields if values[slot] is not None}
    return msgspec.convert(
        (
            own.destination, values[own.id], values[NAME_SLOT], values[own.time_ms], values[SITE_SLOT], fields, own.hashed,
            own.flags, own.consent, own.google, 0 if own.expires_ms is None else values[own.expires_ms], own.needs, own.limited,
            own.policy, own.policy_file,
        ),
        One,
    )  # fmt: skip


def storable(value: Value | None) -> object:
    """Integers over 64 bits as text, text without lone surrogates."""
    if isinstance(value, tuple):
        return [{k: storable(v) for k, v in i.items()} if isinstance(i, Mapping) else storable(i) for i in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return str(value)
    return value


def as_value(value: StoredValue) -> Value:
    """A list of the stored form as the tuple that it was."""
    if not isinstance(value, list):
        return value
    items = tuple(item for item in value if isinstance(item, dict))
    return items if items else tuple(item for item in value if not isinstance(item, dict))
