"""A worker on a real store and real sockets: every delivery ends once, and the right way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from ebbgate.audit.entry import admin_action, consent_changed
from ebbgate.deliver.breaker import State
from ebbgate.deliver.runner import open_lane
from ebbgate.demo.sink import Received, RecordingSink, Reply, always, in_turn, poison
from ebbgate.destinations.kit import Act, Answer, Batch, DestinationSettings, HttpRequest, HttpResponse, OAuth, Row
from ebbgate.model import CleanEvent, Outcome
from tests.unit.deliver.fakes import destination, plan, policies
from tests.unit.deliver.rig import QUICK, SUBJECT, House, events_of, fresh, lane_to, new_event, now_ms, open_house
from tests.unit.deliver.test_client import raw


async def deny(house: House, purpose: str = "analytics") -> None:
    """The visitor withdraws."""
    at = now_ms()
    entry = consent_changed(subject=SUBJECT, purposes={purpose: "denied"}, source="test", node="local", at_ms=at, entropy=b"n" * 32)
    await house.store.put_choice(SUBJECT, {purpose: "denied"}, at_ms=at, entry=entry)


def ids(numbers: Sequence[int] | range) -> list[str]:
    """Sorted ids of events."""
    return sorted(f"e-{i}" for i in numbers)


async def test_events_are_delivered_once_in_batches(tmp_path: Path) -> None:
    """Fifty events arrive exactly once, ten a request, each request after its durable intent, at most four at a time."""
    async with RecordingSink().serve() as sink, open_house(tmp_path, [lane_to(destination(), sink.url)]) as house:
        sink.on_request = house.seen
        await house.post(range(50))
        await house.until_ended("sink", 50)
        counts = await house.check({"sink": sink})
        queues = await house.store.queues()
    assert counts["sink"] == {Outcome.DELIVERED: 50}
    assert sorted(events_of(sink.requests)) == ids(range(50))
    assert sink.count == 5
    assert sink.most_in_flight <= 4
    assert [(q.waiting, q.retries, q.dead) for q in queues] == [(0, 0, 0)]


async def test_a_restart_sends_nothing_again(tmp_path: Path) -> None:
    """What is delivered stays delivered when the process starts anew."""
    async with RecordingSink().serve() as sink:
        lane = lane_to(destination(), sink.url)
        async with open_house(tmp_path, [lane]) as house:
            await house.post(range(5))
            await house.until_ended("sink", 5)
        async with open_house(tmp_path, [lane_to(destination(), sink.url)], keys=house.keys) as again:
            await again.post([100])
            await again.until_ended("sink", 1)
    assert sorted(events_of(sink.requests)) == ids([0, 1, 2, 3, 4, 100])


async def test_rows_of_one_request_share_their_key(tmp_path: Path) -> None:
    """Where a platform takes one visitor a request, rows of two never meet."""
    one_client = destination(batch_key=lambda row: row["value"] % 3)
    async with RecordingSink().serve() as sink, open_house(tmp_path, [lane_to(one_client, sink.url)]) as house:
        await house.post(range(30))
        await house.until_ended("sink", 30)
        await house.check({"sink": sink})
    groups = [{row["value"] % 3 for row in json.loads(r.body)["rows"]} for r in sink.requests]
    assert all(len(g) == 1 for g in groups)


async def test_a_body_over_the_limit_is_halved_before_it_is_sent(tmp_path: Path) -> None:
    """No request is larger than the platform takes; one row too large alone ends as a dead letter."""
    small = destination(batch=Batch(events=100, body_bytes=600))
    async with RecordingSink().serve() as sink, open_house(tmp_path, [lane_to(small, sink.url)]) as house:
        await house.post(range(20))
        big = fresh(99, fields={"event.id": "e-99", "event.name": "purchase", "event.time": now_ms(), "user.email": "x" * 700})
        await house.store.append([new_event(99, [big])])
        house.numbers[99] = {"sink"}
        house.runner.wake()
        await house.until_ended("sink", 21)
        counts = await house.check({"sink": sink})
        dead = await house.store.dead_letters()
    assert counts["sink"] == {Outcome.DELIVERED: 20, Outcome.INVALID: 1}
    assert max(len(r.body) for r in sink.requests) <= 600
    assert [d.reason for d in dead] == ["too_large"]


async def test_what_cannot_be_rendered_ends_alone(tmp_path: Path) -> None:
    """An unmapped event, one that breaks the mapping, and bytes that are no event: each ends, all others are delivered."""
    async with RecordingSink().serve() as sink, open_house(tmp_path, [lane_to(destination(), sink.url)]) as house:
        await house.post([1, 2])
        await house.post([3], name="unmapped")
        await house.post([4], name="explodes")
        garbled = structs.replace(new_event(5, []), payloads={"sink": b"\xff not an event"})
        elsewhere = structs.replace(new_event(6, []), payloads={"sink": new_event(6, [fresh(6, "other")]).payloads["other"]})
        await house.store.append([garbled, elsewhere])
        house.numbers |= {5: {"sink"}, 6: {"sink"}}
        house.runner.wake()
        await house.until_ended("sink", 6)
        counts = await house.check({"sink": sink})
        dead = {d.key[-1]: d.reason for d in await house.store.dead_letters()}
    assert counts["sink"] == {Outcome.DELIVERED: 2, Outcome.UNMAPPED: 1, Outcome.INVALID: 3}
    assert dead == {4: "render_failed", 5: "unreadable", 6: "unreadable"}
    assert sorted(events_of(sink.requests)) == ids([1, 2])


async def test_an_envelope_that_breaks_on_one_row_loses_only_it(tmp_path: Path) -> None:
    """A row that cannot be put into a request is found by halving, without a request."""

    def envelope(rows: Sequence[Row], settings: Any) -> HttpRequest:
        if any(row["value"] == 7 for row in rows):
            raise ValueError
        return destination().envelope(rows, settings)

    async with RecordingSink().serve() as sink, open_house(tmp_path, [lane_to(destination(envelope=envelope), sink.url)]) as house:
        await house.post(range(10))
        await house.until_ended("sink", 10)
        counts = await house.check({"sink": sink})
    assert counts["sink"] == {Outcome.DELIVERED: 9, Outcome.INVALID: 1}
    assert "e-7" not in events_of(sink.requests)


async def test_rows_that_a_platform_refuses_become_dead_letters(tmp_path: Path) -> None:
    """A 200 that names bad rows delivers the others; the bad ones are kept for an operator."""
    async with (
        RecordingSink(always(Reply.of(200, {"bad": [1, 3]}))).serve() as sink,
        open_house(tmp_path, [lane_to(destination(), sink.url)]) as house,
    ):
        await house.post(range(10))
        await house.until_ended("sink", 10)
        counts = await house.check({"sink": sink})
        dead = await house.store.dead_letters("sink")
    assert counts["sink"] == {Outcome.DELIVERED: 8, Outcome.REJECTED: 2}
    assert sorted(d.key[-1] for d in dead) == [1, 3]


async def test_a_revived_dead_letter_passes_the_gate_again(tmp_path: Path) -> None:
    """After `queue retry` a mended event is sent; one withdrawn since is not."""
    replies = in_turn([Reply.of(200, {"bad": [0]}), Reply.of(200, {"bad": [0]})])
    async with RecordingSink(replies).serve() as sink, open_house(tmp_path, [lane_to(destination(), sink.url)]) as house:
        await house.post([1])
        await house.until_ended("sink", 1)
        dead = await house.store.dead_letters()

        async def revive() -> int:
            entry = admin_action(action="queue.retry", actor="operator", n=1, node="local", at_ms=now_ms())
            return await house.store.revive([d.id for d in await house.store.dead_letters()], now_ms=now_ms(), entry=entry)

        assert [d.outcome for d in dead] == [Outcome.REJECTED]
        assert await revive() == 1
        await house.until_ended("sink", 2)
        await deny(house)
        assert await revive() == 1
        await house.until_ended("sink", 3)
        outcomes = await house.outcomes()
    assert sink.count == 2
    assert outcomes[1] == {"sink": Outcome.WITHDRAWN}


async def test_a_withdrawal_stops_what_is_queued(tmp_path: Path) -> None:
    """Queued, then withdrawn: nothing leaves, and the outcome says why."""
    async with RecordingSink().serve() as sink, open_house(tmp_path, [lane_to(destination(), sink.url)], start=False) as house:
        await house.post(range(20))
        await deny(house)
        await house.runner.start()
        await house.until_ended("sink", 20)
        counts = await house.check({"sink": sink})
    assert counts["sink"] == {Outcome.WITHDRAWN: 20}
    assert sink.count == 0


async def test_after_drained_nothing_withdrawn_begins(tmp_path: Path) -> None:
    """A withdrawal while requests are under way: once `drained` answers, no further row of the visitor arrives."""
    async with (
        RecordingSink(always(Reply(delay_s=0.03))).serve() as sink,
        open_house(tmp_path, [lane_to(destination(events=1), sink.url)]) as house,
    ):
        await house.post(range(60))
        await sink.wait_for(6)
        await deny(house)
        await house.runner.drained()
        arrived = sink.count
        assert sink.in_flight == 0
        await house.until_ended("sink", 60)
        counts = await house.check({"sink": sink})
        assert sink.count == arrived
    assert counts["sink"] == {Outcome.DELIVERED: arrived, Outcome.WITHDRAWN: 60 - arrived}


async def test_a_gate_that_is_old_at_the_first_byte_is_asked_again(tmp_path: Path) -> None:
    """Between the gate and the socket a slow store lets time pass: the visitor's withdrawal in that time still counts."""
    limits = replace(QUICK, fresh_s=0.05)
    async with RecordingSink().serve() as sink, open_house(tmp_path, [lane_to(destination(), sink.url)], limits=limits) as house:

        async def slow_once() -> None:
            house.store.before_begin = lambda: None
            await deny(house)
            await asyncio.sleep(0.1)

        house.store.before_begin = slow_once
        await house.post(range(3))
        await house.until_ended("sink", 3)
        counts = await house.check({"sink": sink})
    assert counts["sink"] == {Outcome.WITHDRAWN: 3}
    assert sink.count == 0


