from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest

from ebbgate.consent import cmp_cookies
from ebbgate.consent.cmp_cookies import CmpReading, is_consent_cookie, jar, read, read_all
from tests.unit.consent.build import ACCEPT_ALL, REJECT_ALL

OPTANON = "isGpcEnabled=0&interactionCount=1&groups=C0001%3A1%2CC0002%3A0%2CC0004%3A1&AwaitingReconsent=false"


def one(**cookies: str) -> CmpReading:
    """The reading of a jar that holds one platform."""
    (reading,) = read_all(tuple(cookies.items()))
    return reading


def encoded(value: Any) -> str:
    """Percent-encoded JSON."""
    return quote(json.dumps(value))


def didomi(value: Any) -> str:
    """A didomi_token."""
    return base64.b64encode(json.dumps(value).encode()).decode()


def test_onetrust_choice() -> None:
    """Groups count as a choice after an interaction or a closed banner, not before, and not while a new choice is awaited."""
    assert one(OptanonConsent=OPTANON).choice_made is True
    untouched = OPTANON.replace("interactionCount=1", "interactionCount=0")
    assert one(OptanonConsent=untouched).choice_made is False
    closed = {"OptanonConsent": untouched, "OptanonAlertBoxClosed": "2026-05-21T17%3A12%3A06.247Z"}
    assert read_all(tuple(closed.items()))[0].choice_made is True
    assert one(OptanonConsent=untouched, OptanonAlertBoxClosed="x").choice_made is False
    assert one(OptanonConsent="groups=C0001%3A1").choice_made is None
    assert one(OptanonConsent=OPTANON.replace("AwaitingReconsent=false", "AwaitingReconsent=true")).choice_made is False


def test_onetrust_groups() -> None:
    """Groups map to words, older ids too; one group answered twice must be a yes twice."""
    reading = one(OptanonConsent="isGpcEnabled=1&interactionCount=1&groups=1%3A1%2C2%3A1%2C4%3A1%2C4%3A0%2CC0035%3A1")
    assert reading.normalized == {"necessary": True, "analytics": True, "marketing": False}
    assert reading.categories["C0035"] is True
    assert one(OptanonConsent="groups=C0002%3A0%2C2%3A1").normalized == {"analytics": False}
    assert reading.gpc is True


@pytest.mark.parametrize(
    "cookies",
    [
        {"OptanonConsent": "interactionCount=1"},
        {"OptanonConsent": "groups=C0001%3A2"},
        {"OptanonConsent": "groups=C0001"},
        {"OptanonConsent": "groups=%FF%3A1"},
        {"CookieConsent": "{necessary:true"},
        {"CookieConsent": "{necessary:maybe}"},
        {"CookieConsent": "{necessary:'yes'}"},
        {"CookieConsent": "{stamp:'x'}"},
        {"CookieConsent": "{necessary:true;marketing:true}"},
        {"CookieConsent": "{necessary:true,necessary:false}"},
        {"CookieConsent": "0"},
        {"cookieyes-consent": "consentid:x,action:yes"},
        {"cookieyes-consent": "analytics:yes,analytics:no"},
        {"cookieyes-consent": "analytics:perhaps"},
        {"cookieyes-consent": "nonsense"},
        {"cookielawinfo-checkbox-analytics": "maybe"},
        {"cmplz_marketing": "perhaps"},
        {"wp_consent_marketing": "1"},
        {"didomi_token": "%%%"},
        {"didomi_token": "AAA!"},
        {"didomi_token": didomi([1])},
        {"didomi_token": didomi({"version": 2, "purposes": []})},
        {"didomi_token": didomi({"version": 2, "purposes": {"enabled": "all"}})},
        {"axeptio_cookies": encoded({"a": 1, "$$completed": True})},
        {"klaro": encoded({"a": "yes"})},
        {"klaro": '{"a":true,"a":false}'},
        {"klaro": "{" + '"a":{' * 4000 + "}" * 4001},
        {"klaro": '{"a":NaN}'},
        {"cc_cookie": encoded({"categories": "all"})},
        {"cc_cookie": encoded({"categories": [1]})},
        {"cc_cookie": encoded({"categories": [], "services": []})},
        {"_iub_cs-123": encoded({"purposes": [1]})},
        {"CookieInformationConsent": encoded({"consents_approved": ["cookie_cat_marketing"]})},
        {"_tracking_consent": encoded({"v": "2.1", "con": {}})},
        {"_tracking_consent": encoded({"v": "1", "con": {"CMP": {"a": "1"}}})},
        {"_tracking_consent": encoded({"v": "2.1", "con": {"CMP": {"a": "yes"}}})},
        {"cookieconsent_status": "yes"},
        {"cmapi_cookie_privacy": "permit all"},
        {"notice_gdpr_prefs": "a"},
        {"CONSENTMGR": "c1"},
        {"CONSENTMGR": "c1:2"},
        {"CONSENTMGR": "c1:1|c1:0"},
        {"CONSENTMGR": "consent:maybe"},
        {"CONSENTMGR": "ts:1"},
        {"__hs_cookie_cat_pref": "1:yes"},
        {"__hs_cookie_cat_pref": ""},
        {"euconsent-v2": "CPgarbage"},
        {"FCCDCF": "["},
    ],
    ids=lambda cookies: next(iter(cookies.items()))[0] + " " + next(iter(cookies.values()))[:24],
)
def test_broken_cookies_grant_nothing(cookies: dict[str, str]) -> None:
    """A cookie that cannot be read is named with its platform and says nothing."""
    (reading,) = read_all(tuple(cookies.items()))
    assert reading == CmpReading(reading.cmp, decoded=False)


