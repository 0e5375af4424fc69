"""What is remembered on the hot path never changes an answer."""

from __future__ import annotations

import pytest

from ebbgate.model import Consent, KnownItems, Model, PlainItems, PurposeConsent
from ebbgate.policy import prepare as preparing
from ebbgate.policy import treat
from ebbgate.policy.decide import decide
from ebbgate.policy.plan import MAX_ANSWERS
from ebbgate.policy.prepare import prepare_fields, shape_of
from ebbgate.policy.treat import hashed, known_items, rebuild_url, to_network, url_rebuilder
from tests.unit.policy.making import DENIED, GRANTED, consent, event, lower, policy

SENDS = "  ga4:\n    needs: [analytics]\n    send: [event, page, order.items, properties]\n"


def test_equal_decisions_are_one_object() -> None:
    """The same kind of event under the same consent gets the same tuple, so that later stages can remember by it."""
    under, allowed = policy(SENDS), consent(analytics=GRANTED)
    first = decide(event({"page.title": "a"}, id_="1"), allowed, under, ("ga4", "meta"))
    assert decide(event({"page.title": "b"}, id_="2"), allowed, under, ("ga4", "meta")) is first
    assert decide(event({"page.title": "c"}, id_="3"), consent(analytics=GRANTED), under, ("ga4", "meta")) is first


def test_another_consent_is_another_decision() -> None:
    """A consent that was made after another had gone never gets the other's decisions, even where it has its address."""
    under = policy(SENDS)
    for number in range(200):
        state = GRANTED if number % 2 else DENIED
        allowed = Consent(Model.OPT_IN, {"analytics": PurposeConsent(state, "event", str(number))})
        (one,) = decide(event({"page.title": "a"}), allowed, under, ("ga4",))
        assert one.sends is (state is GRANTED)


def test_other_destinations_are_other_decisions() -> None:
    """The answer for some destinations is not taken for others."""
    under, allowed, happened = policy(SENDS), consent(analytics=GRANTED), event({"page.title": "a"})
    for names in (("ga4",), ("meta", "ga4"), ("webhook",), ()):
        assert tuple(d.destination for d in decide(happened, allowed, under, names)) == names


def test_what_is_remembered_is_bounded() -> None:
    """A stranger who invents event names, properties and consents fills no memory: one bound holds for all of a policy."""
    under, allowed = policy(SENDS), consent(analytics=GRANTED)
    for number in range(MAX_ANSWERS + 1000):
        some = allowed if number % 2 else consent(analytics=GRANTED)
        decide(event({"page.title": "a", f"properties.n{number % 700}": "b"}, name=f"n{number}"), some, under, ("ga4",))
        assert len(under.answers) <= MAX_ANSWERS
    assert len(under.tuples) <= MAX_ANSWERS
    assert len(under.answers) <= 1000 + 1


@pytest.mark.parametrize("words", ["mail a@b.example", "call +49 30 901820", "4111 1111 1111 1111"])
def test_texts_found_harmless_hide_no_others(words: str) -> None:
    """A text with personal data is found however many harmless ones were seen before, beside it, and again after it."""
    everywhere = policy(SENDS, common="  if_free_text_contains: {email: remove, phone: remove, card_number: remove}").everywhere
    clean = {"page.title": "Shoes", "properties.note": "gift"}
    for _ in range(3):
        assert prepare_fields(clean, everywhere).fields == clean
        assert "properties.note" not in prepare_fields({**clean, "properties.note": words}, everywhere).fields
    assert words not in preparing._harmless


def test_the_harmless_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many texts there are, only so many short ones are kept."""
    monkeypatch.setattr(preparing, "_MAX_HARMLESS", 50)
    everywhere = policy(SENDS).everywhere
    for number in range(500):
        prepare_fields({"page.title": f"Shoe {number}", "properties.note": "x " * 200}, everywhere)
    assert len(preparing._harmless) <= 52
    assert max(len(str(text)) for text in preparing._harmless) <= 256


def test_numbers_found_harmless_hide_no_others() -> None:
    """A number that is a card's is found, however many harmless ones were seen before; only small ones are remembered."""
    everywhere = policy(SENDS, common="  if_free_text_contains: {card_number: remove}").everywhere
    for small in (0, 1, True, 1.0, 9_999, -9_999, 10_000, 123_456, (1, 2)):
        assert prepare_fields({"properties.n": small}, everywhere).fields == {"properties.n": small}
    for _ in range(2):
        assert prepare_fields({"properties.n": 4111111111111111, "properties.m": 1}, everywhere).fields == {"properties.m": 1}
        assert prepare_fields({"properties.n": (1, 4111111111111111)}, everywhere).fields == {"properties.n": (1,)}
    numbers = {kept for kept in preparing._harmless if kept is not None and not isinstance(kept, str)}
    assert {0, 1, 9_999, -9_999} <= numbers <= set(range(-9_999, 10_000))


