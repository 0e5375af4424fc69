"""JSON lines in a directory, one compressed file a batch (specs/destinations.md §2.10).

The request is a PUT to a `file:` address; the delivery stage writes it beside its place, syncs and renames it, so that a reader
never sees half a file. The name is made of the content: a repeat writes the same file again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final, Literal
from urllib.parse import quote

from pydantic import Field, field_validator

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
)
from ebbgate.destinations.packed import Compression, packed, usable
from ebbgate.model import CleanEvent


class Settings(DestinationSettings):
    """A directory and how it is divided."""

    path: str = Field(min_length=1, description="Directory, absolute.")
    rotate: Literal["hour", "day"] = Field(default="hour", description="One sub-directory an hour or a day of event time, UTC.")
    compression: Compression = Field(default="auto", description="zstd, gzip, or auto: zstd where the extra `zstd` is installed.")

    @field_validator("path")
    @classmethod
    def _absolute(cls, value: str) -> str:
        path = PurePosixPath(value)
        if not path.is_absolute() or ".." in path.parts:
            raise ValueError("must be an absolute path without ..")
        return str(path)

    @field_validator("compression")
    @classmethod
    def _usable(cls, value: Compression) -> Compression:
        return usable(value)


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """One line, a key a field."""
    return tables.record(clean)


def batch_key(row: Row) -> str:
    """Rows of one hour share a file."""
    return str(row["event_time"])[:13]


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """`<path>/dt=YYYY-MM-DD/hour=HH/<digest>.jsonl.zst`, or `.gz`."""
    file = packed(rows, settings.compression)
    time = str(rows[0]["event_time"])
    folder = f"dt={time[:10]}/hour={time[11:13]}" if settings.rotate == "hour" else f"dt={time[:10]}"
    url = "file://" + quote(f"{settings.path}/{folder}/{file.name}", safe="/=")
    return HttpRequest("PUT", url, (("content-type", file.content_type),), file.body)


def classify(response: HttpResponse, n: int) -> Answer:
    """The delivery stage answers 201 when the file stands, 507 when the disk is full: then nothing was written."""
    if response.status == 507:
        return Answer(Act.RETRY, reason="http_507")
    return wire.by_status(response, n)


DESTINATION: Final = Destination(
    name="file",
    title="Files (JSON lines)",
    recipient="the operator of this gateway",
    kind="warehouse",
    docs="specs/destinations.md §2.10",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=10_000, body_bytes=16 << 20),
    dedupe_window_s=30 * DAY_S,
    batch_key=batch_key,
    notes="A repeat replaces the same file with the same bytes.",
)
