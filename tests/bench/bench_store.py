"""The store alone: appended events a second by group size, decay over a long run, delivery reads, restart.

Events carry three payloads of 500 bytes and a decision entry with its opening; everything is sealed and fsynced. The long
run takes 60,000 events by default; `EBBGATE_TEST_SCALE=50` makes it 3 million. Making the events is not timed.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ebbgate.audit import entry as entries
from ebbgate.audit.decision import decision
from ebbgate.model import Event, Outcome, Place, Trust
from ebbgate.store.memory import MemoryStore
from ebbgate.store.options import Options
from ebbgate.store.protocol import NewEvent, Result, Store
from ebbgate.store.sqlite import SqliteStore
from tests.scale import scaled
from tests.unit.store import kit
from tests.unit.store.kit import CONSENT, DECISIONS, KEYS, NODE, NOW

EVENTS = scaled(60_000)
PAYLOADS = {name: os.urandom(500) for name in ("ga4", "meta", "webhook")}
PLACE = Place("DE")


def made(first: int, count: int) -> list[NewEvent]:
    """Events as the pipeline hands them over."""
    found = []
    for number in range(first, first + count):
        event = Event(f"A-{number}", "purchase", NOW, NOW, "shop", "native", Trust.BROWSER, {})
        key = KEYS.event_key("shop", event.id)
        claim = KEYS.claim_key("shop", event.trust, event.name, event.id)
        entry = decision(event, DECISIONS, CONSENT, PLACE, node=NODE, key=key, subject=key, entropy=os.urandom(96))
        found.append(NewEvent(key, (claim,), (claim,), key, NOW, PAYLOADS, entry, _never, event.id, conversion=number % 20 == 0))
    return found


def _never(_: NewEvent) -> entries.Entry:
    raise AssertionError("no event comes twice")


async def append(store: Store, events: Sequence[NewEvent], group: int, *, in_flight: int = 2) -> float:
    """Seconds to append in groups, two under way at a time."""
    turn = asyncio.Semaphore(in_flight)

    async def one(some: Sequence[NewEvent]) -> None:
        async with turn:
            await store.append(some)

    begun = time.perf_counter()
    await asyncio.gather(*[one(events[i : i + group]) for i in range(0, len(events), group)])
    return time.perf_counter() - begun


async def by_group(directory: Path) -> None:
    print("appended events/s           group 1      10     100    1000")
    for name in ("sqlite FULL", "memory"):
        rates = []
        for group, count in ((1, 2_000), (10, 10_000), (100, 20_000), (1000, 20_000)):
            path = directory / f"{name[:3]}-{group}" / "ebbgate.db"
            store: Store = SqliteStore(path, KEYS) if name.startswith("sqlite") else MemoryStore(keep_entries=1000)
            await store.open()
            events = made(0, count)
            in_flight = 64 if group == 1 else 2
            rates.append(count / await append(store, events, group, in_flight=in_flight))
            await store.close()
        print(f"  {name:<24}" + "".join(f"{r:8,.0f}" for r in rates))
    print("  (group 1: 64 callers at a time)")


async def decay(directory: Path) -> None:
    """The rate of each sixth of a long run, over the seal of several segments."""
    path = directory / "long" / "ebbgate.db"
    segment = max(5_000, min(250_000, EVENTS // 10))
    store = SqliteStore(path, KEYS, Options(segment_events=segment))
    await store.open()
    rates: list[float] = []
    costs: list[float] = []
    for part in range(6):
        taken = used = 0.0
        for first in range(0, EVENTS // 6, 5_000):
            events = made(part * (EVENTS // 6) + first, min(5_000, EVENTS // 6 - first))
            before = time.process_time()
            taken += await append(store, events, 100)
            used += time.process_time() - before
        rates.append(EVENTS // 6 / taken)
        costs.append(used / (EVENTS // 6) * 1e6)
    print(f"long run, {EVENTS:,} events in segments of {segment:,}, groups of 100, by sixths:")
    print("  events/s          " + "".join(f"{r:9,.0f}" for r in rates))
    print("  CPU µs an event   " + "".join(f"{c:9,.1f}" for c in costs))
    print(f"  last third ÷ first third: {sum(rates[4:]) / sum(rates[:2]):.2f}  (goal ≥ 0.80)")
    await deliveries(store)
    await store.close()
    size = sum(p.stat().st_size for p in path.parent.rglob("*") if p.is_file())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  disk {size / EVENTS:,.0f} bytes an event, peak memory {peak:,.0f} MiB")
    begun = time.perf_counter()
    store = SqliteStore(path, KEYS, Options(segment_events=segment))
    await store.open()
    print(f"  restart with {EVENTS:,} events: {time.perf_counter() - begun:.2f} s  (goal ≤ 3 s with a million)")
    await store.close()


async def deliveries(store: Store) -> None:
    lease = await kit.take(store, "meta", now_ms=NOW)
    done, begun = 0, time.perf_counter()
    while done < 20_000:
        chunk = await store.due(lease, limit=100, now_ms=NOW)
        if not chunk.queued:
            break
        attempt = await store.begin(lease, chunk.queued, kit.started(chunk.queued, "meta"), now_ms=NOW)
        results = [Result(q, Outcome.DELIVERED, reason="http_200") for q in chunk.queued]
        await store.finish(lease, attempt, results, kit.finished(len(results), "meta"), cursor=chunk.scanned_to, now_ms=NOW)
        done += len(results)
    print(f"  delivered in batches of 100, without the requests: {done / (time.perf_counter() - begun):,.0f} events/s")


def main() -> None:
    """Print the tables."""
    directory = Path(tempfile.mkdtemp(prefix="ebbgate-bench-"))
    try:
        asyncio.run(by_group(directory))
        asyncio.run(decay(directory))
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
