"""The servers that are measured, each in a process of its own on core 0; what they talk to is on core 1."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Coroutine
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import uvloop

from tests.bench.load import pin

ORIGIN = "https://shop.example"
Served = Callable[[Callable[[int], None]], Coroutine[Any, Any, None]]


class Server:
    """A server process: `port` once it listens, memory and CPU time while it runs."""

    def __init__(self, main: Callable[..., None], *args: Any, core: int = 0) -> None:
        context = multiprocessing.get_context("spawn")
        self._mine, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=main, args=(core, theirs, *args))
        self.process.start()
        self.port: int = self._mine.recv()

    def peak_mib(self) -> float:
        """Largest resident size so far, MiB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def cpu_s(self) -> float:
        """Processor seconds used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def ask(self, what: str) -> Any:
        """One question to the server's control pipe."""
        self._mine.send(what)
        return self._mine.recv()

    def pause(self) -> None:
        """Take it off the processor, so that it does not share the core with the one that is measured."""
        os.kill(self.process.pid or 0, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run again."""
        os.kill(self.process.pid or 0, signal.SIGCONT)

    def stop(self) -> None:
        """End it."""
        self.resume()
        self.process.terminate()
        self.process.join(20)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def bare(core: int, out: Connection) -> None:
    """A Starlette route that reads the body and answers 204, on uvicorn as it comes: what the framework alone costs."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from ebbgate.edge.serving import address, calm_collector, listen

    async def nothing(request: Request) -> Response:
        await request.body()
        return Response(status_code=204)

    async def main() -> None:
        sock = listen("127.0.0.1", 0, what="bench")
        app = Starlette(routes=[Route("/e/v1/events", nothing, methods=["POST"])])
        config = uvicorn.Config(app, http="httptools", lifespan="off", access_log=False, log_config=None, log_level="critical")
        calm_collector()
        out.send(int(address(sock).rpartition(":")[2]))  # it listens already: who comes early waits a moment
        await uvicorn.Server(config).serve(sockets=[sock])

    pin(core)
    uvloop.run(main())


def sink(core: int, out: Connection) -> None:
    """Stand-ins for the platforms: answer at once, keep nothing."""
    from ebbgate.demo.sink import RecordingSink
    from tests.e2e.harness import as_platforms

    async def main() -> None:
        recording = RecordingSink(as_platforms, most=1)
        async with recording.serve():
            out.send(recording.port)
            await asyncio.Event().wait()

    pin(core)
    uvloop.run(main())


def gateway(core: int, out: Connection, sink_port: int, store: str, deliver: bool, segment_events: int = 250_000) -> None:
    """The whole gateway: three destinations, the shipped policies, encryption, the log. `store`: sqlite or memory."""
    from ebbgate import log
    from ebbgate.app import Gateway
    from ebbgate.edge.serving import calm_collector
    from ebbgate.policy.templates import templates_path
    from ebbgate.settings import load_settings
    from ebbgate.store.keys import KeyRing
    from ebbgate.store.memory import MemoryStore
    from tests.e2e.harness import WEBHOOK_SECRET

    async def main(folder: Path) -> None:
        at = f"http://127.0.0.1:{sink_port}"
        settings = load_settings(
            None,
            overrides={
                "server.port": 0, "server.trusted_proxies": ["127.0.0.1/32"], "admin.port": 0,
                "store.url": f"sqlite:///{folder / 'data' / 'ebbgate.db'}", "store.segment_events": segment_events,
                "policies.path": str(templates_path()), "sites.shop.origins": [ORIGIN], "delivery.enabled": deliver,
                "destinations.ga4": {"measurement_id": "G-BENCH00000", "api_secret": "x", "endpoint": at},
                "destinations.meta": {"pixel_id": "1234567890", "access_token": "x", "endpoint": at},
                "destinations.webhook": {"url": f"{at}/hook", "secret": WEBHOOK_SECRET},
            },
        )  # fmt: skip
        served = Gateway(settings, keys=KeyRing.ephemeral(), store=MemoryStore() if store == "memory" else None)
        async with served.running():
            calm_collector()
            out.send(int(served.collect_at.rpartition(":")[2]))
            loop = asyncio.get_running_loop()
            while True:
                await loop.run_in_executor(None, out.poll, None)
                out.recv()
                waiting = {q.destination: q.waiting for q in await served.store.queues()}
                out.send({"waiting": waiting, "counts": {f"{a}/{b}": n for (a, b), n in served.pipeline.counts.items()}})

    log.configure("json", open(os.devnull, "w"))  # noqa: SIM115  lives as long as the process
    pin(core)
    with tempfile.TemporaryDirectory(prefix="ebbgate-bench-", dir=os.environ.get("EBBGATE_TEST_BENCH_DIR")) as folder:
        uvloop.run(main(Path(folder)))
