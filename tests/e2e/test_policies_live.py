from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from tests.e2e.harness import ADMIN_TOKEN, BOTH, Gateway, gateway, received


async def metric(served: Gateway, line: str) -> bool:
    _, _, body = await served.get("/metrics", admin=True, token=ADMIN_TOKEN)
    return line.encode() in body


async def until(served: Gateway, line: str) -> None:
    async with asyncio.timeout(10):
        while not await metric(served, line):
            await asyncio.sleep(0.05)


def edit(served: Gateway, change: Callable[[str], str]) -> None:
    path = served.folder / "policies" / "eu.yaml"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


async def post(served: Gateway, number: str) -> None:
    event = {
        "event": "purchase", "id": number, "visitor": {"client_id": "1.2"}, "user": {"email": "a@example.com"},
        "order": {"id": number, "value": 1, "currency": "EUR"}, "consent": BOTH,
    }  # fmt: skip
    assert (await served.post(event))[0] == 202


async def test_a_broken_revision_never_replaces_a_good_one(tmp_path: Path) -> None:
    """A misspelt word in the live file: the old revision stays in force, and log and metrics say so; the mended file takes over."""
    async with gateway(tmp_path, policies={"reload_s": 0.1}) as served:
        edit(served, lambda text: text.replace("needs: [advertising]", "needs: [advertsing]"))
        await until(served, "ebbgate_policy_refused 1.0")
        assert b"policy.refused" in served.log
        await post(served, "A-1")
        await served.drained()
        assert len(received(served.sink)["ga4"]) == 1
        edit(served, lambda text: text.replace("needs: [advertsing]", "needs: [advertising]\n    enabled: false"))
        await until(served, "ebbgate_policy_refused 0.0")


async def test_a_kill_switch_takes_effect_within_a_second(tmp_path: Path) -> None:
    """`enabled: false` in the live file stops a destination without a restart, and every activation is on record."""
    async with gateway(tmp_path, policies={"reload_s": 0.1}, **{"destinations.meta": {"endpoint": "http://127.0.0.1:9"}}) as served:
        await post(served, "A-1")
        edit(served, lambda text: text.replace("  meta:\n", "  meta:\n    enabled: false\n"))
        async with asyncio.timeout(5):
            while served.log.count(b"policy.activated") < 2:
                await asyncio.sleep(0.02)
        await post(served, "A-2")
        _, _, metrics = await served.get("/metrics", admin=True, token=ADMIN_TOKEN)
        assert b'ebbgate_decisions_total{destination="meta",verdict="send"} 1.0' in metrics
        assert b'ebbgate_decisions_total{destination="meta",verdict="withhold"} 1.0' in metrics
        await served.drained()
        _, _, metrics = await served.get("/metrics", admin=True, token=ADMIN_TOKEN)
        assert b'ebbgate_outcomes_total{destination="meta",outcome="withheld"} 1.0' in metrics


async def test_a_dead_destination_delays_no_other(tmp_path: Path) -> None:
    """With Meta unreachable, GA4 and the webhook get everything while Meta's queue waits."""
    async with gateway(tmp_path, **{"destinations.meta": {"endpoint": "http://127.0.0.1:9"}}) as served:
        for i in range(20):
            await post(served, f"A-{i}")
        async with asyncio.timeout(15):
            while {q["destination"] for q in await served.queues() if q["waiting"]} != {"meta"}:
                await asyncio.sleep(0.02)
        got = received(served.sink)
        assert len(got["ga4"]) == len(got["webhook"]) == 20
        assert [q["waiting"] for q in await served.queues() if q["destination"] == "meta"] == [20]
