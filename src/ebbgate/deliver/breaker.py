"""A circuit breaker for one destination and its credential. Pure: the clock is an argument (specs/reliability.md §2.3).

Closed, it lets everything pass and counts. It opens at half of at least 20 requests failed within 30 s, or at 5 connection
failures in a row, or at once when asked (configuration, push-back). Open, it lets nothing pass until its time is over; then
one probe decides.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import Final

from ebbgate.deliver.retry import Draw

WINDOW_S: Final = 30.0
MIN_REQUESTS: Final = 20
FAILURE_RATE: Final = 0.5
CONNECT_FAILURES: Final = 5
FIRST_OPEN_S: Final = 5.0
MAX_OPEN_S: Final = 300.0


class State(StrEnum):
    """The three states; `half_open` has one probe under way or about to start."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """All times are seconds of a monotonic clock; `draw` spreads the probes of many gateways."""

    def __init__(self, draw: Draw, *, scale: float = 1.0) -> None:
        self._draw = draw
        self._scale = scale
        self._seen: deque[tuple[float, bool]] = deque()
        self._failed = 0
        self._connect_failures = 0
        self._times_opened = 0
        self._open_until: float | None = None

    def state(self, now_s: float) -> State:
        """The state at `now_s`."""
        if self._open_until is None:
            return State.CLOSED
        return State.OPEN if now_s < self._open_until else State.HALF_OPEN

    def wait_s(self, now_s: float) -> float:
        """Seconds until a request may begin; 0 = now."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - now_s)

    def allowed(self, now_s: float, most: int) -> int:
        """How many requests may be in flight: all, one probe, or none."""
        match self.state(now_s):
            case State.CLOSED:
                return most
            case State.HALF_OPEN:
                return 1
            case _:
                return 0

    def succeeded(self, now_s: float) -> None:
        """An answer came that is not a failure of the destination: a probe that does so closes the circuit."""
        self._connect_failures = 0
        if self.state(now_s) is State.HALF_OPEN:
            self._close()
        self._count(now_s, failed=False)

    def failed(self, now_s: float, *, connecting: bool = False) -> None:
        """A request failed in a way that says something about the destination, not about its rows."""
        if self.state(now_s) is State.HALF_OPEN:
            self.open(now_s)
            return
        self._count(now_s, failed=True)
        self._connect_failures = self._connect_failures + 1 if connecting else 0
        rate = self._failed / len(self._seen)
        if self._connect_failures >= CONNECT_FAILURES or (len(self._seen) >= MIN_REQUESTS and rate >= FAILURE_RATE):
            self.open(now_s)

    def open(self, now_s: float, *, at_least_s: float = 0.0) -> None:
        """Open now. Each opening in a row doubles the time, up to five minutes; half of it is chance."""
        span = min(MAX_OPEN_S, FIRST_OPEN_S * 2.0 ** min(self._times_opened, 16)) * self._scale
        self._times_opened += 1
        self._hold(now_s + max(at_least_s, span * (0.5 + self._draw() / 2)))

    def pause(self, now_s: float, span_s: float) -> None:
        """The destination asked for silence: hold without counting it as an opening."""
        self._hold(now_s + span_s)

    def _hold(self, until_s: float) -> None:
        self._open_until = until_s if self._open_until is None else max(self._open_until, until_s)

    def _close(self) -> None:
        self._open_until = None
        self._times_opened = 0
        self._seen.clear()
        self._failed = 0

    def _count(self, now_s: float, *, failed: bool) -> None:
        self._seen.append((now_s, failed))
        self._failed += failed
        while self._seen and self._seen[0][0] < now_s - WINDOW_S:
            self._failed -= self._seen.popleft()[1]
