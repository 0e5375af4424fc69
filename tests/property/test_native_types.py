"""The quick reading of native bodies gives what the careful one gives, or leaves the body to it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import event as told
from hypothesis import given
from hypothesis import strategies as st

from ebbgate.collect.native import Collected, decode, parse_body
from ebbgate.collect.native_types import loads_known
from ebbgate.collect.strict_json import loads
from ebbgate.errors import RequestError
from ebbgate.fields import FIELDS, GROUPS, ITEM_KEYS, Kind
from ebbgate.model import Trust
from tests.bench.bench_gateway import batch, single

NOW = 1_760_000_000_000
#: As `tag/outbox.js` writes it.
TAG = (
    b'{"sent_at":"2026-11-22T11:00:00.000Z","events":[{"event":"page_view","time":"2026-11-22T10:59:59.000Z","page":'
    b'{"url":"https://shop.example/","referrer":"","title":"Shop","path":"/"},"click":{},"campaign":{},"id":"1-2-3-4","consent":'
    b'{"purposes":{"analytics":"granted"}},"visitor":{"session_id":"1763632000"}}]}'
)
TEXTS = st.text(max_size=12) | st.sampled_from(["", "a:b", 'say "hi"', "\\", "é", "\x00", "\ud800", "shoe-42"])
SCALARS = TEXTS | st.integers(-(2**54), 2**54) | st.floats() | st.booleans() | st.none()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6)
PATHS = st.sampled_from([path.split(".") for path in FIELDS if not path.startswith("event.")])
ITEMS = st.lists(st.dictionaries(st.sampled_from([*ITEM_KEYS, "odd"]), SCALARS, max_size=4) | VALUES, max_size=3)
ENVELOPE = st.sampled_from(["event", "id", "time", "source", "type", "consent", "properties", *GROUPS, "odd"])


@st.composite
def events(draw: st.DrawFn) -> Any:
    """A good event in which up to three things are something else."""
    made: dict[str, Any] = json.loads(single())
    for _ in range(draw(st.integers(0, 2))):
        match draw(st.integers(0, 4)):
            case 0:
                made[draw(ENVELOPE)] = draw(VALUES)
            case 1:
                made.pop(draw(ENVELOPE), None)
            case 2:
                group, name = draw(PATHS)
                made[group] = {**(found if isinstance(found := made.get(group), dict) else {}), name: draw(SCALARS)}
            case 3:
                made["order"] = {"id": "A-1", "items": draw(ITEMS)}
            case _:
                made["properties"] = draw(st.dictionaries(TEXTS, SCALARS, max_size=4))
    return made


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Such events as a client writes them, alone or together, sometimes with a pair twice."""
    found = draw(events())
    if draw(st.booleans()):
        found = {"events": [found, *draw(st.lists(events(), max_size=2))]}
        if draw(st.booleans()):
            found[draw(st.sampled_from(["sent_at", "consent"]))] = draw(SCALARS)
    text = json.dumps(found, ensure_ascii=draw(st.booleans()), separators=draw(st.sampled_from([(",", ":"), (", ", ": ")])))
    if draw(st.integers(0, 5)) == 0:
        pair = draw(st.sampled_from(re.findall(r'"[a-z_]+": ?"[a-z0-9-]+"', text) or ["{}"]))
        text = text.replace(pair, f"{pair},{pair}", 1)
    return text.encode("utf-8", "surrogatepass")


def answer(read: Callable[[], list[Collected]]) -> list[Any]:
    """What comes of it, with the types of values, which `==` would not tell apart; or the code of the refusal."""
    try:
        collected = read()
    except RequestError as error:
        return [error.code]
    return [
        (c.event, c.signals, c.id, c.ignored, c.error and c.error.code)
        + (() if c.event is None else tuple((path, type(value), repr(value)) for path, value in c.event.fields.items()))
        for c in collected
    ]


