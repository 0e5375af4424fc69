"""Tier 1 against its platforms over real sockets, through the real delivery stage: queue, gate, worker, client, outcomes.

What is asked of each: a good batch is taken, every recorded class of error leads to the documented action, one event that the
platform refuses costs no other, refused credentials lose nothing. `House.check` holds the log and the outcomes together.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from structlog.testing import capture_logs

from ebbgate.deliver.batching import extra_requests
from ebbgate.deliver.breaker import State
from ebbgate.deliver.runner import open_lane
from ebbgate.demo.sink import RecordingSink, Reply
from ebbgate.destinations.kit import Batch, Skip
from ebbgate.destinations.packed import GZIP, ZSTD, unpacked
from ebbgate.destinations.registry import load
from ebbgate.model import CleanEvent, Outcome
from tests.contract import platforms
from tests.contract.platforms import Platform, exception
from tests.contract.test_destination_rules import event, settings_of
from tests.optional import extra
from tests.unit.deliver.fakes import DIGEST
from tests.unit.deliver.rig import QUICK, House, key_of, new_event, open_house
from tests.unit.destinations.samples import cleaned

D, A, R, U = Outcome.DELIVERED, Outcome.ACCEPTED_UNVERIFIED, Outcome.REJECTED, Outcome.UNKNOWN
#: Requests are counted here: a machine so slow that the gate's word grows old before a socket is ready must not make it more.
PATIENT: Final = replace(QUICK, fresh_s=600)
#: What success is called: two platforms never say what became of an event.
GOOD: Final = {name: A if name in ("ga4", "google_data_manager") else D for name in platforms.NAMES}


@cache
def _sample(name: str, now_ms: int) -> CleanEvent:
    native = event("purchase", id="ev", time=now_ms, order={"id": "ev", "value": 12.5, "currency": "EUR"})
    clean = cleaned(load(name), native)
    return replace(clean, consent={"analytics": "granted"}, needs=("analytics",), policy=DIGEST, policy_file="eu.yaml")


def _clean(name: str, number: int, now_ms: int, *, poison: bool = False) -> CleanEvent:
    sample, mark = _sample(name, now_ms), f"{platforms.POISON}-{number}" if poison else f"ev-{number}"
    return replace(sample, id=mark, fields={**sample.fields, "event.id": mark, "order.id": mark})


@asynccontextmanager
async def _at(folder: Path, name: str, **changes: Any) -> AsyncIterator[tuple[House, Platform, RecordingSink]]:
    """A mock platform on a socket and a delivery stage that sends to it and to nothing else."""
    platform = Platform(name, int(time.time()))
    async with RecordingSink(platform).serve() as sink:
        settings = load(name).settings.model_validate({**settings_of(name), **changes, "endpoint": sink.url})
        async with open_house(folder, [open_lane(load(name), settings)], limits=PATIENT) as house:
            sink.on_request = house.seen
            yield house, platform, sink


async def _post(house: House, name: str, numbers: range, *, poisoned: int = -1, as_event: str = "purchase") -> None:
    now_ms = time.time_ns() // 1_000_000
    cleans = {n: replace(_clean(name, n, now_ms, poison=n == poisoned), name=as_event) for n in numbers}
    await house.store.append([new_event(n, [clean]) for n, clean in cleans.items()])
    house.numbers.update({n: {name} for n in numbers})
    house.runner.wake([name])


@dataclass(frozen=True)
class Fault:
    """Answers of a platform, one a request, before it works again, and what must come of three events."""

    name: str
    what: str
    replies: tuple[Reply, ...]
    ends: Outcome | None = None  #: of all three; None = as if nothing had happened
    asked: int = 2  #: requests in all


def _error(http: int, **error: Any) -> Reply:
    return Reply.of(http, {"error": error})


HTML: Final = Reply(502, b"<html>Bad gateway</html>", (("content-type", "text/html"),))
FAULTS: Final = (
    Fault("meta", "throttled", (_error(400, code=4),)),
    Fault("meta", "transient", (_error(500, code=2, is_transient=True),)),
    Fault("meta", "account_throttled", (_error(400, code=80004),)),
    Fault("meta", "token", (_error(500, code=190),)),
    Fault("meta", "no_permission", (_error(400, code=10),)),
    Fault("meta", "bad_parameter", (_error(400, code=100, error_subcode=2804003),), asked=3),
    Fault("tiktok", "rate_limit", (Reply.of(200, {"code": 40100}),)),
    Fault("tiktok", "internal", (Reply.of(200, {"code": 50002}),)),
    Fault("tiktok", "html", (HTML,)),
    Fault("tiktok", "token", (Reply.of(200, {"code": 40105}),)),
    Fault("tiktok", "parameter", (Reply.of(200, {"code": 40002}),), asked=3),
    Fault(
        "google_data_manager",
        "quota_a_minute",
        (
            Reply.of(
                429,
                {
                    "error": {
                        "status": "RESOURCE_EXHAUSTED",
                        "details": [{"metadata": {"quota_limit": "MutatePerMinutePerProject"}}],
                    }
                },
                retry_after="0",
            ),
        ),
    ),
    Fault("google_data_manager", "argument", (_error(400, status="INVALID_ARGUMENT"),), asked=3),
    Fault("google_data_manager", "unavailable", (_error(503, status="UNAVAILABLE"),)),
    Fault("linkedin", "rate_limit", (Reply.of(429),)),
    Fault("linkedin", "revoked", (Reply.of(401, {"serviceErrorCode": 65601}),)),
    Fault("linkedin", "validation", (Reply.of(422, {"message": "Index: 0, ERROR :: /user"}),), asked=3),
    Fault("linkedin", "elements_pushed_back", (Reply.of(200, {"elements": [{"status": 429}] * 3}),)),
    Fault("linkedin", "elements_refused", (Reply.of(200, {"elements": [{"status": 422}] * 3}),), ends=R, asked=1),
    Fault("linkedin", "server_error", (Reply.of(500),)),
    Fault("microsoft", "rate_limit", (Reply.of(429),)),
    Fault("microsoft", "token", (Reply.of(401),)),
    Fault("microsoft", "details", (Reply.of(200, {"error": {"details": [{"index": i} for i in range(3)]}}),), ends=R, asked=1),
    Fault("matomo", "stopped_midway", (Reply.of(500, {"status": "error", "tracked": 0}),), asked=2),
    Fault("matomo", "rate_limit", (Reply.of(429),)),
    Fault("posthog", "overloaded", (Reply.of(503),)),
    Fault("posthog", "too_big", (Reply.of(413),), asked=3),
    Fault("posthog", "key", (Reply.of(401),)),
    Fault("posthog", "quota", (Reply.of(200, {"status": 1, "quota_limited": ["events"]}),), ends=R, asked=1),
    Fault("ga4", "server_error_of_a_purchase", (Reply.of(503),)),
    Fault("clickhouse", "too_many_parts", (exception("252", 500),)),
    Fault("clickhouse", "no_table", (exception("60", 404),)),
    Fault("clickhouse", "parse", (exception("27", 400),), asked=3),
    Fault("webhook", "server_error", (Reply.of(500),), asked=4),
    Fault("webhook", "gone", (Reply.of(410),), asked=4),
    Fault("webhook", "moved", (Reply(307, b"", (("location", "http://127.0.0.1:9/"),)),), asked=4),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f"{f.name}-{f.what}")
async def test_an_error_leads_to_the_documented_action(tmp_path: Path, fault: Fault) -> None:
    """Pushed back: sent again. Our credentials: held, then sent. Refused: halved. Refused by row: over. In doubt: by dedupe key."""
    async with _at(tmp_path, fault.name) as (house, platform, sink):
        platform.faults = deque(fault.replies)
        await _post(house, fault.name, range(3))
        await house.until_ended(fault.name, 3)
        counts = await house.check({fault.name: sink})
        ends = fault.ends or GOOD[fault.name]
        assert counts[fault.name] == {ends: 3}
        assert sink.count <= fault.asked + 1
        if fault.ends is None:
            assert len(platform.taken) == 3
            assert sink.count >= fault.asked
        else:
            assert sink.count == fault.asked


@pytest.mark.parametrize("name", ["ga4", "matomo"])
async def test_what_only_merges_orders_gets_nothing_else_twice(tmp_path: Path, name: str) -> None:
    """After an answer that leaves a refund in doubt nothing is repeated: the platform would count it twice."""
    async with _at(tmp_path, name) as (house, platform, sink):
        platform.faults = deque([Reply.of(503)])
        await _post(house, name, range(3), as_event="refund")
        await house.until_ended(name, 3)
        assert (await house.check({name: sink}))[name] == {U: 3}
        assert sink.count == 1


PARKED: Final = {
    "meta": _error(400, code=190),
    "tiktok": Reply.of(200, {"code": 40105}),
    "google_data_manager": _error(403, status="PERMISSION_DENIED"),
    "linkedin": Reply.of(401, {"serviceErrorCode": 65601}),
    "microsoft": Reply.of(401),
    "matomo": Reply.of(401, {"status": "error", "tracked": 0}),
    "posthog": Reply.of(401),
    "clickhouse": exception("516", 403),
    "webhook": Reply.of(410),
}


@pytest.mark.parametrize("name", PARKED)
async def test_refused_credentials_park_the_destination_and_lose_nothing(tmp_path: Path, name: str) -> None:
    """While the platform refuses us, every event waits; once it takes us again, every event arrives."""
    async with _at(tmp_path, name) as (house, platform, sink):
        platform.broken = PARKED[name]
        await _post(house, name, range(5))
        await house.until(lambda: house.runner.states()[name].breaker is not State.CLOSED)
        assert house.ended(name) == 0
        platform.broken = None
        await house.until_ended(name, 5)
        assert (await house.check({name: sink}))[name] == {GOOD[name]: 5}
    assert len(platform.taken) == 5


@cache
def _credentials() -> str:
    """The key of a service account that exists nowhere."""
    key = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return json.dumps({"client_email": "gate@project.iam.gserviceaccount.com", "private_key": key})


async def test_a_token_that_ended_is_renewed_once(tmp_path: Path) -> None:
    """Google answers 401 in the middle: one fresh token is asked for, the batch goes out again, nothing is lost."""
    async with _at(tmp_path, "google_data_manager", access_token=None, credentials=_credentials()) as (house, platform, sink):
        platform.faults = deque([Reply.of(200, {"access_token": "old", "expires_in": 3600})])
        await _post(house, "google_data_manager", range(3))
        await house.until_ended("google_data_manager", 3)
        assert [r.path for r in sink.requests] == ["/token", "/v1/events:ingest", "/token", "/v1/events:ingest"]
        assert len(platform.taken) == 3


async def test_requests_in_flight_share_the_one_fresh_token(tmp_path: Path) -> None:
    """Four requests at once meet a token that has ended: one is asked for, the destination is not held, each event arrives once."""
    small = replace(load("google_data_manager"), batch=Batch(events=5))
    platform = Platform("google_data_manager", int(time.time()))
    platform.faults = deque([Reply.of(200, {"access_token": "old", "expires_in": 3600})])
    async with RecordingSink(platform).serve() as sink:
        changes = {"access_token": None, "credentials": _credentials(), "endpoint": sink.url}
        settings = small.settings.model_validate({**settings_of(small.name), **changes})
        with capture_logs() as lines:
            async with open_house(tmp_path, [open_lane(small, settings)]) as house:
                await _post(house, small.name, range(40))
                await house.until_ended(small.name, 40, 120)
                assert (await house.check())[small.name] == {A: 40}
    assert not [line for line in lines if line["event"] == "delivery.parked"]
    assert [r.path for r in sink.requests].count("/token") == 2
    assert platform.taken == Counter(f"ev-{n}" for n in range(40))


@pytest.mark.parametrize("name", [n for n in platforms.NAMES if n not in ("ga4", "webhook")])
async def test_one_poison_event_of_a_thousand_spoils_nothing_else(tmp_path: Path, name: str) -> None:
    """The one event that the platform refuses ends rejected, the other 999 arrive once, in ≤ 2·⌈log2 n⌉ extra requests a batch."""
    poisoned, total = 613, 1000
    async with _at(tmp_path, name) as (house, platform, sink):
        await _post(house, name, range(total), poisoned=poisoned)
        await house.until_ended(name, total, 120)
        counts = await house.check({name: sink})
        trace = await house.store.trace(key_of(poisoned))
        interrupted = house.runner.states()[name].figures.retried
    assert counts[name] == {GOOD[name]: total - 1, R: 1}
    assert trace is not None
    assert trace.outcomes[name][0] is R
    assert set(platform.taken) == {f"ev-{n}" for n in range(total) if n != poisoned}
    assert set(platform.taken.values()) == {1}
    chunk = open_lane(load(name), load(name).settings.model_validate(settings_of(name))).chunk(2_000)
    size = min(chunk, load(name).batch.events)
    groups = sum(-(-min(chunk, total - start) // size) for start in range(0, total, chunk))
    # A machine so slow that a request's leave is too old when its socket is ready sends the rows of it in another one.
    assert interrupted or sink.count - groups <= extra_requests(size)


async def test_google_is_asked_which_event_it_would_refuse_and_records_each_other_once(tmp_path: Path) -> None:
    """Data Manager's halving goes by `validateOnly`: what is found good half by half leaves in one request, and once only."""
    name, total, poisoned = "google_data_manager", 256, {17, 101, 102}
    async with _at(tmp_path, name) as (house, platform, sink):
        now_ms = time.time_ns() // 1_000_000
        cleans = [_clean(name, n, now_ms, poison=n in poisoned) for n in range(total)]
        await house.store.append([new_event(n, [clean]) for n, clean in enumerate(cleans)])
        house.numbers.update({n: {name} for n in range(total)})
        house.runner.wake([name])
        await house.until_ended(name, total, 120)
        assert (await house.check({name: sink}))[name] == {A: total - len(poisoned), R: len(poisoned)}
        bodies = [json.loads(request.body) for request in sink.requests]
        interrupted = house.runner.states()[name].figures.retried
    questions = [body for body in bodies if body["validateOnly"]]
    sent = [body for body in bodies if not body["validateOnly"]]
    assert platform.taken == Counter(f"ev-{n}" for n in range(total) if n not in poisoned)
    assert all(len(body["events"]) > 1 for body in questions), "one event alone is sent, its answer is its end"
    whole = [body for body in sent if len(body["events"]) > 1]
    if not interrupted:
        assert len(bodies) - 1 <= len(poisoned) * (extra_requests(total) + 1)
        assert len(whole) <= 1 + len(poisoned), "no half is sent for itself"


