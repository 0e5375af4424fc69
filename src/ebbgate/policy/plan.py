"""The compiled form of policies: flat, immutable, nothing left to parse when an event arrives.

A `PolicySet` is the snapshot in force. For every set of field names that an event may have (its *shape*) a `Projection`
works out once which of them leave and how, so that for each event only the values are touched.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

from ebbgate.model import EMPTY, Consent, ConsentRules, Decision, Place, Reason, Scalar, Value, Verdict
from ebbgate.policy.places import country_of, known_country
from ebbgate.policy.treat import Normaliser

Key = TypeVar("Key", bound=Hashable)
Kept = TypeVar("Kept")

#: What is remembered for each plan; a site uses few sets of fields, a stranger may invent many.
MAX_KEPT: Final = 512
MAX_ANSWERS: Final = 4096
MAX_FIELDS: Final = 96


class Memo(dict[Key, Kept]):
    """Answers worked out before. Bounded: it starts anew when full, and answers about very wide events are not kept."""

    most: ClassVar[int] = MAX_KEPT

    def keep(self, key: Key, answer: Kept, fields: int) -> None:
        """Remembers an answer that concerns an event with so many fields."""
        if fields <= MAX_FIELDS:
            if len(self) >= self.most:
                self.clear()
            self[key] = answer


class LargeMemo(Memo[Key, Kept]):
    """One for a whole policy, where a memo for each shape of events would have no bound worth the name."""

    most = MAX_ANSWERS


#: Paths without which no platform takes an event: they leave with every sending, and `fields` says so.
ALWAYS_SENT: Final = ("event.name", "event.time")


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What was decided for all destinations, and the objects it was decided about: holding them keeps their ids theirs."""

    shape: EventShape
    consent: Consent
    destinations: tuple[str, ...]
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, slots=True, eq=False)
class EventShape:
    """The field paths of an event, and what `prepare` does to them. One object a set of paths: told apart by identity."""

    paths: tuple[str, ...]
    treated: tuple[tuple[str, Treat], ...]  #: values that are rebuilt or shortened
    scanned: tuple[str, ...]  #: values that are searched for personal data
    words: tuple[str, ...]  #: of these, all but products
    pull_words: Callable[[Mapping[str, Value]], Sequence[Value]]  #: the same, out of fields of which none was dropped
    products: tuple[str, ...]  #: of these, the products
    telling_names: tuple[tuple[str, str], ...]  #: (path, kind): a property's name is personal data itself


#: None = the value cannot be made safe.
Treat: TypeAlias = Callable[[Any], Value | None]


@dataclass(frozen=True, slots=True, eq=False)
class Ruling:
    """A verdict with its reason. There is one object for each pair (in `decide`), so that they are told apart by identity."""

    verdict: Verdict
    reason: Reason


