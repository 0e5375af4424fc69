"""The gate: what left the policy stage may only shrink until it leaves the house."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from ebbgate.deliver.gate import EXPIRED, KILLED, NOT_GRANTED, POLICY_CHANGED, RACED_MS, WITHDRAWN, Stop, expires_at_ms, gate
from ebbgate.model import CleanEvent
from ebbgate.policy.plan import PolicySet
from tests.unit.deliver.fakes import NOW_MS, clean_event, plan, policies

HOUR = 3_600_000
DAY = 24 * HOUR


def ask(
    clean: CleanEvent,
    *,
    choices: Mapping[str, tuple[str, int]] | None = None,
    now_ms: int = NOW_MS + 1000,
    disabled: Collection[str] = (),
    policy: PolicySet | None = None,
    max_age_s: int | None = None,
) -> CleanEvent | Stop:
    """The gate with a granted, fresh event unless told otherwise."""
    return gate(
        clean,
        received_ms=NOW_MS,
        policies=policy or policies(),
        choices=choices or {},
        now_ms=now_ms,
        disabled=disabled,
        max_age_s=max_age_s,
        queue_ttl_ms=7 * DAY,
    )


def test_a_granted_event_passes_as_it_was_stored() -> None:
    """An event whose consent, age and policy still hold passes unchanged."""
    clean = clean_event()
    assert ask(clean) is clean


@pytest.mark.parametrize("state", ["denied", "unknown", "", "Granted", "maybe"])
def test_a_choice_since_receipt_that_is_no_grant_withdraws(state: str) -> None:
    """After a denial, or a word nobody knows, a queued event never leaves."""
    assert ask(clean_event(), choices={"analytics": (state, NOW_MS + 1)}) == WITHDRAWN


def test_a_choice_in_the_same_millisecond_counts() -> None:
    """Of two things at one moment the denial wins."""
    assert ask(clean_event(), choices={"analytics": ("denied", NOW_MS)}) == WITHDRAWN


def test_a_denial_that_seems_older_stops_too() -> None:
    """One known at receipt would have let nothing out: it was recorded while the event was being decided, so it counts."""
    assert ask(clean_event(), choices={"analytics": ("denied", NOW_MS - 1)}) == WITHDRAWN


def test_an_older_grant_changes_nothing() -> None:
    """What was granted before the receipt was weighed then, unless it was recorded while the event was being decided."""
    unknown = clean_event(consent={"analytics": "unknown"})
    assert ask(unknown, choices={"analytics": ("granted", NOW_MS - RACED_MS - 1)}) == NOT_GRANTED
    assert isinstance(ask(unknown, choices={"analytics": ("granted", NOW_MS - RACED_MS)}), CleanEvent)


def test_a_denial_of_another_purpose_does_not_stop() -> None:
    """Withdrawing advertising does not stop what needs analytics only."""
    assert isinstance(ask(clean_event(), choices={"advertising": ("denied", NOW_MS + 1)}), CleanEvent)


@pytest.mark.parametrize("consent", [{}, {"analytics": "denied"}, {"analytics": "unknown"}, {"analytics": "yes"}])
def test_without_a_grant_at_receipt_nothing_leaves(consent: dict[str, str]) -> None:
    """A stored event whose needs were not granted at receipt is withheld, whatever put it into the queue."""
    assert ask(clean_event(consent=consent)) == NOT_GRANTED


def test_a_later_grant_releases_only_what_was_unknown() -> None:
    """A held event leaves after the visitor's grant; one refused at receipt does not."""
    grant = {"analytics": ("granted", NOW_MS + 1)}
    released = ask(clean_event(consent={"analytics": "unknown"}), choices=grant)
    assert isinstance(released, CleanEvent)
    assert released.consent == {"analytics": "granted"}
    assert ask(clean_event(consent={"analytics": "denied"}), choices=grant) == NOT_GRANTED


def test_platforms_are_told_what_holds_now() -> None:
    """A withdrawal takes Google's signals back also where the event needs another purpose; only the same rules give one again."""
    told = policies(google=(("analytics", "analytics_storage"), ("advertising", "ad_user_data")))
    states = {"analytics": "granted", "advertising": "granted"}
    clean = clean_event(consent=states, google={"analytics_storage": "granted", "ad_user_data": "granted"})
    left = ask(clean, policy=told, choices={"advertising": ("denied", NOW_MS + 1)})
    assert isinstance(left, CleanEvent)
    assert left.google == {"analytics_storage": "granted", "ad_user_data": "denied"}
    assert left.consent == {"analytics": "granted", "advertising": "denied"}
    held = clean_event(consent={"analytics": "unknown"}, google={"analytics_storage": "denied"})
    grant = {"analytics": ("granted", NOW_MS + 1)}
    free = ask(held, policy=told, choices=grant)
    assert isinstance(free, CleanEvent)
    assert free.google == {"analytics_storage": "granted"}
    other = policies(digest="b" * 64, google=(("analytics", "analytics_storage"),))
    tighter = ask(held, policy=other, choices=grant)
    assert isinstance(tighter, CleanEvent)
    assert tighter.google == {"analytics_storage": "denied"}


