"""BigQuery streaming insert, REST `insertAll` (specs/destinations.md §3.13). Columns as `destinations.rows` names them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Self

from pydantic import Field, SecretStr, model_validator

from ebbgate.destinations import google_auth, wire
from ebbgate.destinations import rows as tables
from ebbgate.destinations.kit import (
    Act,
    Answer,
    Batch,
    Destination,
    DestinationSettings,
    HttpRequest,
    HttpResponse,
    OAuth,
    Row,
    Skip,
)
from ebbgate.model import CleanEvent, Outcome

SCOPE: Final = "https://www.googleapis.com/auth/bigquery.insertdata"


class Settings(DestinationSettings):
    """A table, and a service account that may insert into it."""

    project: str = Field(pattern=r"^[a-z0-9:.-]+$", description="Project id.")
    dataset: str = Field(pattern=r"^[A-Za-z0-9_]+$", description="Dataset id.")
    table: str = Field(default="events", pattern=r"^[A-Za-z0-9_]+$", description="Table id.")
    credentials: SecretStr | None = Field(default=None, description="Service-account key, JSON.")
    access_token: SecretStr | None = Field(default=None, description="Ready OAuth token, instead of credentials.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.credentials is None) == (self.access_token is None):
            raise ValueError("give credentials or access_token, one of them")
        if self.credentials is not None:
            google_auth.service_account(self.credentials)
        return self


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """One row; `insertId` lets BigQuery drop a copy within about a minute."""
    return {"insertId": clean.id[:128], "json": tables.record(clean)}


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """Up to 500 rows; columns that the table lacks are left out, a bad row does not stop the others."""
    base = settings.endpoint or "https://bigquery.googleapis.com"
    url = f"{base}/bigquery/v2/projects/{settings.project}/datasets/{settings.dataset}/tables/{settings.table}/insertAll"
    request = wire.post(url, {"skipInvalidRows": True, "ignoreUnknownValues": True, "rows": list(rows)})
    token = settings.access_token
    return request if token is None else google_auth.with_token(request, token.get_secret_value())


def token_request(settings: Settings, now_s: int) -> HttpRequest | None:
    """The token request of a service account; None when a ready token is configured."""
    if settings.credentials is None:
        return None
    return google_auth.token_request(settings.credentials, SCOPE, now_s, endpoint=settings.endpoint)


def classify(response: HttpResponse, n: int) -> Answer:
    """200 may hold `insertErrors`: a row that was only stopped goes again, an invalid one is refused."""
    answer = wire.decode(response)
    if response.status == 403 and wire.member(answer, "error", "errors", 0, "reason") in ("rateLimitExceeded", "quotaExceeded"):
        return Answer(Act.RETRY, reason="quota")
    if not 200 <= response.status < 300:
        return wire.by_status(response, n)
    errors = wire.member(answer, "insertErrors")
    rows: dict[int, Outcome | Act] = {}
    for error in errors if isinstance(errors, list) else []:
        index = wire.member(error, "index")
        if not isinstance(index, int) or not 0 <= index < n:
            return Answer(Act.UNKNOWN, reason="error_without_index")
        stopped = wire.member(error, "errors", 0, "reason") == "stopped"
        rows[index] = Act.RETRY if stopped else Outcome.REJECTED
    return Answer(Act.DONE, Outcome.DELIVERED, rows, reason="partial" if rows else f"http_{response.status}")


DESTINATION: Final = Destination(
    name="bigquery",
    title="Google BigQuery",
    recipient="Google Cloud EMEA Limited / Google LLC",
    kind="warehouse",
    docs="specs/destinations.md §3.13",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=500, body_bytes=8 << 20),
    dedupe_window_s=60,
    secret_settings=("credentials", "access_token"),
    hosts=("bigquery.googleapis.com", "oauth2.googleapis.com"),
    oauth=OAuth(request=token_request, apply=google_auth.with_token),
    notes="insertId merges copies for about a minute, best effort: after an unknown outcome nothing is repeated later than that.",
)
