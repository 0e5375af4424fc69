"""What the egress check costs: CPU µs an event for each destination, and its share of the whole of delivery.

Run: `python -m tests.bench.bench_egress`. A real store takes events that were decided before and delivers them into a sender
that answers at once, and the CPU time inside the check is counted in the same run. (Runs with the check and without it differ by more
than the check costs on a machine that does other things too.) The limit of issue 4, 15 % of throughput, is about the whole gateway: see
`bench_egress_gateway`.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from unittest.mock import patch

from ebbgate.deliver.lane import Lane
from ebbgate.deliver.outgoing import FEW, Outgoing
from ebbgate.destinations.kit import HttpRequest, HttpResponse, Skip
from ebbgate.destinations.registry import DESTINATIONS
from ebbgate.edge.serving import calm_collector
from ebbgate.model import CleanEvent
from ebbgate.policy.clean import dump, load
from tests.bench.bench_render import SAMPLE
from tests.contract.test_destination_rules import settings_of
from tests.unit.deliver.fakes import DIGEST
from tests.unit.deliver.rig import QUICK, House, new_event, now_ms
from tests.unit.destinations.samples import cleaned

EVENTS: Final = 4_000
TURNS: Final = 5


def best_us(call: Callable[[int], Any], *, rounds: int = 7, count: int = 20) -> float:
    """CPU µs a call: the best of several rounds; each call gets another number."""
    found = []
    for turn in range(rounds):
        start = time.process_time()
        for number in range(count):
            call(turn * count + number)
        found.append((time.process_time() - start) / count * 1e6)
    return min(found)


def several(name: str, n: int) -> list[CleanEvent]:
    """Events that differ, as a policy that lets everything out leaves them."""
    clean = cleaned(DESTINATIONS[name], SAMPLE)
    at = now_ms()
    return [
        replace(
            clean,
            id=f"e-{i}",
            time_ms=at,
            fields={**clean.fields, "event.time": at, "visitor.client_id": f"{i}.173", "order.id": f"R-{i}"},
            consent={"analytics": "granted"},
            policy=DIGEST,
            policy_file="eu.yaml",
        )
        for i in range(n)
    ]


def table() -> None:
    """One line a destination: what is looked at is the finished body for a few events, the rows for many."""
    print(f"{'destination':<22}{'render µs':>10}{'check µs':>10}")
    for name, destination in sorted(DESTINATIONS.items()):
        settings = destination.settings.model_validate(settings_of(name))
        cleans = [load(dump(clean)) for clean in several(name, min(destination.batch.events, 100))]

        def render(i: int, of: Sequence[CleanEvent] = cleans, to: Any = destination, told: Any = settings) -> Any:
            return to.render(of[i % len(of)], told)

        rows = [row for i in range(len(cleans)) if not isinstance(row := render(i), Skip)]
        request, looks = destination.envelope(rows, settings), Outgoing(settings)

        def check(_: int, of: Any = (request, rows, cleans, looks), to: Any = destination, told: Any = settings) -> str:
            request, rows, cleans, looks = of
            if len(rows) <= FEW:
                return str(looks.leak(request, cleans, {}))
            return str(looks.leak_of_many(request, rows, cleans, {}, lambda some: to.envelope(some, told)))

        assert check(0) == ""
        print(f"{name:<22}{best_us(render, count=200):>10.1f}{best_us(check) / len(rows):>10.1f}")


class _AtOnce:
    """A sender whose platform takes everything."""

    async def send(self, request: HttpRequest, fresh: Callable[[], bool]) -> HttpResponse:
        return HttpResponse(200, {}, b'{"events_received": %d}' % request.body.count(b'"event_name"'))

    async def aclose(self) -> None:
        """Nothing is open."""


class Spent:
    """CPU seconds of this thread inside the check."""

    def __init__(self) -> None:
        self.s = 0.0
        self._inside = False

    def counted(self, check: Callable[..., str]) -> Callable[..., str]:
        """The same check, counted; one that another one calls is counted once."""

        def run(*args: Any) -> str:
            if self._inside:
                return check(*args)
            self._inside, began = True, time.thread_time()
            try:
                return check(*args)
            finally:
                self.s += time.thread_time() - began
                self._inside = False

        return run


async def _deliver(name: str, spent: Spent) -> tuple[float, float]:
    """Seconds of CPU to store EVENTS events, and to deliver them, the check included."""
    destination = DESTINATIONS[name]
    lane = Lane(destination, destination.settings.model_validate(settings_of(name)), _AtOnce())
    with (
        TemporaryDirectory() as folder,
        patch.object(Outgoing, "leak", spent.counted(Outgoing.leak)),
        patch.object(Outgoing, "leak_of_many", spent.counted(Outgoing.leak_of_many)),
    ):
        house = House(Path(folder), [lane], limits=QUICK)
        await house.store.open()
        events = [new_event(i, [clean]) for i, clean in enumerate(several(name, EVENTS))]
        calm_collector()
        began = time.process_time()
        for start in range(0, EVENTS, 500):
            await house.store.append(events[start : start + 500])
        stored = time.process_time()
        await house.runner.start()
        await house.until_ended(name, EVENTS, 120)
        ended = time.process_time()
        requests = house.runner.states()[name].figures.requests
        await house.runner.stop(grace_s=5)
        await house.store.close()
    assert requests >= EVENTS // destination.batch.events
    return stored - began, ended - stored


def whole(name: str) -> None:
    """The share of the check in delivering many events, and in storing and delivering them. The middle of some turns."""
    turns = []
    for _ in range(TURNS):
        spent = Spent()
        store_s, deliver_s = asyncio.run(_deliver(name, spent))
        rest_s = deliver_s - spent.s
        turns.append((spent.s / (rest_s + store_s), spent.s / rest_s, spent.s, rest_s, store_s))
    share, of_delivery, *seconds = (statistics.median(column) for column in zip(*turns, strict=True))
    check, rest, store = (one / EVENTS * 1e6 for one in seconds)
    print(
        f"{name:<12} check {check:>5.1f} µs an event, delivery without it {rest:>6.1f}, storing {store:>6.1f}: "
        f"{share:>6.1%} of throughput, {of_delivery:>6.1%} of delivery alone"
    )


if __name__ == "__main__":
    table()
    for one in ("meta", "mixpanel", "file", "clickhouse", "ga4", "webhook"):
        whole(one)
