from __future__ import annotations

from typing import Any

import pytest

from ebbgate.collect import native_values
from ebbgate.collect.consent_object import NO_SIGNALS, read_consent
from ebbgate.collect.native import parse_body, parse_event
from ebbgate.collect.times import iso, parse_time
from ebbgate.errors import EventError, RequestError
from ebbgate.fields import FIELDS, Kind
from ebbgate.model import Event, PlainItems, Signals, Trust

NOW = 1_795_300_290_000  # 2026-11-21T22:31:30Z


def parse(obj: dict[str, Any], trust: Trust = Trust.BROWSER) -> tuple[Event, Signals]:
    return parse_event(obj, site="shop", trust=trust, received_ms=NOW)


def refused(obj: Any, trust: Trust = Trust.BROWSER) -> EventError:
    with pytest.raises(EventError) as caught:
        parse(obj, trust)
    return caught.value


def nested(levels: int) -> dict[str, Any]:
    """{"a": {"a": … 1}} with so many objects."""
    found: Any = 1
    for _ in range(levels):
        found = {"a": found}
    return dict(found)


PURCHASE: dict[str, Any] = {
    "event": "purchase",
    "id": "A-1009",
    "time": "2026-11-21T22:31:21Z",
    "page": {"url": "https://shop.example/thanks?utm_source=mail&gclid=Cj0K", "referrer": "https://a.example/", "title": "Thanks"},
    "visitor": {"client_id": "1.2", "session_id": "3"},
    "user": {"id": "u1", "email": " Ana@Example.com", "phone": "+49 30 901820"},
    "order": {"id": "A-1009", "value": 12, "currency": "EUR", "items": [{"id": 7, "price": 6.5, "quantity": 2, "strange": "x"}]},
    "properties": {"color": "red", "gift": {"wrap": True}, "sizes": [41, 42]},
    "consent": {
        "tcf": "CP",
        "gpc": True,
        "purposes": {"analytics": "granted", "advertising": "refused"},
        "categories": {"marketing": False},
    },
}


def test_reads_every_group_into_dotted_paths() -> None:
    """A native event becomes exactly the fields it states, plus what its address carries."""
    event, _ = parse(PURCHASE)
    assert event.fields == {
        "event.id": "A-1009", "event.name": "purchase", "event.time": NOW - 9000, "event.source": "web",
        "page.url": "https://shop.example/thanks?utm_source=mail&gclid=Cj0K",
        "page.referrer": "https://a.example/", "page.title": "Thanks",
        "visitor.client_id": "1.2", "visitor.session_id": "3",
        "user.id": "u1", "user.email": " Ana@Example.com", "user.phone": "+49 30 901820",
        "order.id": "A-1009", "order.value": 12, "order.currency": "EUR",
        "order.items": ({"id": "7", "price": 6.5, "quantity": 2},),
        "properties.color": "red", "properties.gift.wrap": True, "properties.sizes": (41, 42),
        "click.gclid": "Cj0K", "campaign.source": "mail",
    }  # fmt: skip
    assert event.subjects == ("user:u1", "email:ana@example.com", "client:1.2")


def test_shows_nothing_personal_in_repr() -> None:
    """An event's repr tells id and name only."""
    event, signals = parse(PURCHASE)
    assert repr(event) == "Event(id='A-1009', name='purchase')"
    assert "CP" not in repr(signals)


def test_reads_the_consent_object() -> None:
    """Every kind of evidence arrives under its own name; `refused` means denied."""
    _, signals = parse(PURCHASE)
    assert signals == Signals(
        tcf="CP", gpc=True, purposes=(("advertising", "denied"), ("analytics", "granted")), categories=(("marketing", False),)
    )


@pytest.mark.parametrize(
    ("consent", "malformed"),
    [
        ("granted", ("consent",)),
        (["analytics"], ("consent",)),
        ({"tcf": 5}, ("tcf",)),
        ({"purposes": {"analytics": "yes"}}, ("purposes",)),
        ({"purposes": {"analytics": True}}, ("purposes",)),
        ({"purposes": ["analytics"]}, ("purposes",)),
        ({"categories": {"marketing": "true"}}, ("categories",)),
        ({"gpc": "maybe"}, ("gpc",)),
        ({"gpp_sid": "7;8"}, ("gpp_sid",)),
        ({"time": "yesterday"}, ("time",)),
    ],
)
def test_keeps_unreadable_consent_as_evidence(consent: Any, malformed: tuple[str, ...]) -> None:
    """Consent of a wrong type is never dropped: it stays as malformed evidence, which can only refuse."""
    _, signals = parse({"event": "page_view", "consent": consent})
    assert signals.malformed == malformed
    assert signals.purposes == ()


