"""One poison event among many, for every destination of tier 2 that takes batches: it alone ends rejected, each other one arrives once.

Tier 1 has mock platforms of its own (`test_destination_platforms`). Here one sink stands in for all: it refuses what carries the mark as
that platform does, by row where its answer names rows, altogether where it does not, and counts what it took.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from ebbgate.deliver.batching import extra_requests
from ebbgate.deliver.runner import open_lane
from ebbgate.demo.sink import Received, RecordingSink, Reply
from ebbgate.destinations.kit import Row, Skip
from ebbgate.destinations.registry import BUILT_IN, load
from ebbgate.model import CleanEvent, Outcome
from tests.contract import platforms
from tests.contract.platforms import POISON
from tests.contract.test_destination_rules import event, settings_of
from tests.scale import scaled
from tests.unit.deliver.fakes import DIGEST
from tests.unit.deliver.rig import key_of, new_event, now_ms, open_house
from tests.unit.destinations.samples import cleaned

#: An object or a log takes rows whatever they hold; one whose envelope takes one row has no batch to spoil.
NO_BATCH: Final = frozenset({"file", "s3", "kafka"})
NAMES: Final = sorted(d.name for d in BUILT_IN if d.batch.events > 1 and d.name not in {*platforms.NAMES, *NO_BATCH})
TOTAL: Final = min(1000, scaled(120))
POISONED: Final = TOTAL * 5 // 8
_MARK: Final = re.compile(rf"(?:ev|{POISON})-\d+")


def _rows(received: Received) -> list[str]:
    """The mark of each row of a request, in order: the bodies of these destinations hold their rows in one list."""
    body: Any = json.loads(received.body)
    while isinstance(body, Mapping):
        (body,) = [found for found in body.values() if isinstance(found, (list, Mapping)) and _MARK.search(json.dumps(found))]
    return [marks[0] for row in body if (marks := _MARK.findall(json.dumps(row)))]


def _whole(status: int, body: Any = None) -> Callable[[int, list[int]], tuple[Reply, bool]]:
    """A platform that takes all of a request or nothing."""
    return lambda n, bad: (Reply.of(status, body or {}), False)


def _partly(answer: Callable[[int, list[int]], Reply]) -> Callable[[int, list[int]], tuple[Reply, bool]]:
    """A platform that takes the other rows of a request and names the bad ones."""
    return lambda n, bad: (answer(n, bad), True)


def _pinterest(n: int, bad: list[int]) -> Reply:
    events = [{"status": "failed" if i in bad else "processed"} for i in range(n)]
    return Reply.of(422 if bad else 200, {"num_events_received": n, "num_events_processed": n - len(bad), "events": events})


def _umami(n: int, bad: list[int]) -> Reply:
    details = [{"index": i, "response": {"error": "x"}} for i in bad]
    return Reply.of(200, {"size": n, "processed": n - len(bad), "errors": len(bad), "details": details})


def _mixpanel(n: int, bad: list[int]) -> Reply:
    failed = [{"index": i, "$insert_id": "x", "field": "time", "message": "x"} for i in bad]
    return Reply.of(400, {"code": 400, "num_records_imported": n - len(bad), "failed_records": failed})


def _bigquery(n: int, bad: list[int]) -> Reply:
    return Reply.of(200, {"insertErrors": [{"index": i, "errors": [{"reason": "invalid"}]} for i in bad]})


#: How a platform refuses rows; the others answer 400 to the whole request.
REFUSALS: Final[Mapping[str, Callable[[int, list[int]], tuple[Reply, bool]]]] = {
    "pinterest": _partly(_pinterest),
    "umami": _partly(_umami),
    "mixpanel": _partly(_mixpanel),
    "bigquery": _partly(_bigquery),
    "amplitude": lambda n, bad: (Reply.of(400, {"code": 400, "events_with_invalid_fields": {"time": bad}}), False),
    "reddit": _whole(400, {"invalid_events": [{"error_message": "x"}]}),
    "snapchat": _whole(200, {"status": "INVALID", "error_records": [{"reason": "x"}]}),
}
#: These say which row it was: at most the rest of that request is sent again.
BY_ROW: Final = REFUSALS.keys() - {"reddit", "snapchat"}
#: What a platform says to a request that it takes, where that is more than 200.
TAKEN: Final[Mapping[str, Callable[[int], Any]]] = {
    "pinterest": lambda n: {"num_events_processed": n, "events": [{"status": "processed"}] * n},
    "reddit": lambda n: {"message": f"Successfully processed {n} conversion events."},
    "snapchat": lambda n: {"status": "VALID"},
    "x": lambda n: {"data": {"conversions_processed": n}},
    "amplitude": lambda n: {"code": 200, "events_ingested": n},
    "umami": lambda n: {"size": n, "processed": n, "errors": 0, "details": []},
    "mixpanel": lambda n: {"code": 200, "num_records_imported": n},
}


class Platform:
    """The stand-in of one platform."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.taken: Counter[str] = Counter()
        self.asked = 0
        self.refused: list[int] = []  #: rows of each request that it refused altogether

    def __call__(self, received: Received) -> Reply:
        """The answer to one request."""
        self.asked += 1
        rows = _rows(received)
        bad = [index for index, row in enumerate(rows) if row.startswith(POISON)]
        if not bad:
            self.taken.update(rows)
            told = TAKEN.get(self.name)
            return Reply.of(200, told(len(rows)) if told else {})
        reply, others = REFUSALS.get(self.name, _whole(400))(len(rows), bad)
        if others:
            self.taken.update(row for index, row in enumerate(rows) if index not in bad)
        else:
            self.refused.append(len(rows))
        return reply


