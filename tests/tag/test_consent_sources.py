"""Every way in which a page may know the visitor's answer: it opens the gate only with an answer. In a real Chromium."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote

import pytest

from ebbgate.demo.tc_string import tc_string
from tests.e2e.harness import received
from tests.tag.visit import GRANT, NO_POLLING, Stage, Visit, tcf, visiting

pytestmark = pytest.mark.asyncio(loop_scope="session")


def tc(purposes: range) -> str:
    """A TC string of now, Google's and Meta's vendor ids among its vendors."""
    vendors = {755, 804}
    return tc_string(now_ms=int(time.time() * 1000), purposes=purposes, vendors=vendors, disclosed=vendors)


async def test_tcf_is_waited_for_and_its_string_goes_along(visit: Visit) -> None:
    """While the banner is shown nothing leaves; the string of the visitor's choice is in every event."""
    text = tc(range(1, 12))
    await visit.open(script=tcf(text, "cmpuishown", range(1, 12)))
    await visit.quiet()
    assert visit.site.sent == []
    await visit.do(
        f"heard({{eventStatus: 'useractioncomplete', tcString: {json.dumps(text)}, gdprApplies: true,"
        " purpose: {consents: {1: true, 8: true}}}, true)"
    )
    (event,) = await visit.events(1)
    assert event["consent"] == {"tcf": text, "gdpr_applies": True}
    assert event["event"] == "page_view"


async def test_a_tcf_banner_that_has_not_answered_outweighs_other_sources(visit: Visit) -> None:
    """Google's update alone does not open the gate while the TCF API is there and silent, even one that has just turned up."""
    google = "window.dataLayer=[];window.gtag=function(){dataLayer.push(arguments)};"
    api = tcf(tc(range(1, 12)), "cmpuishown", range(1, 12))
    await visit.open(script=NO_POLLING + google)
    await visit.do(f"() => {{ {api} gtag('consent','update',{{analytics_storage:'granted'}}) }}")
    await visit.quiet()
    assert visit.site.sent == []


async def test_a_tcf_refusal_of_everything_stops(visit: Visit) -> None:
    """No purpose allowed: nothing leaves."""
    await visit.open(script=tcf(tc(range(0)), "useractioncomplete", range(0)))
    await visit.quiet()
    assert visit.site.sent == []


CONSENT_MODE = """
window.dataLayer = window.dataLayer || []; function gtag(){dataLayer.push(arguments)}
gtag('consent', 'default', {ad_storage: 'denied', analytics_storage: 'denied', ad_user_data: 'denied', ad_personalization: 'denied'});
"""
SOURCES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("consent mode", CONSENT_MODE, "gtag('consent', 'update', {analytics_storage: 'granted'})", {"gcd": "11p1r1p1p5"}),
    (
        "gpp",
        "window.__gpp=(c,f)=>{window.heard=f;f({eventName:'listenerRegistered',pingData:{signalStatus:'not ready'}},true)};",
        "heard({eventName:'signalStatus',pingData:{signalStatus:'ready',gppString:'DBABLA~BVQqAAAAAgA.QA',applicableSections:[7]}},true)",
        {"gpp": "DBABLA~BVQqAAAAAgA.QA", "gpp_sid": [7]},
    ),
    (
        "a consent object",
        "",
        "ebb('consent', {categories: {analytics: true, marketing: false}, time: '2026-11-01T00:00:00Z'})",
        {"categories": {"analytics": True, "marketing": False}, "time": "2026-11-01T00:00:00Z"},
    ),
    ("a consent string", "", "ebb('consent', {us_privacy: '1YNN'})", {"us_privacy": "1YNN"}),
]  # fmt: skip


@pytest.mark.parametrize(("before", "answer", "expected"), [s[1:] for s in SOURCES], ids=[s[0] for s in SOURCES])
async def test_every_source_opens_the_gate_only_with_an_answer(visit: Visit, before: str, answer: str, expected: Any) -> None:
    """What stands before the visitor's answer opens nothing; the answer does, and is in the event."""
    await visit.open(script=before)
    await visit.quiet()
    assert visit.site.sent == []
    await visit.do(f"() => {{ {answer} }}")
    (event,) = await visit.events(1)
    assert event["consent"] == expected


def encoded(value: Any) -> str:
    return quote(json.dumps(value, separators=(",", ":")))


