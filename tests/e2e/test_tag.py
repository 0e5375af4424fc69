from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from ebbgate.demo.tc_string import tc_string
from tests.e2e.harness import Gateway, received
from tests.e2e.site import ARGUMENTS, CHROMIUM, Site, chromium_or_skip, website
from tests.scale import scaled

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRANT = "ebb('consent', {analytics: 'granted', advertising: 'granted'});"
REFUSE = "ebb('consent', {analytics: 'denied', advertising: false});"
VIEW = {"event": "page_view"}


async def loaded(page: Any) -> None:
    """Until the tag runs. Playwright's own waiting needs eval, which the page's policy forbids."""
    async with asyncio.timeout(10):
        while not await page.evaluate("Boolean(window.ebb && ebb.status)"):
            await asyncio.sleep(0.005)


@dataclass
class Visit:
    """One visitor's browser: a page, its console and what the site's policy objected to."""

    site: Site
    gateway: Gateway
    context: Any
    page: Any
    complaints: list[str]

    async def open(self, path: str = "/", script: str = "", attributes: str = "") -> None:
        """Go to a page whose own script is `script`."""
        self.site.script, self.site.attributes = script, attributes
        await self.page.goto(self.site.origin + path)
        await loaded(self.page)

    async def do(self, script: str) -> Any:
        """Run a script in the page, as the site's own would."""
        return await self.page.evaluate(script)

    async def until(self, condition: Callable[[], bool], timeout_s: float = 5) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, [(s.method, s.path, s.status, s.body[:200]) for s in self.site.sent]
            await asyncio.sleep(0.01)

    async def events(self, n: int) -> list[dict[str, Any]]:
        """The first `n` events that arrived; fails when there are more a moment later."""
        await self.until(lambda: len(self.site.events()) >= n)
        await asyncio.sleep(0.1)
        assert len(self.site.events()) == n, self.names()
        return self.site.events()

    def names(self) -> list[str]:
        """Names of the events that arrived, in order."""
        return [event["event"] for event in self.site.events()]

    async def stored(self) -> tuple[list[str], int]:
        """Names of the cookies, and how many entries the page's storage has."""
        count = await self.do("localStorage.length + sessionStorage.length")
        return sorted(c["name"] for c in await self.context.cookies()), count

    async def forgotten(self) -> None:
        """Wait until cookies and storage are empty: the page reads an answer a moment after the site wrote it."""
        async with asyncio.timeout(5):
            while await self.stored() != ([], 0):
                await asyncio.sleep(0.01)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    playwright = chromium_or_skip()
    async with website(tmp_path_factory.mktemp("tag")) as (site, behind), playwright() as p:
        browser = await p.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield site, behind, browser, await browser.new_context()
        await browser.close()


@asynccontextmanager
async def visiting(stage: Any, **options: Any) -> AsyncIterator[Visit]:
    """A browser without memory on the site; with options, a profile of its own."""
    site, behind, browser, shared = stage
    site.reset()
    context = await browser.new_context(**options) if options else shared
    await context.clear_cookies()
    page = await context.new_page()
    session = await context.new_cdp_session(page)
    await session.send("Storage.clearDataForOrigin", {"origin": site.origin, "storageTypes": "local_storage"})
    await session.detach()
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        yield Visit(site, behind, context, page, complaints)
    finally:
        await (context if options else page).close()


@pytest_asyncio.fixture(loop_scope="module")
async def visit(stage: Any) -> AsyncIterator[Visit]:
    async with visiting(stage) as found:
        yield found
        assert found.complaints == []  # no CSP violation, no console error


async def test_nothing_leaves_and_nothing_is_stored_before_consent_is_known(visit: Visit) -> None:
    """Before consent: no request, no cookie, no storage. After: exactly the events that waited, in order, each with the consent."""
    await visit.open(script="ebb('event', 'view_item', {order: {value: 5}});")
    await visit.do("ebb('event', 'add_to_cart', {properties: {color: 'red'}})")
    await asyncio.sleep(0.55)
    assert visit.site.sent == []
    assert await visit.stored() == ([], 0)
    await visit.do(GRANT)
    events = await visit.events(3)
    assert [e["event"] for e in events] == ["view_item", "page_view", "add_to_cart"]
    assert all(e["consent"] == {"purposes": {"analytics": "granted", "advertising": "granted"}} for e in events)
    assert events[1]["page"] == {"url": f"{visit.site.origin}/", "referrer": "", "title": "Page /", "path": "/"}
    assert len({e["id"] for e in events}) == 3


