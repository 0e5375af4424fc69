"""When a row is tried again and when it is over. Pure: time and chance are arguments (specs/reliability.md §2.3).

Two clocks can end a delivery: its age (the gate) and, once a request for it may have been processed, the time for which the
platform still recognises a copy. After an unknown outcome nothing is repeated past the second one.
"""

from __future__ import annotations

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final

from ebbgate.destinations.kit import Act
from ebbgate.model import Outcome
from ebbgate.store.protocol import Queued, Result

MAX_ATTEMPTS: Final = 12
BASE_S: Final = 1.0
CAP_S: Final = 15 * 60.0
RETRY_AFTER_CAP_S: Final = 3600.0
HOUR_MS: Final = 3_600_000

Draw = Callable[[], float]
"""A random number in [0, 1)."""


def backoff_s(attempts: int, draw: Draw, *, base_s: float = BASE_S) -> float:
    """Full jitter: uniform in [0, min(15 min, base · 2^attempts)) seconds."""
    ceiling = CAP_S if attempts >= 32 else min(CAP_S, base_s * 2.0 ** max(0, attempts))
    return draw() * ceiling


def retry_after_s(value: str | None, *, now_s: float) -> float | None:
    """Seconds that a `Retry-After` header asks for (RFC 9110 §10.2.3: digits or an HTTP date), at most one hour.

    None when it is absent or cannot be read; a date in the past is 0. `now_s` is unix time.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        # Longer than any cap: int() of thousands of digits is refused by Python itself.
        return RETRY_AFTER_CAP_S if len(text) > 9 else min(float(text), RETRY_AFTER_CAP_S)
    try:
        at_s = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError, OSError):
        return None
    return min(max(0.0, at_s - now_s), RETRY_AFTER_CAP_S)


def delay_s(attempts: int, draw: Draw, *, asked_s: float | None, base_s: float = BASE_S) -> float:
    """Seconds until the next attempt: the own backoff, or longer when the platform asked for longer."""
    own = backoff_s(attempts, draw, base_s=base_s)
    return own if asked_s is None else max(own, min(asked_s, RETRY_AFTER_CAP_S))


def may_repeat(*, first_attempt_ms: int, at_ms: int, window_s: int | None) -> bool:
    """True while the platform merges a copy with a first request begun at `first_attempt_ms`.

    One hour is kept as a margin (specs/reliability.md §2.3), half of the window when that is shorter. `window_s` None: the
    platform does not deduplicate this event.
    """
    if window_s is None:
        return False
    window_ms = window_s * 1000
    return at_ms < first_attempt_ms + window_ms - min(HOUR_MS, window_ms // 2)


def row_result(
    queued: Queued,
    act: Act,
    reason: str,
    *,
    window_s: int | None,
    now_ms: int,
    draw: Draw,
    asked_s: float | None = None,
    base_s: float = BASE_S,
) -> Result:
    """What becomes of one row that an attempt did not finish: tried again, or over with an outcome.

    `act` RETRY: the platform did not process it. Where the platform said when to come back (`asked_s`), the request does not
    count: the row is not at fault. Any other act: it may have been processed. `window_s`: for how long the platform merges
    copies of this event, None when it does not. Times of `now_ms` and `Queued` are milliseconds since 1970.
    """
    attempts = queued.attempts + 1
    pushed_back = act is Act.RETRY and asked_s is not None
    wait_s = delay_s(attempts, draw, asked_s=asked_s, base_s=base_s)
    retry_at_ms = now_ms + max(1, int(wait_s * 1000))
    if act is Act.RETRY:
        if not pushed_back and attempts >= MAX_ATTEMPTS:
            return Result(queued, Outcome.REJECTED, dead=True, reason="attempts_exhausted")
        return Result(queued, retry_at_ms=retry_at_ms, reason=reason, counts=not pushed_back)
    first_ms = queued.first_attempt_ms if queued.attempts else now_ms
    if attempts >= MAX_ATTEMPTS or not may_repeat(first_attempt_ms=first_ms, at_ms=retry_at_ms, window_s=window_s):
        return Result(queued, Outcome.UNKNOWN, dead=True, reason=reason)
    return Result(queued, retry_at_ms=retry_at_ms, reason=reason)


def too_late_to_repeat(queued: Queued, *, window_s: int | None, now_ms: int) -> bool:
    """True when an earlier request may have been processed and the platform would no longer merge a copy.

    Asked before each attempt: the row may have waited longer than planned (a dead destination, a stopped process). Without a
    window nothing can be in doubt: such a row ended at its first unknown outcome.
    """
    if not queued.attempts or window_s is None:
        return False
    return not may_repeat(first_attempt_ms=queued.first_attempt_ms, at_ms=now_ms, window_s=window_s)
