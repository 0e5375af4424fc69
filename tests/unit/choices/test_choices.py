"""The ledger in use: what was decided here holds for every later event and for everything that is parked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ebbgate.audit.entry import parse
from ebbgate.choices import CACHED_MS
from ebbgate.consent.tcf_permit import MAX_AGE_MS
from ebbgate.errors import StoreError, StoreFull
from ebbgate.model import Decision, Outcome
from ebbgate.settings import HoldSettings
from ebbgate.store.memory import MemoryStore
from ebbgate.store.protocol import Appended, HeldDelivery, NewEvent
from tests.unit.choices.rig import Middle, event, opened

BOTH = {"analytics": "granted", "advertising": "granted"}
NO = {"analytics": "denied", "advertising": "denied"}


class SlowStore(MemoryStore):
    """Waits where a test wants it to: before or after a call does its work."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: dict[str, tuple[asyncio.Event, asyncio.Event]] = {}
        self.fails: dict[str, StoreError] = {}
        self.gate: asyncio.Event | None = None  # all appends wait for it

    def pause(self, where: str) -> tuple[asyncio.Event, asyncio.Event]:
        """(reached, go on) for the next passage of `choices.after`, `append.before`, `put.before` or `put.after`."""
        self.pauses[where] = (asyncio.Event(), asyncio.Event())
        return self.pauses[where]

    async def _at(self, where: str) -> None:
        found = self.pauses.pop(where, None)
        if found is not None:
            found[0].set()
            await found[1].wait()
        if where in self.fails:
            raise self.fails[where]

    async def choices(self, subjects: Collection[bytes]) -> Mapping[bytes, Mapping[str, tuple[str, int]]]:
        found = await super().choices(subjects)
        await self._at("choices.after")
        return found

    async def append(self, events: Sequence[NewEvent]) -> Sequence[Appended]:
        await self._at("append.before")
        if self.gate is not None:
            await self.gate.wait()
        return await super().append(events)

    async def put_choice(self, subject: bytes, choices: Mapping[str, str], **more: Any) -> None:
        await self._at("put.before")
        await super().put_choice(subject, choices, **more)
        await self._at("put.after")

    async def held(self, subject: bytes) -> Sequence[HeldDelivery]:
        await self._at("held.before")
        return await super().held(subject)


@pytest.fixture
async def middle(tmp_path: Path) -> AsyncIterator[Middle]:
    async with opened(tmp_path, store=SlowStore()) as made:
        yield made


def slow(made: Middle) -> SlowStore:
    assert isinstance(made.store, SlowStore)
    return made.store


def verdicts(decisions: Sequence[Decision]) -> dict[str, tuple[str, str]]:
    return {d.destination: (d.verdict.value, d.reason.value) for d in decisions}


async def waiting(made: Middle) -> dict[str, int]:
    """Deliveries that wait in each queue."""
    return {q.destination: q.waiting for q in await made.store.queues()}


async def entries(made: Middle, kind: str) -> list[dict[str, Any]]:
    found = [parse(e.body) for e in await made.store.log(limit=10_000)]
    return [e for e in found if e["type"] == kind]


