"""The story of one event: what came, what the visitor allowed, what was taken away, who got what, and which line said so.

One object for `explain`, the demo, the console and `audit show`. It holds names of fields, never their values, so it can be
told from an event at hand (`story`) or put together from the log by its plain parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any, Final

from ebbgate.fields import is_personal
from ebbgate.model import EMPTY, CleanEvent, Consent, ConsentState, Decision, Event, Place, Reason, Verdict
from ebbgate.policy import treat
from ebbgate.policy.plan import URL_FIELDS, Policy
from ebbgate.policy.prepare import prepare
from ebbgate.policy.words import OUTCOMES, STATE_TEXT, reason_text

_MARKS: Final = {Verdict.SEND: "●", Verdict.LIMITED: "◐", Verdict.HOLD: "◌", Verdict.WITHHOLD: "○"}
_SAID: Final = {Verdict.SEND: "SENT", Verdict.LIMITED: "LIMITED", Verdict.HOLD: "HELD", Verdict.WITHHOLD: "NOT SENT"}
_WIDTH: Final = 96  #: with the policy's line behind it a story fits 120 columns
_NARROWEST: Final = 40


@dataclass(frozen=True, slots=True)
class PurposeStory:
    """What was known about one purpose."""

    name: str
    state: ConsentState
    source: str  #: signal name, or "default" / "none"
    rule: str  #: a sentence
    line: str  #: "eu.yaml:23"


@dataclass(frozen=True, slots=True)
class DestinationStory:
    """What one destination got."""

    name: str
    verdict: Verdict
    reason: Reason
    text: str  #: the reason for people
    rule: str  #: "eu.yaml:31"
    fields: tuple[str, ...]
    removed: tuple[str, ...]
    hashed: tuple[str, ...]

    @property
    def outcome(self) -> str:
        """`sent`, `limited`, `not_sent` or `held`."""
        return OUTCOMES[self.verdict]


@dataclass(frozen=True, slots=True)
class Story:
    """Everything there is to tell about one event. No values of the event."""

    event_id: str
    event_name: str
    place: Place
    policy_file: str  #: "" when no policy governs the place
    policy_digest: str
    received: int  #: how many fields came
    personal: tuple[str, ...]  #: which of them are personal data
    purposes: tuple[PurposeStory, ...]
    signals: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]  #: signals that do not count, and why
    consent_line: str
    cleaned: tuple[str, ...]  #: what was done before any destination, as clauses
    cleaned_line: str
    destinations: tuple[DestinationStory, ...]
    draft: bool = False


def story(
    event: Event,
    place: Place,
    consent: Consent,
    policy: Policy | None,
    decisions: Sequence[Decision],
    *,
    cleaned: Mapping[str, CleanEvent] = EMPTY,
    draft: bool = False,
) -> Story:
    """The story of an event at hand.

    `cleaned` (destination → CleanEvent) makes the fields exact: a value that could not be treated as told, such as a phone
    number without digits, was left out although the policy lets it out.
    """
    return Story(
        event_id=event.id,
        event_name=event.name,
        place=place,
        policy_file=policy.file if policy else "",
        policy_digest=policy.digest if policy else "",
        received=len(event.fields),
        personal=tuple(sorted({_shown(p) for p in event.fields if is_personal(p)})),
        purposes=_purposes(consent, policy),
        signals=tuple(reading.signal for reading in consent.readings),
        refused=tuple((reading.signal, reading.says.partition(":")[0]) for reading in consent.readings if not reading.valid),
        consent_line=policy.at(policy.consent.line) if policy else "",
        cleaned=_cleaned(event, policy) if policy else (),
        cleaned_line=policy.at(policy.everywhere.line) if policy else "",
        destinations=tuple(_destination(d, policy, cleaned.get(d.destination)) for d in decisions),
        draft=draft,
    )


def _purposes(consent: Consent, policy: Policy | None) -> tuple[PurposeStory, ...]:
    lines = policy.purpose_lines if policy else EMPTY
    return tuple(
        PurposeStory(name, found.state, found.source, found.rule, policy.at(lines[name]) if policy and name in lines else "")
        for name, found in consent.purposes.items()
    )


def _destination(decision: Decision, policy: Policy | None, clean: CleanEvent | None) -> DestinationStory:
    plan = policy.destinations.get(decision.destination) if policy else None
    text = reason_text(decision.reason, decision.detail)
    if decision.reason is Reason.NOT_NEEDED and plan is not None:
        text = f"{text}: {plan.because}"
    fields, removed, hashed = decision.fields, decision.removed, decision.hashed
    if clean is not None:
        gone = set(fields).difference(clean.fields)
        fields = tuple(sorted(clean.fields))
        removed = tuple(sorted(gone.union(removed)))
        hashed = tuple(sorted(clean.hashed.intersection(fields)))
    return DestinationStory(decision.destination, decision.verdict, decision.reason, text, decision.rule, fields, removed, hashed)


def _cleaned(event: Event, policy: Policy) -> tuple[str, ...]:
    """Clauses on what `before_anything_leaves` did to this event."""
    prepared = prepare(event, policy)
    clauses: list[str] = []
    for path in sorted(URL_FIELDS.intersection(event.fields)):
        names = [n for n in treat.parameter_names(event.fields[path]) if n not in policy.everywhere.url_parameters]
        if names:
            shown = " ".join(n for n in names if _plain(n)) or f"{len(names)} parameters"
            clauses.append(f"{path} without {shown}")
    ip = event.fields.get("network.ip")
    if ip is not None and prepared.fields.get("network.ip") != ip:
        clauses.append("network.ip shortened to its network" if "network.ip" in prepared.fields else "network.ip removed")
    clauses.extend(f"{found} found" for found in dict.fromkeys(prepared.reported))
    others = [path for path in prepared.dropped if path != "network.ip"]
    if others:
        clauses.append("removed " + " ".join(_shown(path) for path in others))
    return tuple(clauses)


def _plain(name: str) -> bool:
    """A parameter's name may be anything a stranger typed: only short plain words are shown."""
    return len(name) <= 24 and name.replace("_", "").replace("-", "").isalnum() and name.isascii() and not name.isdigit()


