"""Signals + Place → Consent under one policy's rules: the way into this stage (specs/consent.md, ground rules).

Each signal gives evidence: granted, denied or nothing about each purpose. Explicit denials win over any grant; what nobody
spoke of is what `if_missing` says. Only sources of `read_from` count, except that GPC always refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Final

from ebbgate.consent import cmp_cookies, sources_site, sources_tcf, sources_us
from ebbgate.consent.evidence import Case, Evidence, missing, not_read, unreadable
from ebbgate.consent.tcf import TcString
from ebbgate.model import (
    Consent,
    ConsentRules,
    ConsentState,
    Model,
    Place,
    PurposeConsent,
    PurposeRule,
    Signals,
)

_MINUTE_MS: Final = 60_000
#: Malformed parts of `Signals` → the source they belong to. Those that can only refuse are handled by name below.
_MALFORMED_SOURCE: Final = {
    "purposes": "event",
    "categories": "event",
    "tcf": "tcf",
    "gdpr_applies": "tcf",
    "addtl_consent": "tcf",
    "gpp": "gpp",
    "gpp_sid": "gpp",
    "us_privacy": "us_privacy",
    "gcs": "google_consent_mode",
    "gcd": "google_consent_mode",
    "npa": "google_consent_mode",
    "cmp_cookies": "cmp_cookie",
    "dnt": "dnt",
}
#: Malformed parts that decide nothing.
_HARMLESS: Final = frozenset({"dma", "time"})


def resolve(signals: Signals, place: Place, rules: ConsentRules, now_ms: int) -> Consent:
    """What this visitor has allowed. Never raises for anything in `signals`; `now_ms` is milliseconds since 1970 UTC."""
    case = Case(signals, place, rules, now_ms)
    evidence, strings, additional = _collect(case)
    purposes = {rule.name: _decide(rule, rules, evidence) for rule in rules.purposes}
    return Consent(
        model=rules.model,
        purposes=MappingProxyType(purposes),
        vendors=MappingProxyType(sources_tcf.vendor_states(rules.vendors, strings, additional)),
        readings=tuple(one.reading() for one in evidence),
        choice_made=_choice_made(evidence),
        google=MappingProxyType(_google(rules.purposes, purposes)),
    )


def _collect(case: Case) -> tuple[list[Evidence], list[TcString | None], list[str]]:
    """All evidence; the TC strings that apply (None for one that does not count); the AC strings."""
    signals = case.signals
    evidence: list[Evidence] = []
    tc: list[sources_tcf.TcfEvidence] = []
    additional: list[str] = []
    if signals.addtl_consent is not None and case.reads("tcf"):
        additional.append(signals.addtl_consent)
    elif signals.addtl_consent is not None:
        evidence.append(not_read("tcf", "addtl_consent", signals.addtl_consent))
    if signals.gpc or "gpc" in signals.malformed:
        evidence.append(sources_us.read_gpc(case, "Sec-GPC" if signals.gpc else "a GPC signal that cannot be read"))
    if signals.purposes or signals.categories:
        evidence.append(sources_site.read_event(case) if case.reads("event") else not_read("event", "event", ""))
    if signals.tcf is not None:
        if case.reads("tcf"):
            tc.append(sources_tcf.read(case, "tcf", "tcf", signals.tcf))
        if case.reads("tcf_publisher"):
            evidence.append(sources_tcf.read_publisher(case, signals.tcf))
        elif not case.reads("tcf"):
            evidence.append(not_read("tcf", "tcf", signals.tcf))
    if signals.gpp is not None:
        if case.reads("gpp"):
            sections, section_2 = sources_us.read_gpp(case, signals.gpp)
            evidence += sections
            tc += [section_2] if section_2 else []
        else:
            evidence.append(not_read("gpp", "gpp", signals.gpp))
    elif signals.gpp_sid and case.reads("gpp") and any(section > 0 for section in signals.gpp_sid):
        evidence.append(missing(case, "gpp", "sections in force, but no string", sources_us.concerns_gpp))
    if signals.us_privacy is not None:
        read = case.reads("us_privacy")
        evidence.append(
            sources_us.read_us_privacy(case, signals.us_privacy)
            if read
            else not_read("us_privacy", "us_privacy", signals.us_privacy)
        )
    if signals.gcs is not None or signals.gcd is not None or signals.npa is not None:
        if case.reads("google_consent_mode"):
            evidence += sources_site.read_google(case)
        else:
            evidence.append(not_read("google_consent_mode", "google_consent_mode", signals.gcd or signals.gcs or ""))
    _collect_cookies(case, evidence, tc, additional)
    if signals.dnt is not None:
        evidence.append(sources_us.read_dnt(case))
    evidence += [one.evidence for one in tc]
    evidence += [sources_tcf.read_additional(raw) for raw in additional]
    evidence += _malformed(case)
    if not tc and signals.gdpr_applies is True and case.reads("tcf"):
        # No string while GDPR applies is no consent (specs/consent.md §1.5).
        evidence.append(missing(case, "tcf", "GDPR applies, but no string", lambda rule: bool(rule.tcf)))
    return evidence, [one.string for one in tc if one.applies], additional


def _collect_cookies(case: Case, evidence: list[Evidence], tc: list[sources_tcf.TcfEvidence], additional: list[str]) -> None:
    """Consent platforms' cookies: categories, the GPC they recorded, the strings beside them, and `usprivacy`."""
    cookies = case.signals.cmp_cookies
    if not cookies:
        return
    for reading in cmp_cookies.read_all(cookies):
        if reading.gpc is True:
            evidence.append(sources_us.read_gpc(case, f"GPC as recorded by {reading.cmp}"))
        if not case.reads("cmp_cookie"):
            evidence.append(not_read("cmp_cookie", f"cmp_cookie {reading.cmp}", ""))
            continue
        evidence.append(sources_site.read_cmp(case, reading))
        if reading.tc_string is not None:
            tc.append(sources_tcf.read(case, "cmp_cookie", f"cmp_cookie {reading.cmp} tcf", reading.tc_string))
            if case.reads("tcf_publisher"):
                evidence.append(sources_tcf.read_publisher(case, reading.tc_string))
        if reading.ac_string is not None:
            additional.append(reading.ac_string)
    usp = next((value for name, value in cookies if name == "usprivacy"), None)
    if usp is not None:
        evidence.append(
            sources_us.read_us_privacy(case, usp) if case.reads("us_privacy") else not_read("us_privacy", "us_privacy cookie", usp)
        )


