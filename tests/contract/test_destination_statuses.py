"""What every destination does about every class of status, and the answers of tier 2 down to the row: complete over the registry.

`test_destination_answers` holds the answers of tier 1 one by one. Here no destination can be forgotten: one that the registry knows and
these tables do not fails the test (specs/destinations.md §1.5, §2, §3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import pytest

from ebbgate.destinations import wire
from ebbgate.destinations.kit import Act, Answer, HttpResponse
from ebbgate.destinations.registry import BUILT_IN, load
from ebbgate.model import Outcome

DELIVERED, UNVERIFIED, REJECTED = Outcome.DELIVERED, Outcome.ACCEPTED_UNVERIFIED, Outcome.REJECTED
BISECT, HALVE, PARK, RETRY, UNKNOWN = Act.BISECT, Act.HALVE, Act.PARK, Act.RETRY, Act.UNKNOWN
NAMES: Final = sorted(d.name for d in BUILT_IN)

#: §1.5: never 400, 403, 404, 410 and 422 unchanged; 413 halved; 401 refreshed once, then parked; the rest again.
USUAL: Final[Mapping[int, Act]] = {
    400: BISECT, 401: PARK, 403: PARK, 404: PARK, 408: UNKNOWN, 410: PARK, 413: HALVE, 422: BISECT, 425: UNKNOWN, 429: RETRY,
    500: UNKNOWN, 502: UNKNOWN, 503: UNKNOWN, 504: UNKNOWN,
}  # fmt: skip
#: Where a platform's own documentation says otherwise.
OWN: Final[Mapping[str, Mapping[int, Act]]] = {
    # §2.9: any non-2xx again, except 410; what is ours to put right is held instead of repeated.
    "webhook": dict.fromkeys((400, 408, 413, 422, 425, 429, 500, 502, 503, 504), RETRY),
    # §3.12: all but 400, 401, 403, 410 and 422 again.
    "snowplow": {408: RETRY, 425: RETRY},
    # §2.10: an object holds many events and none of them is at fault when the bucket refuses it.
    "s3": {400: PARK, 413: PARK, 422: PARK, 425: PARK},
}
#: Platforms whose token of ours no request can renew: refused is refused.
NO_REFRESH: Final = {"linkedin", "webhook", "s3"}


@pytest.mark.parametrize("name", NAMES)
def test_every_class_of_status_leads_to_its_action(name: str) -> None:
    """A batch of three and a single event: halved or rejected, held, sent again, or in doubt, as documented."""
    classify = load(name).classify
    for status, usual in USUAL.items():
        act = OWN.get(name, {}).get(status, usual)
        several, single = classify(HttpResponse(status, {}, b""), 3), classify(HttpResponse(status, {}, b""), 1)
        assert several.act is act, (status, several)
        if act in (BISECT, HALVE):
            assert (single.act, single.outcome) == (Act.DONE, REJECTED), status
        else:
            assert single.act is act, status
        assert several.refresh == (status == 401 and name not in NO_REFRESH)


@pytest.mark.parametrize("name", NAMES)
def test_a_platform_that_says_when_is_asked_again(name: str) -> None:
    """503 with Retry-After is a push-back, not a doubt: nothing was processed."""
    assert load(name).classify(HttpResponse(503, {"retry-after": "7"}, b""), 3).act is RETRY


@pytest.mark.parametrize("name", NAMES)
def test_in_doubt_it_is_repeated_only_where_copies_merge(name: str) -> None:
    """An answer in doubt is repeated but to platforms that count every copy: to three never, to GA4 and Matomo for orders only."""
    destination = load(name)
    assert (destination.dedupe_window_s is None) == (name in {"piwik_pro", "plausible", "umami"})
    assert (destination.dedupe is not None) == (name in {"ga4", "matomo"})


def _rows(**by_index: Outcome | Act) -> dict[int, Outcome | Act]:
    return {int(index[1:]): what for index, what in by_index.items()}


_TWO_DAYS = {"exceeded_daily_quota_devices": {"device-1": 10}}
#: name, status, body, rows sent → action, outcome of the others, rows with an end of their own.
TIER_2: Final[tuple[tuple[str, int, Any, int, Act, Outcome, Mapping[int, Outcome | Act]], ...]] = (
    ("pinterest", 422, {"events": [{"status": "processed"}, {"status": "failed"}]}, 2, Act.DONE, DELIVERED, _rows(_1=REJECTED)),
    ("pinterest", 422, {"code": 1, "message": "x"}, 2, BISECT, DELIVERED, {}),
    ("pinterest", 200, {"num_events_received": 2, "num_events_processed": 2}, 2, Act.DONE, DELIVERED, {}),
    ("pinterest", 200, {"num_events_received": 2, "num_events_processed": 1}, 2, UNKNOWN, DELIVERED, {}),
    ("pinterest", 200, {"events": [{"status": "processed"}, {}]}, 2, Act.DONE, DELIVERED, _rows(_1=UNKNOWN)),
    ("snapchat", 200, {"status": "SUCCESS"}, 2, Act.DONE, DELIVERED, {}),
    ("snapchat", 200, {"status": "INVALID", "reason": "x"}, 1, Act.DONE, REJECTED, {}),
    ("snapchat", 200, {"status": "VALID", "error_records": [{"reason": "x"}]}, 2, BISECT, DELIVERED, {}),
    ("reddit", 200, {"message": "Successfully processed 2 conversion events."}, 2, Act.DONE, DELIVERED, {}),
    ("reddit", 200, {"data": {"message": "Successfully processed 2 conversion events."}}, 2, Act.DONE, DELIVERED, {}),
    ("reddit", 200, {"data": {"message": "Successfully processed 1 conversion events."}}, 2, UNKNOWN, DELIVERED, {}),
    ("reddit", 400, {"invalid_events": [{"error_message": "event_at timestamp must be less"}]}, 1, Act.DONE, REJECTED, {}),
    ("x", 200, {"data": {"conversions_processed": 2, "debug_id": "d"}}, 2, Act.DONE, DELIVERED, {}),
    ("x", 200, {"data": {"conversions_processed": 1, "debug_id": "d"}}, 2, UNKNOWN, DELIVERED, {}),
    ("x", 400, {"errors": [{"message": "At least one user identifier must be provided"}]}, 1, Act.DONE, REJECTED, {}),
    ("mixpanel", 400, {"code": 400, "num_records_imported": 0, "failed_records": [{"index": 0}, {"index": 1}]}, 2, Act.DONE, DELIVERED,
     _rows(_0=REJECTED, _1=REJECTED)),
    ("mixpanel", 400, {"code": 400, "num_records_imported": 1, "failed_records": [{"field": "time"}]}, 2, UNKNOWN, DELIVERED, {}),
    ("mixpanel", 400, {"code": 400, "error": "bad json"}, 2, BISECT, DELIVERED, {}),
    ("amplitude", 400, {"events_with_missing_fields": {"event_type": [0]}}, 2, Act.DONE, REJECTED, _rows(_0=REJECTED, _1=RETRY)),
    ("amplitude", 400, {"silenced_events": [1]}, 2, Act.DONE, REJECTED, _rows(_0=RETRY, _1=REJECTED)),
    ("amplitude", 400, {"code": 400, "error": "Invalid API key"}, 2, BISECT, DELIVERED, {}),
    ("amplitude", 429, {"throttled_devices": {"device-1": 11}, "throttled_events": [0]}, 2, RETRY, DELIVERED, {}),
    ("amplitude", 429, _TWO_DAYS, 2, BISECT, DELIVERED, {}),
    ("amplitude", 429, _TWO_DAYS, 1, Act.DONE, REJECTED, {}),
    ("klaviyo", 202, None, 1, Act.DONE, DELIVERED, {}),
    ("klaviyo", 409, {"errors": [{"code": "duplicate_profile"}]}, 1, Act.DONE, DELIVERED, {}),
    ("klaviyo", 400, {"errors": [{"source": {"pointer": "/data/attributes/time"}}]}, 1, Act.DONE, REJECTED, {}),
    ("segment", 200, {"success": True}, 2, Act.DONE, UNVERIFIED, {}),
    ("rudderstack", 200, "OK", 2, Act.DONE, DELIVERED, {}),
    ("snowplow", 200, "ok", 2, Act.DONE, UNVERIFIED, {}),
    ("snowplow", 418, None, 2, RETRY, DELIVERED, {}),
    ("plausible", 202, "ok", 1, Act.DONE, UNVERIFIED, {}),
    ("umami", 400, {"error": "website not found"}, 1, Act.DONE, REJECTED, {}),
    ("umami", 200, {"beep": "boop"}, 1, Act.DONE, REJECTED, {}),
    ("umami", 200, {"size": 2, "processed": 1, "errors": 1, "details": [{"index": 1, "response": {}}]}, 2, Act.DONE, DELIVERED,
     _rows(_1=REJECTED)),
    ("umami", 200, {"size": 2, "processed": 1, "errors": 1, "details": {"index": 1}}, 2, UNKNOWN, DELIVERED, {}),
    ("umami", 200, {"size": 2, "processed": 2, "details": "none"}, 2, UNKNOWN, DELIVERED, {}),
    ("piwik_pro", 200, None, 2, Act.DONE, UNVERIFIED, {}),
    ("bigquery", 200, {"kind": "x"}, 2, Act.DONE, DELIVERED, {}),
    ("bigquery", 200, {"insertErrors": [{"index": 1, "errors": [{"reason": "stopped"}]}]}, 2, Act.DONE, DELIVERED, _rows(_1=RETRY)),
    ("bigquery", 200, {"insertErrors": [{"errors": [{"reason": "invalid"}]}]}, 2, UNKNOWN, DELIVERED, {}),
    ("bigquery", 403, {"error": {"errors": [{"reason": "rateLimitExceeded"}]}}, 2, RETRY, DELIVERED, {}),
    ("bigquery", 403, {"error": {"errors": [{"reason": "accessDenied"}]}}, 2, PARK, DELIVERED, {}),
    ("s3", 200, None, 2, Act.DONE, DELIVERED, {}),
    ("s3", 412, None, 2, Act.DONE, DELIVERED, {}),
    ("s3", 409, None, 2, RETRY, DELIVERED, {}),
    ("kafka", 200, {"failed": {"1": "INVALID_RECORD"}}, 2, Act.DONE, DELIVERED, _rows(_1=REJECTED)),
)  # fmt: skip


@pytest.mark.parametrize("case", TIER_2, ids=lambda c: f"{c[0]}-{c[1]}-{c[4].value}")
def test_an_answer_of_tier_2_leads_to_its_action(
    case: tuple[str, int, Any, int, Act, Outcome, Mapping[int, Outcome | Act]],
) -> None:
    """What the platform says of each row is what becomes of it; a count that does not add up leaves all in doubt."""
    name, status, body, n, act, outcome, rows = case
    content = b"" if body is None else msgspec.json.encode(body)
    answer = load(name).classify(HttpResponse(status, {}, content), n)
    assert (answer.act, dict(answer.rows)) == (act, dict(rows))
    if act is Act.DONE:
        assert answer.outcome is outcome


def test_every_destination_of_tier_2_stands_in_the_table() -> None:
    """The issue's list of tier 2; a destination added to it without its answers fails here."""
    tier_2 = {
        "pinterest", "snapchat", "reddit", "x", "mixpanel", "amplitude", "plausible", "umami", "piwik_pro", "klaviyo", "segment",
        "rudderstack", "snowplow", "bigquery", "s3", "kafka",
    }  # fmt: skip
    assert {case[0] for case in TIER_2} == tier_2


