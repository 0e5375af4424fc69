from __future__ import annotations

import pytest

from ebbgate.model import ConsentState, Place
from ebbgate.policy.diff import Effect, Situation, effect, effect_text, generated, text_diff
from ebbgate.policy.load import load_policies
from ebbgate.policy.plan import PolicySet
from tests.unit.policy.making import CONSENT, FACTS, POLICIES, policies

HEAD = "policy: x\nowner: o\nreason: r\napplies_to: {countries: [DE, FR], regions: [US-CA], when_country_unknown: apply}\n"
COMMON = "before_anything_leaves:\n  keep_url_parameters: [utm_source, utm_term]\n  shorten_ip: to_network\n"
BODY = """\
destinations:
  ga4:
    needs: [analytics]
    events: [purchase, page_view]
    send: [event, page, order, network.ip, properties.color, user.id]
    pseudonymise: [user.id]
    limit: {page.title: 100}
  meta:
    needs: [advertising]
    events: [purchase]
    send: [event, order.value, user.email]
    hash: [user.email]
"""
OLD = HEAD + CONSENT + COMMON + BODY


def compare(before: str, after: str) -> Effect:
    """The effect of one text taking the place of another."""
    old, new = policies(before), policies(after)
    return effect(old, new, generated(old, new))


def test_no_change() -> None:
    """The same policies, or a comment more, change nothing."""
    found = compare(OLD, OLD + "# a comment\n")
    assert not found.lets_more_out
    assert found.events > 50
    told = "0 fewer sent, 0 more sent anywhere, new field leaving: none"
    assert effect_text(found, "generated") == f"effect on {found.events:,} generated events: {told}"


def test_fewer() -> None:
    """A purpose more is less sent: told, and no alarm."""
    found = compare(OLD, OLD.replace("needs: [advertising]", "needs: [advertising, analytics]"))
    assert found.fewer["meta"] > 0
    assert sum(found.more.values()) == 0
    assert not found.lets_more_out
    assert "meta: " in effect_text(found, "generated")


SILENCE = "model: opt_in\n  read_from: [event]\n  if_missing: refused"
LOOSER = {
    "a purpose less": ("needs: [advertising]", "needs: nothing\n    because: x"),
    "an event more": ("events: [purchase]", "events: [purchase, lead]"),
    "all events": ("    events: [purchase]\n", ""),
    "a field more": ("send: [event, order.value, user.email]", "send: [event, order.value, user.email, click.gclid]"),
    "a property more": ("properties.color", "properties.color, properties.size"),
    "all properties": ("properties.color", "properties"),
    "a pseudonym less": ("    pseudonymise: [user.id]\n", ""),
    "a parameter more": ("[utm_source, utm_term]", "[utm_source, utm_term, email]"),
    "the whole address": ("shorten_ip: to_network", "shorten_ip: keep"),
    "a longer text": ("limit: {page.title: 100}", "limit: {page.title: 1000}"),
    "no limit": ("    limit: {page.title: 100}\n", ""),
    "personal data reported only": ("shorten_ip: to_network", "shorten_ip: to_network\n  if_free_text_contains: {email: report}"),
    "a country more": ("countries: [DE, FR]", "countries: [DE, FR, BR]"),
    "everywhere": ("countries: [DE, FR]", "everywhere_else: true"),
    "silence is a yes": (SILENCE, SILENCE.replace("opt_in", "opt_out").replace("refused", "allowed")),
    "a limited form": ("    hash: [user.email]\n", "    hash: [user.email]\n    if_refused: {send_limited: {send: [event]}}\n"),
    "a new destination": ("destinations:\n", "destinations:\n  webhook: {needs: [analytics], send: [event]}\n"),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after"), LOOSER.values(), ids=LOOSER)
def test_whatever_lets_more_out_is_an_alarm(before: str, after: str) -> None:
    """Each way to loosen a policy is seen; the way back is none."""
    assert OLD.count(before) == 1
    assert compare(OLD, OLD.replace(before, after)).lets_more_out
    assert not compare(OLD.replace(before, after), OLD).lets_more_out


def test_time_and_place() -> None:
    """Coarser time and place let less out, and more when taken back."""
    coarse = OLD.replace("  shorten_ip: to_network\n", "  shorten_ip: to_network\n  generalise: {time: hour}\n")
    day = coarse.replace("time: hour", "time: day")
    assert compare(OLD, coarse).gone_fields["ga4"] == ("event.time",)
    assert not compare(coarse, day).lets_more_out
    assert compare(day, coarse).new_fields["meta"] == ("event.time",)


def test_switch_and_hold() -> None:
    """A destination that is switched off, or an event that is held, is not sent."""
    off = OLD.replace("  ga4:\n", "  ga4:\n    enabled: false\n")
    assert compare(OLD, off).fewer["ga4"] > 0
    held = OLD.replace("if_missing: refused", "if_missing: hold")
    found = compare(OLD, held)
    assert not found.lets_more_out
    assert sum(found.fewer.values()) == 0


def test_recorded_situations_count() -> None:
    """Recorded situations stand for as many events as they were seen."""
    old, new = policies(OLD), policies(OLD.replace("    events: [purchase]\n", ""))
    seen = Situation(Place("DE"), "lead", (("advertising", ConsentState.GRANTED),), ("event.name", "user.email"), 1904)
    found = effect(old, new, [seen])
    assert (found.events, found.more["meta"]) == (1904, 1904)
    assert "1,904 more sent anywhere" in effect_text(found, "recorded")


def test_our_policies_against_none() -> None:
    """Situations cover each of the policies we ship, the unknown place and a region."""
    found = load_policies(POLICIES, FACTS)
    places = {s.place for s in generated(found, PolicySet.of("x", ()))}
    assert Place() in places or Place("AD") in places
    assert {policy.file for place in places if (policy := found.select(place))} == {"eu.yaml", "california.yaml", "elsewhere.yaml"}
    assert not effect(found, PolicySet.of("x", ()), generated(found, found)).lets_more_out


def test_text_diff() -> None:
    """The changed lines by file; a new file is all new."""
    found = text_diff({"a.yaml": "x\ny\n"}, {"a.yaml": "x\nz\n", "b.yaml": "w\n"})
    assert found.split("\n") == [
        "--- old/a.yaml",
        "+++ new/a.yaml",
        "@@ -1,2 +1,2 @@",
        " x",
        "-y",
        "+z",
        "--- old/b.yaml",
        "+++ new/b.yaml",
        "@@ -0,0 +1 @@",
        "+w",
    ]
