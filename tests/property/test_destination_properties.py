"""Whatever an event holds: rendering never raises, keeps its promise on people, and stays within the declared batch."""

from __future__ import annotations

import json
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from ebbgate.collect.cookies import click_fields, cookie_fields
from ebbgate.collect.segment import parse_event
from ebbgate.collect.times import parse_time
from ebbgate.deliver.batching import batches
from ebbgate.destinations import normalise, reading
from ebbgate.destinations.kit import Destination, Skip
from ebbgate.destinations.registry import DESTINATIONS
from ebbgate.errors import EventError
from ebbgate.fields import FIELDS, ITEM_KEYS, Kind
from ebbgate.model import CleanEvent, Event, Outcome, Trust, Value
from ebbgate.policy.clean import clean_everything
from tests.contract.test_destination_rules import settings_of
from tests.scale import scaled

TEXT: Final = st.text(max_size=40) | st.sampled_from(
    [
        "",
        " ",
        "0",
        "eur",
        "EUR",
        "https://shop.example/?a=1&email=x%40y.example",
        "a@b.example",
        "x" * 3000,
        "\ud800",
        "\x00",
        "198.51.100.7",
    ]
)
NUMBER: Final = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
ITEM: Final = st.fixed_dictionaries({}, optional={key: TEXT if kind is Kind.TEXT else NUMBER for key, kind in ITEM_KEYS.items()})
NAMES: Final = st.sampled_from(
    ["page_view", "purchase", "add_to_cart", "search", "identify", "group", "alias", "quiz"]
) | TEXT.filter(bool)
PARSED: Final = {name: d.settings.model_validate(settings_of(name)) for name, d in DESTINATIONS.items()}


def _value(path: str) -> st.SearchStrategy[Value]:
    kind = FIELDS[path].kind
    if kind is Kind.ITEMS:
        return st.lists(ITEM, max_size=4).map(tuple)
    if kind is Kind.NUMBER:
        return NUMBER
    return st.booleans() if kind is Kind.BOOLEAN else TEXT


@st.composite
def events(draw: st.DrawFn) -> Event:
    """An event with any known fields of the right type and some properties."""
    fields: dict[str, Value] = {}
    for path in draw(st.sets(st.sampled_from(sorted(FIELDS)), max_size=30)):
        fields[path] = draw(_value(path))
    for name in draw(st.sets(st.sampled_from(["color", "email", "debug_mode", "category", "label", "x y", "a.b"]), max_size=4)):
        fields[f"properties.{name}"] = draw(TEXT | NUMBER | st.booleans() | st.lists(TEXT, max_size=2).map(tuple))
    name, time = draw(NAMES), draw(st.integers(0, 4_102_444_800_000))
    return Event(draw(TEXT.filter(bool)), name, time, time, "shop", "native", Trust.SERVER, fields)


def _clean(event: Event, destination: Destination) -> CleanEvent:
    return clean_everything(event, destination=destination.name, hashes=destination.hashes, demands_hash=destination.demands_hash)


@settings(max_examples=scaled(25), deadline=None)
@given(event=events())
def test_rendering_never_raises_and_makes_valid_json(event: Event) -> None:
    """Every destination answers any event with a row or a reason, and any row becomes a request whose body is strict JSON."""
    for name, destination in DESTINATIONS.items():
        row = destination.render(_clean(event, destination), PARSED[name])
        if isinstance(row, Skip):
            assert row.outcome in (Outcome.UNMAPPED, Outcome.INVALID)
            assert row.reason.isascii()
            continue
        request = destination.envelope([row], PARSED[name])
        assert request.url.isascii()
        assert all("\n" not in v and "\r" not in v and k == k.lower() for k, v in request.headers)
        if dict(request.headers)["content-type"] == "application/json":
            json.loads(request.body.decode("utf-8", "surrogatepass"), parse_constant=_refuse)