class TestAtReceipt:
    async def test_a_withdrawal_outweighs_the_event_s_own_signals(self, middle: Middle) -> None:
        """An event after a withdrawal is not sent although its own signals grant; the story names the choice."""
        await middle.say("client:c", advertising="denied")
        decisions = await middle.post(event(1, consent=BOTH))
        assert verdicts(decisions) == {"sink": ("send", "granted"), "ads": ("withhold", "consent_denied")}
        assert middle.decided[-1].consent.purposes["advertising"].source == "choice"
        (entry,) = await entries(middle, "decision")
        assert {"name": "advertising", "state": "denied", "source": "choice"} in entry["purposes"]

    async def test_a_grant_lets_an_event_without_signals_through(self, middle: Middle) -> None:
        """Under opt-in, what was granted here fills silence, and nothing but silence."""
        await middle.say("client:c", **BOTH)
        assert verdicts(await middle.post(event(1))) == {"sink": ("send", "granted"), "ads": ("send", "granted")}
        refused = await middle.post(event(2, consent={"advertising": "denied"}))
        assert verdicts(refused)["ads"] == ("withhold", "consent_denied")
        assert verdicts(await middle.post(event(3, client="other")))["sink"] == ("hold", "held")

    async def test_a_refusal_under_any_id_is_a_refusal(self, middle: Middle) -> None:
        """A visitor is known by several ids: a grant under one does not undo the refusal under another, in either order."""
        both = event(1, user={"id": "u"})
        for first, then in (("user:u", "client:c"), ("client:c", "user:u")):
            await middle.say(first, **NO)
            await middle.say(then, **BOTH)
            assert verdicts(await middle.post(dict(both, id=f"{first}-1")))["sink"] == ("withhold", "consent_denied")
            await middle.say(first, **BOTH)
            assert verdicts(await middle.post(dict(both, id=f"{first}-2")))["sink"] == ("send", "granted")

    async def test_a_grant_lapses_after_thirteen_months_a_refusal_never(self, middle: Middle) -> None:
        """To the millisecond."""
        await middle.say("client:c", **BOTH)
        await middle.say("client:d", **NO)
        middle.clock.pass_s(MAX_AGE_MS / 1000)
        assert verdicts(await middle.post(event(1)))["sink"] == ("send", "granted")
        middle.clock.pass_s(0.001)
        assert verdicts(await middle.post(event(2)))["sink"] == ("hold", "held")
        assert verdicts(await middle.post(event(3, "d")))["sink"] == ("withhold", "consent_denied")

    async def test_what_another_process_recorded_counts_within_five_seconds(self, middle: Middle) -> None:
        """A choice written to the store by somebody else is seen once what is kept in memory is old."""
        await middle.say("client:c", **BOTH)
        await middle.post(event(1))
        other = Middle(Path(middle.policies._path).parent, {}, store=middle.store, keys=middle.keys, clock=middle.clock)
        await other.say("client:c", **NO)
        middle.clock.pass_s(CACHED_MS / 1000)
        assert verdicts(await middle.post(event(2, consent=BOTH)))["sink"] == ("withhold", "consent_denied")

    async def test_silence_is_remembered_no_longer_than_what_was_read(self, middle: Middle) -> None:
        """That nothing is on record for a person is asked again after five seconds, whichever of the person's events asked first."""
        await middle.post(event(1, consent=BOTH))
        middle.clock.pass_s(CACHED_MS / 1000 - 1)
        both = {**event(2, consent=BOTH), "user": {"id": "u"}}
        assert verdicts(await middle.post(both))["sink"] == ("send", "granted")  # of the browser's key it is known for long
        other = Middle(Path(middle.policies._path).parent, {}, store=middle.store, keys=middle.keys, clock=middle.clock)
        await other.say("client:c", **NO)
        assert verdicts(await middle.post({**both, "id": "c-3"}))["sink"] == ("send", "granted")
        middle.clock.pass_s(1)
        assert verdicts(await middle.post({**both, "id": "c-4"}))["sink"] == ("withhold", "consent_denied")

    async def test_a_choice_ends_silence_at_once(self, middle: Middle) -> None:
        """Events before a choice, by which it was seen that nothing is on record, change nothing for those after it."""
        for number in range(2):
            assert verdicts(await middle.post(event(number, consent=BOTH)))["sink"] == ("send", "granted")
        await middle.say("client:c", **NO)
        assert verdicts(await middle.post(event(3, consent=BOTH)))["sink"] == ("withhold", "consent_denied")

    async def test_each_choice_has_its_log_entry(self, middle: Middle) -> None:
        """`consent.changed` names purposes and states, and the person only behind a commitment."""
        await middle.say("client:c", advertising="denied", analytics="granted")
        (entry,) = await entries(middle, "consent.changed")
        assert entry["purposes"] == [{"name": "advertising", "state": "denied"}, {"name": "analytics", "state": "granted"}]
        assert entry["source"] == "consent_route"
        assert middle.key("client:c").hex() not in str(entry)