@pytest.mark.parametrize("error", [{"details": []}, {"details": {"index": 0}}, {"code": 7}, "no", [0]])
def test_an_error_of_microsoft_that_names_no_event_leaves_all_in_doubt(error: Any) -> None:
    """A 200 with an error in a form that is not known says of no event that it was taken."""
    content = msgspec.json.encode({"eventsReceived": 2, "error": error})
    assert load("microsoft").classify(HttpResponse(200, {}, content), 2).act is UNKNOWN
    fine = msgspec.json.encode({"eventsReceived": 2, "error": None})
    assert load("microsoft").classify(HttpResponse(200, {}, fine), 2).act is Act.DONE


def test_a_list_of_errors_by_index_is_read_as_braze_writes_it() -> None:
    """201 with `errors[{type, index}]`: the named rows are refused and the others taken; an error of no row says nothing of any."""

    def classify(response: HttpResponse, n: int) -> Answer:
        answer = wire.decode(response)
        if response.status == 201 and wire.member(answer, "message") != "success":
            return wire.rejected("braze_refused", n)
        rows = wire.refused(wire.member(answer, "errors"), n)
        if rows is None:
            return Answer(UNKNOWN, reason="error_without_index")
        return Answer(Act.DONE, DELIVERED, rows)

    def answered(body: Any) -> Answer:
        return classify(HttpResponse(201, {}, msgspec.json.encode(body)), 3)

    partial = answered({"message": "success", "errors": [{"type": "x", "input_array": "events", "index": 2}]})
    assert (partial.act, dict(partial.rows)) == (Act.DONE, {2: REJECTED})
    assert dict(answered({"message": "success"}).rows) == {}
    assert answered({"message": "success", "errors": [{"type": "x"}]}).act is UNKNOWN
    assert answered({"message": "success", "errors": [{"index": 3}]}).act is UNKNOWN
    assert answered({"message": "success", "errors": [{"index": True}]}).act is UNKNOWN
    assert answered({"message": "'external_id' is required"}).act is BISECT
