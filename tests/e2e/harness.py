"""A whole gateway in a process of its own, posted to over real sockets, with recording sinks for its destinations."""

from __future__ import annotations

import asyncio
import base64
import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from ebbgate.demo.http import request
from ebbgate.demo.sink import Received, RecordingSink, Reply
from ebbgate.policy.templates import templates
from ebbgate.store.keys import KeyRing

ORIGIN = "https://shop.example"
SERVER_KEY = "e2e-server-key-not-a-secret"
ADMIN_TOKEN = "e2e-admin-token"
BOTH = {"purposes": {"analytics": "granted", "advertising": "granted"}}
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


def as_platforms(received: Received) -> Reply:
    """Answer as GA4, Meta and a webhook do."""
    if received.path.startswith("/mp/"):
        return Reply(204, b"", ())
    if received.path.endswith("/events"):
        return Reply.of(200, {"events_received": len(received.json()["data"]), "messages": []})
    return Reply.of(200, {})


def _processor_s(pid: int, otherwise: float) -> float:
    """Processor seconds that a process has used; `otherwise` where the system keeps no /proc."""
    with suppress(FileNotFoundError):
        used = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK")
    return otherwise


def _ends_with_us() -> None:
    """In the child: a test run that is killed leaves no gateway behind (prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Gateway:
    """One data directory and the process that serves it; may be killed and started again."""

    def __init__(self, folder: Path, sink: RecordingSink, **sections: Mapping[str, Any]) -> None:
        self.folder = folder
        self.sink = sink
        self.log = b""
        self.address = ""
        self.admin = ""
        self.started_s = 0.0  #: processor seconds until it served: a busy machine does not count
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._write(sections)

    @property
    def config(self) -> Path:
        return self.folder / "ebbgate.toml"

    def _write(self, sections: Mapping[str, Mapping[str, Any]]) -> None:
        settings: dict[str, dict[str, Any]] = {
            "server": {"port": 0, "trusted_proxies": ["127.0.0.1/32"]},
            "admin": {"port": 0, "tokens": [ADMIN_TOKEN]},
            "sites.shop": {"origins": [ORIGIN], "server_keys": [SERVER_KEY]},
            "destinations.ga4": {"measurement_id": "G-TEST000000", "api_secret": "ga4-secret", "endpoint": self.sink.url},
            "destinations.meta": {"pixel_id": "1234567890", "access_token": "meta-token", "endpoint": self.sink.url},
            "destinations.webhook": {"url": f"{self.sink.url}/hook", "secret": WEBHOOK_SECRET},
        }
        for name, values in sections.items():
            settings.setdefault(name, {}).update(values)
        text = "\n".join(
            f"[{name}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in part.items()) for name, part in settings.items()
        )
        self.config.write_text(text, encoding="utf-8")
        (self.folder / "policies").mkdir(exist_ok=True)
        for name, policy in templates().items():
            (self.folder / "policies" / name).write_text(policy, encoding="utf-8")
        KeyRing.create(self.folder / "keys")

    async def start(self, **environment: str) -> None:
        """Start the process and wait until it says that it serves."""
        began = time.monotonic()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ebbgate", "serve", "--config", str(self.config),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, env={**os.environ, **environment},
            preexec_fn=_ends_with_us if sys.platform == "linux" else None,
        )  # fmt: skip
        serving: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read(serving))
        line = await asyncio.wait_for(serving, 30)
        self.address, self.admin = line["host"], line["where"]
        self.started_s = _processor_s(self._process.pid, time.monotonic() - began)

    async def _read(self, serving: asyncio.Future[dict[str, Any]]) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self.log += line
            with suppress(ValueError):
                found = json.loads(line)
                if found.get("event") == "gateway.serving" and not serving.done():
                    serving.set_result(found)
        if not serving.done():
            serving.set_exception(RuntimeError(self.log.decode(errors="replace")[-2000:]))

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Stop the process and return its exit code."""
        if self._process is None:
            return 0
        with suppress(ProcessLookupError):
            self._process.send_signal(how)
        code = await self._process.wait()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)
        self._process = None
        return code

    async def post(
        self,
        body: Any,
        *,
        headers: Mapping[str, str] | None = None,
        country: str | None = "DE",
        region: str | None = None,
        server: bool = False,
    ) -> tuple[int, Any]:
        """(status, decoded answer) of one POST to the native route."""
        sent = {"Content-Type": "application/json"}
        sent |= {"Authorization": f"Bearer {SERVER_KEY}"} if server else {"Origin": ORIGIN}
        if country:
            sent["CF-IPCountry"] = country
        if region:
            sent["cf-region-code"] = region
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, _, answer = await request(self.address, "POST", "/e/v1/events", headers={**sent, **(headers or {})}, body=raw)
        return status, json.loads(answer) if answer else None

    async def get(self, path: str, *, admin: bool = False, token: str | None = None) -> tuple[int, dict[str, str], bytes]:
        """One GET on the public or the admin host."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return await request(self.admin if admin else self.address, "GET", path, headers=headers)

    async def queues(self) -> list[dict[str, Any]]:
        """State of the queues by the admin host."""
        status, _, body = await self.get("/api/v1/queues", admin=True, token=ADMIN_TOKEN)
        assert status == 200
        found = json.loads(body)
        assert isinstance(found, list)
        return found

    async def drained(self, timeout_s: float = 20) -> None:
        """Wait until nothing waits for any destination."""
        async with asyncio.timeout(timeout_s):
            while any(q["waiting"] for q in await self.queues()):
                await asyncio.sleep(0.02)

    def stored_bytes(self) -> bytes:
        """Every byte below the data directory."""
        return b"".join(p.read_bytes() for p in sorted((self.folder / "data").rglob("*")) if p.is_file())


@asynccontextmanager
async def gateway(folder: Path, **sections: Mapping[str, Any]) -> AsyncIterator[Gateway]:
    """A running gateway with its sink; both gone afterwards."""
    sink = RecordingSink(as_platforms)
    async with sink.serve():
        served = Gateway(folder, sink, **sections)
        try:
            await served.start()
            yield served
        finally:
            await served.stop(signal.SIGKILL)


def received(sink: RecordingSink) -> dict[str, list[Any]]:
    """What each destination received: the events, one by one."""
    found: dict[str, list[Any]] = {"ga4": [], "meta": [], "webhook": []}
    for one in sink.requests:
        body = one.json()
        if one.path.startswith("/mp/"):
            found["ga4"] += [event | {"client_id": body.get("client_id")} for event in body["events"]]
        elif one.path.endswith("/events"):
            found["meta"] += body["data"]
        else:
            found["webhook"].append(body)
    return found
