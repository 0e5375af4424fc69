"""What a destination is: one declarative constant over these few types, no I/O.

A destination file holds one `DESTINATION`. The delivery stage calls it in this order:

    render(clean, settings) → Row | Skip      one event in the platform's words
    batch_key(row)                            rows of one key may share a request
    envelope(rows, settings) → HttpRequest    one request for a batch of rows
    sign(request, settings, now_s)            right before each attempt, where a platform wants a fresh time
    classify(response, n) → Answer            what the platform said, down to the row
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ebbgate.model import EMPTY, CleanEvent, Outcome

#: A row is the platform's form of one event, ready to be put into an envelope.
Row: TypeAlias = Mapping[str, Any]

HOUR_S: Final = 3600
DAY_S: Final = 24 * HOUR_S


class DestinationSettings(BaseModel):
    """Settings every destination takes; each destination adds its own keys (specs/destinations.md §0.1)."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    endpoint: str | None = Field(default=None, description="Stand-in for the platform's address: https, or loopback for tests.")
    requests_at_once: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Most requests under way at a time; more for a distant platform that takes small requests.",
    )

    @field_validator("endpoint")
    @classmethod
    def _safe_endpoint(cls, value: str | None) -> str | None:
        return None if value is None else safe_address(value)


def safe_address(url: str) -> str:
    """Return `url` without a trailing slash when it is https, or http to this machine; ValueError otherwise."""
    parts = urlsplit(url)
    if not parts.hostname or parts.username or parts.password or parts.fragment:
        raise ValueError("must be an address such as https://host/path, without credentials")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValueError("must be https (http is for loopback only)")
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """True for `localhost` and addresses of this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Skip:
    """The destination cannot take this event: recorded as `unmapped` or `invalid`, never guessed."""

    outcome: Outcome  #: UNMAPPED or INVALID
    reason: str  #: closed words and field names, no values


@dataclass(frozen=True, slots=True, repr=False)
class HttpRequest:
    """One request, complete but for the sending. Byte-identical over retries."""

    method: str
    url: str  #: may hold a secret where the platform offers no header: never logged; see `public_url`
    headers: tuple[tuple[str, str], ...]
    body: bytes
    secret_params: tuple[str, ...] = ()  #: query parameters that are secrets
    secret_headers: tuple[str, ...] = ()  #: lower-case header names that are secrets
    secret_keys: tuple[str, ...] = ()  #: keys of a JSON or form body that are secrets

    def __repr__(self) -> str:
        return f"HttpRequest({self.method}, {len(self.body)} bytes)"


def public_url(request: HttpRequest) -> str:
    """The address of a request with the values of its secret parameters as `***`: fit for a log or a screen."""
    if not request.secret_params:
        return request.url
    parts = urlsplit(request.url)
    pairs = [(k, "***" if k in request.secret_params else v) for k, v in parse_qsl(parts.query, keep_blank_values=True)]
    return urlunsplit(parts._replace(query=urlencode(pairs, safe="*")))


@dataclass(frozen=True, slots=True, repr=False)
class HttpResponse:
    """What came back: status, lower-case headers, the first 64 KiB of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Act(StrEnum):
    """What to do about an answer (specs/reliability.md §2.3)."""

    DONE = "done"  #: every row has an outcome
    RETRY = "retry"  #: pushed back or failed before processing: safe to repeat
    UNKNOWN = "unknown"  #: perhaps processed: repeat only where the platform deduplicates
    BISECT = "bisect"  #: one row of the batch is poison: halve and resend
    HALVE = "halve"  #: too big: halve and resend
    PARK = "park"  #: our credentials or configuration: stop this destination, keep the events


@dataclass(frozen=True, slots=True)
class Answer:
    """The platform's answer, understood."""

    act: Act
    outcome: Outcome = Outcome.DELIVERED  #: of every row not in `rows`, when act is DONE
    rows: Mapping[int, Outcome | Act] = field(default_factory=dict)  #: row index → its own outcome, RETRY or UNKNOWN
    reason: str = ""  #: closed words: "http_503", "meta_190" …
    retry_after_s: float | None = None
    refresh: bool = False  #: with PARK: a fresh token may help, once


@dataclass(frozen=True, slots=True)
class Batch:
    """How much fits in one request."""

    events: int = 1
    body_bytes: int = 1 << 20


Normaliser: TypeAlias = Callable[[str, str | None], str | None]
"""(raw value, ISO country or None) → normalised value, or None when there is nothing to hash."""

Render: TypeAlias = Callable[[CleanEvent, Any], "Row | Skip"]
Envelope: TypeAlias = Callable[[Sequence[Row], Any], HttpRequest]
Classify: TypeAlias = Callable[[HttpResponse, int], Answer]
Sign: TypeAlias = Callable[[HttpRequest, Any, int], HttpRequest]
"""(request, settings, now in unix seconds) → the request with time-bound headers; body and id stay as they are."""


@dataclass(frozen=True, slots=True)
class OAuth:
    """How to get a short-lived access token with long-lived credentials, and where to put it.

    The delivery stage keeps the token until shortly before `expires_in` and gets a fresh one after `Answer.refresh`, once.
    """

    request: Callable[[Any, int], HttpRequest | None]
    """(settings, now in unix seconds) → the token request, or None when the settings hold a ready token."""
    apply: Callable[[HttpRequest, str], HttpRequest]
    """(request, token) → the request with its authorisation."""


@dataclass(frozen=True, slots=True)
class Destination:
    """One platform, declared. `demands_hash` names what a policy must hash before it may leave."""

    name: str
    title: str
    recipient: str  #: legal name of who receives the data, for records under GDPR art. 30
    kind: str  #: advertising | analytics | product_analytics | warehouse | messaging | generic
    docs: str  #: where its fields are specified, e.g. "specs/destinations.md §2.2"
    settings: type[DestinationSettings]
    render: Render
    envelope: Envelope
    classify: Classify
    batch: Batch
    max_age_s: int | None = None  #: events older than this are refused by the platform
    dedupe_window_s: int | None = None  #: how long the platform merges copies with one key; None = it does not
    dedupe: Callable[[CleanEvent], bool] | None = None  #: does this event carry the platform's dedupe key? None = all do
    hashes: Mapping[str, Normaliser] = field(default_factory=lambda: EMPTY)  #: field → how it is normalised before SHA-256
    demands_hash: frozenset[str] = frozenset()  #: fields that must not leave in clear
    hash_names: Mapping[str, str] = field(default_factory=lambda: EMPTY)  #: the platform's field names → ours, as `em` → user.email
    hash_platform: str = ""  #: its rules in `normalise.RULES`, where they stand under another name than its own
    reserved_events: frozenset[str] = frozenset()  #: names the platform drops silently: a policy that lists one is wrong
    restriction_flags: frozenset[str] = frozenset()  #: flags `send_limited: add:` may set
    secret_settings: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()  #: where it may send to; empty = as configured (webhook, self-hosted)
    batch_key: Callable[[Row], Hashable] | None = None  #: only rows of one key share a request; None = any rows do
    check: Envelope | None = None  #: the request of `envelope`, which the platform only looks at: it records nothing of it
    sign: Sign | None = None  #: called right before each attempt
    oauth: OAuth | None = None  #: for platforms whose token is got with a key
    notes: str = ""
