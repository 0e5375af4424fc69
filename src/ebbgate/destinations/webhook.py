"""Signed webhook to any receiver, after Standard Webhooks (specs/destinations.md §2.9).

One event a request. `webhook-id` is the event's id, the receiver's key against duplicates; the body is the same over all
attempts; the timestamp and with it the signature are made fresh right before each attempt.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

from pydantic import Field, SecretStr, field_validator

from ebbgate.destinations import reading, wire
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


class Settings(DestinationSettings):
    """Where to send and the shared secret; several secrets, newest first, while one is being replaced."""

    url: str = Field(description="Receiver's address: https, or loopback.")
    secret: SecretStr = Field(description="whsec_… ; several separated by blanks while rotating.")

    @field_validator("url")
    @classmethod
    def _safe_url(cls, value: str) -> str:
        safe_address(value)
        return value

    @field_validator("secret")
    @classmethod
    def _readable_secret(cls, value: SecretStr) -> SecretStr:
        keys(value)
        return value


def keys(secret: SecretStr) -> tuple[bytes, ...]:
    """The HMAC keys of a `whsec_` secret; ValueError when one is not base64 of 24 to 64 bytes."""
    found = []
    for part in secret.get_secret_value().split():
        try:
            key = base64.b64decode(part.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("secret must be whsec_ followed by base64") from None
        if not 24 <= len(key) <= 64:
            raise ValueError("secret must hold 24 to 64 bytes")
        found.append(key)
    if not found:
        raise ValueError("secret is empty")
    return tuple(found)


def nested(clean: CleanEvent) -> dict[str, Any]:
    """The fields in the groups of the native event: `user.email` → {"user": {"email": …}}; `properties` stays one level deep."""
    groups: dict[str, Any] = {}
    for path, found in clean.fields.items():
        group, _, name = path.partition(".")
        if group == "event":
            continue
        value: Any = found
        if isinstance(found, tuple):
            value = [dict(v) if not isinstance(v, (str, int, float, bool)) else v for v in found]
        groups.setdefault(group, {})[name] = value
    return groups


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """Row: `id` and `body`, {"type", "timestamp", "data"} as Standard Webhooks proposes; data in the shape of a native event."""
    data: dict[str, Any] = {"event": clean.name, "id": clean.id, "time": reading.iso_time(clean.time_ms), "site": clean.site}
    if original := reading.text(clean, "event.original_name"):
        data["original_name"] = original
    if source := reading.text(clean, "event.source"):
        data["source"] = source
    data |= nested(clean)
    if clean.consent:
        data["consent"] = dict(clean.consent)
    if clean.flags:
        data["flags"] = dict(clean.flags)
    if clean.limited:
        data["limited"] = True
    return {"id": clean.id, "body": {"type": f"event.{clean.name}", "timestamp": data["time"], "data": data}}


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """One event. Without the time-bound headers: `sign` adds them."""
    (row,) = rows
    url = settings.endpoint or settings.url
    return wire.post(url, row["body"], headers=(("webhook-id", _header_safe(row["id"])),))


def _header_safe(identifier: str) -> str:
    """An event id as a header value: ids with other than visible ASCII are sent as their SHA-256."""
    if identifier.isascii() and identifier.isprintable() and " " not in identifier and len(identifier) <= 256:
        return identifier
    return sha256(identifier.encode("utf-8", "surrogatepass")).hexdigest()


def sign(request: HttpRequest, settings: Settings, now_s: int) -> HttpRequest:
    """Add `webhook-timestamp` and `webhook-signature`: HMAC-SHA256 over `id.timestamp.body`, one a key."""
    identifier = next(v for k, v in request.headers if k == "webhook-id")
    signed = f"{identifier}.{now_s}.".encode() + request.body
    signatures = [f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}" for key in keys(settings.secret)]
    kept = tuple((k, v) for k, v in request.headers if k not in ("webhook-timestamp", "webhook-signature"))
    headers = (*kept, ("webhook-timestamp", str(now_s)), ("webhook-signature", " ".join(signatures)))
    return replace(request, headers=headers)


def classify(response: HttpResponse, n: int) -> Answer:
    """2xx is delivered, 410 stops the webhook; everything else is tried again, as the standard asks."""
    if 200 <= response.status < 300:
        return Answer(Act.DONE, Outcome.DELIVERED, reason=f"http_{response.status}")
    if response.status in (401, 403, 404, 410) or 300 <= response.status < 400:
        return Answer(Act.PARK, reason=f"http_{response.status}")
    return Answer(Act.RETRY, reason=f"http_{response.status}")


DESTINATION: Final = Destination(
    name="webhook",
    title="Signed webhook",
    recipient="the receiver named in the settings",
    kind="generic",
    docs="specs/destinations.md §2.9",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=1, body_bytes=1 << 20),
    dedupe_window_s=30 * DAY_S,
    secret_settings=("secret",),
    sign=sign,
    notes="The receiver drops repeats by `webhook-id` and refuses timestamps older than five minutes.",
)
