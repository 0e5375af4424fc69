"""What kinds of events come, counted without a value: field paths, event names, places, what visitors allowed, who got what.

From this the inventory of fields is kept (which nobody has ruled on?), and another policy can be tried on recorded traffic.
Counting an event costs one look into a dictionary; all else is worked out when the counts are written away (issue 4.7, 4.10). Pure:
the time is an argument.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, TypeAlias

from ebbgate.fields import FIELDS, OPEN_GROUPS
from ebbgate.model import Consent, ConsentState, Decision, Event, Place
from ebbgate.policy.authored import PolicyWords
from ebbgate.policy.detect import kinds_in
from ebbgate.policy.diff import OTHER_EVENT, OTHER_PROPERTY, Situation
from ebbgate.policy.places import known_country
from ebbgate.policy.plan import ALWAYS_SENT, MAX_FIELDS
from ebbgate.policy.select import Selection, expand

HOUR_MS: Final = 3_600_000
MAX_KINDS: Final = 4_096  #: kinds of events kept apart at a time; one goes when nothing came between two writings
MAX_WIDE: Final = 256  #: paths of one event

#: A name as a programmer writes it. Long runs of digits and long words may be somebody's.
_PLAIN: Final = re.compile(r"(?!.*[0-9]{5})[A-Za-z_$][A-Za-z0-9_$-]{0,39}(?:\.[A-Za-z0-9_$-]{1,40}){0,4}\Z")

#: Purposes and their states.
_Said: TypeAlias = tuple[tuple[str, ConsentState], ...]
#: What tells kinds of events apart: decisions, site, name, country, region, what was said, paths. Decisions and paths by identity
#: where events alike share the object.
_Key: TypeAlias = tuple[int | tuple[Decision, ...], str, str, str | None, str | None, _Said, int | tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class FieldSeen:
    """How often one field came, and who got it by which line."""

    site: str
    path: str
    count: int
    destinations: Mapping[str, str]  #: destination → "eu.yaml:31"


@dataclass(frozen=True, slots=True)
class Traffic:
    """How many events of one kind came within an hour."""

    hour: int  #: since 1970
    site: str
    situation: Situation


@dataclass(slots=True)
class Kind:
    """A kind of event, and how often it came. Holding decisions and paths keeps their identity theirs."""

    decisions: Sequence[Decision]
    paths: tuple[str, ...] = ()
    count: int = 0  #: events since they were last taken; whoever takes an event adds one
    idle: bool = False  #: none came between the last two times


@dataclass(slots=True)
class Observations:
    """Counts since they were last taken. Bounded: a stranger who makes up fields fills no memory."""

    _kinds: dict[_Key, Kind] = field(default_factory=dict)
    _over: Kind = field(default_factory=lambda: Kind(()))
    _said: dict[int, tuple[Consent, _Said]] = field(default_factory=dict)  # by the id of the consent

    @property
    def missed(self) -> int:
        """Events over the bounds, which are in no other count."""
        return self._over.count

    def kind(
        self, event: Event, place: Place, consent: Consent, decisions: Sequence[Decision], paths: tuple[str, ...] | None = None
    ) -> Kind:
        """Where an event counts. Found before it is on disk, while it is at hand; it counts once it is.

        `paths`: of the event's fields, where all events alike share one object.
        """
        known = self._said.get(id(consent))
        said = known[1] if known is not None and known[0] is consent else self._states(consent)
        wide = len(event.fields) > MAX_FIELDS  # nothing about such events is remembered: each has decisions and paths of its own
        # Flat, and nothing hashed by Python code: this is done for every event.
        key: _Key = (
            tuple(decisions) if wide else id(decisions),
            event.site,
            event.name,
            place.country,
            place.region,
            said,
            tuple(event.fields) if wide or paths is None else id(paths),
        )
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= MAX_KINDS or len(event.fields) > MAX_WIDE:
                return self._over
            kind = self._kinds[key] = Kind(decisions, paths or tuple(event.fields))
        kind.idle = False  # until this event is counted
        return kind

    def _states(self, consent: Consent) -> _Said:
        said = tuple([(name, one.state) for name, one in consent.purposes.items()])
        if len(self._said) >= MAX_KINDS:
            self._said.clear()
        self._said[id(consent)] = (consent, said)
        return said

    def take(self) -> Taken:
        """What was counted since the last time. `summed` may work on it in another thread."""
        taken: dict[_Key, Kind] = {}
        for key, kind in list(self._kinds.items()):
            if kind.count:
                taken[key] = Kind(kind.decisions, kind.paths, kind.count)
                kind.count, kind.idle = 0, False
            elif kind.idle:
                del self._kinds[key]
            else:  # an event of it may still be on its way to the disk
                kind.idle = True
        return Taken(taken)


@dataclass(frozen=True, slots=True)
class Taken:
    """Counts that nobody adds to any more."""

    kinds: Mapping[_Key, Kind]


def summed(taken: Taken, now_ms: int) -> tuple[list[FieldSeen], list[Traffic]]:
    """The counts by field and by kind of event. Everything counts for the hour of `now_ms`."""
    fields: dict[tuple[str, str], tuple[int, dict[str, str]]] = {}
    traffic: Counter[tuple[str, Situation]] = Counter()
    for (_, site, name, country, region, said, _), kind in taken.kinds.items():
        told = tuple(dict.fromkeys(tellable(path) for path in kind.paths))
        for path in told:
            count, destinations = fields.get((site, path), (0, {}))
            destinations.update({d.destination: d.rule for d in kind.decisions if d.sends and path in d.fields})
            fields[site, path] = (count + kind.count, destinations)
        traffic[site, Situation(_coarse(country, region), _plain_event(name), said, tuple(sorted(told)))] += kind.count
    seen = [FieldSeen(site, path, count, to) for (site, path), (count, to) in sorted(fields.items())]
    hour = now_ms // HOUR_MS
    return seen, [Traffic(hour, site, replace(what, count=count)) for (site, what), count in traffic.items()]


@lru_cache(maxsize=8192)
def tellable(path: str) -> str:
    """A path as an inventory may hold it: a site's own name that could be somebody's becomes `properties`."""
    if path in FIELDS:
        return path
    group, _, own = path.partition(".")
    return path if group in OPEN_GROUPS and _PLAIN.match(own) and not kinds_in(own) else "properties"


@lru_cache(maxsize=1024)
def _plain_event(name: str) -> str:
    return name if _PLAIN.match(name) and not kinds_in(name) else OTHER_EVENT


def _coarse(country: str | None, region: str | None) -> Place:
    """Codes only, as far as they are codes."""
    if country is None or not known_country(country):
        return Place()
    return Place(country, region if region is not None and _PLAIN.match(region) else None)


def situations(rows: Iterable[tuple[str, str, str, Mapping[str, str], Sequence[str], int]]) -> Iterator[Situation]:
    """Recorded rows (event, country, region, states, paths, count) as `diff.effect` takes them. A state that is none is unknown."""
    for event, country, region, states, paths, count in rows:
        known = tuple((name, ConsentState(s) if s in list(ConsentState) else ConsentState.UNKNOWN) for name, s in states.items())
        own = tuple(OTHER_PROPERTY if path == "properties" else path for path in paths)
        yield Situation(Place(country or None, region or None, "recorded"), event, known, own, count)


def ruled(policies: Iterable[PolicyWords]) -> Selection:
    """Every path that some policy names, to send it or to keep it: what is not covered, nobody has ruled on."""
    words: list[str] = [*ALWAYS_SENT]
    for policy in policies:
        everywhere = policy.before_anything_leaves
        words += [*everywhere.remove, *everywhere.pseudonymise]
        for one in policy.destinations.values():
            words += [*(one.send or ()), *one.remove, *one.hash, *one.pseudonymise]
            if one.if_refused is not None:
                words += one.if_refused.send_limited.send
    return expand(words)
