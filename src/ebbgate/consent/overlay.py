"""What a visitor's recorded choices add to the consent of one event (DESIGN §1.5). Pure.

A recorded refusal always counts, whatever the event's own signals say: absence or an old grant does not undo an opt-out. A recorded
grant fills in only where nothing else is known; it never overrides a refusal (specs/consent.md, ground rule 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from ebbgate.model import Consent, ConsentRules, ConsentState, PurposeConsent

CHOICE: Final = "choice"  #: the source named in stories and log entries
_KEPT: Final = 4096
_REFUSED = PurposeConsent(ConsentState.DENIED, CHOICE, "the visitor refused or withdrew it here")
_ALLOWED = PurposeConsent(ConsentState.GRANTED, CHOICE, "the visitor allowed it here")

_found: dict[tuple[int, tuple[tuple[str, str], ...]], tuple[Consent, Consent]] = {}


def with_choices(consent: Consent, rules: ConsentRules, states: tuple[tuple[str, str], ...]) -> Consent:
    """`consent` under the ledger's `states`: (purpose, granted | denied), sorted. The same object for the same two."""
    key = (id(consent), states)
    known = _found.get(key)
    if known is not None and known[0] is consent:
        return known[1]
    result = _overlaid(consent, rules, dict(states))
    while len(_found) >= _KEPT:
        _found.pop(next(iter(_found)), None)
    _found[key] = (consent, result)
    return result


def _overlaid(consent: Consent, rules: ConsentRules, states: Mapping[str, str]) -> Consent:
    purposes = dict(consent.purposes)
    for name, now in consent.purposes.items():
        said = states.get(name)
        if said is None:
            continue
        if said != ConsentState.GRANTED:
            purposes[name] = _REFUSED
        elif now.state is ConsentState.UNKNOWN or now.source == "default":
            purposes[name] = _ALLOWED
    if purposes == consent.purposes:
        return consent
    return replace(consent, purposes=purposes, google=google_states(rules, purposes), choice_made=True)


def google_states(rules: ConsentRules, purposes: Mapping[str, PurposeConsent]) -> dict[str, ConsentState]:
    """ad_storage, ad_user_data …: granted only when every purpose that names the signal is granted, else denied."""
    signals: Iterable[str] = dict.fromkeys(signal for rule in rules.purposes for signal in rule.google)
    return {
        signal: ConsentState.GRANTED
        if all(purposes[r.name].state is ConsentState.GRANTED for r in rules.purposes if signal in r.google)
        else ConsentState.DENIED
        for signal in signals
    }