async def test_questions_that_google_cannot_answer_now_end_nothing(tmp_path: Path) -> None:
    """A quota met while it is asked: the events wait as they are and go out once later; a question is no attempt to deliver."""
    name, total, poisoned = "google_data_manager", 16, 3
    full = Reply.of(429, {"error": {"status": "RESOURCE_EXHAUSTED"}}, retry_after="0")
    async with _at(tmp_path, name) as (house, platform, sink):
        platform.faults = deque(
            [_error(400, status="INVALID_ARGUMENT"), full, _error(400, status="INVALID_ARGUMENT"), Reply.of(503)]
        )
        await _post(house, name, range(total), poisoned=poisoned)
        await house.until_ended(name, total, 120)
        assert (await house.check({name: sink}))[name] == {A: total - 1, R: 1}
    assert set(platform.taken.values()) == {1}


async def test_a_webhook_that_refuses_one_event_gets_all_others(tmp_path: Path) -> None:
    """A receiver that never takes one event is asked for it again and again, and the others arrive meanwhile, each once."""
    async with _at(tmp_path, "webhook") as (house, platform, sink):
        await _post(house, "webhook", range(12), poisoned=5)
        await house.until_ended("webhook", 12, 20)
        counts = await house.check({"webhook": sink})
        assert counts["webhook"] == {D: 11, R: 1}
        assert set(platform.taken.values()) == {1}
        assert len(platform.taken) == 11