class TestRaces:
    async def test_a_read_that_began_before_a_choice_is_not_kept(self, middle: Middle) -> None:
        """An event whose look at the ledger overlaps a withdrawal is decided by it, and so are those after it."""
        reached, go_on = slow(middle).pause("choices.after")
        posting = asyncio.create_task(middle.post(event(1, consent=BOTH)))
        await reached.wait()
        await middle.say("client:c", **NO)
        go_on.set()
        assert verdicts(await posting)["sink"] == ("withhold", "consent_denied")
        assert verdicts(await middle.post(event(2, consent=BOTH)))["sink"] == ("withhold", "consent_denied")

    @pytest.mark.parametrize(("said", "left"), [(BOTH, {"sink": 1, "ads": 1}), (NO, {"sink": 0, "ads": 0})])
    async def test_a_choice_while_an_event_is_being_parked_concerns_it(
        self, middle: Middle, said: dict[str, str], left: dict[str, int]
    ) -> None:
        """Decided before, stored after the choice was recorded: released or shredded at once, not left to its end."""
        reached, go_on = slow(middle).pause("append.before")
        posting = asyncio.create_task(middle.post(event(1)))
        await reached.wait()
        await middle.say("client:c", **said)
        go_on.set()
        assert verdicts(await posting)["sink"] == ("hold", "held")
        assert await waiting(middle) == left
        assert middle.store.holding(middle.key("client:c")).events == 0

    async def test_a_choice_that_is_durable_but_not_yet_answered(self, middle: Middle) -> None:
        """The event is decided by what is in memory, the choice is on disk already: it is released all the same."""
        await middle.post(event(0, "other"))
        await middle.post(event(1, consent={"analytics": "granted"}))
        reached, go_on = slow(middle).pause("put.after")
        saying = asyncio.create_task(middle.say("client:c", **BOTH))
        await reached.wait()
        await middle.post(event(2))
        go_on.set()
        await saying
        assert middle.store.holding(middle.key("client:c")).visitor == 0

    async def test_a_choice_that_was_not_recorded_is_not_acknowledged(self, middle: Middle) -> None:
        """A full disk refuses it, and nothing in memory pretends otherwise."""
        slow(middle).fails["put.before"] = StoreFull("no room")
        with pytest.raises(StoreFull):
            await middle.say("client:c", **BOTH)
        assert verdicts(await middle.post(event(1)))["sink"] == ("hold", "held")

    async def test_what_could_not_be_settled_is_settled_later(self, middle: Middle) -> None:
        """The choice is recorded and acknowledged; what is parked follows as soon as the store can."""
        await middle.choices.tend()
        await middle.post(event(1))
        slow(middle).fails["held.before"] = StoreFull("no room")
        await middle.say("client:c", **BOTH)
        assert (await waiting(middle)) == {"sink": 0, "ads": 0}
        slow(middle).fails.clear()
        done = await middle.choices.tend()
        assert done.released == 2
        assert await waiting(middle) == {"sink": 1, "ads": 1}


class TestHeld:
    async def test_all_needs_must_be_granted(self, middle: Middle) -> None:
        """A grant of one of two purposes releases what needs that one only; the other waits on, and is shredded by a refusal."""
        await middle.post(event(1))
        await middle.say("client:c", analytics="granted")
        assert await waiting(middle) == {"sink": 1, "ads": 0}
        assert [h.destination for h in await middle.store.held(middle.key("client:c"))] == ["ads"]
        await middle.say("client:c", advertising="denied")
        assert await middle.store.held(middle.key("client:c")) == []
        released, shredded = await entries(middle, "held.released"), await entries(middle, "held.shredded")
        assert [(e["dests"], e["n"]) for e in released] == [(["sink"], 1)]
        assert [(e["dests"], e["n"], e["outcome"]) for e in shredded] == [(["ads"], 1, "withheld")]

    async def test_each_event_is_judged_alone(self, middle: Middle) -> None:
        """One that ran out does not take another of the same visitor with it; the sweep shreds it as expired."""
        await middle.post(event(1))
        middle.clock.pass_s(590)
        await middle.post(event(2))
        middle.clock.pass_s(20)
        await middle.say("client:c", **BOTH)
        assert await waiting(middle) == {"sink": 1, "ads": 1}
        assert (await middle.choices.tend()).shredded == 2
        trace = await middle.store.trace(middle.keys.event_key("shop", "c-1"))
        assert trace is not None
        assert {o[0] for o in trace.outcomes.values()} == {Outcome.EXPIRED}

    async def test_all_ids_of_the_event_are_asked(self, middle: Middle) -> None:
        """A grant under one id releases nothing that another id of the same event refused meanwhile."""
        slow(middle).fails["held.before"] = StoreFull("busy")
        await middle.post(event(1, user={"id": "u"}))
        await middle.say("user:u", **NO)
        slow(middle).fails.clear()
        await middle.say("client:c", **BOTH)
        assert await waiting(middle) == {"sink": 0, "ads": 0}
        assert await middle.store.held(middle.key("client:c")) == []

    async def test_a_choice_of_somebody_else_changes_nothing(self, middle: Middle) -> None:
        """What is parked for one visitor waits on when another decides."""
        await middle.post(event(1))
        await middle.say("client:d", **BOTH)
        assert middle.store.holding(middle.key("client:c")).visitor == 1

    async def test_without_anyone_who_could_decide_nothing_is_parked(self, middle: Middle) -> None:
        """An event without any id of a visitor is withheld, not kept in vain."""
        decisions = await middle.post({"event": "page_view", "id": "x"})
        assert verdicts(decisions)["sink"] == ("withhold", "consent_unknown")
        assert middle.store.holding(b"").events == 0

    async def test_nothing_expires_while_the_clock_is_not_trusted(self, middle: Middle) -> None:
        """A jump of the clock must not shred what waits (specs/reliability.md §2.6)."""
        await middle.post(event(1))
        middle.clock.pass_s(86_400)
        assert (await middle.choices.tend(may_expire=False)).shredded == 0
        assert (await middle.choices.tend()).shredded == 2

    async def test_a_restart_finishes_what_was_cut_short(self, tmp_path: Path) -> None:
        """Recorded, then the process died before anything was released: the next one releases it, and keeps the choice."""
        async with opened(tmp_path, disk=True) as first:
            await first.post(event(1))
            key = first.key("client:c")
            await first.choices._put(key, BOTH, first.clock.wall_ms())
        async with opened(tmp_path, disk=True, keys=first.keys) as second:
            assert (await second.choices.tend()).released == 2
            assert (await second.choices.tend()).released == 0
            assert verdicts(await second.post(event(2)))["sink"] == ("send", "granted")


