"""Choices over time: what a visitor decided here, kept in the ledger, applied to every later event and to what is parked or queued.

A choice is recorded durably before it is acknowledged. From then on it holds for new events (`states`), for the gate before every
attempt, and for held events: on a grant they are queued with their original time, on a refusal or at their end they are shredded.

An event may be decided while a choice is being recorded. What leaves is safe, because the gate reads the store again; for what is
parked, `catch_up` looks once more after the event is stored, so that nothing waits for a decision that was made already.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Final, TypeAlias

import msgspec

from ebbgate import log
from ebbgate.audit.entry import consent_changed, held_released, held_shredded
from ebbgate.consent.ledger import Choice, Held, Ledger, held, in_force
from ebbgate.errors import StoreError
from ebbgate.model import ConsentState, Outcome
from ebbgate.policy.clean import load
from ebbgate.settings import HoldSettings
from ebbgate.store.keys import KeyRing, split_subject
from ebbgate.store.protocol import EntryOf, HeldDelivery, Store

CACHED: Final = 65_536  #: subjects whose choices are kept in memory
CACHED_MS: Final = 5_000  #: and for how long: what another process recorded counts within this time
TEND_EVERY_S: Final = 5.0
_AT_ONCE: Final = 500  #: subjects read from the store in one call

States: TypeAlias = tuple[tuple[str, str], ...]
#: Subject key (16 bytes) → what is on record for it.
Known: TypeAlias = Mapping[bytes, Ledger]
_NONE: Final[Ledger] = {}
#: Stands for a `Known` in which nothing is on record for anybody: told apart by identity, so that none is taken for it by mistake.
NOTHING_KNOWN: Final[Known] = {}


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of the parked deliveries that a choice concerned."""

    released: int = 0
    shredded: int = 0


class Room(msgspec.Struct, frozen=True, gc=False):
    """Room that is kept for an event until it is stored."""

    keys: tuple[bytes, ...]
    size: int