NO_SERVICES: dict[str, list[str]] = {"necessary": [], "analytics": [], "marketing": []}
ONETRUST = "OptanonConsent=isGpcEnabled=0&interactionCount={}&groups=C0001%3A1%2CC0002%3A{}&AwaitingReconsent=false"
COOKIEBOT = "CookieConsent={{stamp:%27x%27%2Cnecessary:true%2Cstatistics:{}%2Cmarketing:false%2Cmethod:%27{}%27%2Cver:1}}"
#: didomi_token before any choice: `{"user_id":…,"created":…,"updated":…,"version":null}`
DIDOMI_NONE = (
    "didomi_token=eyJ1c2VyX2lkIjoiMGJhMzRjN2QtZjQ3My02YjdlLWVhYjgtZmVlYjhmODIxZDQ5IiwiY3JlYXRlZCI6IjIwMjYtMDMtMzFUMjE6MTQ6MTQuODA2WiIs"
    "InVwZGF0ZWQiOiIyMDI2LTAzLTMxVDIxOjE0OjE0LjgwNloiLCJ2ZXJzaW9uIjpudWxsfQ=="
)
#: The same visitor after a choice: purposes enabled `cookies`, disabled `select_basic_ads`, version 2.
DIDOMI_YES = (
    "didomi_token=eyJ1c2VyX2lkIjoiMGJhMzRjN2QiLCJ2ZXJzaW9uIjoyLCJwdXJwb3NlcyI6eyJlbmFibGVkIjpbImNvb2tpZXMiXSwi"
    "ZGlzYWJsZWQiOlsic2VsZWN0X2Jhc2ljX2FkcyJdfX0="
)
#: platform → (cookies before a choice, cookies written by the click on its banner, its own announcement, categories the page tells)
BANNERS: dict[str, tuple[list[str], list[str], str, dict[str, bool] | None]] = {
    "onetrust": ([ONETRUST.format(0, 1)], [ONETRUST.format(1, 1)], "window,OneTrustGroupsUpdated", None),
    "cookiebot": ([COOKIEBOT.format("true", "implied")], [COOKIEBOT.format("true", "explicit")], "window,CookiebotOnAccept", None),
    "cookieyes": (
        ["cookieyes-consent=consentid:x,consent:no,action:,necessary:yes,analytics:no"],
        ["cookieyes-consent=consentid:x,consent:yes,action:yes,necessary:yes,analytics:yes"],
        "document,cookieyes_consent_update",
        None,
    ),
    "complianz": (
        ["cmplz_statistics=allow", "cmplz_marketing=deny"],
        ["cmplz_statistics=allow", "cmplz_banner-status=dismissed"],
        "document,cmplz_status_change",
        None,
    ),
    "wp consent api": ([], ["wp_consent_statistics=allow"], "document,wp_listen_for_consent_change", None),
    "cookieconsent v3": (
        [], ["cc_cookie=" + encoded({"categories": ["necessary", "analytics"], "services": NO_SERVICES})], "window,cc:onConsent", None,
    ),
    "didomi": ([DIDOMI_NONE], [DIDOMI_YES], "window,didomi", None),
    "klaro": ([], ["klaro=" + encoded({"matomo": True})], "window,klaro", None),
    "axeptio": (
        ["axeptio_cookies={%22$$completed%22:false}"], ["axeptio_cookies={%22matomo%22:true%2C%22$$completed%22:true}"],
        "window,axeptio", None,
    ),
    "usercentrics": ([], [], "window,UC_UI_CMP_EVENT", {"marketing": False, "analytics": True, "essential": True}),
    "shopify": ([], [], "document,visitorConsentCollected", {"marketing": False, "analytics": True, "sale_of_data": False}),
}  # fmt: skip
APIS = """
window.UC_UI = {open: true, isConsentRequired() { return this.open }, getServicesBaseInfo: () => [
  {categorySlug: 'marketing', consent: {status: false}}, {categorySlug: 'marketing', consent: {status: true}},
  {categorySlug: 'analytics', consent: {status: true}}, {categorySlug: 'essential', consent: {status: true}}]};
window.Shopify = {customerPrivacy: {c: {marketing: '', analytics: '', preferences: ''}, currentVisitorConsent() { return this.c }}};
"""
ANSWERED = {
    "usercentrics": "UC_UI.open = false;",
    "shopify": "Shopify.customerPrivacy.c = {marketing: 'no', analytics: 'yes', preferences: '', sale_of_data: 'maybe'};",
}


@pytest.mark.parametrize("platform", list(BANNERS))
async def test_a_click_on_a_banner_opens_the_gate_at_once(visit: Visit, platform: str) -> None:
    """What a consent platform writes before the choice opens nothing; its visitor's click does, without waiting for the next watch.

    Of several services in a category one refusal is enough, and a word that is not known is one.
    """
    before, after, announced, told = BANNERS[platform]
    written = "".join(f"document.cookie = '{cookie}; path=/';" for cookie in before)
    api = APIS if platform in ANSWERED else ""
    visit.site.body = "<button id=accept>accept</button>"
    await visit.open(script=NO_POLLING + written + api)
    await visit.do("ebb('event', 'view_item')")
    await visit.quiet()
    assert visit.site.sent == []
    target, name = announced.split(",")
    choose = "".join(f"document.cookie = '{cookie}; path=/';" for cookie in after) + ANSWERED.get(platform, "")
    clicked = f"b.onclick = () => {{ {choose} {target}.dispatchEvent(new Event('{name}')) }}; b.click()"
    await visit.do(f"() => {{ const b = document.querySelector('#accept'); {clicked} }}")
    events = await visit.events(2)
    assert events[0]["consent"] == ({"categories": told} if told else {})
    sent = next(s for s in visit.site.sent if s.events())
    assert all(cookie.partition("=")[0] in sent.cookie for cookie in after)  # the gateway reads what the page does not


