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

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum
from typing import Final, TypeAlias

import msgspec
from msgspec.structs import replace

from ebbgate.audit.decision import decision
from ebbgate.audit.entry import Entry, duplicate
from ebbgate.choices import NOTHING_KNOWN, Choices, Known, Room
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
from ebbgate.policy.plan import Policy, PolicySet
from ebbgate.policy.prepare import prepare
from ebbgate.policy.shapes import Kind
from ebbgate.policy.together import clean_all
from ebbgate.store.keys import KeyRing, server_twin
from ebbgate.store.protocol import Appended, NewEvent, Store

# Attributes of an enum are looked up by code in Python: these are asked for with every event.
_ACCEPTED: Final = Appended.ACCEPTED
_BROWSER: Final = Trust.BROWSER
_HOLD: Final = Verdict.HOLD
_SERVER: Final = Trust.SERVER

NONCES: Final = 96  #: random bytes for the commitments of one decision entry
MAX_ALIKE: Final = 1024  #: kinds of decisions that are counted apart before they are added up

#: Consent where no policy governs: nothing is known and nothing leaves.
NO_POLICY = Consent(Model.OPT_IN, EMPTY)


#: Event, place, consent, decisions, its paths → where it counts once it is on disk.
KindOf: TypeAlias = Callable[[Event, Place, Consent, tuple[Decision, ...], tuple[str, ...] | None], Kind]
#: (signals, place, now in ms) → the policy that governs the place, and the consent under it.
Govern: TypeAlias = Callable[[Signals, Place, int], tuple[Policy | None, Consent]]


class Status(StrEnum):
    """What became of one event of a request."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    INVALID = "invalid"


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer for one event. One without an error is written as it stands."""

    id: str
    status: Status
    error: EventError | None = None


class Decided(msgspec.Struct, frozen=True, gc=False):
    """One event with all that was decided about it: what stories are told from."""

    event: Event
    subject: bytes  #: 16-byte keys of the event's subjects, strongest first
    place: Place
    policy: Policy | None
    consent: Consent
    decisions: tuple[Decision, ...]