def test_cookiebot() -> None:
    """Unquoted keys, both quotes, strings carried along; implied and exempt are not choices."""
    raw = (
        "{stamp:%27x==%27%2Cnecessary:true%2Cpreferences:false%2Cstatistics:true%2C"
        'method:"explicit"%2Cver:1%2Ciab2:%27C1%27%2Cgacm:%272~1~dv.%27}'
    )
    reading = one(CookieConsent=raw)
    assert reading.normalized == {"necessary": True, "functional": False, "analytics": True}
    assert (reading.choice_made, reading.tc_string, reading.ac_string, reading.region_exempt) == (True, "C1", "2~1~dv.", False)
    assert one(CookieConsent="-1").choice_made is False
    assert cmp_cookies.describe(one(CookieConsent="-1"))["region_exempt"] is True
    assert "region_exempt" not in cmp_cookies.describe(one(CookieConsent="{broken"))
    assert one(CookieConsent="{necessary:true,method:'other'}").choice_made is None


def test_cookieyes() -> None:
    """Unknown fields are left out; only `action:yes` is a choice; the older cookies are read without one."""
    reading = one(**{"cookieyes-consent": "consentid:x,action:yes,analytics:yes,advertisement:no,lastRenewedDate:17"})
    assert reading.categories == {"analytics": True, "advertisement": False}
    assert reading.choice_made is True
    unanswered = one(**{"cookieyes-consent": "consentid:x,consent:,action:,necessary:,analytics:"})
    assert (unanswered.choice_made, unanswered.categories) == (False, {})
    legacy = one(**{"cookielawinfo-checkbox-analytics": "yes", "cookielawinfo-checkbox-advertisement": "no"})
    assert (legacy.cmp, legacy.choice_made) == ("cookieyes", None)
    assert legacy.normalized == {"analytics": True, "marketing": False}


def test_wordpress() -> None:
    """Complianz knows of a choice, the WP Consent API does not; "functional" there is what cannot be refused."""
    cookies = {"cmplz_functional": "allow", "cmplz_marketing": "deny", "cmplz_statistics": "", "cmplz_banner-status": "dismissed"}
    reading = one(**cookies)
    assert (reading.choice_made, reading.normalized) == (True, {"necessary": True, "marketing": False})
    both = read_all((*cookies.items(), ("wp_consent_preferences", "allow")))
    assert [r.cmp for r in both] == ["complianz", "wp_consent_api"]
    assert both[1].choice_made is None


def test_didomi() -> None:
    """A purpose on both lists is refused; no version is no choice; url-safe and unpadded base64 are read."""
    token = {"version": 2, "purposes": {"enabled": ["cookies", "ads"], "disabled": ["ads"]}}
    reading = one(didomi_token=didomi(token).rstrip("="))
    assert reading.categories == {"cookies": True, "ads": False}
    assert one(didomi_token=didomi({"version": None})).choice_made is False
    assert one(didomi_token=didomi({"version": 2})).choice_made is None


def test_json_platforms() -> None:
    """Axeptio, Klaro, cookieconsent, Iubenda, Cookie Information and Shopify in their documented forms."""
    assert one(axeptio_cookies=encoded({"$$completed": "x", "hotjar": True})).choice_made is None
    assert one(klaro=encoded({"matomo": False})).categories == {"matomo": False}
    accepted = one(
        cc_cookie=encoded({"categories": ["necessary"], "services": {"necessary": [], "marketing": []}, "expirationTime": 5})
    )
    assert (accepted.normalized, accepted.expires_ms) == ({"necessary": True, "marketing": False}, 5)
    assert one(cc_cookie=encoded({"categories": ["marketing"]})).expires_ms is None
    assert one(**{"_iub_cs-1": encoded({"purposes": {"3": True, "5": False}})}).normalized == {"marketing": False}
    assert read_all((("_iub_cs-1-granular", "x"),)) == ()
    lists = {"consents_approved": ["cookie_cat_statistic", "x"], "consents_denied": ["x"]}
    assert one(CookieInformationConsent=encoded(lists)).categories == {"cookie_cat_statistic": True, "x": False}
    shopify = {"v": "2.1", "con": {"CMP": {"a": "1", "m": "0", "p": "", "s": ""}}}
    assert one(_tracking_consent=encoded(shopify)).normalized == {"analytics": True, "marketing": False}
    assert one(_tracking_consent=encoded({"v": "2.1", "con": {"CMP": {"a": ""}}})).choice_made is False
    assert one(_tracking_consent="3.AMPS_USVA_f_f_x").opaque


