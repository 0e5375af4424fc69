from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from ebbgate.choices import Choices
from ebbgate.collect.native import Collected, parse_event
from ebbgate.edge.head import Head, one_cookie
from ebbgate.edge.visitor_cookie import VisitorCookie
from ebbgate.errors import ConfigError
from ebbgate.model import Consent, ConsentState, Event, Model, Place, PurposeConsent, Signals, Trust
from ebbgate.settings import VisitorCookieSettings, load_settings
from ebbgate.store.keys import KeyRing

NOW_MS = 1_763_632_000_000
DAY_MS = 86_400_000
KEYS = KeyRing.ephemeral("test")
STATES = {"yes": ConsentState.GRANTED, "no": ConsentState.DENIED, "?": ConsentState.UNKNOWN}


class Recorded:
    """Stands in for the store: what is on record for every subject."""

    def __init__(self, choices: Mapping[str, tuple[str, int]]) -> None:
        self._choices = choices

    async def choices(self, subjects: Collection[bytes]) -> Mapping[bytes, Mapping[str, tuple[str, int]]]:
        return dict.fromkeys(subjects, self._choices)


def cookie(recorded: Mapping[str, tuple[str, int]] | None = None, source: str = "event", **settings: Any) -> VisitorCookie:
    """A cookie under a policy whose purposes are the event's own, each `yes`, `no` or `?`."""

    def govern(signals: Signals, place: Place, now_ms: int) -> tuple[None, Consent]:
        states = {name: PurposeConsent(STATES[word], source, "said") for name, word in signals.purposes}
        return None, Consent(Model.OPT_IN, states)

    choices = Choices(
        Recorded(recorded or {}),  # type: ignore[arg-type]  # the part of the store that is asked
        KEYS, clock_ms=lambda: NOW_MS, entropy=bytes, wake=lambda _: None,
    )  # fmt: skip
    return VisitorCookie(VisitorCookieSettings(**settings), choices, KEYS, govern=govern, entropy=lambda n: b"\x07" * n)


def head(value: str | None = None) -> Head:
    return Head({"headers": [(b"cookie", f"a=b; ebb_id={value}".encode())] if value else []})


def event(trust: Trust = Trust.BROWSER, **parts: Any) -> Event:
    return parse_event({"event": "page_view", **parts}, site="shop", trust=trust, received_ms=NOW_MS)[0]


def collected(analytics: str = "yes", *, trust: Trust = Trust.BROWSER, **parts: Any) -> Collected:
    return Collected(event(trust, **parts), Signals(purposes=(("analytics", analytics),)))


def asked(made: VisitorCookie, given: Head, *events: Collected) -> tuple[list[Any], list[str]]:
    """(client ids of the events, Set-Cookie headers)."""
    found, headers = asyncio.run(made.for_events(given, events, Place(), NOW_MS))
    ids = [one.event.fields.get("visitor.client_id") if one.event else None for one in found]
    return ids, [value.decode() for _, value in headers]


def test_a_grant_sets_the_cookie_and_names_the_event() -> None:
    """The id is in the event that made it, in its subjects, and in a header with every attribute."""
    found, headers = asyncio.run(cookie().for_events(head(), [collected()], Place(), NOW_MS))
    ((name, value),) = headers
    made = re.fullmatch(rb"ebb_id=(\d+\.1763632000); Max-Age=34128000; Path=/; HttpOnly; Secure; SameSite=Lax", value)
    assert name == b"set-cookie"
    assert made is not None
    assert found[0].event is not None
    assert found[0].event.fields["visitor.client_id"] == made[1].decode()
    assert found[0].event.subjects == (f"client:{made[1].decode()}",)


@pytest.mark.parametrize("word", ["no", "?"])
def test_without_a_grant_there_is_no_cookie(word: str) -> None:
    """A refusal or silence sets nothing and names nobody."""
    assert asked(cookie(), head(), collected(word)) == ([None], [])


@pytest.mark.parametrize("source", ["default", "none", ""])
def test_what_nobody_answered_is_no_grant(source: str) -> None:
    """Where a law allows what was not asked, the state is granted by default: that sets no cookie."""
    assert asked(cookie(source=source), head(), collected()) == ([None], [])


def test_every_needed_purpose_must_be_granted() -> None:
    """One of two is not enough, and a purpose that the policy does not know is not granted."""
    assert asked(cookie(needs=("analytics", "advertising")), head(), collected()) == ([None], [])


def test_each_event_is_judged_by_its_own_consent() -> None:
    """Of one request, only the events that grant get the new id, all the same one."""
    ids, headers = asked(cookie(), head(), collected("yes"), collected("no"), collected("yes"))
    assert ids[1] is None
    assert ids[0] == ids[2] is not None
    assert len(headers) == 1


@pytest.mark.parametrize("parts", [{"visitor": {"client_id": "1.2"}}, {"visitor": {"anonymous_id": "x"}}])
def test_who_has_an_id_gets_no_other(parts: Any) -> None:
    """An event that names its browser itself makes no cookie."""
    assert asked(cookie(), head(), collected(**parts))[1] == []


def test_servers_get_no_cookie() -> None:
    """A server's event is not its visitor's browser."""
    assert asked(cookie(), head(), collected(trust=Trust.SERVER)) == ([None], [])


def test_a_refusal_on_record_outweighs_the_page() -> None:
    """Somebody signed in who refused on another device gets no cookie, whatever this page says."""
    refused = {"analytics": ("denied", NOW_MS - 1)}
    assert asked(cookie(refused), head(), collected(user={"id": "u1"})) == ([None], [])
    assert len(asked(cookie(), head(), collected(user={"id": "u1"}))[1]) == 1


