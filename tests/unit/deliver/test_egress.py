"""The egress check in a worker on a real store and real sockets: what leaks ends alone, with its own reason, and no byte of it leaves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from ebbgate.audit.entry import admin_action
from ebbgate.demo.sink import RecordingSink, Reply, poison
from ebbgate.destinations.kit import HttpRequest, Row
from ebbgate.model import CleanEvent, Outcome
from tests.unit.deliver.fakes import destination
from tests.unit.deliver.rig import events_of, key_of, lane_to, now_ms, open_house

MAIL = "petra.kaiser@mailbox.example"


def leaking(clean: CleanEvent, settings: Any) -> Row:
    """A faulty mapping: event 3 takes along an e-mail address from elsewhere."""
    row = {"id": clean.id, "name": clean.name, "value": clean.get("order.value")}
    return {**row, "note": MAIL} if clean.id == "e-3" else row


@pytest.mark.parametrize("events", [1, 4, 20])
async def test_a_leaking_row_is_kept_back_alone(tmp_path: Path, events: int) -> None:
    """Alone, among few and among many: the others arrive, the leaking one is withheld for `egress_blocked`, counted and told."""
    faulty = destination(events=events, render=leaking)
    with structlog.testing.capture_logs() as told:
        async with RecordingSink().serve() as sink, open_house(tmp_path, [lane_to(faulty, sink.url)]) as house:
            await house.post(range(20))
            await house.until_ended("sink", 20)
            counts = await house.check({"sink": sink})
            trace = await house.store.trace(key_of(3))
            blocked = house.runner.states()["sink"].figures.blocked
            dead = await house.store.dead_letters()
    assert counts["sink"] == {Outcome.DELIVERED: 19, Outcome.WITHHELD: 1}
    assert trace is not None
    assert trace.outcomes["sink"][:2] == (Outcome.WITHHELD, "egress_blocked")
    assert "e-3" not in events_of(sink.requests)
    assert all(MAIL.encode() not in received.body for received in sink.requests)
    assert blocked == 1
    assert [(one.destination, one.outcome, one.reason) for one in dead] == [("sink", Outcome.WITHHELD, "egress_blocked")]
    alarms = [line for line in told if line["event"] == "delivery.egress_blocked"]
    assert [(line["destination"], line["kind"], line["log_level"]) for line in alarms] == [("sink", "email", "error")]
    assert MAIL not in repr(told)


async def test_what_was_blocked_is_sent_once_the_mapping_is_mended(tmp_path: Path) -> None:
    """It waits as a dead letter: sent again by a mapping that still leaks it is blocked again, by a mended one it arrives."""
    faulty = True

    def render(clean: CleanEvent, settings: Any) -> Row:
        return leaking(clean, settings) if faulty else {"id": clean.id, "name": clean.name}

    async with RecordingSink().serve() as sink, open_house(tmp_path, [lane_to(destination(render=render), sink.url)]) as house:
        await house.post([3])
        await house.until_ended("sink", 1)
        acted = admin_action(action="queue.retry", actor="operator", n=1, destination="sink", node="n", at_ms=now_ms())
        for mended in (False, True):
            faulty = not mended
            (letter,) = await house.store.dead_letters()
            assert await house.store.revive([letter.id], now_ms=now_ms(), entry=acted) == 1
            house.runner.wake(["sink"])
            await house.until_ended("sink", 2 + mended)
        counts = house.runner.states()["sink"].figures.outcomes
        dead = await house.store.dead_letters()
    assert counts == {Outcome.WITHHELD: 2, Outcome.DELIVERED: 1}
    assert dead == []
    assert events_of(sink.requests) == ["e-3"]


async def test_an_envelope_that_breaks_on_one_row_breaks_no_worker(tmp_path: Path) -> None:
    """The look at a large batch makes a request of its first row: when that fails, the batch is halved and nothing is lost."""
    plain = destination(events=20)

    def envelope(rows: Sequence[Row], settings: Any) -> HttpRequest:
        if len(rows) == 1:
            raise ValueError
        return plain.envelope(rows, settings)

    picky = destination(events=20, envelope=envelope)
    async with RecordingSink().serve() as sink, open_house(tmp_path, [lane_to(picky, sink.url)]) as house:
        await house.post(range(20))
        await house.until_ended("sink", 20)
        counts = await house.check({"sink": sink})
    assert counts["sink"] == {Outcome.DELIVERED: 20}


async def test_a_question_is_looked_at_as_it_leaves(tmp_path: Path) -> None:
    """What only the asking form of a request adds is seen too: it does not leave, and the bad row is found by halving instead."""
    plain = destination(events=20)

    def check(rows: Sequence[Row], settings: Any) -> HttpRequest:
        request = plain.envelope(rows, settings)
        return replace(request, body=json.dumps({**json.loads(request.body), "note": MAIL}).encode())

    asking = destination(events=20, check=check)
    async with (
        RecordingSink(poison(lambda received: b'"e-7"' in received.body, Reply.of(400))).serve() as sink,
        open_house(tmp_path, [lane_to(asking, sink.url, deadline_s=30)]) as house,
    ):
        await house.post(range(20))
        await house.until_ended("sink", 20)
        counts = await house.check({"sink": sink})
        assert counts["sink"] == {Outcome.DELIVERED: 19, Outcome.REJECTED: 1}
        assert all(MAIL.encode() not in received.body for received in sink.requests)
