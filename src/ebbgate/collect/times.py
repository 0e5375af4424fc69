"""Times as senders write them → milliseconds since 1970 UTC. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

MAX_MS: Final = 4_102_444_800_000  #: year 2100
_SECONDS_BELOW: Final = 100_000_000_000  #: a number below this is seconds: in milliseconds it would be before 1973


def parse_time(value: Any) -> int | None:
    """ISO 8601 text with a zone, or a number of seconds or milliseconds; None when it is neither."""
    if isinstance(value, str):
        if len(value) > 40:
            return None
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        if moment.tzinfo is None:
            return None  # a local time of an unknown place could be off by a day
        ms = int(moment.timestamp() * 1000 + 0.5)
        return ms if 0 < ms < MAX_MS else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    ms = int(value * 1000 if value < _SECONDS_BELOW else value)
    return ms if 0 < ms < MAX_MS else None


def iso(ms: int) -> str:
    """Milliseconds → `2026-11-21T22:31:21.000Z`."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
