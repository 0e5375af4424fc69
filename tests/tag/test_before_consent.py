"""Nothing leaves and nothing is stored before consent is known; what is taken back stops. In a real Chromium."""

from __future__ import annotations

import time

import pytest

from tests.e2e.harness import received
from tests.tag.visit import GRANT, NO_POLLING, REFUSE, Stage, Visit, visiting

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_nothing_leaves_and_nothing_is_stored_before_consent_is_known(visit: Visit) -> None:
    """Before consent: no request, no cookie, no storage. After: exactly the events that waited, in order, each with the consent."""
    await visit.open(script="ebb('event', 'view_item', {order: {value: 5}});")
    await visit.do("ebb('event', 'add_to_cart', {properties: {color: 'red'}})")
    await visit.quiet(20)  # longer than the tag's own watch
    assert visit.site.sent == []
    assert await visit.stored() == ([], 0)
    await visit.do(GRANT)
    events = await visit.events(3)
    assert [e["event"] for e in events] == ["view_item", "page_view", "add_to_cart"]
    assert all(e["consent"] == {"purposes": {"analytics": "granted", "advertising": "granted"}} for e in events)
    assert events[1]["page"] == {"url": f"{visit.site.origin}/", "referrer": "", "title": "Page /", "path": "/"}
    assert len({e["id"] for e in events}) == 3


async def test_a_prerendered_page_waits_until_it_is_shown(stage: Stage) -> None:
    """Even with an answer nothing leaves a page that the browser only prepares."""
    script = "Object.defineProperty(document, 'prerendering', {value: true, configurable: true})"
    async with visiting(stage, init=script) as visit:
        await visit.open(script=GRANT)
        await visit.quiet()
        assert visit.site.sent == []
        shown = "Object.defineProperty(document,'prerendering',{value:false});"
        shown += "document.dispatchEvent(new Event('prerenderingchange'))"
        await visit.do(f"() => {{ {shown} }}")
        await visit.events(1)


async def test_what_waits_for_an_answer_is_bounded(visit: Visit) -> None:
    """A page that is never answered keeps its last 200 events, and says so."""
    await visit.open(
        script="for (let i = 0; i < 250; i++) ebb('event', 'search', {properties: {n: i}});", attributes='data-auto="0"'
    )
    assert (await visit.do("ebb.debug()"))["held"] == 200
    await visit.do(GRANT)
    await visit.until(lambda: len(visit.site.events()) >= 200)
    assert [e["properties"]["n"] for e in await visit.events(200)] == list(range(50, 250))


async def test_after_a_grant_the_server_sets_its_cookie_and_no_script_can_read_it(visit: Visit) -> None:
    """The id is HttpOnly, Secure and Lax for 395 days, comes with the events, and reaches the destination as client id."""
    await visit.gateway.drained()  # of the visits before
    seen = len(received(visit.gateway.sink)["ga4"])
    await visit.open(script=GRANT)
    await visit.events(1)
    (cookie,) = await visit.cookies()
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
    await visit.quiet()
    assert visit.site.sent == []
    assert await visit.stored() == ([], 0)


async def test_the_site_may_let_its_gateway_decide_about_refusals(visit: Visit) -> None:
    """With data-refused="send" events leave with their refusal, for the gateway to withhold and record."""
    await visit.open(script=REFUSE, attributes='data-refused="send"')
    (event,) = await visit.events(1)
    assert event["consent"] == {"purposes": {"analytics": "denied", "advertising": "denied"}}
    assert await visit.stored() == ([], 0)


async def test_a_withdrawal_stops_the_page_and_reaches_the_gateway(visit: Visit) -> None:
    """After a withdrawal no event leaves, the gateway has recorded it, the cookie and all that was in storage are gone."""
    await visit.open(script=GRANT)
    await visit.events(1)
    await visit.until(lambda: len(visit.site.choices()) == 1)
    await visit.do("ebb('event', 'search')")
    await visit.events(2)
    await visit.do(REFUSE)
    await visit.until(lambda: len(visit.site.choices()) == 2)
    await visit.do("ebb('event', 'purchase', {order: {id: 'A-2'}})")
    await visit.quiet()
    assert visit.names() == ["page_view", "search"]
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
    await visit.quiet()
    assert len(visit.site.choices()) == 2
    assert visit.names() == ["page_view"]