async def test_after_a_grant_the_server_sets_its_cookie_and_no_script_can_read_it(visit: Visit) -> None:
    """The id is HttpOnly, Secure and Lax for 395 days, comes with the events, and reaches the destination as client id."""
    seen = len(received(visit.gateway.sink)["ga4"])
    await visit.open(script=GRANT)
    await visit.events(1)
    (cookie,) = await visit.context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == ("ebb_id", True, True, "Lax")
    assert 394 < (cookie["expires"] - time.time()) / 86400 <= 395
    assert await visit.do("document.cookie") == ""
    assert [f"ebb_id={cookie['value']}" in s.cookie for s in visit.site.sent] == [False, True]
    await visit.gateway.drained()
    assert [e["client_id"] for e in received(visit.gateway.sink)["ga4"][seen:]] == [cookie["value"]]


async def test_a_full_refusal_keeps_everything_in_the_browser(visit: Visit) -> None:
    """A visitor who refuses everything causes no request, no cookie and no storage."""
    await visit.open(script=REFUSE)
    await visit.do("ebb('event', 'purchase', {order: {id: 'A-1'}})")
    await asyncio.sleep(0.2)
    assert visit.site.sent == []
    assert await visit.stored() == ([], 0)


async def test_the_site_may_let_its_gateway_decide_about_refusals(visit: Visit) -> None:
    """With data-refused="send" events leave with their refusal, for the gateway to withhold and record."""
    await visit.open(script=REFUSE, attributes='data-refused="send"')
    (event,) = await visit.events(1)
    assert event["consent"] == {"purposes": {"analytics": "denied", "advertising": "denied"}}
    assert await visit.stored() == ([], 0)


async def test_a_withdrawal_stops_the_page_and_reaches_the_gateway(visit: Visit) -> None:
    """After a withdrawal no event leaves, the gateway has recorded it, the cookie and the mark in storage are gone."""
    await visit.open(script=GRANT)
    await visit.events(1)
    await visit.until(lambda: len(visit.site.choices()) == 1)
    await visit.do(REFUSE)
    await visit.until(lambda: len(visit.site.choices()) == 2)
    await visit.do("ebb('event', 'purchase', {order: {id: 'A-2'}})")
    await asyncio.sleep(0.2)
    assert visit.names() == ["page_view"]
    assert visit.site.choices()[1]["consent"]["purposes"] == {"analytics": "denied", "advertising": "denied"}
    await visit.forgotten()


async def test_a_withdrawal_made_elsewhere_is_reported_by_the_next_page(visit: Visit) -> None:
    """A banner that reloads the page after a withdrawal: the new page, which only knows the refusal, tells the gateway once."""
    await visit.open(script=GRANT)
    await visit.events(1)
    await visit.open("/after", script=REFUSE)
    await visit.until(lambda: len(visit.site.choices()) == 2)
    await visit.forgotten()
    await visit.open("/later", script=REFUSE)
    await asyncio.sleep(0.2)
    assert len(visit.site.choices()) == 2
    assert visit.names() == ["page_view"]


async def test_a_returning_visitor_is_not_asked_about_again(visit: Visit) -> None:
    """The same answers on the next page: one request with the page view, none with the choice."""
    await visit.open(script=GRANT)
    await visit.events(1)
    visit.site.sent.clear()
    await visit.open("/next", script=GRANT)
    await visit.events(1)
    assert [s.path for s in visit.site.sent] == ["/e/v1/events"]


async def test_each_event_has_its_own_snapshot(visit: Visit) -> None:
    """Consent that changes in the middle of a page: earlier events keep what held then."""
    await visit.open(script=GRANT)
    await visit.events(1)
    await visit.do("ebb('consent', {analytics: 'granted', advertising: 'denied'}); ebb('event', 'search')")
    events = await visit.events(2)
    assert [e["consent"]["purposes"]["advertising"] for e in events] == ["granted", "denied"]