def test_refuses_an_unknown_consent_key() -> None:
    """A misspelt refusal must not look like silence: an unknown key in consent refuses the event with the near word."""
    error = refused({"event": "page_view", "consent": {"purpose": {"advertising": "denied"}}})
    assert (error.code, error.hint) == ("consent_unknown_key", "did you mean 'purposes'?")


def test_gpc_of_the_request_survives_the_events_own_object() -> None:
    """A payload that says `gpc: false` does not undo the browser's header."""
    merged = read_consent({"gpc": False, "gcs": "G111"}, Signals(gpc=True))
    assert merged.gpc is True
    assert merged.gcs == "G111"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"event": None}, "event_name_missing"),
        ({"event": 5}, "event_name_missing"),
        ({"event": "Order Completed"}, "event_name_unknown"),
        ({"event": "x" * 41}, "event_name_unknown"),
        ({"id": "a" * 201}, "event_id"),
        ({"id": "a\nb"}, "event_id"),
        ({"id": ["a"]}, "event_id"),
        ({"time": "2026-11-21T22:31:21"}, "event_time"),
        ({"time": "soon"}, "event_time"),
        ({"time": True}, "event_time"),
        ({"time": "2026-11-10T00:00:00Z"}, "event_time_far_off"),
        ({"time": "2026-11-23T00:00:00Z"}, "event_time_far_off"),
        ({"time": "1999-01-01T00:00:00Z"}, "event_time_far_off"),
        ({"source": "fax"}, "field_value"),
        ({"page": "https://shop.example"}, "field_type"),
        ({"user": {"email": ["a@b.c"]}}, "field_type"),
        ({"order": {"value": "12"}}, "field_type"),
        ({"order": {"value": True}}, "field_type"),
        ({"order": {"items": {"id": 1}}}, "field_type"),
        ({"order": {"items": ["sku"]}}, "field_type"),
        ({"order": {"items": [{"price": "6"}]}}, "field_type"),
        ({"order": {"items": [{"id": "x"}] * 201}}, "too_many_items"),
        ({"user": {"is_new_customer": "yes"}}, "field_type"),
        ({"properties": ["x"]}, "field_type"),
        ({"properties": {"a": [{"b": 1}]}}, "field_type"),
        ({"properties": {"a.b": 1}}, "property_name"),
        ({"properties": {"ana@example.com": 1}}, "property_name"),
        ({"properties": nested(16)}, "property_depth"),
        ({"properties": {f"g{n}": {f"p{i}": i for i in range(200)} for n in range(2)}}, "too_many_properties"),
    ],
)
def test_refuses_what_is_not_an_event(change: dict[str, Any], code: str) -> None:
    """Each wrong part has a code of its own, and no message repeats a value."""
    error = refused({"event": "page_view", **change})
    assert error.code == code
    assert "ana@example.com" not in error.message + error.hint


def test_takes_properties_up_to_the_bounds_of_the_contract() -> None:
    """256 properties, or one as deep as a body of sixteen levels can hold it, are taken (DESIGN §5.1)."""
    wide, _ = parse({"event": "page_view", "properties": {f"p{i}": i for i in range(256)}})
    assert sum(path.startswith("properties.") for path in wide.fields) == 256
    deep, _ = parse({"event": "page_view", "properties": nested(15)})
    assert deep.fields["properties." + ".".join("a" * 15)] == 1


def test_suggests_the_recommended_name() -> None:
    """A near miss of an event's name is answered with the name that was meant."""
    assert refused({"event": "Purchase"}).hint == "did you mean 'purchase'?"
    assert refused({"event": "Order Completed"}).hint == "did you mean 'purchase'?"


def test_a_browser_cannot_state_its_place_or_address() -> None:
    """Place and address count only from a site's own server; a browser's claim is ignored and named."""
    claim = {"event": "page_view", "place": {"country": "US"}, "network": {"ip": "8.8.8.8"}}
    event, _ = parse(claim)
    assert not any(path.startswith(("place.", "network.")) for path in event.fields)
    event, _ = parse(claim, Trust.SERVER)
    assert event.fields["place.country"] == "US"


