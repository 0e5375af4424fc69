"""The whole gateway beside a bare Starlette route: same core, same run, rounds in turn (specs/performance.md §5, §9).

Rates need a quiet machine. Where others use the cores too, read the processor time an event: who is pushed off the core does not
pay for it. How rates hold over millions of events is `bench_store`'s question: what grows is the store.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from typing import Any

from tests.bench.load import COUNTER, Load, Measured, run
from tests.bench.servers import ORIGIN, Server, bare, gateway, sink

HEADERS = b"origin: " + ORIGIN.encode() + b"\r\ncf-ipcountry: DE\r\nuser-agent: Mozilla/5.0 (X11; Linux x86_64) Chrome/148.0\r\n"


def event(consent: str) -> dict[str, Any]:
    """About 1 KB of JSON, as a shop's page sends it."""
    states = {"granted": ("granted", "granted"), "denied": ("denied", "denied")}[consent]
    return {
        "event": "purchase" if consent == "granted" else "page_view",
        "id": f"E-{COUNTER.decode()}",
        "page": {
            "url": "https://shop.example/thanks?utm_source=newsletter&utm_medium=email&fbclid=IwAR0abcDEF",
            "referrer": "https://www.example.org/review", "title": "Thank you | Shop",
        },
        "visitor": {"client_id": "1234567890.1731400000", "session_id": "1763632000"},
        "user": {"id": "user-43", "email": "juergen.mueller@example.de", "phone": "+49 30 901820"},
        "order": {
            "id": f"A-{COUNTER.decode()}", "value": 118.5, "currency": "EUR", "tax": 18.84, "shipping": 4.9, "coupon": "BF26",
            "items": [
                {"id": "shoe-42", "name": "Trail Shoe", "category": "Shoes", "price": 59, "quantity": 1},
                {"id": "sock-7", "name": "Wool Sock", "category": "Socks", "price": 9.9, "quantity": 6},
            ],
        },
        "campaign": {"source": "newsletter", "medium": "email", "name": "bf26"},
        "properties": {"color": "red", "size": 42, "note": "gift"},
        "consent": {"purposes": {"analytics": states[0], "advertising": states[1]}},
    }  # fmt: skip


def single(consent: str = "granted") -> bytes:
    """One event."""
    return json.dumps(event(consent), separators=(",", ":")).encode()


def batch(n: int = 20) -> bytes:
    """`n` events in one request."""
    return json.dumps({"events": [event("granted") for _ in range(n)]}, separators=(",", ":")).encode()


def half_denied(n: int = 20) -> bytes:
    """Every second event without consent."""
    return json.dumps({"events": [event("denied" if i % 2 else "granted") for i in range(n)]}, separators=(",", ":")).encode()


def all_granted_mixed(n: int = 20) -> bytes:
    """The same mix of events as `half_denied`, all with consent."""
    mixed = [event("denied" if i % 2 else "granted") for i in range(n)]
    for one in mixed:
        one["consent"] = event("granted")["consent"]
    return json.dumps({"events": mixed}, separators=(",", ":")).encode()