async def test_a_kill_switch_stops_between_gate_and_byte(tmp_path: Path) -> None:
    """A kill switch set while a request is being prepared stops it before the first byte."""
    async with RecordingSink().serve() as sink, open_house(tmp_path, [lane_to(destination(), sink.url)]) as house:

        async def switch() -> None:
            house.runner.switch_off("destination:sink")

        house.store.before_begin = switch
        await house.post(range(3))
        await house.until_ended("sink", 3)
        counts = await house.check({"sink": sink})
        house.store.before_begin = lambda: None
        house.runner.switch_on("destination:sink")
        await house.post([9])
        await house.until_ended("sink", 4)
    assert counts["sink"] == {Outcome.WITHHELD: 3}
    assert events_of(sink.requests) == ["e-9"]


async def test_a_tighter_policy_applies_to_what_is_queued(tmp_path: Path) -> None:
    """A field that the policy in force no longer lets out does not leave, though it was stored."""
    async with RecordingSink().serve() as sink, open_house(tmp_path, [lane_to(destination(), sink.url)], start=False) as house:
        await house.post([5])
        house.policy = policies(plan(full=plan().limited), digest="b" * 64)
        await house.runner.start()
        await house.until_ended("sink", 1)
    assert [row["value"] for r in sink.requests for row in json.loads(r.body)["rows"]] == [None]


