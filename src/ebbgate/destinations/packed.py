"""JSON lines, compressed, for destinations that are files: zstd with the extra `zstd` installed, else gzip."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Literal, TypeAlias

from ebbgate.destinations import wire

Compression: TypeAlias = Literal["auto", "zstd", "gzip"]
ZSTD: Final = "application/zstd"
GZIP: Final = "application/gzip"
_zstandard: Any = import_module("zstandard") if find_spec("zstandard") is not None else None


@dataclass(frozen=True, slots=True, repr=False)
class Packed:
    """A file's content and how it is to be called."""

    name: str  #: `<first 32 hex digits of the SHA-256 of the lines>.jsonl.<zst|gz>`: a repeat has the same name
    content_type: str
    body: bytes


def usable(chosen: Compression) -> Compression:
    """`chosen` as it is. Raises ValueError for `zstd` where the package `zstandard` is missing."""
    if chosen == "zstd" and _zstandard is None:
        raise ValueError("zstd needs the extra `zstd`: pip install 'ebbgate[zstd]'")
    return chosen


def packed(rows: Iterable[Mapping[str, Any]], chosen: Compression) -> Packed:
    """One line a row. `auto` is zstd where the package `zstandard` is there."""
    lines = b"".join(wire.encode(row) + b"\n" for row in rows)
    digest = sha256(lines).hexdigest()[:32]
    if chosen != "gzip" and _zstandard is not None:
        body: bytes = _zstandard.ZstdCompressor(level=9, write_checksum=True).compress(lines)
        return Packed(f"{digest}.jsonl.zst", ZSTD, body)
    return Packed(f"{digest}.jsonl.gz", GZIP, gzip.compress(lines, compresslevel=6, mtime=0))


def unpacked(body: bytes, content_type: str) -> bytes:
    """The lines of a body that `packed` made; a body of another type as it is."""
    if content_type == GZIP:
        return gzip.decompress(body)
    return unpacked_zstd(body, 64 << 20) if content_type == ZSTD else body


def is_zstd(body: bytes) -> bool:
    """True for a body that begins as a Zstandard frame does (RFC 8878 §3.1.1)."""
    return body[:4] == b"\x28\xb5\x2f\xfd"


def unpacked_zstd(body: bytes, most: int) -> bytes:
    """The lines of one whole frame of at most `most` bytes. Raises ValueError for anything else."""
    if _zstandard is None:
        raise ValueError("packed in a form that is not known")
    try:
        size = _zstandard.frame_content_size(body)
        if not 0 <= size <= most:
            raise ValueError("too long once unpacked, or of unknown length")
        lines: bytes = _zstandard.ZstdDecompressor().decompress(body, allow_extra_data=False)
    except _zstandard.ZstdError:
        raise ValueError("no whole frame of zstd") from None
    return lines
