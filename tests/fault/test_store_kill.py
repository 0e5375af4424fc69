"""kill -9 of a process at every named point of the store and at random ones (specs/reliability.md §5 T4, T5)."""

from __future__ import annotations

import asyncio
import multiprocessing
import shutil
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.fault import store_child
from tests.fault.store_oracle import lost, opened
from tests.scale import SCALE, scaled
from tests.unit.store.kit import payload

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.fault.store_child"])

#: Every point of the store, and how often it is passed before the process dies there.
POINTS = (
    ("open.delivery", 1), ("open.segments", 1), ("register.begin", 1), ("register.committed", 1),
    ("ingest.begin", 9), ("ingest.inserted", 9), ("ingest.committed", 9),
    ("delivery.begin", 12), ("delivery.applied", 12), ("delivery.committed", 12),
    ("seal.begin", 2), ("seal.marked", 2), ("seal.created", 2), ("seal.indexed", 2), ("seal.checkpointed", 2), ("seal.recorded", 2),
    ("checkpoint.begin", 2), ("checkpoint.copied", 2), ("checkpoint.finished", 2),
    ("held.deleted", 5), ("drop.committed", 1),
    ("prune.copied", 1), ("prune.archived", 1), ("prune.recorded", 1), ("prune.unlinked", 1),
)  # fmt: skip


def worked(directory: Path, point: str = "", nth: int = 0, *, begin_at: int = 0, kill_after: int = 0) -> list[tuple[str, Any]]:
    """What a process told before it died at a point, after so many messages, or at its end."""
    ours, theirs = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=store_child.run, args=(directory, point, nth, begin_at, theirs))
    process.start()
    theirs.close()
    told: list[tuple[str, Any]] = []
    try:
        while True:
            told.append(ours.recv())
            if kill_after and len(told) == kill_after:
                process.kill()
    except EOFError:
        process.join(10)
    return told


def check(directory: Path, told: list[tuple[str, Any]]) -> None:
    """Nothing that was acknowledged is lost, nothing shredded comes back, and the store opens quickly."""
    assert not [w for kind, w in told if kind == "wrong"]
    copy = Path(tempfile.mkdtemp(dir=directory.parent))
    shutil.copytree(directory, copy, dirs_exist_ok=True)  # looking at it changes it
    begun = time.perf_counter()
    assert asyncio.run(lost(copy, told)) == ""
    asyncio.run(nothing_shredded(copy, [n for kind, n in told if kind == "shredded"]))
    assert time.perf_counter() - begun < 3


async def nothing_shredded(directory: Path, numbers: list[int]) -> None:
    async with opened(directory) as store:
        for number in numbers:
            assert await store.held(b"%016d" % (number - 1)) == []
        letters = {d.key for d in await store.dead_letters("webhook", limit=1000)}
        assert not letters & {payload(n, "webhook") for n in numbers}


@pytest.mark.parametrize(("point", "nth"), POINTS, ids=[p for p, _ in POINTS])
def test_killed_at_a_point(tmp_path: Path, point: str, nth: int) -> None:
    """A process that dies there loses nothing it had acknowledged; the next one goes on, and dies there too."""
    told = worked(tmp_path, point, nth)
    assert not [t for t in told if t[0] == "points"], "the point was not reached"
    check(tmp_path, told)
    if SCALE > 1:
        told += worked(tmp_path, point, nth, begin_at=1000)
        check(tmp_path, told)


def test_no_point_is_forgotten(tmp_path: Path) -> None:
    """The list above names every point that a whole run passes, and at least 25."""
    (*_, (kind, seen)) = worked(tmp_path)
    assert kind == "points"
    assert {p for p, _ in POINTS} == set(seen)
    assert len(POINTS) >= 25


def test_killed_at_random(tmp_path: Path) -> None:
    """Killed again and again on the same store at random moments: everything acknowledged in all lives is there."""
    random = Random(9)
    told: list[tuple[str, Any]] = []
    for life in range(scaled(6)):
        told += worked(tmp_path, begin_at=life * 1000, kill_after=random.randrange(1, 150))
        check(tmp_path, told)
