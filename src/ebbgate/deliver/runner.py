"""All workers of one process: start, wake, kill switches, drain, stop, figures."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

from ebbgate import log
from ebbgate.audit.entry import clock_anomaly
from ebbgate.deliver.breaker import State
from ebbgate.deliver.client import DEADLINE_S, Client
from ebbgate.deliver.clock import Clock, SystemClock, Watch
from ebbgate.deliver.files import FileSender
from ebbgate.deliver.kafka import KafkaSender
from ebbgate.deliver.lane import Figures, Lane, Limits, Surroundings
from ebbgate.deliver.pace import Pace
from ebbgate.deliver.retry import Draw
from ebbgate.deliver.worker import Worker
from ebbgate.destinations.kafka import Settings as KafkaSettings
from ebbgate.destinations.kit import Destination, DestinationSettings
from ebbgate.errors import StoreError
from ebbgate.policy.plan import PolicySet
from ebbgate.store.protocol import Store

_CHANCE: Final = secrets.SystemRandom()


#: Settings in which destinations name an address of the operator's own: a webhook, something self-hosted.
ADDRESS_KEYS: Final = ("endpoint", "url", "host", "data_plane_url", "collector_url")


def open_lane(destination: Destination, settings: DestinationSettings, *, deadline_s: float = DEADLINE_S) -> Lane:
    """A lane with a client that may reach the platform's own hosts and the address in its settings, and nothing else.

    A stand-in (`endpoint`) is the only address of a destination that has one. A `path` is written to instead of a network,
    and Kafka has a client of its own.
    """
    path = getattr(settings, "path", None)
    if path is not None and settings.endpoint is None:
        return Lane(destination, settings, FileSender(Path(path)), deadline_s)
    if isinstance(settings, KafkaSettings):
        return Lane(destination, settings, KafkaSender(settings), deadline_s)
    own = next((found for key in ADDRESS_KEYS if (found := getattr(settings, key, None))), None)
    hosts = destination.hosts if settings.endpoint is None else ()
    return Lane(destination, settings, Client(hosts=hosts, endpoint=own, deadline_s=deadline_s), deadline_s)


@dataclasses.dataclass(frozen=True, slots=True)
class LaneState:
    """One destination's delivery, for metrics and the console."""

    figures: Figures
    breaker: State
    retry_in_s: float  #: until the destination is tried again; 0 = not waiting
    drift_s: int  #: of the wall clock while it is not trusted; 0 = trusted


class Runner:
    """Runs one worker for each lane. Not to be started twice."""

    def __init__(
        self,
        lanes: Iterable[Lane],
        *,
        store: Store,
        policies: Callable[[], PolicySet],
        disabled: Callable[[], Collection[str]] = frozenset,
        busy: Callable[[], bool] = lambda: False,
        node: str = "local",
        clock: Clock | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
        draw: Draw = _CHANCE.random,
        limits: Limits | None = None,
    ) -> None:
        """`policies` gives the snapshot in force; `disabled` kill switches set elsewhere; `busy`: the intake goes first."""
        self._switched_off: frozenset[str] = frozenset()
        self._elsewhere = disabled
        self.watch = Watch(clock or SystemClock())
        self._around = Surroundings(
            store=store,
            watch=self.watch,
            policies=policies,
            entropy=entropy,
            draw=draw,
            node=node,
            disabled=self.disabled,
            pace=Pace(busy),
            limits=limits or Limits(),
        )
        self._lanes = {lane.name: lane for lane in lanes}
        self._untold: set[str] = set()
        self._workers = {name: Worker(self._around, lane, self._untold) for name, lane in self._lanes.items()}
        self._tasks: list[asyncio.Task[None]] = []
        self._observer: asyncio.Task[None] | None = None
        self._broken: asyncio.Event = asyncio.Event()

    async def start(self) -> None:
        """Start all workers."""
        self._tasks = [asyncio.create_task(self._run(worker), name=f"deliver {name}") for name, worker in self._workers.items()]
        self._observer = asyncio.create_task(self._observe(), name="deliver clock")

    def wake(self, destinations: Collection[str] | None = None) -> None:
        """New deliveries for these destinations, or for any."""
        if not self._untold:  # every request comes here, and mostly all workers have work
            return
        for name in self._workers if destinations is None else destinations:
            worker = self._workers.get(name)
            if worker is not None:
                worker.wake()

    def disabled(self) -> frozenset[str]:
        """All kill switches that are on."""
        elsewhere = self._elsewhere()
        return self._switched_off.union(elsewhere) if elsewhere else self._switched_off

    def switch_off(self, word: str) -> None:
        """Kill switch `destination:NAME` or `purpose:NAME`: from now on no first byte leaves, and what is queued for it ends."""
        self._switched_off |= {word}
        self.wake()

    def switch_on(self, word: str) -> None:
        """Take a kill switch of this process back. What it has ended stays ended."""
        self._switched_off -= {word}
        self.wake()

    async def drained(self) -> None:
        """Until every request that was let pass before this call has ended: what `?wait=drained` answers on."""
        await asyncio.gather(*(worker.quiesce() for worker in self._workers.values()))

    async def broken(self) -> None:
        """Returns when the store can no longer be trusted: then the process must stop."""
        await self._broken.wait()

    def is_broken(self) -> bool:
        """True once the store can no longer be trusted."""
        return self._broken.is_set()

    async def stop(self, *, grace_s: float = DEADLINE_S + 5.0) -> None:
        """Begin nothing more, let requests in flight end, then stop.

        What is cut off after `grace_s` seconds is closed as perhaps processed by the next start.
        """
        for worker in self._workers.values():
            worker.stop()
        self._around.pace.end()
        if self._observer is not None:
            self._observer.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        for lane in self._lanes.values():
            await lane.sender.aclose()

    def states(self) -> Mapping[str, LaneState]:
        """A copy of the figures of every destination."""
        return {
            name: LaneState(
                dataclasses.replace(worker.figures, outcomes=worker.figures.outcomes.copy()),
                worker.breaker_state(),
                worker.retry_in_s(),
                self.watch.drift_s,
            )
            for name, worker in self._workers.items()
        }

    async def _run(self, worker: Worker) -> None:
        try:
            await worker.run()
        except StoreError as error:
            log.get().critical("delivery.stopped", code=error.code)
            self._broken.set()
            for other in self._workers.values():
                other.stop()

    async def _observe(self) -> None:
        while True:
            if self.watch.observe():
                log.get().error("clock.anomaly", seconds=self.watch.drift_s)
                entry = clock_anomaly(delta_s=self.watch.drift_s, node=self._around.node, at_ms=self.watch.wall_ms())
                try:
                    await self._around.store.record([entry])
                except StoreError as error:
                    log.get().error("clock.anomaly", code=error.code)
            await asyncio.sleep(self._around.limits.observe_s)
