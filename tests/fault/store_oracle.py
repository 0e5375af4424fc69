"""What an acknowledgement promised, checked against the files that a fault left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import apsw

from ebbgate.errors import StoreBroken
from ebbgate.store.options import Options
from ebbgate.store.protocol import Appended
from ebbgate.store.sqlite import SqliteStore
from ebbgate.store.sqlite_connect import fetch
from tests.unit.store.kit import KEYS, NOW, deliver, event, payload, take

Level = Literal["FULL", "NORMAL", "OFF"]


@asynccontextmanager
async def opened(directory: Path, *, vfs: str = "", level: Level = "FULL", **options: Any) -> AsyncIterator[SqliteStore]:
    settings = Options(clock_ms=lambda: NOW, min_free_bytes=0, idle_s=0.01, vfs=vfs, synchronous=level, **options)
    store = SqliteStore(directory / "ebbgate.db", KEYS, settings)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def log_rows(directory: Path) -> int:
    """Log entries in all files of a store: `log` must give every one."""
    count = 0
    for path in [directory / "ebbgate.db", *(directory / "segments").glob("*.db")]:
        if path.name.startswith("seg-") and path.with_name(path.name.replace("seg-", "log-")).exists():
            continue  # archived, not unlinked yet: the same entries stand in the archive
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        count += fetch(db, "SELECT count(*) FROM log")[0][0]
        db.close()
    return count


async def lost(directory: Path, acked: list[tuple[str, Any]]) -> str:
    """What an acknowledgement promised and the files do not hold; "" when all is there."""
    promised = [n for kind, n in acked if kind == "event"]
    answered = [p for kind, found in acked if kind == "answered" for p in found]
    sent = [p for kind, found in acked if kind == "sent" for p in found]
    begun = max([n for kind, n in acked if kind == "begun"], default=0)
    try:
        async with opened(directory) as store:
            log = await store.log(limit=10_000)
            if [e.nseq for e in log] != list(range(1, log_rows(directory) + 1)):
                return "a gap or a double number in the log"
            lease = await take(store)
            open_ = {a.id for a in await store.open_attempts("ga4")}
            closed = {r[0] for r in fetch(store._opened().delivery.db, "SELECT id FROM attempts WHERE finished > 0")}
            if begun and not set(range(1, begun + 1)) <= open_ | closed:
                return "an intent"
            waiting = [q.payload for q in (await store.due(lease, limit=10_000, now_ms=NOW)).queued]
            if set(waiting) & set(sent):
                return "an outcome: an answered row would be sent again"
            missing = {payload(n, "ga4") for n in promised} - set(waiting) - set(sent)
            if missing - set(answered):  # an answer may be on disk a moment before `finish` returns
                return "a delivery"
            answers = await store.append([event(n) for n in promised])
            if set(answers) - {Appended.DUPLICATE}:
                return "an event"
            if await store.append([event("after")]) != ["accepted"]:
                return "the ability to go on"
            await deliver(store)
    except StoreBroken as error:
        return f"the store: {error.code}"
    except apsw.Error:
        return "the store: corrupt"
    return ""
