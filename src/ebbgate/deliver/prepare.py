"""From queued bytes to rows that may leave: load, ask the gate, render. Pure (specs/reliability.md §2.2)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ebbgate.deliver.classify import word
from ebbgate.deliver.gate import Stop, gate
from ebbgate.deliver.outgoing import BLOCKED
from ebbgate.deliver.retry import too_late_to_repeat
from ebbgate.destinations.kit import Destination, Row, Skip
from ebbgate.errors import StoreError
from ebbgate.model import EMPTY, CleanEvent, Outcome
from ebbgate.policy.clean import load
from ebbgate.policy.plan import PolicySet
from ebbgate.policy.stored import alone
from ebbgate.store.protocol import Queued, Result

Choices = Mapping[bytes, Mapping[str, tuple[str, int]]]
"""Subject → purpose → (state, when in ms)."""

#: Ends after which an operator may mend the cause and send again. The others are decisions: their payload is not kept.
DEAD: Final = frozenset({Outcome.INVALID, Outcome.REJECTED, Outcome.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Present:
    """The moment a chunk is looked at: everything that may have changed since the receipt."""

    policies: PolicySet
    disabled: Collection[str]
    choices: Choices
    now_ms: int  #: the latest that any clock says: what limits are compared with
    steady_ms: int  #: the time that retries are planned in
    frozen: bool = False  #: the clock is not trusted: what seems expired waits
    frozen_retry_ms: int = 60_000
    queue_ttl_ms: int = 7 * 86_400_000


@dataclass(frozen=True, slots=True, repr=False)
class Item:
    """One delivery on its way into a request."""

    queued: Queued
    stored: CleanEvent  #: as decided at receipt
    clean: CleanEvent  #: what the gate lets out of it
    row: Row


def window_s(destination: Destination, clean: CleanEvent) -> int | None:
    """For how long the platform merges copies of this event, seconds; None when it does not."""
    if destination.dedupe_window_s is None:
        return None
    return destination.dedupe_window_s if destination.dedupe is None or destination.dedupe(clean) else None


def over(queued: Queued, outcome: Outcome, reason: str) -> Result:
    """The end of a delivery; dead letters are kept where sending again could help.

    What the egress check blocked is one: the policy let the event out, and the fault is the mapping's.
    """
    return Result(queued, outcome, dead=outcome in DEAD or reason == BLOCKED, reason=word(reason))


def to_keep(results: Sequence[Result]) -> list[Result]:
    """The same, where the payload of what is kept, for a retry or as a dead letter, holds this destination's values only."""
    return [_alone(result) if result.outcome is None or result.dead else result for result in results]


def _alone(result: Result) -> Result:
    try:
        return replace(result, queued=replace(result.queued, payload=alone(result.queued.payload)))
    except StoreError:
        return result  # bytes that nobody can read: nothing of them leaves, and they are kept as they are


def prepare(queued: Sequence[Queued], destination: Destination, settings: Any, present: Present) -> tuple[list[Item], list[Result]]:
    """Rows that may leave now, and the results of all others. Every one of `queued` is in exactly one of the two.

    Bytes that do not load and events that the destination cannot render end as `invalid`: a fault of ours loses no other row.
    """
    items: list[Item] = []
    results: list[Result] = []
    for one in queued:
        try:
            stored = load(one.payload)
        except Exception:  # noqa: BLE001  whatever is wrong with the bytes, nothing of them may leave
            results.append(over(one, Outcome.INVALID, "unreadable"))
            continue
        if stored.destination != destination.name:
            results.append(over(one, Outcome.INVALID, "unreadable"))
            continue
        made = _admit(one, stored, destination, settings, present, None)
        if isinstance(made, Item):
            items.append(made)
        else:
            results.append(made)
    return items, results


def prepare_again(
    items: Sequence[Item], destination: Destination, settings: Any, present: Present
) -> tuple[list[Item], list[Result]]:
    """The same for rows that were prepared a while ago: rendered anew only where the gate lets out something else."""
    kept: list[Item] = []
    results: list[Result] = []
    for item in items:
        made = _admit(item.queued, item.stored, destination, settings, present, item)
        if isinstance(made, Item):
            kept.append(made)
        else:
            results.append(made)
    return kept, results


def _admit(
    queued: Queued,
    stored: CleanEvent,
    destination: Destination,
    settings: Any,
    present: Present,
    before: Item | None,
) -> Item | Result:
    allowed = gate(
        stored,
        received_ms=queued.at_ms,
        policies=present.policies,
        choices=present.choices.get(queued.subject, EMPTY),
        now_ms=present.now_ms,
        disabled=present.disabled,
        max_age_s=destination.max_age_s,
        queue_ttl_ms=present.queue_ttl_ms,
    )
    if isinstance(allowed, Stop):
        if allowed.outcome is Outcome.EXPIRED and present.frozen:
            return Result(queued, retry_at_ms=present.steady_ms + present.frozen_retry_ms, reason="clock_anomaly", counts=False)
        return over(queued, allowed.outcome, allowed.reason)
    if too_late_to_repeat(queued, window_s=window_s(destination, allowed), now_ms=present.now_ms):
        return over(queued, Outcome.UNKNOWN, "dedupe_window_over")
    if before is not None and allowed == before.clean:
        return before
    try:
        row = destination.render(allowed, settings)
    except Exception:  # noqa: BLE001  one event that a mapping does not expect must not stop the others
        return over(queued, Outcome.INVALID, "render_failed")
    if isinstance(row, Skip):
        return over(queued, row.outcome, row.reason)
    return Item(queued, stored, allowed, row)