async def test_what_is_too_old_expires(tmp_path: Path) -> None:
    """Past the policy's limit or the platform's age limit nothing is sent."""
    async with RecordingSink().serve() as sink, open_house(tmp_path, [lane_to(destination(max_age_s=86_400), sink.url)]) as house:
        await house.post([1], expires_ms=now_ms() - 1)
        await house.post([2], time_ms=now_ms() - 86_400_000)
        await house.post([3])
        await house.until_ended("sink", 3)
        counts = await house.check({"sink": sink})
    assert counts["sink"] == {Outcome.EXPIRED: 2, Outcome.DELIVERED: 1}
    assert events_of(sink.requests) == ["e-3"]


async def test_an_unknown_outcome_ends_where_the_platform_does_not_deduplicate(tmp_path: Path) -> None:
    """A 500 may have been processed: without a dedupe key the event is not sent a second time."""
    once = destination(window_s=None)
    async with RecordingSink(in_turn([Reply.of(500)])).serve() as sink, open_house(tmp_path, [lane_to(once, sink.url)]) as house:
        await house.post(range(3))
        await house.until_ended("sink", 3)
        counts = await house.check({"sink": sink})
        dead = await house.store.dead_letters()
    assert counts["sink"] == {Outcome.UNKNOWN: 3}
    assert sink.count == 1
    assert len(dead) == 3


