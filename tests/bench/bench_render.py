"""How long rendering one event takes, destination by destination: µs an event for `render` and for its share of a full envelope.

    python -m tests.bench.bench_render [--json]

The figure of issue 5: at most 40 µs an event for `render`.
"""

from __future__ import annotations

import json
import statistics
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
ROUNDS: Final = 7
COUNT: Final = 1000


def _best(call: Callable[[], Any], count: int) -> float:
    """µs a call: the median of several rounds of `count`."""
    found = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(count):
            call()
        found.append((time.perf_counter() - start) / count * 1e6)
    return statistics.median(found)


def measure() -> list[dict[str, float | str]]:
    """One row a destination: its name, µs of `render`, µs of `envelope` for one event of a full batch."""
    table: list[dict[str, float | str]] = []
    for name, destination in sorted(DESTINATIONS.items()):
        settings = destination.settings.model_validate(settings_of(name))
        clean = cleaned(destination, SAMPLE)
        row = destination.render(clean, settings)
        if isinstance(row, Skip):
            raise SystemExit(f"{name}: the sample is not sent ({row.reason})")
        rows = [row] * min(destination.batch.events, 100)
        render_us = _best(lambda d=destination, c=clean, s=settings: d.render(c, s), COUNT)  # type: ignore[misc]  # bound at once
        envelope_us = _best(lambda d=destination, r=rows, s=settings: d.envelope(r, s), 20) / len(rows)  # type: ignore[misc]  # as above
        table.append({"destination": name, "render_us": round(render_us, 1), "envelope_us": round(envelope_us, 1)})
    return table


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
