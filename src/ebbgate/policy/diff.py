"""What another revision of the policies would change: the text, and the effect on events.

The effect is worked out on *situations*: a place, an event name, what the visitor said and the field paths that came, without a
single value. `generated` makes every situation in which two revisions could differ; recorded ones have the same form.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final

from ebbgate.fields import FIELDS
from ebbgate.model import Consent, ConsentState, Place, PurposeConsent, Verdict
from ebbgate.policy.decide import judge, projection_of
from ebbgate.policy.places import COUNTRIES
from ebbgate.policy.plan import URL_FIELDS, Policy, PolicySet, Projection
from ebbgate.policy.prepare import shape_of

#: An event that no policy names, and a property that no policy names.
OTHER_EVENT: Final = "another_event"
OTHER_PROPERTY: Final = "properties.another"
#: More purposes than this are not combined with each other: 3^5 combinations are enough to read.
MAX_PURPOSES: Final = 5


@dataclass(frozen=True, slots=True)
class Situation:
    """What decides about an event, without its values."""

    place: Place
    event: str
    states: tuple[tuple[str, ConsentState], ...]
    paths: tuple[str, ...]
    count: int = 1  #: how many recorded events were like this


@dataclass(frozen=True, slots=True)
class Effect:
    """What changes, counted over situations."""

    events: int
    fewer: Mapping[str, int]  #: destination → events that are not sent any more
    more: Mapping[str, int]  #: destination → events that are sent now
    new_fields: Mapping[str, tuple[str, ...]]  #: destination → fields that leave now, or leave in a clearer form
    gone_fields: Mapping[str, tuple[str, ...]]

    @property
    def lets_more_out(self) -> bool:
        """True when anything leaves that did not leave before."""
        return any(self.more.values()) or any(self.new_fields.values())


def text_diff(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """The unified difference of all files, by name."""
    lines: list[str] = []
    for name in sorted({*old, *new}):
        before, after = old.get(name, "").splitlines(), new.get(name, "").splitlines()
        lines.extend(difflib.unified_diff(before, after, f"old/{name}", f"new/{name}", lineterm="", n=1))
    return "\n".join(lines)


def generated(old: PolicySet, new: PolicySet) -> Iterator[Situation]:
    """Situations in which two revisions could differ: a place for each pair of policies, every named event and consent."""
    both = (*old.policies, *new.policies)
    events = {event for policy in both for plan in policy.destinations.values() for event in plan.events or ()}
    purposes = sorted({rule.name for policy in both for rule in policy.consent.purposes})[:MAX_PURPOSES]
    own = {path for policy in both for plan in policy.destinations.values() for path in _own_names(plan.full)}
    paths = (*FIELDS, *sorted(own), OTHER_PROPERTY)
    for place, event in product(_places(old, new), (*sorted(events), OTHER_EVENT)):
        for states in product(ConsentState, repeat=len(purposes)):
            yield Situation(place, event, tuple(zip(purposes, states, strict=True)), paths)


def _own_names(projection: Projection) -> Iterator[str]:
    yield from (path for path in projection.allow if path not in FIELDS)
    yield from (path for path in projection.remove if path not in FIELDS)


def _places(old: PolicySet, new: PolicySet) -> list[Place]:
    """One place for each pair of policies that govern some place under the two revisions."""
    regions = sorted({*old.by_region, *new.by_region})
    candidates = [Place(), *(Place(region[:2], region) for region in regions), *(Place(code) for code in sorted(COUNTRIES))]
    found: dict[tuple[str, str], Place] = {}
    for place in candidates:
        files = tuple(policy.file if policy else "" for policy in (old.select(place), new.select(place)))
        found.setdefault((files[0], files[1]), place)
    return list(found.values())


def effect(old: PolicySet, new: PolicySet, situations: Iterable[Situation]) -> Effect:
    """What each destination gets more or less of under `new`. Nothing is sent."""
    destinations = sorted({*old.destinations, *new.destinations})
    fewer: Counter[str] = Counter()
    more: Counter[str] = Counter()
    fields: dict[str, dict[bool, set[str]]] = {name: {True: set(), False: set()} for name in destinations}
    events = 0
    for situation in situations:
        events += situation.count
        for name in destinations:
            before, after = _leaves(old, situation, name), _leaves(new, situation, name)
            fewer[name] += situation.count * (bool(before) and not after)
            more[name] += situation.count * (bool(after) and not before)
            if before and after:
                fields[name][True].update(p for p, form in after.items() if not form <= before.get(p, frozenset()))
                fields[name][False].update(p for p, form in before.items() if not form <= after.get(p, frozenset()))
    return Effect(
        events,
        {name: fewer[name] for name in destinations},
        {name: more[name] for name in destinations},
        {name: tuple(sorted(fields[name][True])) for name in destinations},
        {name: tuple(sorted(fields[name][False])) for name in destinations},
    )


def _leaves(policies: PolicySet, situation: Situation, destination: str) -> dict[str, frozenset[str]]:
    """Path → what of it leaves, as a set that is larger the more it tells; empty when nothing is sent."""
    policy = policies.select(situation.place)
    plan = policy.destinations.get(destination) if policy else None
    if policy is None or plan is None:
        return {}
    ruling, _ = judge(situation.event, _consent(policy, situation), policy, plan)
    projection = projection_of(plan, ruling.verdict)
    if projection is None or ruling.verdict is Verdict.HOLD:
        return {}
    shape = projection.shape(shape_of(situation.paths, policy.everywhere))
    return {path: _form(path, policy, projection, path in shape.hashed_paths) for path in shape.fields}


def _form(path: str, policy: Policy, projection: Projection, hashed: bool) -> frozenset[str]:
    """How much of a value leaves: a pseudonym, a hash, or parts of the value itself."""
    if hashed:
        return frozenset({"a hash"})
    if projection.is_pseudonymised(path):
        return frozenset({"a pseudonym"})
    told = {"a pseudonym", "a hash", "some"}
    everywhere = policy.everywhere
    if path in URL_FIELDS:
        kept = everywhere.url_parameters
        told |= {f"?{name}" for name in (kept if projection.url_parameters is None else kept & projection.url_parameters)}
    elif path == "network.ip":
        told |= {"network"} if everywhere.ip == "to_network" else {"network", "host"} if everywhere.ip == "keep" else set()
    elif path == "event.time":
        step = max(everywhere.time_step_ms, projection.time_step_ms)
        told |= {"day"} | ({"hour"} if step < 86_400_000 else set()) | ({"instant"} if not step else set())
    if path in projection.limits:
        told |= {f"to {length}" for length in (32, 128, 512, 2048) if length <= projection.limits[path]}
    else:
        told |= {"to 32", "to 128", "to 512", "to 2048", "all"}
    if everywhere.actions:
        told |= {f"with {kind}" for kind in _FREE if everywhere.actions.get(kind, "report") == "report"}
    return frozenset(told)


_FREE: Final = ("email", "phone", "card_number", "iban", "ip_address", "token", "national_id")


def _consent(policy: Policy, situation: Situation) -> Consent:
    """The states as this policy takes them: under opt-out silence may be a yes."""
    allowed = policy.consent.if_missing == "allowed"
    states = {
        name: ConsentState.GRANTED if allowed and state is ConsentState.UNKNOWN else state for name, state in situation.states
    }
    return Consent(policy.consent.model, {name: PurposeConsent(state, "situation", "") for name, state in states.items()})


def effect_text(found: Effect, what: str) -> str:
    """The effect for people: one line for each destination that changes, then one line in sum."""
    lines = []
    for name in found.fewer:
        parts = []
        if found.fewer[name]:
            parts.append(f"{found.fewer[name]:,} fewer sent")
        if found.more[name]:
            parts.append(f"{found.more[name]:,} MORE sent")
        if found.new_fields[name]:
            parts.append(f"now leaving, or clearer: {' '.join(found.new_fields[name])}")
        if found.gone_fields[name]:
            parts.append(f"no longer leaving, or coarser: {' '.join(found.gone_fields[name])}")
        if parts:
            lines.append(f"  {name}: {'; '.join(parts)}")
    fewer, more = sum(found.fewer.values()), sum(found.more.values())
    new = sorted({path for paths in found.new_fields.values() for path in paths})
    total = f"{fewer:,} fewer sent, {more:,} more sent anywhere, new field leaving: {' '.join(new) or 'none'}"
    return "\n".join([f"effect on {found.events:,} {what} events: {total}", *lines])
