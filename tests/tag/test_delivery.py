"""What the page hands over arrives: through outages, refusals and the moment of leaving. In a real Chromium."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.scale import scaled
from tests.tag.site import Sent
from tests.tag.visit import GRANT, Stage, Visit, loaded, visiting

pytestmark = pytest.mark.asyncio(loop_scope="session")

HIDE = """() => { Object.defineProperty(document,'hidden',{value:true,configurable:true});
document.dispatchEvent(new Event('visibilitychange', {bubbles: true})) }"""
SHOW = "() => { Object.defineProperty(document,'hidden',{value:false});document.dispatchEvent(new Event('visibilitychange')) }"


#: Before the page's other scripts: `refused` counts the answers "later" that the tag has had time to read.
COUNTING = """const own = fetch; window.refused = 0; window.fetch = (...given) => own(...given).then((answer) => {
if (answer.status > 499) answer.clone().text().then(() => setTimeout(() => setTimeout(() => refused++, 10))); return answer });"""


async def refused_once(visit: Visit) -> None:
    """Until the tag knows that its events were not taken."""
    async with asyncio.timeout(20):
        while not await visit.do("refused"):
            await asyncio.sleep(0.005)


def only_beacons(sent: Sent) -> int:
    """A gateway that takes events from beacons alone; with a Retry-After no second try comes between."""
    return 503 if sent.path == "/e/v1/events" and not sent.beacon else 0


@pytest.mark.parametrize("status", [503, 429, 408])
async def test_an_outage_loses_nothing_while_the_page_lives(visit: Visit, status: int) -> None:
    """Whatever word the gateway has for "later": everything is sent again after a pause, once, in order, 25 events at a time."""
    down = True
    visit.site.answer = lambda sent: status if down and sent.events() else 0
    await visit.open(script=GRANT, attributes='data-auto="0"')
    await visit.do("for (let i = 0; i < 60; i++) ebb('event', 'search', {properties: {n: i}})")
    refusals = 3 if status == 408 else 1  # the first of these Chromium repeats by itself
    await visit.until(lambda: sum(s.status == status for s in visit.site.sent) >= refusals)
    assert visit.site.events() == []
    down = False
    await visit.until(lambda: len(visit.site.events()) >= 60)
    events = await visit.events(60)
    assert [e["properties"]["n"] for e in events] == list(range(60))
    assert max(len(s.events()) for s in visit.site.sent if s.status == 202) == 25
    visit.complaints.clear()  # the browser's own lines about the status


async def test_a_gateway_that_is_away_is_asked_again(stage: Stage) -> None:
    """No connection at all: the event arrives once there is one again."""
    async with visiting(stage, locale="en-GB") as visit:
        await visit.open(attributes='data-auto="0"')
        await visit.context.set_offline(True)
        await visit.do(GRANT + "ebb('event', 'search')")
        await visit.quiet()
        assert visit.site.sent == []
        await visit.context.set_offline(False)
        await visit.events(1)


async def test_the_gateways_own_pause_is_kept(visit: Visit) -> None:
    """Retry-After holds the next try back; a date, which only proxies write, is no pause of its own and no storm either."""
    visit.site.answer = lambda sent: 503 if sent.events() else 0
    visit.site.answer_headers = {"retry-after": "2"}
    await visit.open(script=GRANT)

    def tries() -> list[Sent]:
        return [sent for sent in visit.site.sent if sent.events()]

    await visit.until(lambda: len(tries()) == 1)
    await visit.quiet(40)  # a first pause of its own would be at most a second
    assert len(tries()) == 1
    visit.site.answer_headers = {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}
    await visit.until(lambda: len(tries()) == 2)
    await visit.quiet(10)
    assert len(tries()) <= 3
    visit.complaints.clear()  # the browser's own lines about the 503


async def test_memory_holds_the_newest_five_hundred(visit: Visit) -> None:
    """A gateway that stays away costs a page no more than 500 events of memory; what was lost is counted."""
    visit.site.answer = lambda sent: 503
    await visit.open(script=GRANT, attributes='data-auto="0"')
    await visit.do("for (let i = 0; i < 620; i++) ebb('event', 'search', {properties: {n: i}})")
    told = await visit.do("ebb.debug()")
    assert (told["waiting"], told["lost"]) == (500, 120)
    visit.complaints.clear()  # the browser's own lines about the 503


async def test_a_long_page_does_not_use_up_what_it_may_keep_alive(visit: Visit) -> None:
    """Browsers let a page keep 64 KiB of requests alive: far more than that in sum leaves without one that the browser refuses."""
    counting = (
        "const own = fetch; window.rejected = 0; window.fetch = (...given) => own(...given).catch((e) => { rejected++; throw e });"
    )
    await visit.open(script=counting + GRANT, attributes='data-auto="0"')
    await visit.do("for (let i = 0; i < 400; i++) ebb('event', 'search', {properties: {n: i}})")
    await visit.until(lambda: len(visit.site.events()) >= 400)
    assert sum(len(s.body) for s in visit.site.sent) > 128_000
    assert await visit.do("rejected") == 0


async def test_one_bad_event_takes_no_other_with_it(visit: Visit) -> None:
    """A batch that is refused whole is sent again one by one; the bad event is given up and counted."""
    script = GRANT + "ebb('event','search');ebb('event','lead',{properties:{a:'\\ud800'}});ebb('event','login');"
    await visit.open(script=script, attributes='data-auto="0"')
    events = await visit.events(2)
    assert [e["event"] for e in events] == ["search", "login"]
    await visit.quiet()
    assert (await visit.do("ebb.debug()"))["lost"] == 1
    visit.complaints.clear()  # the browser's own lines about the 400


async def test_large_events_are_split_and_still_arrive(visit: Visit) -> None:
    """Requests stay below what browsers let a leaving page send; an event that is larger than that goes alone, without keepalive."""
    await visit.open(script=GRANT, attributes='data-auto="0"')
    await visit.do("for (let i = 0; i < 9; i++) ebb('event', 'search', {properties: {n: i, a: 'x'.repeat(i == 4 ? 8000 : 5000)}})")
    long = "Object.fromEntries([...Array(12).keys()].map((n) => ['k' + n, 'y'.repeat(7000)]))"
    await visit.do(f"ebb('event', 'lead', {{properties: {long}}})")
    await visit.events(10)
    sizes = [(len(s.events()), len(s.body)) for s in visit.site.sent if s.events()]
    assert max(size for count, size in sizes if count > 1) < 17_000
    assert max(size for count, size in sizes if count == 1) > 80_000


async def test_a_hidden_page_that_comes_back_sends_what_its_beacon_carried_once(visit: Visit) -> None:
    """Beacons cannot be trusted: their events are sent again when the page returns, under the same ids."""
    visit.site.answer = lambda sent: 503
    await visit.open(script=GRANT)
    await visit.until(lambda: len(visit.site.sent) >= 1)
    await visit.do(HIDE)
    await visit.until(lambda: any(s.events() and s.beacon for s in visit.site.sent))
    visit.site.answer = lambda sent: 0
    await visit.do(SHOW)
    await visit.events(1)
    assert len({e["id"] for s in visit.site.sent for e in s.events()}) == 1
    visit.complaints.clear()  # the browser's own lines about the 503


async def test_a_hidden_page_hands_over_at_once_and_each_event_to_one_beacon(visit: Visit) -> None:
    """Hidden is the last sure moment: what waits leaves by beacon, what happens later leaves by a beacon of its own, nothing twice."""
    visit.site.answer, visit.site.answer_headers = only_beacons, {"retry-after": "60"}
    await visit.open(script=COUNTING + GRANT, attributes='data-auto="0"')
    await visit.do("ebb('event', 'search')")
    await refused_once(visit)
    await visit.do(HIDE)
    assert [e["event"] for e in await visit.events(1)] == ["search"]
    await visit.do("ebb('event', 'lead')")
    assert [e["event"] for e in await visit.events(2)] == ["search", "lead"]
    assert [c["consent"]["purposes"]["analytics"] for c in visit.site.choices()] == ["granted"]
    visit.complaints.clear()  # the browser's own lines about the 503


async def test_a_request_under_way_is_not_sent_a_second_time_by_a_beacon(visit: Visit) -> None:
    """What `fetch` already carries with keepalive is left to it."""
    visit.site.delay_s = 0.3
    await visit.open(script=GRANT)
    await visit.until(lambda: any(s.events() for s in visit.site.sent))
    await visit.do(HIDE)
    await visit.events(1)
    assert [s.beacon for s in visit.site.sent if s.events()] == [False]


#: Ways of leaving, by the number of the page: each says its last event at the very end.
WAYS = """
const n = +location.pathname.slice(7), next = '/leave-' + (n + 1), last = () => ebb('event', 'last', {id: 'last-' + n});
const ways = [
  () => { last(); location.href = next },
  () => { last(); const a = document.createElement('a'); a.href = next; document.body.append(a); a.click() },
  () => { addEventListener('pagehide', last); location.href = next },
  () => { addEventListener('visibilitychange', last); location.href = next },
  () => { last(); setTimeout(() => (location.href = next)) },
  () => { ebb('event', 'first'); setTimeout(() => { last(); location.href = next }) },
];
const ready = () => (window.ebb.status ? n < RUNS && ways[n % ways.length]() : setTimeout(ready, 1));
ready();
"""


def arrived(visit: Visit) -> set[str]:
    """Ids of the last events that the gateway has taken."""
    return {e["id"] for e in visit.site.events() if e["event"] == "last"}


async def test_the_last_event_on_leaving_arrives(visit: Visit) -> None:
    """An event in the moment of leaving arrives in at least 99 of 100 runs, in six ways of leaving, busy or not."""
    runs = scaled(100)
    await visit.open(script=GRANT)
    await visit.events(1)
    visit.site.delay_s = 0.02
    visit.site.script, visit.site.attributes = GRANT + WAYS.replace("RUNS", str(runs)), 'data-auto="0"'
    await visit.page.goto(visit.site.origin + "/leave-0")
    async with asyncio.timeout(60 + runs):
        while len(arrived(visit)) < runs and not visit.page.url.endswith(f"/leave-{runs}"):
            await asyncio.sleep(0.02)
    for _ in range(100):  # the last ones are still on their way
        if len(arrived(visit)) == runs:
            break
        await asyncio.sleep(0.02)
    assert len(arrived(visit)) >= runs * 0.99, sorted({f"last-{n}" for n in range(runs)} - arrived(visit))


async def test_the_last_event_of_a_tab_that_is_closed_arrives(stage: Stage) -> None:
    """Closing the tab is leaving, too."""
    runs = scaled(4)
    async with visiting(stage, locale="en-GB") as visit:
        await visit.open(script=GRANT)
        await visit.events(1)
        for n in range(runs):
            page = await visit.context.new_page()
            visit.site.script = GRANT + f"addEventListener('pagehide',()=>ebb('event','last',{{id:'last-{n}'}}));"
            await page.goto(visit.site.origin + f"/close-{n}")
            await loaded(page)
            await page.close(run_before_unload=True)
        await visit.until(lambda: len(arrived(visit)) >= runs * 0.99)


async def leaves(visit: Visit, before: str, *, runs: int = 4) -> int:
    """How many last events arrived of pages that were left while the gateway answered beacons alone."""
    visit.site.answer, visit.site.answer_headers = only_beacons, {"retry-after": "60"}
    for n in range(runs):
        await visit.open(f"/page-{n}", script=COUNTING + GRANT + before, attributes='data-auto="0"')
        visit.site.sent.clear()
        await visit.do(f"ebb('event', 'last', {{id: 'last-{n}'}})")
        await refused_once(visit)
        await visit.page.goto("about:blank")
        for _ in range(200):
            if arrived(visit):
                break
            await asyncio.sleep(0.01)
        if not arrived(visit):
            return n
    visit.complaints.clear()  # the browser's own lines about the 503
    return runs


async def test_a_browser_that_does_not_say_it_hides_a_page_is_left_by_pagehide(visit: Visit) -> None:
    """Safari tells `pagehide` alone on some ways out: that is enough."""
    assert await leaves(visit, "addEventListener('visibilitychange', (e) => e.stopImmediatePropagation(), true);") == 4


async def test_a_browser_that_never_says_pagehide_is_left_by_hiding(visit: Visit) -> None:
    """Phones end a page without `pagehide`: hiding it is enough."""
    assert await leaves(visit, "addEventListener('pagehide', (e) => e.stopImmediatePropagation(), true);") == 4


async def test_a_request_that_waits_for_a_connection_outlives_its_page(visit: Visit) -> None:
    """With all of the browser's connections to the host taken, an event that `fetch` has in hand still leaves after the page."""
    await visit.open(script=GRANT)
    await visit.events(1)
    visit.site.attributes = 'data-auto="0"'
    await visit.open("/busy", script=GRANT, attributes='data-auto="0"')
    await visit.do("() => { for (let i = 0; i < 8; i++) fetch('/hang?' + i).catch(() => 0) }")
    await visit.do("new Promise((done) => { ebb('event', 'last', {id: 'last-0'}); setTimeout(done, 50) })")
    await visit.page.goto("about:blank")
    visit.site.hanging.set()
    # The browser tells the page of an end that the request outlives: a beacon may carry the event once more, under the same id.
    await visit.until(lambda: any(not s.beacon for s in visit.site.sent if any(e["id"] == "last-0" for e in s.events())))
    visit.complaints.clear()  # what the browser says about the requests that hung


async def test_a_choice_made_in_the_moment_of_leaving_counts(visit: Visit) -> None:
    """A banner that writes its cookie and leaves at once: what waited for the answer leaves with it, and the choice is told."""
    services: dict[str, list[str]] = {"necessary": [], "analytics": [], "marketing": []}
    cookie = json.dumps({"categories": ["necessary", "analytics"], "services": services})
    await visit.open()
    await visit.do(f"() => {{ document.cookie = 'cc_cookie={cookie}; path=/'; location.href = 'about:blank' }}")
    await visit.until(lambda: visit.names() == ["page_view"])
    await visit.until(lambda: len(visit.site.choices()) == 1)
    await visit.page.wait_for_url("about:blank")  # what it sent may be here before the page is gone
    visit.complaints.clear()  # what the browser says about requests that outlived their page