async def test_a_withdrawal_that_did_not_arrive_is_told_again_by_the_next_page(visit: Visit) -> None:
    """Only what the gateway has taken counts as told."""
    await visit.open(script=GRANT)
    await visit.events(1)
    await visit.until(lambda: len(visit.site.choices()) == 1)
    visit.site.answer = lambda sent: 503 if sent.path == "/e/consent" else 0
    await visit.do(REFUSE)
    await visit.until(lambda: any(s.status == 503 for s in visit.site.sent))
    visit.site.answer = lambda sent: 0
    await visit.open("/next", script=REFUSE)
    await visit.until(lambda: "denied" in visit.site.choices()[-1]["consent"]["purposes"].values())
    await visit.forgotten()
    visit.complaints.clear()  # the browser's own line about the 503


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


async def test_what_is_granted_later_does_not_reach_back(visit: Visit) -> None:
    """An event that waits for a failing gateway keeps the refusal of its moment when the visitor allows more."""
    visit.site.answer = lambda sent: 503
    await visit.open(script="ebb('consent', {analytics: 'granted', advertising: 'denied'});")
    await visit.until(lambda: len(visit.site.sent) >= 1)
    await visit.do(GRANT)
    visit.site.answer = lambda sent: 0
    (event,) = await visit.events(1)
    assert event["consent"]["purposes"]["advertising"] == "denied"
    visit.complaints.clear()  # the browser's own line about the 503


async def test_what_is_taken_back_holds_for_events_that_have_not_left(visit: Visit) -> None:
    """An event that waits for a failing gateway leaves with the narrower consent, or not at all when everything is refused."""
    visit.site.answer = lambda sent: 503
    await visit.open(script=GRANT)
    await visit.until(lambda: len(visit.site.sent) >= 1)
    await visit.do("ebb('consent', {analytics: 'granted', advertising: 'denied'})")
    visit.site.answer = lambda sent: 0
    (event,) = await visit.events(1)
    assert event["consent"]["purposes"]["advertising"] == "denied"
    visit.site.answer = lambda sent: 503 if sent.events() else 0
    await visit.do("ebb('event', 'search')")
    await visit.until(lambda: any(s.status == 503 and s.events() for s in visit.site.sent))
    await visit.do(REFUSE)
    visit.site.answer = lambda sent: 0
    await visit.until(lambda: "granted" not in visit.site.choices()[-1]["consent"]["purposes"].values())
    assert (await visit.do("ebb.debug()"))["lost"] == 1
    assert visit.names() == ["page_view"]
    visit.complaints.clear()  # the browser's own lines about the 503


async def test_a_site_may_stop_waiting(visit: Visit) -> None:
    """With data-wait events leave without an answer after that time, for the policy's if_missing to judge; nothing is stored."""
    began = time.monotonic()
    await visit.open(attributes='data-wait="300"')
    (event,) = await visit.events(1)
    assert time.monotonic() - began > 0.3
    assert event["consent"] == {}
    assert await visit.stored() == ([], 0)


async def test_the_session_goes_along_and_is_kept_only_after_a_grant(visit: Visit) -> None:
    """The second in which the visit began: the same on the next page, another after half an hour, nothing in storage without a grant."""
    await visit.open(script="", attributes='data-wait="1"')
    await visit.events(1)
    assert await visit.stored() == ([], 0)
    await visit.open("/granted", script=GRANT)
    await visit.events(2)
    await visit.until(lambda: len(visit.site.choices()) == 1)
    await visit.do("ebb('event', 'search')")
    events = await visit.events(3)
    session = events[1]["visitor"]["session_id"]
    assert abs(int(session) - time.time()) < 600
    assert events[2]["visitor"]["session_id"] == session
    await visit.do("localStorage.ebb_s = ['1700000000', Math.floor(Date.now() / 1000) - 1700].join()")
    await visit.open("/within", script=GRANT)
    assert (await visit.events(4))[3]["visitor"]["session_id"] == "1700000000"
    await visit.do("localStorage.ebb_s = ['1700000000', Math.floor(Date.now() / 1000) - 1900].join()")
    await visit.open("/later", script=GRANT + "ebb('set', {visitor: {client_id: 'c.1'}});")
    later = (await visit.events(5))[4]["visitor"]
    assert abs(int(later["session_id"]) - time.time()) < 600
    assert later["client_id"] == "c.1"


async def test_shut_storage_keeps_nothing_from_working(stage: Stage) -> None:
    """Where a browser refuses storage, events still leave, and the choice is told anew by each page."""
    shut = "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('shut', 'SecurityError') }})"
    async with visiting(stage, init=shut) as visit:
        await visit.open(script=GRANT)
        await visit.events(1)
        await visit.open("/next", script=NO_POLLING + GRANT)
        await visit.events(2)
        await visit.until(lambda: len(visit.site.choices()) == 2)
        assert visit.complaints == []
