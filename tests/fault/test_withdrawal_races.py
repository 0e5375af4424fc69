"""Withdrawals at every moment of queue, lease, request, retry, replay and hold, over the real store and real workers (T10).

The senders stand where the HTTP client stands: they ask the gate's word at the first byte, as it does, and note what leaves when.
Time runs fast and jumps, so that five seconds of it may pass between any two steps.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ebbgate.audit.entry import admin_action
from ebbgate.deliver.classify import Failed, Failure
from ebbgate.destinations.kit import HttpRequest, HttpResponse
from ebbgate.store.memory import MemoryStore
from tests.scale import scaled
from tests.unit.choices.rig import Middle, event, opened, running, until
from tests.unit.deliver.fakes import HandClock

GRANTED = {"analytics": "granted", "advertising": "granted"}
NO = {"analytics": "denied", "advertising": "denied"}
AT_ONCE = 10  #: visitors whose stories run side by side
GRACE_S = 5.0


class Platform:
    """A sender that is slow, refuses, fails and drops; `begun` is what left: (second, ids of the events)."""

    def __init__(self, clock: HandClock, chance: Random) -> None:
        self.begun: list[tuple[float, list[str]]] = []
        self._clock = clock
        self._chance = chance

    async def send(self, request: HttpRequest, fresh: Callable[[], bool]) -> HttpResponse | Failed:
        """As the client: connect, ask whether the gate's word still holds, send, wait for an answer."""
        chance = self._chance
        await asyncio.sleep(chance.choice((0, 0, 0.001, 0.05)))  # up to 2.5 s of the clock: older than the gate's word may be
        if not fresh():
            return Failed(Failure.STALE, "gate_stale")
        self.begun.append((self._clock.mono_s(), [row["id"] for row in json.loads(request.body)["rows"]]))
        await asyncio.sleep(chance.choice((0, 0.001, 0.004)))
        kind = chance.random()
        if kind < 0.8:
            return HttpResponse(200, {}, b"{}")
        if kind < 0.88:
            return HttpResponse(400, {}, b"{}")  # halved, in the end a dead letter
        if kind < 0.94:
            return HttpResponse(503, {}, b"{}")
        return Failed(Failure.UNKNOWN, "connection_lost")

    async def aclose(self) -> None:
        """Nothing is open."""


@dataclass(slots=True)
class Withdrawal:
    """When one visitor's withdrawal was acknowledged."""

    at_s: float
    drained: bool
    begun: dict[str, int]  #: how many requests each platform had begun when it was


@dataclass(slots=True)
class Story:
    """What happened to the visitors of one test."""

    withdrawn: dict[str, Withdrawal] = field(default_factory=dict)
    posted: Counter[str] = field(default_factory=Counter)


async def _revive(middle: Middle) -> None:
    letters = await middle.store.dead_letters()
    entry = admin_action(action="queue.retry", actor="operator", n=1, node=middle.keys.node, at_ms=middle.clock.wall_ms())
    await middle.store.revive([d.id for d in letters], now_ms=middle.clock.wall_ms(), entry=entry)
    middle.runner.wake()


async def _live(middle: Middle, platforms: dict[str, Platform], client: str, chance: Random, story: Story) -> None:
    """One visitor: events with and without signals, choices, replays, and one withdrawal somewhere among them."""

    async def post() -> None:
        signals: Any = chance.choice((None, None, GRANTED, {"analytics": "granted"}))
        for _ in range(chance.randint(1, 3)):
            number = story.posted[client]
            story.posted[client] += 1
            await middle.post(event(number, client, signals))

    async def choose() -> None:
        await middle.say(f"client:{client}", **chance.choice((GRANTED, {"analytics": "granted"})))

    async def withdraw() -> None:
        drained = chance.random() < 0.5
        status, answer = await middle.ask(
            {"visitor": {"client_id": client}, "consent": {"purposes": NO}}, query="wait=drained" if drained else ""
        )
        assert (status, answer["drained"]) == (200, True) if drained else (202, False)
        begun = {name: len(one.begun) for name, one in platforms.items()}
        story.withdrawn[client] = Withdrawal(middle.clock.mono_s(), drained, begun)

    async def jump() -> None:
        middle.clock.pass_s(chance.choice((0.5, 3, 30)))

    async def replay() -> None:
        await _revive(middle)

    before = [post, post, *(chance.choice((post, choose, replay, jump)) for _ in range(chance.randint(0, 4)))]
    after = [chance.choice((post, replay, jump)) for _ in range(3)]
    for step in (*before, withdraw, *after):
        await step()
        await asyncio.sleep(chance.choice((0, 0, 0.001, 0.005, 0.02)))