async def test_what_is_taken_back_holds_for_events_that_have_not_left(visit: Visit) -> None:
    """An event that waits for a failing gateway leaves with the narrower consent, or not at all when everything is refused."""
    visit.site.answer = lambda sent: 503
    await visit.open(script=GRANT)
    await visit.until(lambda: len(visit.site.sent) >= 1)
    await visit.do("ebb('consent', {analytics: 'granted', advertising: 'denied'})")
    visit.site.answer = lambda sent: 0
    (event,) = await visit.events(1)
    assert event["consent"]["purposes"]["advertising"] == "denied"
    visit.complaints.clear()  # the browser's own line about the 503


def fake_tcf(now_ms: int, status: str = "tcloaded", purposes: range = range(1, 12)) -> tuple[str, str]:
    text = tc_string(now_ms=now_ms, purposes=purposes, vendors={755, 804}, disclosed={755, 804})
    data = {
        "eventStatus": status, "tcString": text, "gdprApplies": True,
        "purpose": {"consents": {str(n): n in purposes for n in range(1, 12)}},
    }  # fmt: skip
    return text, f"window.__tcfapi=(c,v,f)=>{{window.heard=f;setTimeout(()=>f({json.dumps(data)},true),60)}};"


async def test_tcf_is_waited_for_and_its_string_goes_along(visit: Visit) -> None:
    """While the banner is shown nothing leaves; the string of the visitor's choice is in every event."""
    text, api = fake_tcf(int(time.time() * 1000), "cmpuishown")
    await visit.open(script=api)
    await asyncio.sleep(0.4)
    assert visit.site.sent == []
    await visit.do(
        f"heard({{eventStatus: 'useractioncomplete', tcString: {json.dumps(text)}, gdprApplies: true,"
        " purpose: {consents: {1: true, 8: true}}}, true)"
    )
    (event,) = await visit.events(1)
    assert event["consent"] == {"tcf": text, "gdpr_applies": True}
    assert event["event"] == "page_view"


async def test_a_tcf_banner_that_has_not_answered_outweighs_other_sources(visit: Visit) -> None:
    """Google's update alone does not open the gate while the TCF API is there and silent."""
    _, api = fake_tcf(int(time.time() * 1000), "cmpuishown")
    google = (
        "window.dataLayer=[];function gtag(){dataLayer.push(arguments)};gtag('consent','update',{analytics_storage:'granted'});"
    )
    await visit.open(script=api + google)
    await asyncio.sleep(0.4)
    assert visit.site.sent == []


