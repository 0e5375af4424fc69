"""Mock platforms of tier 1 on real sockets: each checks a request as the real one does and answers as it does, errors included.

The rules are those of specs/destinations.md §2. A platform refuses what breaks them, and besides every event that carries the
mark `POISON` in one of its ids: what only the platform can know about an event that is well-formed.
"""

from __future__ import annotations

import json
import re
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl

from ebbgate.demo.sink import Received, Reply

POISON: Final = "POISON"
_HEX: Final = re.compile(r"[0-9a-f]{64}\Z")
_DAY_S: Final = 86_400
Headers = Mapping[str, str]


def marked(row: object) -> bool:
    """True for an event that the platform refuses although it is well-formed."""
    return POISON in json.dumps(row)


@dataclass
class Platform:
    """One platform: the script of a sink. `faults` are answered first, one a request; while `broken` is set, always that."""

    name: str
    now_s: int
    faults: deque[Reply] = field(default_factory=deque)
    broken: Reply | None = None
    taken: Counter[str] = field(default_factory=Counter)  #: id of an event → how often it was taken

    def __call__(self, received: Received) -> Reply:
        """The answer to one request."""
        if self.broken is not None:
            return self.broken
        if self.faults:
            return self.faults.popleft()
        headers = dict(received.headers)
        if headers.get("content-type") == "application/x-ndjson":
            body: Any = [json.loads(line) for line in received.body.splitlines()]
        elif received.path == "/token":
            return Reply.of(200, {"access_token": "s3cret", "expires_in": 3600})
        else:
            body = json.loads(received.body)
        return _PLATFORMS[self.name](self, body, headers, received)

    def take(self, *ids: str) -> None:
        """These events count as stored."""
        self.taken.update(ids)


def _meta(self: Platform, body: Any, headers: Headers, received: Received) -> Reply:
    if headers.get("authorization") != "Bearer s3cret":
        return Reply.of(400, {"error": {"code": 190, "type": "OAuthException"}})
    if "access_token" in received.query or len(body["data"]) > 1000:
        return Reply.of(400, {"error": {"code": 100}})
    for row in body["data"]:
        user, time = row["user_data"], row["event_time"]
        hashed = [v for k, v in user.items() if k in ("em", "ph", "fn", "ln", "ct", "zp", "country")] + user.get("external_id", [])
        if not isinstance(time, int) or not self.now_s - 7 * _DAY_S <= time <= self.now_s + 60:
            return Reply.of(400, {"error": {"code": 100, "error_subcode": 2804003}})
        good = row["action_source"] == "website" and row["event_source_url"] and user["client_user_agent"]
        if not good or not all(_HEX.match(h) for h in hashed) or marked(row):
            return Reply.of(400, {"error": {"code": 100, "error_subcode": 2804009}})
    self.take(*(row["event_id"] for row in body["data"]))
    return Reply.of(200, {"events_received": len(body["data"]), "messages": [], "fbtrace_id": "A"})


def _tiktok(self: Platform, body: Any, headers: Headers, received: Received) -> Reply:
    if headers.get("access-token") != "s3cret":
        return Reply.of(200, {"code": 40105, "message": "Access token is incorrect"})
    assert received.path == "/open_api/v1.3/event/track/"
    for index, row in enumerate(body["data"]):
        time = row.get("event_time")
        if not isinstance(time, int) or abs(time - self.now_s) > 7 * _DAY_S or not row["page"]["url"] or marked(row):
            return Reply.of(200, {"code": 40002, "message": f"Batch.{index}.event_time: Invalid"})
    self.take(*(row["event_id"] for row in body["data"]))
    return Reply.of(200, {"code": 0, "message": "OK", "data": {}})


def _google(self: Platform, body: Any, headers: Headers, received: Received) -> Reply:
    if headers.get("authorization") != "Bearer s3cret":
        return Reply.of(401, {"error": {"code": 401, "status": "UNAUTHENTICATED"}})
    for row in body["events"]:
        identifiers = row.get("userData", {}).get("userIdentifiers", [])
        good = row["transactionId"] and re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00\Z", str(row["eventTimestamp"]))
        if not good or (identifiers and body.get("encoding") != "HEX") or len(identifiers) > 10 or len(row["adIdentifiers"]) > 1:
            return Reply.of(400, {"error": {"code": 400, "status": "INVALID_ARGUMENT"}})
        if marked(row):
            return Reply.of(400, {"error": {"code": 400, "status": "INVALID_ARGUMENT"}})
    assert len(body["destinations"]) <= 10
    if not body["validateOnly"]:
        self.take(*(row["transactionId"] for row in body["events"]))
    return Reply.of(200, {"requestId": "r-1"})


