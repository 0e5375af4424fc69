from __future__ import annotations

import asyncio
import random
import signal
from contextlib import suppress
from pathlib import Path

from tests.e2e.harness import BOTH, Gateway, gateway, received
from tests.scale import scaled

DENIED = {"purposes": {"analytics": "denied", "advertising": "denied"}}
RESTART_S = 3.0


class Load:
    """Posts events until told to stop and keeps what was acknowledged: the oracle, never killed."""

    def __init__(self, served: Gateway) -> None:
        self.served = served
        self.acknowledged: set[str] = set()
        self.denied: set[str] = set()
        self.sent = 0
        self._stopping = False

    async def one_client(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self._stopping:
            self.sent += 1
            number = f"{seed}-{self.sent}"
            refuses = chance.random() < 0.3
            event = {
                "event": "purchase", "id": number, "visitor": {"client_id": f"{seed}.1"}, "user": {"email": "a@example.com"},
                "order": {"id": number, "value": 1, "currency": "EUR"}, "consent": DENIED if refuses else BOTH,
            }  # fmt: skip
            if refuses:
                self.denied.add(number)
            try:
                status, _ = await self.served.post(event, headers={"User-Agent": "x"})
            except (OSError, TimeoutError, ValueError, IndexError):
                await asyncio.sleep(0.01)  # it is being killed: try the next event once it is back
                continue
            if status == 202:
                self.acknowledged.add(number)

    async def acknowledges(self, more: int) -> None:
        goal = len(self.acknowledged) + more
        async with asyncio.timeout(30):
            while len(self.acknowledged) < goal:
                await asyncio.sleep(0.002)

    def stop(self) -> None:
        self._stopping = True


async def test_kill_9_under_load_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Killed at random moments under load: nothing acknowledged is lost, nothing denied is sent, each restart takes at most 3 s."""
    kills = min(20, scaled(4))
    chance = random.Random(7)
    async with gateway(tmp_path) as served:
        load = Load(served)
        clients = [asyncio.create_task(load.one_client(i)) for i in range(8)]
        try:
            for _ in range(kills):
                await load.acknowledges(chance.randrange(5, 60))
                await served.stop(signal.SIGKILL)
                await served.start()
                assert served.started_s <= RESTART_S
            await load.acknowledges(20)
        finally:
            load.stop()
            await asyncio.gather(*clients, return_exceptions=True)
        await served.drained(60)
        got = received(served.sink)
        allowed = load.acknowledged - load.denied
        for name, ids in (("meta", {e["event_id"] for e in got["meta"]}), ("webhook", {e["data"]["id"] for e in got["webhook"]})):
            expected = allowed if name == "meta" else load.acknowledged
            assert expected - ids == set(), name
        reached = {e["event_id"] for e in got["meta"]} | {e["params"].get("transaction_id") for e in got["ga4"]}
        assert reached & load.denied == set()
        with suppress(ProcessLookupError):
            assert await served.stop() == 0
