from __future__ import annotations

import pytest
from msgspec.structs import replace

from ebbgate.collect import ga4_hits, ga4_protocol
from ebbgate.collect.dialect import parse
from ebbgate.collect.form import read_form
from ebbgate.collect.ga4_words import hashed_person, short_products
from ebbgate.consent.google import decode_gcd
from ebbgate.errors import EventError, RequestError
from ebbgate.model import ConsentState, Place, RawRequest, Value

NOW = 1_795_300_281_250
HIT = RawRequest("POST", "/e/g/collect", "v=2&tid=G-1&cid=1.2&sid=17&_p=99&_s=1", (), b"en=scroll", "203.0.113.9", NOW, (), "shop")


def ids(request: RawRequest) -> list[str]:
    return [c.event.id for c in parse(ga4_hits.DIALECT, request, Place(), max_events=500) if c.event]


def test_a_hit_sent_again_has_the_same_id() -> None:
    """A retry is a duplicate, whenever it arrives and however long the page has been open."""
    again = replace(HIT, received_ms=NOW + 5000, query=HIT.query + "&tfd=9000")
    assert ids(HIT) == ids(again)


@pytest.mark.parametrize(
    ("old", "new"), [("_p=99", "_p=98"), ("_s=1", "_s=2"), ("sid=17", "sid=18"), ("cid=1.2", "cid=1.3"), ("tid=G-1", "tid=G-2")]
)
def test_what_places_a_hit_tells_it_from_others(old: str, new: str) -> None:
    """The same words on another page, later on the page, in another visit, of another visitor, are another event."""
    assert ids(HIT) != ids(replace(HIT, query=HIT.query.replace(old, new)))


def test_equal_lines_of_a_batch_are_events_of_their_own() -> None:
    """Two equal clicks in one batch are two."""
    assert len(set(ids(replace(HIT, body=b"en=click\r\nen=click\nen=click")))) == 3


def test_without_a_sequence_every_hit_is_new() -> None:
    """A hand-made hit that says nothing of its place is not taken for a repetition."""
    bare = replace(HIT, query="v=2&cid=1.2", body=b"en=click")
    assert ids(bare) != ids(replace(bare, received_ms=NOW + 1))


def test_the_page_load_id_is_no_event_id() -> None:
    """`_p` is the same for a whole page."""
    assert "99" not in ids(replace(HIT, body=b"en=a\nen=b"))


def test_the_senders_own_event_id_counts() -> None:
    """`event_id` is what the pixels of the page share."""
    assert ids(replace(HIT, body=b"en=purchase&ep.event_id=evt-1")) == ["evt-1"]


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("idS1~nmA~~B~pr6", {"id": "S1", "name": "A~B", "price": 6}),
        ("ida~~~nmB", {"id": "a~", "name": "B"}),
        ("nmTea~prabc~qt2", {"name": "Tea", "quantity": 2}),
        ("nmTea~nmCoffee", {"name": "Tea"}),
    ],
)
def test_products(text: str, row: dict[str, Value]) -> None:
    """A doubled tilde is one of the value's; what is no number is left out; the first of a key counts."""
    fields: dict[str, Value] = {}
    short_products({"pr1": text}, fields)
    assert fields["order.items"] == (row,)


def test_products_keep_their_order_and_bound() -> None:
    """`pr10` comes after `pr2`; more than 200 are refused, not cut."""
    fields: dict[str, Value] = {}
    short_products({"pr10": "idC", "pr2": "idB", "pr1": "idA", "pr0": "idX"}, fields)
    assert fields["order.items"] == ({"id": "A"}, {"id": "B"}, {"id": "C"})
    with pytest.raises(EventError):
        short_products({"pr201": "idA"}, {})


def test_hashes_that_are_none_are_left_out() -> None:
    """Only a SHA-256 digest counts as a hashed e-mail address; nothing else is taken for one."""
    fields: dict[str, Value] = {}
    hashed_person(f"tv.1~em.ana@example.com~pn.{'a' * 64}~xx.1~co.DE", fields)
    assert fields == {"user.phone": "a" * 64, "user.country": "DE"}


@pytest.mark.parametrize("query", ["a=%ff", "&".join(f"a{n}=1" for n in range(600)), "a=%00", "a=" + "x" * 9000])
def test_parameters_that_cannot_be_read_refuse_the_request(query: str) -> None:
    """Broken escapes, too many, NUL and over-long parameters are errors, never half read."""
    with pytest.raises(RequestError):
        read_form(query)


@pytest.mark.parametrize(
    ("consent", "states"),
    [
        ({"ad_user_data": "GRANTED", "ad_personalization": "DENIED"}, "unknown unknown granted denied"),
        ({"ad_storage": "DENIED", "analytics_storage": "GRANTED"}, "denied granted unknown unknown"),
        ({}, "unknown unknown unknown unknown"),
    ],
)
def test_consent_of_the_protocol_is_read_as_consent_mode(consent: dict[str, str], states: str) -> None:
    """The `gcd` made of it says for each signal exactly what the object said."""
    body = {"client_id": "1.2", "events": [{"name": "x"}], "consent": consent}
    (one,) = ga4_protocol.collect(replace(HIT, query=""), body, Place(), 10)
    assert one.signals.gcd is not None
    found = decode_gcd(one.signals.gcd)
    names = ("ad_storage", "analytics_storage", "ad_user_data", "ad_personalization")
    assert [found.state(name) for name in names] == [ConsentState(word) for word in states.split()]


@pytest.mark.parametrize("consent", [5, "GRANTED", {"ad_user_data": True}, {"ad_user_data": "granted"}, {"adstorage": "DENIED"}])
def test_consent_that_is_no_word_of_the_protocol_only_refuses(consent: object) -> None:
    """It stays as malformed evidence: a misspelt refusal is never silence."""
    body = {"client_id": "1.2", "events": [{"name": "x"}], "consent": consent}
    (one,) = ga4_protocol.collect(replace(HIT, query=""), body, Place(), 10)
    assert (one.signals.gcd, one.signals.malformed) == (None, ("gcd",))
