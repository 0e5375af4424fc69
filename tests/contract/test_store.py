"""What every store promises, whatever its engine (src/ebbgate/store/protocol.py)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from ebbgate.audit.entry import Entry, consent_changed, opens, parse
from ebbgate.errors import LeaseLost, StoreError
from ebbgate.model import Outcome
from ebbgate.store.memory import MemoryStore
from ebbgate.store.options import Options
from ebbgate.store.protocol import Appended, Holding, NewEvent, Result, Store
from ebbgate.store.sqlite import SqliteStore
from tests.unit.store import kit
from tests.unit.store.kit import KEYS, NOW, deliver, event, key_of, payload, take


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store = (
        MemoryStore()
        if request.param == "memory"
        else SqliteStore(tmp_path / "ebbgate.db", KEYS, Options(clock_ms=lambda: NOW, min_free_bytes=0))
    )
    await made.open()
    yield made
    await made.close()


class TestAppend:
    async def test_takes_each_event_once(self, store: Store) -> None:
        """A claimed key makes the second event a duplicate, in the same call and in a later one."""
        assert await store.append([event(1), event(2), event(1)]) == ["accepted", "accepted", "duplicate"]
        assert await store.append([event(2)]) == [Appended.DUPLICATE]
        assert await deliver(store) == [payload(1, "ga4"), payload(2, "ga4")]

    async def test_any_check_makes_a_duplicate(self, store: Store) -> None:
        """One claimed key among several is enough; a claim that is not checked does no harm."""
        first = event(1)
        other = event(2)
        again = NewEvent(
            other.key,
            (other.claims[0], first.claims[0]),
            other.claims,
            b"",
            NOW,
            other.payloads,
            other.entry,
            other.duplicate_entry,
            other.event_id,
        )
        assert await store.append([first]) == ["accepted"]
        assert await store.append([again]) == ["duplicate"]
        assert await store.append([other]) == ["accepted"]

    async def test_concurrent_calls_agree(self, store: Store) -> None:
        """Of many calls with one event at once exactly one is accepted."""
        answers = await asyncio.gather(*[store.append([event(1), event(f"other-{i}")]) for i in range(50)])
        assert sum(a[0] is Appended.ACCEPTED for a in answers) == 1
        assert all(a[1] is Appended.ACCEPTED for a in answers)
        assert len(await deliver(store)) == 51

    async def test_nothing_is_taken_when_an_entry_cannot_be_made(self, store: Store) -> None:
        """A call whose duplicate entry fails takes none of its events, and no number is lost."""
        await store.append([event(1)])
        bad = event(1)

        def broken(_: NewEvent) -> Entry:
            raise ValueError("cannot be made")

        both = [event(2), NewEvent(bad.key, bad.checks, bad.claims, b"", NOW, bad.payloads, bad.entry, broken, bad.event_id)]
        calls = await asyncio.gather(store.append(both), store.append([event(3)]), return_exceptions=True)
        assert isinstance(calls[0], ValueError)
        assert calls[1] == ["accepted"]
        assert await store.append([event(2)]) == ["accepted"]
        assert [e.nseq for e in await store.log()] == [1, 2, 3]

    async def test_an_empty_call_is_nothing(self, store: Store) -> None:
        """No events, no entries."""
        assert list(await store.append([])) == []
        assert list(await store.log()) == []


class TestLog:
    async def test_counts_without_gaps_over_all_kinds(self, store: Store) -> None:
        """Decision, duplicate, record, intent, finish and settlement share one counter."""
        await store.append([event(1), event(2), event(1)])
        await store.record([kit.acted(), kit.acted()])
        await deliver(store, limit=1)
        log = await store.log()
        assert [e.nseq for e in log] == list(range(1, len(log) + 1))
        assert len(log) == 3 + 2 + 4
        assert [parse(e.body)["nseq"] for e in log] == [e.nseq for e in log]

    async def test_is_read_in_pages(self, store: Store) -> None:
        """`after` and `limit` cut the log into pages that join exactly."""
        await store.append([event(i) for i in range(10)])
        await deliver(store, limit=3)
        whole = await store.log()
        pages: list[int] = []
        while page := await store.log(after=len(pages), limit=4):
            pages += [e.nseq for e in page]
        assert pages == [e.nseq for e in whole]

    async def test_openings_open_their_commitments(self, store: Store) -> None:
        """The stored nonce and value are what the entry's commitments were made of, whichever call brought the entry."""
        one = event(1, subject=b"s" * 16)
        await store.append([one])
        await store.record([one.entry])
        log = await store.log()
        assert len(log) == 2
        for entry in log:
            body = parse(entry.body)
            assert entry.opening is not None
            assert entry.key == key_of(1)
            for name, member in (("consent", "consent_c"), ("event", "evt_c"), ("subject", "subj_c")):
                assert opens(name, body[member], entry.opening[name])
            assert entry.opening["subject"][1] == b"s" * 16