def _linkedin(self: Platform, body: Any, headers: Headers, received: Received) -> Reply:
    if headers.get("authorization") != "Bearer s3cret":
        return Reply.of(401, {"serviceErrorCode": 65600})
    rows = body.get("elements", [body])
    assert ("elements" in body) == (headers.get("x-restli-method") == "BATCH_CREATE")
    for index, row in enumerate(rows):
        time = row["conversionHappenedAt"]
        if not isinstance(time, int) or not self.now_s - 90 * _DAY_S <= time // 1000 <= self.now_s + 60:
            return Reply.of(422, {"message": f"Index: {index}, ERROR :: /conversionHappenedAt"})
        if not isinstance(row["conversionValue"]["amount"], str) or "userIds" not in row["user"] or marked(row):
            return Reply.of(422, {"message": f"Index: {index}, ERROR :: /user"})
    self.take(*(row["eventId"] for row in rows))
    return Reply.of(200, {"elements": [{"status": 201}] * len(rows)}) if "elements" in body else Reply.of(201)


def _microsoft(self: Platform, body: Any, headers: Headers, received: Received) -> Reply:
    if headers.get("authorization") != "Bearer s3cret":
        return Reply.of(401, {})
    assert body["continueOnValidationError"] is True
    bad = []
    for index, row in enumerate(body["data"]):
        if not isinstance(row["eventTime"], int) or row["adStorageConsent"] not in ("G", "D") or marked(row):
            bad.append(index)
        else:
            self.take(row["eventId"])
    answer: dict[str, Any] = {"eventsReceived": len(body["data"]) - len(bad)}
    if bad:
        answer["error"] = {"details": [{"index": i, "errorMessage": "invalid"} for i in bad]}
    return Reply.of(200, answer)


def _matomo(self: Platform, body: Any, headers: Headers, received: Received) -> Reply:
    if body["token_auth"] != "s3cret":
        return Reply.of(401, {"status": "error", "tracked": 0})
    assert "token_auth" not in received.query
    bad = []
    for index, hit in enumerate(body["requests"]):
        pairs = dict(parse_qsl(hit.removeprefix("?"), keep_blank_values=True))
        visitor = pairs.get("_id", "0" * 16)
        good = pairs.get("rec") == "1" and re.match(r"[0-9a-f]{16}\Z", visitor) and pairs.get("cdt", "").isdigit()
        if good and not marked(hit):
            self.take(pairs["ec_id"])
        else:
            bad.append(index)
    tracked = len(body["requests"]) - len(bad)
    return Reply.of(200, {"status": "success", "tracked": tracked, "invalid": len(bad), "invalid_indices": bad})


def _posthog(self: Platform, body: Any, headers: Headers, received: Received) -> Reply:
    if body["api_key"] != "s3cret":
        return Reply.of(401, {"type": "authentication_error"})
    for row in body["batch"]:
        good = isinstance(row["timestamp"], str) and row["properties"]["distinct_id"] and len(row["uuid"]) == 36
        if not good or marked(row):
            return Reply.of(400, {"type": "validation_error"})
    self.take(*(row["properties"]["order_id"] for row in body["batch"]))
    return Reply.of(200, {"status": 1})


def _ga4(self: Platform, body: Any, headers: Headers, received: Received) -> Reply:
    """Whatever is sent, 204: the real one tells nothing either. So it is held to the limits by assertion."""
    assert parse_qs(received.query).keys() == {"api_secret", "measurement_id"}
    assert len(body["events"]) <= 25
    assert body["client_id"]
    self.take(*(row["params"]["transaction_id"] for row in body["events"]))
    return Reply(204, b"")


def _clickhouse(self: Platform, body: Any, headers: Headers, received: Received) -> Reply:
    if headers.get("x-clickhouse-key") != "s3cret":
        return exception("516", 403)
    assert "insert_deduplication_token" in parse_qs(received.query)
    if not all(isinstance(row["event_time"], str) for row in body) or marked(body):
        return exception("27", 400)
    self.take(*(row["event_id"] for row in body))
    return Reply(200, b"")


def exception(code: str, status: int) -> Reply:
    """An error of ClickHouse: its code stands in a header."""
    return Reply(status, b"", (("x-clickhouse-exception-code", code),))


def _webhook(self: Platform, body: Any, headers: Headers, received: Received) -> Reply:
    if not {"webhook-id", "webhook-timestamp", "webhook-signature"} <= headers.keys():
        return Reply.of(400)
    if marked(body):
        return Reply.of(422)
    self.take(headers["webhook-id"])
    return Reply(204, b"")


_PLATFORMS: Final[Mapping[str, Callable[[Platform, Any, Headers, Received], Reply]]] = {
    "meta": _meta,
    "tiktok": _tiktok,
    "google_data_manager": _google,
    "linkedin": _linkedin,
    "microsoft": _microsoft,
    "matomo": _matomo,
    "posthog": _posthog,
    "ga4": _ga4,
    "clickhouse": _clickhouse,
    "webhook": _webhook,
}
NAMES: Final = tuple(_PLATFORMS)
