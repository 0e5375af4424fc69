from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping
from dataclasses import replace

import pytest

from ebbgate.errors import PolicyError, StoreError
from ebbgate.model import CleanEvent, Consent, ConsentState, Scalar, Value
from ebbgate.policy.clean import clean, clean_everything, dump, load, recheck, with_consent
from ebbgate.policy.decide import decide
from ebbgate.policy.load import load_texts
from ebbgate.policy.plan import Policy, PolicySet
from tests.unit.policy.making import (
    CONSENT,
    DENIED,
    FACTS,
    GRANTED,
    HEAD,
    NOW_MS,
    ROOT,
    consent,
    event,
    lower,
    policies,
    policy,
    pseudonym,
)

FREE = "needs: nothing, because: x"
ALL = consent(analytics=GRANTED, advertising=GRANTED)


def sha(text: str) -> str:
    """SHA-256 hex of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def cleaned(
    send: str, fields: Mapping[str, Value], *, more: str = "", common: str = "", to: str = "ga4", given: Consent = ALL
) -> CleanEvent:
    """What one destination gets under a policy that needs no consent."""
    rules = policy(f"  {to}: {{{FREE}, send: [{send}]{more}}}", common=common)
    happened = event(fields)
    (decision,) = decide(happened, given, rules, (to,))
    return clean(happened, decision, rules, given, pseudonym=pseudonym)


def own(found: CleanEvent) -> dict[str, Value]:
    """Its fields but the envelope."""
    return {path: value for path, value in found.fields.items() if not path.startswith("event.")}


def test_only_named_fields_leave() -> None:
    """The allow-list: a field that `send` does not name stays here."""
    fields: dict[str, Value] = {"order.value": 1, "order.tax": 2, "user.id": "u", "properties.color": "red", "made.up": "x"}
    assert own(cleaned("event, order.value", fields)) == {"order.value": 1}
    assert own(cleaned("event, order", fields)) == {"order.value": 1, "order.tax": 2}


def test_properties_never_come_along() -> None:
    """A site's own names leave only when they, or `properties`, are named."""
    fields: dict[str, Value] = {"properties.color": "red", "properties.size": 1, "properties.size.eu": 2, "properties.sizes": 3}
    assert own(cleaned("event, page, order, user.id", fields)) == {}
    assert own(cleaned("event, properties", fields)) == fields
    assert own(cleaned("event, properties.size", fields)) == {"properties.size": 1, "properties.size.eu": 2}
    assert own(cleaned("event, properties", fields, common="  remove: [properties.size]")) == {
        "properties.color": "red",
        "properties.sizes": 3,
    }


def test_name_and_time_always_leave() -> None:
    """No platform takes an event without them, and the decision says that they leave."""
    rules = policy(f"  ga4: {{{FREE}, send: [order.value]}}")
    happened = event({"order.value": 1})
    (decision,) = decide(happened, ALL, rules, ("ga4",))
    assert decision.fields == ("event.name", "event.time", "order.value")
    found = clean(happened, decision, rules, ALL, pseudonym=pseudonym)
    assert (found.name, found.time_ms) == ("purchase", NOW_MS)


def test_an_id_that_is_not_named_becomes_a_pseudonym() -> None:
    """An event id may be an order number: it leaves only when the policy names it."""
    assert cleaned("event", {}).id == "A-1009"
    hidden = cleaned("event.time", {})
    assert hidden.id == pseudonym("event.id\x00A-1009")
    assert "A-1009" not in dump(hidden).decode("latin-1")
    coded = cleaned("event", {}, more=", pseudonymise: [event.id]")
    assert coded.id == coded.fields["event.id"] == pseudonym("event.id\x00A-1009")