class TestLease:
    async def test_token_only_grows(self, store: Store) -> None:
        """A lease in force is prolonged under its token; one that ended gets a higher token."""
        first = await take(store)
        assert (await take(store, now_ms=NOW + 1)).token == first.token
        later = await take(store, now_ms=first.until_ms + kit.TTL)
        assert later.token > first.token
        assert later.until_ms > first.until_ms

    async def test_stale_token_writes_nothing(self, store: Store) -> None:
        """Every writing call of a lease that was taken over raises LeaseLost and changes nothing."""
        await store.append([event(1)])
        stale = await take(store)
        chunk = await store.due(stale, limit=10, now_ms=NOW)
        attempt = await store.begin(stale, chunk.queued, kit.started(chunk.queued), now_ms=NOW)
        await take(store, now_ms=stale.until_ms + 1)
        before = len(await store.log())
        results = [Result(chunk.queued[0], Outcome.DELIVERED)]
        with pytest.raises(LeaseLost):
            await store.begin(stale, chunk.queued, kit.started(chunk.queued), now_ms=NOW)
        with pytest.raises(LeaseLost):
            await store.finish(stale, attempt, results, kit.finished(), cursor=chunk.scanned_to, now_ms=NOW)
        with pytest.raises(LeaseLost):
            await store.settle(stale, results, [kit.ended()], cursor=chunk.scanned_to, now_ms=NOW)
        with pytest.raises(LeaseLost):
            await store.close_attempt(stale, attempt, None, kit.finished(), now_ms=NOW)
        assert len(await store.log()) == before
        assert [a.id for a in await store.open_attempts("ga4")] == [attempt]
        assert len((await store.due(await take(store, now_ms=stale.until_ms + 2), limit=10, now_ms=NOW)).queued) == 1

    async def test_a_refused_call_leaves_its_neighbours_alone(self, store: Store) -> None:
        """A stale worker's call in the same transaction takes nothing from the others."""
        stale = await take(store)
        await take(store, now_ms=stale.until_ms + 1)
        calls = await asyncio.gather(
            store.record([kit.acted()]),
            store.settle(stale, [], [kit.ended()], cursor=0, now_ms=NOW),
            store.record([kit.acted()]),
            return_exceptions=True,
        )
        assert [type(c) for c in calls] == [type(None), LeaseLost, type(None)]
        assert [e.nseq for e in await store.log()] == [1, 2]


