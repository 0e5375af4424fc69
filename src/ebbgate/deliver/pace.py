"""The intake goes first: while requests wait to be answered, all deliveries together get a small share of the event loop.

What a delivery takes is measured, step by step, so that one of a thousand events waits longer afterwards than one of a single event,
and another destination gets its turn meanwhile. While nothing waits there is no pause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from time import perf_counter
from typing import Any, Final, TypeVar

SHARE: Final = 0.05  #: of the event loop, while the intake is busy
CROWDED_S: Final = 0.001  #: a round of the event loop that takes so long has work for all of it; with less there is time to spare
LOOK_S: Final = 0.05  #: how often a delivery that waits looks whether the intake is still busy
MOST_S: Final = 2.0  #: the longest pause that one step causes: a long step must not stop deliveries for minutes

T = TypeVar("T")


class Pace:
    """One for all workers of a gateway."""

    def __init__(self, busy: Callable[[], bool] = lambda: False, *, clock: Callable[[], float] = perf_counter) -> None:
        """`busy`: requests wait. `clock`: seconds of any kind that only grow."""
        self._busy = busy
        self._clock = clock
        self._next_s = 0.0

    def spent(self, seconds: float) -> None:
        """A delivery had the event loop for so long."""
        if self._busy():
            now = self._clock()
            self._next_s = max(self._next_s, now) + min(MOST_S, seconds * (1 / SHARE - 1))

    async def turn(self) -> None:
        """Until deliveries may take more of the event loop; at least what is ready to run goes first.

        Where requests only wait for the disk, the loop has time to spare, and a queue must not grow for that.
        """
        while await self._crowded():
            wait_s = self._next_s - self._clock()
            if wait_s <= 0 or not self._busy():
                return
            await asyncio.sleep(min(wait_s, LOOK_S))

    async def _crowded(self) -> bool:
        """Lets one round of the event loop pass and tells whether it was a long one."""
        began_s = self._clock()
        await asyncio.sleep(0)
        return self._clock() - began_s >= CROWDED_S

    async def timed(self, work: Coroutine[Any, Any, T]) -> T:
        """Await it, counting what it takes of the event loop and nothing of what it waits for."""
        result: T = await _Timed(work, self)
        return result


class _Timed:
    """A coroutine whose every step is measured."""

    __slots__ = ("_pace", "_work")

    def __init__(self, work: Coroutine[Any, Any, Any], pace: Pace) -> None:
        self._work = work
        self._pace = pace

    def __await__(self) -> Generator[Any, Any, Any]:
        step = partial(self._work.send, None)
        while True:
            began = perf_counter()
            try:
                waits_for = step()
            except StopIteration as end:
                return end.value
            finally:
                self._pace.spent(perf_counter() - began)
            try:
                step = partial(self._work.send, (yield waits_for))
            except BaseException as error:  # noqa: BLE001  a cancellation too belongs to the work
                step = partial(self._work.throw, error)