async def test_a_tcf_refusal_of_everything_stops(visit: Visit) -> None:
    """No purpose allowed: nothing leaves."""
    _, api = fake_tcf(int(time.time() * 1000), "useractioncomplete", range(0))
    await visit.open(script=api)
    await asyncio.sleep(0.4)
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
        "usercentrics",
        """window.UC_UI={open:true,isConsentRequired(){return this.open},getServicesBaseInfo:()=>
        [{categorySlug:'marketing',consent:{status:true}},{categorySlug:'marketing',consent:{status:false}},
        {categorySlug:'analytics',consent:{status:true}}]};""",
        "UC_UI.open=false",
        {"categories": {"marketing": False, "analytics": True}},
    ),
    (
        "shopify",
        "window.Shopify={customerPrivacy:{c:{marketing:'',analytics:''},currentVisitorConsent(){return this.c}}};",
        "Shopify.customerPrivacy.c={marketing:'no',analytics:'yes'};document.dispatchEvent(new Event('visitorConsentCollected'))",
        {"categories": {"marketing": False, "analytics": True}},
    ),
    (
        "a consent object",
        "",
        "ebb('consent', {categories: {analytics: true, marketing: false}, time: '2026-11-01T00:00:00Z'})",
        {"categories": {"analytics": True, "marketing": False}, "time": "2026-11-01T00:00:00Z"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("before", "answer", "expected"), [s[1:] for s in SOURCES], ids=[s[0] for s in SOURCES])
async def test_every_source_opens_the_gate_only_with_an_answer(visit: Visit, before: str, answer: str, expected: Any) -> None:
    """What stands before the visitor's answer opens nothing; the answer does, and is in the event."""
    await visit.open(script=before)
    await asyncio.sleep(0.2)
    assert visit.site.sent == []
    await visit.do(f"() => {{ {answer} }}")
    (event,) = await visit.events(1)
    assert event["consent"] == expected


async def test_a_consent_cookie_opens_the_gate_and_the_gateway_reads_it(visit: Visit) -> None:
    """The cookie of a consent platform travels with the request; its withdrawal is reported when the cookie changes."""
    seen = len(received(visit.gateway.sink)["ga4"])
    services: dict[str, list[str]] = {"necessary": [], "analytics": [], "marketing": []}
    cookie = "cc_cookie=" + json.dumps({"categories": ["necessary", "analytics"], "services": services})
    await visit.open()
    await asyncio.sleep(0.2)
    assert visit.site.sent == []
    await visit.do(f"() => {{ document.cookie = '{cookie}; path=/' }}")
    await visit.events(1)
    await visit.gateway.drained()
    assert len(received(visit.gateway.sink)["ga4"]) == seen + 1
    narrower = cookie.replace(', "analytics"]', "]")
    await visit.do(f"() => {{ document.cookie = '{narrower}; path=/' }}")
    await visit.until(lambda: len(visit.site.choices()) == 2)
    assert [c["name"] for c in await visit.context.cookies()] == ["cc_cookie"]


async def test_google_defaults_for_regions_never_grant(visit: Visit) -> None:
    """The page cannot know which region's default holds: a refusal for any counts, a grant for some does not."""
    script = """window.dataLayer=[];function gtag(){dataLayer.push(arguments)};
    gtag('consent','default',{ad_storage:'granted',region:['US']}); gtag('consent','default',{analytics_storage:'denied',region:['DE']});
    gtag('consent','default',{analytics_storage:'granted'});"""
    await visit.open(script=script, attributes='data-wait="50"')
    (event,) = await visit.events(1)
    assert event["consent"] == {"gcd": "11l1p1l1l5"}


async def test_a_site_may_stop_waiting(visit: Visit) -> None:
    """With data-wait events leave without an answer after that time, for the policy's if_missing to judge."""
    began = time.monotonic()
    await visit.open(attributes='data-wait="400"')
    (event,) = await visit.events(1)
    assert time.monotonic() - began > 0.4
    assert event["consent"] == {}
    assert await visit.stored() == ([], 0)


async def test_gpc_is_told_with_every_event(stage: Any) -> None:
    """navigator.globalPrivacyControl is in the snapshot beside the answers."""
    async with visiting(stage, locale="de-DE") as visit:
        await visit.context.add_init_script("Object.defineProperty(navigator,'globalPrivacyControl',{value:true})")
        await visit.open(script=GRANT)
        (event,) = await visit.events(1)
        assert event["consent"]["gpc"] is True


async def test_views_of_an_application_and_from_the_history(visit: Visit) -> None:
    """pushState, replaceState and going back are page views of their own; a new fragment is none; landing ids stay with them."""
    await visit.open("/?gclid=Xy1&utm_campaign=sale&utm_source=mail&other=1#part", script=GRANT)
    await visit.do("history.pushState({}, '', '/two')")
    await visit.events(2)
    await visit.do("history.replaceState({}, '', '/three')")
    await visit.events(3)
    await visit.do("location.hash = 'x'")
    await visit.do("history.back()")
    events = await visit.events(3)
    await visit.do("history.go(-1)")
    events = await visit.events(4)
    root = visit.site.origin
    landed = f"{root}/?gclid=Xy1&utm_campaign=sale&utm_source=mail&other=1"
    assert [e["page"]["url"] for e in events] == [landed, f"{root}/two", f"{root}/three", landed]
    assert [e["page"]["referrer"] for e in events] == ["", landed, f"{root}/two", f"{root}/three"]
    assert all(e["click"] == {"gclid": "Xy1"} and e["campaign"] == {"name": "sale", "source": "mail"} for e in events)
    assert {e["event"] for e in events} == {"page_view"}


async def test_a_page_out_of_the_back_forward_cache_is_a_view(visit: Visit) -> None:
    """A `pageshow` that is persisted counts once more."""
    await visit.open(script=GRANT)
    await visit.events(1)
    await visit.do("window.dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true})); 0")
    await visit.events(2)


async def test_automatic_views_can_be_turned_off(visit: Visit) -> None:
    """With data-auto="0" only what the page says is sent."""
    await visit.open(script=GRANT + "ebb('page', {page: {title: 'Mine'}});", attributes='data-auto="0"')
    await visit.do("history.pushState({}, '', '/two')")
    (event,) = await visit.events(1)
    assert (event["event"], event["page"]["title"]) == ("page_view", "Mine")


GESTURES = """
<a id=out href="https://other.example/path?token=1">out</a><form id=f name=contact action="/e/p.gif"><input name=secret value=typed>
<button id=send>send</button></form><button id=tagged data-ebb-event=add_to_cart data-ebb-color=red><b id=inner>add</b></button>
<button id=plain>plain</button>"""
QUIET = """
document.addEventListener('click', (e) => { if (e.target.closest('a')) e.preventDefault() });
document.addEventListener('submit', (e) => e.preventDefault());"""
GESTURE_SCRIPT = "['#out','#send','#inner','#plain'].forEach(s=>document.querySelector(s).click());scrollTo(0,99999)"


async def test_gestures_are_off_unless_asked_for(visit: Visit) -> None:
    """Only an element that names its event is heard; links, forms and scrolling are not."""
    visit.site.body = GESTURES + "<pre>" + "\n" * 300 + "</pre>"
    await visit.open(script=GRANT + QUIET)
    await visit.do(GESTURE_SCRIPT)
    events = await visit.events(2)
    assert [e["event"] for e in events] == ["page_view", "add_to_cart"]
    assert events[1]["properties"] == {"color": "red"}


async def test_gestures_that_are_asked_for_tell_names_and_never_values(visit: Visit) -> None:
    """Outbound links without parameters, forms without what was typed, scroll depth once each."""
    visit.site.body = GESTURES + "<pre>" + "\n" * 300 + "</pre>"
    await visit.open(script=GRANT + QUIET, attributes="data-outbound=1 data-forms=1 data-scroll=1")
    await visit.events(1)
    await visit.do(GESTURE_SCRIPT)
    events = (await visit.events(8))[1:]
    found = {(e["event"], json.dumps(e["properties"], sort_keys=True)) for e in events}
    out = {"link_url": "https://other.example/path", "link_domain": "other.example", "outbound": True}
    expected = [("click", out), ("form_submit", {"form_id": "f", "form_name": "contact"}), ("add_to_cart", {"color": "red"})]
    expected += [("scroll", {"percent_scrolled": n}) for n in (25, 50, 75, 90)]
    assert found == {(name, json.dumps(properties, sort_keys=True)) for name, properties in expected}
    assert b"typed" not in b"".join(s.body for s in visit.site.sent)


async def test_pixels_get_the_same_id(visit: Visit) -> None:
    """The callback hands over the id that the gateway gets; a purchase's is its order number, the site's own id wins."""
    script = (
        GRANT
        + """window.ids=[];
    ebb('event','lead',{},id=>ids.push(id)); ebb('event','purchase',{order:{id:'A-77',value:1}},id=>ids.push(id));
    ebb('event','search',{id:'mine'},id=>ids.push(id));"""
    )
    await visit.open(script=script, attributes='data-auto="0"')
    events = await visit.events(3)
    assert await visit.do("ids") == [e["id"] for e in events]
    assert [e["id"] for e in events][1:] == ["A-77", "mine"]


async def test_pixels_are_not_called_without_consent(visit: Visit) -> None:
    """Before consent is known, and after a refusal, the callback stays silent."""
    await visit.open(script="window.ids=[];ebb('event','lead',{},id=>ids.push(id));")
    await asyncio.sleep(0.1)
    assert await visit.do("ids.length") == 0
    await visit.do(REFUSE)
    await visit.do("ebb('event','lead',{},id=>ids.push(id))")
    assert await visit.do("ids.length") == 0


async def test_what_is_set_goes_along(visit: Visit) -> None:
    """ebb('set') adds to every event, and an event's own words win."""
    script = GRANT + "ebb('set',{user:{id:'u1'},properties:{plan:'a',shop:'x'}});ebb('event','lead',{properties:{plan:'b'}});"
    await visit.open(script=script, attributes='data-auto="0"')
    (event,) = await visit.events(1)
    assert (event["user"], event["properties"]) == ({"id": "u1"}, {"plan": "b", "shop": "x"})


async def test_status_and_debug_speak_to_the_page(stage: Any) -> None:
    """ebb.status() tells what is honoured for the visitor to be shown; ebb.debug() what waits and what was sent."""
    async with visiting(stage, extra_http_headers={"Sec-GPC": "1"}) as visit:
        visit.site.country = "DE"
        await visit.open(script=GRANT)
        await visit.events(1)
        told = await visit.do("ebb.status()")
        assert (told["gpc"], told["optOutHonored"], told["sent"], told["held"]) == (True, True, 1, 0)
        assert told["text"]
        assert (await visit.do("ebb.debug()"))["consent"]["purposes"]["analytics"] == "granted"


async def test_an_outage_loses_nothing_while_the_page_lives(visit: Visit) -> None:
    """503 and no answer at all: everything is sent again after the pause, once, in order."""
    down = True
    visit.site.answer = lambda sent: 503 if down else 0
    await visit.open(script=GRANT, attributes='data-auto="0"')
    await visit.do("for (let i = 0; i < 60; i++) ebb('event', 'search', {properties: {n: i}})")
    await asyncio.sleep(0.5)
    assert visit.site.events() == []
    down = False
    await visit.until(lambda: len(visit.site.events()) >= 60, 8)
    events = await visit.events(60)
    assert [e["properties"]["n"] for e in events] == list(range(60))
    assert max(len(s.events()) for s in visit.site.sent) == 25
    visit.complaints.clear()  # the browser's own lines about the 503


async def test_one_bad_event_takes_no_other_with_it(visit: Visit) -> None:
    """A batch that is refused whole is sent again one by one; the bad event is given up and counted."""
    script = GRANT + "ebb('event','search');ebb('event','lead',{properties:{a:'\\ud800'}});ebb('event','login');"
    await visit.open(script=script, attributes='data-auto="0"')
    events = await visit.events(2)
    assert [e["event"] for e in events] == ["search", "login"]
    assert (await visit.do("ebb.debug()"))["lost"] == 1
    visit.complaints.clear()  # the browser's own lines about the 400


async def test_a_hidden_page_that_comes_back_sends_what_its_beacon_carried_once(visit: Visit) -> None:
    """Beacons cannot be trusted: their events are sent again when the page returns, under the same ids."""
    visit.site.answer = lambda sent: 503
    await visit.open(script=GRANT)
    await visit.until(lambda: len(visit.site.sent) >= 1)
    await visit.do(
        "() => { Object.defineProperty(document,'hidden',{value:true,configurable:true});"
        "document.dispatchEvent(new Event('visibilitychange')) }"
    )
    await visit.until(lambda: any(s.events() for s in visit.site.sent))
    visit.site.answer = lambda sent: 0
    await visit.do(
        "() => { Object.defineProperty(document,'hidden',{value:false});document.dispatchEvent(new Event('visibilitychange')) }"
    )
    await visit.events(1)
    assert len({e["id"] for s in visit.site.sent for e in s.events()}) == 1
    visit.complaints.clear()


async def test_the_last_event_on_leaving_arrives(stage: Any) -> None:
    """An event in the moment of leaving arrives in at least 99 of 100 runs, with and without another request under way."""
    runs = scaled(12)
    async with visiting(stage) as visit:
        visit.site.body = '<a id=go href="/elsewhere">go</a>'
        await visit.open(script=GRANT)
        await visit.until(lambda: len(visit.site.events()) == 1)
        visit.site.delay_s = 0.5
        visit.site.attributes = 'data-auto="0"'
        for n in range(runs):
            page = await visit.context.new_page()
            busy = "ebb('event','first');" if n % 2 else ""
            last = f"ebb('event','last',{{id:'last-{n}'}})"
            visit.site.script = GRANT + busy + (f"addEventListener('pagehide',()=>{last});" if n % 3 == 0 else "")
            await page.goto(visit.site.origin + f"/leave-{n}")
            await loaded(page)
            if n % 3 == 0:
                await page.close(run_before_unload=True)
            elif n % 3 == 1:
                await page.evaluate(f"() => {{ {last}; document.querySelector('#go').click() }}")
            else:
                await page.evaluate(f"() => {{ {last}; setTimeout(() => location.href='/gone') }}")
        deadline = time.monotonic() + 3
        arrived: set[str] = set()
        while len(arrived) < runs and time.monotonic() < deadline:
            arrived = {e["id"] for e in visit.site.events() if e["event"] == "last"}
            await asyncio.sleep(0.02)
        assert len(arrived) >= runs * 0.99, sorted(set(range(runs)) - {int(i[5:]) for i in arrived})