class TestDue:
    async def test_reads_in_order_up_to_a_limit(self, store: Store) -> None:
        """Rows come oldest first, each once, whatever the size of a chunk."""
        await store.append([event(i) for i in range(25)])
        assert await deliver(store, limit=7) == [payload(i, "ga4") for i in range(25)]
        assert await deliver(store, limit=7) == []

    async def test_each_destination_gets_its_own(self, store: Store) -> None:
        """A destination reads only what is for it, opened."""
        await store.append([event(1, to=["ga4"]), event(2, to=["meta"]), event(3, to=["ga4", "meta"])])
        assert await deliver(store, "meta") == [payload(2, "meta"), payload(3, "meta")]
        assert await deliver(store, "ga4") == [payload(1, "ga4"), payload(3, "ga4")]

    async def test_what_payloads_share_comes_with_each(self, store: Store) -> None:
        """The shared part is put before every payload, also before one that is tried again; events without it are as before."""
        both = {"ga4": b"for ga4", "meta": b"for meta"}
        await store.append([replace(event(1, payloads=both), shared=b"shared "), event(2, payloads=both)])
        assert await deliver(store, "meta") == [b"shared for meta", b"for meta"]
        lease = await take(store)
        (first, second) = (await store.due(lease, limit=10, now_ms=NOW)).queued
        assert (first.payload, second.payload) == (b"shared for ga4", b"for ga4")
        later = [Result(first, None, retry_at_ms=NOW + 1), Result(second, Outcome.EXPIRED)]
        await store.settle(lease, later, [kit.ended()], cursor=second.position, now_ms=NOW)
        (again,) = (await store.due(lease, limit=10, now_ms=NOW + 2)).queued
        assert again.payload == b"shared for ga4"

    async def test_unsettled_rows_come_again(self, store: Store) -> None:
        """What was read and not settled is read again; what was settled ahead of the cursor is not."""
        await store.append([event(i) for i in range(3)])
        lease = await take(store)
        chunk = await store.due(lease, limit=10, now_ms=NOW)
        await store.settle(lease, [Result(chunk.queued[1], Outcome.EXPIRED)], [kit.ended()], cursor=0, now_ms=NOW)
        again = await store.due(lease, limit=10, now_ms=NOW)
        assert [q.payload for q in again.queued] == [payload(0, "ga4"), payload(2, "ga4")]

    async def test_an_unknown_destination_is_an_error(self, store: Store) -> None:
        """A lease for a destination the store does not know reads nothing."""
        lease = await take(store)
        unknown = type(lease)("nobody", 1, NOW)
        with pytest.raises(StoreError):
            await store.due(unknown, limit=1, now_ms=NOW)

    async def test_cursor_never_passes_unsettled_rows(self, store: Store) -> None:
        """A worker that would skip a row it has read, or rows it never read, is refused."""
        await store.append([event(i) for i in range(4)])
        lease = await take(store)
        chunk = await store.due(lease, limit=2, now_ms=NOW)
        some = [Result(chunk.queued[0], Outcome.DELIVERED)]
        with pytest.raises(StoreError, match="not settled"):
            await store.settle(lease, some, [], cursor=chunk.scanned_to, now_ms=NOW)
        both = [Result(q, Outcome.DELIVERED) for q in chunk.queued]
        with pytest.raises(StoreError, match="never read"):
            await store.settle(lease, both, [], cursor=chunk.scanned_to + 1, now_ms=NOW)
        await store.settle(lease, both, [kit.ended()], cursor=chunk.scanned_to, now_ms=NOW)
        assert await deliver(store) == [payload(2, "ga4"), payload(3, "ga4")]

    async def test_events_for_others_move_the_cursor(self, store: Store) -> None:
        """A chunk may be empty and still tell how far a destination is."""
        await take(store, "meta")
        await store.append([event(i, to=["ga4"]) for i in range(3)])
        lease = await take(store, "meta")
        chunk = await store.due(lease, limit=10, now_ms=NOW)
        assert list(chunk.queued) == []
        await store.settle(lease, [], [], cursor=chunk.scanned_to, now_ms=NOW)
        await store.append([event(9, to=["meta"])])
        assert await deliver(store, "meta") == [payload(9, "meta")]


