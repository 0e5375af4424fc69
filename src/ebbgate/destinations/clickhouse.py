"""ClickHouse over HTTP, JSONEachRow (specs/destinations.md §2.10).

The table (columns that it lacks are skipped; `ReplacingMergeTree` drops what a repeat has written twice):

    CREATE TABLE events (event_id String, event_name LowCardinality(String), event_time DateTime64(3, 'UTC'), site String,
      user_id String, visitor_client_id String, order_id String, order_value Float64, order_currency LowCardinality(String),
      order_items String, page_url String, properties String, policy String)
    ENGINE = ReplacingMergeTree ORDER BY (event_name, event_time, event_id)
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from pydantic import Field, SecretStr, field_validator

from ebbgate.destinations import rows as tables
from ebbgate.destinations import wire
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
    safe_address,
)
from ebbgate.model import CleanEvent, Outcome

_NAME: Final = r"^[A-Za-z_][A-Za-z0-9_]*$"
_RETRY: Final = frozenset({"159", "202", "241", "252", "319", "999"})
_PARK: Final = frozenset({"60", "62", "81", "192", "193", "194", "497", "516"})  #: table, syntax, database, rights


class Settings(DestinationSettings):
    """A ClickHouse server, a table, and a user that may insert into it."""

    url: str = Field(description="HTTP address, e.g. https://host:8443.")
    database: str = Field(default="default", pattern=_NAME, description="Database of the table.")
    table: str = Field(default="events", pattern=_NAME, description="Table that is inserted into.")
    user: str = Field(default="default", min_length=1, description="User that may insert.")
    password: SecretStr = Field(default=SecretStr(""), description="Sent as a header.")

    @field_validator("url")
    @classmethod
    def _safe_url(cls, value: str) -> str:
        return safe_address(value)


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """One row, a column a field."""
    return tables.record(clean)


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """One insert. The deduplication token is made of the rows' bytes, so a repeat carries the same one."""
    body = b"\n".join(wire.encode(row) for row in rows) + b"\n"
    query = {
        "database": settings.database,
        "query": f"INSERT INTO {settings.table} FORMAT JSONEachRow",
        "async_insert": "1",
        "wait_for_async_insert": "1",
        "date_time_input_format": "best_effort",
        "input_format_skip_unknown_fields": "1",
        "insert_deduplication_token": sha256(body).hexdigest(),
    }
    headers = (
        ("content-type", "application/x-ndjson"),
        ("x-clickhouse-user", settings.user),
        ("x-clickhouse-key", settings.password.get_secret_value()),
    )
    return wire.post(
        f"{settings.endpoint or settings.url}/", body, headers=headers, query=query, secret_headers=("x-clickhouse-key",)
    )


def classify(response: HttpResponse, n: int) -> Answer:
    """By `X-ClickHouse-Exception-Code`: full or busy is pushed back, table and rights park, rows that do not parse are poison."""
    code = response.headers.get("x-clickhouse-exception-code")
    if code is None:
        return wire.by_status(response, n)
    reason = f"clickhouse_{code}" if code.isascii() and code.isdigit() and len(code) <= 5 else "clickhouse_error"
    if code in _RETRY:
        return Answer(Act.RETRY, reason=reason)
    if code in _PARK:
        return Answer(Act.PARK, reason=reason)
    if code in ("26", "27", "53", "117"):
        return wire.rejected(reason, n)
    if response.status >= 500:
        return Answer(Act.UNKNOWN, reason=reason)
    return Answer(Act.DONE, Outcome.REJECTED, reason=reason) if n == 1 else Answer(Act.BISECT, reason=reason)


DESTINATION: Final = Destination(
    name="clickhouse",
    title="ClickHouse",
    recipient="the operator of the ClickHouse server",
    kind="warehouse",
    docs="specs/destinations.md §2.10",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=10_000, body_bytes=10 << 20),
    dedupe_window_s=DAY_S,
    secret_settings=("password",),
    notes="Repeats of an insert merge by its token on replicated tables; elsewhere ReplacingMergeTree drops the copies.",
)
