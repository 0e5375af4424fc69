"""One worker a destination: lease, read, gate, render, send, record; again and again (specs/reliability.md §2.2).

A worker knows nothing of the others: a destination that is dead, slow or wrongly configured delays no other. It keeps at most
one chunk of rows in memory. Whatever the destination does ends in an outcome, a retry or a pause, never in a lost row.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from ebbgate import log
from ebbgate.deliver import journal
from ebbgate.deliver.attempt import Attempts
from ebbgate.deliver.breaker import State
from ebbgate.deliver.lane import Figures, Lane, Surroundings
from ebbgate.deliver.load import Load, Progress
from ebbgate.deliver.pace import Stint
from ebbgate.deliver.prepare import Item, prepare
from ebbgate.deliver.retry import backoff_s, may_repeat
from ebbgate.errors import LeaseLost, StoreBroken, StoreFull
from ebbgate.model import Outcome
from ebbgate.store.protocol import Chunk, Lease, OpenAttempt, Result

_NO_TOKEN: Final = -1
SLICE: Final = 64  #: rows prepared without a pause, about 2 ms
FAR: Final = 1_000  #: positions; a cursor so far behind is moved at once
ROW_S: Final = 0.0005  #: of the event loop for one row, as long as nothing was measured


class Worker:
    """Delivers for one destination until stopped."""

    def __init__(self, around: Surroundings, lane: Lane, untold: set[str]) -> None:
        """`untold`: shared by all workers; holds this one's name as long as a call of `wake` would tell it anything."""
        self._around = around
        self._lane = lane
        self.figures = Figures()
        self._attempts = Attempts(around, lane, self.figures)
        self._wake = asyncio.Event()
        self._untold = untold
        untold.add(lane.name)
        self._stopping = asyncio.Event()
        self._lease: Lease | None = None
        self._recovered = _NO_TOKEN  #: the lease token under which open attempts were closed
        self._stint = Stint(around.pace)
        self._row_s = ROW_S  #: what a row takes of the event loop, the newest chunk counting most
        self._cursor = 0  #: how far it is known to be
        self._followed_s = 0.0
        self._gather_until_s = 0.0  #: what comes before is looked at together: a request of many costs little more than of one

    def wake(self) -> None:
        """There is something to deliver."""
        self._untold.discard(self._lane.name)
        self._wake.set()

    def stop(self) -> None:
        """Begin nothing more; `run` returns when what is in flight has ended."""
        self._attempts.stopping = True
        self._stopping.set()
        self._wake.set()

    async def quiesce(self) -> None:
        """Until no request is in flight that was gated before this call (the `?wait=drained` of a withdrawal)."""
        await self._attempts.quiesce()

    def breaker_state(self) -> State:
        """State of the destination's circuit breaker."""
        return self._attempts.breaker.state(self._around.watch.mono_s())

    def retry_in_s(self) -> float:
        """Seconds until the destination is tried again; 0 = it is not waiting."""
        return self._attempts.wait_s()

    async def run(self) -> None:
        """Work until `stop`. Raises StoreBroken: then the process must end (DESIGN §6)."""
        crashes = 0
        while not self._stopping.is_set():
            try:
                busy = await self._round()
                crashes = 0
                pause_s = 0.0 if busy else self._around.limits.poll_s
            except StoreBroken:
                self.figures.state = "stopped"
                raise
            except LeaseLost:
                self._lease, self._recovered = None, _NO_TOKEN
                self.figures.state = "no_lease"
                log.get().warning("delivery.lease_lost", destination=self._lane.name)
                pause_s = self._around.limits.poll_s
            except StoreFull:
                pause_s = self._around.limits.poll_s
            except Exception as error:  # noqa: BLE001  a fault of ours in one round: recorded, recovered, tried again
                crashes += 1
                self.figures.crashes += 1
                self._lease, self._recovered = None, _NO_TOKEN
                pause_s = max(self._around.limits.gap_s, backoff_s(crashes, self._around.draw, base_s=self._around.limits.base_s))
                log.get().error(
                    "delivery.crashed", destination=self._lane.name, kind=type(error).__name__, retry_in_s=round(pause_s, 1)
                )
            if pause_s:
                await self._idle(pause_s, wakeable=crashes == 0)
        self.figures.state = "stopped"

    async def _round(self) -> bool:
        """One chunk. True when there may be more to do at once."""
        wait_s = self._attempts.wait_s()
        if wait_s > 0:
            self.figures.state = "waiting"
            await self._idle(wait_s, wakeable=False)
            return True
        began_s = self._around.watch.mono_s()
        if (linger_s := self._gather_until_s - began_s) > 0:
            self._gather_until_s = 0.0
            self.figures.state = "gathering"
            await self._idle(linger_s, wakeable=False)
            return True
        await self._stint.begin()  # before all else: neither the lease nor the gate's word may grow old in a pause
        self._wake.clear()
        self._untold.add(self._lane.name)
        lease = await self._hold()
        if lease is None:
            self.figures.state = "no_lease"
            return False
        most = self._most()
        chunk = await self._around.store.due(lease, limit=most, now_ms=self._around.watch.steady_ms())
        if not chunk.queued:
            self.figures.state = "idle"
            return await self._follow(chunk.scanned_to, lease)
        self.figures.state = "sending"
        if len(chunk.queued) < most:
            self._gather_until_s = began_s + self._around.limits.linger_s
        return await self._stint.timed(self._work(chunk, lease))

    def _most(self) -> int:
        """Rows to read now: a full chunk, or as many as one turn is enough for while requests crowd the event loop."""
        most, room = self._lane.chunk(self._around.limits.chunk), self._stint.room(self._row_s)
        return most if room is None else min(most, max(self._lane.requests, room))

    async def _hold(self) -> Lease | None:
        """The lease, renewed when half of it is over; what a lost one left open is closed first."""
        ttl_ms = max(self._around.limits.lease_ms, int(self._lane.deadline_s * 3000))
        now_ms = self._around.watch.steady_ms()
        if self._lease is None or self._lease.until_ms - now_ms < ttl_ms // 2:
            self._lease = await self._around.store.lease(self._lane.name, now_ms=now_ms, ttl_ms=ttl_ms)
        if self._lease is not None and self._lease.token != self._recovered:
            await self._recover(self._lease)
        return self._lease

    async def _follow(self, scanned_to: int, lease: Lease) -> bool:
        """Nothing for this destination: move the cursor past events of others, now and then. True when that was a long way."""
        now_s = self._around.watch.mono_s()
        far = scanned_to - self._cursor >= FAR
        if scanned_to > self._cursor and (far or now_s - self._followed_s >= self._around.limits.cursor_s):
            await self._attempts.settle(lease, [], Progress(0, scanned_to))
            self._cursor, self._followed_s = scanned_to, now_s
            return far
        return False

    async def _work(self, chunk: Chunk, lease: Lease) -> bool:
        progress = Progress(len(chunk.queued), chunk.scanned_to)
        before, taken_s = self.figures.requests, self._stint.taken_s
        look = await self._attempts.look({q.subject for q in chunk.queued})
        items: list[Item] = []
        results: list[Result] = []
        for start in range(0, len(chunk.queued), SLICE):
            await self._stint.go_on()  # a chunk must not hold the event loop
            ready, over = prepare(chunk.queued[start : start + SLICE], self._lane.destination, self._lane.settings, look.present)
            items += ready
            results += over
        await self._attempts.settle(lease, results, progress)
        loads = deque(self._attempts.loads(items, look))
        most = self._attempts.breaker.allowed(self._around.watch.mono_s(), self._lane.requests)
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(most, len(loads))):
                    tasks.create_task(self._drain(loads, lease, progress))
        except BaseExceptionGroup as group:
            raise _worst(group) from None
        self._row_s += (max(1e-6, (self._stint.taken_s - taken_s) / len(chunk.queued)) - self._row_s) / 2
        if progress.complete:
            await self._attempts.settle(lease, [], progress)
            self._cursor = max(self._cursor, chunk.scanned_to)
            return True
        # What is left waits for the destination, for a fresh lease or for the stop.
        return self.figures.requests > before

    async def _drain(self, loads: deque[Load], lease: Lease, progress: Progress) -> None:
        while loads and self._attempts.may_begin(lease):
            load = loads.popleft()
            await self._stint.go_on()
            await self._stint.timed(self._attempts.deliver(load, lease, progress))

    async def _recover(self, lease: Lease) -> None:
        """Close what an earlier process began and did not finish: perhaps processed (specs/reliability.md §2.3)."""
        for attempt in await self._around.store.open_attempts(self._lane.name):
            outcome = self._after_death(attempt)
            now_ms = self._around.watch.steady_ms()
            entry = journal.died(attempt, outcome, node=self._around.node, now_ms=now_ms)
            await self._around.store.close_attempt(lease, attempt.id, outcome, entry, now_ms=now_ms)
            if outcome is not None:
                self.figures.outcomes[outcome] += len(attempt.positions)
        self._recovered = lease.token

    def _after_death(self, attempt: OpenAttempt) -> Outcome | None:
        destination = self._lane.destination
        # Which of its rows carry a key is not known here: a platform that deduplicates only some events counts as none.
        window_s = destination.dedupe_window_s if destination.dedupe is None else None
        now_ms = self._around.watch.latest_ms()
        return None if may_repeat(first_attempt_ms=attempt.started_ms, at_ms=now_ms, window_s=window_s) else Outcome.UNKNOWN

    async def _idle(self, seconds: float, *, wakeable: bool) -> None:
        event = self._wake if wakeable else self._stopping
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return


def _worst(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The exception of a group that decides: a broken store, then a lost lease, then the first of the others."""
    flat: list[BaseException] = []
    for error in group.exceptions:
        flat.append(_worst(error) if isinstance(error, BaseExceptionGroup) else error)
    for kind in (StoreBroken, LeaseLost):
        for error in flat:
            if isinstance(error, kind):
                return error
    return flat[0]
