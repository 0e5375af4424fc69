"""Every recorded class of a platform's answers leads to the documented action, down to the row (specs/destinations.md §2, §3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import pytest

from ebbgate.destinations.kit import Act, HttpResponse
from ebbgate.destinations.registry import DESTINATIONS, load
from ebbgate.model import Outcome

DELIVERED, UNVERIFIED, REJECTED = Outcome.DELIVERED, Outcome.ACCEPTED_UNVERIFIED, Outcome.REJECTED


@dataclass(frozen=True)
class Case:
    """An answer of a platform to `n` rows and what it means."""

    name: str
    status: int
    body: Any
    act: Act
    outcome: Outcome | None = None
    rows: Mapping[int, Outcome | Act] = field(default_factory=dict)
    n: int = 3
    headers: Mapping[str, str] = field(default_factory=dict)
    refresh: bool = False


def _meta(code: int, **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "type": "OAuthException", "message": "x", **more}}


def _google(status: str, **details: Any) -> dict[str, Any]:
    return {"error": {"code": 1, "status": status, "details": [{"metadata": details}] if details else []}}


CASES: Final = (
    Case("ga4", 204, None, Act.DONE, UNVERIFIED),
    Case("ga4", 503, None, Act.UNKNOWN),
    Case("meta", 200, {"events_received": 3, "messages": []}, Act.DONE, DELIVERED),
    Case("meta", 200, {"events_received": 2}, Act.UNKNOWN),
    Case("meta", 200, None, Act.UNKNOWN),
    Case("meta", 500, _meta(190), Act.PARK, refresh=True),
    Case("meta", 400, _meta(190), Act.PARK, refresh=True),
    Case("meta", 500, _meta(3), Act.PARK),
    Case("meta", 400, _meta(10), Act.PARK),
    Case("meta", 400, _meta(200), Act.PARK),
    Case("meta", 400, _meta(100, error_subcode=33), Act.PARK),
    Case("meta", 400, _meta(100, error_subcode=2804003), Act.BISECT),
    Case("meta", 400, _meta(100, error_subcode=2804009), Act.DONE, REJECTED, n=1),
    Case("meta", 400, _meta(4), Act.RETRY),
    Case("meta", 400, _meta(80004), Act.RETRY),
    Case("meta", 500, _meta(2, is_transient=True), Act.UNKNOWN),
    Case("meta", 400, _meta(21009), Act.UNKNOWN),
    Case("google_data_manager", 200, {"requestId": "r"}, Act.DONE, UNVERIFIED),
    Case("google_data_manager", 200, {}, Act.UNKNOWN),
    Case("google_data_manager", 400, _google("INVALID_ARGUMENT"), Act.BISECT),
    Case("google_data_manager", 429, _google("RESOURCE_EXHAUSTED", quota_limit="RequestsPerDay"), Act.RETRY),
    Case("google_data_manager", 401, _google("UNAUTHENTICATED"), Act.PARK, refresh=True),
    Case("google_data_manager", 403, _google("PERMISSION_DENIED"), Act.PARK),
    Case("ecapi", 200, None, Act.DONE, DELIVERED),
    Case("ecapi", 400, {"message": "custom_event"}, Act.BISECT),
    Case("ecapi", 400, None, Act.DONE, REJECTED, n=1),
    Case("ecapi", 401, None, Act.PARK, refresh=True),
    Case("ecapi", 429, None, Act.RETRY),
    Case("kafka", 200, {"failed": {}}, Act.DONE, DELIVERED),
    Case("kafka", 200, {"failed": {"2": "INVALID_RECORD"}}, Act.DONE, DELIVERED, {2: REJECTED}),
    Case("kafka", 200, {"failed": {"0": "CLUSTER_AUTHORIZATION_FAILED"}}, Act.PARK),
    Case("tiktok", 200, {"code": 0, "message": "OK"}, Act.DONE, DELIVERED),
    Case("tiktok", 200, {"code": 40002, "message": "Batch.0.event"}, Act.BISECT),
    Case("tiktok", 200, {"code": 40002}, Act.DONE, REJECTED, n=1),
    Case("tiktok", 200, {"code": 40105}, Act.PARK),
    Case("tiktok", 200, {"code": 40001}, Act.PARK),
    Case("tiktok", 200, {"code": 40100}, Act.RETRY),
    Case("tiktok", 200, {"code": 50002}, Act.UNKNOWN),
    Case("tiktok", 200, {"code": 51010}, Act.UNKNOWN),
    Case("tiktok", 200, None, Act.UNKNOWN),
    Case("tiktok", 502, b"<html>Bad gateway</html>", Act.UNKNOWN),
    Case("linkedin", 201, None, Act.DONE, DELIVERED, n=1),
    Case("linkedin", 200, {"elements": [{"status": 201}] * 3}, Act.DONE, DELIVERED),
    Case(
        "linkedin",
        200,
        {"elements": [{"status": 201}, {"status": 422}, {"status": 429}]},
        Act.DONE,
        DELIVERED,
        {1: REJECTED, 2: Act.RETRY},
    ),
    Case("linkedin", 200, {"elements": [{"status": 201}]}, Act.UNKNOWN),
    Case("linkedin", 422, {"message": "Index: 0, ERROR"}, Act.BISECT),
    Case("linkedin", 401, {"serviceErrorCode": 65602}, Act.PARK, refresh=True),
    Case("linkedin", 401, {"serviceErrorCode": 65601}, Act.PARK),
    Case("microsoft", 200, {"eventsReceived": 3}, Act.DONE, DELIVERED),
    Case("microsoft", 200, {"eventsReceived": 2, "error": {"details": [{"index": 1}]}}, Act.DONE, DELIVERED, {1: REJECTED}),
    Case("microsoft", 200, {"eventsReceived": 2, "error": {"details": [{"message": "?"}]}}, Act.UNKNOWN),
    Case("microsoft", 400, {}, Act.BISECT),
    Case("matomo", 200, {"status": "success", "tracked": 3, "invalid": 0}, Act.DONE, DELIVERED),
    Case(
        "matomo", 200, {"status": "success", "tracked": 2, "invalid": 1, "invalid_indices": [2]}, Act.DONE, DELIVERED, {2: REJECTED}
    ),
    Case("matomo", 200, {"status": "success", "tracked": 2, "invalid": 1}, Act.UNKNOWN),
    Case("matomo", 400, {"status": "error", "tracked": 1}, Act.DONE, DELIVERED, {1: REJECTED, 2: Act.RETRY}),
    Case("matomo", 500, {"status": "error", "tracked": 1}, Act.DONE, DELIVERED, {1: Act.UNKNOWN, 2: Act.RETRY}),
    Case("matomo", 500, {"status": "error", "tracked": 0}, Act.DONE, DELIVERED, {0: Act.UNKNOWN, 1: Act.RETRY, 2: Act.RETRY}),
    Case("matomo", 400, {"status": "error", "tracked": 0}, Act.BISECT),
    Case("matomo", 401, {"status": "error", "tracked": 1}, Act.PARK, refresh=True),
    Case("matomo", 200, b"GIF89a", Act.UNKNOWN),
    Case("posthog", 200, {"status": 1}, Act.DONE, DELIVERED),
    Case("posthog", 200, {"status": 1, "quota_limited": ["events"]}, Act.DONE, REJECTED),
    Case("webhook", 204, None, Act.DONE, DELIVERED, n=1),
    Case("webhook", 410, None, Act.PARK, n=1),
    Case("webhook", 302, None, Act.PARK, n=1),
    Case("webhook", 500, None, Act.RETRY, n=1),
    Case("webhook", 400, None, Act.RETRY, n=1),
    Case("clickhouse", 200, None, Act.DONE, DELIVERED),
    Case("clickhouse", 500, None, Act.RETRY, headers={"x-clickhouse-exception-code": "252"}),
    Case("clickhouse", 404, None, Act.PARK, headers={"x-clickhouse-exception-code": "60"}),
    Case("clickhouse", 400, None, Act.BISECT, headers={"x-clickhouse-exception-code": "27"}),
    Case("file", 201, None, Act.DONE, DELIVERED),
    Case("file", 507, None, Act.RETRY),
    Case(
        "pinterest",
        422,
        {"events": [{"status": "processed"}, {"status": "failed"}, {"status": "processed"}]},
        Act.DONE,
        DELIVERED,
        {1: REJECTED},
    ),
    Case("pinterest", 200, {"events": [{"status": "processed"}] * 3}, Act.DONE, DELIVERED),
    Case("pinterest", 503, {}, Act.UNKNOWN),
    Case("snapchat", 200, {"status": "VALID"}, Act.DONE, DELIVERED),
    Case("snapchat", 200, {"status": "INVALID", "error_records": [{}]}, Act.BISECT),
    Case("reddit", 200, {"message": "Successfully processed 3 conversion events."}, Act.DONE, DELIVERED),
    Case("reddit", 400, {"invalid_events": [{"error_message": "old"}]}, Act.BISECT),
    Case("reddit", 403, {"invalid_events": [{"error_message": "type"}]}, Act.BISECT),
    Case("reddit", 403, {}, Act.PARK),
    Case("x", 200, {"data": {"conversions_processed": 3}}, Act.DONE, DELIVERED),
    Case("x", 400, {"errors": [{"message": "Conversion count limit is 500"}]}, Act.HALVE),
    Case("x", 400, {"errors": [{"message": "Hashed_email is not a valid SHA-256 hash"}]}, Act.BISECT),
    Case("mixpanel", 200, {"code": 200}, Act.DONE, DELIVERED),
    Case(
        "mixpanel",
        400,
        {"code": 400, "num_records_imported": 2, "failed_records": [{"index": 0}]},
        Act.DONE,
        DELIVERED,
        {0: REJECTED},
    ),
    Case("mixpanel", 400, {"code": 400, "num_records_imported": 1, "failed_records": [{"index": 0}]}, Act.UNKNOWN),
    Case("amplitude", 200, {"code": 200, "events_ingested": 3}, Act.DONE, DELIVERED),
    Case("amplitude", 200, {"code": 200, "events_ingested": 1}, Act.UNKNOWN),
    Case(
        "amplitude",
        400,
        {"events_with_invalid_fields": {"time": [1]}, "silenced_events": []},
        Act.DONE,
        REJECTED,
        {0: Act.RETRY, 1: REJECTED, 2: Act.RETRY},
    ),
    Case("amplitude", 429, {"throttled_events": [0]}, Act.RETRY),
    Case("plausible", 202, b"ok", Act.DONE, UNVERIFIED, n=1),
    Case("plausible", 202, b"ok", Act.DONE, REJECTED, n=1, headers={"x-plausible-dropped": "1"}),
    Case("umami", 200, {"beep": "boop"}, Act.DONE, REJECTED, n=1),
    Case("umami", 200, {"size": 3, "processed": 2, "errors": 1, "details": [{"index": 2}]}, Act.DONE, DELIVERED, {2: REJECTED}),
    Case("umami", 200, {"size": 3, "processed": 2, "errors": 1, "details": []}, Act.UNKNOWN),
    Case("klaviyo", 202, None, Act.DONE, DELIVERED, n=1),
    Case("klaviyo", 409, None, Act.DONE, DELIVERED, n=1),
    Case("segment", 200, {"success": True}, Act.DONE, UNVERIFIED),
    Case("snowplow", 200, None, Act.DONE, UNVERIFIED),
    Case("snowplow", 418, None, Act.RETRY),
    Case("bigquery", 200, {}, Act.DONE, DELIVERED),
    Case(
        "bigquery",
        200,
        {"insertErrors": [{"index": 0, "errors": [{"reason": "invalid"}]}, {"index": 2, "errors": [{"reason": "stopped"}]}]},
        Act.DONE,
        DELIVERED,
        {0: REJECTED, 2: Act.RETRY},
    ),
    Case("bigquery", 403, {"error": {"errors": [{"reason": "quotaExceeded"}]}}, Act.RETRY),
    Case("s3", 412, None, Act.DONE, DELIVERED),
    Case("s3", 403, None, Act.PARK),
)


def _response(case: Case) -> HttpResponse:
    body = case.body if isinstance(case.body, bytes) else msgspec.json.encode(case.body) if case.body is not None else b""
    return HttpResponse(case.status, case.headers, body)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.name}-{c.status}-{c.act.value}")
def test_a_recorded_answer_leads_to_the_documented_action(case: Case) -> None:
    """Delivered, unverified, rejected by row, pushed back, unknown, halved, or parked: as the platform documents it."""
    answer = load(case.name).classify(_response(case), case.n)
    assert (answer.act, dict(answer.rows), answer.refresh) == (case.act, dict(case.rows), case.refresh)
    if case.outcome is not None:
        assert answer.outcome is case.outcome


def test_meta_says_itself_when_there_is_budget_again() -> None:
    """The longest estimate of the usage header, in minutes, is waited for; a header that is none changes nothing."""
    usage = {"77": [{"type": "ads", "estimated_time_to_regain_access": 3}, {"estimated_time_to_regain_access": 9}], "78": 1}
    for header, waited in ((msgspec.json.encode(usage).decode(), 540.0), ("{", None), ('{"77": [{}]}', None)):
        response = HttpResponse(400, {"x-business-use-case-usage": header}, msgspec.json.encode(_meta(80004)))
        answer = load("meta").classify(response, 3)
        assert (answer.act, answer.retry_after_s) == (Act.RETRY, waited)


#: status → actions that are right whatever the platform: never delivered, and a redirect or refused credentials stop.
COMMON: Final[Mapping[int, frozenset[Act]]] = {
    301: frozenset({Act.PARK}),
    401: frozenset({Act.PARK}),
    404: frozenset({Act.PARK}),
    408: frozenset({Act.UNKNOWN, Act.RETRY}),
    429: frozenset({Act.RETRY}),
    500: frozenset({Act.UNKNOWN, Act.RETRY}),
    502: frozenset({Act.UNKNOWN, Act.RETRY}),
    504: frozenset({Act.UNKNOWN, Act.RETRY}),
}


BODIES: Final = (b"", b"<html>", b"[]", b'{"error": "x"}', b"\xff\xfe")


@pytest.mark.parametrize("name", sorted(DESTINATIONS))
def test_what_is_no_success_is_never_taken_for_one(name: str) -> None:
    """Whatever stands in the body of an error, no event is called delivered and the action fits the status."""
    destination = load(name)
    for status, right in COMMON.items():
        for body in BODIES:
            assert destination.classify(HttpResponse(status, {}, body), 1).act in right, (status, body)


@pytest.mark.parametrize("name", sorted(DESTINATIONS))
def test_reasons_hold_nothing_of_a_body(name: str) -> None:
    """What a platform echoes in an error never reaches a reason, which is logged."""
    for status in (200, 400, 403, 422, 429, 500):
        body = msgspec.json.encode({"error": {"code": "ana@example.com", "status": "ana@example.com"}, "status": "ana@example.com"})
        answer = load(name).classify(HttpResponse(status, {"x-clickhouse-exception-code": "ana@example.com"}, body), 2)
        assert "ana" not in answer.reason