class Choices:
    """The ledger as the rest of the gateway uses it. For one event loop."""

    def __init__(
        self,
        store: Store,
        keys: KeyRing,
        *,
        clock_ms: Callable[[], int],
        entropy: Callable[[int], bytes],
        wake: Callable[[Collection[str]], None],
        bounds: HoldSettings | None = None,
    ) -> None:
        self.recorded = 0  #: choices made durable by this process; `catch_up` compares it
        self._store = store
        self._keys = keys
        self._clock_ms = clock_ms
        self._entropy = entropy
        self._wake = wake
        self._bounds = bounds or HoldSettings()
        self._cached: OrderedDict[bytes, tuple[Ledger, int]] = OrderedDict()
        # Joined keys of which it was seen that none is in the ledger → until when that holds, ms.
        self._silent: dict[bytes, int] = {}
        self._reading: dict[int, set[bytes]] = {}  # for each read under way: what was recorded since it began
        self._reads = count()
        self._unsettled: set[bytes] = set()  # subjects whose parked deliveries were not looked at since their choice
        self._resumed = False
        self._coming: Counter[bytes] = Counter()  # events on their way into the store, to be parked there, by key
        self._coming_events = 0
        self._coming_bytes = 0

    def silent(self, subjects: Iterable[bytes]) -> bool:
        """True when nothing is on record for these (joined keys each), as far as is known without asking; else `known` tells."""
        now_ms = self._clock_ms()
        until_ms = self._silent.get
        return not [subject for subject in subjects if not now_ms < until_ms(subject, 0) <= now_ms + CACHED_MS]

    async def known(self, subjects: Iterable[bytes]) -> Known:
        """What is on record for all keys of these (joined keys each): `NOTHING_KNOWN` where that is nothing."""
        distinct = {subject: split_subject(subject) for subject in subjects}
        found = await self.load({key for keys in distinct.values() for key in keys})
        if any(found.values()):
            return found
        # Nothing was awaited since `load` made sure that no choice came meanwhile.
        if len(self._silent) + len(distinct) > CACHED:
            self._silent.clear()
        for subject, keys in distinct.items():
            read_ms = min((self._cached[key][1] if key in self._cached else 0 for key in keys), default=self._clock_ms())
            self._silent[subject] = read_ms + CACHED_MS
        return NOTHING_KNOWN

    async def load(self, subjects: Iterable[bytes]) -> Known:
        """What is on record now for these subjects (16-byte keys): one read for all that are not at hand."""
        now_ms = self._clock_ms()
        oldest_ms = now_ms - CACHED_MS
        found: dict[bytes, Ledger] = {}
        missing: set[bytes] = set()
        for key in subjects:
            cached = self._cached.get(key)
            if cached is not None and oldest_ms < cached[1] <= now_ms:
                found[key] = cached[0]
            else:
                missing.add(key)
        if not missing:
            return found
        wanted = missing.union(found)
        number, touched = next(self._reads), set[bytes]()
        self._reading[number] = touched
        try:
            while missing:
                touched.clear()
                stored = await self._store.choices(missing)
                for key in missing:
                    found[key] = _ledger(stored.get(key, {}))
                    if key not in touched:
                        self._remember(key, found[key], now_ms)
                missing = touched & wanted  # a choice was recorded while the store was read: what was read may be older
        finally:
            del self._reading[number]
        return found

    def states(self, subject: bytes, known: Known) -> States:
        """(purpose, state) that hold now for an event with these joined keys: a refusal under any of them is a refusal.

        `known` is what `load` gave for the keys. A grant that is older than 13 months has ended.
        """
        if known is NOTHING_KNOWN:
            return ()
        now_ms = self._clock_ms()
        found: dict[str, str] = {}
        for key in split_subject(subject):
            ledger = known[key]
            if ledger:
                for purpose, state in in_force(ledger, now_ms).items():
                    if found.get(purpose) != ConsentState.DENIED:
                        found[purpose] = state
        return tuple(sorted(found.items()))

    async def record(self, choices: Mapping[bytes, Mapping[str, str]]) -> Recorded:
        """Make what was decided durable (subject key → purpose → granted | denied), then release or shred what was parked.

        Raises StoreError when not all of it was recorded; to record it once more changes nothing.
        """
        now_ms = self._clock_ms()
        puts = (self._put(key, said, now_ms) for key, said in choices.items())
        try:
            done = await asyncio.gather(*puts, return_exceptions=True)
        finally:
            self._forget(choices)  # also when it failed: some of it may be durable
        for one in done:
            if isinstance(one, BaseException):
                raise one
        return await self._settle(choices)

    async def catch_up(self, seen: int, subject: bytes) -> None:
        """After an event was parked that was decided when `recorded` was `seen`: choices made since then concern it too."""
        if self.recorded != seen:
            await self._settle(split_subject(subject))

    def make_room(self, subject: bytes, size: int) -> Room | None:
        """Room for one more event of `size` bytes to be parked, or None over the bounds. Give it to `leave` once it is stored."""
        holding = self._store.holding(subject)
        keys = split_subject(subject)
        of_visitor = holding.visitor + max((self._coming[key] for key in keys), default=0)
        if (
            of_visitor >= self._bounds.max_per_visitor
            or holding.events + self._coming_events >= self._bounds.max_events
            or holding.bytes + self._coming_bytes + size > self._bounds.max_bytes
        ):
            return None
        self._coming.update(keys)
        self._coming_events += 1
        self._coming_bytes += size
        return Room(keys, size)

    def leave(self, rooms: Iterable[Room]) -> None:
        """Those events are stored, and the store counts them, or they never will be."""
        for room in rooms:
            self._coming -= Counter(room.keys)  # drops what comes to zero
            self._coming_events -= 1
            self._coming_bytes -= room.size

    async def tend(self, *, may_expire: bool = True) -> Recorded:
        """What is due from time to time: finish what a crash or a full disk cut short, and shred what waited too long.

        `may_expire` False while the clock is not trusted (specs/reliability.md §2.6).
        """
        if not self._resumed:
            self._unsettled.update(key for subject in self._store.held_subjects() for key in split_subject(subject))
            self._resumed = True
        pending = sorted(self._unsettled)
        done = Recorded()
        for start in range(0, len(pending), _AT_ONCE):
            keys = pending[start : start + _AT_ONCE]
            known = await self.load(keys)
            self._unsettled.difference_update(keys)
            some = await self._settle([key for key in keys if known[key]])
            done = Recorded(done.released + some.released, done.shredded + some.shredded)
        if may_expire:
            now_ms = self._clock_ms()
            entry = self._shredded(b"", (), Outcome.EXPIRED, now_ms)
            gone = await self._store.shred_held(None, None, expired_before_ms=now_ms, outcome=Outcome.EXPIRED, entry=entry)
            done = Recorded(done.released, done.shredded + gone)
        return done

    async def _put(self, key: bytes, said: Mapping[str, str], now_ms: int) -> None:
        entry = consent_changed(
            subject=key, purposes=said, source="consent_route", node=self._keys.node, at_ms=now_ms, entropy=self._entropy(32)
        )
        await self._store.put_choice(key, said, at_ms=now_ms, entry=entry)

    def _forget(self, subjects: Iterable[bytes]) -> None:
        """In one step with counting: who decided before this moment sees another count after it."""
        self.recorded += 1
        self._silent.clear()
        for key in subjects:
            self._cached.pop(key, None)
            for touched in self._reading.values():
                touched.add(key)

    async def _settle(self, subjects: Iterable[bytes]) -> Recorded:
        """Release or shred what is parked for these subjects. What the store refuses now is tried again by `tend`."""
        released = shredded = 0
        for key in subjects:
            try:
                free, gone = await self._settle_one(key)
            except StoreError as error:
                self._unsettled.add(key)
                log.get().error("held.not_settled", code=error.code)
            else:
                released += free
                shredded += gone
        return Recorded(released, shredded)

    async def _settle_one(self, subject: bytes) -> tuple[int, int]:
        """(released, shredded). Each delivery is judged by all ids of its own event; one that has expired is left to `tend`."""
        rows = await self._store.held(subject)
        if not rows:
            return 0, 0
        known = await self.load({key for row in rows for key in split_subject(row.subject)})
        now_ms = self._clock_ms()
        fates: dict[Held, list[HeldDelivery]] = {fate: [] for fate in Held}
        for row in rows:
            if now_ms < row.until_ms:
                fates[self._fate(row, known, now_ms)].append(row)
        gone, free = fates[Held.SHRED], fates[Held.RELEASE]
        shredded = released = 0
        if gone:
            entry = self._shredded(subject, {row.destination for row in gone}, Outcome.WITHHELD, now_ms)
            ids = {row.id for row in gone}
            shredded = await self._store.shred_held(subject, ids, expired_before_ms=0, outcome=Outcome.WITHHELD, entry=entry)
        if free:
            names = {row.destination for row in free}
            entry = self._released(subject, names, now_ms)
            released = await self._store.release_held(subject, {row.id for row in free}, now_ms=now_ms, entry=entry)
            self._wake(names)
        return released, shredded

    def _fate(self, row: HeldDelivery, known: Known, now_ms: int) -> Held:
        try:
            clean = load(row.payload)
        except StoreError:
            return Held.SHRED  # whatever is wrong with the bytes, nothing of them may leave
        return held(clean.needs, clean.consent, dict(self.states(row.subject, known)), row.until_ms, now_ms)

    def _shredded(self, subject: bytes, destinations: Collection[str], outcome: Outcome, now_ms: int) -> EntryOf:
        return lambda n: held_shredded(
            subject=subject,
            destinations=destinations,
            outcome=outcome,
            n=n,
            node=self._keys.node,
            at_ms=now_ms,
            entropy=self._entropy(32),
        )

    def _released(self, subject: bytes, destinations: Collection[str], now_ms: int) -> EntryOf:
        return lambda n: held_released(
            subject=subject, destinations=destinations, n=n, node=self._keys.node, at_ms=now_ms, entropy=self._entropy(32)
        )

    def _remember(self, key: bytes, ledger: Ledger, now_ms: int) -> None:
        self._cached[key] = (ledger, now_ms)
        self._cached.move_to_end(key)
        if len(self._cached) > CACHED:
            self._cached.popitem(last=False)


def _ledger(stored: Mapping[str, tuple[str, int]]) -> Ledger:
    return {purpose: Choice(ConsentState(state), at_ms, "choice") for purpose, (state, at_ms) in stored.items()} or _NONE