def test_hash_is_of_the_normalised_value() -> None:
    """The destination's own normalisation, with the country, then SHA-256."""
    fields: dict[str, Value] = {"user.email": " Ana@Example.com ", "user.phone": "0151 23", "user.country": "de"}
    found = cleaned("event, user.email, user.phone", fields, more=", hash: [user.email, user.phone]")
    assert own(found) == {"user.email": sha("ana@example.com"), "user.phone": sha("DE015123")}
    assert found.hashed == {"user.email", "user.phone"}


def test_the_country_of_the_visit_stands_in() -> None:
    """A phone number is read by the country of the visit when the person's is not known."""
    fields: dict[str, Value] = {"user.phone": "0151", "user.country": "Germany", "place.country": "AT"}
    found = cleaned("event, user.phone", fields, more=", hash: [user.phone]")
    assert own(found) == {"user.phone": sha("AT0151")}


@pytest.mark.parametrize("value", ["", "  ", True, ("a@b.example",)])
def test_nothing_to_hash_is_left_out(value: Value) -> None:
    """An empty or strange value is never hashed: its hash would be the same for everybody."""
    found = cleaned("event, user.email", {"user.email": value}, more=", hash: [user.email]")
    assert own(found) == {}


def test_a_number_is_hashed_as_text() -> None:
    """A phone number that arrives as a number is one all the same."""
    found = cleaned("event, user.phone", {"user.phone": 49151}, more=", hash: [user.phone]")
    assert own(found) == {"user.phone": sha("?49151")}


def test_a_hash_is_not_hashed_again() -> None:
    """A value that is SHA-256 already leaves as it is, in small letters."""
    digest = sha("ana@example.com")
    found = cleaned("event, user.email", {"user.email": digest.upper()}, more=", hash: [user.email]")
    assert own(found) == {"user.email": digest}


def test_what_cannot_be_treated_is_left_out() -> None:
    """A time that is none, or nothing to code, does not leave in its raw form instead."""
    fields: dict[str, Value] = {"event.time": "yesterday", "user.id": " "}
    found = cleaned("event, user.id", fields, more=", generalise: {time: hour}, pseudonymise: [user.id]")
    assert set(found.fields) == {"event.id", "event.name"}
    assert set(cleaned("event", fields, common="  generalise: {time: hour}").fields) == {"event.id", "event.name"}


def test_pseudonyms_are_keyed_by_field() -> None:
    """Equal values of two fields get two pseudonyms, so that they cannot be joined."""
    fields: dict[str, Value] = {"user.id": "same", "visitor.client_id": "same", "properties.a.b": "same"}
    found = own(
        cleaned("event, user.id, visitor.client_id, properties", fields, common="  pseudonymise: [user, visitor, properties.a]")
    )
    assert set(found) == set(fields)
    assert len(set(found.values())) == 3
    assert "same" not in found.values()


def test_time_is_made_coarser_everywhere() -> None:
    """`generalise: {time: …}` cuts the field and the envelope."""
    hour = cleaned("event", {}, more=", generalise: {time: hour}")
    assert hour.time_ms == hour.fields["event.time"] == NOW_MS // 3_600_000 * 3_600_000
    day = cleaned("event", {}, common="  generalise: {time: day}", more=", generalise: {time: hour}")
    assert day.time_ms == day.fields["event.time"] == NOW_MS // 86_400_000 * 86_400_000


def test_place_is_made_coarser() -> None:
    """`generalise: {place: country}` keeps the region here."""
    fields: dict[str, Value] = {"place.country": "DE", "place.region": "DE-BE"}
    assert own(cleaned("event, place", fields)) == fields
    for more, common in ((", generalise: {place: country}", ""), ("", "  generalise: {place: country}")):
        assert own(cleaned("event, place", fields, more=more, common=common)) == {"place.country": "DE"}


def test_text_is_cut() -> None:
    """`limit` cuts text to so many characters."""
    assert own(cleaned("event, page.path", {"page.path": "/abcdef"}, more=", limit: {page.path: 3}")) == {"page.path": "/ab"}


