"""What is encrypted in a store, and which place each ciphertext is bound to: moved bytes do not open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from ebbgate.errors import StoreBroken
from ebbgate.store.keys import KeyRing

_T = TypeVar("_T")
_pack: Final = msgspec.msgpack.Encoder().encode
_payloads: Final = msgspec.msgpack.Decoder(dict[str, bytes])
_openings: Final = msgspec.msgpack.Decoder(dict[str, tuple[bytes, bytes]])


def seal_body(keys: KeyRing, key: bytes, payloads: Mapping[str, bytes]) -> bytes:
    """All payloads of one event in one ciphertext, bound to the event's key."""
    return keys.seal(_pack(dict(payloads)), b"event" + key)


def open_body(keys: KeyRing, key: bytes, sealed: bytes) -> dict[str, bytes]:
    """Destination → whole payload. Raises StoreBroken when it does not open."""
    return _decode(_payloads, keys.open(sealed, b"event" + key))


def seal_shared(keys: KeyRing, key: bytes, shared: bytes) -> bytes:
    """What all payloads of one event begin with, bound to the event's key."""
    return keys.seal(shared, b"shared" + key)


def open_shared(keys: KeyRing, key: bytes, sealed: bytes) -> bytes:
    """Inverse of `seal_shared`."""
    return keys.open(sealed, b"shared" + key)


def seal_ends(keys: KeyRing, segment: int, number: int, ends: Mapping[str, bytes]) -> bytes:
    """How the payloads of many events end: destination → end. Bound to its place in a segment."""
    return keys.seal(_pack(dict(ends)), b"ends%d.%d" % (segment, number))


def open_ends(keys: KeyRing, segment: int, number: int, sealed: bytes) -> dict[str, bytes]:
    """Inverse of `seal_ends`. Raises StoreBroken when it does not open."""
    return _decode(_payloads, keys.open(sealed, b"ends%d.%d" % (segment, number)))


def seal_opening(keys: KeyRing, nseq: int, opening: Mapping[str, tuple[bytes, bytes]]) -> bytes:
    """Nonces and values of an entry's commitments, bound to its number; b"" when it has none."""
    return keys.seal(_pack(dict(opening)), b"opening%d" % nseq) if opening else b""


def open_opening(keys: KeyRing, nseq: int, sealed: bytes | None) -> Mapping[str, tuple[bytes, bytes]] | None:
    """Commitment → (nonce, value); None once deleted."""
    if sealed is None:
        return None
    return _decode(_openings, keys.open(sealed, b"opening%d" % nseq)) if sealed else {}


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
