"""The whole collection host in this process, without a socket: a scope and a body in, status, headers and body out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ebbgate.app import Gateway
from ebbgate.settings import Settings
from ebbgate.store.keys import KeyRing
from ebbgate.store.memory import MemoryStore
from tests.e2e.harness import ORIGIN, SERVER_KEY

ROOT = Path(__file__).resolve().parents[2]
NOW_MS = 1_795_300_281_250  #: the time of the recorded requests


def make_gateway(folder: Path) -> Gateway:
    """A gateway with the shipped policies and a store in memory; nothing of it runs by itself."""
    settings = Settings.model_validate({
        "server": {"trusted_proxies": ["127.0.0.1/32"], "gpc_well_known": "2026-01-01"},
        "store": {"url": f"sqlite:///{folder}/unused.db"},
        "policies": {"path": ROOT / "policies"},
        "sites": {"shop": {"origins": [ORIGIN], "server_keys": [SERVER_KEY]}},
        "destinations": {"ga4": {"measurement_id": "G-TEST000000", "api_secret": "x"}, "meta": {"pixel_id": "1", "access_token": "x"}},
    })  # fmt: skip
    return Gateway(settings, keys=KeyRing.ephemeral(), store=MemoryStore(), now_ms=lambda: NOW_MS)


async def ask(
    gateway: Gateway, method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes, *, pieces: int = 1
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """One request, its body in so many pieces. Raises AssertionError when it is answered otherwise than exactly once."""
    path, _, query = target.partition("?")
    size = max(1, -(-len(body) // pieces))
    parts = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    messages = [{"type": "http.request", "body": part, "more_body": n < len(parts) - 1} for n, part in enumerate(parts)]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode("latin-1", "replace"),
        "headers": headers,
        "client": ("127.0.0.1", 4711),
        "scheme": "http",
        "http_version": "1.1",
        "state": {},
    }
    await gateway.public(scope, receive, send)
    assert [m["type"] for m in sent] == ["http.response.start", "http.response.body"]
    return sent[0]["status"], sent[0]["headers"], sent[1]["body"]
