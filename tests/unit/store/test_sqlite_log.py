"""The ingest log on disk: what entries and payloads have in common is kept once, and what is read is what was handed in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace

from ebbgate.audit.decision import decision
from ebbgate.errors import StoreFull
from ebbgate.model import Event, Place, Trust
from ebbgate.store import sqlite_reads, sqlite_segments
from ebbgate.store.protocol import NewEvent, Store
from ebbgate.store.sqlite_gather import Gather
from ebbgate.store.sqlite_reads import Reader
from ebbgate.store.sqlite_upkeep import archive, unlink_segment
from ebbgate.store.sqlite_visitor import SqliteVisitor
from ebbgate.store.sqlite_writer import Job
from tests.unit.store.kit import CONSENT, DECISIONS, KEYS, NODE, NOW, acted, deliver, event, key_of
from tests.unit.store.test_sqlite import opened, segments, until


def told(number: int, *, name: str = "purchase", country: str | None = "DE", subject: bytes = b"") -> NewEvent:
    """An event whose entry has the form of its name, place and subject."""
    one = event(number, subject=subject)
    about = Event(f"E-{number}", name, NOW + number * 1000, NOW + number * 1000, "shop", "native", Trust.SERVER, {})
    entropy = bytes([number % 256]) * 96
    entry = decision(about, DECISIONS, CONSENT, Place(country), node=NODE, key=one.key, subject=subject, entropy=entropy)
    return replace(one, entry=entry)


def kinds(n: int) -> list[NewEvent]:
    """Events of six forms in turn."""
    return [told(i, country=("DE", "FR", None)[i % 3], subject=b"s" * 16 if i % 2 else b"") for i in range(n)]


async def bodies(store: Store) -> list[bytes]:
    return [entry.body for entry in await store.log(limit=10_000)]


def encoded(events: Sequence[NewEvent]) -> list[bytes]:
    return [one.entry.encode(number) for number, one in enumerate(events, 1)]


def rows(directory: Path, table: str = "forms", segment: int = 1) -> int:
    """Rows of a table in a segment file."""
    path = directory / "segments" / f"seg-{segment:06d}.db"
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return int(next(db.execute(f"SELECT count(*) FROM {table}"))[0])
    finally:
        db.close()


async def test_what_is_read_is_what_was_encoded(tmp_path: Path) -> None:
    """Every entry comes back as its exact canonical bytes: from a live file, a sealed one, an archive, and after a restart."""
    events = kinds(24)
    async with opened(tmp_path, segment_events=5) as store:
        for one in events[:12]:
            await store.append([one])
        assert await bodies(store) == encoded(events[:12])
    async with opened(tmp_path, segment_events=5) as store:
        for one in events[12:]:
            await store.append([one])
        assert await bodies(store) == encoded(events)
        await deliver(store, "ga4")
        await deliver(store, "meta")
        await until(lambda: "log-000001.db" in segments(tmp_path) and "seg-000001.db" not in segments(tmp_path))
        assert (await bodies(store))[:24] == encoded(events)


async def test_a_form_is_written_once(tmp_path: Path) -> None:
    """A thousand entries of six forms are six forms and a thousand short rows."""
    async with opened(tmp_path) as store:
        events = kinds(1000)
        for start in range(0, 1000, 100):
            await store.append(events[start : start + 100])
        assert rows(tmp_path) == 6
        assert await bodies(store) == encoded(events)


async def test_forms_over_the_bound_are_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory for forms is bounded; one that was forgotten gets another number and the entries stay right."""
    monkeypatch.setattr(sqlite_segments, "_REMEMBERED", 3)
    async with opened(tmp_path) as store:
        events = kinds(60)
        for one in events:
            await store.append([one])
        assert rows(tmp_path) > 6
        assert await bodies(store) == encoded(events)


async def test_a_form_of_a_refused_group_is_not_taken_as_written(tmp_path: Path) -> None:
    """When the transaction that brought a form is rolled back, the next entry of that form brings it again."""
    failing = [True]

    def failpoint(name: str) -> None:
        if name == "ingest.inserted" and failing.pop() if failing else False:
            raise apsw.FullError("no room")

    async with opened(tmp_path, failpoint=failpoint) as store:
        with pytest.raises(StoreFull):
            await store.append([told(1)])
        await store.append([told(2, country="FR")])
        await store.append([told(3)])
        assert await bodies(store) == encoded([told(2, country="FR"), told(3)])


ENDS = ({"ga4": b"-a", "meta": b"-b"}, {"ga4": b"-c"}, {"ga4": b"-d", "meta": b""})


def sharing(number: int) -> NewEvent:
    """An event whose payloads begin alike and end in one of three ways; every seventh has payloads of its own."""
    if number % 7 == 0:
        return event(number, to=["ga4"])
    return replace(event(number), shared=b"event %d" % number, payloads=ENDS[number % 3])


