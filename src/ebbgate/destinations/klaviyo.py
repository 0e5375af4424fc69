"""Klaviyo events (specs/destinations.md §3.10). People in clear: the purpose of a policy is marketing by e-mail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydantic import Field, SecretStr

from ebbgate.destinations import normalise, reading, spec_words, wire
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
from ebbgate.model import CleanEvent, Outcome

_ADDRESS: Final = {"address1": "user.street", "city": "user.city", "region": "user.region", "zip": "user.postcode"}


class Settings(DestinationSettings):
    """A private API key and the revision of the API."""

    api_key: SecretStr = Field(description="Private key, pk_…; sent as a header.")
    revision: str = Field(default="2026-07-15", pattern=r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}$", description="API revision.")
    metric_names: dict[str, str] = Field(default_factory=dict, description="Event name → metric, e.g. purchase: Placed Order.")


def _profile(clean: CleanEvent) -> dict[str, Any] | Skip:
    email, phone = reading.text(clean, "user.email"), reading.text(clean, "user.phone")
    if email is not None and (normalise.email(email) is None or normalise.is_sha256(email.strip())):
        email = None
    number = None
    if phone is not None:
        number = normalise.phone_e164(phone, reading.country(clean, "user.country"))
        if number is None or normalise.is_sha256(number):
            number = None
    location = spec_words.picked(clean, _ADDRESS)
    profile = reading.without_empty({
        "email": email.strip() if email else None,
        "phone_number": number,
        "external_id": reading.text(clean, "user.id"),
        "anonymous_id": reading.text(clean, "visitor.anonymous_id"),
    })  # fmt: skip
    if not profile:
        return Skip(Outcome.INVALID, "profile_missing")
    names = {"first_name": reading.text(clean, "user.first_name"), "last_name": reading.text(clean, "user.last_name")}
    return profile | reading.without_empty({k: v.strip() if v else None for k, v in names.items()} | {"location": location})


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """One event with its profile; an identify call is the profile alone."""
    profile = _profile(clean)
    if isinstance(profile, Skip):
        return profile
    if clean.name == "identify":
        own = reading.properties(clean)
        return {"data": {"type": "profile", "attributes": profile | ({"properties": own} if own else {})}}
    amount, code = reading.value(clean), reading.currency(clean)
    attributes: dict[str, Any] = {
        "properties": spec_words.properties(clean),
        "time": reading.iso_time(clean.time_ms),
        "unique_id": clean.id,
    }
    if amount is not None:
        attributes["value"] = amount
        if code:
            attributes["value_currency"] = code
    metric = reading.configured(clean, settings.metric_names) or reading.own_name(clean)
    attributes["metric"] = {"data": {"type": "metric", "attributes": {"name": metric[:128]}}}
    attributes["profile"] = {"data": {"type": "profile", "attributes": profile}}
    return {"data": {"type": "event", "attributes": attributes}}


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """One event or profile a request."""
    (row,) = rows
    headers = (
        ("authorization", f"Klaviyo-API-Key {settings.api_key.get_secret_value()}"),
        ("revision", settings.revision),
        ("content-type", "application/json"),
    )
    base = settings.endpoint or "https://a.klaviyo.com"
    path = "profile-import" if row["data"]["type"] == "profile" else "events"
    return wire.post(f"{base}/api/{path}/", row, headers=headers, secret_headers=("authorization",))


def classify(response: HttpResponse, n: int) -> Answer:
    """202 takes it; 409 says that the profile is there twice, the event stands."""
    if response.status == 409:
        return Answer(Act.DONE, Outcome.DELIVERED, reason="http_409")
    return wire.by_status(response, n)


DESTINATION: Final = Destination(
    name="klaviyo",
    title="Klaviyo",
    recipient="Klaviyo, Inc.",
    kind="messaging",
    docs="specs/destinations.md §3.10",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=1, body_bytes=5 << 20),
    dedupe_window_s=30 * DAY_S,
    secret_settings=("api_key",),
    hosts=("a.klaviyo.com",),
    notes="Copies merge by unique_id for one profile and metric. Takes e-mail and phone in clear.",
)
