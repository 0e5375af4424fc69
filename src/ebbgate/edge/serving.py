"""Two listeners in one process and one event loop: the collection host and the admin host, never the same socket."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import uvicorn

from ebbgate.edge.protocol import bounded
from ebbgate.errors import ConfigError

OPEN_FILES: Final = 65_536
KEPT_FILES: Final = 512  #: for the store, deliveries and the other listener


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process has one place that listens to signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:  # a generator context manager, as uvicorn's own
        """Leave signals alone."""
        yield


def listen(host: str, port: int, *, what: str) -> socket.socket:
    """A bound, listening socket. Raises ConfigError naming the setting when the port is taken or may not be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(2048)
    except OSError as error:
        sock.close()
        raise ConfigError(
            f"{what}: cannot listen on {host}:{port}: {error.strerror}", hint=f"choose another {what}.port, or 0 for any free one"
        ) from None
    sock.setblocking(False)
    return sock


def address(sock: socket.socket) -> str:
    """`127.0.0.1:8080` of a listening socket."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def connections_allowed() -> int:
    """How many connections a listener may hold, so that strangers never take the file handles that store and delivery need.

    The limit of open files is raised to what the system allows this process, as far as a gateway can use it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    files = OPEN_FILES if soft == resource.RLIM_INFINITY else min(soft, OPEN_FILES)
    return max(files // 2, files - KEPT_FILES)


def calm_collector() -> None:
    """After the start: what is there stays, so the cycle collector leaves it alone, and looks at young objects less often.

    Requests leave next to no cycles behind; with Python's own figures the collector would walk them every few requests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


@contextlib.asynccontextmanager
async def served(
    app: Any,
    sock: socket.socket,
    *,
    head_timeout_s: float = 5.0,
    max_per_address: int = 200,
    exempt: Callable[[str], bool] = lambda _: False,
) -> AsyncIterator[uvicorn.Server]:
    """Serve `app` on `sock` until the block ends; then answer what is under way and close."""
    config = uvicorn.Config(
        app,
        http=bounded(
            head_timeout_s=head_timeout_s, max_per_address=max_per_address, exempt=exempt, max_connections=connections_allowed()
        ),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="critical",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=65,
        timeout_graceful_shutdown=10,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        while not server.started:
            if task.done():
                task.result()
                raise RuntimeError("the server ended before it began")
            await asyncio.sleep(0.005)
        yield server
    finally:
        server.should_exit = True
        await task
