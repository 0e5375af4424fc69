"""`make bench [ARGS=…]`: every bench, or those named: gateway, store, consent, policy, render, decay."""

from __future__ import annotations

import importlib
import sys
import time

BENCHES = ("gateway", "consent", "policy", "render", "delivery", "store")


def main() -> None:
    """Run the benches named on the command line, or all."""
    wanted = [a for a in sys.argv[1:] if not a.startswith("-")] or list(BENCHES)
    for name in wanted:
        started = time.monotonic()
        print(f"\n═══ {name}")
        importlib.import_module(f"tests.bench.bench_{name}").main()
        print(f"({time.monotonic() - started:.0f} s)")


if __name__ == "__main__":
    main()
