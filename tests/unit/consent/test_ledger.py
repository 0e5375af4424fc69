from __future__ import annotations

import pytest

from ebbgate.consent.ledger import Choice, Held, held, in_force, merge, still_allowed, withdrawal, withdrawn
from ebbgate.model import ConsentState
from tests.unit.consent.build import DAY_MS, NOW_MS

G, D, U = ConsentState.GRANTED, ConsentState.DENIED, ConsentState.UNKNOWN


def test_newest_choice_wins() -> None:
    """A later choice replaces an earlier one in either direction, an earlier one changes nothing."""
    stored = {"ads": Choice(G, NOW_MS), "stats": Choice(D, NOW_MS)}
    merged = merge(stored, {"ads": Choice(D, NOW_MS + 1), "stats": Choice(G, NOW_MS - 1), "new": Choice(G, NOW_MS)}, NOW_MS)
    assert {name: choice.state for name, choice in merged.items()} == {"ads": D, "stats": D, "new": G}


def test_refusal_wins_a_tie() -> None:
    """Two choices of the same millisecond: the refusal counts, in either order."""
    for first, second in ((G, D), (D, G)):
        assert merge({"a": Choice(first, NOW_MS)}, {"a": Choice(second, NOW_MS)}, NOW_MS)["a"].state is D


def test_future_times_are_brought_back() -> None:
    """A grant dated years ahead cannot outlast the visitor's next withdrawal."""
    merged = merge({}, {"a": Choice(G, NOW_MS + 400 * DAY_MS)}, NOW_MS)
    assert merge(merged, withdrawal(["a"], NOW_MS + 1), NOW_MS + 1)["a"].state is D


def test_unknown_is_no_choice() -> None:
    """An answer that is neither granted nor denied is not recorded."""
    assert merge({"a": Choice(G, 1)}, {"a": Choice(U, 2), "b": Choice(U, 2)}, NOW_MS) == {"a": Choice(G, 1)}


def test_grants_age_and_refusals_do_not() -> None:
    """After 13 months a grant has ended; a refusal still holds."""
    old = NOW_MS - 396 * DAY_MS
    assert in_force({"a": Choice(G, old), "b": Choice(D, old), "c": Choice(G, NOW_MS)}, NOW_MS) == {"b": "denied", "c": "granted"}


@pytest.mark.parametrize(
    ("receipt", "ledger", "allowed"),
    [
        ({"ads": "granted"}, {}, True),
        ({"ads": "granted"}, {"ads": "granted"}, True),
        ({"ads": "granted"}, {"stats": "denied"}, True),
        ({"ads": "granted"}, {"ads": "denied"}, False),
        ({"ads": "granted"}, {"ads": "whatever"}, False),
        ({"ads": "denied"}, {"ads": "granted"}, False),
        ({"ads": "unknown"}, {"ads": "granted"}, False),
        ({}, {"ads": "granted"}, False),
    ],
)
def test_receipt_and_now(receipt: dict[str, str], ledger: dict[str, str], allowed: bool) -> None:
    """What was not granted at receipt never leaves, and what was withdrawn since does not either."""
    assert still_allowed(receipt, ("ads",), ledger) is allowed
    assert withdrawn(receipt, ("ads",), ledger) == (() if allowed else ("ads",))


def test_nothing_needed() -> None:
    """`needs: nothing` asks nobody."""
    assert still_allowed({}, (), {"ads": "denied"})


@pytest.mark.parametrize(
    ("receipt", "ledger", "expected"),
    [
        ({}, {}, Held.WAIT),
        ({"ads": "unknown"}, {"other": "denied"}, Held.WAIT),
        ({}, {"ads": "granted"}, Held.WAIT),
        ({}, {"ads": "granted", "stats": "granted"}, Held.RELEASE),
        ({"stats": "granted"}, {"ads": "granted"}, Held.RELEASE),
        ({}, {"ads": "denied"}, Held.SHRED),
        ({}, {"ads": "granted", "stats": "odd"}, Held.SHRED),
        ({"ads": "denied"}, {"ads": "granted", "stats": "granted"}, Held.SHRED),
    ],
)
def test_held_events(receipt: dict[str, str], ledger: dict[str, str], expected: Held) -> None:
    """Released only when everything needed is granted; any refusal shreds; otherwise it waits."""
    assert held(("ads", "stats"), receipt, ledger, NOW_MS + 1, NOW_MS) is expected


def test_held_events_expire() -> None:
    """At its time a held event is shredded, whatever the ledger says."""
    assert held(("ads",), {}, {"ads": "granted"}, NOW_MS, NOW_MS) is Held.SHRED
