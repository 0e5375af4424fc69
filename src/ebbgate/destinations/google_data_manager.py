"""Google Data Manager API `events:ingest`: Google Ads conversions, GA4 for other events (specs/destinations.md §2.3).

One invalid field refuses the whole request, so a 400 is bisected by questions with `validateOnly`. Google takes a Google Analytics
event in a request of its own kind only: an event with a conversion action goes to Ads, another one to GA4 where that is configured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from ebbgate.destinations import ga4, google_auth, reading, wire
from ebbgate.destinations.kit import (
    DAY_S,
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
from ebbgate.destinations.normalise import hashes
from ebbgate.model import CleanEvent, Outcome

SCOPE: Final = "https://www.googleapis.com/auth/datamanager"
_CONSENT: Final = {"granted": "CONSENT_GRANTED", "denied": "CONSENT_DENIED"}
_SOURCE: Final = {"web": "WEB", "app": "APP", "server": "OTHER"}
_RETRIED_GRPC: Final = frozenset({"RESOURCE_EXHAUSTED"})
_PARKED_GRPC: Final = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND"})
_DESTINATIONS: Final = 10
_GA_STRUCTURED: Final = frozenset({"currency", "value", "transaction_id", "items"})


class Settings(DestinationSettings):
    """The Google Ads account with its conversion actions, GA4 stream if wanted, and credentials."""

    customer_id: str = Field(description="Google Ads conversion customer; digits, dashes are dropped.")
    login_customer_id: str | None = Field(default=None, description="Manager account that has access.")
    conversion_actions: Mapping[str, str] = Field(default_factory=dict, description="Event name → id of the conversion action.")
    ga4_measurement_id: str | None = Field(
        default=None, pattern=r"^G-[A-Za-z0-9]+$", description="GA4 web stream for other events."
    )
    ga4_property_id: str | None = Field(
        default=None, pattern=r"^[0-9]+$", description="GA4 property of that stream; without it no event goes to GA4 here."
    )
    credentials: SecretStr | None = Field(default=None, description="Service-account key, JSON.")
    access_token: SecretStr | None = Field(default=None, description="Ready OAuth token, instead of credentials.")
    validate_only: bool = Field(default=False, description="Google checks the events and records nothing.")

    @field_validator("customer_id", "login_customer_id")
    @classmethod
    def _digits(cls, value: str | None) -> str | None:
        digits = None if value is None else value.replace("-", "")
        if digits is not None and not (digits.isascii() and digits.isdigit()):
            raise ValueError("must be the digits of a Google Ads account")
        return digits

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.credentials is None) == (self.access_token is None):
            raise ValueError("give credentials or access_token, one of them")
        if not self.conversion_actions and self.ga4_measurement_id is None:
            raise ValueError("give conversion_actions, ga4_measurement_id or both")
        if self.credentials is not None:
            google_auth.service_account(self.credentials)
        return self


def _user_identifiers(clean: CleanEvent) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if digest := reading.hashed(clean, "user.email"):
        found.append({"emailAddress": digest})
    if digest := reading.hashed(clean, "user.phone"):
        found.append({"phoneNumber": digest})
    given, family = reading.hashed(clean, "user.first_name"), reading.hashed(clean, "user.last_name")
    postcode, region = reading.text(clean, "user.postcode"), reading.country(clean, "user.country")
    # Google matches an address only when it is complete.
    if given and family and postcode and postcode.strip() and region:
        found.append({"address": {"givenName": given, "familyName": family, "postalCode": postcode.strip(), "regionCode": region}})
    return found


def _ad_identifiers(clean: CleanEvent) -> dict[str, str]:
    """One click id: gclid, else gbraid, else wbraid; the address of the page before an older cookie."""
    for name, paths in (
        ("gclid", ("click.gclid", "cookie.gcl_aw")),
        ("gbraid", ("click.gbraid", "cookie.gcl_gb")),
        ("wbraid", ("click.wbraid",)),
    ):
        if found := reading.first(*(reading.text(clean, path) for path in paths)):
            return {name: found}
    return {}


def _device(clean: CleanEvent) -> dict[str, str]:
    """User agent; the address only of visitors known to be outside EEA, UK and Switzerland, as Google demands."""
    found = {"userAgent": reading.text(clean, "device.user_agent")}
    if reading.outside_eea(clean):
        found["ipAddress"] = reading.text(clean, "network.ip")
    return {k: v for k, v in found.items() if v}


def _cart(clean: CleanEvent) -> dict[str, Any]:
    rows = []
    for product in reading.items(clean):
        identifier = reading.item_id(product)
        if identifier is None:
            continue
        row: dict[str, Any] = {"merchantProductId": identifier, "itemId": identifier}
        count, price = product.get("quantity"), product.get("price")
        if isinstance(count, (int, float)) and count == int(count):
            row["quantity"] = str(int(count))  # int64 is a text in protobuf's JSON
        if price is not None:
            row["unitPrice"] = price
        rows.append(row)
    cart: dict[str, Any] = {"items": rows} if rows else {}
    discount = reading.number(clean, "order.discount")
    if rows and discount:
        cart["transactionDiscount"] = discount
    return cart


def _timestamp(clean: CleanEvent) -> str:
    """RFC 3339 with whole seconds: Google's attribution knows no finer time."""
    return reading.iso_time(clean.time_ms)[:19] + "+00:00"


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """Row: `action` (conversion action id, or None for GA4), `group` (those of one may share a request) and `event`."""
    action = reading.configured(clean, settings.conversion_actions)
    if action is None and settings.ga4_measurement_id is None:
        return Skip(Outcome.UNMAPPED, "no_conversion_action")
    if action is None and settings.ga4_property_id is None:
        return Skip(Outcome.UNMAPPED, "no_ga4_property")
    consent = {
        field: _CONSENT[found]
        for field, name in (("adUserData", "ad_user_data"), ("adPersonalization", "ad_personalization"))
        if (found := clean.google.get(name)) in _CONSENT
    }
    refused = reading.ads_refused(clean)
    identifiers = [] if refused else _user_identifiers(clean)
    clicks = {} if refused else _ad_identifiers(clean)
    amount, code = reading.worth(clean), reading.currency(clean)
    if reading.text(clean, "order.currency") and code is None:
        return Skip(Outcome.INVALID, "currency")
    if amount is not None and code is None:
        return Skip(Outcome.INVALID, "currency_missing")
    event: dict[str, Any] = {
        "transactionId": reading.text(clean, "order.id") or clean.id,
        "eventTimestamp": _timestamp(clean),
        "eventSource": _SOURCE.get(reading.text(clean, "event.source") or "web", "OTHER"),
        "currency": code,
        "conversionValue": amount,
        "adIdentifiers": clicks,
        "userData": {"userIdentifiers": identifiers} if identifiers else None,
        "eventDeviceInfo": {} if refused else _device(clean),
        "cartData": _cart(clean),
        "consent": consent,
    }
    new = clean.fields.get("user.is_new_customer")
    if isinstance(new, bool):
        event["userProperties"] = {"customerType": "NEW" if new else "RETURNING"}
    if action is None:
        extra = _analytics(clean)
        if isinstance(extra, Skip):
            return extra
        event |= extra
    elif not identifiers and not clicks:
        return Skip(Outcome.INVALID, "no_identifier")
    return {"action": action, "group": _group(action, settings), "event": reading.without_empty(event)}


