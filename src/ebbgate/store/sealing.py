"""What is encrypted in a store, and which place each ciphertext is bound to: moved bytes do not open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from ebbgate.errors import StoreBroken
from ebbgate.store.keys import KeyRing

_T = TypeVar("_T")
_pack: Final = msgspec.msgpack.Encoder().encode
_payloads: Final = msgspec.msgpack.Decoder(dict[str, bytes])
_bodies: Final = msgspec.msgpack.Decoder(list[tuple[int, bytes, bytes]])
_openings: Final = msgspec.msgpack.Decoder(tuple[list[bytes], list[tuple[int, bytes, int]]])


def pack_payloads(payloads: Mapping[str, bytes]) -> bytes:
    """The body of an event whose payloads have nothing in common."""
    return _pack(dict(payloads))


def unpack_payloads(body: bytes) -> dict[str, bytes]:
    """Destination → whole payload. Raises StoreBroken when it cannot be read."""
    return _decode(_payloads, body)


def seal_bodies(keys: KeyRing, segment: int, rows: Sequence[tuple[int, bytes, bytes]]) -> bytes:
    """Bodies of events in a row, (row, event key, body) each, in one ciphertext bound to its place."""
    return keys.seal(_pack(rows), b"bodies%d.%d" % (segment, rows[0][0]))


def open_bodies(keys: KeyRing, segment: int, first: int, sealed: bytes) -> dict[int, tuple[bytes, bytes]]:
    """Row → (event key, body). The key is the event's: a body beside another event's row is not its own."""
    rows = _decode(_bodies, keys.open(sealed, b"bodies%d.%d" % (segment, first)))
    return {row: (key, body) for row, key, body in rows}


def seal_openings(keys: KeyRing, segment: int, rows: Sequence[tuple[int, bytes, bytes]]) -> bytes:
    """Openings of entries in a row, (row, evidence, opening) each, in one ciphertext bound to its place. Each evidence stands once."""
    seen: dict[bytes, int] = {}
    told = [(row, opening, seen.setdefault(evidence, len(seen))) for row, evidence, opening in rows]
    return keys.seal(_pack((list(seen), told)), b"openings%d.%d" % (segment, rows[0][0]))


def open_openings(keys: KeyRing, segment: int, first: int, sealed: bytes) -> dict[int, tuple[bytes, bytes]]:
    """Row → (evidence, opening); one that was deleted is not there. Raises StoreBroken when it does not open."""
    seen, rows = _decode(_openings, keys.open(sealed, b"openings%d.%d" % (segment, first)))
    try:
        return {row: (seen[number], opening) for row, opening, number in rows}
    except IndexError:
        raise StoreBroken("stored bytes open but cannot be read") from None


def seal_ends(keys: KeyRing, segment: int, number: int, ends: Mapping[str, bytes]) -> bytes:
    """How the payloads of many events end: destination → end. Bound to its place in a segment."""
    return keys.seal(_pack(dict(ends)), b"ends%d.%d" % (segment, number))


def open_ends(keys: KeyRing, segment: int, number: int, sealed: bytes) -> dict[str, bytes]:
    """Inverse of `seal_ends`. Raises StoreBroken when it does not open."""
    return _decode(_payloads, keys.open(sealed, b"ends%d.%d" % (segment, number)))


def seal_opening(keys: KeyRing, nseq: int, opening: bytes) -> bytes:
    """What opens one entry's commitments, bound to its number; b"" when it has none."""
    return keys.seal(opening, b"opening%d" % nseq) if opening else b""


def open_opening(keys: KeyRing, nseq: int, sealed: bytes | None) -> bytes | None:
    """Inverse of `seal_opening`; None once deleted."""
    return keys.open(sealed, b"opening%d" % nseq) if sealed else sealed


def seal_exception(keys: KeyRing, bit: int, position: int, payload: bytes) -> bytes:
    """Payload of a retry or dead letter, bound to its destination and event."""
    return keys.seal(payload, b"exception%d.%d" % (bit, position))


def open_exception(keys: KeyRing, bit: int, position: int, sealed: bytes) -> bytes:
    """Inverse of `seal_exception`."""
    return keys.open(sealed, b"exception%d.%d" % (bit, position))


def seal_held(keys: KeyRing, key: bytes, destination: str, payload: bytes) -> bytes:
    """Payload of a held delivery, bound to its event and destination."""
    return keys.seal(payload, b"held" + key + destination.encode())


def open_held(keys: KeyRing, key: bytes, destination: str, sealed: bytes) -> bytes:
    """Inverse of `seal_held`."""
    return keys.open(sealed, b"held" + key + destination.encode())


def _decode(decoder: msgspec.msgpack.Decoder[_T], data: bytes) -> _T:
    try:
        return decoder.decode(data)
    except msgspec.MsgspecError:
        raise StoreBroken("stored bytes open but cannot be read") from None