@given(bodies(), st.sampled_from(Trust))
def test_quick_and_careful_agree(body: bytes, trust: Trust) -> None:
    """Whatever is sent: what the types let pass is what reading value by value makes of it, errors and names left out included."""
    value = loads_known(body)
    told("quick" if value is not None else "careful")
    if value is None:
        return
    careful = loads(body)  # and it may refuse nothing
    how: dict[str, Any] = {"site": "shop", "trust": trust, "received_ms": NOW, "max_events": 50, "new_id": lambda: "made"}
    assert repr(value) == repr(careful)
    assert answer(lambda: parse_body(value, known=True, **how)) == answer(lambda: parse_body(careful, **how))


def test_what_a_shop_sends_is_read_quickly() -> None:
    """Plain events, alone and together, with and without blanks, and what the tag sends, need no second look."""
    for body in (
        single(),
        batch(20),
        json.dumps(json.loads(batch(3))).encode(),
        b'{"event":"page_view","consent":{"gcs":"G111"}}',
        TAG,
    ):
        assert loads_known(body) is not None


@pytest.mark.parametrize(
    "body",
    [
        b'{"event":"page_view","event":"purchase"}',
        b'{"event":"page_view","page":{"url":"https://a.example/","url":"https://b.example/"}}',
        b'{"event":"page_view","consent":{"purposes":{"analytics":"denied","analytics":"granted"}}}',
        b'{"event":"page_view","odd":1}',
        b'{"event":"page_view","page":{"odd":"x"}}',
        b'{"event":"purchase","order":{"items":[{"id":"a","name":""}]}}',
        b'{"event":"page_view","order":{"value":"5"}}',
        b'{"event":"page_view","order":{"id":5}}',
        b'{"event":"page_view","order":{"value":9007199254740993}}',
        b'{"event":"purchase","order":{"items":[{"id":"a","url":"https://shop.example/?email=ana@example.com"}]}}',
        b'{"event":"purchase","order":{"items":[{"id":"a","color":"red"}]}}',
        b'{"event":"page_view","properties":{"a":{"b":1}}}',
        b'{"event":"page_view","properties":{"a":null}}',
        b'{"event":"page_view","id":""}',
        b'{"event":"page_view","search":{"term":"a\\u0000b"}}',
        b'{"event":"page_view","search":{"term":"' + b"x" * 9000 + b'"}}',
        b'{"events":[{"event":"page_view"}],"consent":{}}',
        b"[]",
        b"5",
        b"",
    ],
)
def test_what_needs_a_second_look_gets_it(body: bytes) -> None:
    """Twins, names of no table, other types, empty and odd texts, addresses of products, nested properties: never the quick way."""
    assert loads_known(body) is None


@pytest.mark.parametrize("trust", list(Trust))
def test_every_field_is_read_alike(trust: Trust) -> None:
    """Each field of the table goes the quick way; what only a server may state is left out of a browser's event there too."""
    made: dict[str, Any] = {"event": "purchase"}
    values = {Kind.TEXT: "text", Kind.NUMBER: 5, Kind.BOOLEAN: True, Kind.ITEMS: [{"id": "a", "price": 1.5, "quantity": 2}]}
    for path, known in FIELDS.items():
        group, _, name = path.partition(".")
        if group != "event":
            made.setdefault(group, {})[name] = values[known.kind]
    value = loads_known(json.dumps(made).encode())
    assert value == made
    how: dict[str, Any] = {"site": "shop", "trust": trust, "received_ms": NOW, "max_events": 5, "new_id": lambda: "made"}
    (quick,) = parse_body(value, known=True, **how)
    assert answer(lambda: [quick]) == answer(lambda: parse_body(made, **how))
    assert set(quick.ignored) == (set() if trust is Trust.SERVER else {"place", "network"})


@given(bodies())
def test_reading_bytes_is_both_ways_together(body: bytes) -> None:
    """Bytes are read as their decoded value is: the quick way changes no answer of the endpoint."""
    how: dict[str, Any] = {"site": "shop", "trust": Trust.SERVER, "received_ms": NOW, "max_events": 5, "new_id": lambda: "made"}

    def read() -> list[Collected]:
        value, known = decode(body)
        return parse_body(value, known=known, **how)

    quick = answer(read)
    assert quick == answer(lambda: parse_body(loads(body), **how))