class TestRetries:
    async def test_come_back_when_due_with_their_count(self, store: Store) -> None:
        """A retry is not seen before its time, comes first then, and knows its attempts and first time."""
        await store.append([event(1), event(2)])
        lease = await take(store)
        chunk = await store.due(lease, limit=10, now_ms=NOW)
        attempt = await store.begin(lease, chunk.queued, kit.started(chunk.queued), now_ms=NOW + 5)
        results = [
            Result(chunk.queued[0], retry_at_ms=NOW + 1000, reason="http_503"),
            Result(chunk.queued[1], Outcome.DELIVERED, reason="http_200"),
        ]
        await store.finish(lease, attempt, results, kit.finished(), cursor=chunk.scanned_to, now_ms=NOW + 6)
        await store.append([event(3)])
        assert [q.payload for q in (await store.due(lease, limit=10, now_ms=NOW + 999)).queued] == [payload(3, "ga4")]
        (late,) = (await store.due(lease, limit=10, now_ms=NOW + 1000)).queued
        assert (late.payload, late.attempts, late.first_attempt_ms, late.at_ms) == (payload(1, "ga4"), 1, NOW + 5, NOW)
        assert late.exception
        attempt = await store.begin(lease, [late], kit.started([late]), now_ms=NOW + 1001)
        again = [Result(late, retry_at_ms=NOW + 2000, reason="http_503")]
        await store.finish(lease, attempt, again, kit.finished(), cursor=0, now_ms=NOW + 1002)
        (late,) = (await store.due(lease, limit=10, now_ms=NOW + 2000)).queued
        assert (late.attempts, late.first_attempt_ms) == (2, NOW + 5)
        await store.settle(lease, [Result(late, Outcome.EXPIRED, reason="too_old")], [kit.ended()], cursor=0, now_ms=NOW)
        trace = await store.trace(key_of(1))
        assert trace is not None
        assert trace.outcomes["ga4"][0] is Outcome.EXPIRED

    async def test_a_request_that_does_not_count(self, store: Store) -> None:
        """Parked for configuration: the row waits without an attempt on its account."""
        await store.append([event(1)])
        lease = await take(store)
        chunk = await store.due(lease, limit=10, now_ms=NOW)
        attempt = await store.begin(lease, chunk.queued, kit.started(chunk.queued), now_ms=NOW)
        parked = [Result(chunk.queued[0], retry_at_ms=NOW + 1, counts=False)]
        await store.finish(lease, attempt, parked, kit.finished(), cursor=chunk.scanned_to, now_ms=NOW)
        (late,) = (await store.due(lease, limit=10, now_ms=NOW + 1)).queued
        assert (late.attempts, late.first_attempt_ms) == (0, 0)

    async def test_results_are_closed(self, store: Store) -> None:
        """Neither an outcome nor a retry, both at once, prose as a reason, a foreign row: refused, nothing written."""
        await store.append([event(1), event(2)])
        lease = await take(store)
        chunk = await store.due(lease, limit=1, now_ms=NOW)
        one = chunk.queued[0]
        attempt = await store.begin(lease, [one], kit.started([one]), now_ms=NOW)
        foreign = type(one)(one.position + 1, one.key, one.subject, one.at_ms, one.payload)
        for wrong in (
            Result(one),
            Result(one, Outcome.DELIVERED, retry_at_ms=NOW),
            Result(one, retry_at_ms=NOW, dead=True),
            Result(one, Outcome.REJECTED, reason="Ana said no"),
            Result(foreign, Outcome.DELIVERED),
        ):
            with pytest.raises(StoreError):
                await store.finish(lease, attempt, [wrong], kit.finished(), cursor=0, now_ms=NOW)
        assert len(await store.open_attempts("ga4")) == 1
        with pytest.raises(StoreError):
            await store.begin(lease, [], kit.started([one]), now_ms=NOW)


