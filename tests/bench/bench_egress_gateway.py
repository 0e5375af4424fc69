"""What the egress check costs the whole gateway: processor time an event from the request to three answers, with it and without it.

Run: `python -m tests.bench.bench_egress_gateway`. One process takes events at its ASGI app, decides, stores them on disk, and delivers
them to GA4, Meta and a webhook that answer at once: no sockets, so nothing but the gateway's own work is counted, and the check's share
is larger than behind a server. Deliveries begin when all events are stored, so that each run makes the same requests. Runs with the
check and without it take turns; the least of several counts, as noise only adds. The processor time inside the check is counted too:
on a busy machine it is the steadier of the two.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from unittest.mock import patch

import uvloop

from ebbgate import app, log
from ebbgate.deliver.attempt import Attempts
from ebbgate.deliver.lane import Lane
from ebbgate.destinations.kit import Destination, HttpRequest, HttpResponse
from ebbgate.edge.serving import calm_collector
from ebbgate.model import Outcome
from ebbgate.policy.templates import templates_path
from ebbgate.settings import Settings, load_settings
from ebbgate.store.keys import KeyRing
from tests.bench.bench_egress import Spent
from tests.bench.bench_gateway import batch, single
from tests.bench.load import COUNTER
from tests.bench.servers import ORIGIN
from tests.e2e.harness import WEBHOOK_SECRET

EVENTS: Final = 2_000
TURNS: Final = 7
AT_ONCE: Final = 16  #: requests under way
NAMES: Final = ("ga4", "meta", "webhook")
LIMIT: Final = 0.15  #: of throughput (issue 4.9)
HEADERS: Final = [
    (b"host", b"shop.example"), (b"origin", ORIGIN.encode()), (b"content-type", b"application/json"), (b"cf-ipcountry", b"DE"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64) Chrome/148.0"),
]  # fmt: skip


class AtOnce:
    """A sender whose platform takes everything."""

    async def send(self, request: HttpRequest, fresh: Callable[[], bool]) -> HttpResponse:
        """What GA4, Meta and a webhook answer."""
        if request.url.startswith("https://graph.facebook.com/"):
            return HttpResponse(200, {}, b'{"events_received": %d, "messages": []}' % request.body.count(b'"event_name"'))
        return HttpResponse(200, {}, b"{}")

    async def aclose(self) -> None:
        """Nothing is open."""


def lane_at_once(destination: Destination, settings: Any, *, deadline_s: float) -> Lane:
    """In place of `open_lane`."""
    return Lane(destination, settings, AtOnce(), deadline_s)


def settings_in(folder: Path) -> Settings:
    """As in `bench_gateway`: three destinations, the shipped policies."""
    return load_settings(
        None,
        overrides={
            "server.trusted_proxies": ["127.0.0.1/32"],
            "store.url": f"sqlite:///{folder / 'data' / 'ebbgate.db'}",
            "policies.path": str(templates_path()),
            "sites.shop.origins": [ORIGIN],
            "destinations.ga4": {"measurement_id": "G-BENCH00000", "api_secret": "x"},
            "destinations.meta": {"pixel_id": "1234567890", "access_token": "x"},
            "destinations.webhook": {"url": "https://hooks.example/x", "secret": WEBHOOK_SECRET},
        },
    )


async def post(gateway: app.Gateway, body: bytes) -> None:
    """One request at the ASGI app."""
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "https", "path": "/e/v1/events",
        "raw_path": b"/e/v1/events", "query_string": b"", "root_path": "", "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 80),
        "headers": [*HEADERS, (b"content-length", str(len(body)).encode())],
    }  # fmt: skip
    told: list[Mapping[str, Any]] = []

    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Mapping[str, Any]) -> None:
        told.append(message)

    await gateway.public(scope, receive, send)
    assert told[0]["status"] == 202, told


async def cost_us(of: int, folder: Path) -> float:
    """Processor µs an event, all of it: requests of `of` events each, taken, stored and delivered three times."""
    with patch.object(app, "open_lane", lane_at_once):
        gateway = app.Gateway(settings_in(folder), keys=KeyRing.ephemeral())
    bodies = numbered(single() if of == 1 else batch(of))
    await gateway.store.open()
    await gateway.recorder.open()
    calm_collector()
    waiting = iter(range(EVENTS // of))

    async def visitor() -> None:
        for _ in waiting:
            await post(gateway, bodies())

    began = time.process_time()
    await asyncio.gather(*(visitor() for _ in range(AT_ONCE)))
    await gateway.runner.start()
    async with asyncio.timeout(120):
        while any(gateway.runner.states()[name].figures.outcomes.total() < EVENTS for name in NAMES):
            await asyncio.sleep(0.02)
    spent = time.process_time() - began
    outcomes = {name: dict(gateway.runner.states()[name].figures.outcomes) for name in NAMES}
    assert all(len(ended) == 1 and min(ended) in (Outcome.DELIVERED, Outcome.ACCEPTED_UNVERIFIED) for ended in outcomes.values()), (
        outcomes
    )
    await gateway.runner.stop(grace_s=5)
    await gateway.recorder.close()
    await gateway.store.close()
    return spent / EVENTS * 1e6


def numbered(template: bytes) -> Callable[[], bytes]:
    """The body again and again, with another number at each event."""
    parts, number = template.split(COUNTER), 0

    def body() -> bytes:
        nonlocal number
        found = [parts[0]]
        for part in parts[1:]:
            number += 1
            # An id and its order stand beside each other: both count, so that all ids of a run differ.
            found += [b"%0*d" % (len(COUNTER), number), part]
        return b"".join(found)

    return body


def run(of: int, *, check: bool) -> tuple[float, float]:
    """One turn in a folder of its own: processor µs an event, and those of them inside the check."""
    spent = Spent()
    looked = spent.counted(Attempts._leak) if check else lambda *_: ""
    with (
        TemporaryDirectory(prefix="ebbgate-bench-", dir=os.environ.get("EBBGATE_TEST_BENCH_DIR")) as folder,
        patch.object(Attempts, "_leak", looked),
    ):
        whole_us = uvloop.run(cost_us(of, Path(folder)))
    return whole_us, spent.s / EVENTS * 1e6


def main() -> None:
    """One line for single events, one for requests of twenty."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        log.configure("json", nowhere)
        run(20, check=True)  # everything imported and compiled
        print(
            f"{'requests of':<14}{'without µs':>12}{'with µs':>10}{'difference':>12}{'inside µs':>11}{'share':>8}   goal <= {LIMIT:.0%}"
        )
        for of in (1, 20):
            turns = [(run(of, check=False), run(of, check=True)) for _ in range(TURNS)]
            without = min(whole for (whole, _), _ in turns)
            checked, inside = min(whole for _, (whole, _) in turns), min(own for _, (_, own) in turns)
            share = statistics.median(own / whole for _, (whole, own) in turns)
            print(f"{of:<14}{without:>12.0f}{checked:>10.0f}{1 - without / checked:>12.1%}{inside:>11.0f}{share:>8.1%}", flush=True)


if __name__ == "__main__":
    main()
