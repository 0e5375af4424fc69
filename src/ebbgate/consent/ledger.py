"""Choices over time: the rules of the consent ledger (DESIGN §1.5, specs/consent.md §7). Pure; storage and HTTP are elsewhere.

A subject's ledger is purpose → `Choice`. An event carries the consent in force when it was received and keeps it unchanged;
what may still leave later is that receipt AND the ledger now. A later grant never widens an old receipt, except for events
that were held for exactly that decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ebbgate.consent.tcf_permit import MAX_AGE_MS, MAX_AHEAD_MS
from ebbgate.model import ConsentRules, ConsentState

_GRANTED: Final = ConsentState.GRANTED.value
_DENIED: Final = ConsentState.DENIED.value


@dataclass(frozen=True, slots=True)
class Choice:
    """One recorded choice about one purpose: granted or denied, when (milliseconds since 1970 UTC), and through what."""

    state: ConsentState
    chosen_ms: int
    source: str = "event"


Ledger = Mapping[str, Choice]


def merge(stored: Ledger, new: Ledger, now_ms: int) -> dict[str, Choice]:
    """Lay new choices over stored ones: the newest wins, and of two at the same time the refusal.

    A choice is granted or denied; anything else is not recorded. A time more than a day ahead is brought back to now, so that
    no clock error can outlast the visitor's next choice.
    """
    merged = dict(stored)
    for purpose, choice in new.items():
        if choice.state is ConsentState.UNKNOWN:
            continue
        at = choice if choice.chosen_ms <= now_ms + MAX_AHEAD_MS else Choice(choice.state, now_ms, choice.source)
        old = merged.get(purpose)
        refused_at_once = old is not None and at.chosen_ms == old.chosen_ms and at.state is ConsentState.DENIED
        if old is None or at.chosen_ms > old.chosen_ms or refused_at_once:
            merged[purpose] = at
    return merged


def withdrawal(purposes: Iterable[str], now_ms: int, source: str = "withdrawal") -> dict[str, Choice]:
    """A refusal of each purpose as of now."""
    return {purpose: Choice(ConsentState.DENIED, now_ms, source) for purpose in purposes}


def in_force(ledger: Ledger, now_ms: int, max_age_ms: int = MAX_AGE_MS) -> dict[str, str]:
    """The ledger as states that count at `now_ms`: a grant older than 13 months has ended, a refusal never does."""
    return {
        purpose: choice.state.value
        for purpose, choice in ledger.items()
        if choice.state is ConsentState.DENIED or choice.chosen_ms >= now_ms - max_age_ms
    }


def still_allowed(receipt: Mapping[str, str], needs: Iterable[str], ledger: Mapping[str, str]) -> bool:
    """Receipt AND now: every needed purpose was granted at receipt and is not refused in the ledger.

    `ledger`: purpose → state as from `in_force`. A purpose the ledger does not know was never withdrawn; a word other than
    granted counts as refused. With nothing needed the answer is yes: the policy asked for no consent.
    """
    return all(receipt.get(purpose) == _GRANTED and ledger.get(purpose, _GRANTED) == _GRANTED for purpose in needs)


def withdrawn(receipt: Mapping[str, str], needs: Iterable[str], ledger: Mapping[str, str]) -> tuple[str, ...]:
    """The needed purposes that stand in the way of sending, in the order asked: the reason for the log."""
    return tuple(purpose for purpose in needs if not still_allowed(receipt, (purpose,), ledger))


def google_now(rules: ConsentRules, states: Mapping[str, str], receipt: Mapping[str, str], *, may_grant: bool) -> dict[str, str]:
    """ad_user_data … under the purposes' `states` now: granted only when every purpose that names the signal is granted.

    Only signals of the `receipt` (signal → granted | denied). With `may_grant` False, because the rules are not those of the
    receipt, a signal can only be taken back.
    """
    found: dict[str, str] = {}
    for signal, then in receipt.items():
        naming = [rule.name for rule in rules.purposes if signal in rule.google]
        granted = bool(naming) and all(states.get(name) == _GRANTED for name in naming)
        found[signal] = _GRANTED if granted and (may_grant or then == _GRANTED) else _DENIED
    return found


class Held(StrEnum):
    """What becomes of an event that waits for its visitor's decision."""

    WAIT = "wait"
    RELEASE = "release"
    SHRED = "shred"


def held(needs: Iterable[str], receipt: Mapping[str, str], ledger: Mapping[str, str], expires_ms: int, now_ms: int) -> Held:
    """Release when every needed purpose is now granted, shred on any refusal or at `expires_ms`, otherwise wait.

    A purpose refused at receipt stays refused. One that was granted at receipt need not be granted again.
    """
    if now_ms >= expires_ms:
        return Held.SHRED
    waiting = False
    for purpose in needs:
        now, then = ledger.get(purpose), receipt.get(purpose)
        if then == _DENIED or (now is not None and now != _GRANTED):
            return Held.SHRED
        waiting = waiting or (now != _GRANTED and then != _GRANTED)
    return Held.WAIT if waiting else Held.RELEASE