class TestDeadLetters:
    async def _one_dead(self, store: Store) -> int:
        await store.append([event(1, to=["ga4"])])
        lease = await take(store)
        chunk = await store.due(lease, limit=10, now_ms=NOW)
        attempt = await store.begin(lease, chunk.queued, kit.started(chunk.queued), now_ms=NOW)
        dead = [Result(chunk.queued[0], Outcome.REJECTED, dead=True, reason="http_400")]
        await store.finish(lease, attempt, dead, kit.finished(), cursor=chunk.scanned_to, now_ms=NOW + 7)
        (letter,) = await store.dead_letters()
        assert (letter.destination, letter.outcome, letter.reason, letter.attempts) == ("ga4", Outcome.REJECTED, "http_400", 1)
        assert (letter.at_ms, letter.died_ms, letter.key) == (NOW, NOW + 7, key_of(1))
        return letter.id

    async def test_revive(self, store: Store) -> None:
        """A revived letter is due again with its payload, from a clean account."""
        number = await self._one_dead(store)
        assert await store.dead_letters("meta") == []
        assert await store.revive([number, 999], now_ms=NOW + 10, entry=kit.acted()) == 1
        assert await store.dead_letters("ga4") == []
        trace = await store.trace(key_of(1))
        assert trace is not None
        assert trace.outcomes["ga4"][0] is None
        (late,) = (await store.due(await take(store), limit=10, now_ms=NOW + 10)).queued
        assert (late.payload, late.attempts) == (payload(1, "ga4"), 0)

    async def test_drop(self, store: Store) -> None:
        """A dropped letter is gone; its outcome stays on record; what is not dead cannot be dropped."""
        number = await self._one_dead(store)
        log = len(await store.log())
        assert await store.drop([number], entry=kit.acted("queue.drop")) == 1
        assert await store.drop([number], entry=kit.acted("queue.drop")) == 0
        assert len(await store.log()) == log + 1
        assert await store.dead_letters() == []
        assert await deliver(store, now_ms=NOW + 10**9) == []
        trace = await store.trace(key_of(1))
        assert trace is not None
        assert trace.outcomes["ga4"][0] is Outcome.REJECTED


class TestOpenAttempts:
    async def test_closed_without_outcome_its_rows_come_again(self, store: Store) -> None:
        """A request that nobody finished may be tried again, and it counts."""
        await store.append([event(1), event(2)])
        lease = await take(store)
        chunk = await store.due(lease, limit=10, now_ms=NOW)
        attempt = await store.begin(lease, chunk.queued, kit.started(chunk.queued), now_ms=NOW + 3)
        (found,) = await store.open_attempts("ga4")
        assert (found.id, found.started_ms, list(found.positions)) == (attempt, NOW + 3, [q.position for q in chunk.queued])
        await store.close_attempt(lease, attempt, None, kit.finished(), now_ms=NOW + 4)
        assert await store.open_attempts("ga4") == []
        again = (await store.due(lease, limit=10, now_ms=NOW)).queued
        assert [(q.attempts, q.first_attempt_ms) for q in again] == [(1, NOW + 3)] * 2
        with pytest.raises(StoreError):
            await store.close_attempt(lease, attempt, None, kit.finished(), now_ms=NOW)

    async def test_closed_with_an_outcome_its_rows_are_settled(self, store: Store) -> None:
        """Unknown is an outcome: the rows are not sent again, a retry among them neither."""
        await store.append([event(1), event(2)])
        lease = await take(store)
        chunk = await store.due(lease, limit=1, now_ms=NOW)
        attempt = await store.begin(lease, chunk.queued, kit.started(chunk.queued), now_ms=NOW)
        later = [Result(chunk.queued[0], retry_at_ms=NOW)]
        await store.finish(lease, attempt, later, kit.finished(), cursor=chunk.scanned_to, now_ms=NOW)
        (late,) = (await store.due(lease, limit=10, now_ms=NOW)).queued
        rest = (await store.due(lease, limit=10, now_ms=NOW - 1)).queued
        attempt = await store.begin(lease, [late, *rest], kit.started([late, *rest]), now_ms=NOW)
        await store.close_attempt(lease, attempt, Outcome.UNKNOWN, kit.finished(), now_ms=NOW)
        assert list((await store.due(lease, limit=10, now_ms=NOW + 10)).queued) == []
        for number in (1, 2):
            trace = await store.trace(key_of(number))
            assert trace is not None
            assert trace.outcomes["ga4"][0] is Outcome.UNKNOWN


