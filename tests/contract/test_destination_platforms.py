"""Mock platforms of tier 1 that check a request as the real ones do and answer as they do, errors included.

What is sent to them goes the way of the delivery stage: batches of the destination's size, halves after a refusal.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, urlsplit

import msgspec
import pytest

from ebbgate.deliver.batching import batches, extra_requests, halves
from ebbgate.destinations.kit import Act, Destination, HttpRequest, HttpResponse, Row, Skip
from ebbgate.destinations.registry import load
from ebbgate.model import Outcome
from tests.contract.test_destination_rules import TIME_MS, event, settings_of
from tests.unit.destinations.samples import cleaned

NOW_S: Final = TIME_MS // 1000 + 60
HEX: Final = re.compile(r"[0-9a-f]{64}\Z")

#: A body, decoded, and the headers → status and answer.
Platform = Callable[[Any, Mapping[str, str], str], tuple[int, Any]]


def _meta(body: Any, headers: Mapping[str, str], url: str) -> tuple[int, Any]:
    if headers.get("authorization") != "Bearer s3cret":
        return 400, {"error": {"code": 190, "type": "OAuthException"}}
    if "access_token" in url:
        return 400, {"error": {"code": 100}}
    for row in body["data"]:
        user, time = row["user_data"], row["event_time"]
        hashed = [v for k, v in user.items() if k in ("em", "ph", "fn", "ln", "ct", "zp", "country")] + user.get("external_id", [])
        good = isinstance(time, int) and NOW_S - 7 * 86400 <= time <= NOW_S and row["action_source"] == "website"
        if not good or not row["event_source_url"] or not user["client_user_agent"] or not all(HEX.match(h) for h in hashed):
            return 400, {"error": {"code": 100, "error_subcode": 2804003}}
    return 200, {"events_received": len(body["data"]), "messages": [], "fbtrace_id": "A"}


def _tiktok(body: Any, headers: Mapping[str, str], url: str) -> tuple[int, Any]:
    if headers.get("access-token") != "s3cret":
        return 200, {"code": 40105, "message": "Access token is incorrect"}
    assert url.endswith("/open_api/v1.3/event/track/")
    for index, row in enumerate(body["data"]):
        if not isinstance(row.get("event_time"), int) or row["event_time"] > 10**10 or not row["page"]["url"]:
            return 200, {"code": 40002, "message": f"Batch.{index}.event_time: Invalid"}
    return 200, {"code": 0, "message": "OK", "data": {}}


def _google(body: Any, headers: Mapping[str, str], url: str) -> tuple[int, Any]:
    if headers.get("authorization") != "Bearer s3cret":
        return 401, {"error": {"code": 401, "status": "UNAUTHENTICATED"}}
    for row in body["events"]:
        identifiers = row.get("userData", {}).get("userIdentifiers", [])
        good = row["transactionId"] and re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00\Z", str(row["eventTimestamp"]))
        if not good or (identifiers and body.get("encoding") != "HEX") or len(identifiers) > 10 or len(row["adIdentifiers"]) > 1:
            return 400, {"error": {"code": 400, "status": "INVALID_ARGUMENT"}}
    return 200, {"requestId": "r-1"}


def _linkedin(body: Any, headers: Mapping[str, str], url: str) -> tuple[int, Any]:
    if headers.get("authorization") != "Bearer s3cret":
        return 401, {"serviceErrorCode": 65600}
    rows = body.get("elements", [body])
    assert ("elements" in body) == (headers.get("x-restli-method") == "BATCH_CREATE")
    for index, row in enumerate(rows):
        if not isinstance(row["conversionHappenedAt"], int) or row["conversionHappenedAt"] < 10**12:
            return 422, {"message": f"Index: {index}, ERROR :: /conversionHappenedAt"}
    return (200, {"elements": [{"status": 201}] * len(rows)}) if "elements" in body else (201, None)


def _microsoft(body: Any, headers: Mapping[str, str], url: str) -> tuple[int, Any]:
    if headers.get("authorization") != "Bearer s3cret":
        return 401, {}
    assert body["continueOnValidationError"] is True
    bad = [
        i
        for i, row in enumerate(body["data"])
        if not isinstance(row["eventTime"], int) or row["adStorageConsent"] not in ("G", "D")
    ]
    answer: dict[str, Any] = {"eventsReceived": len(body["data"]) - len(bad)}
    if bad:
        answer["error"] = {"details": [{"index": i, "errorMessage": "invalid"} for i in bad]}
    return 200, answer


def _matomo(body: Any, headers: Mapping[str, str], url: str) -> tuple[int, Any]:
    if body["token_auth"] != "s3cret":
        return 401, {"status": "error", "tracked": 0}
    bad = []
    for index, hit in enumerate(body["requests"]):
        pairs = dict(parse_qsl(hit.removeprefix("?"), keep_blank_values=True))
        visitor = pairs.get("_id", "0" * 16)
        if pairs.get("rec") != "1" or not re.match(r"[0-9a-f]{16}\Z", visitor) or not pairs.get("cdt", "").isdigit():
            bad.append(index)
    return 200, {"status": "success", "tracked": len(body["requests"]) - len(bad), "invalid": len(bad), "invalid_indices": bad}


def _posthog(body: Any, headers: Mapping[str, str], url: str) -> tuple[int, Any]:
    if body["api_key"] != "s3cret":
        return 401, {"type": "authentication_error"}
    good = all(
        isinstance(row["timestamp"], str) and row["properties"]["distinct_id"] and len(row["uuid"]) == 36 for row in body["batch"]
    )
    return (200, {"status": 1}) if good else (400, {"type": "validation_error"})


def _ga4(body: Any, headers: Mapping[str, str], url: str) -> tuple[int, Any]:
    assert parse_qs(urlsplit(url).query).keys() == {"api_secret", "measurement_id"}
    return 204, None  # whatever is sent


def _clickhouse(body: Any, headers: Mapping[str, str], url: str) -> tuple[int, Any]:
    if headers.get("x-clickhouse-key") != "s3cret":
        return 403, {"exception": "516"}
    good = all(isinstance(row["event_time"], str) for row in body)
    return (200, None) if good else (400, {"exception": "27"})


def _file(body: Any, headers: Mapping[str, str], url: str) -> tuple[int, Any]:
    assert re.match(r"file:///.*/dt=\d{4}-\d\d-\d\d/hour=\d\d/[0-9a-f]{32}\.jsonl\.gz\Z", url)
    return 201, None


def _webhook(body: Any, headers: Mapping[str, str], url: str) -> tuple[int, Any]:
    wanted = {"webhook-id", "webhook-timestamp", "webhook-signature"}
    return (204, None) if wanted <= headers.keys() and len(body["data"]["id"]) > 0 else (400, None)


PLATFORMS: Final[Mapping[str, Platform]] = {
    "meta": _meta,
    "tiktok": _tiktok,
    "google_data_manager": _google,
    "linkedin": _linkedin,
    "microsoft": _microsoft,
    "matomo": _matomo,
    "posthog": _posthog,
    "ga4": _ga4,
    "clickhouse": _clickhouse,
    "file": _file,
    "webhook": _webhook,
}
#: destination → how its row is spoilt so that only its platform can see it, for platforms that check at once.
POISON: Final[Mapping[str, Callable[[Row], Row]]] = {
    "meta": lambda row: {**row, "event_time": NOW_S - 8 * 86400},
    "tiktok": lambda row: {**row, "event": {**row["event"], "event_time": "soon"}},
    "google_data_manager": lambda row: {**row, "event": {**row["event"], "eventTimestamp": "yesterday"}},
    "linkedin": lambda row: {**row, "conversionHappenedAt": 1},
    "microsoft": lambda row: {**row, "eventTime": "soon"},
    "matomo": lambda row: {"hit": row["hit"].replace("rec=1", "rec=0")},
    "posthog": lambda row: {**row, "timestamp": 0},
    "clickhouse": lambda row: {**row, "event_time": 0},
}


def _ask(platform: Platform, request: HttpRequest) -> HttpResponse:
    raw = gzip.decompress(request.body) if request.url.startswith("file:") else request.body
    lines = dict(request.headers).get("content-type") in ("application/x-ndjson", "application/gzip")
    body = [msgspec.json.decode(line) for line in raw.splitlines()] if lines else msgspec.json.decode(raw)
    status, answer = platform(body, dict(request.headers), request.url)
    headers = {"x-clickhouse-exception-code": answer["exception"]} if isinstance(answer, dict) and "exception" in answer else {}
    return HttpResponse(status, headers, b"" if answer is None else msgspec.json.encode(answer))


def _deliver(name: str, rows: Sequence[Row], settings: dict[str, Any]) -> tuple[dict[int, Outcome | Act], int, int]:
    """(row index → what became of it, requests, batches) of sending rows to the mock platform of a destination."""
    destination = load(name)
    parsed = destination.settings.model_validate(settings)
    done: dict[int, Outcome | Act] = {}
    groups = batches(list(enumerate(rows)), limit=destination.batch.events, key=_by(destination))
    waiting, requests = list(groups), 0
    while waiting:
        group = waiting.pop()
        request = destination.envelope([row for _, row in group], parsed)
        if destination.sign is not None:
            request = destination.sign(request, parsed, NOW_S)
        requests += 1
        answer = destination.classify(_ask(PLATFORMS[name], request), len(group))
        if answer.act in (Act.BISECT, Act.HALVE):
            waiting.extend(halves(group))
        else:
            for place, (index, _) in enumerate(group):
                done[index] = answer.rows.get(place, answer.outcome) if answer.act is Act.DONE else answer.act
    return done, requests, len(groups)


def _by(destination: Destination) -> Callable[[tuple[int, Row]], Any] | None:
    key = destination.batch_key
    return None if key is None else lambda pair: key(pair[1])


def _rows(name: str, count: int) -> list[Row]:
    destination = load(name)
    settings = destination.settings.model_validate(settings_of(name))
    row = destination.render(cleaned(destination, event("purchase")), settings)
    assert not isinstance(row, Skip)
    return [row] * count


@pytest.mark.parametrize("name", PLATFORMS)
def test_a_good_batch_is_taken(name: str) -> None:
    """The platform takes what we render, in batches of the declared size, and every event has an outcome."""
    done, requests, groups = _deliver(name, _rows(name, 60), settings_of(name))
    assert requests == groups
    assert set(done.values()) <= {Outcome.DELIVERED, Outcome.ACCEPTED_UNVERIFIED}
    assert len(done) == 60


@pytest.mark.parametrize("name", POISON)
def test_one_poison_event_of_a_thousand_spoils_nothing_else(name: str) -> None:
    """The one bad event ends rejected, the other 999 delivered, with at most 2·⌈log2 n⌉ extra requests a batch."""
    rows = _rows(name, 1000)
    poisoned = 613
    rows[poisoned] = POISON[name](rows[poisoned])
    done, requests, groups = _deliver(name, rows, settings_of(name))
    assert len(done) == 1000
    assert done.pop(poisoned) is Outcome.REJECTED
    assert set(done.values()) <= {Outcome.DELIVERED, Outcome.ACCEPTED_UNVERIFIED}
    assert requests - groups <= extra_requests(min(1000, load(name).batch.events))


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("meta", "access_token"),
        ("tiktok", "access_token"),
        ("google_data_manager", "access_token"),
        ("linkedin", "access_token"),
        ("microsoft", "access_token"),
        ("matomo", "token_auth"),
        ("posthog", "project_api_key"),
        ("clickhouse", "password"),
    ],
)
def test_refused_credentials_park_and_lose_nothing(name: str, secret: str) -> None:
    """A wrong token stops the destination; no event is rejected for it."""
    done, requests, groups = _deliver(name, _rows(name, 3), {**settings_of(name), secret: "wrong"})
    assert requests == groups
    assert set(done.values()) == {Act.PARK}
