"""The pipeline beside its decisions: what it holds on to while the disk works, what it counts, what it remembers."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ebbgate import pipeline
from ebbgate.audit.entry import Entry
from ebbgate.collect import native
from ebbgate.collect.native import Collected
from ebbgate.errors import EventError
from ebbgate.model import Event, Place, RawRequest, Signals, Trust, Value
from ebbgate.pipeline import Status
from ebbgate.policy.plan import Everywhere
from ebbgate.policy.prepare import prepare_fields
from ebbgate.store.memory import MemoryStore
from ebbgate.store.protocol import Appended, NewEvent
from tests.unit.choices.rig import GERMANY, Middle, event, opened

BOTH = {"analytics": "granted", "advertising": "granted"}
CANARY = "canary@mail.example"


class WaitingStore(MemoryStore):
    """Its disk takes as long as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def append(self, events: Sequence[NewEvent]) -> Sequence[Appended]:
        self.reached.set()
        await self.go_on.wait()
        return await super().append(events)


class Fields(dict[str, Value]):
    """Fields that can be watched as they go."""


@pytest.fixture
async def middle(tmp_path: Path) -> AsyncIterator[Middle]:
    async with opened(tmp_path) as made:
        yield made


def collected(middle: Middle, *events: dict[str, Any]) -> list[Collected]:
    return native.parse_body(
        {"events": list(events)}, site="shop", trust=Trust.SERVER, received_ms=middle.clock.wall_ms(), max_events=1000
    )


async def test_what_was_read_is_let_go_before_it_is_on_disk(tmp_path: Path) -> None:
    """While the disk works nobody holds an event's values, unless somebody watches; what kind of event it is still counts."""
    for whole in (False, True):
        store = WaitingStore()
        async with opened(tmp_path, store=store) as middle:
            if not whole:
                middle.pipeline._watch = None
            found = collected(middle, event(1, consent=BOTH, page={"title": CANARY}), event(2), event(3, "other"))
            first = found[0].event
            assert first is not None
            watched = Fields(first.fields)
            paths, held = tuple(watched), weakref.ref(watched)
            found[0] = msgspec.structs.replace(found[0], event=msgspec.structs.replace(first, fields=watched))
            taking = middle.pipeline.accept(found, GERMANY)
            del found, first, watched
            task = asyncio.create_task(taking)
            del taking
            await store.reached.wait()
            assert (held() is not None) is whole
            store.go_on.set()
            assert [r.status for r in await task] == [Status.ACCEPTED] * 3
            counted = {kind.paths: kind.count for kind in middle.seen.take().kinds.values()}
            assert (counted[paths], sum(counted.values())) == (1, 3)
            assert [CANARY in one.event.fields.values() for one in middle.decided] == ([True, False, False] if whole else [])


async def test_what_is_taken_twice_counts_once(middle: Middle) -> None:
    """A kind counts the events that are on disk: no duplicate, nothing that was refused, and not again after a reading."""
    await middle.post(event(1, consent=BOTH), event(2, consent=BOTH), event(1, consent=BOTH))
    assert [kind.count for kind in middle.seen.take().kinds.values()] == [2]
    await middle.post(event(1, consent=BOTH))
    assert not middle.seen.take().kinds
    await middle.post(event(3, consent=BOTH))
    assert [kind.count for kind in middle.seen.take().kinds.values()] == [1]


