"""A process that works on a store until it is killed, and tells through a pipe what was acknowledged."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ebbgate.errors import StoreError
from ebbgate.model import Outcome
from ebbgate.store.protocol import Result
from ebbgate.store.sqlite import SqliteStore
from tests.fault.store_oracle import opened
from tests.unit.store import kit
from tests.unit.store.kit import NOW, event, take

EVENTS = 120


def run(directory: Path, point: str, nth: int, begin_at: int, told: Connection) -> None:
    """Work from event `begin_at`; die by SIGKILL at the nth time that `point` is reached (never for "")."""
    seen: Counter[str] = Counter()

    def failpoint(name: str) -> None:
        seen[name] += 1
        if name == point and seen[name] == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(_work(directory, failpoint, begin_at, told))
    told.send(("points", dict(seen)))


async def _work(directory: Path, failpoint: Any, begin_at: int, told: Connection) -> None:
    async with opened(directory, segment_events=30, wal_bytes=60_000, failpoint=failpoint) as store:
        for number in range(begin_at, begin_at + EVENTS, 2):
            subject = b"%016d" % number
            await store.append([event(number), event(number + 1, held=["webhook"], subject=subject)])
            told.send(("event", number))
            told.send(("event", number + 1))
            if number % 8 == 0:
                await store.shred_held(subject, None, expired_before_ms=0, outcome=Outcome.WITHDRAWN, entry=kit.shredded)
                told.send(("shredded", number + 1))
            else:
                await kit.release(store, subject)
            if number % 10 == 0:
                for destination in ("ga4", "meta", "webhook"):
                    await _deliver(store, destination, told)
        (letter, *_) = await store.dead_letters()
        await store.drop([letter.id], entry=kit.acted("queue.drop"))


async def _deliver(store: SqliteStore, destination: str, told: Connection) -> None:
    lease = await take(store, destination)
    for attempt in await store.open_attempts(destination):
        await store.close_attempt(lease, attempt.id, None, kit.finished(), now_ms=NOW)
    while True:
        chunk = await store.due(lease, limit=7, now_ms=NOW)
        if not chunk.queued:
            try:
                await store.settle(lease, [], [], cursor=chunk.scanned_to, now_ms=NOW)
            except StoreError as error:
                told.send(("wrong", error.message))
            return
        number = await store.begin(lease, chunk.queued, kit.started(chunk.queued), now_ms=NOW)
        if destination == "ga4":
            told.send(("begun", number))
            told.send(("answered", tuple(q.payload for q in chunk.queued)))
        results = [Result(q, Outcome.DELIVERED) for q in chunk.queued[1:]]
        results.append(Result(chunk.queued[0], Outcome.REJECTED, dead=True))
        await store.finish(lease, number, results, kit.finished(), cursor=chunk.scanned_to, now_ms=NOW)
        if destination == "ga4":
            told.send(("sent", tuple(q.payload for q in chunk.queued)))
