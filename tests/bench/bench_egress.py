"""What the egress check costs: CPU µs an event for each destination, and its share of the whole of delivery.

Run: `python -m tests.bench.bench_egress`. The limit of issue 4 is 15 % of delivery throughput: a real store delivers events into a
sender that answers at once, with the check and without it, in turns of the same run.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from unittest.mock import patch

from ebbgate.deliver.lane import Lane
from ebbgate.deliver.outgoing import Outgoing
from ebbgate.destinations.kit import HttpRequest, HttpResponse, Skip
from ebbgate.destinations.registry import DESTINATIONS
from ebbgate.model import CleanEvent
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
    """One line a destination."""
    print(f"{'destination':<22}{'render µs':>10}{'check µs':>10}")
    for name, destination in sorted(DESTINATIONS.items()):
        settings = destination.settings.model_validate(settings_of(name))
        cleans = several(name, min(destination.batch.events, 100))

        def render(i: int, of: Sequence[CleanEvent] = cleans, to: Any = destination, told: Any = settings) -> Any:
            return to.render(of[i % len(of)], told)

        rows = [row for i in range(len(cleans)) if not isinstance(row := render(i), Skip)]
        request, looks = destination.envelope(rows, settings), Outgoing(settings)

        def check(_: int, of: Sequence[CleanEvent] = cleans, what: HttpRequest = request, looks: Outgoing = looks) -> str:
            return looks.leak(what, of, {})

        assert check(0) == ""
        print(f"{name:<22}{best_us(render, count=200):>10.1f}{best_us(check) / len(rows):>10.1f}")


class _AtOnce:
    """A sender whose platform takes everything."""

    async def send(self, request: HttpRequest, fresh: Callable[[], bool]) -> HttpResponse:
        return HttpResponse(200, {}, b'{"events_received": %d}' % request.body.count(b'"event_name"'))

    async def aclose(self) -> None:
        """Nothing is open."""


async def _deliver(name: str) -> float:
    """Seconds of CPU to deliver EVENTS events."""
    destination = DESTINATIONS[name]
    lane = Lane(destination, destination.settings.model_validate(settings_of(name)), _AtOnce())
    with TemporaryDirectory() as folder:
        house = House(Path(folder), [lane], limits=QUICK)
        await house.store.open()
        events = [new_event(i, [clean]) for i, clean in enumerate(several(name, EVENTS))]
        for start in range(0, EVENTS, 500):
            await house.store.append(events[start : start + 500])
        started = time.process_time()
        await house.runner.start()
        await house.until_ended(name, EVENTS, 120)
        spent = time.process_time() - started
        requests = house.runner.states()[name].figures.requests
        await house.runner.stop(grace_s=5)
        await house.store.close()
    assert requests >= EVENTS // destination.batch.events
    return spent


def _nothing(self: Outgoing, request: HttpRequest, cleans: Sequence[CleanEvent], policies: Mapping[str, Any]) -> str:
    return ""


def whole(name: str) -> None:
    """Delivery of many events with the check and without it, in turns."""
    spent: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(TURNS):
        for checked in (True, False):
            with patch.object(Outgoing, "leak", Outgoing.leak if checked else _nothing):
                spent[checked].append(asyncio.run(_deliver(name)))
    on, off = (min(spent[checked]) / EVENTS * 1e6 for checked in (True, False))
    middle = statistics.median(a / b for a, b in zip(spent[True], spent[False], strict=True)) - 1
    print(f"{name:<22}{off:>8.1f} µs an event without, {on:>8.1f} with: {on / off - 1:>6.1%} (median of turns {middle:.1%})")


if __name__ == "__main__":
    table()
    for one in ("meta", "ga4", "webhook"):
        whole(one)