def test_all_needs_must_hold() -> None:
    """Two purposes are needed together, never one of them."""
    clean = clean_event(needs=("analytics", "advertising"), consent={"analytics": "granted", "advertising": "granted"})
    assert isinstance(ask(clean), CleanEvent)
    assert ask(clean, choices={"advertising": ("denied", NOW_MS + 1)}) == WITHDRAWN


@pytest.mark.parametrize("word", ["destination:sink", "purpose:analytics"])
def test_a_kill_switch_stops(word: str) -> None:
    """A kill switch of the destination or of a needed purpose ends the delivery."""
    assert ask(clean_event(), disabled={word}) == KILLED
    assert isinstance(ask(clean_event(), disabled={"destination:other", "purpose:advertising"}), CleanEvent)


def test_a_limited_event_rests_on_no_consent() -> None:
    """What was reduced because consent was refused is not stopped by a refusal, but by the destination's kill switch."""
    fields = {"event.id": "e-1", "event.name": "purchase", "event.time": NOW_MS}
    limited = clean_event(limited=True, consent={"analytics": "denied"}, fields=fields)
    assert isinstance(ask(limited, choices={"analytics": ("denied", NOW_MS + 1)}), CleanEvent)
    assert ask(limited, disabled={"destination:sink"}) == KILLED


def test_it_expires_at_the_earliest_limit() -> None:
    """Policy limit, platform age less one hour, and the longest wait: the first one ends it, to the millisecond."""
    clean = clean_event(expires_ms=NOW_MS + 2 * DAY)
    assert expires_at_ms(clean, received_ms=NOW_MS, max_age_s=None, queue_ttl_ms=7 * DAY) == NOW_MS + 2 * DAY
    assert expires_at_ms(clean, received_ms=NOW_MS, max_age_s=86_400, queue_ttl_ms=7 * DAY) == NOW_MS + DAY - HOUR
    assert expires_at_ms(clean_event(), received_ms=NOW_MS, max_age_s=None, queue_ttl_ms=7 * DAY) == NOW_MS + 7 * DAY
    assert expires_at_ms(clean_event(), received_ms=NOW_MS, max_age_s=60, queue_ttl_ms=7 * DAY) == NOW_MS + 30_000
    assert isinstance(ask(clean, now_ms=NOW_MS + DAY - HOUR - 1, max_age_s=86_400), CleanEvent)
    assert ask(clean, now_ms=NOW_MS + DAY - HOUR, max_age_s=86_400) == EXPIRED


def test_the_platform_s_age_counts_from_the_event_not_from_the_receipt() -> None:
    """An event that happened long before it was received is as old as it says."""
    assert ask(clean_event(time_ms=NOW_MS - DAY), max_age_s=86_400) == EXPIRED


def test_a_withdrawal_is_recorded_even_when_it_is_also_too_old() -> None:
    """Of two reasons to stop, the visitor's wins the record."""
    assert ask(clean_event(), choices={"analytics": ("denied", NOW_MS + 1)}, now_ms=NOW_MS + 8 * DAY) == WITHDRAWN


def test_a_policy_that_no_longer_names_the_destination_stops() -> None:
    """Destination gone, switched off, or file gone: nothing leaves."""
    assert ask(clean_event(), policy=policies(plan("other"), digest="b" * 64)) == POLICY_CHANGED
    assert ask(clean_event(), policy=policies(plan(enabled=False), digest="b" * 64)) == POLICY_CHANGED
    assert ask(clean_event(), policy=policies(file="uk.yaml", digest="b" * 64)) == POLICY_CHANGED


def test_a_policy_that_needs_more_now_stops_what_lacks_it() -> None:
    """A purpose added to `needs` after the receipt must be granted too, and a denial of it counts."""
    tighter = policies(plan(needs=("analytics", "advertising")), digest="b" * 64)
    assert ask(clean_event(), policy=tighter) == POLICY_CHANGED
    both = clean_event(consent={"analytics": "granted", "advertising": "granted"})
    assert isinstance(ask(both, policy=tighter), CleanEvent)
    assert ask(both, policy=tighter, choices={"advertising": ("denied", NOW_MS + 1)}) == POLICY_CHANGED


def test_a_tighter_policy_takes_fields_away() -> None:
    """A field that the policy no longer lets out does not leave, though it is stored."""
    narrow = plan(full=plan().limited)
    passed = ask(clean_event(), policy=policies(narrow, digest="b" * 64))
    assert isinstance(passed, CleanEvent)
    assert "order.value" not in passed.fields
    assert "event.id" in passed.fields


def test_a_choice_does_not_bring_back_what_lost_its_policy() -> None:
    """An event whose policy file is gone stays here, whatever its visitor has allowed since."""
    waiting = clean_event(consent={"analytics": "unknown"}, policy_file="gone.yaml")
    assert isinstance(ask(waiting, choices={"analytics": ("granted", NOW_MS)}), Stop)