def test_an_event_cannot_overwrite_what_the_request_vouches_for() -> None:
    """Fields of the request itself stay, whatever the event says."""
    (collected,) = parse_body(
        {"event": "page_view", "network": {"ip": "8.8.8.8"}},
        site="shop", trust=Trust.BROWSER, received_ms=NOW, max_events=5, base={"network.ip": "192.0.2.1"},
    )  # fmt: skip
    assert collected.event is not None
    assert collected.event.fields["network.ip"] == "192.0.2.1"
    assert collected.ignored == ("network",)


def test_an_event_without_id_gets_one_of_its_content() -> None:
    """The same content has the same id, other content another: a retried request stays a duplicate."""
    one, two, other = (parse({"event": "page_view", "page": {"title": t}})[0].id for t in ("a", "a", "b"))
    assert one == two != other
    assert parse({"event": "page_view", "id": "", "page": {"title": "a"}})[0].id.startswith("ev_")


def test_reads_batches_and_keeps_the_good_events() -> None:
    """One bad event of a batch does not cost the others; order is kept."""
    found = parse_body(
        {"events": [{"event": "page_view", "id": "1"}, {"event": "Nope Nope", "id": "2"}, 5, {"event": "search"}]},
        site="shop", trust=Trust.BROWSER, received_ms=NOW, max_events=5, new_id=lambda: "made",
    )  # fmt: skip
    assert [(c.id, c.error.code if c.error else None) for c in found] == [
        ("1", None), ("2", "event_name_unknown"), ("", "not_an_event"), ("made", None)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], "not_an_event"),
        ("x", "not_an_event"),
        ({"events": []}, "not_an_event"),
        ({"events": {}}, "not_an_event"),
        ({"events": [{}], "consent": {}}, "batch_unknown_key"),
        ({"events": [{}], "sent_at": "noon"}, "event_time"),
        ({"events": [{"event": "page_view"}] * 6}, "too_many_events"),
    ],
)
def test_refuses_wrong_envelopes(body: Any, code: str) -> None:
    """A wrong envelope is refused whole, with its code."""
    with pytest.raises(RequestError) as caught:
        parse_body(body, site="shop", trust=Trust.BROWSER, received_ms=NOW, max_events=5)
    assert caught.value.code == code


def test_corrects_a_browsers_wrong_clock_by_sent_at() -> None:
    """A browser an hour behind has its events moved by the difference; a server's word stands."""
    body = {"sent_at": iso(NOW - 3_600_000), "events": [{"event": "page_view", "time": iso(NOW - 3_605_000)}]}
    for trust, expected in ((Trust.BROWSER, NOW - 5000), (Trust.SERVER, NOW - 3_605_000)):
        (found,) = parse_body(body, site="shop", trust=trust, received_ms=NOW, max_events=5)
        assert found.event is not None
        assert found.event.time_ms == expected


def test_a_clock_slightly_ahead_is_set_to_the_receipt() -> None:
    """Up to a day ahead counts as now: no platform takes the future."""
    assert parse({"event": "page_view", "time": iso(NOW + 3_600_000)})[0].time_ms == NOW
    assert parse({"event": "page_view", "time": iso(NOW + 60_000)})[0].time_ms == NOW + 60_000


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-21T22:31:30Z", NOW), ("2026-11-21T23:31:30+01:00", NOW), (NOW, NOW), (NOW / 1000, NOW), (NOW // 1000, NOW),
        ("2026-11-21T22:31:30", None), ("", None), (None, None), (True, None), (-5, None), (1e300, None), ("9" * 41, None),
    ],
)  # fmt: skip
def test_reads_times(value: object, expected: int | None) -> None:
    """ISO with a zone, seconds and milliseconds are times; a local time of nowhere is not."""
    assert parse_time(value) == expected


def test_signals_of_equal_consent_are_one_object() -> None:
    """The same evidence gives the same object, so that resolution is cached on it."""
    consent = {"purposes": {"analytics": "granted"}}
    assert read_consent(consent, NO_SIGNALS) is read_consent(dict(consent), NO_SIGNALS)


def test_products_of_a_known_form_are_still_looked_at() -> None:
    """A product with the keys and types of an earlier one loses its empty texts all the same, and another type is an error."""

    def items(*products: object) -> object:
        body = {"event": "purchase", "id": "1", "order": {"items": list(products)}}
        event, _ = parse_event(body, site="shop", trust=Trust.SERVER, received_ms=1_795_262_400_000)
        return event.fields["order.items"]

    whole = {"id": "sku", "name": "Shoe", "price": 6}
    for _ in range(2):
        assert items(whole) == (whole,)
    assert items({**whole, "name": ""}) == ({"id": "sku", "price": 6},)
    with pytest.raises(EventError):
        items({**whole, "price": "6"})


