"""Counting kinds of events without a value: paths, names, places, states, and who got what."""

from __future__ import annotations

import pytest

from ebbgate.model import Consent, Event, Place, Trust, Value
from ebbgate.pipeline import NO_POLICY
from ebbgate.policy import shapes
from ebbgate.policy.authored import PolicyWords
from ebbgate.policy.decide import decide
from ebbgate.policy.diff import OTHER_EVENT, effect
from ebbgate.policy.load import examine
from ebbgate.policy.plan import MAX_FIELDS
from ebbgate.policy.prepare import prepare
from ebbgate.policy.shapes import Observations, ruled, situations, summed, tellable
from tests.unit.policy.making import CONSENT, DENIED, FACTS, GRANTED, HEAD, NOW_MS, consent, event, policies

DE = Place("DE", "DE-BE", "header")
TEXT = f"""{HEAD}{CONSENT}destinations:
  ga4: {{needs: [analytics], send: [event, order]}}
  meta: {{needs: [advertising], send: [event]}}
"""
RULES = policies(TEXT).policies[0]


def see(seen: Observations, fields: dict[str, Value], said: Consent, *, name: str = "purchase", place: Place = DE) -> None:
    """One event through decide into the counts."""
    happened = event(fields, name=name)
    seen.kind(happened, place, said, decide(happened, said, RULES, ("ga4", "meta"))).count += 1


def test_events_are_counted_by_kind_and_field() -> None:
    """Equal kinds are one row with a count; a field's row names who got it by which line; no value is in either."""
    seen = Observations()
    yes, no = consent(analytics=GRANTED, advertising=DENIED), consent(analytics=DENIED, advertising=DENIED)
    for _ in range(3):
        see(seen, {"order.value": 99.5, "user.email": "ana@example.com"}, yes)
    see(seen, {"order.value": 1}, no)
    fields, traffic = summed(seen.take(), NOW_MS)
    found = {f.path: (f.count, dict(f.destinations)) for f in fields}
    assert found["order.value"] == (4, {"ga4": "a.yaml:11"})
    assert found["user.email"] == (3, {})
    assert sorted(t.situation.count for t in traffic) == [1, 3]
    assert {t.hour for t in traffic} == {NOW_MS // 3_600_000}
    assert {t.situation.place for t in traffic} == {Place("DE", "DE-BE")}
    assert "@example" not in repr((fields, traffic))
    assert "99.5" not in repr((fields, traffic))
    assert summed(seen.take(), NOW_MS) == ([], [])


def test_paths_of_one_object_are_the_same_kinds() -> None:
    """Events whose paths come as the one object of their shape are told apart by them, as those that bring none are."""
    seen, said = Observations(), consent(analytics=DENIED, advertising=DENIED)
    for fields in ({"page.title": "a"}, {"page.path": "/"}, {"page.title": "b"}):
        happened = event(fields)
        decisions = decide(happened, said, RULES, ("ga4", "meta"))
        seen.kind(happened, DE, said, decisions).count += 1
        seen.kind(happened, DE, said, decisions, prepare(happened, RULES).paths).count += 1
    _, traffic = summed(seen.take(), NOW_MS)
    found = {t.situation.paths: t.situation.count for t in traffic}
    assert {next(p for p in paths if p.startswith("page.")): count for paths, count in found.items()} == {
        "page.title": 4,
        "page.path": 2,
    }


def test_whatever_tells_kinds_apart_is_counted_apart() -> None:
    """Name, country, region, a purpose's state and the paths each make a kind; where the place is known from does not."""
    seen = Observations()
    yes, no = consent(analytics=GRANTED, advertising=DENIED), consent(analytics=GRANTED, advertising=GRANTED)
    for _ in range(2):
        see(seen, {}, yes)
        see(seen, {}, yes, name="refund")
        see(seen, {}, yes, place=Place("FR", "DE-BE", "header"))
        see(seen, {}, yes, place=Place("DE", "DE-BY", "header"))
        see(seen, {}, no)
        see(seen, {"order.value": 1}, yes)
    see(seen, {}, yes, place=Place("DE", "DE-BE", "server"))
    _, traffic = summed(seen.take(), NOW_MS)
    assert sorted(t.situation.count for t in traffic) == [2, 2, 2, 2, 2, 3]
    assert {t.situation.states for t in traffic} == {
        tuple((name, said.state) for name, said in one.purposes.items()) for one in (yes, no)
    }  # fmt: skip


def test_sites_and_policies_are_counted_apart() -> None:
    """The same event at another site is another row; after a change of policy a field's row names who got it under either."""
    seen = Observations()
    yes, happened = consent(analytics=GRANTED), event({"order.value": 1})
    tighter = policies(TEXT.replace("ga4: {needs: [analytics]", "ga4: {needs: [advertising]")).policies[0]
    seen.kind(happened, DE, yes, decide(happened, yes, tighter, ("ga4", "meta"))).count += 1
    seen.kind(happened, DE, yes, decide(happened, yes, RULES, ("ga4", "meta"))).count += 1
    elsewhere = Event("A-1009", "purchase", NOW_MS, NOW_MS, "blog", "native", Trust.BROWSER, happened.fields)
    seen.kind(elsewhere, DE, yes, decide(elsewhere, yes, tighter, ("ga4", "meta"))).count += 1
    fields, traffic = summed(seen.take(), NOW_MS)
    found = {f.site: (f.count, dict(f.destinations)) for f in fields if f.path == "order.value"}
    assert found == {happened.site: (2, {"ga4": "a.yaml:11"}), "blog": (1, {})}
    assert {t.site: t.situation.count for t in traffic} == {happened.site: 2, "blog": 1}


def test_without_a_policy_equal_events_are_one_kind() -> None:
    """Events that no policy governs are counted too, all of them in one place."""
    seen = Observations()
    for _ in range(3):
        happened = event({"order.value": 1})
        seen.kind(happened, Place(), NO_POLICY, decide(happened, NO_POLICY, None, ("ga4", "meta"))).count += 1
    assert len(seen.take().kinds) == 1


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("order.value", "order.value"),
        ("properties.color", "properties.color"),
        ("properties.size.eu", "properties.size.eu"),
        ("properties.ana@example.com", "properties"),
        ("properties.491719876543", "properties"),
        ("properties.u_12345678", "properties"),
        ("properties.two words", "properties"),
        ("properties." + "x" * 60, "properties"),
        ("elsewhere.color", "properties"),
    ],
)
def test_names_that_could_be_somebodys_are_not_kept(path: str, told: str) -> None:
    """A plain name of the site's own is told; one that may hold personal data is counted as `properties`."""
    assert tellable(path) == told