def main(*, rounds: int = 5, seconds: float = 3.0) -> None:
    """Print a table of ratios."""
    sinks = Server(sink, core=1)
    servers = {
        "bare": Server(bare),
        "gateway": Server(gateway, sinks.port, "sqlite", True),
        "store": Server(gateway, sinks.port, "sqlite", False),
        "memory": Server(gateway, sinks.port, "memory", False),
    }
    cases: dict[str, tuple[str, Load]] = {}

    def case(name: str, server: str, body: bytes, *, events: int = 1, connections: int = 64) -> None:
        expect = b"204" if server == "bare" else b"202"
        cases[name] = (
            server,
            Load(servers[server].port, "/e/v1/events", body, HEADERS, connections, seconds, 0.5, events, expect),
        )

    case("bare Starlette 204", "bare", single())
    case("gateway, single, delivering", "gateway", single())
    case("gateway, single, delivery off", "store", single())
    case("gateway, single, no store", "memory", single())
    case("gateway, batch of 20, delivering", "gateway", batch(), events=20)
    case("gateway, batch of 20, delivery off", "store", batch(), events=20)
    case("gateway, 16 connections", "store", single(), connections=16)
    case("batch of 20, all granted", "store", all_granted_mixed(), events=20)
    case("batch of 20, half denied", "store", half_denied(), events=20)
    results: dict[str, list[Measured]] = defaultdict(list)
    costs: dict[str, list[float]] = defaultdict(list)  # processor µs an event
    for server in servers.values():
        server.pause()
    try:
        for number in range(rounds):
            for name, (host, load) in cases.items():
                servers[host].resume()
                before_s = servers[host].cpu_s()
                results[name].append(run(load))
                used_s = servers[host].cpu_s() - before_s
                servers[host].pause()
                costs[name].append(used_s * 1e6 / max(1, results[name][-1].answered * load.events))
                print(f"\r  round {number + 1}/{rounds}  {name:<40}", end="", flush=True)
        print("\r" + " " * 70 + "\r", end="")
        _print(results, costs)
        _ratios(results, costs)
        peak = {name: f"{server.peak_mib():.0f} MiB" for name, server in servers.items()}
        print(f"\npeak memory: {', '.join(f'{k} {v}' for k, v in peak.items())}")
        servers["gateway"].resume()
        print(f"waiting after the runs: {servers['gateway'].ask('state')['waiting']}")
    finally:
        for server in [*servers.values(), sinks]:
            server.stop()


def _print(results: dict[str, list[Measured]], costs: dict[str, list[float]]) -> None:
    base = statistics.median(m.events_s for m in results["bare Starlette 204"])
    print(f"{'case':<38}{'events/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'÷ bare':>8}{'wrong':>7}{'cpu µs':>8}")
    for name, found in results.items():
        rate = statistics.median(m.events_s for m in found)
        p50, p99 = (statistics.median(getattr(m, k) for m in found) for k in ("p50_ms", "p99_ms"))
        wrong, cpu_us = sum(m.wrong for m in found), min(costs[name])
        print(f"{name:<38}{rate:>10,.0f}{p50:>9.2f}{p99:>9.2f}{rate / base:>8.2f}{wrong:>7}{cpu_us:>8.0f}")


def _ratios(results: dict[str, list[Measured]], costs: dict[str, list[float]]) -> None:
    """Ratio pair by pair, round by round: drift of the machine falls on both sides."""

    def ratio(a: str, b: str) -> float:
        return statistics.median(x.events_s / y.events_s for x, y in zip(results[a], results[b], strict=True))

    def cost(a: str, b: str) -> float:
        """How much of `b` one could do for `a`: least processor time an event, so that noise of other processes falls out."""
        return min(costs[b]) / min(costs[a])

    twenty = "gateway, batch of 20"
    slow = statistics.median(m.p99_ms / m.p50_ms for m in results["gateway, 16 connections"])
    rows = (
        ("single events ÷ bare", ratio("gateway, single, delivering", "bare Starlette 204"), ">=", 0.20),
        ("batches of 20 ÷ bare", ratio("gateway, batch of 20, delivering", "bare Starlette 204"), ">=", 0.50),
        ("durable ÷ no store, single", ratio("gateway, single, delivery off", "gateway, single, no store"), ">=", 0.45),
        ("p99 ÷ p50 at 16 connections", slow, "<=", 4.0),
        ("batches, delivering ÷ delivery off", ratio(f"{twenty}, delivering", f"{twenty}, delivery off"), ">=", 0.85),
        # A denied event is cheaper: nothing of it is encoded or kept. The goal is that it is not dearer.
        ("half denied ÷ all granted", ratio("batch of 20, half denied", "batch of 20, all granted"), ">=", 0.85),
        ("by processor time: single ÷ bare", cost("gateway, single, delivery off", "bare Starlette 204"), ">=", 0.20),
        ("by processor time: batch ÷ bare", cost("gateway, batch of 20, delivery off", "bare Starlette 204"), ">=", 0.50),
    )
    print(f"\n{'ratio':<38}{'measured':>10}{'goal':>9}")
    for name, value, sign, goal in rows:
        print(f"{name:<38}{value:>10.2f}{sign + f' {goal:.2f}':>9}")
