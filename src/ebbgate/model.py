"""The nouns of ebbgate: frozen values that the stages hand to each other.

A value changes its type as it passes a stage, so that the type checker guards the promise:

    RawRequest ─collect→ Event + Signals ─consent→ Consent ─policy→ Decision, CleanEvent ─store→ Delivery ─deliver→ Outcome

Times are integer milliseconds since 1970-01-01 UTC (`_ms`) unless a name says otherwise. What is made for each event or request is
a `msgspec.Struct`, which C fills in: a frozen dataclass takes ten times as long. Without `gc` where no cycle can be.
This module imports nothing of ours but the exception tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import msgspec

Scalar: TypeAlias = str | int | float | bool
#: `order.items` is a tuple of flat mappings, lists are tuples of scalars, all else is a scalar.
Value: TypeAlias = Scalar | tuple[Scalar, ...] | tuple[Mapping[str, Scalar], ...]


class KnownItems(tuple[Mapping[str, Scalar], ...]):
    """Products that hold only keys of `fields.ITEM_KEYS` in their types: the parser that made them saw to it."""

    __slots__ = ()


class PlainItems(KnownItems):
    """Such products of which none has an address either: nothing about them is made smaller."""

    __slots__ = ()


EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})


class Trust(StrEnum):
    """Who vouches for an event."""

    BROWSER = "browser"  #: anyone on the internet, checked by Origin only
    SERVER = "server"  #: holder of a site's server key


class ConsentState(StrEnum):
    """Three-valued: only an explicit grant is a grant (DESIGN §1)."""

    GRANTED = "granted"
    DENIED = "denied"
    UNKNOWN = "unknown"


class Model(StrEnum):
    """What silence means under a law."""

    OPT_IN = "opt_in"
    OPT_OUT = "opt_out"


class Verdict(StrEnum):
    """What a policy says about one event and one destination."""

    SEND = "send"
    LIMITED = "limited"
    WITHHOLD = "withhold"
    HOLD = "hold"


class Reason(StrEnum):
    """Why: the closed list. Texts for people are in `policy/words.py`."""

    GRANTED = "granted"  #: all required purposes are granted
    NOT_NEEDED = "not_needed"  #: `needs: nothing`, with its `because`
    LIMITED = "limited"  #: refused, but the policy has `if_refused: send_limited`
    CONSENT_DENIED = "consent_denied"
    CONSENT_UNKNOWN = "consent_unknown"
    VENDOR_DENIED = "vendor_denied"
    EVENT_NOT_LISTED = "event_not_listed"  #: the policy's `events` does not name this event
    NOT_IN_POLICY = "not_in_policy"  #: configured, but the policy in force does not name it
    NO_POLICY = "no_policy"  #: no policy governs this place
    DISABLED = "disabled"  #: kill switch
    PERSONAL_DATA = "personal_data"  #: `drop_event`: personal data where it must not be
    HELD = "held"  #: parked until the visitor decides
    TOO_MANY_HELD = "too_many_held"  #: it would wait for the visitor, but as many as may be are parked already


class Outcome(StrEnum):
    """How one (event, destination) ended. Exactly one each (DESIGN §1.4)."""

    DELIVERED = "delivered"
    ACCEPTED_UNVERIFIED = "accepted_unverified"
    WITHHELD = "withheld"
    DUPLICATE = "duplicate"
    UNMAPPED = "unmapped"
    INVALID = "invalid"
    REJECTED = "rejected"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    ERASED = "erased"
    UNKNOWN = "unknown"


class RawRequest(msgspec.Struct, frozen=True, gc=False):
    """A request free of any framework. Headers are allow-listed, lower-case, in order, repeats kept."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    peer: str  #: the visitor's address as far as trusted proxies vouch for it
    received_ms: int
    cookies: tuple[tuple[str, str], ...] = ()  #: allow-listed names only, in header order
    site: str = ""
    trust: Trust = Trust.BROWSER

    def header(self, name: str) -> str | None:
        """First value of a header (lower-case name), or None."""
        return next((v for k, v in self.headers if k == name), None)

    def __repr__(self) -> str:
        return f"RawRequest({self.method} {self.path}, {len(self.body)} bytes)"


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event. May hold personal data: never serialised, never shown beyond id and name."""

    id: str
    name: str
    time_ms: int
    received_ms: int
    site: str
    dialect: str
    trust: Trust
    fields: Mapping[str, Value]  #: dotted path of `fields.py` → value; holds event.* too
    subjects: tuple[str, ...] = ()  #: "user:…", "client:…": raw, the strongest first

    def __repr__(self) -> str:
        return f"Event(id={self.id!r}, name={self.name!r})"


class Signals(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """The raw consent evidence found on a request and its event. Hashable: resolution is cached on it."""

    purposes: tuple[tuple[str, str], ...] = ()  #: explicit: purpose → granted | denied
    categories: tuple[tuple[str, bool], ...] = ()  #: explicit: CMP category → allowed
    tcf: str | None = None
    gdpr_applies: bool | None = None
    addtl_consent: str | None = None
    gpp: str | None = None
    gpp_sid: tuple[int, ...] | None = None
    us_privacy: str | None = None
    gcs: str | None = None
    gcd: str | None = None
    npa: str | None = None
    dma: str | None = None
    gpc: bool = False  #: Sec-GPC header or the payload's own reading
    dnt: bool | None = None
    cmp_cookies: tuple[tuple[str, str], ...] = ()  #: consent cookies as received, first of a name
    malformed: tuple[str, ...] = ()  #: signals present in a form that cannot be read at all
    choice_ms: int | None = None  #: when the visitor chose, if the sender says so

    def __repr__(self) -> str:
        return f"Signals({', '.join(self.present()) or 'none'})"

    def present(self) -> tuple[str, ...]:
        """Names of the signals found, for logs and stories."""
        names = ("purposes", "categories", "tcf", "addtl_consent", "gpp", "us_privacy", "gcs", "gcd", "gpc", "dnt")
        found = tuple(n for n in names if getattr(self, n) not in (None, False, ()))
        return found + (("cmp_cookies",) if self.cmp_cookies else ()) + self.malformed


@dataclass(frozen=True, slots=True)
class Place:
    """Where the visitor is. `country` ISO 3166-1 alpha-2, `region` like `US-CA`; None = unknown."""

    country: str | None = None
    region: str | None = None
    source: str = "unknown"  #: which header, database or sender said so


@dataclass(frozen=True, slots=True)
class PurposeRule:
    """How one purpose of a policy is read from the signals."""

    name: str
    tcf: tuple[int, ...] = ()
    google: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    refused_by_gpc: bool = False  #: also by US Privacy and GPP opt-outs: it is a sale or sharing
    line: int = 0


@dataclass(frozen=True, slots=True)
class VendorRule:
    """A vendor that must be permitted for a destination where a TC or AC string is the evidence."""

    destination: str
    tcf: int | None
    google_ac: int | None
    purposes: tuple[int, ...]  #: TCF ids of the destination's required purposes


@dataclass(frozen=True, slots=True)
class ConsentRules:
    """The `consent:` part of a policy, compiled. Hashable."""

    model: Model
    read_from: tuple[str, ...]
    if_missing: str  #: refused | allowed | hold
    if_sources_disagree: str  #: most_protective | first_listed
    purposes: tuple[PurposeRule, ...]
    vendors: tuple[VendorRule, ...] = ()
    hold_for_s: int = 0
    honor_dnt: bool = False
    strict_mspa: bool = False  #: also refuse what Prebid's stricter reading of GPP's US sections refuses
    strict_usp: bool = False  #: also refuse a US Privacy string that does not tell whether notice was given
    line: int = 0


@dataclass(frozen=True, slots=True)
class PurposeConsent:
    """State of one purpose and what decided it."""

    state: ConsentState
    source: str  #: signal name, or "default" / "none"
    rule: str  #: a sentence without personal data, e.g. "purposes 1, 8 granted"


@dataclass(frozen=True, slots=True)
class SignalReading:
    """What one signal said: kept as evidence, without the raw string."""

    signal: str
    valid: bool
    says: str  #: e.g. "analytics granted, advertising denied" or the reason it was refused
    digest: str = ""  #: SHA-256 hex of the raw string
    choice_made: bool | None = None


@dataclass(frozen=True, slots=True)
class Consent:
    """What this visitor has allowed, under one policy's rules."""

    model: Model
    purposes: Mapping[str, PurposeConsent]
    vendors: Mapping[str, ConsentState] = field(default_factory=lambda: EMPTY)  #: destination → state; absent = no TC evidence
    readings: tuple[SignalReading, ...] = ()
    choice_made: bool | None = None
    google: Mapping[str, ConsentState] = field(default_factory=lambda: EMPTY)  #: ad_user_data … for platforms that take it

    def state(self, purpose: str) -> ConsentState:
        """State of a purpose; one that the rules do not know is unknown."""
        found = self.purposes.get(purpose)
        return found.state if found else ConsentState.UNKNOWN