def test_products_where_none_belong_are_searched_too() -> None:
    """Objects in a property, as a dialect may leave them, are looked at word by word."""
    everywhere = policy(SENDS, common="  if_free_text_contains: {email: remove}").everywhere
    for _ in range(2):
        clean = {"properties.seen": ({"name": "Shoe"},)}
        assert prepare_fields(clean, everywhere).fields == clean
        found = prepare_fields({"properties.seen": ({"name": "a@b.example", "id": "x"},)}, everywhere)
        assert found.reported == ("properties: email",)
        assert found.fields == {"properties.seen": ({"id": "x"},)}


def test_words_of_products_are_searched_after_harmless_ones() -> None:
    """A product's name is looked at in every event, whatever set of keys the product has."""
    everywhere = policy(SENDS, common="  if_free_text_contains: {email: remove}").everywhere
    for keys in ({"id": "1"}, {"id": "1", "brand": "B"}, {"name": "Shoe"}):
        for name, left in (("Shoe", {"name": "Shoe"}), ("a@b.example", {}), ("Shoe", {"name": "Shoe"})):
            items = PlainItems(({"id": "2"}, {**keys, "name": name}))
            rest = {key: value for key, value in keys.items() if key != "name"}
            assert prepare_fields({"order.items": items}, everywhere).fields["order.items"] == ({"id": "2"}, {**rest, **left})


def test_checked_products_keep_addresses_checked() -> None:
    """Products of a parser are taken as they are, but their addresses lose their parameters all the same."""
    plain = KnownItems(({"id": "a", "price": 1},))
    assert known_items(plain) is plain
    found = known_items(KnownItems(({"id": "a"}, {"id": "b", "url": "https://shop.example/a?mail=x"})))
    assert found == ({"id": "a"}, {"id": "b", "url": "https://shop.example/a"})


def test_addresses_are_remembered_with_what_is_allowed() -> None:
    """The same address under another list of parameters is another address."""
    url = "https://shop.example/?a=1&b=2"
    some, none = url_rebuilder(frozenset({"a"})), url_rebuilder(frozenset())
    for _ in range(2):
        assert rebuild_url(url, frozenset({"a"})) == some(url) == "https://shop.example/?a=1"
        assert rebuild_url(url, frozenset()) == none(url) == "https://shop.example/"
    assert [some(odd) for odd in (1, True, ("a",), ({"a": 1},), "no address")] == [None] * 5


def test_addresses_are_remembered_once_for_a_list() -> None:
    """However many sets of fields a stranger makes up, the addresses that are remembered do not multiply."""
    everywhere = policy(SENDS).everywhere
    makers = set()
    for number in range(20):
        shape = shape_of(("page.url", "page.referrer", f"properties.p{number}"), everywhere)
        makers |= {treated for path, treated in shape.treated if path.startswith("page.")}
    assert len(makers) == 1


def test_the_addresses_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any number of addresses only so many are remembered, and no long one."""
    monkeypatch.setattr(treat, "_KEPT_URLS", 50)
    rebuild = url_rebuilder.__wrapped__(frozenset())
    for number in range(500):
        rebuild(f"https://shop.example/{number}")
        rebuild("https://shop.example/" + "x" * 600)
    (known,) = [cell.cell_contents for cell in rebuild.__closure__ or () if isinstance(cell.cell_contents, dict)]
    assert 0 < len(known) <= 50
    assert max(map(len, known)) <= 512


def test_hashes_are_remembered_with_country_and_normalisation() -> None:
    """The same text hashed another way is another hash."""

    def with_country(text: str, country: str | None) -> str | None:
        return f"{country}{text}"

    assert hashed("A", "DE", lower) == hashed("A", None, lower) != hashed("A", "DE", with_country)
    assert hashed("A", "DE", with_country) != hashed("A", "US", with_country)


def test_the_last_address_is_not_anothers() -> None:
    """Addresses one after the other, the same one twice, and what is no address: each has its own network."""
    first, second = "203.0.113.7", "198.51.100.9"
    found = [to_network(value) for value in (first, first, second, "nowhere", second, first, 7)]
    assert found == ["203.0.113.0", "203.0.113.0", "198.51.100.0", None, "198.51.100.0", "203.0.113.0", None]


def test_a_dropped_text_hides_no_other() -> None:
    """When an address cannot be made safe and goes, the texts beside it are searched all the same."""
    everywhere = policy(SENDS, common="  if_free_text_contains: {email: remove}").everywhere
    for title, left in (("Shoe", {"page.title": "Shoe"}), ("a@b.example", {})):
        prepared = prepare_fields({"page.url": "no address", "page.title": title, "order.items": "none"}, everywhere)
        assert prepared.fields == left
