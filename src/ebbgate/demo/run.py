"""`serve --demo`: the real gateway, stand-ins for the platforms, a shop page, and sample visitors whose stories are printed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from ebbgate import log
from ebbgate.app import Gateway, clock_ms
from ebbgate.demo.http import request
from ebbgate.demo.shop import Shop
from ebbgate.demo.sink import Received, RecordingSink, Reply
from ebbgate.demo.stories import Stories
from ebbgate.demo.visitors import CHROME, Visit, visits
from ebbgate.edge.serving import address, listen, served
from ebbgate.edge.stopping import stop_signal
from ebbgate.errors import ConfigError
from ebbgate.policy.templates import templates_path
from ebbgate.settings import Settings, load_settings
from ebbgate.store.keys import KeyRing

SERVER_KEY: Final = "demo-server-key-not-a-secret"
DRAIN_S: Final = 20


def _platforms(received: Received) -> Reply:
    """Answer as the platforms do: GA4 says nothing, Meta counts, a webhook says 200."""
    if received.path.startswith("/mp/"):
        return Reply(204, b"", ())
    if received.path.endswith("/events"):
        return Reply.of(200, {"events_received": len(received.json()["data"]), "messages": [], "fbtrace_id": "demo"})
    return Reply.of(200, {"ok": True})


def _platform(received: Received) -> str:
    return "ga4" if received.path.startswith("/mp/") else "meta" if received.path.endswith("/events") else "webhook"


def _settings(folder: Path, port: int, admin: int, shop: str, sink: str) -> Settings:
    """The demo's settings: the real ones, with stand-ins for the platforms and keys that live in memory only."""
    return load_settings(
        None,
        overrides={
            "server.port": port,
            "server.trusted_proxies": ["127.0.0.1/32"],
            "admin.port": admin,
            "store.url": f"sqlite:///{folder / 'data' / 'ebbgate.db'}",
            "policies.path": str(templates_path()),
            "sites.shop.origins": [f"http://{shop}"],
            "sites.shop.server_keys": [SERVER_KEY],
            "destinations.ga4": {"measurement_id": "G-DEMO000000", "api_secret": "demo", "region": "eu", "endpoint": sink},
            "destinations.meta": {"pixel_id": "1234567890", "access_token": "demo", "endpoint": sink},
            "destinations.webhook": {"url": f"{sink}/hook", "secret": "whsec_" + base64.b64encode(b"demo" * 8).decode()},
        },
    )


@contextlib.asynccontextmanager
async def _stage() -> AsyncIterator[tuple[Gateway, Stories, RecordingSink, str]]:
    """Everything up: sink, gateway, shop. Gone without a trace afterwards."""
    with tempfile.TemporaryDirectory(prefix="ebbgate-demo-") as folder:
        sink = RecordingSink(_platforms)
        shop_socket = _free("shop", 8090)
        stories = Stories()
        async with sink.serve():
            settings = _settings(Path(folder), _free_port(8080), _free_port(8081), address(shop_socket), sink.url)
            gateway = Gateway(settings, keys=KeyRing.ephemeral("demo"), watch=stories.decided)
            async with gateway.running():
                shop = Shop(gateway.collect_at, stories.after)
                async with served(shop, shop_socket):
                    yield gateway, stories, sink, address(shop_socket)


def _free(what: str, port: int) -> Any:
    """The wished port, or any free one: a second demo must not fail."""
    try:
        return listen("127.0.0.1", port, what=what)
    except ConfigError:
        return listen("127.0.0.1", 0, what=what)


def _free_port(port: int) -> int:
    sock = _free("server", port)
    try:
        return int(sock.getsockname()[1])
    finally:
        sock.close()


async def demo(*, once: bool) -> int:
    """Run the demo; 0 when it went as it should, 1 when the queue did not empty or an answer was not as expected."""
    log.configure("console")
    with stop_signal() as stopped:
        async with _stage() as (gateway, stories, sink, shop):
            print(
                f"ebbgate demo: {len(gateway.policies.current.policies)} policies, destinations {', '.join(gateway.configured)}\n"
            )
            surprises = 0
            for visit in visits(clock_ms()):
                if stopped.is_set():
                    break
                surprises += await _send(visit, gateway, stories, shop)
            drained = await _drained(gateway)
            _print_received(sink, gateway)
            if surprises or not drained:
                print(f"  {surprises} answers were not as expected; queue {'empty' if drained else 'not empty'}")
            if once:
                return 1 if surprises or not drained else 0
            print(f"\n  shop      http://{shop}/                     be a visitor yourself and watch the stories")
            print(f"  collect   http://{gateway.collect_at}{gateway.settings.server.prefix}/v1/events")
            print(f"  health    http://{gateway.admin_at}/readyz")
            print("  Ctrl-C ends it and leaves nothing behind.\n")
            await stopped.wait()
    return 0


async def _send(visit: Visit, gateway: Gateway, stories: Stories, shop: str) -> int:
    body = visit.body if isinstance(visit.body, str) else json.dumps(visit.body)
    headers = {"Content-Type": "application/json", "User-Agent": CHROME, **visit.headers}
    if visit.origin == "shop":
        headers["Origin"] = f"http://{shop}"
    elif visit.origin == "stranger":
        headers["Origin"] = "https://stranger.example"
    else:
        headers["Authorization"] = f"Bearer {SERVER_KEY}"
    if visit.country:
        headers["CF-IPCountry"] = visit.country
    if visit.region:
        headers["cf-region-code"] = visit.region
    status, _, answered = await request(gateway.collect_at, "POST", "/e/v1/events", headers=headers, body=body.encode())
    print(f"── {visit.who}: {visit.watch_for}")
    told = json.loads(answered)
    if status == 202:
        print(stories.last())
    else:
        print(f"   answered {status} {told['code']}: {told['detail']}\n            {told['hint']}")
    print()
    return int(status != visit.expect)


async def _drained(gateway: Gateway) -> bool:
    deadline = asyncio.get_running_loop().time() + DRAIN_S
    while asyncio.get_running_loop().time() < deadline:
        if all(q.waiting == 0 for q in await gateway.store.queues()):
            return True
        await asyncio.sleep(0.05)
    return False


def _print_received(sink: RecordingSink, gateway: Gateway) -> None:
    """What each destination received, and what it did not get."""
    requests: Counter[str] = Counter()
    events: Counter[str] = Counter()
    for received in sink.requests:
        name = _platform(received)
        requests[name] += 1
        events[name] += len(received.json().get("data", ())) if name == "meta" else len(received.json().get("events", ())) or 1
    counts = gateway.pipeline.counts
    print("what each destination received")
    print(f"  {'destination':<12}{'requests':>9}{'events':>8}{'limited':>9}{'withheld':>10}{'held':>6}")
    for name in gateway.configured:
        limited, withheld, held = (counts.get((name, verdict), 0) for verdict in ("limited", "withhold", "hold"))
        print(f"  {name:<12}{requests[name]:>9}{events[name]:>8}{limited:>9}{withheld:>10}{held:>6}")
    print(f"  duplicates {counts.get(('event', 'duplicate'), 0)}")
