"""What all destinations get of one event, made once: the hot path's form of `clean` and `dump`.

Destinations mostly get the same fields. So a plan is kept for each (decisions, consent): which values of the event leave at all,
and which of them belong to whom. For an event only the values are pulled, treated and encoded, each once. A value that no
destination gets never enters the shared part (a test holds that), and `load` gives exactly what `clean` would have made
(another test holds that).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Final, TypeAlias

from ebbgate.errors import PolicyError
from ebbgate.model import EMPTY, Consent, Decision, Event, Value, Verdict
from ebbgate.policy import treat
from ebbgate.policy.clean import Pseudonym, clean, consent_states, country_of, dump, pseudonym_of_id, shorter
from ebbgate.policy.decide import projection_of
from ebbgate.policy.plan import MAX_FIELDS, EventShape, Policy, Projection, Shape
from ebbgate.policy.prepare import Prepared, prepare
from ebbgate.policy.stored import Record, pack_record, pack_shared

#: Event, its prepared form, pseudonymiser, country of telephone numbers → the value of one slot; None = it cannot be treated as told.
Make: TypeAlias = Callable[[Event, Prepared, Pseudonym, str | None], "Value | None"]

_KEPT: Final = 2048


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """How to write the events of one shape under the same decisions and consent."""

    decisions: tuple[Decision, ...]
    consent: Consent
    shape: EventShape
    pull: Callable[[Mapping[str, Value]], tuple[Value, ...]]  #: the values that leave as they are
    makes: tuple[Make, ...]  #: the values that are treated for a destination
    hashes: bool  #: some of them are hashed
    texts: tuple[int, ...]  #: slots that must hold text: ids
    records: Mapping[str, bytes]  #: destination → its record


#: By the identity of the decisions and the consent, which the plan itself keeps alive. The oldest is forgotten first.
_plans: Final[dict[tuple[int, int], _Plan]] = {}


def clean_all(
    event: Event, decisions: tuple[Decision, ...], policy: Policy, consent: Consent, *, pseudonym: Pseudonym
) -> tuple[bytes, Mapping[str, bytes]]:
    """(shared, destination → record) of what leaves now; `clean.load(shared + record)` is the destination's CleanEvent.

    Raises PolicyError when a decision was made under another policy.
    """
    prepared = prepare(event, policy)
    plan = _plans.get((id(decisions), id(consent)))
    if plan is None or plan.decisions is not decisions or plan.consent is not consent or plan.shape is not prepared.shape:
        plan = _plan_for(decisions, policy, consent, prepared)
    if not plan.records:
        return b"", EMPTY
    country = country_of(event.fields) if plan.hashes else None
    made = [make(event, prepared, pseudonym, country) for make in plan.makes]
    values: list[Value | None] = [*plan.pull(prepared.fields), *made]
    for slot in plan.texts:
        if type(values[slot]) is not str:  # the id is not one: each destination gets what `clean` makes of it
            return b"", {d.destination: dump(clean(event, d, policy, consent, pseudonym=pseudonym)) for d in decisions if d.sends}
    return pack_shared(values), plan.records


def _plan_for(decisions: tuple[Decision, ...], policy: Policy, consent: Consent, prepared: Prepared) -> _Plan:
    slots = _Slots()
    records = {d.destination: _record(slots, d, policy, consent, prepared) for d in decisions if d.sends}
    plan = slots.plan(decisions, consent, prepared.shape, records)
    if len(prepared.shape.paths) <= MAX_FIELDS:
        while len(_plans) >= _KEPT:
            _plans.pop(next(iter(_plans)), None)
        _plans[id(decisions), id(consent)] = plan
    return plan


def _record(slots: _Slots, decision: Decision, policy: Policy, consent: Consent, prepared: Prepared) -> Record:
    plan = policy.destinations.get(decision.destination)
    projection = projection_of(plan, decision.verdict) if plan is not None else None
    if plan is None or projection is None or decision.policy != policy.digest or prepared.drop_event:
        raise PolicyError("this decision lets nothing out under this policy", code="not_permitted")
    shape = projection.shape(prepared.shape)
    fields = dict(_field_slots(slots, projection, shape))
    step = max(projection.time_step_ms, policy.everywhere.time_step_ms)
    states, google = consent_states(consent)
    lifetime_ms = plan.expire_after_s * 1000
    return Record(
        destination=plan.destination,
        fields=list(fields.values()),
        id=slots.text(fields["event.id"]) if "event.id" in fields else slots.made("id", _id),
        time_ms=slots.made(("time", step), _time(step)),
        expires_ms=slots.made(("expires", lifetime_ms), _expires(lifetime_ms)) if lifetime_ms else None,
        hashed=sorted(shape.hashed_paths),
        flags=dict(projection.flags),
        consent=dict(states),
        google=dict(google),
        needs=list(plan.needs),
        limited=decision.verdict is Verdict.LIMITED,
        policy=policy.digest,
        policy_file=policy.file,
    )


def _field_slots(slots: _Slots, projection: Projection, shape: Shape) -> list[tuple[str, int]]:
    """(path, slot) of every field that leaves, in the order in which `clean` writes them."""
    lengths, urls = dict(shape.limited), frozenset(shape.urls)
    allowed = projection.url_parameters or frozenset()
    step = projection.time_step_ms
    found = []
    for path in shape.plain:
        limits = (lengths.get(path), allowed if path in urls else None, step if path == "event.time" else 0)
        if limits == (None, None, 0):
            found.append((path, slots.pulled(path)))
        else:
            found.append((path, slots.made(("short", path, limits), _shorter(path, *limits), path)))
    for path, normalise in shape.hashed:
        found.append((path, slots.hashed(path, normalise)))
    for path in shape.pseudonymised:
        found.append((path, slots.made(("pseudonym", path), _pseudonym(path), path)))
    return [(path, slot) for path, slot in found if not (step and path == "event.time" and path not in shape.plain)]


class _Slots:
    """Collects the values that any destination gets, each once: from the front those that leave as they are, then made ones."""

    def __init__(self) -> None:
        self._pulled: dict[str, int] = {}
        self._made: dict[Hashable, tuple[int, Make, str]] = {}
        self._texts: set[int] = set()
        self.hashes = False
        self.made("name", _name)  # -1: stored.NAME_SLOT
        self.made("site", _site)  # -2: stored.SITE_SLOT

    def pulled(self, path: str) -> int:
        """A field that leaves as it is."""
        return self._pulled.setdefault(path, len(self._pulled))

    def made(self, key: Hashable, make: Make, path: str = "") -> int:
        """A value that is made for each event; the same key is the same value."""
        return self._made.setdefault(key, (-1 - len(self._made), make, path))[0]

    def hashed(self, path: str, normalise: treat.Normaliser) -> int:
        """A field that leaves as a hash."""
        self.hashes = True
        return self.made(("hash", path, normalise), _hash(path, normalise), path)

    def text(self, slot: int) -> int:
        """The same slot, which must hold text."""
        self._texts.add(slot)
        return slot

    def plan(self, decisions: tuple[Decision, ...], consent: Consent, shape: EventShape, records: Mapping[str, Record]) -> _Plan:
        """Everything collected."""
        made = list(reversed(self._made.values()))
        paths = [*self._pulled, *(path for _, _, path in made)]
        return _Plan(
            decisions=decisions,
            consent=consent,
            shape=shape,
            pull=_pull(tuple(self._pulled)),
            makes=tuple(make for _, make, _ in made),
            hashes=self.hashes,
            texts=tuple(self._texts),
            records={name: pack_record(paths, record) for name, record in records.items()},
        )


def _pull(paths: tuple[str, ...]) -> Callable[[Mapping[str, Value]], tuple[Value, ...]]:
    """The values of these paths, as one call into C where there are enough of them."""
    return itemgetter(*paths) if len(paths) > 1 else lambda fields: tuple(fields[path] for path in paths)


def _name(event: Event, _: Prepared, __: Pseudonym, ___: str | None) -> Value:
    return event.name


def _site(event: Event, _: Prepared, __: Pseudonym, ___: str | None) -> Value:
    return event.site


def _id(event: Event, _: Prepared, pseudonym: Pseudonym, __: str | None) -> Value:
    return pseudonym_of_id(event, pseudonym)


def _exact_time(event: Event, _: Prepared, __: Pseudonym, ___: str | None) -> Value:
    return event.time_ms


def _time(step: int) -> Make:
    return (lambda event, *_: event.time_ms // step * step) if step else _exact_time


def _expires(lifetime_ms: int) -> Make:
    return lambda event, *_: event.received_ms + lifetime_ms


def _hash(path: str, normalise: treat.Normaliser) -> Make:
    return lambda _, prepared, __, country: treat.hashed(prepared.fields[path], country, normalise)


def _pseudonym(path: str) -> Make:
    return lambda _, prepared, pseudonym, __: treat.pseudonymised(prepared.fields[path], path, pseudonym)


def _shorter(path: str, length: int | None, allowed: frozenset[str] | None, step: int) -> Make:
    def make(_: Event, prepared: Prepared, __: Pseudonym, ___: str | None) -> Value | None:
        return shorter(prepared.fields[path], length, allowed, step)

    return make
