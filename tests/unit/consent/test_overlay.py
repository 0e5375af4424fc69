"""What recorded choices add to the consent of one event."""

from __future__ import annotations

from itertools import product

import pytest

from ebbgate.consent.overlay import with_choices
from ebbgate.consent.resolve import resolve
from ebbgate.model import ConsentState, Signals
from tests.unit.consent.build import NOW_MS
from tests.unit.consent.rules import CALIFORNIA, EU, GERMANY, US, D, G, U

WORDS = {G: "granted", D: "denied"}


def said(state: ConsentState) -> Signals:
    """The event's own word on advertising."""
    return Signals(purposes=(("advertising", WORDS[state]),) if state is not U else ())


@pytest.mark.parametrize(("own", "choice"), list(product((G, D, U), (G, D, U))))
def test_a_refusal_always_counts_and_a_grant_fills_silence(own: ConsentState, choice: ConsentState) -> None:
    """Every pair of the event's own word and the recorded one, under opt-in: adding a no never makes a yes."""
    states = (("advertising", WORDS[choice]),) if choice is not U else ()
    found = with_choices(resolve(said(own), GERMANY, EU, NOW_MS), EU, states)
    expected = D if D in (own, choice) else G if G in (own, choice) else U
    assert found.state("advertising") is expected
    decided_here = choice is D or (choice is G and own is U)
    assert (found.purposes["advertising"].source == "choice") is decided_here


def test_silence_that_is_a_yes_is_the_choice_s_once_it_is_made() -> None:
    """Under opt-out a refusal turns the default; a grant takes its place by name."""
    silent = resolve(Signals(), CALIFORNIA, US, NOW_MS)
    assert silent.state("advertising") is G
    assert with_choices(silent, US, (("advertising", "denied"),)).state("advertising") is D
    assert with_choices(silent, US, (("advertising", "granted"),)).purposes["advertising"].source == "choice"


def test_a_word_that_is_no_grant_refuses() -> None:
    """Whatever a ledger might hold one day."""
    assert with_choices(resolve(said(G), GERMANY, EU, NOW_MS), EU, (("advertising", "maybe"),)).state("advertising") is D


def test_platforms_are_told_the_choice() -> None:
    """Google's signals follow the purposes that name them."""
    both = Signals(purposes=(("advertising", "granted"), ("analytics", "granted")))
    found = with_choices(resolve(both, GERMANY, EU, NOW_MS), EU, (("advertising", "denied"),))
    assert {name: state for name, state in found.google.items() if state is G} == {"analytics_storage": G}
    assert found.choice_made


def test_what_changes_nothing_is_the_same_object() -> None:
    """A choice that the event says itself, or about a purpose that the policy does not know."""
    consent = resolve(said(G), GERMANY, EU, NOW_MS)
    assert with_choices(consent, EU, (("advertising", "granted"),)) is consent
    assert with_choices(consent, EU, (("newsletter", "denied"),)) is consent


def test_the_same_two_give_the_same_object() -> None:
    """So that later stages may keep what they made of it; another event's consent never gets it."""
    first, second = (resolve(Signals(), GERMANY, EU, NOW_MS) for _ in range(2))
    states = (("advertising", "granted"),)
    assert with_choices(first, EU, states) is with_choices(first, EU, states)
    assert with_choices(second, EU, states) is not with_choices(first, EU, states)
    assert with_choices(first, EU, ()).state("advertising") is U