def _refuse(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


@settings(max_examples=scaled(40), deadline=None)
@given(event=events(), email=st.emails(), phone=st.from_regex(r"\+[1-9][0-9]{9,12}", fullmatch=True))
def test_people_leave_as_digests_only(event: Event, email: str, phone: str) -> None:
    """No destination that takes hashes ever gets the raw e-mail or telephone number of the event."""
    fields = {**event.fields, "user.email": email, "user.phone": phone, "search.term": email, "properties.color": email}
    event = Event(event.id, event.name, event.time_ms, event.received_ms, "shop", "native", Trust.SERVER, fields)
    for name, destination in DESTINATIONS.items():
        row = (
            destination.render(_clean(event, destination), PARSED[name]) if destination.demands_hash else Skip(Outcome.INVALID, "")
        )
        if not isinstance(row, Skip):
            body = destination.envelope([row], PARSED[name]).body.decode("utf-8", "surrogatepass").lower()
            assert json.dumps(email.lower())[1:-1] not in body
            assert phone not in body


@settings(max_examples=scaled(100), deadline=None)
@given(value=TEXT | st.emails(), country=st.none() | st.sampled_from(["DE", "US", "Germany", "??", ""]))
def test_normalising_twice_changes_nothing(value: str, country: str | None) -> None:
    """A normalised value is its own normal form, and its digest its own digest, for every platform and field."""
    for platform, rules in normalise.RULES.items():
        for field, rule in rules.items():
            once = rule.normalise(value, country)
            if once is None:
                continue
            assert once
            if field in ("em", "fn", "ln", "external_id", "ct", "st"):
                assert rule.normalise(once, country) == once, (platform, field)
            digest = rule.digest(once)
            assert digest is None or rule.digest(digest) == digest


@settings(max_examples=scaled(200), deadline=None)
@given(time=st.integers(1, 4_102_444_799_999))
def test_iso_times_read_back(time: int) -> None:
    """The text of a time is that time."""
    assert parse_time(reading.iso_time(time)) == time


@settings(max_examples=scaled(100), deadline=None)
@given(
    cookies=st.lists(st.tuples(st.sampled_from(["_ga", "_ga_X", "_fbp", "_rdt_uuid", "_gcl_aw", "x"]), TEXT), max_size=6), url=TEXT
)
def test_cookies_and_addresses_never_raise(cookies: list[tuple[str, str]], url: str) -> None:
    """Whatever strangers write, the fields are known ones and their values short and printable."""
    found = cookie_fields(cookies) | click_fields(url)
    assert found.keys() <= FIELDS.keys()
    assert all(v.isprintable() and 0 < len(v) <= 1024 for v in found.values())


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "products", "traits", "page", "email"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=scaled(150), deadline=None)
@given(
    obj=st.dictionaries(
        st.sampled_from(["type", "event", "messageId", "timestamp", "userId", "context", "properties", "traits"]), JSON, max_size=6
    )
)
def test_any_json_is_a_segment_event_or_an_error(obj: dict[str, Any]) -> None:
    """The Segment dialect never fails otherwise than with an EventError, and makes only fields of the table."""
    try:
        event, _ = parse_event({"type": "track", "event": "x", **obj}, site="s", trust=Trust.BROWSER, received_ms=1)
    except EventError:
        return
    assert all(path in FIELDS or path.startswith("properties.") for path in event.fields)


@settings(max_examples=scaled(20), deadline=None)
@given(clients=st.lists(st.sampled_from(["1.1", "2.2", "3.3"]), min_size=1, max_size=60))
def test_one_ga4_request_holds_one_client(clients: list[str]) -> None:
    """Rows grouped by `batch_key` share a client id, at most 25 a request, and none is lost."""
    destination = DESTINATIONS["ga4"]
    rows = []
    for index, client in enumerate(clients):
        event = Event(str(index), "scroll", index, index, "shop", "native", Trust.SERVER, {"visitor.client_id": client})
        row = destination.render(_clean(event, destination), PARSED["ga4"])
        assert not isinstance(row, Skip)
        rows.append(row)
    sent = 0
    for group in batches(rows, limit=destination.batch.events, key=destination.batch_key):
        body = json.loads(destination.envelope(group, PARSED["ga4"]).body)
        sent += len(body["events"])
        assert len(body["events"]) <= 25
        assert {row["top"]["client_id"] for row in group} == {body["client_id"]}
    assert sent == len(clients)