class TestQueues:
    async def test_count_what_waits(self, store: Store) -> None:
        """Waiting, retries, dead and held are counted for each destination."""
        await store.append([event(i, to=["ga4"]) for i in range(5)])
        await store.append([event("held", to=["ga4"], held=["meta"], subject=b"s" * 16)])
        lease = await take(store)
        chunk = await store.due(lease, limit=3, now_ms=NOW)
        results = [
            Result(chunk.queued[0], Outcome.DELIVERED),
            Result(chunk.queued[1], retry_at_ms=NOW + 1),
            Result(chunk.queued[2], Outcome.REJECTED, dead=True),
        ]
        await store.settle(lease, results, [kit.ended()], cursor=chunk.scanned_to, now_ms=NOW)
        states = {q.destination: q for q in await store.queues()}
        ga4, meta = states["ga4"], states["meta"]
        assert (ga4.waiting, ga4.retries, ga4.dead, ga4.held, ga4.oldest_ms) == (4, 1, 1, 0, NOW)
        assert (meta.waiting, meta.held, meta.oldest_ms) == (0, 1, 0)


class TestChoices:
    async def test_newest_counts(self, store: Store) -> None:
        """A later choice replaces an earlier one; one that arrives late does not."""
        subject = b"s" * 16
        changed = consent_changed(
            subject=subject, purposes={"ads": "granted"}, source="event", node="n1", at_ms=NOW, entropy=bytes(32)
        )
        await store.put_choice(subject, {"ads": "granted", "analytics": "granted"}, at_ms=NOW, entry=changed)
        await store.put_choice(subject, {"ads": "denied"}, at_ms=NOW + 2, entry=changed)
        await store.put_choice(subject, {"ads": "granted"}, at_ms=NOW + 1, entry=changed)
        found = await store.choices([subject, b"nobody".ljust(16)])
        assert found == {subject: {"ads": ("denied", NOW + 2), "analytics": ("granted", NOW)}}
        assert await store.choices([]) == {}

    async def test_words_are_closed(self, store: Store) -> None:
        """Anything but granted and denied is refused as a whole."""
        changed = consent_changed(
            subject=b"s" * 16, purposes={"ads": "granted"}, source="event", node="n1", at_ms=NOW, entropy=bytes(32)
        )
        with pytest.raises(StoreError):
            await store.put_choice(b"s" * 16, {"analytics": "granted", "ads": "maybe"}, at_ms=NOW, entry=changed)
        assert await store.choices([b"s" * 16]) == {}