def test_only_products_without_addresses_need_no_second_look() -> None:
    """Where any product has an address, the products are not marked as plain: the policy's stage must make it smaller."""
    plain = {"id": "sku", "price": 6}
    for key, changed in ((key, changed) for key in ("url", "image_url") for changed in (None, "", 7, "https://a.example/?m=x")):
        body = {
            "event": "purchase",
            "id": "1",
            "order": {"items": [plain, {**plain, key: changed}, {**plain, "name": None}, plain]},
        }
        event, _ = parse_event(body, site="shop", trust=Trust.SERVER, received_ms=1_795_262_400_000)
        items = event.fields["order.items"]
        assert isinstance(items, tuple)
        assert (type(items) is PlainItems) is not any(key in item for item in items if isinstance(item, dict))


def test_values_of_every_type_are_taken_or_refused_by_the_kind_of_their_field() -> None:
    """Each field of the table with each type of JSON: taken as it is, as text of a number, left out, or refused; nothing else."""
    refusal = object()
    samples: list[Any] = ["x", "", 7, 0, 7.5, True, False, None, [], {}]
    for path, known in FIELDS.items():
        group, _, part = path.partition(".")
        if group == "event" or known.kind is Kind.ITEMS:
            continue
        for value in samples:
            taken: Any = refusal
            if value is None or value == "":
                taken = None
            elif known.kind is Kind.TEXT and type(value) in (str, int):
                taken = str(value)
            elif (known.kind is Kind.NUMBER and type(value) in (int, float)) or (
                known.kind is Kind.BOOLEAN and type(value) is bool
            ):
                taken = value
            body = {"event": "page_view", group: {part: value}}
            if taken is refusal:
                assert refused(body, Trust.SERVER).code == "field_type", (path, value)
            else:
                found = parse(body, Trust.SERVER)[0].fields.get(path)
                assert (type(found), found) == (type(taken), taken), (path, value)


@pytest.mark.parametrize(
    ("product", "taken"),
    [
        ({"id": "a", "price": 1, "quantity": 2.5}, {"id": "a", "price": 1, "quantity": 2.5}),
        ({"id": 7, "name": "", "brand": None, "price": 0, "else": [1]}, {"id": "7", "price": 0}),
        ({"else": "x"}, {}),
        ({}, {}),
        ({"id": "a", "price": "6"}, None),
        ({"id": "a", "price": True}, None),
        ({"id": True}, None),
        ({"name": 1.5}, None),
        ({"name": {}}, None),
    ],
)
def test_products_keep_known_keys_of_the_right_type(product: dict[str, Any], taken: dict[str, Any] | None) -> None:
    """Unknown keys and empty values go, numbers as ids become text, any other wrong type is an error; the sender's own object stays."""
    before = dict(product)
    body = {"event": "purchase", "order": {"items": [{"id": "first"}, product]}}
    if taken is None:
        assert refused(body).code == "field_type"
    else:
        assert parse(body)[0].fields["order.items"] == ({"id": "first"}, taken)
    assert product == before


def test_a_property_is_found_again_under_its_own_path_only() -> None:
    """A name seen at the top is not taken for the same name deeper down, nor the other way round, nor a bad one for a good one."""
    for _ in range(2):
        fields = parse({"event": "x", "properties": {"p": 1, "properties": {"p": 2, "q": 3}, "q": 4}})[0].fields
        found = {path: value for path, value in fields.items() if path.startswith("properties.")}
        assert found == {"properties.p": 1, "properties.properties.p": 2, "properties.properties.q": 3, "properties.q": 4}
        assert refused({"event": "x", "properties": {"p": 1, "p.q": 2}}).code == "property_name"


def test_names_of_properties_are_remembered_within_bounds() -> None:
    """However many names strangers make up, no more than so many are kept."""
    for number in range(3):
        for start in range(0, 2 * native_values._MAX_PLAIN, 200):
            parse({"event": "x", "properties": {f"b{number}_{start + n}": 1 for n in range(200)}})
            assert len(native_values._plain_paths) <= native_values._MAX_PLAIN


def test_what_the_event_states_wins_over_its_address() -> None:
    """The address fills in what is not stated, after it, and changes nothing that is."""
    page = {"url": "https://shop.example/?utm_source=mail&utm_medium=email"}
    fields = parse({"event": "x", "page": page, "campaign": {"source": "own"}})[0].fields
    assert (fields["campaign.source"], fields["campaign.medium"]) == ("own", "email")
    assert list(fields)[-1] == "campaign.medium"