async def test_only_events_with_a_key_are_repeated(tmp_path: Path) -> None:
    """Where the platform deduplicates some events, an unknown outcome repeats those and ends the others."""

    def has_key(clean: CleanEvent) -> bool:
        return int(str(clean.get("order.value"))) % 2 == 0

    async with (
        RecordingSink(in_turn([Reply.of(500)])).serve() as sink,
        open_house(tmp_path, [lane_to(destination(dedupe=has_key), sink.url)]) as house,
    ):
        await house.post(range(6))
        await house.until_ended("sink", 6)
        counts = await house.check({"sink": sink})
    assert counts["sink"] == {Outcome.UNKNOWN: 3, Outcome.DELIVERED: 3}
    assert sorted(events_of(sink.requests[1:])) == ids([0, 2, 4])


async def test_a_push_back_waits_as_long_as_asked_and_costs_no_attempt(tmp_path: Path) -> None:
    """After 429 with Retry-After the destination is silent for that long; then everything arrives."""
    replies = in_turn([Reply.of(429, retry_after="1")])
    async with RecordingSink(replies).serve() as sink, open_house(tmp_path, [lane_to(destination(), sink.url)]) as house:
        await house.post(range(10))
        await sink.wait_for(1)
        await house.post(range(10, 20))
        await house.until_ended("sink", 20)
        counts = await house.check({"sink": sink})
    assert counts["sink"] == {Outcome.DELIVERED: 20}
    assert sink.requests[1].at_s - sink.requests[0].at_s >= 0.95


async def test_attempts_end(tmp_path: Path) -> None:
    """A row that the platform turns away every time ends after twelve attempts, as a dead letter."""

    def classify_as_retry(response: HttpResponse, n: int) -> Answer:
        return Answer(Act.DONE, rows=dict.fromkeys(range(n), Act.RETRY), reason="try_later")

    stubborn = destination(classify=classify_as_retry)
    async with RecordingSink().serve() as sink, open_house(tmp_path, [lane_to(stubborn, sink.url)]) as house:
        await house.post([1])
        await house.until_ended("sink", 1, 30)
        counts = await house.check({"sink": sink})
    assert counts["sink"] == {Outcome.REJECTED: 1}
    assert sink.count == 12


async def test_a_wrong_credential_parks_and_loses_nothing(tmp_path: Path) -> None:
    """401 holds the destination; when it is mended, all that waited arrives, and no attempt was counted."""
    replies = in_turn([Reply.of(401)] * 3)
    async with RecordingSink(replies).serve() as sink, open_house(tmp_path, [lane_to(destination(), sink.url)]) as house:
        await house.post(range(10))
        await sink.wait_for(1)
        await house.until(lambda: house.runner.states()["sink"].breaker is not State.CLOSED)
        await house.until_ended("sink", 10)
        counts = await house.check({"sink": sink})
    assert counts["sink"] == {Outcome.DELIVERED: 10}
    assert sink.count >= 4


async def test_a_redirect_parks(tmp_path: Path) -> None:
    """An address that answers 301 gets one probe at a time and nothing is counted as delivered."""
    async with (
        RecordingSink(in_turn([Reply(301, b"", (("location", "/x"),))])).serve() as sink,
        open_house(tmp_path, [lane_to(destination(), sink.url)]) as house,
    ):
        await house.post(range(3))
        await house.until_ended("sink", 3)
        counts = await house.check({"sink": sink})
    assert counts["sink"] == {Outcome.DELIVERED: 3}
    assert {r.path for r in sink.requests} == {"/collect"}


