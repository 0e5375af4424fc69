"""One event, one visitor's consent, one policy → one `Decision` for each configured destination.

Pure and total: no input raises, every destination gets exactly one decision, and whatever is not explicitly allowed is
withheld (DESIGN §1.1). All needs must be granted; "any of" does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from ebbgate.model import Consent, ConsentState, Decision, Event, Model, Reason, Verdict
from ebbgate.policy.plan import MAX_KEPT, Answer, DestinationPlan, Policy, Projection, Ruling
from ebbgate.policy.prepare import GROUP_OF_NAMES, Prepared, prepare


def decide(event: Event, consent: Consent, policy: Policy | None, destinations: Sequence[str]) -> tuple[Decision, ...]:
    """One decision for each of `destinations`, in that order. Without a policy nothing leaves.

    Equal decisions are one object, and mostly so are their tuples: later stages remember what they made of them.
    """
    if policy is None:
        return _no_policy(tuple(destinations))
    prepared = prepare(event, policy)
    shape = prepared.shape
    key = (id(shape), event.name, id(consent), prepared.dropped, prepared.drop_event)
    known = policy.answers.get(key)
    if known is not None and known.destinations == destinations:  # it holds shape and consent, so these are the ones
        return known.decisions
    decisions = tuple([_decide_one(event.name, consent, policy, prepared, name) for name in destinations])
    ids, fields = tuple(map(id, decisions)), len(shape.paths)
    same = policy.tuples.get(ids)
    if same is None:
        policy.tuples.keep(ids, decisions, fields)
        same = decisions
    policy.answers.keep(key, Answer(shape, consent, tuple(destinations), same), fields)
    return same


_DISABLED: Final = Ruling(Verdict.WITHHOLD, Reason.DISABLED)
_NOT_LISTED: Final = Ruling(Verdict.WITHHOLD, Reason.EVENT_NOT_LISTED)
_VENDOR_DENIED: Final = Ruling(Verdict.WITHHOLD, Reason.VENDOR_DENIED)
_GRANTED: Final = Ruling(Verdict.SEND, Reason.GRANTED)
_NOT_NEEDED: Final = Ruling(Verdict.SEND, Reason.NOT_NEEDED)
_HELD: Final = Ruling(Verdict.HOLD, Reason.HELD)
_LIMITED: Final = Ruling(Verdict.LIMITED, Reason.LIMITED)
_DENIED: Final = Ruling(Verdict.WITHHOLD, Reason.CONSENT_DENIED)
_UNKNOWN: Final = Ruling(Verdict.WITHHOLD, Reason.CONSENT_UNKNOWN)


@lru_cache(maxsize=MAX_KEPT)
def _not_decided(destination: str, reason: Reason, digest: str, rule: str) -> Decision:
    """Nobody decided about this destination: nothing leaves."""
    return Decision(destination, Verdict.WITHHOLD, reason, policy=digest, rule=rule)


@lru_cache(maxsize=MAX_KEPT)
def _no_policy(destinations: tuple[str, ...]) -> tuple[Decision, ...]:
    return tuple([_not_decided(name, Reason.NO_POLICY, "", "") for name in destinations])


def _decide_one(event_name: str, consent: Consent, policy: Policy, prepared: Prepared, destination: str) -> Decision:
    plan = policy.destinations.get(destination)
    if plan is None:
        return _not_decided(destination, Reason.NOT_IN_POLICY, policy.digest, policy.at(policy.line))
    ruling, detail = judge(event_name, consent, policy, plan)
    leaves = ruling.verdict is not Verdict.WITHHOLD
    if prepared.drop_event and leaves:
        line = policy.at(policy.everywhere.lines.get("if_free_text_contains", policy.everywhere.line))
        return Decision(destination, Verdict.WITHHOLD, Reason.PERSONAL_DATA, prepared.drop_event, policy=policy.digest, rule=line)
    key = (ruling, detail, prepared.shape if leaves else None, prepared.dropped if leaves else ())
    known = plan.decisions.get(key)
    if known is None:
        known = _build(policy, plan, prepared, ruling, detail)
        plan.decisions.keep(key, known, len(prepared.shape.paths))
    return known


def judge(event_name: str, consent: Consent, policy: Policy, plan: DestinationPlan) -> tuple[Ruling, str]:
    """Verdict, reason and detail for one destination, from names and consent alone: no value of the event is looked at."""
    if not plan.enabled:
        return _DISABLED, ""
    if plan.events is not None and event_name not in plan.events:
        return _NOT_LISTED, ""
    denied = unknown = ""
    for purpose in plan.needs:
        state = consent.state(purpose)
        if state is ConsentState.GRANTED:
            continue
        if state is ConsentState.DENIED:
            denied = denied or purpose
        else:
            unknown = unknown or purpose
    permitted = consent.vendors.get(plan.destination, ConsentState.GRANTED) is ConsentState.GRANTED
    if not denied and not unknown:
        if not permitted:
            return _VENDOR_DENIED, plan.destination
        return (_GRANTED, plan.needs_text) if plan.needs else (_NOT_NEEDED, "")
    rules = policy.consent
    # A vendor that is refused gets nothing: neither is it waited for, nor does another refusal earn it the limited form.
    if permitted and not denied and rules.model is Model.OPT_IN and rules.if_missing == "hold":
        return _HELD, unknown
    if permitted and plan.limited is not None:
        return _LIMITED, denied or unknown
    return (_DENIED, denied) if denied else (_UNKNOWN, unknown)


def projection_of(plan: DestinationPlan, verdict: Verdict) -> Projection | None:
    """What leaves under a verdict; None = nothing. A held event is parked in its full form."""
    if verdict is Verdict.LIMITED:
        return plan.limited
    return None if verdict is Verdict.WITHHOLD else plan.full


def _build(policy: Policy, plan: DestinationPlan, prepared: Prepared, ruling: Ruling, detail: str) -> Decision:
    verdict, reason = ruling.verdict, ruling.reason
    rule = plan.rule_for(reason)
    projection = projection_of(plan, verdict)
    if projection is None:
        return Decision(plan.destination, verdict, reason, detail, policy=policy.digest, rule=rule)
    shape = projection.shape(prepared.shape)
    return Decision(
        plan.destination,
        verdict,
        reason,
        detail,
        policy=policy.digest,
        rule=rule,
        fields=_tellable(shape.fields, prepared),
        removed=_tellable((*shape.removed, *prepared.dropped), prepared),
        hashed=tuple(sorted(shape.hashed_paths)),
    )


def _tellable(paths: Iterable[str], prepared: Prepared) -> tuple[str, ...]:
    """Paths as logs may hold them: a property's name that is personal data itself becomes `properties`."""
    telling = {path for path, _ in prepared.shape.telling_names}
    return tuple(sorted({GROUP_OF_NAMES if path in telling else path for path in paths}))
