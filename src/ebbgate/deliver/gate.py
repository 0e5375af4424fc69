"""The gate: may this delivery still leave, now? Pure; asked before every attempt (specs/reliability.md §2.2, DESIGN §1.5).

What left the policy stage at receipt is checked again against the present: kill switches, the visitor's choices since then,
age limits and the policy in force. The result is `receipt ∩ now`: it can only be smaller than what was stored.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from ebbgate.consent.ledger import google_now
from ebbgate.model import EMPTY, CleanEvent, ConsentState, Outcome
from ebbgate.policy.clean import recheck, with_consent
from ebbgate.policy.plan import PolicySet

HOUR_MS: Final = 3_600_000
#: A grant older than the receipt by no more than this, and unknown to it, was being recorded while the event was decided.
RACED_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Stop:
    """The delivery must not leave, and how it ends. `reason` is a closed word."""

    outcome: Outcome
    reason: str


KILLED: Final = Stop(Outcome.WITHHELD, "disabled")
NOT_GRANTED: Final = Stop(Outcome.WITHHELD, "consent_missing")
WITHDRAWN: Final = Stop(Outcome.WITHDRAWN, "consent_withdrawn")
EXPIRED: Final = Stop(Outcome.EXPIRED, "expired")
POLICY_CHANGED: Final = Stop(Outcome.WITHHELD, "policy_changed")


def expires_at_ms(clean: CleanEvent, *, received_ms: int, max_age_s: int | None, queue_ttl_ms: int) -> int:
    """When this delivery must not be sent any more, milliseconds since 1970.

    The earliest of the policy's limit, the platform's age limit minus one hour (specs/reliability.md §2.3: one event too old
    makes some platforms refuse the whole request) and the longest time that anything waits in the queue.
    """
    limits = [received_ms + queue_ttl_ms]
    if clean.expires_ms:
        limits.append(clean.expires_ms)
    if max_age_s is not None:
        age_ms = max_age_s * 1000
        limits.append(clean.time_ms + age_ms - min(HOUR_MS, age_ms // 2))
    return min(limits)


def gate(
    clean: CleanEvent,
    *,
    received_ms: int,
    policies: PolicySet,
    choices: Mapping[str, tuple[str, int]],
    now_ms: int,
    disabled: Collection[str],
    max_age_s: int | None,
    queue_ttl_ms: int,
) -> CleanEvent | Stop:
    """What may leave of `clean` now, or why nothing may.

    `choices` is the ledger of this visitor: purpose → (state, when in ms). A choice that is not an explicit grant stops a
    delivery that needs the purpose, whenever it was made: where it was known at the receipt nothing was let out, so one that
    seems older was recorded while the event was being decided. A grant since the receipt (or recorded while it was decided)
    counts only where the receipt knew no choice (a held event).
    `disabled` holds kill switches, `destination:NAME` or `purpose:NAME`. A limited delivery rests on no
    consent, so choices do not concern it. Times are milliseconds since 1970.
    """
    if f"destination:{clean.destination}" in disabled:
        return KILLED
    since = _since(clean, choices, received_ms) if choices else EMPTY
    if not clean.limited:
        for purpose in clean.needs:
            if f"purpose:{purpose}" in disabled:
                return KILLED
            changed = since.get(purpose)
            if changed is not None and changed != ConsentState.GRANTED:
                return WITHDRAWN
            if changed is None and clean.consent.get(purpose) != ConsentState.GRANTED:
                return NOT_GRANTED
    if now_ms >= expires_at_ms(clean, received_ms=received_ms, max_age_s=max_age_s, queue_ttl_ms=queue_ttl_ms):
        return EXPIRED
    allowed = recheck(_under(clean, since, policies) if since else clean, policies)
    return POLICY_CHANGED if allowed is None else allowed


def _since(clean: CleanEvent, choices: Mapping[str, tuple[str, int]], received_ms: int) -> Mapping[str, str]:
    """Purposes whose state the ledger has changed. A word that is no state is a denial."""
    changed: dict[str, str] = {}
    for purpose, (state, at_ms) in choices.items():
        if state != ConsentState.GRANTED:
            changed[purpose] = ConsentState.DENIED.value
        elif at_ms >= received_ms - RACED_MS and clean.consent.get(purpose) == ConsentState.UNKNOWN:
            changed[purpose] = ConsentState.GRANTED.value
    return changed


def _under(clean: CleanEvent, since: Mapping[str, str], policies: PolicySet) -> CleanEvent:
    """The event as the visitor's choices leave it, with what platforms are told about them."""
    policy = policies.by_file.get(clean.policy_file)
    if policy is None:
        return with_consent(clean, since)  # stopped by the recheck
    same = policy.digest == clean.policy
    google = google_now(policy.consent, {**clean.consent, **since}, clean.google, may_grant=same)
    return with_consent(clean, since, google)
