"""Properties of the in-memory duplicate keys and of a destination's progress, against the simplest model of each."""

from __future__ import annotations

from itertools import groupby, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from ebbgate.errors import StoreError
from ebbgate.model import Trust
from ebbgate.store.duplicates import DuplicateWindow, KeyIndex, Sieve
from ebbgate.store.keys import KeyRing
from ebbgate.store.progress import Progress
from tests.scale import scaled

#: Few distinct bytes, so that keys share prefixes and one key's end can look like another's beginning.
KEYS = st.binary(min_size=16, max_size=16) | st.lists(st.sampled_from(b"ab"), min_size=16, max_size=16).map(bytes)


def index(keys: set[bytes]) -> KeyIndex:
    groups = groupby(sorted(keys, key=lambda k: (k[14:], k)), lambda k: k[14] << 8 | k[15])
    return KeyIndex.of(((prefix, b"".join(same)) for prefix, same in groups), len(keys))


@settings(max_examples=scaled(150), deadline=None)
@given(st.sets(KEYS, max_size=300), st.lists(KEYS, max_size=50))
def test_an_index_is_exactly_its_set(keys: set[bytes], others: list[bytes]) -> None:
    """Every key is found, no other is, also after being stored and read again."""
    for made in (index(keys), KeyIndex(*index(keys).parts())):
        assert len(made) == len(keys)
        assert all(k in made for k in keys)
        assert [k in made for k in others] == [k in keys for k in others]


def test_a_key_across_two_neighbours_is_not_found() -> None:
    """The end of one key and the beginning of the next look like a third: it is not in the index."""
    first, second = b"a" * 14 + b"zz", b"b" * 6 + b"zz" + b"b" * 6 + b"zz"
    made = index({first, second})
    assert (first + second)[8:24] in first + second
    assert (first + second)[8:24] not in made
    assert first in made
    assert second in made


def test_real_keys_are_spread() -> None:
    """Keys as the key ring makes them fall evenly into groups and sieve: a new key is denied at once, in small groups."""
    ring = KeyRing.ephemeral()
    known, new = ([ring.claim_key("shop", Trust.BROWSER, "purchase", f"{when}-{n}") for n in range(4000)] for when in "ab")
    sieve = Sieve(16)
    sieve.add(b"".join(known))
    assert sum(sieve.perhaps(k) for k in new) < 4000 * 0.12  # 4,000 in 65,536 bits: one in sixteen
    offsets = memoryview(index(set(known)).parts()[1]).cast("I")
    assert max(b - a for a, b in pairwise(offsets)) < 40


@settings(max_examples=scaled(100), deadline=None)
@given(st.lists(KEYS, max_size=40), st.lists(KEYS, max_size=40), st.lists(KEYS, max_size=40))
def test_a_sieve_never_says_no_to_what_it_took(first: list[bytes], second: list[bytes], others: list[bytes]) -> None:
    """What was added in this generation or the last is never denied; with room, most other keys are."""
    sieve = Sieve(12)
    sieve.add(b"".join(first))
    sieve.turn()
    sieve.add(b"".join(second))
    assert all(sieve.perhaps(k) for k in first + second)
    sieve.turn()
    assert all(sieve.perhaps(k) for k in second)
    sieve.turn()
    assert not any(sieve.perhaps(k) for k in first + second + others)


@settings(max_examples=scaled(150), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.sampled_from(["add", "seal", "ask"])), max_size=60))
def test_a_window_is_as_long_as_it_says(steps: list[tuple[int, bool, str]]) -> None:
    """Conversions count over the whole window, others over the recent segments, whichever form their keys are in."""
    window = DuplicateWindow(window_ms=1000, recent=2)
    sealed: list[tuple[set[bytes], set[bytes]]] = []
    active: tuple[set[bytes], set[bytes]] = (set(), set())
    for number, conversion, step in steps:
        key = bytes([number]) * 16
        if step == "add":
            window.add([key], [key] if conversion else [])
            active[0].add(key)
            if conversion:
                active[1].add(key)
        elif step == "seal":
            window.seal(len(sealed) + 1, len(sealed))
            if number % 2:
                ready = index(active[0]), index(active[1])
                window.prepare(*ready, len(sealed))
                window.replace(len(sealed) + 1, *ready)
            sealed.append(active)
            active = (set(), set())
        known = active[0].union(*[k for k, _ in sealed[-2:]])
        if conversion:
            known = known.union(*[c for _, c in sealed[:-2]])
        assert window.claimed(key, conversion=conversion) == (key in known)


@settings(max_examples=scaled(150), deadline=None)
@given(st.integers(1, 12), st.lists(st.tuples(st.sets(st.integers(1, 12), max_size=6), st.integers(0, 13)), max_size=12))
def test_a_cursor_never_passes_what_is_not_settled(read: int, steps: list[tuple[set[int], int]]) -> None:
    """Whatever a worker asks: every row that was read and is behind the cursor has been settled."""
    progress = Progress(0)
    progress.hand_out(range(1, read + 1), read)
    settled: set[int] = set()
    for rows, cursor in steps:
        rows = {r for r in rows if r <= read}
        try:
            progress.check(cursor, rows)
        except StoreError:
            assert cursor > read or set(range(1, cursor + 1)) - settled - rows
            continue
        progress.settle(rows, cursor)
        settled |= rows
        assert set(range(1, progress.cursor + 1)) <= settled
        assert all(progress.is_settled(r) == (r in settled or r <= progress.cursor) for r in range(1, 13))
