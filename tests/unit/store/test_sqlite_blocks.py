"""What is sealed of many events in one ciphertext: few and bounded pieces, each event's own bytes, nothing from memory once it is gone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebbgate.errors import StoreBroken
from ebbgate.store import sqlite_segments
from ebbgate.store.sealing import open_bodies, open_openings, seal_bodies, seal_openings
from ebbgate.store.sqlite_connect import fetch
from ebbgate.store.sqlite_segments import blocks
from tests.unit.store.kit import KEYS, NOW, deliver, event, key_of, payload, take
from tests.unit.store.test_sqlite import opened
from tests.unit.store.test_sqlite_log import rows


def run(directory: Path, sql: str, values: Sequence[Any] = ()) -> list[Any]:
    """A statement on the first segment, beside the store."""
    db = apsw.Connection(str(directory / "segments" / "seg-000001.db"))
    try:
        return fetch(db, sql, values)
    finally:
        db.close()


async def test_events_that_come_together_are_sealed_together(tmp_path: Path) -> None:
    """Two hundred events of one commit are four ciphertexts of bodies and four of openings, and every destination gets its own."""
    async with opened(tmp_path) as store:
        await store.append([event(i, to=["ga4"] if i % 3 else ["meta"]) for i in range(200)])
        assert (rows(tmp_path, "bodies"), rows(tmp_path, "openings")) == (4, 4)
        assert await deliver(store, "meta", limit=7) == [payload(i, "meta") for i in range(0, 200, 3)]
        assert await deliver(store, "ga4", limit=7) == [payload(i, "ga4") for i in range(200) if i % 3]
        opening = [entry.opening for entry in (await store.log(limit=200))]
        assert all(found and f'"E-{i}"' in found["event"][1].decode() for i, found in enumerate(opening))


@given(st.lists(st.integers(0, 5000), max_size=300))
def test_no_block_is_large(sizes: list[int]) -> None:
    """Blocks hold every row once, in order; none has over 64 rows, and one over the bound in bytes is small or has few rows."""
    made = [(number, bytes(size)) for number, size in enumerate(sizes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite_segments, "_BLOCK_BYTES", 6000)
        found = list(blocks(made))
    assert [row for part in found for row in part] == made
    assert all(0 < len(part) <= 64 for part in found)
    for start in range(0, len(made), 64):
        whole = made[start : start + 64]
        if sum(len(row[-1]) for row in whole) > 6000:
            assert whole not in found or len(whole) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        "UPDATE events SET key = (SELECT o.key FROM events o WHERE o.id <> events.id)",
        "UPDATE events SET key = x'00112233445566778899aabbccddeeff' WHERE id = 1",
        "DELETE FROM bodies",
    ],
    ids=["of another event", "of no event", "gone"],
)
async def test_a_body_that_is_not_the_event_s_own_is_refused(tmp_path: Path, wrong: str) -> None:
    """Rows whose body is gone or belongs to another event deliver nothing, and it is said: a payload leaves for its own event only."""
    async with opened(tmp_path) as store:
        await store.append([event(1), event(2)])
        lease = await take(store)
        run(tmp_path, wrong)
        with pytest.raises(StoreBroken, match="not there, or not its own"):
            await store.due(lease, limit=5, now_ms=NOW)


async def test_what_was_deleted_does_not_come_from_memory(tmp_path: Path) -> None:
    """A block that is written anew without somebody's bytes is read anew, by a reader that had it open."""
    async with opened(tmp_path) as store:
        await store.append([event(1), event(2)])
        lease = await take(store)
        assert len((await store.due(lease, limit=5, now_ms=NOW)).queued) == 2
        assert [bool(entry.opening) for entry in await store.log()] == [True, True]
        ((start, sealed),) = run(tmp_path, "SELECT first, body FROM openings")
        kept = [(row, *found) for row, found in open_openings(KEYS, 1, start, sealed).items() if row != 2]
        run(tmp_path, "UPDATE openings SET body = ?", (seal_openings(KEYS, 1, kept),))
        assert [entry.opening is not None for entry in await store.log()] == [True, False]
        trace = await store.trace(key_of(2))
        assert trace is not None
        assert trace.entries[0].opening is None
        ((start, sealed),) = run(tmp_path, "SELECT first, body FROM bodies")
        left = [(row, *found) for row, found in open_bodies(KEYS, 1, start, sealed).items() if row != 2]
        run(tmp_path, "UPDATE bodies SET body = ?", (seal_bodies(KEYS, 1, left),))
        with pytest.raises(StoreBroken, match="not there"):
            await store.due(lease, limit=5, now_ms=NOW)


async def test_entry_numbers_follow_rows_over_gaps(tmp_path: Path) -> None:
    """An event's row says its entry's number also where entries of the delivery side stand between, and after a restart."""
    async with opened(tmp_path, segment_events=2) as store:
        for number in range(6):
            await store.append([event(number)])
            await deliver(store, "ga4")
    async with opened(tmp_path, segment_events=2) as store:
        await store.append([event(6)])
        log = await store.log()
        assert [entry.nseq for entry in log] == list(range(1, len(log) + 1))
        decisions = [entry.nseq for entry in log if b'"decision"' in entry.body and entry.key]
        assert len(decisions) == 7
        for number, nseq in enumerate(decisions):
            trace = await store.trace(key_of(number))
            assert trace is not None
            assert trace.entries[0].nseq == nseq
            assert f'"nseq":{nseq},'.encode() in trace.entries[0].body
    ((base, last),) = run(tmp_path, "SELECT value, (SELECT max(id) FROM events) FROM meta WHERE name = 'base'")
    assert base + last == decisions[1]


async def test_duplicates_count_in_a_segment_s_size(tmp_path: Path) -> None:
    """What is written of a duplicate brings the segment nearer its end as well: a file of nothing else is sealed in time."""
    async with opened(tmp_path) as store:
        await store.append([event(1)])
        before = store._state.active.size if store._state else 0
        await store.append([event(1) for _ in range(100)])
        assert store._state
        ((entries, openings),) = run(
            tmp_path, "SELECT (SELECT sum(length(own)) FROM events WHERE mask = 0), (SELECT sum(length(body)) FROM openings)"
        )
        assert entries + openings * 0.8 <= store._state.active.size - before