def payloads(numbers: range, destination: str) -> list[bytes]:
    """What the destination gets of them, in order."""
    found = []
    for one in map(sharing, numbers):
        if destination in one.payloads:
            found.append(one.shared + one.payloads[destination])
    return found


async def test_what_payloads_share_is_written_once(tmp_path: Path) -> None:
    """Each delivery gets its payload whole, from a live and a sealed segment and after a restart; ends are kept once."""
    async with opened(tmp_path, segment_events=40) as store:
        for start in range(0, 75, 25):  # the second segment begins with other ends than the first
            await store.append([sharing(i) for i in range(start, start + 25)])
        assert await deliver(store, "ga4") == payloads(range(75), "ga4")
    async with opened(tmp_path, segment_events=40) as store:
        await store.append([sharing(i) for i in range(75, 90)])
        assert await deliver(store, "ga4") == payloads(range(75, 90), "ga4")
        assert await deliver(store, "meta") == payloads(range(90), "meta")
        assert rows(tmp_path, "events", 2) == 40
        assert rows(tmp_path, "ends", 2) == 2 * len(ENDS)  # those of before the restart, and those of after it


async def test_ends_over_the_bound_are_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory for ends is bounded on both sides; payloads stay right."""
    monkeypatch.setattr(sqlite_segments, "_REMEMBERED", 1)
    monkeypatch.setattr(sqlite_reads, "_ENDS", 1)
    async with opened(tmp_path) as store:
        for i in range(40):
            await store.append([sharing(i)])
        assert await deliver(store, "meta") == payloads(range(40), "meta")


async def test_what_comes_together_is_committed_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Appends of successive busy rounds of the event loop share one transaction, and each gets its own answer."""
    monkeypatch.setattr("ebbgate.store.sqlite_gather.GATHER_S", 60.0)
    commits: list[str] = []
    async with opened(tmp_path, failpoint=lambda name: commits.append(name) if name == "ingest.committed" else None) as store:

        async def one(number: int) -> list[str]:
            for _ in range(number):
                await asyncio.sleep(0)
            return [str(answer) for answer in await store.append([event(number), event(number // 2)])]

        assert await asyncio.gather(*map(one, range(40))) == [["accepted", "duplicate"]] * 40
        assert commits == ["ingest.committed"]


async def test_a_stream_without_end_does_not_hold_the_first_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job waits for others for a bounded time only, however many keep coming."""
    monkeypatch.setattr("ebbgate.store.sqlite_gather.GATHER_S", 0.0)
    handed: list[int] = []
    gather = Gather(asyncio.get_running_loop(), lambda jobs: handed.append(len(jobs)))
    for _ in range(20):
        gather.add(Job(lambda _value, _error: None))
        await asyncio.sleep(0)
    assert len(handed) >= 5
    assert max(handed) <= 4


@pytest.mark.parametrize("read", ["log", "newest", "trace", "last_nseq"])
async def test_a_segment_pruned_while_the_log_is_read_is_read_from_its_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    """Between the list of files and the opening of one it may be gone: its entries are found all the same."""
    async with opened(tmp_path, segment_events=2) as store:
        for number in range(5):
            await store.append([event(number)])
    reader, files = Reader(tmp_path / "ebbgate.db", KEYS), Reader._files
    gone: list[int] = []

    def pruned_after(self: Reader) -> list[tuple[int, Path, bool]]:
        found = files(self)
        if not gone:
            gone.append(2)
            for db in self._open.values():
                db.close()
            self._open.clear()
            archive(tmp_path / "segments", 2)
            unlink_segment(tmp_path / "segments", 2)
        return found

    monkeypatch.setattr(Reader, "_files", pruned_after)
    if read == "log":
        assert [entry.nseq for entry in reader.log(0, 10)] == [1, 2, 3, 4, 5]
    elif read == "newest":
        assert [entry.nseq for entry in reader.newest()] == [5, 4, 3, 2, 1]
    elif read == "trace":
        assert reader.trace(key_of(2)) is not None
    else:
        assert reader.last_nseq() == 5
    assert gone
    reader.close()


async def test_entries_written_while_a_gateway_opens_its_files_count(tmp_path: Path) -> None:
    """The command line may write at any moment of another process's start: no number of the log is given twice."""
    async with opened(tmp_path) as store:
        await store.append([event(0)])
    visitor = SqliteVisitor(tmp_path / "ebbgate.db", KEYS)
    await visitor.open()

    def meanwhile(point: str) -> None:
        if point == "open.segments":
            visitor._change(lambda delivery: delivery.record([acted(), acted()]))

    async with opened(tmp_path, failpoint=meanwhile) as store:
        await store.append([event(1)])
        assert [entry.nseq for entry in await store.log()] == [1, 2, 3, 4]
    await visitor.close()