async def test_what_a_banner_writes_without_a_click_is_found(visit: Visit) -> None:
    """The cookie of a consent platform travels with the request; its withdrawal is reported when the cookie changes."""
    await visit.gateway.drained()  # of the visits before
    seen = len(received(visit.gateway.sink)["ga4"])
    cookie = "cc_cookie=" + json.dumps({"categories": ["necessary", "analytics"], "services": NO_SERVICES})
    await visit.open()
    await visit.do(f"() => {{ document.cookie = '{cookie}; path=/' }}")
    await visit.events(1)
    await visit.gateway.drained()
    assert len(received(visit.gateway.sink)["ga4"]) == seen + 1
    narrower = cookie.replace(', "analytics"]', "]")
    await visit.do(f"() => {{ document.cookie = '{narrower}; path=/' }}")
    await visit.until(lambda: len(visit.site.choices()) == 2)
    assert [c["name"] for c in await visit.cookies()] == ["cc_cookie"]


async def test_google_defaults_for_regions_never_grant(visit: Visit) -> None:
    """The page cannot know which region's default holds: a refusal for any counts, a grant for some does not."""
    script = """window.dataLayer=[];function gtag(){dataLayer.push(arguments)};
    gtag('consent','default',{ad_storage:'granted',region:['US']}); gtag('consent','default',{analytics_storage:'denied',region:['DE']});
    gtag('consent','default',{analytics_storage:'granted'});"""
    await visit.open(script=script, attributes='data-wait="50"')
    (event,) = await visit.events(1)
    assert event["consent"] == {"gcd": "11l1p1l1l5"}


ALL_FOUR = "ad_storage:'{0}',analytics_storage:'granted',ad_user_data:'{0}',ad_personalization:'{0}'"
GPC_INIT = "Object.defineProperty(navigator,'globalPrivacyControl',{value:true})"
#: what the page knows → (place, scripts, headers) → who gets the purchase
DECIDED: dict[str, tuple[str, str, str, str, dict[str, str], set[str]]] = {
    "tcf grants both": ("DE", "", "", "tcf", {}, {"ga4", "meta"}),
    "consent mode, ads denied": (
        "DE", "", "", CONSENT_MODE + "gtag('consent','update',{" + ALL_FOUR.format("denied") + "});", {}, {"ga4"},
    ),
    "consent mode, default only": ("DE", "", "", CONSENT_MODE, {}, set()),
    "california, silence": ("US", "CA", "", "", {}, {"ga4", "meta"}),
    "california, gpc in the page": ("US", "CA", GPC_INIT, "", {}, {"ga4", "meta, limited"}),
    "california, gpc in the head": ("US", "CA", "", "", {"Sec-GPC": "1"}, {"ga4", "meta, limited"}),
    "california, us privacy opt-out": ("US", "CA", "", "ebb('consent', {us_privacy: '1YYN'});", {}, {"ga4", "meta, limited"}),
}  # fmt: skip


@pytest.mark.parametrize("case", list(DECIDED))
async def test_the_gateway_decides_by_what_the_page_knew(stage: Stage, case: str) -> None:
    """End to end: banner or signal in the browser, purchase on the page, request at the platform or none."""
    country, region, init, script, headers, expected = DECIDED[case]
    if script == "tcf":
        script = tcf(tc(range(1, 12)), "tcloaded", range(1, 12))
    options = {"extra_http_headers": headers} if headers else {}
    async with visiting(stage, init=init, **options) as visit:
        visit.site.country, visit.site.region = country, region
        order = f"D-{case}".replace(" ", "-").replace(",", "")
        known = "user:{email:'d@example.com'},visitor:{client_id:'1.2'}"
        buy = f"ebb('event','purchase',{{order:{{id:'{order}',value:7,currency:'EUR'}},{known}}});"
        await visit.open(script=script + buy, attributes='data-auto="0" data-wait="200"')
        (event,) = await visit.events(1)
        assert event["consent"].get("gpc") is (True if init else None)
        await visit.gateway.drained()
        found = received(visit.gateway.sink)
        got = {"ga4"} & {name for name in found if order in json.dumps(found[name])}
        for sent in (one for one in found["meta"] if order in json.dumps(one)):
            got.add("meta, limited" if sent.get("data_processing_options") == ["LDU"] and "em" not in sent["user_data"] else "meta")
        assert got == expected


async def test_a_refusal_by_the_tag_is_no_grant_of_another_source(visit: Visit) -> None:
    """Of several answers the whole is what counts: one that refuses beside one that grants is a narrower whole, not none."""
    google = "window.dataLayer=[];function gtag(){dataLayer.push(arguments)};gtag('consent','update',{ad_storage:'denied'});"
    await visit.open(script=google + GRANT)
    (event,) = await visit.events(1)
    assert set(event["consent"]) == {"gcd", "purposes"}