def _group(action: str | None, settings: Settings) -> int:
    """-1 for GA4; conversion actions in tens, as a request names at most ten destinations (§2.3)."""
    return -1 if action is None else sorted(set(settings.conversion_actions.values())).index(action) // _DESTINATIONS


def _analytics(clean: CleanEvent) -> dict[str, Any] | Skip:
    """What a GA4 event needs besides: name, client id, parameters as texts."""
    name = ga4.event_name(clean.name)
    if isinstance(name, Skip):
        return name
    client = reading.first(reading.text(clean, "visitor.client_id"), reading.text(clean, "visitor.anonymous_id"))
    if client is None:
        return Skip(Outcome.INVALID, "client_id_missing")
    params = ga4.parameters(clean, name)
    if isinstance(params, Skip):
        return params
    extra = [
        {"parameterName": key, "value": found if isinstance(found, str) else reading.number_text(found)}
        for key, found in params.items()
        if key not in _GA_STRUCTURED
    ]
    return {"eventName": name, "clientId": client, "userId": reading.text(clean, "user.id"), "additionalEventParameters": extra}


def batch_key(row: Row) -> int:
    """Conversions and GA4 events do not share a request, nor do conversions of more actions than one request may name."""
    return int(row["group"])


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """Up to 2000 events; each names the conversion action it is for by `destinationReferences` where there are several."""
    if rows[0]["action"] is None:
        account = {"accountType": "GOOGLE_ANALYTICS_PROPERTY", "accountId": settings.ga4_property_id}
        destinations = [_destination(settings, settings.ga4_measurement_id or "", account)]
    else:
        account = {"accountType": "GOOGLE_ADS", "accountId": settings.customer_id}
        actions = dict.fromkeys(str(row["action"]) for row in rows)
        destinations = [_destination(settings, action, account) for action in actions]
    many = len(destinations) > 1
    events = [{"destinationReferences": [row["action"]], **row["event"]} if many else row["event"] for row in rows]
    body: dict[str, Any] = {"validateOnly": settings.validate_only, "destinations": destinations}
    # The consent of the request is that of its events where all agree; each event carries its own besides.
    consents = [row["event"].get("consent") for row in rows]
    if consents[0] is not None and all(found == consents[0] for found in consents):
        body["consent"] = consents[0]
    body["events"] = events
    if any("userData" in event for event in events):
        body["encoding"] = "HEX"
    base = settings.endpoint or "https://datamanager.googleapis.com"
    request = wire.post(f"{base}/v1/events:ingest", body)
    token = settings.access_token
    return request if token is None else google_auth.with_token(request, token.get_secret_value())