async def test_ga4_gets_requests_of_one_client_and_25_events(tmp_path: Path) -> None:
    """The Measurement Protocol names one client a request: a thousand purchases of it go out in forty requests."""
    async with _at(tmp_path, "ga4") as (house, platform, sink):
        await _post(house, "ga4", range(1000))
        await house.until_ended("ga4", 1000, 20)
        assert (await house.check({"ga4": sink}))["ga4"] == {A: 1000}
    assert len(platform.taken) == 1000
    assert sink.count <= 1000 / 25 + 1000 / 100, "a few more where a chunk ends"


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
async def test_files_stand_whole_where_they_belong(tmp_path: Path, compression: str) -> None:
    """The directory holds complete files under the hour of their events, with every event once, and no draft."""
    if compression == "zstd":
        extra("zstandard", "zstd")
    destination = load("file")
    settings = destination.settings.model_validate({"path": str(tmp_path / "out"), "compression": compression})
    async with open_house(tmp_path, [open_lane(destination, settings)]) as house:
        await _post(house, "file", range(200))
        await house.until_ended("file", 200)
        assert (await house.check())["file"] == {D: 200}
    files = await asyncio.to_thread(lambda: sorted((tmp_path / "out").rglob("*.jsonl.*")))
    kind = {"gzip": GZIP, "zstd": ZSTD}[compression]
    rows = [json.loads(line) for file in files for line in unpacked(file.read_bytes(), kind).splitlines()]
    assert Counter(row["event_id"] for row in rows) == Counter(f"ev-{n}" for n in range(200))
    assert all(file.parent.parent.name.startswith("dt=") for file in files)
    assert not list((tmp_path / "out").rglob(".*"))


def test_mock_platforms_refuse_what_the_real_ones_refuse() -> None:
    """A platform that takes everything proves nothing: an event that is too old, spoilt or sent without a token is refused."""
    from ebbgate.demo.sink import Received

    now_s = int(time.time())
    for name in platforms.NAMES:
        destination = load(name)
        settings = destination.settings.model_validate(settings_of(name))
        row = destination.render(_clean(name, 1, now_s * 1000, poison=True), settings)
        assert not isinstance(row, Skip)
        request = destination.envelope([row], settings)
        if destination.sign is not None:
            request = destination.sign(request, settings, now_s)
        address, _, query = request.url.partition("?")
        path = "/" + address.split("/", 3)[3]
        received = Received(0, request.method, path, query, request.headers, request.body, 0.0)
        platform = Platform(name, now_s)
        platform(received)
        assert not platform.taken or name == "ga4", name
