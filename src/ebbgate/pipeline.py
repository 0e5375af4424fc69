"""THE FLOW: collect → consent → policy → store. Read this file first.

place    where the visitor is                          edge, consent/place.py
policy   which one policy file governs that place      policy/plan.py
consent  what this visitor has allowed under it        consent/resolve.py
decide   for every destination: send or not, and why   policy/decide.py
clean    the fields that may leave, hashed as told     policy/clean.py
store    keys, payloads, log entry: one transaction    store/
answer   only then                                     edge/
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeAlias

from ebbgate.audit.decision import decision
from ebbgate.audit.entry import Entry, duplicate
from ebbgate.choices import Choices, Known, Room
from ebbgate.collect.names import CONVERSIONS
from ebbgate.collect.native import Collected
from ebbgate.consent.overlay import with_choices
from ebbgate.consent.place import make_place
from ebbgate.consent.resolve import Resolver
from ebbgate.errors import EventError
from ebbgate.model import EMPTY, Consent, Decision, Event, Model, Place, Reason, Signals, Trust, Verdict
from ebbgate.policy.clean import clean, dump
from ebbgate.policy.decide import decide
from ebbgate.policy.holder import PolicyHolder
from ebbgate.policy.plan import Policy
from ebbgate.policy.together import clean_all
from ebbgate.store.keys import KeyRing, server_twin, split_subject
from ebbgate.store.protocol import Appended, NewEvent, Store

NONCES: Final = 96  #: random bytes for the commitments of one decision entry

#: Consent where no policy governs: nothing is known and nothing leaves.
NO_POLICY = Consent(Model.OPT_IN, EMPTY)


#: (signals, place, now in ms) → the policy that governs the place, and the consent under it.
Govern: TypeAlias = Callable[[Signals, Place, int], tuple[Policy | None, Consent]]


class Status(StrEnum):
    """What became of one event of a request."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer for one event."""

    id: str
    status: Status
    error: EventError | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """One event with all that was decided about it: what stories are told from."""

    event: Event
    subject: bytes  #: 16-byte keys of the event's subjects, strongest first
    place: Place
    policy: Policy | None
    consent: Consent
    decisions: tuple[Decision, ...]


