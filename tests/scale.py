"""How large a test run is: `EBBGATE_TEST_SCALE` multiplies the counts of properties and faults (default 1)."""

from __future__ import annotations

import os

SCALE = max(1, int(os.environ.get("EBBGATE_TEST_SCALE", "1")))


def scaled(n: int) -> int:
    """`n` times the scale of this run."""
    return n * SCALE