class TestHeld:
    async def test_released_are_queued_once(self, store: Store) -> None:
        """A release queues a visitor's held deliveries of the named destinations with their receipt time."""
        await store.append(
            [event(1, to=[], held=["ga4", "meta"], subject=b"s" * 16), event(2, to=[], held=["meta"], subject=b"t" * 16)]
        )
        assert await deliver(store, "meta") == []
        held = {h.destination: h for h in await store.held(b"s" * 16)}
        assert {d: (h.payload, h.subject, h.until_ms) for d, h in held.items()} == {
            d: (payload(1, d), b"s" * 16, NOW + 600_000) for d in ("ga4", "meta")
        }
        assert await store.release_held(b"t" * 16, [held["meta"].id], now_ms=NOW + 1, entry=kit.released) == 0
        assert await store.release_held(b"s" * 16, [held["meta"].id], now_ms=NOW + 1, entry=kit.released) == 1
        assert await store.release_held(b"s" * 16, [held["meta"].id], now_ms=NOW + 1, entry=kit.released) == 0
        assert [h.destination for h in await store.held(b"s" * 16)] == ["ga4"]
        assert await self._settle_all(store, "meta") == [payload(1, "meta")]
        trace = await store.trace(key_of(1))
        assert trace is not None
        assert trace.outcomes["meta"][0] is Outcome.DELIVERED
        assert trace.outcomes["ga4"] == (None, "held", 0)

    async def _settle_all(self, store: Store, destination: str) -> list[bytes]:
        lease = await take(store, destination)
        chunk = await store.due(lease, limit=10, now_ms=NOW + 1)
        assert all(q.at_ms == NOW for q in chunk.queued)
        results = [Result(q, Outcome.DELIVERED) for q in chunk.queued]
        await store.settle(lease, results, [kit.ended()], cursor=0, now_ms=NOW + 1)
        return [q.payload for q in chunk.queued]

    async def test_shredded_never_leave(self, store: Store) -> None:
        """One visitor's, or all that ran out: deleted with an outcome, and a release finds nothing."""
        await store.append([event(i, to=[], held=["meta"], subject=bytes([i]) * 16, at_ms=NOW + i * 1000) for i in range(1, 4)])
        gone = await store.shred_held(bytes([1]) * 16, None, expired_before_ms=0, outcome=Outcome.WITHDRAWN, entry=kit.shredded)
        late = await store.shred_held(
            None, None, expired_before_ms=NOW + 2000 + 600_000, outcome=Outcome.EXPIRED, entry=kit.shredded
        )
        assert (gone, late) == (1, 1)
        assert await store.shred_held(None, [-1], expired_before_ms=NOW * 2, outcome=Outcome.EXPIRED, entry=kit.shredded) == 0
        for number, outcome in ((1, Outcome.WITHDRAWN), (2, Outcome.EXPIRED), (3, None)):
            assert await kit.release(store, bytes([number]) * 16) == (number == 3)
            trace = await store.trace(key_of(number))
            assert trace is not None
            assert trace.outcomes["meta"][0] is outcome

    async def test_what_is_parked_is_counted(self, store: Store) -> None:
        """Events of the fullest key of a visitor, events in all, bytes in all; less again after release and shredding."""
        both, only = b"s" * 16 + b"t" * 16, b"t" * 16
        await store.append([event(1, to=[], held=["ga4", "meta"], subject=both), event(2, to=[], held=["meta"], subject=only)])
        assert (store.holding(b"s" * 16).visitor, store.holding(both).visitor, store.holding(b"").visitor) == (1, 2, 0)
        full = store.holding(only)
        assert full.events == 2
        assert full.bytes >= sum(len(h.payload) for h in await store.held(only))
        assert set(store.held_subjects()) == {both, only}
        assert await kit.release(store, b"s" * 16) == 2
        assert await store.shred_held(only, None, expired_before_ms=0, outcome=Outcome.WITHDRAWN, entry=kit.shredded) == 1
        assert store.holding(both) == Holding(0, 0, 0)


class TestTrace:
    async def test_tells_all_of_one_event(self, store: Store) -> None:
        """Decision, duplicates, intents and closings in order, with the outcome of each destination."""
        await store.append([event(1), event(2)])
        await store.append([event(1)])
        await deliver(store, "ga4")
        trace = await store.trace(key_of(1))
        assert trace is not None
        kinds = [parse(e.body)["type"] for e in trace.entries]
        assert kinds == ["decision", "outcome", "attempt.started", "attempt.finished"]
        assert trace.outcomes == {"ga4": (Outcome.DELIVERED, "http_200", 1), "meta": (None, "", 0)}
        assert await store.trace(key_of("never")) is None


async def test_healthy_when_open(store: Store) -> None:
    """An open store that has written is healthy and names its durability."""
    await store.append([event(1)])
    assert store.healthy()
    assert store.durability in ("memory", "fsync")
