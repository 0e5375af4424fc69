"""The intake goes first: while requests wait to be answered, all deliveries together get a small share of the event loop.

What a delivery takes is measured, step by step, and paid for with a pause before the next turn. Destinations have their turns in
the order in which they ask, each for about as much work, so that none is passed over. While nothing waits there is no pause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from time import perf_counter, process_time, thread_time
from typing import Any, Final, TypeVar

SHARE: Final = 0.03  #: of the event loop, while the intake is busy; the store's threads take about half as much for it again
STINT_S: Final = 0.03  #: of the event loop in one turn: enough for a large request, or for a handful of small ones
FULL: Final = 0.6  #: of one processor, by all threads of the process: from there on requests leave no time to spare for long
WINDOW_S: Final = 0.1  #: the least time over which that is measured
LOOK_S: Final = 0.05  #: how often a delivery that waits looks whether the intake is still busy
MOST_S: Final = 2.0  #: the longest pause before a turn: whatever a step took, each destination goes on

T = TypeVar("T")


class Pace:
    """One for all workers of a gateway."""

    def __init__(
        self,
        busy: Callable[[], bool] = lambda: False,
        *,
        clock: Callable[[], float] = perf_counter,
        used: Callable[[], float] = process_time,
    ) -> None:
        """`busy`: requests wait. `clock`: seconds of any kind that only grow; `used`: processor time of the process, seconds."""
        self._busy = busy
        self._clock = clock
        self._used = used
        self._next_s = 0.0
        self._load = 1.0  #: of one processor, in the last window
        self._window = (clock(), used())  #: when it began, and what was used until then
        self._ended = False
        self._queue = asyncio.Lock()  #: gives turns in the order in which they were asked for

    def spent(self, seconds: float) -> None:
        """A delivery had the event loop for so long."""
        if self._busy():
            now = self._clock()
            self._next_s = min(now + MOST_S, max(self._next_s, now) + seconds * (1 / SHARE - 1))

    def crowded(self) -> bool:
        """True while requests wait and, as far as the last window tells, leave no time to spare."""
        return self._load >= FULL and not self._ended and self._busy()

    def end(self) -> None:
        """No pauses any more: the workers stop, and none of them must wait for its turn to do so."""
        self._ended = True

    async def turn(self) -> None:
        """Until deliveries may take more of the event loop; at least what is ready to run goes first.

        Where requests leave a processor idle, as when they wait for the disk, deliveries pay nothing: no queue must grow for that.
        """
        async with self._queue:
            while True:
                await asyncio.sleep(0)
                self._look()
                wait_s = self._next_s - self._clock()
                if wait_s <= 0 or not self.crowded():
                    return
                await asyncio.sleep(min(wait_s, LOOK_S))

    def _look(self) -> None:
        """Measure, once a window, how much of a processor the process takes."""
        now, used = self._clock(), self._used()
        since, before = self._window
        if not self._busy():
            self._load = 1.0  # of the next rush nothing is known
        elif now - since >= WINDOW_S:
            self._load = (used - before) / (now - since)
        else:
            return
        self._window = (now, used)


class Stint:
    """What one worker takes of the event loop: a turn at a time, and measured."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._left_s = 0.0
        self.taken_s = 0.0  #: of the event loop, in all

    async def begin(self) -> None:
        """Until the worker has its turn."""
        await self._pace.turn()
        self._left_s = STINT_S

    async def go_on(self) -> None:
        """Between two pieces of work: what is ready to run goes first, and what a turn holds is not exceeded."""
        if self._left_s > 0:
            await asyncio.sleep(0)
        else:
            await self.begin()

    def room(self, row_s: float) -> int | None:
        """For how many rows a turn is enough when one takes so long; None while nobody waits and there is no need to count."""
        return int(STINT_S / row_s) if self._pace.crowded() else None

    def spent(self, seconds: float) -> None:
        """The worker had the event loop for so long."""
        self._left_s -= seconds
        self.taken_s += seconds
        self._pace.spent(seconds)

    async def timed(self, work: Coroutine[Any, Any, T]) -> T:
        """Await it, counting what it takes of the event loop and nothing of what it waits for."""
        result: T = await _Timed(work, self.spent)
        return result


class _Timed:
    """A coroutine whose every step is measured."""

    __slots__ = ("_spent", "_work")

    def __init__(self, work: Coroutine[Any, Any, Any], spent: Callable[[float], None]) -> None:
        self._work = work
        self._spent = spent

    def __await__(self) -> Generator[Any, Any, Any]:
        step = partial(self._work.send, None)
        while True:
            began = thread_time()  # not by the wall: what other threads and processes take is not the delivery's doing
            try:
                waits_for = step()
            except StopIteration as end:
                return end.value
            finally:
                self._spent(thread_time() - began)
            try:
                step = partial(self._work.send, (yield waits_for))
            except BaseException as error:  # noqa: BLE001  a cancellation too belongs to the work
                step = partial(self._work.throw, error)