async def test_one_poison_row_of_fifty_is_isolated(tmp_path: Path) -> None:
    """At most twelve extra requests; the poison is a dead letter and all others arrive exactly once."""

    def spoilt(received: Received) -> bool:
        return "e-17" in events_of([received])

    async with (
        RecordingSink(poison(spoilt, Reply.of(400))).serve() as sink,
        open_house(tmp_path, [lane_to(destination(events=50), sink.url)]) as house,
    ):
        await house.post(range(50))
        await house.until_ended("sink", 50)
        counts = await house.check({"sink": sink})
    assert counts["sink"] == {Outcome.DELIVERED: 49, Outcome.REJECTED: 1}
    taken = [e for r in sink.requests if not spoilt(r) for e in events_of([r])]
    assert sorted(taken) == ids([i for i in range(50) if i != 17])
    assert sink.count - 1 <= 12


async def test_a_batch_refused_altogether_stops_the_search(tmp_path: Path) -> None:
    """When every row is refused, the destination is held instead of being asked for each of them."""
    async with (
        RecordingSink(always(Reply.of(400))).serve() as sink,
        open_house(tmp_path, [lane_to(destination(events=64), sink.url)], limits=replace(QUICK, gap_s=60)) as house,
    ):
        await house.post(range(64))
        await house.until(lambda: house.runner.states()["sink"].breaker is State.OPEN)
        counts = await house.check({"sink": sink})
    assert sink.count <= 14
    assert set(counts["sink"]) == {Outcome.REJECTED, None}


@pytest.mark.parametrize("act", [Act.BISECT, Act.HALVE])
async def test_a_row_that_is_refused_alone_is_over(tmp_path: Path, act: Act) -> None:
    """Where there is nothing left to halve, the row ends as a dead letter after one request."""
    lane = destination(classify=lambda response, n: Answer(act, reason="refused"))
    async with RecordingSink().serve() as sink, open_house(tmp_path, [lane_to(lane, sink.url)]) as house:
        await house.post([1])
        await house.until_ended("sink", 1)
        counts = await house.check({"sink": sink})
    assert counts["sink"] == {Outcome.REJECTED: 1}
    assert sink.count == 1


async def test_413_halves(tmp_path: Path) -> None:
    """A request that is too big is sent in halves until it fits."""

    def script(received: Received) -> Reply:
        return Reply.of(413) if len(events_of([received])) > 3 else Reply()

    async with RecordingSink(script).serve() as sink, open_house(tmp_path, [lane_to(destination(), sink.url)]) as house:
        await house.post(range(10))
        await house.until_ended("sink", 10)
        counts = await house.check({"sink": sink})
    assert counts["sink"] == {Outcome.DELIVERED: 10}


async def test_requests_are_signed_right_before_they_leave(tmp_path: Path) -> None:
    """A time-bound signature is made anew for each attempt, over the same body."""

    def sign(request: HttpRequest, settings: Any, now_s: int) -> HttpRequest:
        stamps.append(now_s)
        return replace(request, headers=(*request.headers, ("x-stamp", str(len(stamps)))))

    stamps: list[int] = []
    async with (
        RecordingSink(in_turn([Reply.of(500)])).serve() as sink,
        open_house(tmp_path, [lane_to(destination(sign=sign), sink.url)]) as house,
    ):
        await house.post([1])
        await house.until_ended("sink", 1)
    assert [r.header("x-stamp") for r in sink.requests] == ["1", "2"]
    assert sink.requests[0].body == sink.requests[1].body
    assert abs(stamps[-1] * 1000 - now_ms()) < 60_000


