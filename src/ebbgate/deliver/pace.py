"""The intake goes first: while requests wait to be answered, all deliveries together get a small share of the event loop.

What a delivery takes is measured, step by step, and paid for with a pause before the next turn. Destinations have their turns in
the order in which they ask, each for about as much work, so that none is passed over. While nothing waits there is no pause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from time import perf_counter, thread_time
from typing import Any, Final, TypeVar

SHARE: Final = 0.03  #: of the event loop, while the intake is busy; the store's threads take about half as much for it again
STINT_S: Final = 0.03  #: of the event loop in one turn: enough for a large request, or for a handful of small ones
CROWDED_S: Final = 0.0002  #: a round of the event loop that takes so long had a request to answer; with less it had nothing to do
LOOK_S: Final = 0.05  #: how often a delivery that waits looks whether the intake is still busy
MOST_S: Final = 2.0  #: the longest pause before a turn: whatever a step took, each destination goes on
_NEWEST: Final = 0.1  #: weight of the newest look at the loop: single quiet moments, such as waits for the disk, say little
_FULL: Final = 1 / 3  #: of the looks that found the loop at work: from there on it has no time to spare

T = TypeVar("T")


class Pace:
    """One for all workers of a gateway."""

    def __init__(self, busy: Callable[[], bool] = lambda: False, *, clock: Callable[[], float] = perf_counter) -> None:
        """`busy`: requests wait. `clock`: seconds of any kind that only grow."""
        self._busy = busy
        self._clock = clock
        self._next_s = 0.0
        self._full = 1.0  #: share of the looks, the newest counting most, that found work for the whole loop
        self._ended = False
        self._queue = asyncio.Lock()  #: gives turns in the order in which they were asked for

    def spent(self, seconds: float) -> None:
        """A delivery had the event loop for so long."""
        if self._busy():
            now = self._clock()
            self._next_s = min(now + MOST_S, max(self._next_s, now) + seconds * (1 / SHARE - 1))

    def crowded(self) -> bool:
        """True while requests wait and leave no time to spare, as far as the last looks tell."""
        return self._full >= _FULL and not self._ended and self._busy()

    def end(self) -> None:
        """No pauses any more: the workers stop, and none of them must wait for its turn to do so."""
        self._ended = True

    async def turn(self) -> None:
        """Until deliveries may take more of the event loop; at least what is ready to run goes first.

        Where requests only wait for the disk, the loop has time to spare, and a queue must not grow for that.
        """
        async with self._queue:
            while True:
                await self._look()
                wait_s = self._next_s - self._clock()
                if wait_s <= 0 or not self.crowded():
                    return
                await asyncio.sleep(min(wait_s, LOOK_S))

    async def _look(self) -> None:
        """Lets one round of the event loop pass and remembers whether it was a long one."""
        began_s = self._clock()
        await asyncio.sleep(0)
        if not self._busy():
            self._full = 1.0  # of the next rush nothing is known
        else:
            self._full += _NEWEST * ((self._clock() - began_s >= CROWDED_S) - self._full)


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