def late(platforms: dict[str, Platform], story: Story) -> list[str]:
    """Every request that began too late for a visitor who had withdrawn."""
    found = []
    for name, platform in platforms.items():
        for number, (at_s, ids) in enumerate(platform.begun):
            for client in {i.rpartition("-")[0] for i in ids}:
                gone = story.withdrawn.get(client)
                if gone is None or number < gone.begun[name]:
                    continue
                if gone.drained:
                    found.append(f"{name}: {client} after drained")
                elif at_s > gone.at_s + GRACE_S:
                    found.append(f"{name}: {client} {at_s - gone.at_s:.1f} s after the acknowledgement")
    return found


async def play(folder: Path, seed: int, visitors: int, *, whole: bool = True) -> tuple[list[str], Story, dict[str, Platform]]:
    """Run that many stories, and when they are `whole` to the end of every queue. Returns what went wrong, and what was seen."""
    chance = Random(seed)
    clock = HandClock()
    platforms = {name: Platform(clock, Random(seed + i)) for i, name in enumerate(("sink", "ads"))}
    story = Story()
    async with running(clock), opened(folder, platforms, disk=True, start=True, clock=clock) as middle:
        for start in range(0, visitors, AT_ONCE):
            lives = [
                _live(middle, platforms, f"v{i}", Random(chance.random()), story)
                for i in range(start, min(visitors, start + AT_ONCE))
            ]
            await asyncio.gather(*lives)
        clock.pass_s(3600)
        await _revive(middle)
        middle.runner.wake()

        async def quiet() -> bool:
            clock.pass_s(60)
            return not any(q.waiting for q in await middle.store.queues())

        if not whole:
            await asyncio.sleep(0.3)
            return late(platforms, story), story, platforms
        await until(quiet, 60)
        left = {q.destination: q.held for q in await middle.store.queues()}
        assert left == {"sink": 0, "ads": 0}, "everyone decided in the end: nothing is parked"
        assert all(state.figures.crashes == 0 for state in middle.runner.states().values())
    return late(platforms, story), story, platforms


@pytest.mark.timeout(600)
async def test_no_request_begins_after_a_withdrawal(tmp_path: Path) -> None:
    """None more than five seconds after the acknowledgement, none at all after `drained`, whatever the event was doing."""
    visitors = scaled(200)
    wrong, story, platforms = await play(tmp_path, 11, visitors)
    assert wrong == []
    assert len(story.withdrawn) == visitors
    sent = sum(len(ids) for one in platforms.values() for _, ids in one.begun)
    assert sent > visitors // 2, "the test would prove nothing if little was sent"
    assert {w.drained for w in story.withdrawn.values()} == {True, False}


async def test_the_oracle_finds_a_gate_that_is_asked_too_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: with a gate that trusts its first word, requests begin after withdrawals, and this test sees them."""
    monkeypatch.setattr("ebbgate.deliver.attempt.Attempts._fresh", lambda self, look: True)
    monkeypatch.setattr("ebbgate.deliver.attempt._choices", _nothing)
    wrong, _, _ = await play(tmp_path, 12, 30, whole=False)
    assert any("after drained" in w for w in wrong)
    assert any("acknowledgement" in w for w in wrong)


async def _nothing(store: MemoryStore, subjects: object) -> dict[bytes, Any]:
    return {}