def test_osano() -> None:
    """The encrypted cookie is opaque, not broken; the old one can refuse everything and grant nothing."""
    assert one(osano_consentmanager="x").opaque
    denied = one(cookieconsent_status="deny")
    assert (denied.refuses_all, denied.choice_made) == (True, True)
    assert one(cookieconsent_status="allow").categories == {}
    assert one(cookieconsent_status="dismiss").choice_made is None


def test_secondary_sources() -> None:
    """TrustArc, Tealium and HubSpot: listed numbers are allowed, the rest refused."""
    assert one(cmapi_cookie_privacy="permit+1%2C2").categories == {"1": True, "2": True, "3": False}
    assert one(notice_gdpr_prefs="0,2:").normalized == {"necessary": True, "functional": False, "marketing": True}
    tealium = one(CONSENTMGR="c1:1%7Cc3:0%7Cts:17%7Cconsent:true")
    assert (tealium.choice_made, tealium.normalized) == (True, {"analytics": True})
    refused = one(CONSENTMGR="c1:1|consent:false")
    assert (refused.refuses_all, refused.categories) == (True, {"c1": False})
    assert one(CONSENTMGR="c1:1").choice_made is None
    assert one(__hs_cookie_cat_pref="1:true,2:false,3:true").normalized == {
        "analytics": True,
        "marketing": False,
        "functional": True,
    }


def test_strings_in_their_own_cookies() -> None:
    """TC and AC strings stand beside the platform, or alone; two different TC strings are both kept."""
    alone = one(**{"euconsent-v2": ACCEPT_ALL, "addtl_consent": "2~1~dv."})
    assert (alone.cmp, alone.tc_string, alone.ac_string) == ("tcf", ACCEPT_ALL, "2~1~dv.")
    assert read_all((("addtl_consent", "1~"),)) == ()
    beside = read_all((("OptanonConsent", OPTANON), ("eupubconsent-v2", REJECT_ALL)))
    assert [r.cmp for r in beside] == ["onetrust"]
    assert beside[0].tc_string == REJECT_ALL
    inside = "{necessary:true,iab2:'" + ACCEPT_ALL + "'}"
    both = read_all((("CookieConsent", inside), ("euconsent-v2", REJECT_ALL)))
    assert [r.tc_string for r in both] == [ACCEPT_ALL, REJECT_ALL]
    broken = read_all((("CookieConsent", "{"), ("euconsent-v2", REJECT_ALL)))
    assert [r.tc_string for r in broken] == [None, REJECT_ALL]


def test_google_funding_choices() -> None:
    """The strings inside `FCCDCF`, where they are."""
    value = [None, None, None, [ACCEPT_ALL, "1~7"]]
    reading = one(FCCDCF=encoded(value))
    assert (reading.tc_string, reading.ac_string) == (ACCEPT_ALL, "1~7")
    others: list[Any] = [[], {}, [1, 2, 3, {}], [1, 2, 3, []], [1, 2, 3, [5]]]
    for other in others:
        assert read_all((("FCCDCF", encoded(other)),)) == ()
    with_platform = read_all((("klaro", encoded({"a": True})), ("FCCDCF", "[")))
    assert [(r.cmp, r.decoded) for r in with_platform] == [("klaro", True), ("tcf", False)]


def test_jar() -> None:
    """First of a name, blanks around, no nameless entries; bounded in number and length."""
    assert jar("a=1; b=2;a=3; =4; c; d=") == (("a", "1"), ("b", "2"), ("d", ""))
    assert len(jar("; ".join(f"c{n}=1" for n in range(500)))) == 200
    assert jar("a=" + "x" * 9000) == (("a", ""),)
    assert jar("a=" + "x" * 300_000) == ()


def test_first_of_a_name_wins() -> None:
    """A second cookie of the same name, which anybody can plant, is not looked at."""
    reading = read((("klaro", encoded({"a": False})), ("klaro", encoded({"a": True}))))
    assert reading is not None
    assert reading.categories == {"a": False}


def test_nothing_found() -> None:
    """Without a platform's cookie the description says so."""
    assert cmp_cookies.describe(read((("lang", "en"),)))["cmp"] is None


@pytest.mark.parametrize(
    "name", ["OptanonConsent", "usprivacy", "_iub_cs-77", "cmplz_marketing", "cookielawinfo-checkbox-x", "euconsent-v2"]
)
def test_consent_cookies_are_known_by_name(name: str) -> None:
    """The edge lets through exactly the cookies that a reader looks at."""
    assert is_consent_cookie(name)


def test_other_cookies_are_not_consent_cookies() -> None:
    """A session cookie never gets in."""
    assert not any(map(is_consent_cookie, ("session", "_ga", "sid", "optanonconsent", "")))
