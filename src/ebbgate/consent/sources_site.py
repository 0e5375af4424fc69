"""What the site and its tags say, as evidence: the event itself, Google consent mode, CMP cookies (specs/consent.md §4, §5)."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ebbgate.consent.cmp_cookies.reading import CmpReading
from ebbgate.consent.evidence import Case, Evidence, Opinion, opinions, refuse, unreadable
from ebbgate.consent.google import consent_mode
from ebbgate.model import ConsentState, PurposeRule

#: What `gcs` can decide.
_GCS_SIGNALS = frozenset({"ad_storage", "analytics_storage"})


def read_event(case: Case) -> Evidence:
    """Explicit purposes by name and categories by the rule's words; an answer given twice must be a yes twice.

    A refusal counts under any of a purpose's words in either list and without regard to case; a grant only where it belongs.
    """
    purposes: dict[str, bool] = {}
    for name, state in case.signals.purposes:
        purposes[name] = purposes.get(name, True) and state == ConsentState.GRANTED.value
    categories = _by_word(case.signals.categories)
    refused = {name.casefold() for name, granted in purposes.items() if not granted}
    refused |= {word for word, allowed in categories.items() if not allowed}

    def about(rule: PurposeRule) -> Opinion | None:
        by_name, by_category = purposes.get(rule.name), _allowed(rule, categories)
        if by_name is False:
            return ConsentState.DENIED, "the event says denied"
        if by_category is False:
            return ConsentState.DENIED, "a category of this purpose is refused in the event"
        if not refused.isdisjoint(map(str.casefold, (rule.name, *rule.categories))):
            return ConsentState.DENIED, "the event refuses it under another of its words"
        if by_name is True:
            return ConsentState.GRANTED, "the event says granted"
        return (ConsentState.GRANTED, "its categories are allowed in the event") if by_category else None

    raw = json.dumps([case.signals.purposes, case.signals.categories], separators=(",", ":"))
    return Evidence("event", "event", raw, opinions(case.rules.purposes, about), choice_made=True)


def read_google(case: Case) -> list[Evidence]:
    """`gcs`, `gcd` and `npa` of one hit together; all Google signals of a purpose must be granted."""
    signals = case.signals
    mode = consent_mode(signals.gcs, signals.gcd, signals.npa)
    raw = json.dumps([signals.gcs, signals.gcd, signals.npa], separators=(",", ":"))

    def about(rule: PurposeRule) -> Opinion | None:
        states = {name: mode.state(name) for name in rule.google}
        denied = [name for name, state in states.items() if state is ConsentState.DENIED]
        if denied:
            return ConsentState.DENIED, f"{', '.join(denied)} denied"
        if states and all(state is ConsentState.GRANTED for state in states.values()):
            return ConsentState.GRANTED, f"{', '.join(states)} granted"
        return None

    found = [Evidence("google_consent_mode", "google_consent_mode", raw, opinions(case.rules.purposes, about))]
    for parameter, why in mode.problems:
        found.append(unreadable_google(case, parameter, why))
    return found


def unreadable_google(case: Case, parameter: str, why: str) -> Evidence:
    """A parameter of consent mode that is there and cannot be read."""
    raw = {"gcs": case.signals.gcs, "gcd": case.signals.gcd, "npa": case.signals.npa}.get(parameter) or ""

    def concerns(rule: PurposeRule) -> bool:
        if parameter == "gcs":
            return not _GCS_SIGNALS.isdisjoint(rule.google)
        return "ad_personalization" in rule.google if parameter == "npa" else bool(rule.google)

    return unreadable(case, "google_consent_mode", parameter, raw, why, concerns)


def read_cmp(case: Case, reading: CmpReading) -> Evidence:
    """One platform's categories. Only a choice grants; what the platform refuses by default refuses under opt-out.

    The evidence kept is a digest of all consent cookies as received.
    """
    raw = "; ".join(f"{name}={value}" for name, value in case.signals.cmp_cookies)
    signal = f"cmp_cookie {reading.cmp}"
    if reading.opaque:
        return Evidence("cmp_cookie", signal, raw, note="present, but not readable by servers")
    if not reading.decoded:
        return unreadable(case, "cmp_cookie", signal, raw, "cannot be read", lambda rule: bool(rule.categories))
    if reading.expires_ms is not None and reading.expires_ms < case.now_ms:
        return unreadable(case, "cmp_cookie", signal, raw, "expired", lambda rule: bool(rule.categories))
    if reading.refuses_all:
        said = refuse(case.rules.purposes, lambda _: True, f"{reading.cmp}: everything refused")
        return Evidence("cmp_cookie", signal, raw, said, choice_made=True)
    answers = _by_word([*reading.categories.items(), *reading.normalized.items()])

    def about(rule: PurposeRule) -> Opinion | None:
        allowed = _allowed(rule, answers)
        if allowed is False and (reading.choice_made is not False or not case.opt_in):
            return ConsentState.DENIED, f"{reading.cmp}: a category of this purpose is refused"
        if allowed is True and reading.choice_made is True:
            return ConsentState.GRANTED, f"{reading.cmp}: its categories are allowed"
        return None

    note = "" if reading.choice_made else "no choice made" if reading.choice_made is False else "choice not told"
    said = opinions(case.rules.purposes, about)
    return Evidence("cmp_cookie", signal, raw, said, note=note, choice_made=reading.choice_made)


def _by_word(answers: Iterable[tuple[str, bool]]) -> dict[str, bool]:
    """Answers by name without regard to case; a name given twice must be a yes twice."""
    found: dict[str, bool] = {}
    for name, allowed in answers:
        word = name.casefold()
        found[word] = found.get(word, True) and allowed
    return found


def _allowed(rule: PurposeRule, answers: dict[str, bool]) -> bool | None:
    """Whether the categories of a purpose that were answered are all allowed; None when none was."""
    given = [answers[word] for word in map(str.casefold, rule.categories) if word in answers]
    return all(given) if given else None
