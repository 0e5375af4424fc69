"""How long rendering one event takes, destination by destination: µs an event for `render` and for its share of a full envelope.

    python -m tests.bench.bench_render [--json]

The figure of issue 5: at most 40 µs an event for `render`.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from ebbgate.destinations.kit import Skip
from ebbgate.destinations.registry import DESTINATIONS
from tests.contract.test_destination_rules import event, settings_of
from tests.unit.destinations.samples import cleaned

LIMIT_US: Final = 40.0
#: A purchase of a known customer with three products, as a shop's server sends it.
SAMPLE: Final = event(
    "purchase",
    page={
        "url": "https://shop.example/thanks?utm_source=newsletter&utm_medium=mail&order=1",
        "referrer": "https://shop.example/pay",
    },
    properties={"color": "red", "gift": True, "weight": 3},
    order={
        "id": "R-1",
        "value": 37.5,
        "currency": "EUR",
        "items": [{"id": f"SKU-{i}", "name": "Tea", "category": "Drinks", "price": 12.5, "quantity": 1} for i in range(3)],
    },
)
ROUNDS: Final = 9
COUNT: Final = 500


def _once(call: Callable[[], Any], count: int) -> float:
    """µs of CPU a call, over `count` calls."""
    start = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - start) / count * 1e6


def _calls(name: str) -> tuple[Callable[[], Any], Callable[[], Any], int]:
    """Rendering the sample, making an envelope of many, and of how many."""
    destination = DESTINATIONS[name]
    settings = destination.settings.model_validate(settings_of(name))
    clean = cleaned(destination, SAMPLE)
    row = destination.render(clean, settings)
    if isinstance(row, Skip):
        raise SystemExit(f"{name}: the sample is not sent ({row.reason})")
    rows = [row] * min(destination.batch.events, 100)
    return lambda: destination.render(clean, settings), lambda: destination.envelope(rows, settings), len(rows)


def measure() -> list[dict[str, float | str]]:
    """One row a destination: its name, µs of `render`, µs of `envelope` for one event of a full batch.

    The best of several rounds over all destinations: a machine that is slow for a while is slow for all of one round.
    """
    calls = {name: _calls(name) for name in sorted(DESTINATIONS)}
    render_us, envelope_us = dict.fromkeys(calls, math.inf), dict.fromkeys(calls, math.inf)
    for _ in range(ROUNDS):
        for name, (render, envelope, rows) in calls.items():
            render_us[name] = min(render_us[name], _once(render, COUNT))
            envelope_us[name] = min(envelope_us[name], _once(envelope, 20) / rows)
    return [{"destination": n, "render_us": round(render_us[n], 1), "envelope_us": round(envelope_us[n], 1)} for n in calls]


def main() -> None:
    """Print the table; exit 1 when a destination is over the limit."""
    table = measure()
    if "--json" in sys.argv[1:]:
        print(json.dumps(table))
    else:
        print(f"{'destination':<22}{'render µs':>10}{'envelope µs':>13}")
        for row in table:
            print(f"{row['destination']:<22}{row['render_us']:>10}{row['envelope_us']:>13}")
    if any(float(row["render_us"]) > LIMIT_US for row in table):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