def test_addresses_keep_listed_parameters_only() -> None:
    """Parameters, user names, fragments and path parameters go; a destination may keep fewer."""
    fields: dict[str, Value] = {
        "page.url": "https://ana:pw@shop.example/a;s=1?utm_source=x&utm_term=t&token=1#top",
        "page.referrer": "mailto:x",
    }
    common = "  keep_url_parameters: [utm_source, utm_term]"
    assert own(cleaned("event, page", fields, common=common)) == {"page.url": "https://shop.example/a?utm_source=x&utm_term=t"}
    fewer = cleaned("event, page", fields, common=common, more=", keep_url_parameters: [utm_term]")
    assert own(fewer) == {"page.url": "https://shop.example/a?utm_term=t"}
    assert own(cleaned("event, page", fields)) == {"page.url": "https://shop.example/a"}


@pytest.mark.parametrize(
    ("word", "address", "expected"),
    [
        ("to_network", "203.0.113.77", "203.0.113.0"),
        ("to_network", "2001:db8:1:2::77", "2001:db8:1::"),
        ("to_network", "::ffff:203.0.113.77", "203.0.113.0"),
        ("to_network", "203.0.113.777", None),
        ("keep", "203.0.113.77", "203.0.113.77"),
        ("keep", "fe80::1%eth0", None),
        ("keep", "x", None),
        ("remove", "203.0.113.77", None),
    ],
)
def test_ip(word: str, address: str, expected: str | None) -> None:
    """An address leaves as the policy says; what is no address never does."""
    found = cleaned("event, network", {"network.ip": address}, common=f"  shorten_ip: {word}")
    assert found.get("network.ip") == expected


def test_ip_is_shortened_when_nothing_is_said() -> None:
    """The protective form is the default."""
    assert cleaned("event, network", {"network.ip": "203.0.113.77"}).get("network.ip") == "203.0.113.0"


def test_products_keep_known_keys() -> None:
    """A product's own keys stay here, wrong types too, and addresses lose their parameters."""
    item: Mapping[str, Scalar] = {
        "id": "s",
        "price": 2,
        "quantity": "2",
        "note": "for Ana",
        "url": "https://a.example/?u=1",
        "name": True,
        "sku": 7,
    }
    found = cleaned("event, order.items", {"order.items": (item,)})
    assert found.get("order.items") == ({"id": "s", "price": 2, "url": "https://a.example/", "sku": "7"},)
    assert cleaned("event, order.items", {"order.items": "text"}).get("order.items") is None
    assert cleaned("event, order.items", {"order.items": ("a",)}).get("order.items") is None


def test_presets_only_take_away() -> None:
    """`extend` removes and codes what its source asks for."""
    fields: dict[str, Value] = {
        "page.url": "https://shop.example/?utm_source=x",
        "page.referrer": "https://other.example/",
        "visitor.client_id": "1.2",
        "device.language": "de",
        "device.user_agent": "UA",
        "place.country": "DE",
        "place.region": "DE-BE",
    }
    found = cleaned(
        "event, page, visitor, device, place", fields, more=", extend: cnil-proxy", common="  keep_url_parameters: [utm_source]"
    )
    assert own(found) == {
        "page.url": "https://shop.example/",
        "visitor.client_id": pseudonym("visitor.client_id\x001.2"),
        "device.language": "de",
        "place.country": "DE",
    }


def test_consent_and_policy_travel_along() -> None:
    """What the gate needs later: needs, states, expiry, digest and file of the policy."""
    text = "  meta: {needs: [advertising], send: [event], expire_after: 2 hours}"
    rules = policy(text)
    happened = event()
    given = Consent(ALL.model, ALL.purposes, google={"ad_user_data": GRANTED, "ad_personalization": ConsentState.UNKNOWN})
    (decision,) = decide(happened, given, rules, ("meta",))
    found = clean(happened, decision, rules, given, pseudonym=pseudonym)
    assert found.needs == ("advertising",)
    assert dict(found.consent) == {"analytics": "granted", "advertising": "granted"}
    assert dict(found.google) == {"ad_user_data": "granted", "ad_personalization": "denied"}
    assert found.expires_ms == NOW_MS + 7_200_000
    assert (found.policy, found.policy_file, found.limited) == (rules.digest, "a.yaml", False)


