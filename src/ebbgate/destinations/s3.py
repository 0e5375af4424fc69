"""Files in an S3 bucket, create once (specs/destinations.md §2.10). Signature version 4 is made right before each attempt."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Final
from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr, field_validator

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
)
from ebbgate.destinations.packed import Compression, packed, usable
from ebbgate.model import CleanEvent, Outcome


class Settings(DestinationSettings):
    """A bucket and the key of a user that may put objects into it."""

    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", description="Name of the bucket.")
    region: str = Field(default="eu-central-1", pattern=r"^[a-z0-9-]+$", description="Region of the bucket.")
    prefix: str = Field(default="events", pattern=r"^[A-Za-z0-9_./-]*$", description="Folder in the bucket.")
    access_key_id: str = Field(min_length=1, description="Key id of a user that may put objects.")
    secret_access_key: SecretStr = Field(description="Never sent: it signs.")
    compression: Compression = Field(default="auto", description="zstd, gzip, or auto: zstd where the extra `zstd` is installed.")

    @field_validator("compression")
    @classmethod
    def _usable(cls, value: Compression) -> Compression:
        return usable(value)


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """One line, a key a field."""
    return tables.record(clean)


def batch_key(row: Row) -> str:
    """Rows of one hour share an object."""
    return str(row["event_time"])[:13]


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """A PUT that creates `<prefix>/dt=…/hour=…/<digest>.jsonl.zst` (or `.gz`), or fails when it is there already."""
    file = packed(rows, settings.compression)
    time = str(rows[0]["event_time"])
    key = f"{settings.prefix.strip('/')}/dt={time[:10]}/hour={time[11:13]}/{file.name}".lstrip("/")
    base = settings.endpoint or f"https://s3.{settings.region}.amazonaws.com"
    checksum = base64.b64encode(sha256(file.body).digest()).decode()
    headers = (
        ("content-type", file.content_type),
        ("if-none-match", "*"),
        ("x-amz-checksum-sha256", checksum),
        ("x-amz-content-sha256", sha256(file.body).hexdigest()),
    )
    return HttpRequest(
        "PUT", f"{base}/{settings.bucket}/{quote(key, safe='/-_.~')}", headers, file.body, secret_headers=("authorization",)
    )


def sign(request: HttpRequest, settings: Settings, now_s: int) -> HttpRequest:
    """Add `x-amz-date` and the AWS4-HMAC-SHA256 authorisation over all headers."""
    iso = reading.iso_time(now_s * 1000)
    stamp = iso[:19].replace("-", "").replace(":", "") + "Z"
    day, scope = stamp[:8], f"{stamp[:8]}/{settings.region}/s3/aws4_request"
    parts = urlsplit(request.url)
    kept = [(k, v) for k, v in request.headers if k not in ("authorization", "x-amz-date")]
    signed = sorted([*kept, ("host", parts.netloc), ("x-amz-date", stamp)])
    names = ";".join(k for k, _ in signed)
    digest = dict(kept)["x-amz-content-sha256"]
    lines = "".join(f"{k}:{v}\n" for k, v in signed)
    canonical = f"{request.method}\n{parts.path}\n{parts.query}\n{lines}\n{names}\n{digest}"
    text = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{settings.secret_access_key.get_secret_value()}".encode()
    for part in (day, settings.region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    header = f"AWS4-HMAC-SHA256 Credential={settings.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    headers = (*kept, ("x-amz-date", stamp), ("authorization", header))
    return replace(request, headers=headers)


def classify(response: HttpResponse, n: int) -> Answer:
    """412 says that a former attempt has created the object: delivered. 409 is a race of two attempts."""
    if response.status == 412:
        return Answer(Act.DONE, Outcome.DELIVERED, reason="http_412")
    if response.status == 409:
        return Answer(Act.RETRY, reason="http_409")
    if 400 <= response.status < 500 and response.status not in (408, 429):
        return Answer(Act.PARK, reason=f"http_{response.status}")
    return wire.by_status(response, n)


DESTINATION: Final = Destination(
    name="s3",
    title="Amazon S3 or compatible",
    recipient="the operator of the bucket",
    kind="warehouse",
    docs="specs/destinations.md §2.10",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=10_000, body_bytes=16 << 20),
    dedupe_window_s=30 * DAY_S,
    secret_settings=("secret_access_key",),
    batch_key=batch_key,
    sign=sign,
    notes="Objects are named by their content and created once: a repeat finds its object there.",
)