def test_names_and_places_are_kept_only_as_far_as_they_are_codes() -> None:
    """A stranger's event name or country is not written down."""
    seen = Observations()
    yes = consent(analytics=GRANTED)
    see(seen, {}, yes, name="mail ana@example.com", place=Place("Q!", "Q!-1", "header"))
    see(seen, {}, yes, place=Place("DE", "someone's home", "header"))
    _, traffic = summed(seen.take(), NOW_MS)
    assert {(t.situation.event, t.situation.place) for t in traffic} == {(OTHER_EVENT, Place()), ("purchase", Place("DE"))}


def test_kinds_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many fields a stranger makes up, memory does not grow; what is over the bound is known."""
    monkeypatch.setattr(shapes, "MAX_KINDS", 3)
    seen = Observations()
    yes = consent(analytics=GRANTED)
    for number in range(10):
        see(seen, {f"properties.p{number}": 1}, yes)
    see(seen, {f"properties.q{number}": 1 for number in range(shapes.MAX_WIDE)}, yes)
    assert seen.missed == 8
    assert len(summed(seen.take(), NOW_MS)[1]) == 3


def test_an_event_on_its_way_counts_after_a_reading() -> None:
    """A kind that was found before the counts were taken still counts; one of which nothing came for two readings is forgotten."""
    seen = Observations()
    yes, happened = consent(analytics=GRANTED), event({}, name="purchase")
    kind = seen.kind(happened, DE, yes, ())
    assert not seen.take().kinds
    kind.count += 1
    assert [k.count for k in seen.take().kinds.values()] == [1]
    assert seen.kind(happened, DE, yes, ()) is kind
    assert not seen.take().kinds
    assert not seen.take().kinds
    assert seen.kind(happened, DE, yes, ()) is not kind


def test_an_event_on_its_way_keeps_a_kind_that_was_idle() -> None:
    """A kind of which nothing came for a while is not forgotten between an event's decision and its commit."""
    seen = Observations()
    yes, happened = consent(analytics=GRANTED), event({}, name="purchase")
    seen.kind(happened, DE, yes, ()).count += 1
    assert len(seen.take().kinds) == 1
    assert not seen.take().kinds
    on_its_way = seen.kind(happened, DE, yes, ())
    assert not seen.take().kinds
    on_its_way.count += 1
    assert [k.count for k in seen.take().kinds.values()] == [1]


