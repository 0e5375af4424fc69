"""The clients that sites already run, unmodified, against a running gateway: every event is taken, no other host is spoken to.

`make clients` fetches them; without them the tests are skipped, or fail under EBBGATE_TEST_REQUIRE=1.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ebbgate.edge.serving import address, listen, served
from tests.chromium import ARGUMENTS, CHROMIUM, chromium_or_skip
from tests.e2e.harness import ADMIN_TOKEN, ORIGIN, SERVER_KEY, Gateway, gateway, received

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = Path(__file__).parent / "clients"
MODULES = CLIENTS / "node_modules"
PAIR = "jitsu:e2e-server-key-of-two-parts"  #: the form that Jitsu's client insists on
#: An interpreter that has the Python clients, where this one has not.
PYTHON = os.environ.get("EBBGATE_TEST_CLIENTS_PYTHON", sys.executable)


def wanting(what: str) -> None:
    """Skip, or fail where the clients are required."""
    if os.environ.get("EBBGATE_TEST_REQUIRE") == "1":
        pytest.fail(f"{what}: run `make clients`")
    pytest.skip(f"{what}: run `make clients`")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    site = {"origins": [ORIGIN], "server_keys": [SERVER_KEY, PAIR]}
    async with gateway(tmp_path_factory.mktemp("clients"), **{"sites.shop": site}) as behind:
        yield behind


async def counted(behind: Gateway) -> dict[str, int]:
    """Events by what became of them, from the gateway's own metrics."""
    _, _, text = await behind.get("/metrics", admin=True, token=ADMIN_TOKEN)
    return {k: int(float(n)) for k, n in re.findall(r'ebbgate_events_total\{status="(\w+)"\} ([\d.]+)', text.decode())}


