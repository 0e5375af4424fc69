"""What is sealed together opens together, in its own place only."""

from __future__ import annotations

import pytest

from ebbgate.errors import StoreBroken
from ebbgate.store.keys import KeyRing
from ebbgate.store.sealing import (
    open_bodies,
    open_ends,
    open_openings,
    pack_payloads,
    seal_bodies,
    seal_ends,
    seal_openings,
    unpack_payloads,
)

KEYS = KeyRing.ephemeral()
BODIES = [(5, b"k" * 16, b"five"), (9, b"l" * 16, b"")]
OPENINGS = [(5, b"e", b"a"), (6, b"f", b""), (9, b"e", b"c")]


def test_blocks_come_back_whole() -> None:
    """Each row's bytes come back under its row, with the key of the event they belong to."""
    assert open_bodies(KEYS, 3, 5, seal_bodies(KEYS, 3, BODIES)) == {5: (b"k" * 16, b"five"), 9: (b"l" * 16, b"")}
    assert open_openings(KEYS, 3, 5, seal_openings(KEYS, 3, OPENINGS)) == {5: (b"e", b"a"), 6: (b"f", b""), 9: (b"e", b"c")}
    assert unpack_payloads(pack_payloads({"ga4": b"1", "meta": b""})) == {"ga4": b"1", "meta": b""}


def test_a_block_opens_in_its_place_only() -> None:
    """Bytes moved to another row, another segment or another table do not open."""
    bodies, openings = seal_bodies(KEYS, 3, BODIES), seal_openings(KEYS, 3, OPENINGS)
    ends = seal_ends(KEYS, 3, 7, {"ga4": b"1"})
    assert open_ends(KEYS, 3, 7, ends) == {"ga4": b"1"}
    for wrong in (
        lambda: open_bodies(KEYS, 3, 9, bodies),
        lambda: open_bodies(KEYS, 4, 5, bodies),
        lambda: open_bodies(KEYS, 3, 5, openings),
        lambda: open_openings(KEYS, 3, 5, bodies),
        lambda: open_openings(KEYS, 3, 6, openings),
        lambda: open_ends(KEYS, 3, 8, ends),
        lambda: open_ends(KEYS, 4, 7, ends),
    ):
        with pytest.raises(StoreBroken):
            wrong()
