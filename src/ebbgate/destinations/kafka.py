"""A Kafka topic, one message an event (specs/destinations.md §3.13). Needs the extra `kafka`.

The request is a PRODUCE of JSON lines to a `kafka:` address: one line a message, with key and headers. The delivery stage hands the
lines to an idempotent producer (deliver/kafka.py) and answers with what became of each.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from ebbgate.destinations import reading, wire
from ebbgate.destinations import rows as tables
from ebbgate.destinations.kit import (
    DAY_S,
    Act,
    Answer,
    Batch,
    Destination,
    DestinationSettings,
    HttpRequest,
    HttpResponse,
    Row,
    Skip,
    is_loopback,
)
from ebbgate.model import CleanEvent, Outcome

METHOD: Final = "PRODUCE"
SCHEME: Final = "kafka"
#: Names the form of a message's value in its headers: a column a field, as `destinations.rows` has them.
SCHEMA: Final = "ebbgate.row.1"
_BROKER: Final = re.compile(r"(?:([A-Za-z0-9.-]{1,253})|\[([0-9A-Fa-f:]+)\]):([0-9]{1,5})\Z")

#: Errors of the protocol that are about one message, and nothing of it is stored.
_REFUSED: Final = frozenset({"MSG_SIZE_TOO_LARGE", "_MSG_SIZE_TOO_LARGE", "INVALID_MSG", "INVALID_RECORD", "INVALID_TIMESTAMP"})
#: About our configuration or rights.
_PARKED: Final = frozenset({
    "UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "TOPIC_EXCEPTION", "TOPIC_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED",
    "SASL_AUTHENTICATION_FAILED", "_AUTHENTICATION", "_SSL", "INVALID_REQUIRED_ACKS", "POLICY_VIOLATION",
})  # fmt: skip
#: Not stored, and a repeat may be.
_PUSHED_BACK: Final = frozenset({"_QUEUE_FULL", "NOT_ENOUGH_REPLICAS", "THROTTLING_QUOTA_EXCEEDED", "NOT_SENT"})


class Settings(DestinationSettings):
    """Brokers, a topic, and a user where the cluster asks for one."""

    brokers: tuple[str, ...] = Field(min_length=1, description="host:port of some brokers; the others are learned from them.")
    topic: str = Field(pattern=r"^[A-Za-z0-9._-]{1,249}$", description="Topic; it has to exist.")
    tls: bool = Field(default=True, description="Talk TLS; without it brokers of this machine only.")
    username: str | None = Field(default=None, description="SASL user.")
    password: SecretStr | None = Field(default=None, description="SASL password.")
    mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = Field(default="SCRAM-SHA-512", description="SASL mechanism.")

    @field_validator("brokers", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _safe(self) -> Self:
        for broker in self.brokers:
            found = _BROKER.match(broker)
            if found is None or not 0 < int(found[3]) < 65536:
                raise ValueError("brokers are written host:port")
            if not self.tls and not is_loopback(found[1] or found[2]):
                raise ValueError("tls = false is for loopback only")
        if (self.username is None) != (self.password is None):
            raise ValueError("give username and password, or none of them")
        return self

    def addresses(self) -> tuple[tuple[str, ...], bool]:
        """Where to connect and whether with TLS: the stand-in where there is one."""
        if self.endpoint is None:
            return self.brokers, self.tls
        parts = urlsplit(self.endpoint)
        return (parts.netloc,), parts.scheme == "https"


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """Row: `key` (the person, else the browser), `headers` and `value`, one flat record."""
    headers = {"event-id": clean.id, "event-name": clean.name, "schema": SCHEMA, "policy": clean.policy}
    who = reading.first(*(reading.text(clean, path) for path in ("user.id", "visitor.anonymous_id", "visitor.client_id")))
    return {"key": who, "headers": reading.without_empty(headers), "value": tables.record(clean)}


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """Up to 5000 messages, one a line."""
    body = b"".join(wire.encode(row) + b"\n" for row in rows)
    return HttpRequest(METHOD, f"{SCHEME}:{settings.topic}", (("content-type", "application/x-ndjson"),), body)


def classify(response: HttpResponse, n: int) -> Answer:
    """`failed` maps the number of a line to the protocol's word for what went wrong; all others are stored by all replicas."""
    failed = wire.member(wire.decode(response), "failed")
    if not isinstance(failed, dict):
        return wire.by_status(response, n)
    rows: dict[int, Outcome | Act] = {}
    for line, word in failed.items():
        if word in _PARKED:
            return Answer(Act.PARK, reason=f"kafka_{word}")
        rows[int(line)] = _meaning(word)
    return Answer(Act.DONE, Outcome.DELIVERED, rows, reason="partial" if rows else "kafka_acks_all")


def _meaning(word: Any) -> Outcome | Act:
    """One message's error. What is not known to have been left out may be stored: a timeout, a lost connection."""
    if word in _REFUSED:
        return Outcome.REJECTED
    return Act.RETRY if word in _PUSHED_BACK else Act.UNKNOWN


DESTINATION: Final = Destination(
    name="kafka",
    title="Apache Kafka",
    recipient="the operator of the cluster",
    kind="warehouse",
    docs="specs/destinations.md §3.13",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=5000, body_bytes=8 << 20),
    dedupe_window_s=30 * DAY_S,
    secret_settings=("password",),
    notes="The producer is idempotent within one connection; after an unknown outcome a message may come twice: consumers drop "
    "repeats by the header `event-id`.",
)