def test_a_released_event_has_the_time_of_any_other() -> None:
    """What is parked expires when the destination's own limit says so: a grant in the last second is not in vain."""
    for expire, expected_s in ((", expire_after: 10 seconds", 10), (", expire_after: 1 day", 86_400)):
        rules = policy(
            f"  meta: {{needs: [advertising], send: [event]{expire}}}",
            consent=CONSENT.replace("if_missing: refused", "if_missing: hold\n  hold_for: 1 minute"),
        )
        happened = event()
        (decision,) = decide(happened, consent(), rules, ("meta",))
        assert clean(happened, decision, rules, consent(), pseudonym=pseudonym).expires_ms == NOW_MS + expected_s * 1000


def test_limited_carries_the_restriction_flags() -> None:
    """The limited form has its own fields and flags."""
    rules = policy(
        "  meta:\n    needs: [advertising]\n    send: [event, order.value, user.id]\n"
        "    if_refused: {send_limited: {send: [event, order.value], add: {opt_out: true}}}"
    )
    happened = event({"order.value": 1, "user.id": "u"})
    given = consent(advertising=DENIED)
    (decision,) = decide(happened, given, rules, ("meta",))
    found = clean(happened, decision, rules, given, pseudonym=pseudonym)
    assert found.limited
    assert dict(found.flags) == {"opt_out": True}
    assert own(found) == {"order.value": 1}


def test_clean_refuses_what_was_not_permitted() -> None:
    """A withheld decision, a decision of another policy or of no destination makes no clean event."""
    rules = policy(f"  ga4: {{needs: [analytics], send: [event]}}\n  webhook: {{{FREE}, send: [event]}}")
    other = policy(f"  webhook: {{{FREE}, send: [event, user.id]}}")
    happened = event()
    withheld, sent, unknown = decide(happened, consent(), rules, ("ga4", "webhook", "meta"))
    for decision, under in ((withheld, rules), (sent, other), (unknown, rules)):
        with pytest.raises(PolicyError) as refused:
            clean(happened, decision, under, consent(), pseudonym=pseudonym)
        assert refused.value.code == "not_permitted"


def test_clean_refuses_a_dropped_event() -> None:
    """Even with a decision for another event at hand, what the policy drops is not made clean."""
    rules = policy(f"  ga4: {{{FREE}, send: [event, search]}}", common="  if_free_text_contains: {email: drop_event}")
    (decision,) = decide(event(), ALL, rules, ("ga4",))
    with pytest.raises(PolicyError):
        clean(event({"search.term": "ana@example.com"}), decision, rules, ALL, pseudonym=pseudonym)


def test_everything_for_render() -> None:
    """`destination render`: all fields leave but those the destination wants hashed, which are."""
    happened = event({"user.email": "Ana@Example.com", "user.phone": "", "user.first_name": "Ana", "properties.x": 1})
    found = clean_everything(
        happened,
        destination="meta",
        hashes={"user.email": lower, "user.phone": lower},
        demands_hash=frozenset({"user.email", "user.phone", "user.first_name", "user.city"}),
        google={"ad_user_data": "granted"},
        flags={"limited_data_use": True},
    )
    assert own(found) == {"user.email": sha("ana@example.com"), "properties.x": 1}
    assert (found.id, found.destination, dict(found.google), dict(found.flags)) == (
        "A-1009", "meta", {"ad_user_data": "granted"}, {"limited_data_use": True},
    )  # fmt: skip