class Pipeline:
    """Takes collected events through every stage. Holds no state of its own but its counters."""

    def __init__(
        self,
        *,
        policies: PolicyHolder,
        resolver: Resolver,
        choices: Choices,
        store: Store,
        keys: KeyRing,
        destinations: Sequence[str],
        clock_ms: Callable[[], int],
        entropy: Callable[[int], bytes],
        wake: Callable[[Collection[str]], None],
        watch: Callable[[Decided, Status], None] | None = None,
    ) -> None:
        self.durability = store.durability
        self.counts: dict[tuple[str, str], int] = {}  #: (destination or "event", verdict or status) → how many
        self._policies = policies
        self._resolver = resolver
        self._choices = choices
        self.under_way = 0  #: requests being decided or stored right now
        self._store = store
        self._keys = keys
        self._destinations = tuple(destinations)
        self._clock_ms = clock_ms
        self._entropy = entropy
        self._wake = wake
        self._watch = watch

    async def accept(self, collected: Sequence[Collected], place: Place) -> list[Receipt]:
        """Decide every event, make all of it durable, then say what became of each. Raises StoreError when nothing was stored."""
        self.under_way += 1
        try:
            return await self._accept(collected, place)
        finally:
            self.under_way -= 1

    async def _accept(self, collected: Sequence[Collected], place: Place) -> list[Receipt]:
        now_ms = self._clock_ms()
        good = [(c.event, c.signals, self._keys.subject_keys(c.event.site, c.event.subjects)) for c in collected if c.event]
        random = self._entropy(NONCES * len(good))
        known = await self._choices.load({key for _, _, subject in good for key in split_subject(subject)})
        seen = self._choices.recorded
        rooms: list[Room] = []
        try:
            parked, new = [], []
            # One event whole before the next: its stages share work on it.
            for number, (event, signals, subject) in enumerate(good):
                parked.append(self._park(self.decide(event, signals, place, now_ms, subject, known), rooms))
                new.append(self._to_store(*parked[-1], now_ms, random[NONCES * number : NONCES * (number + 1)]))
            decided = [d for d, _ in parked]
            stored = await self._store.append(new) if new else ()
        finally:
            self._choices.leave(rooms)
        for d, held in parked:
            if held:
                await self._choices.catch_up(seen, d.subject)
        outcomes = iter(zip(decided, stored, strict=True))
        receipts = [self._receipt(c, outcomes) for c in collected]
        self._wake({name for one in new for name in one.payloads})
        return receipts

    def decide(self, event: Event, signals: Signals, place: Place, now_ms: int, subject: bytes, known: Known) -> Decided:
        """Consent and policy for one event, under the one snapshot of policies in force and the visitor's recorded choices.

        `known`: what is on record for each key of `subject`.
        """
        if event.trust is Trust.SERVER:
            # The request comes from where the site's server stands; the visitor's place is what the server states.
            place = make_place(event.fields.get("place.country"), event.fields.get("place.region"), "server")
        policy, consent = self.govern(signals, place, now_ms)
        states = self._choices.states(subject, known)
        if states and policy is not None:
            consent = with_choices(consent, policy.consent, states)
        return Decided(event, subject, place, policy, consent, decide(event, consent, policy, self._destinations))

    def govern(self, signals: Signals, place: Place, now_ms: int) -> tuple[Policy | None, Consent]:
        """The policy in force for a place, and what these signals allow under it."""
        policy = self._policies.current.select(place)
        return policy, self._resolver.resolve(signals, place, policy.consent, now_ms) if policy else NO_POLICY

    def _park(self, decided: Decided, rooms: list[Room]) -> tuple[Decided, Mapping[str, bytes]]:
        """What is to be parked, destination → payload. Without room, or without anyone who could decide, it is withheld."""
        if Verdict.HOLD not in [d.verdict for d in decided.decisions]:
            return decided, EMPTY
        if not decided.subject:
            return _without_holding(decided, Reason.CONSENT_UNKNOWN), EMPTY
        held = self._held_forms(decided)
        room = self._choices.make_room(decided.subject, sum(map(len, held.values())))
        if room is None:
            return _without_holding(decided, Reason.TOO_MANY_HELD), EMPTY
        rooms.append(room)
        return decided, held

    def _held_forms(self, decided: Decided) -> dict[str, bytes]:
        """Destination → stored form, for what is to be parked: each by itself, since each is released or shredded by itself."""
        policy = decided.policy
        if policy is None:
            return {}
        made = [d for d in decided.decisions if d.verdict is Verdict.HOLD]
        return {d.destination: dump(clean(decided.event, d, policy, decided.consent, pseudonym=self._keys.pseudonym)) for d in made}

    def _to_store(self, decided: Decided, held: Mapping[str, bytes], now_ms: int, random: bytes) -> NewEvent:
        event, policy, keys = decided.event, decided.policy, self._keys
        own = keys.claim_key(event.site, event.trust, event.name, event.id)
        claims, checks = [own], [own]
        order = event.fields.get("order.id")
        conversion = event.name in CONVERSIONS and isinstance(order, str)
        if isinstance(order, str) and conversion:
            claims.append(keys.order_key(event.site, event.trust, event.name, order))
            checks.append(claims[-1])
        if event.trust is Trust.BROWSER:
            # The server's word suppresses the browser's copy; a stranger's never the server's (specs/reliability.md §2.5).
            checks += [server_twin(claim) for claim in claims]
        key = keys.event_key(event.site, event.id)
        shared, payloads = b"", EMPTY
        if policy is not None:
            shared, payloads = clean_all(event, decided.decisions, policy, decided.consent, pseudonym=keys.pseudonym)
        return NewEvent(
            key=key,
            checks=tuple(checks),
            claims=tuple(claims),
            subject=decided.subject,
            at_ms=event.received_ms,
            payloads=payloads,
            shared=shared,
            entry=self._entry(decided, key, random),
            duplicate_entry=lambda: self._duplicate_entry(event, key, now_ms),
            held=held,
            held_until_ms=now_ms + policy.consent.hold_for_s * 1000 if held and policy else 0,
            conversion=conversion,
        )

    def _entry(self, decided: Decided, key: bytes, random: bytes) -> Entry:
        return decision(
            decided.event,
            decided.decisions,
            decided.consent,
            decided.place,
            node=self._keys.node,
            key=key,
            subject=decided.subject,
            entropy=random,
        )

    def _duplicate_entry(self, event: Event, key: bytes, now_ms: int) -> Entry:
        return duplicate(event_id=event.id, key=key, node=self._keys.node, at_ms=now_ms, entropy=self._entropy(32))

    def _receipt(self, one: Collected, stored: Iterator[tuple[Decided, Appended]]) -> Receipt:
        if one.error is not None:
            self._count("event", Status.INVALID)
            return Receipt(one.id, Status.INVALID, one.error)
        decided, appended = next(stored)
        status = Status.ACCEPTED if appended is Appended.ACCEPTED else Status.DUPLICATE
        self._count("event", status)
        if status is Status.ACCEPTED:
            for d in decided.decisions:
                self._count(d.destination, d.verdict)
        if self._watch is not None:
            self._watch(decided, status)
        return Receipt(decided.event.id, status)

    def _count(self, what: str, how: str) -> None:
        self.counts[what, how] = self.counts.get((what, how), 0) + 1


def _without_holding(decided: Decided, reason: Reason) -> Decided:
    """The same, but that what would be held is withheld for `reason`."""
    decisions = tuple(
        Decision(d.destination, Verdict.WITHHOLD, reason, d.detail, policy=d.policy, rule=d.rule)
        if d.verdict is Verdict.HOLD
        else d
        for d in decided.decisions
    )
    return replace(decided, decisions=decisions)
