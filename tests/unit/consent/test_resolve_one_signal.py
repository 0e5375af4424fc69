from __future__ import annotations

from urllib.parse import quote

import pytest

from ebbgate.model import ConsentState, Signals
from tests.unit.consent.build import ACCEPT_ALL, DAY_MS, NOW_MS, REJECT_ALL, Tc, gpp, usca, usnat
from tests.unit.consent.rules import D, G, U, klaro, states, us


@pytest.mark.parametrize(
    ("signals", "expected"),
    [
        (Signals(purposes=(("analytics", "granted"), ("advertising", "denied"))), (G, D)),
        (Signals(purposes=(("analytics", "granted"), ("analytics", "denied"))), (D, U)),
        (Signals(purposes=(("analytics", "maybe"),)), (D, U)),
        (Signals(categories=(("Statistics", True), ("MARKETING", False))), (G, D)),
        (Signals(categories=(("analytics", True), ("statistics", False))), (D, U)),
        (Signals(categories=(("Analytics", True), ("analytics", False))), (D, U)),
        (Signals(purposes=(("analytics", "granted"),), categories=(("analytics", False),)), (D, U)),
        (Signals(categories=(("other", True),)), (U, U)),
        (Signals(purposes=(("Advertising", "denied"), ("MARKETING", "granted"))), (U, D)),
        (Signals(purposes=(("marketing", "denied"),), categories=(("advertising", True),)), (U, D)),
        (Signals(categories=(("Analytics ", True), ("ADVERTISING", False))), (U, D)),
        (Signals(tcf=ACCEPT_ALL), (G, G)),
        (Signals(tcf=REJECT_ALL), (D, D)),
        (Signals(tcf=Tc(purposes=(1, 8)).encode()), (G, D)),
        (Signals(tcf="CPgarbage"), (D, D)),
        (Signals(tcf=Tc(purposes=range(1, 12), created_ms=NOW_MS - 400 * DAY_MS).encode()), (D, D)),
        (Signals(gcs="G111"), (G, U)),
        (Signals(gcs="G1--"), (U, U)),
        (Signals(gcd="13r3r3r3r5"), (G, G)),
        (Signals(gcd="13l3l3l3l1l1"), (U, U)),
        (Signals(gcd="13r3r3r3r5", npa="1"), (G, D)),
        (Signals(gcs="nonsense"), (D, D)),
        (Signals(gcd="nonsense", gcs="G111"), (D, D)),
        (Signals(gpp=gpp([(2, ACCEPT_ALL)])), (G, G)),
        (Signals(gpp=gpp([(2, REJECT_ALL)])), (D, D)),
        (Signals(gpp="DBAgarbage"), (D, D)),
        (Signals(gpp=gpp([(7, usnat())])), (U, U)),
        (Signals(gpp=gpp([(7, usnat(opt_out=1))])), (U, D)),
        (Signals(gpp=gpp([(7, usnat(opt_out=0, notice=0))])), (U, U)),
        (Signals(gpp=gpp([(7, usnat(notice=2))])), (U, D)),
        (Signals(gpp=gpp([(7, usnat(notice=0))]), purposes=(("advertising", "granted"),)), (U, D)),
        (Signals(gpp=gpp([(2, ACCEPT_ALL), (7, usnat(notice=2))]), gpp_sid=(2,)), (G, G)),
        (Signals(gpp=gpp([(99, "AAAA")])), (U, U)),
        (Signals(gpp=gpp([(5, "AAAA")])), (D, D)),
        (Signals(us_privacy="1YNN"), (U, U)),
        (Signals(us_privacy="1YYN"), (U, D)),
        (Signals(us_privacy="bad"), (U, D)),
        (Signals(gpc=True), (U, D)),
        (Signals(gpc=True, purposes=(("advertising", "granted"),)), (U, D)),
        (Signals(dnt=True), (U, U)),
        (Signals(cmp_cookies=klaro(analytics=True, marketing=False)), (G, D)),
        (Signals(cmp_cookies=(("CookieConsent", "-1"),)), (U, U)),
        (Signals(cmp_cookies=(("CookieConsent", "{statistics:false,method:'implied'}"),)), (U, U)),
        (Signals(cmp_cookies=(("CookieConsent", "{statistics:false}"),)), (D, U)),
        (Signals(cmp_cookies=(("CookieConsent", "{statistics:true,marketing:true}"),)), (U, U)),
        (Signals(cmp_cookies=(("CookieConsent", "{broken"),)), (D, D)),
        (Signals(cmp_cookies=(("osano_consentmanager", "x"),)), (U, U)),
        (Signals(cmp_cookies=(("cookieconsent_status", "deny"),)), (D, D)),
        (Signals(cmp_cookies=(("cookieconsent_status", "allow"),)), (U, U)),
        (Signals(cmp_cookies=(("euconsent-v2", ACCEPT_ALL),)), (G, G)),
        (Signals(cmp_cookies=(("euconsent-v2", REJECT_ALL),)), (D, D)),
        (Signals(cmp_cookies=(("usprivacy", "1YYN"),)), (U, D)),
        (Signals(cmp_cookies=(("OptanonConsent", "isGpcEnabled=1&interactionCount=1&groups=C0004%3A1"),)), (U, D)),
        (Signals(cmp_cookies=(("cc_cookie", quote('{"categories":["analytics"],"expirationTime":1}')),)), (D, D)),
    ],
)  # fmt: skip
def test_one_signal_under_opt_in(signals: Signals, expected: tuple[ConsentState, ConsentState]) -> None:
    """What each signal alone means for a visitor in Germany."""
    assert states(signals) == expected


@pytest.mark.parametrize(
    ("signals", "expected"),
    [
        (Signals(gpc=True), (G, D)),
        (Signals(us_privacy="1---"), (G, G)),
        (Signals(us_privacy="1YNN"), (G, G)),
        (Signals(us_privacy="1YYN"), (G, D)),
        (Signals(us_privacy="1yyn"), (G, D)),
        (Signals(gpp=gpp([(8, usca())])), (G, G)),
        (Signals(gpp=gpp([(8, usca(opt_out=1))])), (G, D)),
        (Signals(gpp=gpp([(8, usca(notice=0, opt_out=0))])), (G, D)),
        (Signals(gpp=gpp([(8, usca()), (7, usnat(opt_out=1))][::-1])), (G, D)),
        (Signals(gpp=gpp([(6, "1YYN")])), (G, D)),
        (Signals(gpp="x"), (D, D)),
        (Signals(tcf="x"), (D, D)),
        (Signals(tcf=REJECT_ALL), (D, D)),
        (Signals(tcf=REJECT_ALL, gdpr_applies=False), (G, G)),
        (Signals(tcf="x", gdpr_applies=False), (G, G)),
        (Signals(gdpr_applies=True), (U, U)),
        (Signals(gdpr_applies=False), (G, G)),
        (Signals(purposes=(("analytics", "denied"),)), (D, G)),
        (Signals(purposes=(("Statistics", "denied"), ("other", "denied"))), (D, G)),
        (Signals(categories=(("advertising", False),)), (G, D)),
        (Signals(cmp_cookies=(("CookieConsent", "{marketing:false,method:'implied'}"),)), (G, D)),
        (Signals(cmp_cookies=(("CookieConsent", "-1"),)), (G, G)),
    ],
)
def test_one_signal_under_opt_out(signals: Signals, expected: tuple[ConsentState, ConsentState]) -> None:
    """What each signal alone means for a visitor in California."""
    assert us(signals) == expected
