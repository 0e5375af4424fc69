"""Which duplicate keys are claimed: exact, in memory, without an index that decays.

The segment being written has a set. A sealed one has its keys in one run of bytes, grouped by their last bits, searched in
C within a group of about eight: 16 bytes a key and no false answer. A sieve before them ends nearly every look-up of a new
key after one step, however many segments there are. Conversions are known over the whole window, other events over the
newest segments (specs/performance.md §9.3, specs/reliability.md §2.5).

Groups and sieve use the end of a key: that is an HMAC's, evenly spread. Its first byte is not (it tells the trust class).
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

KEY: Final = 16  #: bytes
_GROUP: Final = 8  #: keys a bucket, about
_MAX_BITS: Final = 16


class KeyIndex:
    """An immutable set of 16-byte keys in 16 bytes each."""

    __slots__ = ("_blob", "_offsets", "_shift")

    def __init__(self, blob: bytes, offsets: bytes) -> None:
        """`offsets`: for each bucket and one more, the number of keys before it, 4 bytes little endian."""
        self._blob = blob
        self._offsets = array("I")
        self._offsets.frombytes(offsets)
        self._shift = _MAX_BITS - (len(self._offsets) - 1).bit_length() + 1
        if self._offsets[-1] * KEY != len(blob):
            raise ValueError("the key index does not fit its offsets")

    @classmethod
    def of(cls, groups: Iterable[tuple[int, bytes]], count: int) -> KeyIndex:
        """Build from (last two bytes as a number, all keys that end so), ascending; `count` keys in about all."""
        bits = min(_MAX_BITS, max(0, (count // _GROUP).bit_length()))
        shift = _MAX_BITS - bits
        offsets = array("I", bytes(4 * ((1 << bits) + 1)))
        parts: list[bytes] = []
        total, bucket = 0, 0
        for prefix, keys in groups:
            here = prefix >> shift
            while bucket < here:
                bucket += 1
                offsets[bucket] = total
            parts.append(keys)
            total += len(keys) // KEY
        while bucket < 1 << bits:
            bucket += 1
            offsets[bucket] = total
        return cls(b"".join(parts), offsets.tobytes())

    def parts(self) -> tuple[bytes, bytes]:
        """(keys, offsets) as they are stored."""
        return self._blob, self._offsets.tobytes()

    def __len__(self) -> int:
        return len(self._blob) // KEY

    def __contains__(self, key: bytes) -> bool:
        bucket = (key[14] << 8 | key[15]) >> self._shift
        low, high = self._offsets[bucket] * KEY, self._offsets[bucket + 1] * KEY
        at = self._blob.find(key, low, high)
        while at >= 0 and (at - low) % KEY:  # a match across two neighbours is none
            at = self._blob.find(key, at + 1, high)
        return at >= 0


class Sieve:
    """Says "never seen" or "perhaps" of a key, so that most look-ups end after one step: a bitmap, two generations of it.

    `turn` begins a new generation and forgets the one before the last. Bits are only ever added, so one thread may add
    while another asks.
    """

    __slots__ = ("_mask", "_new", "_old", "_size")

    def __init__(self, bits: int = 26) -> None:
        """2^`bits` bits for each generation: 16 a key keep one answer in sixteen a false "perhaps"."""
        self._size = 1 << bits >> 3
        self._mask = (1 << bits) - 1
        self._new = bytearray(self._size)
        self._old = bytearray(self._size)

    def add(self, blob: bytes) -> None:
        """Take in keys of 16 bytes each."""
        mask, bitmap = self._mask, self._new
        for word in memoryview(blob).cast("I")[2 :: KEY // 4]:
            at = word & mask
            bitmap[at >> 3] |= 1 << (at & 7)

    def perhaps(self, key: bytes) -> bool:
        """False when the key was not added in this generation or the last."""
        at = int.from_bytes(key[8:12], sys.byteorder) & self._mask
        return bool((self._new[at >> 3] | self._old[at >> 3]) >> (at & 7) & 1)

    def turn(self) -> None:
        """Begin a new generation."""
        self._old = self._new  # first: in between, both are the last generation, and nothing is forgotten
        self._new = bytearray(self._size)


Keys = set[bytes] | KeyIndex


@dataclass(slots=True)
class _Sealed:
    segment: int
    last_ms: int
    keys: Keys
    conversions: Keys


class DuplicateWindow:
    """All claims that still count. Asked by the writer alone; `prepare` may run on another thread."""

    def __init__(self, *, window_ms: int, recent: int) -> None:
        self._window_ms = window_ms
        self._recent = recent
        self.active: set[bytes] = set()  #: claims of the segment being written
        self.active_conversions: set[bytes] = set()
        self._sealed: list[_Sealed] = []
        self._sieve, self._conversions = Sieve(), Sieve(24)
        self._prepared = 0  # segments in this generation of the sieve
        self._turned_ms = 0
        self._arrange()

    def any_claimed(self, keys: Sequence[bytes], *, conversion: bool) -> bool:
        """True when one of the keys is taken."""
        if not self.active.isdisjoint(keys):
            return True
        return bool(self._sealed) and any(self.claimed(key, conversion=conversion) for key in keys)

    def claimed(self, key: bytes, *, conversion: bool) -> bool:
        """True when the key is taken: anywhere in the window for a conversion, in the recent segments otherwise."""
        if key in self.active:
            return True
        for keys in self._sets:
            if key in keys:
                return True
        if self._indexes and self._sieve.perhaps(key):
            for index in self._indexes:
                if key in index:
                    return True
        if conversion:
            for keys in self._old_sets:
                if key in keys:
                    return True
            if self._old_indexes and self._conversions.perhaps(key):
                return any(key in index for index in self._old_indexes)
        return False

    def add(self, keys: Iterable[bytes], conversions: Iterable[bytes]) -> None:
        """Claims that are now durable."""
        self.active.update(keys)
        self.active_conversions.update(conversions)

    def seal(self, segment: int, last_ms: int) -> None:
        """The active segment is full: its claims stay as they are until `replace` brings their index."""
        self._sealed.append(_Sealed(segment, last_ms, self.active, self.active_conversions))
        self.active, self.active_conversions = set(), set()
        self._forget(last_ms)

    def restore(self, segment: int, last_ms: int, keys: Keys, conversions: Keys) -> None:
        """A sealed segment found at start, oldest first."""
        if isinstance(keys, KeyIndex) and isinstance(conversions, KeyIndex):
            self.prepare(keys, conversions, last_ms)
        self._sealed.append(_Sealed(segment, last_ms, keys, conversions))
        self._arrange()

    def prepare(self, keys: KeyIndex, conversions: KeyIndex, last_ms: int) -> None:
        """Before `replace`: the slow part. A generation of the sieves outlives what they must still know."""
        if self._prepared >= self._recent:
            self._sieve.turn()
            self._prepared = 0
        if last_ms - self._turned_ms > self._window_ms:
            self._conversions.turn()
            self._turned_ms = last_ms
        self._prepared += 1
        self._sieve.add(keys.parts()[0])
        self._conversions.add(conversions.parts()[0])

    def replace(self, segment: int, keys: KeyIndex, conversions: KeyIndex) -> None:
        """The compact index of a sealed segment is ready and prepared."""
        for one in self._sealed:
            if one.segment == segment:
                one.keys, one.conversions = keys, conversions
        self._forget(max((s.last_ms for s in self._sealed), default=0))

    def expired_before(self, now_ms: int) -> int:
        """The highest segment whose claims have left the window, 0 for none."""
        return max((s.segment for s in self._sealed if s.last_ms + self._window_ms < now_ms), default=0)

    def _forget(self, now_ms: int) -> None:
        self._sealed = [s for s in self._sealed if s.last_ms + self._window_ms >= now_ms]
        self._arrange()

    def _arrange(self) -> None:
        cut = max(0, len(self._sealed) - self._recent)
        old, new = self._sealed[:cut], self._sealed[cut:]
        for one in old:
            one.keys = one.conversions  # the others are not asked for any more: free the memory
        self._sets = [s.keys for s in reversed(new) if isinstance(s.keys, set)]
        self._indexes = [s.keys for s in reversed(new) if isinstance(s.keys, KeyIndex)]
        self._old_sets = [s.conversions for s in reversed(old) if isinstance(s.conversions, set)]
        self._old_indexes = [s.conversions for s in reversed(old) if isinstance(s.conversions, KeyIndex)]