async def told_by(*command: str, cwd: Path) -> tuple[dict[str, int], list[str]]:
    """(what the client says it sent, hosts it connected to) of one process."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env={**os.environ, "NO_PROXY": "*"}
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    said = dict(re.findall(r"^(SENT|HOSTS) (.*)$", out.decode(), re.MULTILINE))
    assert set(said) == {"SENT", "HOSTS"}, out.decode()
    return json.loads(said["SENT"]), json.loads(said["HOSTS"])


async def all_taken(behind: Gateway, key: str, order: str, *command: str, cwd: Path) -> None:
    before = await counted(behind)
    sent, hosts = await told_by(*command, f"http://{behind.address}/e", key, cwd=cwd)
    after = await counted(behind)
    assert sent["failed"] == 0
    assert {k: after[k] - before.get(k, 0) for k in after if after[k] != before.get(k, 0)} == {"accepted": sent["sent"]}
    assert hosts == [behind.address]
    await behind.drained()
    orders = [e["custom_data"].get("order_id") for e in received(behind.sink)["meta"] if e["event_name"] == "Purchase"]
    assert orders.count(order) == 1  # its consent was read, its order understood


@pytest.mark.parametrize(
    ("script", "package", "key", "order"),
    [
        ("segment_node.mjs", "@segment/analytics-node", SERVER_KEY, "N-1"),
        ("rudder_node.cjs", "@rudderstack/rudder-sdk-node", SERVER_KEY, "R-1"),
        ("jitsu.mjs", "@jitsu/js", PAIR, "J-1"),
    ],
)
async def test_node_clients(running: Gateway, script: str, package: str, key: str, order: str) -> None:
    """Every call of a Node client is accepted with its consent; the process connects to the gateway alone."""
    if not shutil.which("node") or not (MODULES / package).is_dir():
        wanting(package)
    await all_taken(running, key, order, "node", "-r", "./watched.cjs", script, cwd=CLIENTS)


@pytest.mark.parametrize(
    ("module", "package", "order"),
    [("segment_python", "segment.analytics", "P-1"), ("rudder_python", "rudderstack.analytics", "Q-1")],
)
async def test_python_clients(running: Gateway, module: str, package: str, order: str) -> None:
    """Every call of a Python client is accepted with its consent; the process connects to the gateway alone."""
    if sys.executable == PYTHON and importlib.util.find_spec(package.partition(".")[0]) is None:
        wanting(package)
    await all_taken(running, SERVER_KEY, order, PYTHON, "-m", f"tests.e2e.clients.{module}", cwd=ROOT)


class Page:
    """A page on an origin of its own that loads a client's script from itself, as a site's bundle would."""

    def __init__(self, page: str, scripts: Path) -> None:
        self._page = (CLIENTS / page).read_bytes()
        self._scripts = scripts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        path = scope["path"]
        script = self._scripts / path.rpartition("/")[2]
        if path == "/":
            kind, body = b"text/html", self._page
        elif path == "/analytics.js":
            kind, body = b"text/javascript", (self._scripts / "index.js").read_bytes()
        elif path != "/favicon.ico" and script.is_file():
            kind, body = b"text/javascript", script.read_bytes()
        else:
            kind, body = b"text/plain", b""
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def in_chromium(folder: Path, page: Page, query: str, calls: int, order: str) -> Gateway:
    """Run a client on a page of another origin: every call accepted, no host but ours, no complaint. The gateway, stopped."""
    playwright = chromium_or_skip()
    sock = listen("127.0.0.1", 0, what="page")
    origin = f"http://{address(sock)}"
    async with served(page, sock), gateway(folder, **{"sites.shop": {"origins": [origin]}}) as behind, playwright() as p:
        browser = await p.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        tab = await browser.new_page()
        hosts: set[str] = set()
        complaints: list[str] = []
        tab.on("request", lambda r: hosts.add(r.url.split("/")[2]))
        tab.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        await tab.goto(f"{origin}/?url=http://{behind.address}/e{query}")
        await tab.wait_for_function("window.sent > 0", timeout=30_000)
        async with asyncio.timeout(30):
            while sum((await counted(behind)).values()) < calls:
                await asyncio.sleep(0.05)
        assert await tab.evaluate("[window.sent, window.failed ?? 0]") == [calls, 0]
        await browser.close()
        assert await counted(behind) == {"accepted": calls}
        assert hosts == {behind.address, origin.removeprefix("http://")}
        assert complaints == []
        await behind.drained()
        assert [e["custom_data"]["order_id"] for e in received(behind.sink)["meta"] if e["event_name"] == "Purchase"] == [order]
    return behind


@pytest.mark.parametrize("strategy", ["standard", "batching"])
async def test_analytics_next_in_chromium(tmp_path: Path, strategy: str) -> None:
    """The settings document keeps every request of analytics-next on our hosts; each call is accepted, across origins."""
    if not (MODULES / "@segment" / "analytics-next").is_dir():
        wanting("@segment/analytics-next")
    page = Page("analytics_next.html", MODULES / "@segment" / "analytics-next" / "dist" / "umd")
    await in_chromium(tmp_path, page, f"&strategy={strategy}", 6, "X-1")


async def test_rudderstacks_sdk_in_chromium(tmp_path: Path) -> None:
    """The source document keeps every request of RudderStack's JavaScript SDK on our hosts; each call is accepted, across origins."""
    build = MODULES / "@rudderstack" / "analytics-js" / "dist" / "npm" / "modern" / "bundled" / "esm"
    if not build.is_dir():
        wanting("@rudderstack/analytics-js")
    await in_chromium(tmp_path, Page("rudder_browser.html", build), "", 5, "RB-1")


async def test_jitsus_client_in_chromium(tmp_path: Path) -> None:
    """Each call of @jitsu/js in a browser is accepted, across origins; the id that Google's cookie holds comes with it."""
    if not (MODULES / "@jitsu" / "js").is_dir():
        wanting("@jitsu/js")
    behind = await in_chromium(tmp_path, Page("jitsu_browser.html", MODULES / "@jitsu" / "js" / "dist"), "", 4, "JB-1")
    assert {event["client_id"] for event in received(behind.sink)["ga4"]} == {"77.1763600000"}
