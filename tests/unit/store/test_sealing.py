"""A body in the store: what all payloads begin with is written once, and each delivery gets its whole payload back."""

from __future__ import annotations

import pytest

from ebbgate.errors import StoreBroken
from ebbgate.store.keys import KeyRing
from ebbgate.store.sealing import open_body, seal_body

KEYS = KeyRing.ephemeral()


@pytest.mark.parametrize("shared", [b"", b"what all begin with"])
def test_payloads_come_back_whole(shared: bytes) -> None:
    """With and without a shared part; an event's body opens under its own key only."""
    sealed = seal_body(KEYS, b"k" * 16, {"ga4": b"1", "meta": b""}, shared)
    assert open_body(KEYS, b"k" * 16, sealed) == {"ga4": shared + b"1", "meta": shared}
    with pytest.raises(StoreBroken):
        open_body(KEYS, b"x" * 16, sealed)


def test_the_shared_part_is_written_once() -> None:
    """Three destinations cost one copy of what they share."""
    shared = bytes(1000)
    sealed = seal_body(KEYS, b"k" * 16, {"ga4": b"1", "meta": b"2", "webhook": b"3"}, shared)
    assert 1000 < len(sealed) < 1150