def _settings(name: str, **more: Any) -> Any:
    batches = {"batches": True} if name == "ecapi" else {}
    return load(name).settings.model_validate({**settings_of(name), **batches, **more})


def _taken_as_good(name: str) -> Outcome:
    unverified = ("segment", "snowplow", "piwik_pro")
    return Outcome.ACCEPTED_UNVERIFIED if name in unverified else Outcome.DELIVERED


@pytest.fixture
def made() -> Mapping[str, list[CleanEvent]]:
    """The events of every destination, as a policy would let them out."""
    found: dict[str, list[CleanEvent]] = {}
    for name in NAMES:
        sample = cleaned(load(name), event("purchase", properties={"color": "red"}, page={"url": "https://shop.example/p"}))
        sample = replace(sample, time_ms=now_ms(), policy=DIGEST, policy_file="eu.yaml")
        sample = replace(sample, consent={"analytics": "granted"}, needs=("analytics",))
        marks = [f"{POISON}-{number}" if number == POISONED else f"ev-{number}" for number in range(TOTAL)]
        found[name] = [replace(sample, id=m, fields={**sample.fields, "event.id": m, "order.id": m}) for m in marks]
    return found


async def test_one_poison_event_of_many_spoils_nothing_else(tmp_path: Path, made: Mapping[str, list[CleanEvent]]) -> None:
    """By row or by halving in ≤ 2·⌈log2 n⌉ extra requests: 1 rejected, all others taken exactly once, at every destination at once."""
    stand_ins = {name: Platform(name) for name in NAMES}
    async with RecordingSink(lambda received: stand_ins[received.path.split("/")[1]](received)).serve() as sink:
        lanes = []
        for name in NAMES:
            lanes.append(open_lane(load(name), _settings(name, endpoint=f"{sink.url}/{name}")))
        async with open_house(tmp_path, lanes) as house:
            await house.store.append([new_event(n, [made[name][n] for name in NAMES]) for n in range(TOTAL)])
            house.numbers.update({n: set(NAMES) for n in range(TOTAL)})
            house.runner.wake(NAMES)
            for name in NAMES:
                await house.until_ended(name, TOTAL, 120)
            counts = await house.check()
            trace = await house.store.trace(key_of(POISONED))
            retried = {name: house.runner.states()[name].figures.retried for name in NAMES}
    assert trace is not None
    for name, lane in zip(NAMES, lanes, strict=True):
        platform, chunk = stand_ins[name], lane.chunk(2_000)
        assert counts[name] == {_taken_as_good(name): TOTAL - 1, Outcome.REJECTED: 1}, name
        assert trace.outcomes[name][0] is Outcome.REJECTED, name
        assert platform.taken == Counter(f"ev-{n}" for n in range(TOTAL) if n != POISONED), name
        size = min(chunk, load(name).batch.events)
        groups = sum(-(-min(chunk, TOTAL - start) // size) for start in range(0, TOTAL, chunk))
        if name in BY_ROW:
            assert platform.asked - groups <= 1, name
        elif not retried[name] and platform.refused == sorted(set(platform.refused), reverse=True):
            # One halving from the batch to the row. A machine so slow that the gate has to be asked anew begins another one.
            assert platform.asked - groups <= extra_requests(size), name


def test_every_destination_that_takes_batches_is_met_here_or_at_its_own_platform() -> None:
    """A destination added to the registry without a poison run fails here."""
    batching = {d.name for d in BUILT_IN if d.batch.events > 1}
    assert batching == {*NAMES, *NO_BATCH, *(name for name in platforms.NAMES if load(name).batch.events > 1)}


@pytest.mark.parametrize("name", NAMES)
def test_the_stand_ins_read_every_row_of_a_request(name: str, made: Mapping[str, list[CleanEvent]]) -> None:
    """What a stand-in counts are the rows of the request: a poison row that it overlooked would prove nothing."""
    destination = load(name)
    settings = _settings(name)
    cleans = [made[name][n] for n in (1, POISONED, 2)]
    rows: list[Row] = [row for clean in cleans if not isinstance(row := destination.render(clean, settings), Skip)]
    request = destination.envelope(rows, settings)
    received = Received(0, request.method, "/", "", request.headers, request.body, 0.0)
    assert _rows(received) == ["ev-1", f"{POISON}-{POISONED}", "ev-2"]
