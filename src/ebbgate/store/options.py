"""What can be set on the SQLite store. Defaults are those that were measured to hold (specs/performance.md §9)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ebbgate.store.sqlite_connect import Synchronous

MIB: Final = 1 << 20
DAY_MS: Final = 24 * 3600 * 1000


def wall_ms() -> int:
    """Milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Options:
    """Sizes and times of one store."""

    segment_events: int = 250_000
    segment_bytes: int = 512 * MIB
    segment_ms: int = 3600 * 1000  #: age at which a segment is sealed
    window_ms: int = 8 * DAY_MS  #: conversions are known as duplicates this long
    recent: int = 8  #: other events over this many sealed segments
    min_free_bytes: int = 64 * MIB  #: below this much free disk no event is taken; deliveries and erasures go on
    pending_events: int = 2000  #: bound of what waits for the writer, and of one transaction
    pending_bytes: int = 16 * MIB
    wal_bytes: int = 64 * MIB  #: WAL size at which a checkpoint begins
    synchronous: Synchronous = "FULL"  #: anything else loses acknowledged events: for the tests that show it
    vfs: str = ""  #: SQLite VFS of the fault tests; then there is one connection a file
    idle_s: float = 0.5  #: how often an idle writer looks after age and pruning
    clock_ms: Callable[[], int] = wall_ms
    failpoint: Callable[[str], None] = lambda name: None  #: called at named points; the fault tests die there