async def test_a_token_is_got_once_and_refreshed_once(tmp_path: Path) -> None:
    """The access token is fetched with the credentials, reused, and replaced after one refusal without holding the destination."""
    given: list[str] = []

    def script(received: Received) -> Reply:
        if received.path == "/token":
            given.append(f"t{len(given)}")
            return Reply.of(200, {"access_token": given[-1], "expires_in": 3600})
        return Reply.of(401) if received.header("authorization") == "Bearer t0" and len(sink.requests) > 3 else Reply()

    oauth = OAuth(
        request=lambda settings, now_s: HttpRequest("POST", f"{settings.endpoint}/token", (), b"credentials"),
        apply=lambda request, token: replace(request, headers=(*request.headers, ("authorization", f"Bearer {token}"))),
    )
    async with (
        RecordingSink(script).serve() as sink,
        open_house(tmp_path, [lane_to(destination(oauth=oauth), sink.url)]) as house,
    ):
        for i in range(4):
            await house.post([i])
            await house.until_ended("sink", i + 1)
        counts = await house.check()
    assert counts["sink"] == {Outcome.DELIVERED: 4}
    assert given == ["t0", "t1"]


async def test_the_intake_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While requests wait to be answered, deliveries take several times as long as without; then they go on at full speed."""
    monkeypatch.setattr("ebbgate.deliver.pace.FULL", 0.0)
    monkeypatch.setattr("ebbgate.deliver.pace.SHARE", 0.02)  # a plain difference also where the machine is slow
    busy = False
    took: list[float] = []
    async with (
        RecordingSink().serve() as sink,
        open_house(tmp_path, [lane_to(destination(events=1), sink.url, deadline_s=30)], busy=lambda: busy) as house,
    ):
        for number, state in enumerate((False, True, False)):
            busy = state
            began = asyncio.get_running_loop().time()
            await house.post(range(number * 40, number * 40 + 40))
            await house.until_ended("sink", number * 40 + 40, 60)
            took.append(asyncio.get_running_loop().time() - began)
    assert took[1] > 2 * max(took[0], took[2]), took


async def test_figures_tell_what_happened(tmp_path: Path) -> None:
    """States for metrics count outcomes, requests and retries and name the last failure, without any event's content."""
    async with (
        RecordingSink(in_turn([Reply.of(503, retry_after="0")])).serve() as sink,
        open_house(tmp_path, [lane_to(destination(), sink.url)]) as house,
    ):
        await house.post(range(10))
        await house.until_ended("sink", 10)
        state = house.runner.states()["sink"]
    assert state.figures.outcomes == {Outcome.DELIVERED: 10}
    assert (state.figures.requests, state.figures.retried, state.figures.in_flight) == (2, 10, 0)
    assert (state.breaker, state.drift_s) == (State.CLOSED, 0)


@pytest.mark.parametrize("kind", ["subject", "none"])
async def test_an_event_without_a_subject_is_delivered(tmp_path: Path, kind: str) -> None:
    """The ledger of one visitor does not stop events of another, nor of nobody."""
    async with RecordingSink().serve() as sink, open_house(tmp_path, [lane_to(destination(), sink.url)], start=False) as house:
        await house.store.append([new_event(1, [fresh(1)], subject=b"o" * 16 if kind == "subject" else b"")])
        house.numbers[1] = {"sink"}
        await deny(house)
        await house.runner.start()
        await house.until_ended("sink", 1)
        counts = await house.check({"sink": sink})
    assert counts["sink"] == {Outcome.DELIVERED: 1}


@pytest.mark.parametrize("most", [1, 9])
async def test_as_many_requests_at_once_as_the_settings_say(tmp_path: Path, most: int) -> None:
    """`requests_at_once` are under way together when there is enough to send, and never one more."""
    together = asyncio.Barrier(most)
    here = highest = 0

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal here, highest
        while await reader.read(65536):
            here += 1
            highest = max(highest, here)
            await together.wait()  # nobody is answered before all of them are here
            await asyncio.sleep(0.05)  # time for one too many to show itself
            here -= 1
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()

    async with raw(note) as url:
        lane = open_lane(destination(events=1), DestinationSettings(endpoint=url, requests_at_once=most), deadline_s=30)
        async with open_house(tmp_path, [lane]) as house:
            await house.post(range(most * 5))
            await house.until_ended("sink", most * 5, 30)
    assert highest == most