@dataclass(frozen=True, slots=True)
class Decision:
    """For one event and one destination: what happens and which line of which policy said so."""

    destination: str
    verdict: Verdict
    reason: Reason
    detail: str = ""  #: closed words: the purpose that was missing …
    policy: str = ""  #: SHA-256 hex digest of the policy file
    rule: str = ""  #: "eu.yaml:31"
    fields: tuple[str, ...] = ()  #: paths that leave
    removed: tuple[str, ...] = ()  #: paths the event had and this destination does not get
    hashed: tuple[str, ...] = ()

    @property
    def sends(self) -> bool:
        """True when something leaves now."""
        return self.verdict in (Verdict.SEND, Verdict.LIMITED)


@dataclass(frozen=True, slots=True, repr=False)
class CleanEvent:
    """What may leave to one destination. Only `policy/clean.py` makes one (a test holds that)."""

    destination: str
    id: str
    name: str
    time_ms: int
    site: str
    fields: Mapping[str, Value]
    hashed: frozenset[str] = frozenset()  #: paths whose values are already SHA-256 hex
    flags: Mapping[str, Scalar] = field(default_factory=lambda: EMPTY)  #: `add:` of send_limited
    consent: Mapping[str, str] = field(default_factory=lambda: EMPTY)  #: purpose → state at receipt
    google: Mapping[str, str] = field(default_factory=lambda: EMPTY)  #: ad_user_data … → granted | denied
    expires_ms: int = 0  #: never sent after this; 0 = no policy limit
    needs: tuple[str, ...] = ()  #: purposes that must still be granted when it is sent
    limited: bool = False  #: sent under `if_refused: send_limited`
    policy: str = ""  #: digest of the policy that decided
    policy_file: str = ""  #: its file name: the policy that must still agree when it is sent

    def get(self, path: str) -> Value | None:
        """A field's value, or None when the policy did not let it out."""
        return self.fields.get(path)

    def __repr__(self) -> str:
        return f"CleanEvent({self.destination}, id={self.id!r}, name={self.name!r})"
