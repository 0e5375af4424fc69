"""From the event loop to the writer: what is handed in while the loop is busy goes over in one piece.

A commit costs nearly the same for one event as for sixty, and each waking of the writer takes the interpreter away from the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from ebbgate.store.sqlite_writer import Job

GATHER_S: Final = 0.002  #: the longest that a job waits for others that come in at the same time


class Gather:
    """Keeps the order of the jobs. For one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, hand_over: Callable[[Sequence[Job]], None]) -> None:
        self._loop = loop
        self._to_writer = hand_over
        self._jobs: list[Job] = []
        self._until_s = 0.0

    def add(self, job: Job) -> None:
        """Take a job; it goes over with the first round of the loop that brings no other, or when it has waited long enough."""
        if not self._jobs:
            self._until_s = self._loop.time() + GATHER_S
            self._loop.call_soon(self._look, 0)
        self._jobs.append(job)

    def hand_over(self) -> None:
        """All of it now."""
        if self._jobs:
            self._to_writer(self._jobs)
            self._jobs = []

    def _look(self, before: int) -> None:
        found = len(self._jobs)
        if found > before and self._loop.time() < self._until_s:
            self._loop.call_soon(self._look, found)
        else:
            self.hand_over()
