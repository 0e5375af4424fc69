"""Payloads in the store: what they share is written once, each opens whole, and in its own place only."""

from __future__ import annotations

import pytest

from ebbgate.errors import StoreBroken
from ebbgate.store.keys import KeyRing
from ebbgate.store.sealing import open_body, open_ends, open_shared, seal_body, seal_ends, seal_shared

KEYS = KeyRing.ephemeral()


def test_payloads_come_back_whole() -> None:
    """An event's body opens under its own key only, and never as another kind of bytes."""
    sealed = seal_body(KEYS, b"k" * 16, {"ga4": b"1", "meta": b""})
    assert open_body(KEYS, b"k" * 16, sealed) == {"ga4": b"1", "meta": b""}
    for wrong in (lambda: open_body(KEYS, b"x" * 16, sealed), lambda: open_shared(KEYS, b"k" * 16, sealed)):
        with pytest.raises(StoreBroken):
            wrong()


def test_what_payloads_share_opens_for_its_event_only() -> None:
    """The shared part is bound to its event, the ends to their segment and number."""
    shared, ends = seal_shared(KEYS, b"k" * 16, b"all"), seal_ends(KEYS, 3, 7, {"ga4": b"1"})
    assert (open_shared(KEYS, b"k" * 16, shared), open_ends(KEYS, 3, 7, ends)) == (b"all", {"ga4": b"1"})
    for wrong in (
        lambda: open_shared(KEYS, b"x" * 16, shared),
        lambda: open_ends(KEYS, 3, 8, ends),
        lambda: open_ends(KEYS, 4, 7, ends),
    ):
        with pytest.raises(StoreBroken):
            wrong()