def test_wide_events_alike_are_one_kind() -> None:
    """Events of more fields than is remembered about are counted together too, and leave room for others."""
    seen, said = Observations(), consent(analytics=GRANTED, advertising=DENIED)
    for _ in range(5):
        happened = event({f"properties.p{number}": 1 for number in range(MAX_FIELDS + 1)})
        decisions = decide(happened, said, RULES, ("ga4", "meta"))
        seen.kind(happened, DE, said, decisions, prepare(happened, RULES).paths).count += 1
    assert [kind.count for kind in seen.take().kinds.values()] == [5]


def test_recorded_kinds_decide_again_as_they_did() -> None:
    """Rows read back are situations: the same policy changes nothing, a tighter one counts what is not sent any more."""
    rows = [
        ("purchase", "DE", "", {"analytics": "granted", "advertising": "denied"}, ["event.name", "order.value", "properties"], 40),
        ("purchase", "", "", {"analytics": "odd"}, ["event.name"], 2),
    ]
    found = list(situations(rows))
    same = policies(TEXT)
    nothing = effect(same, same, found)
    assert (nothing.events, dict(nothing.fewer), nothing.lets_more_out) == (42, {"ga4": 0, "meta": 0}, False)
    tighter = policies(TEXT.replace("ga4: {needs: [analytics]", "ga4: {needs: [advertising]"))
    assert effect(same, tighter, found).fewer["ga4"] == 40
    assert effect(tighter, same, found).lets_more_out
    wider = policies(TEXT.replace("[event, order]", "[event, order, properties]"))
    assert effect(same, wider, found).new_fields["ga4"] == ("properties.another",)


def words_of(text: str) -> PolicyWords:
    """The words of one policy file."""
    (examined,), _ = examine({"a.yaml": text.encode()}, FACTS)
    assert examined.words is not None
    return examined.words


def test_a_field_is_ruled_on_when_any_policy_names_it() -> None:
    """Sent, removed, hashed, coded or part of a reduced sending: somebody has decided. All else is new."""
    text = (
        f"{HEAD}{CONSENT}before_anything_leaves: {{remove: [user.birthday], pseudonymise: [click]}}\ndestinations:\n"
        "  meta:\n    needs: [advertising]\n    send: [event.id, order, user.email]\n    remove: [order.coupon]\n"
        "    hash: [user.email]\n    if_refused: {send_limited: {send: [order.value]}}\n  webhook: {needs: nothing, because: x}\n"
    )
    named = ruled([words_of(text)])
    for path in ("event.name", "event.time", "order.value", "order.coupon", "user.email", "user.birthday", "click.gclid"):
        assert named.covers(path)
    for path in ("page.url", "user.phone", "properties.color", "event.source"):
        assert not named.covers(path)


def test_what_is_held_has_not_left() -> None:
    """A field of a parked event is told as seen, and nobody has got it."""
    rules = policies(TEXT.replace("if_missing: refused", "if_missing: hold")).policies[0]
    happened, nothing_said = event({"order.value": 1}), consent()
    seen = Observations()
    seen.kind(happened, DE, nothing_said, decide(happened, nothing_said, rules, ("ga4", "meta"))).count += 1
    fields, _ = summed(seen.take(), NOW_MS)
    assert {f.path: dict(f.destinations) for f in fields}["order.value"] == {}
