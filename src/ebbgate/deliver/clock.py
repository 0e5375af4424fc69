"""Two clocks and what to believe when they disagree. Pure but for `SystemClock` (specs/reliability.md §2.6).

The wall clock may jump; the monotonic one may not. Timers, leases and retries run on *steady* time: the wall clock of the last
quiet moment plus the monotonic time since. When the wall clock has left steady time by more than a minute, nothing expires
until it comes back or an operator accepts it: a wrong jump forward must not end a whole queue.
"""

from __future__ import annotations

import time
from typing import Final, Protocol

ANOMALY_MS: Final = 60_000


class Clock(Protocol):
    """Where time comes from; tests bring their own."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""

    def mono_s(self) -> float:
        """Seconds of a clock that never jumps."""


class SystemClock:
    """The machine's clocks. Where there is one, the monotonic clock that also counts sleep: a laptop's lid is no anomaly."""

    _BOOTTIME: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)

    def wall_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1_000_000

    def mono_s(self) -> float:
        """Seconds since some moment in the past."""
        return time.monotonic() if self._BOOTTIME is None else time.clock_gettime(self._BOOTTIME)


class Watch:
    """Compares the clocks of one process. Call `observe` every second or so."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall_ms = clock.wall_ms()
        self._mono_s = clock.mono_s()
        self._drift_ms = 0

    @property
    def frozen(self) -> bool:
        """True while nothing may expire."""
        return self._drift_ms != 0

    @property
    def drift_s(self) -> int:
        """How far the wall clock is ahead of steady time, seconds; 0 while it is trusted."""
        return self._drift_ms // 1000

    def mono_s(self) -> float:
        """Monotonic seconds."""
        return self._clock.mono_s()

    def wall_ms(self) -> int:
        """The wall clock as it is, milliseconds since 1970."""
        return self._clock.wall_ms()

    def steady_ms(self) -> int:
        """Milliseconds since 1970 that never jump."""
        return self._wall_ms + int((self._clock.mono_s() - self._mono_s) * 1000)

    def latest_ms(self) -> int:
        """The later of wall and steady time: what a limit is compared with, so that no clock can prolong it."""
        return max(self.wall_ms(), self.steady_ms())

    def observe(self) -> bool:
        """Compare; small corrections of the wall clock are followed. True when an anomaly has just begun."""
        drift_ms = self.wall_ms() - self.steady_ms()
        if abs(drift_ms) > ANOMALY_MS:
            begun, self._drift_ms = not self.frozen, drift_ms
            return begun
        self.accept()
        return False

    def accept(self) -> None:
        """Believe the wall clock from now on: by `observe` when it is close, by an operator after an anomaly."""
        self._wall_ms, self._mono_s, self._drift_ms = self._clock.wall_ms(), self._clock.mono_s(), 0