class _Taken(msgspec.Struct, frozen=True):
    """The events of one request on their way to the disk: as little as is needed once they are there."""

    receipts: list[Receipt]  #: in the order of the request, as if none came twice
    new: list[NewEvent]
    kinds: list[tuple[tuple[Decision, ...], Kind]]  #: for each of `new`, what was decided, and where it counts
    watched: list[Decided]  #: each of `new`, where somebody watches
    parked: list[bytes]  #: subjects of the events of which something is parked
    destinations: set[str]  #: that get something


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
        kind: KindOf,
        watch: Callable[[Decided, Status], None] | None = None,
    ) -> None:
        """`kind` says where an event counts. `watch` is told of each event once it is on disk, whole: it is kept so long for that."""
        self.durability = store.durability
        self._counts: dict[tuple[str, str], int] = {}
        self._alike: dict[int, Kind] = {}  # not in `_counts` yet, by the id of the decisions
        self._governed: tuple[Signals, Place, int, PolicySet, tuple[Policy | None, Consent]] | None = None
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
        self._kind = kind
        self._watch = watch

    @property
    def counts(self) -> Mapping[tuple[str, str], int]:
        """(destination or "event", verdict or status) → how many since the start."""
        self._add_up()
        return self._counts

    async def accept(self, collected: Sequence[Collected], place: Place) -> list[Receipt]:
        """Decide every event, make all of it durable, then say what became of each. Raises StoreError when nothing was stored."""
        self.under_way += 1
        rooms: list[Room] = []
        try:
            now_ms = self._clock_ms()
            subjects = [self._keys.subject_keys(c.event.site, c.event.subjects) if c.event else b"" for c in collected]
            known = NOTHING_KNOWN if self._choices.silent(subjects) else await self._choices.known(subjects)
            seen = self._choices.recorded
            try:
                taken = self._take(collected, subjects, place, now_ms, known, rooms)
                del collected  # what was read of the events would only fill the processor's cache until they are on disk
                stored = await self._store.append(taken.new) if taken.new else ()
            finally:
                self._choices.leave(rooms)
            for subject in taken.parked:
                await self._choices.catch_up(seen, subject)
            receipts = self._count_and_answer(taken, stored)
            self._wake(taken.destinations)
            return receipts
        finally:
            self.under_way -= 1

    def _take(
        self, collected: Sequence[Collected], subjects: Sequence[bytes], place: Place, now_ms: int, known: Known, rooms: list[Room]
    ) -> _Taken:
        """Everything about the events of a request up to the store. Room that is taken for what is parked is added to `rooms`."""
        random = self._entropy(NONCES * len(collected))
        receipts: list[Receipt] = []
        new: list[NewEvent] = []
        kinds: list[tuple[tuple[Decision, ...], Kind]] = []
        watched: list[Decided] = []
        parked: list[bytes] = []
        accepted = Status.ACCEPTED
        plain: tuple[Decision, ...] | None = None  # the last decisions of which nothing is parked: most events share them
        waking: dict[int, Mapping[str, bytes]] = {}  # events decided alike share the object: each is looked at once
        # One event whole before the next: its stages share work on it.
        for one, subject in zip(collected, subjects, strict=True):
            if one.event is None:
                receipts.append(Receipt(one.id, Status.INVALID, one.error))
                continue
            decided, held = self.decide(one.event, one.signals, place, now_ms, subject, known), EMPTY
            if decided.decisions is not plain:
                decided, held = self._park(decided, rooms)
                plain = None if held else decided.decisions
            stored = self._to_store(decided, held, now_ms, random[NONCES * len(new) : NONCES * (len(new) + 1)])
            new.append(stored)
            if held:
                parked.append(subject)
            waking[id(stored.payloads)] = stored.payloads
            kinds.append((decided.decisions, self._kind_of(decided)))
            if self._watch is not None:
                watched.append(decided)
            receipts.append(Receipt(decided.event.id, accepted))
        return _Taken(receipts, new, kinds, watched, parked, {name for payloads in waking.values() for name in payloads})

    def decide(self, event: Event, signals: Signals, place: Place, now_ms: int, subject: bytes, known: Known) -> Decided:
        """Consent and policy for one event, under the one snapshot of policies in force and the visitor's recorded choices.

        `known`: what is on record for each key of `subject`.
        """
        if event.trust is _SERVER:
            # The request comes from where the site's server stands; the visitor's place is what the server states.
            place = make_place(event.fields.get("place.country"), event.fields.get("place.region"), "server")
        policy, consent = self.govern(signals, place, now_ms)
        states = self._choices.states(subject, known)
        if states and policy is not None:
            consent = with_choices(consent, policy.consent, states)
        return Decided(event, subject, place, policy, consent, decide(event, consent, policy, self._destinations))

    def govern(self, signals: Signals, place: Place, now_ms: int) -> tuple[Policy | None, Consent]:
        """The policy in force for a place, and what these signals allow under it."""
        current, last = self._policies.current, self._governed
        # The events of one request mostly share these objects.
        if last and last[0] is signals and last[1] is place and last[2] == now_ms and last[3] is current:
            return last[4]
        policy = current.select(place)
        found = policy, self._resolver.resolve(signals, place, policy.consent, now_ms) if policy else NO_POLICY
        self._governed = (signals, place, now_ms, current, found)
        return found

    def _park(self, decided: Decided, rooms: list[Room]) -> tuple[Decided, Mapping[str, bytes]]:
        """What is to be parked, destination → payload. Without room, or without anyone who could decide, it is withheld."""
        if _HOLD not in [d.verdict for d in decided.decisions]:
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
        key, claim = keys.event_keys(event.site, event.trust, event.name, event.id)
        claims: tuple[bytes, ...] = (claim,)
        order = event.fields.get("order.id")
        conversion = event.name in CONVERSIONS and isinstance(order, str)
        if isinstance(order, str) and conversion:
            claims += (keys.order_key(event.site, event.trust, event.name, order),)
        # The server's word suppresses the browser's copy; a stranger's never the server's (specs/reliability.md §2.5).
        checks = (*claims, *map(server_twin, claims)) if event.trust is _BROWSER else claims
        shared, payloads = b"", EMPTY
        if policy is not None:
            shared, payloads = clean_all(event, decided.decisions, policy, decided.consent, pseudonym=keys.pseudonym)
        return NewEvent(
            key=key,
            checks=checks,
            claims=claims,
            subject=decided.subject,
            at_ms=event.received_ms,
            payloads=payloads,
            shared=shared,
            entry=decision(
                event,
                decided.decisions,
                decided.consent,
                decided.place,
                node=keys.node,
                key=key,
                subject=decided.subject,
                entropy=random,
            ),
            duplicate_entry=self._duplicate_entry,
            event_id=event.id,
            held=held,
            held_until_ms=now_ms + policy.consent.hold_for_s * 1000 if held and policy else 0,
            conversion=conversion,
        )

    def _duplicate_entry(self, event: NewEvent) -> Entry:
        return duplicate(event_id=event.event_id, key=event.key, node=self._keys.node, at_ms=event.at_ms, entropy=self._entropy(32))

    def _count_and_answer(self, taken: _Taken, stored: Sequence[Appended]) -> list[Receipt]:
        """What became of each event, counted, told to who watches, and put into the receipts."""
        fresh = iter([appended is _ACCEPTED for appended in stored])
        kinds = iter(taken.kinds)
        receipts, invalid = taken.receipts, Status.INVALID
        for at, receipt in enumerate(receipts):
            if receipt.status is invalid:
                self._count("event", invalid)
                continue
            decisions, kind = next(kinds)
            if next(fresh):
                kind.count += 1
                self._alike_to(decisions).count += 1
            else:
                receipts[at] = Receipt(receipt.id, Status.DUPLICATE)
                self._count("event", Status.DUPLICATE)
        if self._watch is not None:
            told = iter(taken.watched)
            for receipt in receipts:
                if receipt.status is not Status.INVALID:
                    self._watch(next(told), receipt.status)
        return receipts

    def _kind_of(self, decided: Decided) -> Kind:
        event, policy = decided.event, decided.policy
        paths = prepare(event, policy).paths if policy is not None else None
        return self._kind(event, decided.place, decided.consent, decided.decisions, paths)

    def _alike_to(self, decisions: tuple[Decision, ...]) -> Kind:
        """Events about which just this was decided."""
        alike = self._alike.get(id(decisions))
        if alike is None:
            if len(self._alike) >= MAX_ALIKE:
                self._add_up()
            alike = self._alike[id(decisions)] = Kind(decisions)
        return alike

    def _count(self, what: str, how: str, n: int = 1) -> None:
        self._counts[what, how] = self._counts.get((what, how), 0) + n

    def _add_up(self) -> None:
        for alike in self._alike.values():
            self._count("event", Status.ACCEPTED, alike.count)
            for d in alike.decisions:
                self._count(d.destination, d.verdict, alike.count)
        self._alike.clear()


def _without_holding(decided: Decided, reason: Reason) -> Decided:
    """The same, but that what would be held is withheld for `reason`."""
    decisions = tuple(
        Decision(d.destination, Verdict.WITHHOLD, reason, d.detail, policy=d.policy, rule=d.rule)
        if d.verdict is Verdict.HOLD
        else d
        for d in decided.decisions
    )
    return replace(decided, decisions=decisions)