def test_a_cookie_that_is_there_is_used_and_not_prolonged() -> None:
    """Its id comes with the request, and nothing is set again."""
    made = cookie()
    assert made.fields({}, head("7.1763000000"), NOW_MS) == {"visitor.client_id": "7.1763000000"}
    assert made.fields({"visitor.client_id": "ga"}, head("7.1763000000"), NOW_MS) == {"visitor.client_id": "ga"}
    assert asked(made, head("7.1763000000"), collected())[1] == []


def test_the_cookies_id_completes_events_that_name_no_client() -> None:
    """For dialects that are parsed first: an event's own client id stays, servers' events and errors are left as they are."""
    made, brought = cookie(), head("7.1763000000")
    events = [collected(), collected(visitor={"client_id": "1.2"}), collected(trust=Trust.SERVER), Collected(None)]
    found = made.on_events(events, brought, NOW_MS)
    assert [one.event.fields.get("visitor.client_id") if one.event else "none" for one in found] == [
        "7.1763000000",
        "1.2",
        None,
        "none",
    ]
    assert found[0].event is not None
    assert found[0].event.subjects == ("client:7.1763000000",)
    assert made.on_events(events, head(), NOW_MS) == events


@pytest.mark.parametrize(
    "value",
    ["", "x", "7", "7.17", "1.1763000000x", "7.1763000000.1", "-7.1763000000", "٧.1763000000", "7.1600000000", "7.1999999999"],
)
def test_a_cookie_that_is_not_ours_is_none(value: str) -> None:
    """Another form, another age or a time to come: as if there were none."""
    assert cookie().read(head(value), NOW_MS) is None


def test_a_cookie_ends_after_its_days_even_where_a_browser_keeps_it() -> None:
    """The second of its making is in it."""
    value = f"7.{NOW_MS // 1000}"
    assert cookie(days=10).read(head(value), NOW_MS + 10 * DAY_MS) == value
    assert cookie(days=10).read(head(value), NOW_MS + 11 * DAY_MS + 1000) is None


def test_a_refusal_removes_the_cookie() -> None:
    """An event that refuses, from a browser that has the cookie, takes it away; silence does not."""
    assert asked(cookie(), head("7.1763000000"), collected("no"))[1] == [
        "ebb_id=; Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Lax"
    ]
    assert asked(cookie(), head("7.1763000000"), collected("?"))[1] == []
    assert asked(cookie(source="default"), head("7.1763000000"), collected("no"))[1] == []


def test_a_choice_sets_or_removes_it() -> None:
    """A grant without any id of the browser makes one; a refusal removes what is there; half a grant does nothing."""
    made = cookie()
    named, headers = made.for_choice(head(), event(), {"analytics": "granted"}, NOW_MS)
    assert named.subjects[0].startswith("client:")
    assert len(headers) == 1
    assert made.for_choice(head(), event(), {"advertising": "granted"}, NOW_MS)[1] == []
    assert made.for_choice(head(), event(visitor={"client_id": "1"}), {"analytics": "granted"}, NOW_MS)[1] == []
    assert b"Max-Age=0" in made.for_choice(head("7.1763000000"), event(), {"analytics": "denied"}, NOW_MS)[1][0][1]
    assert made.for_choice(head(), event(), {"analytics": "denied"}, NOW_MS)[1] == []
    assert made.for_choice(head(), event(Trust.SERVER), {"analytics": "granted"}, NOW_MS)[1] == []


def test_turned_off_it_does_not_exist() -> None:
    """Nothing is read, set or removed."""
    off = cookie(enabled=False)
    assert off.read(head("7.1763000000"), NOW_MS) is None
    assert asked(off, head(), collected()) == ([None], [])
    assert off.for_choice(head("7.1763000000"), event(), {"analytics": "denied"}, NOW_MS)[1] == []


@pytest.mark.parametrize("change", [{"days": 401}, {"days": 0}, {"name": "a b"}, {"name": "a=b"}, {"needs": []}])
def test_settings_that_would_break_the_promise_are_refused(change: Any) -> None:
    """No longer than 400 days, a plain name, at least one purpose."""
    with pytest.raises(ConfigError, match="visitor_cookie"):
        load_settings(None, overrides={f"visitor_cookie.{key}": value for key, value in change.items()})


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"ebb_id=1", "1"), (b"a=b;ebb_id=1; ebb_id=2", "1"), (b"xebb_id=1", None), (b"ebb_id", None), (b"", None),
        (b"ebb_id=\xff", None), (b"ebb_id=\x07", None), (b"a=1; " * 300 + b"ebb_id=1", None), (b"a=" + b"x" * 20_000 + b"; ebb_id=1", None),
    ],
)  # fmt: skip
def test_one_cookie_is_read_within_bounds(raw: bytes, expected: str | None) -> None:
    """The first of a name, printable ASCII, among the first 200 of a head of at most 16 KiB."""
    assert one_cookie(raw, "ebb_id") == expected


@pytest.mark.parametrize("word", ["yes", "no", "?"])
@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("value", [None, "1.1763631000", "odd"])
def test_who_is_not_concerned_gets_nothing(word: str, enabled: bool, value: str | None) -> None:
    """Wherever a look at the events says that the cookie has no part in them, judging each changes none and sets none."""
    ours = cookie(enabled=enabled)
    named, nameless = collected(word, visitor={"anonymous_id": "a"}), collected(word)
    server, broken = collected(word, trust=Trust.SERVER), Collected(None)
    for events in ([named], [nameless], [server], [broken], [server, broken, named], [named, nameless], []):
        changed = asyncio.run(ours.for_events(head(value), events, Place(), NOW_MS)) != (events, [])
        assert ours.concerns(head(value), events) or not changed
        assert ours.concerns(head(value), events) == (enabled and (value is not None or nameless in events))