@pytest.mark.parametrize("most", [1, 1024])
async def test_every_event_and_decision_is_counted_once(middle: Middle, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Accepted, duplicate and invalid events, and each decision about an accepted one, whenever the counts are read."""
    monkeypatch.setattr(pipeline, "MAX_ALIKE", most)
    await middle.post(event(1, consent=BOTH), event(2, consent=BOTH), event(3))
    assert middle.pipeline.counts["sink", "send"] == 2
    await middle.post(event(4, consent=BOTH), event(1, consent=BOTH), event(5, consent={"analytics": "granted"}))
    bad = Collected(None, error=EventError("no name", code="event_name_missing"), id="x")
    (receipt,) = await middle.pipeline.accept([bad], GERMANY)
    assert (receipt.id, receipt.status, receipt.error) == ("x", Status.INVALID, bad.error)
    for _ in range(2):
        assert dict(middle.pipeline.counts) == {
            ("event", "accepted"): 5, ("event", "duplicate"): 1, ("event", "invalid"): 1,
            ("sink", "send"): 4, ("sink", "hold"): 1, ("ads", "send"): 3, ("ads", "hold"): 2,
        }  # fmt: skip


async def test_receipts_keep_the_order_of_the_request(middle: Middle) -> None:
    """What is no event stands among the others where it was sent."""
    found = collected(middle, event(1), event(2))
    bad = [Collected(None, error=EventError("no", code="c"), id=name) for name in ("x", "y")]
    receipts = await middle.pipeline.accept([bad[0], found[0], bad[1], found[1]], GERMANY)
    assert [(r.id, r.status) for r in receipts] == [
        ("x", Status.INVALID), ("c-1", Status.ACCEPTED), ("y", Status.INVALID), ("c-2", Status.ACCEPTED),
    ]  # fmt: skip


async def test_who_gets_something_is_woken(middle: Middle) -> None:
    """The workers of all destinations that get any event of the request, and of no others."""
    await middle.post(event(1), event(2, consent={"analytics": "granted", "advertising": "denied"}), event(3, consent=BOTH))
    await middle.post(event(4, consent={"analytics": "granted", "advertising": "denied"}))
    assert [set(names or ()) for names in middle.woken] == [{"sink", "ads"}, {"sink"}]


async def test_what_governs_is_asked_again_when_anything_changed(middle: Middle, tmp_path: Path) -> None:
    """The same answer for the same request only: other signals, place or time, or new policies, and it is worked out anew."""
    now_ms = middle.clock.wall_ms()
    granted, denied = (Signals(purposes=(("analytics", word),)) for word in ("granted", "denied"))
    govern = middle.pipeline.govern
    policy, consent = govern(granted, GERMANY, now_ms)
    assert policy is not None
    assert govern(granted, GERMANY, now_ms)[1] is consent
    assert govern(denied, GERMANY, now_ms)[1].state("analytics") == "denied"
    assert govern(granted, GERMANY, now_ms)[1] is consent
    assert govern(granted, Place("US"), now_ms)[0] is None
    assert govern(granted, GERMANY, now_ms)[0] is policy
    file = tmp_path / "policies" / "eu.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("countries: [DE]", "countries: [FR]"), encoding="utf-8")
    middle.policies.reload()
    assert govern(granted, GERMANY, now_ms)[0] is None


async def test_an_empty_reading_is_not_the_word_that_nothing_is_known(middle: Middle) -> None:
    """Who looks for choices with a reading that lacks a key gets an error, never "no choice"."""
    with pytest.raises(KeyError):
        middle.choices.states(middle.key("client:c"), {})


def _nothing(_: NewEvent) -> Entry:
    raise AssertionError


@pytest.mark.parametrize(
    ("value", "attribute"),
    [
        (Event("e-1", "page_view", 1, 1, "shop", "native", Trust.BROWSER, {"page.title": CANARY}, (CANARY,)), "fields"),
        (RawRequest("POST", "/e", "", (("referer", CANARY),), CANARY.encode(), CANARY, 1), "body"),
        (Signals(tcf=CANARY), "tcf"),
        (Collected(None, id=CANARY), "id"),
        (prepare_fields({"page.title": CANARY}, Everywhere()), "fields"),
        (Entry("decision", CANARY.encode(), b"", b"", CANARY.encode()), "opening"),
        (NewEvent(b"", (), (), b"", 1, {"sink": CANARY.encode()}, Entry("decision", b"", b"", b""), _nothing, CANARY), "payloads"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_nothing_of_an_event_is_shown_or_changed(value: Any, attribute: str) -> None:
    """Objects that hold a visitor's data show none of it, and no stage can change them."""
    assert CANARY not in repr(value)
    with pytest.raises(AttributeError):
        setattr(value, attribute, None)
