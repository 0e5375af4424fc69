from __future__ import annotations

from dataclasses import replace

from ebbgate.consent.resolve import Resolver, resolve
from ebbgate.model import Consent, ConsentRules, ConsentState, Place, PurposeRule, Signals, VendorRule
from tests.unit.consent.build import ACCEPT_ALL, NOW_MS, REJECT_ALL, Tc, gpp
from tests.unit.consent.rules import CALIFORNIA, EU, GERMANY, US, D, G, U


def test_vendors_by_tc_string() -> None:
    """A TC string decides the vendors that a policy names; without one there is no vendor evidence."""

    def vendors(signals: Signals, rules: ConsentRules = EU) -> dict[str, ConsentState]:
        return dict(resolve(signals, GERMANY, rules, NOW_MS).vendors)

    assert vendors(Signals(gcd="13r3r3r3r5")) == {}
    assert vendors(Signals(tcf=ACCEPT_ALL)) == {"ga4": G, "meta": U}
    assert vendors(Signals(tcf=ACCEPT_ALL, addtl_consent="2~89~dv.")) == {"ga4": G, "meta": G}
    assert vendors(Signals(tcf=ACCEPT_ALL, addtl_consent="2~1~dv.89")) == {"ga4": G, "meta": D}
    assert vendors(Signals(tcf=ACCEPT_ALL, addtl_consent="nonsense")) == {"ga4": G, "meta": D}
    assert vendors(Signals(addtl_consent="2~89~dv.")) == {}
    assert vendors(Signals(addtl_consent="nonsense")) == {"meta": D}
    assert vendors(Signals(tcf="garbage", addtl_consent="2~89~dv.")) == {"ga4": D, "meta": D}
    assert vendors(Signals(tcf=Tc(purposes=(1, 8), vendors=()).encode())) == {"ga4": D, "meta": U}
    assert vendors(Signals(tcf=Tc(purposes=(1, 8), vendors=(755,), disclosed=()).encode())) == {"ga4": D, "meta": U}
    assert vendors(Signals(tcf=ACCEPT_ALL, gpp=gpp([(2, REJECT_ALL)]))) == {"ga4": D, "meta": U}
    cookies = (("euconsent-v2", ACCEPT_ALL), ("addtl_consent", "2~89~dv."))
    assert vendors(Signals(cmp_cookies=cookies)) == {"ga4": G, "meta": G}
    no_purposes = replace(EU, vendors=(VendorRule("ga4", 755, None, ()),))
    assert vendors(Signals(tcf=ACCEPT_ALL), no_purposes) == {"ga4": G}
    assert vendors(Signals(tcf=REJECT_ALL), no_purposes) == {"ga4": D}
    assert vendors(Signals(tcf=Tc(vendors=(755,), disclosed=()).encode()), no_purposes) == {"ga4": D}


def test_google_states_for_platforms() -> None:
    """A Google signal is granted only when every purpose that names it is."""
    rules = replace(EU, purposes=(*EU.purposes, PurposeRule("measurement", google=("ad_storage",))))
    granted = Signals(purposes=(("analytics", "granted"), ("advertising", "granted")))
    consent = resolve(granted, GERMANY, rules, NOW_MS)
    assert consent.google == {"analytics_storage": G, "ad_storage": D, "ad_user_data": G, "ad_personalization": G}
    assert set(resolve(Signals(), GERMANY, rules, NOW_MS).google.values()) == {D}
    all_three = Signals(purposes=(*granted.purposes, ("measurement", "granted")))
    assert resolve(all_three, GERMANY, rules, NOW_MS).google["ad_storage"] is G


def test_purposes_without_tcf_ids() -> None:
    """A TC string has no opinion on a purpose that names no TCF id."""
    rules = replace(EU, purposes=(*EU.purposes, PurposeRule("newsletter", categories=("mail",))))
    assert resolve(Signals(tcf=ACCEPT_ALL), GERMANY, rules, NOW_MS).state("newsletter") is U


def test_choice_made() -> None:
    """True when a signal records a choice, False when one says there was none, otherwise untold."""

    def choice(signals: Signals) -> bool | None:
        return resolve(signals, GERMANY, EU, NOW_MS).choice_made

    assert choice(Signals()) is None
    assert choice(Signals(gpc=True)) is None
    assert choice(Signals(tcf=REJECT_ALL)) is True
    assert choice(Signals(tcf="garbage")) is None
    assert choice(Signals(cmp_cookies=(("CookieConsent", "-1"),))) is False
    assert choice(Signals(cmp_cookies=(("CookieConsent", "-1"),), purposes=(("analytics", "denied"),))) is True


def test_evidence_holds_no_raw_string() -> None:
    """Readings carry a digest of each string, never the string, and say why one was refused."""
    consent = resolve(Signals(tcf="CSecret", us_privacy="1YNN", addtl_consent="junk"), GERMANY, EU, NOW_MS)
    by_signal = {reading.signal: reading for reading in consent.readings}
    assert not by_signal["tcf"].valid
    assert not by_signal["addtl_consent"].valid
    assert len(by_signal["tcf"].digest) == 64
    assert by_signal["us_privacy"].says == "did not opt out of sale"
    assert "Secret" not in repr(consent)


def test_resolver_answers_as_resolve_does_and_caches() -> None:
    """The cached answer is the same object within a minute, and each place, policy and minute has its own."""
    resolver = Resolver()
    signals = Signals(tcf=ACCEPT_ALL)
    first = resolver.resolve(signals, GERMANY, EU, NOW_MS)
    assert first == resolve(signals, GERMANY, EU, NOW_MS)
    assert resolver.resolve(Signals(tcf=ACCEPT_ALL), Place("DE", None, "elsewhere"), EU, NOW_MS + 59_000) is first
    assert resolver.resolve(signals, GERMANY, EU, NOW_MS + 60_000) is not first
    assert resolver.resolve(signals, CALIFORNIA, EU, NOW_MS) is not first
    assert resolver.resolve(Signals(), CALIFORNIA, US, NOW_MS).state("analytics") is G


def test_resolver_lets_go_of_old_rules() -> None:
    """After many reloads old rules are released, and answers stay right."""
    resolver = Resolver(size=4)
    for hold_for in range(200):
        rules = replace(EU, hold_for_s=hold_for)
        consent: Consent = resolver.resolve(Signals(tcf=REJECT_ALL), GERMANY, rules, NOW_MS)
        assert consent.state("analytics") is D
    assert len(resolver._rules) <= 64