def test_store_form_is_whole() -> None:
    """`load(dump(x))` is x, with items, lists and numbers as they were."""
    item: Mapping[str, Scalar] = {"id": "s", "price": 1.5}
    fields: dict[str, Value] = {
        "order.items": (item,),
        "properties.tags": ("a", 1, True),
        "properties.none": (),
        "order.value": 3,
    }
    found = cleaned("event, order, properties", fields, to="meta")
    assert load(dump(found)) == found


def test_store_form_of_odd_values() -> None:
    """Huge integers and lone surrogates are stored in a safe form; they do not stop the event."""
    fields: dict[str, Value] = {
        "properties.n": 1 << 70,
        "properties.s": "a\ud800",
        "order.items": ({"id": "\udfff"},),
        "properties.l": (1 << 65,),
    }
    found = load(dump(cleaned("event, order, properties", fields)))
    assert own(found) == {
        "properties.n": str(1 << 70),
        "properties.s": "a?",
        "order.items": ({"id": "?"},),
        "properties.l": (str(1 << 65),),
    }


@pytest.mark.parametrize("data", [b"", b"\xc1", b"{}", b"\x90", dump(cleaned("event", {}))[:-1]])
def test_bytes_that_are_no_event(data: bytes) -> None:
    """A stored event that does not decode is an error of the store, without its bytes in the message."""
    with pytest.raises(StoreError) as broken:
        load(data)
    assert broken.value.message == "a stored event does not decode"


def test_only_clean_makes_clean_events() -> None:
    """No other module of the product calls CleanEvent(…) or replaces a part of one (DESIGN §2)."""
    makers = set()
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "CleanEvent":
                makers.add(path.name)
    assert makers == {"clean.py"}


class Gate:
    """One stored delivery and the policies that come later."""

    def __init__(self, text: str, fields: Mapping[str, Value], *, given: Consent = ALL, common: str = "", to: str = "meta") -> None:
        rules = policy(text, common=common)
        happened = event(fields)
        (decision,) = decide(happened, given, rules, (to,))
        self.stored = load(dump(clean(happened, decision, rules, given, pseudonym=pseudonym)))

    def now(self, text: str, *, common: str = "", states: Mapping[str, str] | None = None) -> CleanEvent | None:
        """What may leave under another policy and other consent."""
        return recheck(with_consent(self.stored, states or {}), set_of(policy(text, common=common)))


def set_of(rules: Policy) -> PolicySet:
    """A set of one policy."""
    return PolicySet.of("x", (rules,))


SEND = "  meta: {needs: [advertising], send: [event, order.value, user.email, page.url, network.ip, user.id], hash: [user.email]}"
FIELDS: Mapping[str, Value] = {
    "order.value": 1, "order.tax": 2, "user.email": "a@b.example", "page.url": "https://s.example/?utm_source=x",
    "network.ip": "203.0.113.7", "user.id": "u",
}  # fmt: skip
COMMON = "  keep_url_parameters: [utm_source]\n  shorten_ip: keep"


def test_recheck_of_the_same_policy_changes_nothing() -> None:
    """The usual case: the policy is the one that decided, and consent still stands."""
    gate = Gate(SEND, FIELDS, common=COMMON)
    rules = policy(SEND, common=COMMON)
    assert recheck(gate.stored, set_of(rules)) is gate.stored


@pytest.mark.parametrize("state", ["denied", "unknown", "anything"])
def test_recheck_hears_a_withdrawal(state: str) -> None:
    """Whatever is not a grant now stops what was granted then."""
    gate = Gate(SEND, FIELDS, common=COMMON)
    assert gate.now(SEND, common=COMMON, states={"advertising": state}) is None
    assert gate.now(SEND, common=COMMON, states={"analytics": state}) is not None


def test_recheck_never_adds_a_field() -> None:
    """A looser policy lets nothing out that was not stored."""
    looser = SEND.replace("order.value", "order")
    found = Gate(SEND, FIELDS, common=COMMON).now(looser, common=COMMON)
    assert found is not None
    assert "order.tax" not in found.fields


