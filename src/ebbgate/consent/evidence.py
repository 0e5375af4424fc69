"""What one signal says about the purposes of a policy: the common form that `resolve.py` combines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ebbgate.model import EMPTY, ConsentRules, ConsentState, Model, Place, PurposeRule, SignalReading, Signals

#: Words of `read_from`: a closed list.
SOURCES: Final = (
    "event", "tcf", "tcf_publisher", "gpp", "google_consent_mode", "cmp_cookie", "us_privacy", "gpc", "dnt",
)  # fmt: skip

#: State and why, in words of the policy and of the standards: never a value of the visitor's. UNKNOWN is an opinion too: it
#: takes silence's place where consent is due and missing, so that no default applies.
Opinion = tuple[ConsentState, str]

NOT_READ: Final = "not read by this policy"


@dataclass(frozen=True, slots=True)
class Case:
    """One resolution: all that a source may look at."""

    signals: Signals
    place: Place
    rules: ConsentRules
    now_ms: int

    @property
    def opt_in(self) -> bool:
        """True where silence is a no."""
        return self.rules.model is Model.OPT_IN

    def reads(self, source: str) -> bool:
        """True when the policy lists a source in `read_from`."""
        return source in self.rules.read_from


@dataclass(frozen=True, slots=True)
class Evidence:
    """One signal found. A purpose without an opinion was not spoken of.

    `binding`: a refusal that also holds where another source is listed first (opt-outs, unreadable signals).
    """

    source: str
    signal: str
    raw: str = ""
    opinions: Mapping[str, Opinion] = field(default_factory=lambda: EMPTY)
    valid: bool = True
    note: str = ""
    choice_made: bool | None = None
    binding: bool = False

    def reading(self) -> SignalReading:
        """The record kept of it: what it said, and a digest of the string instead of the string."""
        said = ", ".join(f"{purpose} {state.value}" for purpose, (state, _) in self.opinions.items())
        says = f"{self.note}: {said}" if self.note and said else self.note or said or "nothing about these purposes"
        return SignalReading(self.signal, self.valid, says, digest(self.raw), self.choice_made)


def digest(raw: str) -> str:
    """SHA-256 hex of a raw signal; empty for a signal without a string."""
    return hashlib.sha256(raw.encode("utf-8", "surrogatepass")).hexdigest() if raw else ""


def not_read(source: str, signal: str, raw: str) -> Evidence:
    """A signal that the policy does not list: kept as evidence of what was there, without weight."""
    return Evidence(source, signal, raw, note=NOT_READ)


def opinions(rules: Iterable[PurposeRule], about: Callable[[PurposeRule], Opinion | None]) -> dict[str, Opinion]:
    """Ask `about` for each purpose and keep the answers."""
    found: dict[str, Opinion] = {}
    for rule in rules:
        opinion = about(rule)
        if opinion is not None:
            found[rule.name] = opinion
    return found


def missing(case: Case, source: str, why: str, concerns: Callable[[PurposeRule], bool]) -> Evidence:
    """Consent that is due by the sender's own word and was not sent: unknown, also where silence would be allowed."""
    said = {rule.name: (ConsentState.UNKNOWN, f"{source}: {why}") for rule in case.rules.purposes if concerns(rule)}
    return Evidence(source, source, opinions=said, valid=False, note=why)


def refuse(rules: Iterable[PurposeRule], concerns: Callable[[PurposeRule], bool], why: str) -> dict[str, Opinion]:
    """A refusal of every purpose that `concerns` picks."""
    return {rule.name: (ConsentState.DENIED, why) for rule in rules if concerns(rule)}


def unreadable(case: Case, source: str, signal: str, raw: str, why: str, concerns: Callable[[PurposeRule], bool]) -> Evidence:
    """A signal that is there but does not count: it refuses every purpose it could have decided (ground rule 1)."""
    return Evidence(
        source, signal, raw, refuse(case.rules.purposes, concerns, f"{signal}: {why}"), valid=False, note=why, binding=True
    )
