"""X (Twitter) conversions (specs/destinations.md §3.4), with a pixel token or OAuth 1.0a.

Each event needs the `event_id` that X gave to it; others are unmapped. There is no consent field: what was refused is not sent.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Final, Self
from urllib.parse import quote

from pydantic import Field, SecretStr, model_validator

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

_ITEM: Final = {"name": "content_name", "category": "content_type", "price": "content_price", "quantity": "num_items"}
_OAUTH: Final = ("consumer_key", "consumer_secret", "oauth_token", "oauth_token_secret")


class Settings(DestinationSettings):
    """A pixel, the event ids made for it, and a pixel token or the four OAuth 1.0a keys."""

    pixel_id: str = Field(pattern=r"^[0-9A-Za-z_-]+$", description="Pixel id in base 36.")
    event_ids: Mapping[str, str] = Field(min_length=1, description="Event name → event id, tw-<pixel>-<event>.")
    access_token: SecretStr | None = Field(default=None, description="Pixel token; sent as a header.")
    consumer_key: SecretStr | None = Field(default=None, description="OAuth 1.0a: key of the app.")
    consumer_secret: SecretStr | None = Field(default=None, description="OAuth 1.0a: secret of the app.")
    oauth_token: SecretStr | None = Field(default=None, description="OAuth 1.0a: token of the ad account's user.")
    oauth_token_secret: SecretStr | None = Field(default=None, description="OAuth 1.0a: secret of that token.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [name for name in _OAUTH if getattr(self, name) is not None]
        if (self.access_token is None) == (not given) or (given and len(given) != len(_OAUTH)):
            raise ValueError("give access_token, or all of consumer_key, consumer_secret, oauth_token, oauth_token_secret")
        return self


def _identifiers(clean: CleanEvent) -> list[dict[str, str]]:
    """At least one; address and user agent count only beside another one."""
    found: list[dict[str, str]] = []
    if click := reading.text(clean, "click.twclid"):
        found.append({"twclid": click})
    if digest := reading.hashed(clean, "user.email"):
        found.append({"hashed_email": digest})
    if digest := reading.hashed(clean, "user.phone"):
        found.append({"hashed_phone_number": digest})
    address, agent = reading.text(clean, "network.ip"), reading.text(clean, "device.user_agent")
    if found and address and agent:
        found.append({"ip_address": address, "user_agent": agent})
    return found


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """One entry of `conversions`."""
    event = reading.configured(clean, settings.event_ids)
    if event is None:
        return Skip(Outcome.UNMAPPED, "no_event_id")
    identifiers = _identifiers(clean)
    if not identifiers:
        return Skip(Outcome.INVALID, "no_identifier")
    if reading.text(clean, "order.currency") and reading.currency(clean) is None:
        return Skip(Outcome.INVALID, "currency")
    amount = reading.worth(clean)
    row = {
        "conversion_time": reading.iso_time(clean.time_ms),
        "event_id": event,
        "identifiers": identifiers,
        "conversion_id": reading.text(clean, "order.id") or clean.id,
        "value": None if amount is None else reading.number_text(amount),
        "price_currency": reading.currency(clean),
        "number_items": reading.pieces(clean),
        "contents": reading.mapped_items(clean, _ITEM, id_name="content_id"),
    }
    return reading.without_empty(row)


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """Up to 500 conversions; with OAuth 1.0a the signature is added by `sign`."""
    base = settings.endpoint or "https://ads-api.x.com"
    headers: tuple[tuple[str, str], ...] = ()
    if settings.access_token is not None:
        headers = (("x-pixel-token", settings.access_token.get_secret_value()),)
    url = f"{base}/12/measurement/conversions/{settings.pixel_id}"
    return wire.post(url, {"conversions": list(rows)}, headers=headers, secret_headers=("x-pixel-token", "authorization"))


def sign(request: HttpRequest, settings: Settings, now_s: int) -> HttpRequest:
    """Add the OAuth 1.0a header (RFC 5849, HMAC-SHA1). A JSON body is no part of the signed text.

    The nonce is made of the body and the time: it need not be secret, only differ between requests of one second.
    """
    if settings.access_token is not None:
        return request
    secrets = {name: found.get_secret_value() for name in _OAUTH if (found := getattr(settings, name)) is not None}
    parameters = {
        "oauth_consumer_key": secrets["consumer_key"],
        "oauth_nonce": sha256(request.body + str(now_s).encode()).hexdigest()[:32],
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_timestamp": str(now_s),
        "oauth_token": secrets["oauth_token"],
        "oauth_version": "1.0",
    }
    joined = "&".join(f"{_encoded(k)}={_encoded(v)}" for k, v in sorted(parameters.items()))
    text = "&".join((request.method, _encoded(request.url), _encoded(joined)))
    key = f"{_encoded(secrets['consumer_secret'])}&{_encoded(secrets['oauth_token_secret'])}"
    parameters["oauth_signature"] = base64.b64encode(hmac.digest(key.encode(), text.encode(), "sha1")).decode()
    header = "OAuth " + ", ".join(f'{k}="{_encoded(v)}"' for k, v in sorted(parameters.items()))
    kept = tuple((k, v) for k, v in request.headers if k != "authorization")
    return replace(request, headers=(*kept, ("authorization", header)))


def _encoded(text: str) -> str:
    return quote(text, safe="-._~")


def classify(response: HttpResponse, n: int) -> Answer:
    """All or nothing: a 400 has an invalid conversion in it. A count of fewer than were sent leaves all in doubt."""
    processed = wire.member(wire.decode(response), "data", "conversions_processed")
    if 200 <= response.status < 300 and isinstance(processed, int) and processed != n:
        return Answer(Act.UNKNOWN, reason="conversions_processed_differs")
    if response.status == 400 and b"Conversion count limit" in response.body:
        return wire.by_status(HttpResponse(413, response.headers, b""), n)
    return wire.by_status(response, n)


DESTINATION: Final = Destination(
    name="x",
    title="X conversions",
    recipient="X Internet Unlimited Company (EEA) / X Corp.",
    kind="advertising",
    docs="specs/destinations.md §3.4",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=500, body_bytes=5 << 20),
    max_age_s=90 * DAY_S,
    dedupe_window_s=30 * DAY_S,
    hashes=hashes("x"),
    demands_hash=frozenset(hashes("x")),
    hash_names={"em": "user.email", "ph": "user.phone"},
    secret_settings=("access_token", *_OAUTH),
    hosts=("ads-api.x.com",),
    sign=sign,
    notes="Copies merge by event and conversion_id: the order number, else the event id. The pixel token is not documented. "
    "Without an amount, a conversion is worth the sum of its products.",
)