def test_recheck_takes_fields_away() -> None:
    """A tighter policy removes what it does not name any more; the rest leaves."""
    found = Gate(SEND, FIELDS, common=COMMON).now(SEND.replace("order.value, ", ""), common=COMMON)
    assert found is not None
    assert "order.value" not in found.fields
    assert found.fields["user.email"] == sha("a@b.example")
    assert found.hashed == {"user.email"}


def test_recheck_needs_what_was_needed_then() -> None:
    """A policy that needs less now does not make up for a consent that was withdrawn since."""
    later = SEND.replace("needs: [advertising]", "needs: nothing, because: x")
    gate = Gate(SEND, FIELDS, common=COMMON)
    assert gate.now(later, common=COMMON) is not None
    assert gate.now(later, common=COMMON, states={"advertising": "denied"}) is None


def test_recheck_forgets_hashes_of_removed_fields() -> None:
    """`hashed` names fields that are there."""
    found = Gate(SEND, FIELDS, common=COMMON).now("  meta: {needs: [advertising], send: [event, order.value]}")
    assert found is not None
    assert found.hashed == frozenset()


def test_recheck_shortens_what_was_stored_long() -> None:
    """Addresses, parameters and times follow the policy in force now."""
    found = Gate(SEND, FIELDS, common=COMMON).now(SEND, common="  generalise: {time: day}")
    assert found is not None
    assert found.fields["network.ip"] == "203.0.113.0"
    assert found.fields["page.url"] == "https://s.example/"
    assert found.time_ms == found.fields["event.time"] == NOW_MS // 86_400_000 * 86_400_000
    fewer = SEND.replace("hash:", "keep_url_parameters: [], limit: {user.id: 1}, generalise: {time: day}, hash:")
    found = Gate(SEND, {**FIELDS, "user.id": "uvw"}, common=COMMON).now(fewer, common=COMMON)
    assert found is not None
    assert (found.fields["page.url"], found.fields["user.id"]) == ("https://s.example/", "u")
    assert found.time_ms == NOW_MS // 86_400_000 * 86_400_000


def test_recheck_removes_clear_values_that_must_be_pseudonyms_now() -> None:
    """A field that is to be pseudonymised now, and was stored under another policy, goes: the two cannot be told apart."""
    clear = "  ga4: {needs: [advertising], send: [event, user.first_name, user.id]}"
    gate = Gate(clear, {"user.first_name": "Ana", "user.id": "u"}, to="ga4")
    found = gate.now(clear.replace("user.id]", "user.id], pseudonymise: [user.id, user.first_name]"))
    assert found is not None
    assert own(found) == {}


def test_recheck_removes_a_clear_value_where_a_hash_is_wanted() -> None:
    """Stored in clear under an older policy, demanded hashed now: it does not leave."""
    rules = policy("  meta: {needs: [advertising], send: [event, user.email], hash: [user.email]}")
    happened = event({"user.email": "a@b.example"})
    (decision,) = decide(happened, ALL, rules, ("meta",))
    good = clean(happened, decision, rules, ALL, pseudonym=pseudonym)
    bad = load(dump(good).replace(sha("a@b.example").encode(), b"a@b.example" + b" " * 53))
    unhashed = CleanEvent(**{**{n: getattr(bad, n) for n in bad.__slots__}, "hashed": frozenset(), "policy": "older"})
    found = recheck(unhashed, set_of(rules))
    assert found is not None
    assert "user.email" not in found.fields


@pytest.mark.parametrize(
    "later",
    [
        "  ga4: {needs: [advertising], send: [event]}",
        SEND.replace("{needs", "{enabled: false, needs"),
        SEND.replace("{needs", "{events: [page_view], needs"),
        SEND.replace("[advertising]", "[advertising, analytics]"),
        SEND.replace("send: [event,", "send: [event.time,"),
    ],
    ids=["destination gone", "switched off", "event not listed", "another purpose", "id not named"],
)
def test_recheck_stops(later: str) -> None:
    """The destination is gone or off, the event or the id not named, or another purpose needed and not granted."""
    gate = Gate(SEND, FIELDS, given=consent(advertising=GRANTED), common=COMMON)
    assert gate.now(later, common=COMMON) is None


