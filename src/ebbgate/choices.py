"""Choices over time: what a visitor decided here, kept in the ledger, applied to every later event and to what is parked or queued.

A choice is recorded durably before it is acknowledged. From then on it holds for new events (`states`), for the gate before every
attempt, and for held events: on a grant they are queued with their original time, on a refusal or at their end they are shredded.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ebbgate.audit.entry import consent_changed, held_released, held_shredded
from ebbgate.consent.ledger import Choice, Held, Ledger, held, in_force
from ebbgate.model import ConsentState, Outcome
from ebbgate.policy.clean import load
from ebbgate.store.keys import KeyRing, split_subject
from ebbgate.store.protocol import EntryOf, Store

CACHED: Final = 65_536  #: subjects whose choices are kept in memory
SHRED_EVERY_S: Final = 5.0

States = tuple[tuple[str, str], ...]
_NONE: Final[Ledger] = {}


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a choice led to."""

    choices: Mapping[str, str]
    released: int = 0
    shredded: int = 0


class Choices:
    """The ledger as the rest of the gateway uses it."""

    def __init__(
        self,
        store: Store,
        keys: KeyRing,
        *,
        clock_ms: Callable[[], int],
        entropy: Callable[[int], bytes],
        wake: Callable[[Collection[str]], None],
    ) -> None:
        self._store = store
        self._keys = keys
        self._clock_ms = clock_ms
        self._entropy = entropy
        self._wake = wake
        self._cached: OrderedDict[bytes, Ledger] = OrderedDict()

    async def load(self, subjects: Iterable[bytes]) -> None:
        """Have the choices of these subjects (16-byte keys) at hand for `states`: one read for all that are not."""
        missing = {key for key in subjects if key not in self._cached}
        if not missing:
            return
        found = await self._store.choices(missing)
        for key in missing:
            self._remember(key, _ledger(found.get(key, {})))

    def states(self, subject: bytes) -> States:
        """(purpose, state) that hold now for an event of this subject: a refusal under any of its ids is a refusal."""
        now_ms = self._clock_ms()
        found: dict[str, str] = {}
        for key in split_subject(subject):
            ledger = self._cached.get(key)
            if ledger:
                for purpose, state in in_force(ledger, now_ms).items():
                    if found.get(purpose) != ConsentState.DENIED:
                        found[purpose] = state
        return tuple(sorted(found.items()))

    async def record(self, subjects: Collection[bytes], choices: Mapping[str, str]) -> Recorded:
        """Make a choice durable, then release or shred what was parked for it. Raises StoreError when nothing was recorded."""
        now_ms = self._clock_ms()
        node = self._keys.node
        for key in subjects:
            entry = consent_changed(
                subject=key, purposes=choices, source="consent_route", node=node, at_ms=now_ms, entropy=self._entropy(32)
            )
            await self._store.put_choice(key, choices, at_ms=now_ms, entry=entry)
            self._cached.pop(key, None)
        await self.load(subjects)
        released = shredded = 0
        for key in subjects:
            free, gone = await self._settle_held(key, now_ms)
            released += free
            shredded += gone
        self._wake(())
        return Recorded(dict(choices), released, shredded)

    async def shred_expired(self) -> int:
        """Shred what waited too long. Returns how many."""
        now_ms = self._clock_ms()
        entry = self._shredded(b"", (), Outcome.EXPIRED, now_ms)
        return await self._store.shred_held(None, None, expired_before_ms=now_ms, outcome=Outcome.EXPIRED, entry=entry)

    async def _settle_held(self, key: bytes, now_ms: int) -> tuple[int, int]:
        """(released, shredded) of one subject's parked deliveries."""
        states = dict(self.states(key))
        fates: dict[str, set[Held]] = {}
        for destination, payload, until_ms in await self._store.held(key):
            clean = load(payload)
            fates.setdefault(destination, set()).add(held(clean.needs, clean.consent, states, until_ms, now_ms))
        gone = sorted(name for name, fate in fates.items() if Held.SHRED in fate)
        free = sorted(name for name, fate in fates.items() if fate == {Held.RELEASE})
        shredded = released = 0
        if gone:
            entry = self._shredded(key, gone, Outcome.WITHHELD, now_ms)
            shredded = await self._store.shred_held(key, gone, expired_before_ms=0, outcome=Outcome.WITHHELD, entry=entry)
        if free:
            released = await self._store.release_held(key, free, now_ms=now_ms, entry=self._released(key, free, now_ms))
            self._wake(free)
        return released, shredded

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

    def _remember(self, key: bytes, ledger: Ledger) -> None:
        self._cached[key] = ledger
        if len(self._cached) > CACHED:
            self._cached.popitem(last=False)


def _ledger(stored: Mapping[str, tuple[str, int]]) -> Ledger:
    return {purpose: Choice(ConsentState(state), at_ms, "choice") for purpose, (state, at_ms) in stored.items()} or _NONE