def check(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """The request of `envelope` with `validateOnly`: Google says whether it is valid and records nothing of it (§2.3)."""
    return envelope(rows, settings.model_copy(update={"validate_only": True}))


def _destination(settings: Settings, product: str, account: Mapping[str, str | None]) -> dict[str, Any]:
    found: dict[str, Any] = {"reference": product, "productDestinationId": product, "operatingAccount": dict(account)}
    if settings.login_customer_id is not None and account["accountType"] == "GOOGLE_ADS":
        found["loginAccount"] = {"accountType": "GOOGLE_ADS", "accountId": settings.login_customer_id}
    return found


def token_request(settings: Settings, now_s: int) -> HttpRequest | None:
    """The token request of a service account; None when a ready token is configured."""
    if settings.credentials is None:
        return None
    return google_auth.token_request(settings.credentials, SCOPE, now_s, endpoint=settings.endpoint)


def classify(response: HttpResponse, n: int) -> Answer:
    """All or nothing. 429 of a daily quota waits an hour at a time; a 400 has one invalid event in it."""
    if 200 <= response.status < 300:
        accepted = isinstance(wire.member(wire.decode(response), "requestId"), str)
        if not accepted:
            return Answer(Act.UNKNOWN, reason="no_request_id")
        return Answer(Act.DONE, Outcome.ACCEPTED_UNVERIFIED, reason=f"http_{response.status}")
    answer = wire.decode(response)
    status = wire.member(answer, "error", "status")
    if status in _RETRIED_GRPC or response.status == 429:
        daily = "PerDay" in str(_quota(answer))
        return Answer(Act.RETRY, reason="quota_day" if daily else "quota_minute", retry_after_s=3600.0 if daily else None)
    if status in _PARKED_GRPC:
        return Answer(Act.PARK, reason=str(status).lower(), refresh=status == "UNAUTHENTICATED")
    return wire.by_status(response, n)


def _quota(answer: object) -> object:
    details = wire.member(answer, "error", "details")
    for detail in details if isinstance(details, list) else []:
        if (limit := wire.member(detail, "metadata", "quota_limit")) is not None:
            return limit
    return None


DESTINATION: Final = Destination(
    name="google_data_manager",
    title="Google Data Manager API",
    recipient="Google Ireland Limited (EEA, Switzerland) / Google LLC",
    kind="advertising",
    docs="specs/destinations.md §2.3",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=2000, body_bytes=8 << 20),
    max_age_s=90 * DAY_S,
    dedupe_window_s=90 * DAY_S,
    hashes=hashes("google"),
    demands_hash=frozenset({"user.email", "user.phone", "user.first_name", "user.last_name"}),
    hash_names={
        "em": "user.email",
        "ph": "user.phone",
        "fn": "user.first_name",
        "ln": "user.last_name",
        "postal_code": "user.postcode",
        "region_code": "user.country",
    },
    hash_platform="google",
    secret_settings=("credentials", "access_token"),
    hosts=("datamanager.googleapis.com", "oauth2.googleapis.com"),
    batch_key=batch_key,
    check=check,
    oauth=OAuth(request=token_request, apply=google_auth.with_token),
    notes="Copies merge by transactionId. Without an amount, a conversion is worth the sum of its products. "
    "Results come later under requestStatus: a 200 is accepted, not verified.",
)
