"""LinkedIn Conversions API (specs/destinations.md §2.5).

There is no event name: each event goes to the conversion rule that `conversion_rules` configures for it, others are unmapped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import Field, SecretStr

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
)
from ebbgate.destinations.normalise import hashes
from ebbgate.model import CleanEvent, Outcome

_URN: Final = "urn:lla:llaPartnerConversion:"


class Settings(DestinationSettings):
    """Conversion rules by event, and a member token with `rw_conversions`."""

    conversion_rules: Mapping[str, str] = Field(min_length=1, description="Event name → id of the conversion rule.")
    access_token: SecretStr = Field(description="OAuth token of the ad account; sent as a header.")
    api_version: str = Field(default="202610", pattern=r"^20[0-9]{4}$", description="LinkedIn-Version; a version lives 12 months.")
    send_names: bool = Field(default=False, description="Also send first and last name, which LinkedIn takes in clear only.")


def _user_ids(clean: CleanEvent) -> list[dict[str, str]]:
    found = (
        ("SHA256_EMAIL", reading.hashed(clean, "user.email")),
        ("LINKEDIN_FIRST_PARTY_ADS_TRACKING_UUID", reading.text(clean, "click.li_fat_id")),
        ("PLAINTEXT_IP_ADDRESS", reading.text(clean, "network.ip")),
    )
    return [{"idType": kind, "idValue": value} for kind, value in found if value]


def _user_info(clean: CleanEvent) -> dict[str, str]:
    """First and last name together or nothing: LinkedIn refuses one without the other."""
    first, last = reading.text(clean, "user.first_name"), reading.text(clean, "user.last_name")
    if not (first and last and first.strip() and last.strip()):
        return {}
    return reading.without_empty({
        "firstName": first.strip(),
        "lastName": last.strip(),
        "title": reading.text(clean, "user.title"),
        "companyName": reading.text(clean, "user.company"),
        "countryCode": reading.country(clean, "user.country"),
    })  # fmt: skip


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """One conversion: time in milliseconds, amount as a decimal text."""
    rule = reading.configured(clean, settings.conversion_rules)
    if rule is None:
        return Skip(Outcome.UNMAPPED, "no_conversion_rule")
    user: dict[str, Any] = {"userIds": _user_ids(clean)}
    if settings.send_names and (info := _user_info(clean)):
        user["userInfo"] = info
    if external := reading.text(clean, "user.id"):
        user["externalIds"] = [external]
    if lead := reading.text(clean, "lead.id"):
        user["lead"] = lead if lead.startswith("urn:li:") else f"urn:li:leadGenFormResponse:{lead}"
    if not user["userIds"] and len(user) == 1:
        return Skip(Outcome.INVALID, "user_missing")
    row: dict[str, Any] = {
        "conversion": rule if rule.startswith("urn:") else _URN + rule,
        "conversionHappenedAt": clean.time_ms,
        "eventId": clean.id,
        "user": user,
    }
    amount, code = reading.worth(clean), reading.currency(clean)
    if amount is not None and code is not None:
        row["conversionValue"] = {"currencyCode": code, "amount": reading.number_text(amount)}
    return row


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """One conversion as it is, several as a BATCH_CREATE of at most 5000."""
    headers: tuple[tuple[str, str], ...] = (("linkedin-version", settings.api_version), ("x-restli-protocol-version", "2.0.0"))
    body: object = rows[0]
    if len(rows) > 1:
        headers = (*headers, ("x-restli-method", "BATCH_CREATE"))
        body = {"elements": list(rows)}
    base = settings.endpoint or "https://api.linkedin.com"
    return wire.bearer(f"{base}/rest/conversionEvents", body, settings.access_token.get_secret_value(), headers)


def classify(response: HttpResponse, n: int) -> Answer:
    """A batch answers per element; 65600-65602 are token errors, of which only an expired token is worth a refresh."""
    if not 200 <= response.status < 300:
        if response.status == 401:
            expired = wire.member(wire.decode(response), "serviceErrorCode") == 65602
            return Answer(Act.PARK, reason="http_401", refresh=expired)
        return wire.by_status(response, n)
    elements = wire.member(wire.decode(response), "elements")
    if n == 1 and elements is None:
        return Answer(Act.DONE, Outcome.DELIVERED, reason=f"http_{response.status}")
    if not isinstance(elements, list) or len(elements) != n:
        return Answer(Act.UNKNOWN, reason="elements_differ")
    rows: dict[int, Outcome | Act] = {}
    for index, element in enumerate(elements):
        status = wire.member(element, "status")
        if not isinstance(status, int):
            rows[index] = Act.UNKNOWN
        elif status == 429 or status >= 500:
            rows[index] = Act.RETRY
        elif not 200 <= status < 300:
            rows[index] = Outcome.REJECTED
    return Answer(Act.DONE, Outcome.DELIVERED, rows, reason="partial" if rows else f"http_{response.status}")


DESTINATION: Final = Destination(
    name="linkedin",
    title="LinkedIn Conversions API",
    recipient="LinkedIn Ireland Unlimited Company / LinkedIn Corporation",
    kind="advertising",
    docs="specs/destinations.md §2.5",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=5000, body_bytes=5 << 20),
    max_age_s=90 * DAY_S,
    dedupe_window_s=DAY_S,
    hashes=hashes("linkedin"),
    demands_hash=frozenset({"user.email"}),
    hash_names={"em": "user.email"},
    secret_settings=("access_token",),
    hosts=("api.linkedin.com",),
    notes="Not published, so assumed: copies with one eventId merge for a day. "
    "Without an amount, a conversion is worth the sum of its products. No consent field.",
)