def _malformed(case: Case) -> list[Evidence]:
    """Signals that could not even be taken apart: each refuses what it could have decided."""
    found: list[Evidence] = []
    for name in case.signals.malformed:
        source = _MALFORMED_SOURCE.get(name)
        if name in _HARMLESS or name == "gpc":
            continue
        if source is None:
            # The whole consent object, or a part this version does not know: it might have refused anything.
            found.append(unreadable(case, "event", name, "", "cannot be read", lambda _: True))
        elif source == "dnt":
            if case.rules.honor_dnt or case.reads("dnt"):
                found.append(unreadable(case, source, name, "", "cannot be read", sources_us.is_sale))
        elif not case.reads(source) and not (source == "tcf" and case.reads("tcf_publisher")):
            found.append(not_read(source, name, ""))
        elif source == "google_consent_mode":
            found.append(sources_site.unreadable_google(case, name, "cannot be read"))
        else:
            found.append(unreadable(case, source, name, "", "cannot be read", partial(_concerns, name)))
    return found


def _concerns(name: str, rule: PurposeRule) -> bool:
    """Which purposes a malformed part could have decided."""
    match name:
        case "purposes":
            return True
        case "categories" | "cmp_cookies":
            return bool(rule.categories)
        case "gpp" | "gpp_sid":
            return sources_us.concerns_gpp(rule)
        case "us_privacy":
            return rule.refused_by_gpc
        case _:
            return bool(rule.tcf)


def _decide(rule: PurposeRule, rules: ConsentRules, evidence: Sequence[Evidence]) -> PurposeConsent:
    """Combine what was said about one purpose."""
    found = [(one, *one.opinions[rule.name]) for one in evidence if rule.name in one.opinions]
    said = [entry for entry in found if entry[1] is not ConsentState.UNKNOWN]
    if rules.if_sources_disagree == "first_listed":
        binding = [entry for entry in said if entry[0].binding and rule.refused_by_gpc]
        first = min(said, key=lambda entry: _rank(rules, entry[0].source), default=None)
        said = binding or [entry for entry in said if first and entry[0].source == first[0].source]
    for one, state, why in said:
        if state is ConsentState.DENIED:
            return PurposeConsent(state, one.source, why)
    if said or found:
        one, state, why = (said or found)[0]
        return PurposeConsent(state, one.source, why)
    if rules.model is Model.OPT_OUT and rules.if_missing == "allowed":
        return PurposeConsent(ConsentState.GRANTED, "default", "nothing was said; the policy allows until someone objects")
    return PurposeConsent(ConsentState.UNKNOWN, "none", "nothing was said")


def _rank(rules: ConsentRules, source: str) -> int:
    """Place of a source in `read_from`; sources that count without being listed come first."""
    return rules.read_from.index(source) if source in rules.read_from else -1


def _choice_made(evidence: Iterable[Evidence]) -> bool | None:
    """True when any signal records a choice, False when one says there was none."""
    told = {one.choice_made for one in evidence if one.valid}
    return True if True in told else False if False in told else None


def _google(rules: Iterable[PurposeRule], purposes: dict[str, PurposeConsent]) -> dict[str, ConsentState]:
    """States of Google's signals for platforms that take them: granted only if every purpose naming the signal is."""
    found: dict[str, ConsentState] = {}
    for rule in rules:
        for name in rule.google:
            granted = purposes[rule.name].state is ConsentState.GRANTED
            if not granted or name not in found:
                found[name] = ConsentState.GRANTED if granted else ConsentState.DENIED
    return found


class Resolver:
    """`resolve` behind a bounded LRU cache. Time counts in whole minutes, so that a visitor's next events hit the cache."""

    def __init__(self, size: int = 16_384) -> None:
        #: Keeps the rules alive: their ids are part of the cache key.
        self._rules: dict[int, ConsentRules] = {}
        self._cached = lru_cache(maxsize=size)(self._resolve)

    def resolve(self, signals: Signals, place: Place, rules: ConsentRules, now_ms: int) -> Consent:
        """As `resolve`, at the beginning of the minute that holds `now_ms`."""
        number = id(rules)
        if self._rules.get(number) is not rules:
            self._remember(number, rules)
        return self._cached(signals, place.country, place.region, number, now_ms // _MINUTE_MS)

    def _remember(self, number: int, rules: ConsentRules) -> None:
        """New rules after a reload: those of replaced policies are let go together with their results."""
        if len(self._rules) >= 64:
            self._cached.cache_clear()
            self._rules.clear()
        self._rules[number] = rules

    def _resolve(self, signals: Signals, country: str | None, region: str | None, number: int, minute: int) -> Consent:
        return resolve(signals, Place(country, region), self._rules[number], minute * _MINUTE_MS)