class TestBounds:
    async def test_per_visitor(self, tmp_path: Path) -> None:
        """The event over the bound is withheld with a word of its own; another visitor's is not, and room comes back."""
        async with opened(tmp_path, store=SlowStore(), bounds=HoldSettings(max_per_visitor=3)) as middle:
            for number in range(3):
                assert verdicts(await middle.post(event(number)))["ads"] == ("hold", "held")
            assert verdicts(await middle.post(event(3))) == dict.fromkeys(("sink", "ads"), ("withhold", "too_many_held"))
            assert verdicts(await middle.post(event(4, user={"id": "u"})))["sink"] == ("withhold", "too_many_held")
            assert verdicts(await middle.post(event(0, "d")))["ads"] == ("hold", "held")
            assert middle.store.holding(middle.key("client:c")).visitor == 3
            await middle.say("client:c", **NO)
            await middle.say("client:c", analytics="granted")
            assert verdicts(await middle.post(event(5)))["sink"] == ("send", "granted")

    @pytest.mark.parametrize("bounds", [HoldSettings(max_events=2), HoldSettings(max_bytes=1500)])
    async def test_in_all(self, tmp_path: Path, bounds: HoldSettings) -> None:
        """Also over many visitors, by count and by bytes, within one request and over several."""
        async with opened(tmp_path, bounds=bounds) as middle:
            await middle.post(*(event(0, f"v{i}") for i in range(9)))
            held = [d for d in middle.decided if d.decisions[0].reason.value == "held"]
            assert {d.decisions[0].reason.value for d in middle.decided} == {"held", "too_many_held"}
            holding = middle.store.holding(b"")
            assert holding.events == len(held) <= bounds.max_events
            assert holding.bytes <= bounds.max_bytes
            assert verdicts(await middle.post(event(1, "late")))["sink"] == ("withhold", "too_many_held")
            middle.clock.pass_s(600)
            await middle.choices.tend()
            assert verdicts(await middle.post(event(2, "late")))["sink"] == ("hold", "held")

    async def test_requests_at_once_share_the_room(self, tmp_path: Path) -> None:
        """Events on their way into the store count together; one that is refused or a duplicate gives its room back."""
        async with opened(tmp_path, store=SlowStore(), bounds=HoldSettings(max_per_visitor=3)) as middle:
            slow(middle).fails["append.before"] = StoreFull("no room")
            for number in range(5):
                with pytest.raises(StoreFull):
                    await middle.post(event(number))
            slow(middle).fails.clear()
            await asyncio.gather(*(middle.post(event(1)) for _ in range(3)))
            gate = slow(middle).gate = asyncio.Event()
            posts = [asyncio.create_task(middle.post(event(number))) for number in range(2, 9)]
            await asyncio.sleep(0.01)
            gate.set()
            await asyncio.gather(*posts)
            assert middle.store.holding(middle.key("client:c")).visitor == 3