def test_recheck_stops_when_the_policy_is_gone() -> None:
    """A delivery whose policy file is not in force any more is not judged by another one."""
    gate = Gate(SEND, FIELDS, common=COMMON)
    assert recheck(gate.stored, PolicySet.of("x", ())) is None


def test_recheck_stops_what_must_not_be_anywhere() -> None:
    """Personal data that a new policy will not have anywhere stops the stored event too."""
    text = "  meta: {needs: [advertising], send: [event, search.term]}"
    gate = Gate(text, {"search.term": "+49 151 23456789"}, common="  if_free_text_contains: {phone: report}")
    assert gate.now(text, common="  if_free_text_contains: {phone: drop_event}") is None
    found = gate.now(text, common="  if_free_text_contains: {phone: remove}")
    assert found is not None
    assert own(found) == {}


def test_recheck_of_a_limited_sending() -> None:
    """It rests on no consent, so it needs the policy to still have the limited form, with the flags of now."""
    text = (
        "  meta:\n    needs: [advertising]\n    send: [event, order]\n    if_refused: {send_limited: {send: [event, order.value]}}"
    )
    gate = Gate(text, FIELDS, given=consent(advertising=DENIED))
    assert gate.stored.limited
    found = gate.now(text.replace("[event, order.value]}", "[event, order.value], add: {opt_out: true}}"))
    assert found is not None
    assert dict(found.flags) == {"opt_out": True}
    assert gate.now("  meta: {needs: [advertising], send: [event, order]}") is None


def test_a_released_hold_needs_its_grant() -> None:
    """A parked event leaves only when the purposes it waited for are granted now."""
    rules = policies(
        "policy: x\nowner: o\nreason: r\napplies_to: {everywhere_else: true, when_country_unknown: apply}\n"
        + CONSENT.replace("if_missing: refused", "if_missing: hold")
        + "destinations: {meta: {needs: [advertising], send: [event]}, ga4: {needs: [analytics], send: [event]}}\n"
    )
    happened = event()
    (decision,) = decide(happened, consent(), rules.policies[0], ("meta",))
    parked = clean(happened, decision, rules.policies[0], consent(), pseudonym=pseudonym)
    assert recheck(parked, rules) is None
    assert recheck(with_consent(parked, {"advertising": "denied"}), rules) is None
    assert recheck(with_consent(parked, {"advertising": "granted"}), rules) is not None


def test_clean_events_show_nothing() -> None:
    """Neither the event nor its clean form shows a value in its repr."""
    found = cleaned("event, user.id", {"user.id": "canary"})
    assert "canary" not in repr(found)


def test_one_hash_serves_alike_destinations() -> None:
    """Two destinations that normalise alike get the same hash, worked out once."""
    calls: list[str] = []

    def count(value: str, country: str | None) -> str | None:
        calls.append(value)
        return value.lower()

    facts = {name: replace(FACTS[name], hashes={"user.email": count}) for name in ("ga4", "meta")}
    body = "".join(f"  {name}: {{{FREE}, send: [event, user.email], hash: [user.email]}}\n" for name in facts)
    (rules,) = load_texts({"a.yaml": f"{HEAD}{CONSENT}destinations:\n{body}".encode()}, facts).policies
    happened = event({"user.email": "Ana@example.com"})
    found = [clean(happened, d, rules, ALL, pseudonym=pseudonym) for d in decide(happened, ALL, rules, tuple(facts))]
    assert [f.fields["user.email"] for f in found] == [sha("ana@example.com")] * 2
    assert calls == ["Ana@example.com"]