#: Ruling, detail, shape and dropped paths: all that a decision depends on within one policy and destination.
DecisionKey: TypeAlias = tuple[Ruling, str, EventShape | None, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class DestinationFacts:
    """What policies must know of a destination, without importing it."""

    name: str
    hashes: Mapping[str, Normaliser] = field(default_factory=lambda: EMPTY)  #: field → normalisation before SHA-256
    demands_hash: frozenset[str] = frozenset()  #: fields that must not leave in clear
    restriction_flags: frozenset[str] = frozenset()  #: flags `send_limited: add:` may set
    reserved_events: frozenset[str] = frozenset()  #: names the platform would drop
    max_age_s: int | None = None  #: older events are refused by the platform, seconds
    kind: str = ""  #: advertising | analytics | …


@dataclass(frozen=True, slots=True)
class Shape:
    """What a projection does to events with one set of field names."""

    plain: tuple[str, ...]  #: leave as they are
    hashed: tuple[tuple[str, Normaliser], ...]
    pseudonymised: tuple[str, ...]
    limited: tuple[tuple[str, int], ...]  #: text cut to so many characters
    urls: tuple[str, ...]  #: filtered once more by the destination's own parameter list
    fields: tuple[str, ...]  #: everything that leaves, sorted
    removed: tuple[str, ...]  #: everything that does not, sorted
    hashed_paths: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """The fields that one destination gets, and in what form."""

    allow: frozenset[str]  #: field paths
    allow_below: tuple[str, ...] = ()  #: open groups: prefixes ending in a dot
    remove: frozenset[str] = frozenset()  #: paths of open groups that stay here
    remove_below: tuple[str, ...] = ()
    hashes: Mapping[str, Normaliser] = field(default_factory=lambda: EMPTY)
    pseudonymise: frozenset[str] = frozenset()
    pseudonymise_below: tuple[str, ...] = ()
    limits: Mapping[str, int] = field(default_factory=lambda: EMPTY)
    time_step_ms: int = 0  #: event.time is cut down to this; 0 = exact
    url_parameters: frozenset[str] | None = None  #: None = the policy's list is enough
    flags: Mapping[str, Scalar] = field(default_factory=lambda: EMPTY)
    _shapes: Memo[EventShape, Shape] = field(default_factory=Memo, repr=False)

    def lets_out(self, path: str) -> bool:
        """True when the policy names this path for this destination and nothing removes it."""
        if path in self.allow:
            return True
        return path.startswith(self.allow_below) and path not in self.remove and not path.startswith(self.remove_below)

    def is_pseudonymised(self, path: str) -> bool:
        """True when the value leaves as a keyed pseudonym."""
        return path in self.pseudonymise or path.startswith(self.pseudonymise_below)

    def shape(self, event: EventShape) -> Shape:
        """The plan for events with these field paths; worked out once for each set."""
        found = self._shapes.get(event)
        if found is None:
            found = self._work_out(event.paths)
            self._shapes.keep(event, found, len(event.paths))
        return found

    def _work_out(self, paths: tuple[str, ...]) -> Shape:
        leaving = [p for p in paths if self.lets_out(p)]
        hashed = tuple((p, self.hashes[p]) for p in leaving if p in self.hashes)
        hashed_paths = frozenset(p for p, _ in hashed)
        pseudonymised = tuple(p for p in leaving if p not in hashed_paths and self.is_pseudonymised(p))
        special = hashed_paths | set(pseudonymised)
        limited = tuple((p, self.limits[p]) for p in leaving if p in self.limits and p not in special)
        urls = tuple(p for p in leaving if p in URL_FIELDS and p not in special) if self.url_parameters is not None else ()
        return Shape(
            plain=tuple(p for p in leaving if p not in special),
            hashed=hashed,
            pseudonymised=pseudonymised,
            limited=limited,
            urls=urls,
            fields=tuple(sorted(leaving)),
            removed=tuple(sorted(set(paths).difference(leaving))),
            hashed_paths=hashed_paths,
        )


URL_FIELDS: Final = frozenset({"page.url", "page.referrer"})


@dataclass(frozen=True, slots=True, eq=False)
class Everywhere:
    """`before_anything_leaves`, compiled: what is done once an event, before any destination is looked at."""

    url_parameters: frozenset[str] = frozenset()
    ip: str = "to_network"  #: keep | to_network | remove
    actions: Mapping[str, str] = field(default_factory=lambda: EMPTY)  #: kind of personal data → action
    time_step_ms: int = 0
    line: int = 0
    lines: Mapping[str, int] = field(default_factory=lambda: EMPTY)  #: setting → line
    shapes: Memo[tuple[str, ...], EventShape] = field(default_factory=Memo, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class DestinationPlan:
    """What one policy says about one destination."""

    destination: str
    needs: tuple[str, ...]  #: purposes, all of which must be granted
    needs_text: str  #: the same for people
    because: str  #: why nothing is needed
    events: frozenset[str] | None  #: None = all
    full: Projection
    limited: Projection | None  #: `if_refused: send_limited`
    rule: str  #: "eu.yaml:31"
    rules_of: Mapping[Reason, str]  #: reason → "eu.yaml:32", where another line than `rule` decides
    enabled: bool = True
    expire_after_s: int = 0  #: 0 = no limit of the policy's own
    decisions: Memo[DecisionKey, Decision] = field(default_factory=Memo, repr=False)

    def rule_for(self, reason: Reason) -> str:
        """`file:line` of the line that answers for a reason."""
        return self.rules_of.get(reason, self.rule)

    @property
    def rules(self) -> tuple[str, ...]:
        """Every line of this destination that can decide something, for test coverage."""
        if not self.enabled:
            return (self.rule_for(Reason.DISABLED),)
        reasons = [Reason.GRANTED]
        if self.needs and self.limited is None:
            # With a limited form a refusal is answered by its line.
            reasons.append(Reason.CONSENT_DENIED)
        if self.events is not None:
            reasons.append(Reason.EVENT_NOT_LISTED)
        if self.limited is not None:
            reasons.append(Reason.LIMITED)
        return tuple(dict.fromkeys(self.rule_for(reason) for reason in reasons))


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """One policy file, compiled."""

    name: str  #: the title: what `policy:` says
    file: str  #: file name, no directory
    digest: str  #: SHA-256 hex of the file's bytes
    owner: str
    reason: str
    consent: ConsentRules
    everywhere: Everywhere
    destinations: Mapping[str, DestinationPlan]
    countries: frozenset[str]
    regions: frozenset[str]
    everywhere_else: bool
    unknown_country: bool
    evidence_s: int
    line: int = 1  #: of `destinations:`
    purpose_lines: Mapping[str, int] = field(default_factory=lambda: EMPTY)
    #: (id of the shape, event name, id of the consent, dropped paths, kind that keeps the event) → what was decided.
    answers: LargeMemo[tuple[int, str, int, tuple[str, ...], str], Answer] = field(default_factory=LargeMemo, repr=False)
    #: Ids of decisions → their tuple.
    tuples: LargeMemo[tuple[int, ...], tuple[Decision, ...]] = field(default_factory=LargeMemo, repr=False)

    def at(self, line: int) -> str:
        """`file:line` of a line in this policy."""
        return f"{self.file}:{line}"


@dataclass(frozen=True, slots=True, eq=False)
class PolicySet:
    """The immutable snapshot in force: every policy, and which one governs a place."""

    digest: str  #: SHA-256 hex over names and digests of the files
    policies: tuple[Policy, ...]  #: by file name
    by_file: Mapping[str, Policy]
    by_country: Mapping[str, Policy]
    by_region: Mapping[str, Policy]
    otherwise: Policy | None
    unknown: Policy | None

    @classmethod
    def of(cls, digest: str, policies: tuple[Policy, ...]) -> PolicySet:
        """A set of policies that the linter found free of overlaps."""
        ordered = tuple(sorted(policies, key=lambda p: p.file))
        return cls(
            digest=digest,
            policies=ordered,
            by_file=MappingProxyType({p.file: p for p in ordered}),
            by_country=MappingProxyType({c: p for p in ordered for c in p.countries}),
            by_region=MappingProxyType({r: p for p in ordered for r in p.regions}),
            otherwise=next((p for p in ordered if p.everywhere_else), None),
            unknown=next((p for p in ordered if p.unknown_country), None),
        )

    def select(self, place: Place) -> Policy | None:
        """The one policy that governs a place, or None: then nothing leaves (DESIGN §4).

        Region beats country beats `everywhere_else`. A place that is unknown, is no ISO country, or whose region lies in
        another country goes to the policy with `when_country_unknown: apply`.
        """
        country, region = place.country, place.region
        if region is not None:
            if country is not None and country_of(region) != country:
                return self.unknown
            found = self.by_region.get(region)
            if found is not None:
                return found
            country = country_of(region)
        if country is None or not known_country(country):
            return self.unknown
        return self.by_country.get(country, self.otherwise)

    @property
    def destinations(self) -> tuple[str, ...]:
        """Names of all destinations that any policy names, sorted."""
        return tuple(sorted({name for policy in self.policies for name in policy.destinations}))
