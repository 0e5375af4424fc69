"""What the HTTP client costs at 1,000 events a second to three destinations: share of one core, requests, events a request.

    python -m tests.bench.bench_delivery [--seconds N]

A real store and the real delivery stage in this process, the platforms in another one. Events come in groups of ten every ten
milliseconds, as the intake commits them. The goal of issue 5: under 10 % of the CPU for the client, where the platform takes
batches. GA4 takes one visitor and a webhook one event a request: they are measured beside it, and no goal is set for them;
`least/s` is how many events a second the slowest destination of a mix took (what waits, waits in the queue). The three of the goal are
meta, tiktok and posthog, which take batches; workers gather for a tenth of a second between requests (`Limits.linger_s`).
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import uvloop

from ebbgate.deliver.classify import Failed
from ebbgate.deliver.client import Fresh, Sender
from ebbgate.deliver.lane import Lane, Limits
from ebbgate.deliver.runner import open_lane
from ebbgate.demo.sink import Received, RecordingSink, Reply
from ebbgate.destinations.kit import HttpRequest, HttpResponse
from ebbgate.destinations.registry import load
from ebbgate.model import CleanEvent
from tests.bench.load import pin
from tests.bench.servers import Server
from tests.contract.test_destination_rules import event, settings_of
from tests.unit.deliver.fakes import DIGEST
from tests.unit.deliver.rig import new_event, now_ms, open_house
from tests.unit.destinations.samples import cleaned

RATE: Final = 1000  #: events a second
GROUP: Final = 10
GOAL: Final = 0.10
MIXES: Final = {
    "batches": ("meta", "tiktok", "posthog"),
    "one visitor or event a request": ("ga4", "meta", "webhook"),
}


class _Metered(Awaitable[Any]):
    """A coroutine whose own steps are timed in seconds of CPU."""

    def __init__(self, inner: Awaitable[Any], spent: Callable[[float], None]) -> None:
        self._inner = inner
        self._spent = spent

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._inner.__await__()
        answer: Any = None
        thrown: BaseException | None = None
        while True:
            start = time.thread_time()
            try:
                # A plain `await` hands exceptions on to the inner coroutine, and so must this.
                waiting = steps.send(answer) if thrown is None else steps.throw(thrown)
            except StopIteration as end:
                return end.value
            finally:
                self._spent(time.thread_time() - start)
            answer, thrown = None, None
            try:
                answer = yield waiting
            except BaseException as error:  # noqa: BLE001  whatever it is, the inner coroutine decides
                thrown = error


@dataclass
class _MeteredSender:
    """A sender that counts its requests and its seconds of CPU."""

    inner: Sender
    cpu_s: float = 0.0
    requests: int = 0

    async def send(self, request: HttpRequest, fresh: Fresh) -> HttpResponse | Failed:
        """As the inner one, metered."""
        self.requests += 1
        found: HttpResponse | Failed = await _Metered(self.inner.send(request, fresh), self._spend)
        return found

    def _spend(self, seconds: float) -> None:
        self.cpu_s += seconds

    async def aclose(self) -> None:
        """As the inner one."""
        await self.inner.aclose()


def answer(received: Received) -> Reply:
    """Yes, in the words of each platform."""
    if received.path.endswith("/events"):
        return Reply.of(200, {"events_received": received.body.count(b'"event_id"')})
    if received.path.startswith("/open_api"):
        return Reply.of(200, {"code": 0, "message": "OK"})
    return Reply.of(200, {"status": 1})


def platforms(core: int, out: Connection) -> None:
    """The platforms, in a process of their own."""

    async def serve() -> None:
        sink = RecordingSink(answer, most=1)
        async with sink.serve():
            out.send(sink.port)
            await asyncio.Event().wait()

    pin(core)
    uvloop.run(serve())


def _events(names: tuple[str, ...], number: int, samples: dict[str, CleanEvent], at: int) -> list[CleanEvent]:
    mark = f"ev-{number}"
    return [
        replace(
            samples[name],
            id=mark,
            time_ms=at,
            fields={**samples[name].fields, "event.id": mark, "order.id": mark, "visitor.client_id": f"1.{number}"},
        )
        for name in names
    ]


def _sample(name: str) -> CleanEvent:
    clean = cleaned(load(name), event("purchase"))
    return replace(clean, consent={"analytics": "granted"}, needs=("analytics",), policy=DIGEST, policy_file="eu.yaml")


async def _run(names: tuple[str, ...], port: int, seconds: float) -> dict[str, float]:
    at = f"http://127.0.0.1:{port}"
    lanes, metered = [], []
    for name in names:
        settings = load(name).settings.model_validate({**settings_of(name), "endpoint": at})
        lane = open_lane(load(name), settings)
        sender = _MeteredSender(lane.sender)
        metered.append(sender)
        lanes.append(Lane(lane.destination, settings, sender, lane.deadline_s))
    samples = {name: _sample(name) for name in names}
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ebbgate-bench-"))
        house = await stack.enter_async_context(open_house(Path(folder), lanes, limits=Limits()))
        total, number = int(RATE * seconds), 0
        wall, cpu = time.monotonic(), time.process_time()
        while number < total:
            stamp = now_ms()
            group = [new_event(n, _events(names, n, samples, stamp)) for n in range(number, number + GROUP)]
            await house.store.append(group)
            house.runner.wake(names)
            number += GROUP
            await asyncio.sleep(max(0.0, wall + number / RATE - time.monotonic()))
        with suppress(TimeoutError):
            await house.until(lambda: all(house.ended(name) >= total for name in names), seconds)
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        ended = {name: house.ended(name) for name in names}
    requests = sum(sender.requests for sender in metered)
    client_s = sum(sender.cpu_s for sender in metered)
    return {
        "client": client_s / wall,
        "process": cpu / wall,
        "requests_s": requests / wall,
        "events_a_request": sum(ended.values()) / requests,
        "least_s": min(ended.values()) / wall,
        "us_a_request": client_s / requests * 1e6,
    }


def main() -> None:
    """Print one line a mix; exit 1 when the client takes more than its share where the platforms take batches."""
    seconds = float(sys.argv[sys.argv.index("--seconds") + 1]) if "--seconds" in sys.argv else 8.0
    sinks = Server(platforms, core=1)
    missed = False
    try:
        print(f"{'mix':<34}{'client':>8}{'process':>9}{'req/s':>8}{'events/req':>12}{'µs/req':>9}{'least/s':>9}")
        for mix, names in MIXES.items():
            found = uvloop.run(_run(names, sinks.port, seconds))
            print(
                f"{mix:<34}{found['client']:>8.1%}{found['process']:>9.1%}{found['requests_s']:>8.0f}"
                f"{found['events_a_request']:>12.1f}{found['us_a_request']:>9.0f}{found['least_s']:>9.0f}"
            )
            missed |= mix == "batches" and found["client"] > GOAL
    finally:
        sinks.stop()
    if missed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