def _shown(path: str) -> str:
    return path if _plain(path.replace(".", "_")) or not path.startswith("properties.") else "properties"


def as_json(told: Story) -> dict[str, Any]:
    """The object of `explain --format json` (DESIGN §5.3)."""
    place = told.place
    return {
        "event_id": told.event_id,
        "policy": {"file": told.policy_file, "digest": told.policy_digest} if told.policy_file else None,
        "place": {"country": place.country, "region": place.region, "source": place.source},
        "consent": {
            "purposes": {p.name: {"state": p.state.value, "source": p.source, "rule": p.rule} for p in told.purposes},
            "signals": list(told.signals),
        },
        "destinations": {
            d.name: {
                "outcome": d.outcome,
                "reason": d.reason.value,
                "rule": d.rule,
                "fields": list(d.fields),
                "removed": list(d.removed),
                "hashed": list(d.hashed),
            }
            for d in told.destinations
        },
    }


def as_text(told: Story, *, columns: int = 0) -> str:
    """The story for people, one line a step, each with the line of the policy that answers for it.

    `columns`: of the terminal; 0 where there is none, as in a pipe.
    """
    place = told.place
    where = place.region or place.country or "unknown place"
    policy = f"policy {told.policy_file} rev {told.policy_digest[:6]}" if told.policy_file else "no policy"
    parts = (f"event {told.event_id}  {told.event_name}", f"visitor {where} ({place.source})", policy)
    head = ("\n  " if 0 < columns < sum(map(len, parts)) + 6 else "   ").join(parts)
    personal = ", ".join(told.personal)
    steps = [
        ("●", "received", f"{told.received} fields" + (f", {len(told.personal)} personal: {personal}" if personal else ""), ""),
        ("●", "consent", _consent_text(told), told.consent_line),
    ]
    if told.cleaned:
        steps.append(("●", "cleaned", "everywhere: " + ", ".join(told.cleaned), told.cleaned_line))
    steps.extend((_MARKS[d.verdict], d.name, _destination_text(d), d.rule) for d in told.destinations)
    wide = max(len(name) for _, name, _, _ in steps)
    behind = max(len(rule) for *_, rule in steps) + 4  # two blanks and the brackets
    width = max(_NARROWEST, min(_WIDTH, columns - behind)) if columns else _WIDTH
    lines = [_line(mark, name.ljust(wide), text, rule, width) for mark, name, text, rule in steps]
    return "\n".join([head + (" DRAFT" if told.draft else ""), *lines])


def _line(mark: str, name: str, text: str, rule: str, width: int) -> str:
    lead = f" {mark} {name}  "
    first, *rest = wrap(text, width - len(lead), break_long_words=False, break_on_hyphens=False) or [""]
    line = f"{lead}{first}"
    blank = " " * len(lead)
    return "\n".join([f"{line.ljust(width)}  ({rule})" if rule else line, *(f"{blank}{more}" for more in rest)])


def _consent_text(told: Story) -> str:
    if not told.purposes:
        return "nothing is known, no policy says what to ask" if not told.policy_file else "no purposes"
    said = ", ".join(f"{p.name} {STATE_TEXT[p.state]}{_source(p)}" for p in told.purposes)
    unread = {signal for signal, _ in told.refused}
    read = " ".join(signal for signal in told.signals if signal not in unread)
    found = [read] if read else []
    found += [f"{signal} unreadable: {why}" for signal, why in told.refused]
    return f"{said}   [{'; '.join(found) or 'no signals'}]"


def _source(purpose: PurposeStory) -> str:
    return f" by {purpose.source}" if purpose.source not in ("none", "") else ""


def _destination_text(told: DestinationStory) -> str:
    said = _SAID[told.verdict].ljust(8)
    if told.verdict is Verdict.WITHHOLD:
        return f"{said}  {told.text}"
    parts = [told.text] if told.verdict is not Verdict.SEND or told.reason is Reason.NOT_NEEDED else []
    few = len(told.fields) <= len(told.removed)
    parts.append(f"only {' '.join(told.fields)}" if few else _without(told))
    if told.hashed:
        parts.append(f"hashed {' '.join(told.hashed)}")
    return f"{said}  " + " · ".join(part for part in parts if part)


def _without(told: DestinationStory) -> str:
    return f"removed {' '.join(_shown(p) for p in told.removed)}" if told.removed else "all fields"
