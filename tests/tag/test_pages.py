"""What the tag sees of a page: views, gestures, ids for the platforms' own pixels, what it tells the page. In a real Chromium."""

from __future__ import annotations

import json

import pytest

from tests.tag.visit import GRANT, REFUSE, Stage, Visit, visiting

pytestmark = pytest.mark.asyncio(loop_scope="session")


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


@pytest.mark.parametrize("attributes", ["", "data-outbound=0 data-forms=0 data-scroll=0"])
async def test_gestures_are_off_unless_asked_for(visit: Visit, attributes: str) -> None:
    """Only an element that names its event is heard; links, forms and scrolling are not."""
    visit.site.body = GESTURES + "<pre>" + "\n" * 300 + "</pre>"
    await visit.open(script=GRANT + QUIET, attributes=attributes)
    await visit.do(GESTURE_SCRIPT)
    events = await visit.events(2)
    assert [e["event"] for e in events] == ["page_view", "add_to_cart"]
    assert events[1]["properties"] == {"color": "red"}


@pytest.mark.parametrize("attributes", ["data-outbound data-forms data-scroll", "data-outbound=1 data-forms=1 data-scroll=1"])
async def test_gestures_that_are_asked_for_tell_names_and_never_values(visit: Visit, attributes: str) -> None:
    """Outbound links without parameters, forms without what was typed, scroll depth once each."""
    visit.site.body = GESTURES + "<pre>" + "\n" * 300 + "</pre>"
    await visit.open(script=GRANT + QUIET, attributes=attributes)
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
    await visit.quiet()
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


async def test_a_second_copy_of_the_script_does_nothing(visit: Visit) -> None:
    """A page that embeds the tag twice still tells each view once, and what it says afterwards reaches the copy that knows the answer."""
    visit.site.body = '<script async src="/e/t.js"></script>'
    await visit.open(script=GRANT)
    await visit.do("new Promise((done) => document.readyState == 'complete' ? done() : addEventListener('load', done))")
    await visit.quiet()
    await visit.events(1)
    await visit.do("ebb('event', 'search')")
    await visit.events(2)


async def test_status_and_debug_speak_to_the_page(stage: Stage) -> None:
    """ebb.status() tells what is honoured for the visitor to be shown; ebb.debug() what waits and what was sent."""
    async with visiting(stage, extra_http_headers={"Sec-GPC": "1"}) as visit:
        await visit.open(script=GRANT)
        await visit.events(1)
        told = await visit.do("ebb.status()")
        assert (told["gpc"], told["optOutHonored"], told["sent"], told["held"]) == (True, True, 1, 0)
        assert told["text"]
        assert (await visit.do("ebb.debug()"))["consent"]["purposes"]["analytics"] == "granted"
        assert visit.complaints == []
