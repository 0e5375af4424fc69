"""RudderStack data plane, batch (specs/destinations.md §3.11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import Field, SecretStr, field_validator

from ebbgate.destinations import segment, wire
from ebbgate.destinations.kit import (
    DAY_S,
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
from ebbgate.model import CleanEvent


class Settings(DestinationSettings):
    """A source and its data plane."""

    data_plane_url: str = Field(description="Address of the data plane.")
    write_key: SecretStr = Field(description="Write key of the source; sent as Basic authorisation.")

    @field_validator("data_plane_url")
    @classmethod
    def _safe_url(cls, value: str) -> str:
        return safe_address(value)


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """One call, with what the visitor allowed under `context.consentManagement`."""
    message = segment.call(clean)
    if isinstance(message, Skip):
        return message
    if clean.consent:
        message["context"]["consentManagement"] = {
            "allowedConsentIds": [name for name, state in clean.consent.items() if state == "granted"],
            "deniedConsentIds": [name for name, state in clean.consent.items() if state != "granted"],
        }
    return message


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """A batch."""
    base = settings.endpoint or settings.data_plane_url
    headers = segment.basic(settings.write_key)
    return wire.post(f"{base}/v1/batch", {"batch": list(rows)}, headers=headers, secret_headers=("authorization",))


def classify(response: HttpResponse, n: int) -> Answer:
    """By status."""
    return wire.by_status(response, n)


DESTINATION: Final = Destination(
    name="rudderstack",
    title="RudderStack",
    recipient="RudderStack, Inc., or the operator of the data plane",
    kind="generic",
    docs="specs/destinations.md §3.11",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=100, body_bytes=4 << 20),
    dedupe_window_s=DAY_S,
    secret_settings=("write_key",),
    notes="Copies merge by messageId where deduplication is switched on.",
)
