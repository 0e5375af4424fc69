"""Retry, batching, breaker, clock and gate over generated times and answers."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import format_datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from ebbgate.deliver.batching import Bisection, Search, batches, extra_requests, halves
from ebbgate.deliver.breaker import CONNECT_FAILURES, MAX_OPEN_S, Breaker, State
from ebbgate.deliver.classify import Failed, Failure, by_failure, understand, word
from ebbgate.deliver.clock import Watch
from ebbgate.deliver.gate import RACED_MS, Stop, gate
from ebbgate.deliver.retry import (
    CAP_S,
    HOUR_MS,
    MAX_ATTEMPTS,
    RETRY_AFTER_CAP_S,
    backoff_s,
    delay_s,
    may_repeat,
    retry_after_s,
    row_result,
    too_late_to_repeat,
)
from ebbgate.destinations.kit import Act, Answer, HttpResponse
from ebbgate.model import CleanEvent, Outcome
from ebbgate.store.protocol import Queued
from tests.scale import scaled
from tests.unit.deliver.fakes import NOW_MS, HandClock, clean_event, plan, policies, queued

draws = st.floats(0, 1, exclude_max=True)
many = settings(max_examples=scaled(100), deadline=None)


@many
@given(st.integers(-5, 10_000), draws)
def test_the_backoff_stays_in_its_bounds(attempts: int, draw: float) -> None:
    """Full jitter: never negative, never over 15 minutes, never over the doubled base."""
    found = backoff_s(attempts, lambda: draw)
    assert 0 <= found <= CAP_S
    assert found <= 2.0 ** min(64, max(0, attempts))
    assert backoff_s(attempts, lambda: 0.0) == 0


@many
@given(st.one_of(st.text(max_size=40), st.integers().map(str), st.integers(0, 10**30).map(lambda n: f" {n} ")))
def test_no_retry_after_breaks_or_exceeds_an_hour(value: str) -> None:
    """Whatever stands in the header gives nothing or 0 to 3600 seconds."""
    found = retry_after_s(value, now_s=NOW_MS / 1000)
    assert found is None or 0 <= found <= RETRY_AFTER_CAP_S


@many
@given(st.integers(-7200, 7200))
def test_a_date_asks_for_the_time_until_then(seconds: int) -> None:
    """An HTTP date is read against the clock, a past one means now."""
    now_s = NOW_MS // 1000
    text = format_datetime(datetime.fromtimestamp(now_s + seconds, UTC), usegmt=True)
    assert retry_after_s(text, now_s=now_s) == min(max(0, seconds), RETRY_AFTER_CAP_S)


@many
@given(st.integers(0, 40), draws, st.none() | st.floats(0, 10_000))
def test_the_wait_is_never_shorter_than_asked(attempts: int, draw: float, asked: float | None) -> None:
    """`Retry-After` is honoured up to its cap."""
    assert delay_s(attempts, lambda: draw, asked_s=asked) >= min(asked or 0, RETRY_AFTER_CAP_S)


rows = st.builds(
    lambda attempts, ago: queued(attempts=attempts, first_attempt_ms=NOW_MS - ago if attempts else 0),
    st.integers(0, 20),
    st.integers(0, 60 * HOUR_MS),
)
windows = st.none() | st.integers(1, 60 * 3600)
acts = st.sampled_from([Act.RETRY, Act.UNKNOWN, Act.PARK])
asks = st.none() | st.floats(0, 4000)


@many
@given(rows, acts, windows, draws, asks)
def test_a_row_either_ends_or_waits(row: Queued, act: Act, window_s: int | None, draw: float, asked: float | None) -> None:
    """Every row of a failed request has an outcome or a later time, never both and never neither."""
    found = row_result(row, act, "http_503", window_s=window_s, now_ms=NOW_MS, draw=lambda: draw, asked_s=asked)
    assert (found.outcome is None) == (found.retry_at_ms > NOW_MS)
    assert found.outcome in (None, Outcome.UNKNOWN, Outcome.REJECTED)
    assert found.dead == (found.outcome is not None)


@many
@given(rows, windows, draws, asks)
def test_after_an_unknown_outcome_nothing_is_repeated_past_the_window(
    row: Queued, window_s: int | None, draw: float, asked: float | None
) -> None:
    """Where the platform would take a copy for a new event, the row ends as unknown instead."""
    found = row_result(row, Act.UNKNOWN, "deadline", window_s=window_s, now_ms=NOW_MS, draw=lambda: draw, asked_s=asked)
    if found.outcome is not None:
        assert found.outcome is Outcome.UNKNOWN
        return
    assert window_s is not None
    first = row.first_attempt_ms if row.attempts else NOW_MS
    margin = min(HOUR_MS, window_s * 500)
    assert found.retry_at_ms < first + window_s * 1000 - margin
    assert row.attempts + 1 < MAX_ATTEMPTS
    later = queued(attempts=row.attempts + 1, first_attempt_ms=first)
    assert not too_late_to_repeat(later, window_s=window_s, now_ms=found.retry_at_ms)
    assert too_late_to_repeat(later, window_s=window_s, now_ms=first + window_s * 1000 - margin)


@many
@given(st.integers(0, 11), draws)
def test_attempts_are_bounded_but_a_push_back_is_nobody_s_fault(attempts: int, draw: float) -> None:
    """The twelfth failure ends a row; an answer that says when to come back does not count."""
    row = queued(attempts=attempts, first_attempt_ms=NOW_MS if attempts else 0)
    counted = row_result(row, Act.RETRY, "x", window_s=None, now_ms=NOW_MS, draw=lambda: draw)
    assert (counted.outcome is Outcome.REJECTED) == (attempts + 1 >= MAX_ATTEMPTS)
    pushed = row_result(row, Act.RETRY, "x", window_s=None, now_ms=NOW_MS, draw=lambda: draw, asked_s=30)
    assert pushed.outcome is None
    assert pushed.retry_at_ms >= NOW_MS + 30_000
    assert not pushed.counts


@many
@given(st.lists(st.tuples(st.integers(0, 5), st.integers())), st.integers(1, 7))
def test_batches_lose_nothing_and_mix_nothing(found: list[tuple[int, int]], limit: int) -> None:
    """Every row is in exactly one batch, of its own key, within the limit, in its order."""
    groups = batches(found, limit=limit, key=lambda row: row[0])
    assert sorted(r for g in groups for r in g) == sorted(found)
    for group in groups:
        assert 1 <= len(group) <= limit
        assert len({row[0] for row in group}) == 1
    for key in {row[0] for row in found}:
        assert [r for g in groups for r in g if r[0] == key] == [r for r in found if r[0] == key]
        sizes = [len(g) for g in groups if g[0][0] == key]
        assert all(size == limit for size in sizes[:-1])


@many
@given(st.integers(2, 1200), st.data())
def test_one_poison_row_costs_at_most_two_requests_a_halving(n: int, data: st.DataObject) -> None:
    """Isolating one row among n adds at most 2·⌈log2 n⌉ requests and never gives up; all others are taken."""
    poison = data.draw(st.integers(0, n - 1))
    waiting, extra, taken, search = [list(range(n))], -1, [], Bisection(n)
    while waiting:
        part = waiting.pop()
        extra += 1
        if extra:
            search.asked(taken=poison not in part)
        assert not search.hopeless
        if poison not in part:
            taken += part
        elif len(part) > 1:
            waiting += halves(part)
    assert sorted(taken) == [i for i in range(n) if i != poison]
    assert extra <= extra_requests(n) == 2 * math.ceil(math.log2(n))


@many
@given(st.integers(2, 1200))
def test_a_batch_refused_altogether_ends_the_search(n: int) -> None:
    """When nothing is ever taken, halving stops after the requests that one poison row could cost."""
    search, asked = Bisection(n), 0
    while not search.hopeless:
        search.asked(taken=False)
        asked += 1
    assert asked <= extra_requests(n)


@many
@given(st.integers(2, 1200), st.data())
def test_questions_find_poison_rows_and_every_other_row_is_sent_once(n: int, data: st.DataObject) -> None:
    """One poison row adds at most 2·⌈log2 n⌉ requests to a platform that looks without recording; several are found, none is sent twice."""
    poison = data.draw(st.sets(st.integers(0, n - 1), min_size=1, max_size=3))
    sent: list[int] = []
    rejected: list[int] = []
    extra, waiting = 0, list(range(n))
    while waiting and poison & set(waiting):
        if len(waiting) == 1:
            rejected += waiting
            waiting = []
            continue
        search = Search(waiting)
        while part := search.part():
            refused, alone = bool(poison & set(part)), len(part) == 1
            extra += 1
            if alone:
                (rejected if refused else sent).extend(part)
            search.answered(refused=refused, kept=() if alone else part)
        waiting = search.rest
        extra += bool(waiting)
    sent += waiting
    assert sorted(sent) == [i for i in range(n) if i not in poison]
    assert set(rejected) == poison
    assert extra <= len(poison) * extra_requests(n) + len(poison)
    assert len(poison) > 1 or extra <= extra_requests(n)


@many
@given(st.integers(2, 200), st.data())
def test_rows_that_are_withdrawn_while_it_is_asked_blame_nobody(n: int, data: st.DataObject) -> None:
    """The gate may take rows out of a part before it is asked about, the poison too: no innocent row is ever refused or lost."""
    poison, gone = data.draw(st.integers(0, n - 1)), data.draw(st.sets(st.integers(0, n - 1)))
    search = Search(list(range(n)))
    sent: list[int] = []
    rejected: list[int] = []
    while part := search.part():
        kept = [row for row in part if row not in gone]
        alone = len(kept) == 1
        if alone:
            (rejected if kept[0] == poison else sent).append(kept[0])
        search.answered(refused=poison in kept, kept=() if alone else kept)
    sent += [row for row in search.rest if row not in gone]
    assert set(rejected) <= {poison}
    assert sorted({*sent, *rejected}) == [row for row in range(n) if row not in gone]
    assert len(sent) == len(set(sent))


events = st.lists(st.tuples(st.sampled_from(["ok", "fail", "connect", "open", "wait"]), st.floats(0, 400)), max_size=60)


@many
@given(events, draws)
def test_the_breaker_never_stays_open_and_probes_alone(steps: list[tuple[str, float]], draw: float) -> None:
    """Open it lets nothing pass, half-open one request, and it always comes to a probe within five minutes."""
    now = 1000.0
    breaker = Breaker(lambda: draw)
    connects = 0
    for what, seconds in steps:
        now += seconds
        half_open = breaker.state(now) is State.HALF_OPEN
        match what:
            case "ok":
                breaker.succeeded(now)
                connects = 0
                assert not half_open or breaker.state(now) is State.CLOSED
            case "fail" | "connect":
                breaker.failed(now, connecting=what == "connect")
                connects = connects + 1 if what == "connect" else 0
                assert not half_open or breaker.state(now) is State.OPEN
                assert connects < CONNECT_FAILURES or breaker.state(now) is not State.CLOSED
            case "open":
                breaker.open(now)
                assert breaker.state(now) is State.OPEN
            case _:
                pass
        wait = breaker.wait_s(now)
        assert 0 <= wait <= MAX_OPEN_S
        allowed = breaker.allowed(now, 4)
        assert allowed == {State.CLOSED: 4, State.HALF_OPEN: 1, State.OPEN: 0}[breaker.state(now)]
        assert (allowed == 0) == (wait > 0)
        assert breaker.allowed(now + wait, 4) > 0


def test_half_of_twenty_failures_open_the_breaker_and_old_ones_do_not_count() -> None:
    """10 of 20 within 30 s open it; the same 10 half a minute ago do not."""
    quick, slow = Breaker(lambda: 0.5), Breaker(lambda: 0.5)
    for _ in range(10):
        quick.succeeded(0.0)
        slow.failed(0.0)
    for i in range(10):
        assert quick.state(1.0) is State.CLOSED
        quick.failed(1.0)
        slow.failed(31.0) if i < 9 else None
    assert quick.state(1.0) is State.OPEN
    assert slow.state(31.0) is State.CLOSED


@many
@given(st.sampled_from(Failure), st.text(max_size=10))
def test_no_failure_reads_as_a_delivery(failure: Failure, reason: str) -> None:
    """A request without an answer is never done, and only one that did not arrive is simply repeated."""
    act = by_failure(Failed(failure, reason)).act
    assert act is not Act.DONE
    assert (act is Act.UNKNOWN) == (failure is Failure.UNKNOWN)


answers = st.builds(
    Answer,
    st.sampled_from(Act),
    rows=st.dictionaries(st.integers(-3, 5), st.sampled_from([Outcome.DELIVERED, Outcome.REJECTED, Act.RETRY]), max_size=3),
    reason=st.text(max_size=100),
)


@many
@given(st.integers(100, 599), answers, st.none() | st.text(max_size=12), st.booleans())
def test_no_reading_of_an_answer_breaks_the_rules(status: int, answer: Answer, after: str | None, explodes: bool) -> None:
    """Redirects park, unreadable answers are unknown, rows are rows that were sent, reasons are words."""

    def classify(_: HttpResponse, __: int) -> Answer:
        if explodes:
            raise KeyError("events")
        return answer

    headers = {} if after is None else {"retry-after": after}
    found = understand(HttpResponse(status, headers, b""), 3, classify, now_s=NOW_MS / 1000)
    if 300 <= status < 400:
        assert found.act is Act.PARK
    elif explodes or any(not 0 <= i < 3 for i in answer.rows):
        assert found.act is Act.UNKNOWN
        assert not found.rows
    else:
        assert (found.act, found.rows) == (answer.act, answer.rows)
    assert found.reason == word(found.reason)
    assert 0 < len(found.reason) <= 80
    assert found.retry_after_s is None or 0 <= found.retry_after_s <= RETRY_AFTER_CAP_S


@many
@given(st.lists(st.tuples(st.sampled_from(["pass", "jump"]), st.integers(-900_000, 900_000)), max_size=30))
def test_steady_time_never_jumps(steps: list[tuple[str, int]]) -> None:
    """Steady time only grows by what passes and by corrections under a minute; a longer jump freezes until it is taken back."""
    clock = HandClock()
    watch = Watch(clock)
    off = 0
    for what, ms in steps:
        before = watch.steady_ms()
        if what == "pass":
            clock.pass_s(abs(ms) / 1000)
        else:
            clock.wall += ms
            off += ms
        moved = watch.steady_ms() - before - (abs(ms) if what == "pass" else 0)
        assert abs(moved) <= 1
        begun_before = watch.frozen
        begun = watch.observe()
        assert begun == (watch.frozen and not begun_before)
        assert watch.frozen == (abs(off) > 60_000)
        if not watch.frozen:
            off = 0
            assert watch.steady_ms() == watch.wall_ms() == watch.latest_ms()
        assert watch.latest_ms() >= watch.steady_ms()


def test_a_frozen_clock_is_believed_again_when_an_operator_says_so() -> None:
    """After `accept` the wall clock counts, whatever it says."""
    clock = HandClock()
    watch = Watch(clock)
    clock.wall += 3_600_000
    assert watch.observe()
    assert watch.drift_s == 3600
    watch.accept()
    assert not watch.frozen
    assert watch.steady_ms() == clock.wall


states = st.sampled_from(["granted", "denied", "unknown", "yes", ""])
ledgers = st.dictionaries(
    st.sampled_from(["analytics", "advertising", "other"]),
    st.tuples(states, st.integers(-5, 5).map(lambda d: NOW_MS + d) | st.integers(-5, 5).map(lambda d: NOW_MS - RACED_MS + d)),
)
cleans = st.builds(
    lambda needs, consent, limited, time, expires: clean_event(
        needs=tuple(needs), consent=consent, limited=limited, time_ms=NOW_MS + time, expires_ms=expires
    ),
    st.lists(st.sampled_from(["analytics", "advertising"]), unique=True),
    st.dictionaries(st.sampled_from(["analytics", "advertising"]), states),
    st.booleans(),
    st.integers(-10, 10),
    st.sampled_from([0, NOW_MS, NOW_MS + 2]),
)


def _ask(
    clean: CleanEvent, ledger: dict[str, tuple[str, int]], disabled: frozenset[str], now_ms: int, digest: str
) -> CleanEvent | Stop:
    return gate(
        clean,
        received_ms=NOW_MS,
        policies=policies(plan(needs=("analytics",)), digest=digest),
        choices=ledger,
        now_ms=now_ms,
        disabled=disabled,
        max_age_s=None,
        queue_ttl_ms=HOUR_MS,
    )


switches = st.frozensets(st.sampled_from(["destination:sink", "purpose:analytics", "purpose:advertising"]))
digests = st.sampled_from(["a" * 64, "b" * 64])
moments = st.integers(NOW_MS - 5, NOW_MS + 5)


@settings(max_examples=scaled(400), deadline=None)
@given(cleans, ledgers, switches, moments, digests)
def test_what_the_gate_lets_pass_is_granted_now_and_no_more_than_was_stored(
    clean: CleanEvent, ledger: dict[str, tuple[str, int]], disabled: frozenset[str], now_ms: int, digest: str
) -> None:
    """Whatever passes: every need granted, nothing refused since, not switched off, not too old, no new field."""
    found = _ask(clean, ledger, disabled, now_ms, digest)
    if isinstance(found, Stop):
        return
    assert "destination:sink" not in disabled
    assert not clean.expires_ms or now_ms < clean.expires_ms
    assert found.fields.items() <= clean.fields.items()
    if clean.limited:
        return
    for purpose in clean.needs:
        assert f"purpose:{purpose}" not in disabled
        state, at_ms = ledger.get(purpose, ("", 0))
        if purpose in ledger:
            assert state == "granted"  # a refusal counts whenever it was made
        asked_again = state == "granted" and at_ms >= NOW_MS - RACED_MS
        assert clean.consent.get(purpose) == "granted" or (clean.consent.get(purpose) == "unknown" and asked_again)


@settings(max_examples=scaled(200), deadline=None)
@given(cleans, ledgers, switches, moments, digests, st.sampled_from(["analytics", "advertising"]))
def test_adding_a_denial_never_lets_more_pass(
    clean: CleanEvent, ledger: dict[str, tuple[str, int]], disabled: frozenset[str], now_ms: int, digest: str, purpose: str
) -> None:
    """A denial added to the ledger turns no stop into a pass and adds no field."""
    before = _ask(clean, ledger, disabled, now_ms, digest)
    after = _ask(clean, {**ledger, purpose: ("denied", NOW_MS + 5)}, disabled, now_ms, digest)
    if isinstance(before, Stop):
        assert isinstance(after, Stop)
    elif isinstance(after, CleanEvent):
        assert after.fields == before.fields


def test_may_repeat_keeps_an_hour() -> None:
    """47 hours after the first request to a platform with a window of 48, a copy is no longer sent."""
    assert may_repeat(first_attempt_ms=NOW_MS, at_ms=NOW_MS + 47 * HOUR_MS - 1, window_s=48 * 3600)
    assert not may_repeat(first_attempt_ms=NOW_MS, at_ms=NOW_MS + 47 * HOUR_MS, window_s=48 * 3600)
    assert not may_repeat(first_attempt_ms=NOW_MS, at_ms=NOW_MS, window_s=None)
