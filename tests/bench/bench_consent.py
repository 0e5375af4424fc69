"""How long consent takes, measured against a fixed pure-Python loop in the same run, so that figures compare across machines.

Run: `python -m tests.bench.bench_consent`. Limits are those of the consent issue: 25 µs for a TC core and 40 µs for a GPP string
with three sections, both uncached, and 3 µs for a cached resolution, on a core that runs the loop in 35 µs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from ebbgate.consent import gpp, tcf
from ebbgate.consent.resolve import Resolver, resolve
from ebbgate.model import ConsentRules, Model, Place, PurposeRule, Signals, VendorRule
from tests.unit.consent.build import ACCEPT_ALL, NOW_MS, Tc, us, usca, usnat
from tests.unit.consent.build import gpp as encode_gpp

#: Time of `fixed_loop` on the machine for which the limits were set, microseconds.
LOOP_US = 35.0
RULES = ConsentRules(
    model=Model.OPT_IN,
    read_from=("event", "tcf", "gpp", "google_consent_mode", "cmp_cookie", "us_privacy", "gpc"),
    if_missing="refused",
    if_sources_disagree="most_protective",
    purposes=(
        PurposeRule("analytics", (1, 8), ("analytics_storage",), ("analytics",)),
        PurposeRule("advertising", (1, 3, 4, 7), ("ad_storage", "ad_user_data"), ("marketing",), refused_by_gpc=True),
    ),
    vendors=(VendorRule("ga4", 755, None, (1, 8)),),
)


def fixed_loop() -> int:
    """Plain integer arithmetic, the same everywhere."""
    total = 0
    for number in range(1000):
        total = (total + number * number) & 0xFFFFFF
    return total


def best_us(call: Callable[[], object], *, rounds: int = 30, inner: int = 50) -> float:
    """Best mean time of one call, microseconds: the least disturbed of many rounds."""
    best = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        for _ in range(inner):
            call()
        best = min(best, (time.perf_counter() - started) / inner)
    return best * 1e6


@dataclass(frozen=True)
class Figure:
    """One measurement: microseconds, and the same scaled to the reference core, against its limit."""

    name: str
    us: float
    scaled_us: float
    limit_us: float

    @property
    def holds(self) -> bool:
        """True when the scaled time is within its limit."""
        return self.scaled_us <= self.limit_us


def measure() -> list[Figure]:
    """All figures of this module."""
    source = random.Random(7)
    everyone = [vendor for vendor in range(1, 1500) if source.random() < 0.6]
    few = [vendor for vendor in range(1, 4200) if source.random() < 0.01]
    bit_field = Tc(purposes=range(1, 12), vendors=everyone, vendors_li=everyone, disclosed=None).encode()
    ranged = Tc(purposes=range(1, 12), vendors=few, vendors_li=few, disclosed=None, ranged=True).encode()
    three = encode_gpp([(7, usnat()), (8, usca(gpc=False)), (9, us(1, [1, 1, 1, 2, 2, *[0] * 8, 0, 1, 0, 0]))])
    signals = Signals(tcf=ACCEPT_ALL, gcs="G111", gcd="13r3r3r3r5", gpc=True)
    place = Place("DE")
    resolver = Resolver()
    loop_us = best_us(fixed_loop)
    factor = LOOP_US / loop_us
    cases: tuple[tuple[str, Callable[[], object], float], ...] = (
        ("TC core, 1499 vendors as bit fields", lambda: tcf._decode(bit_field), 25),
        (f"TC core, 2 x {len(few)} range entries", lambda: tcf._decode(ranged), 50),
        ("GPP, three sections", lambda: gpp._decode(three), 40),
        ("resolution, decoded strings cached", lambda: resolve(signals, place, RULES, NOW_MS), 80),
        ("resolution, cached", lambda: resolver.resolve(signals, place, RULES, NOW_MS), 3),
    )
    figures = [Figure("fixed loop", loop_us, LOOP_US, LOOP_US)]
    for name, call, limit in cases:
        us_taken = best_us(call)
        figures.append(Figure(name, us_taken, us_taken * factor, limit))
    return figures


def main() -> None:
    """Print the table."""
    print(f"{'':<40}{'µs':>8}{'scaled':>9}{'limit':>8}")
    for figure in measure():
        print(
            f"{figure.name:<40}{figure.us:>8.1f}{figure.scaled_us:>9.1f}{figure.limit_us:>8.0f}{'' if figure.holds else '  over'}"
        )


if __name__ == "__main__":
    main()
