"""The story of one event as its log entries tell it: received, consent, each destination, and how each delivery ended.

What stood behind a commitment (the event's id and name, the consent evidence) is told only while its opening exists.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from ebbgate.audit.canonical import EntryError
from ebbgate.audit.entry import opens, parse
from ebbgate.model import Outcome

Ended = tuple[Outcome | None, str, int]
_OUTCOME: Final = {"send": "sent", "limited": "limited", "withhold": "not_sent", "hold": "held"}
_SAID: Final = {"sent": "● SENT", "limited": "◐ LIMITED", "not_sent": "○ NOT SENT", "held": "◌ HELD"}
_WAITS: Final = "waiting"
_STATES: Final = {"granted": "✓ granted", "denied": "✗ refused", "unknown": "? unknown"}


class Stored(Protocol):
    """One log entry as a store gives it."""

    @property
    def nseq(self) -> int:
        """Its number."""

    @property
    def body(self) -> bytes:
        """Its canonical bytes."""

    @property
    def opening(self) -> Mapping[str, tuple[bytes, bytes]] | None:
        """Commitment → (nonce, value); None once deleted."""


@dataclass(frozen=True, slots=True)
class DestinationStory:
    """What one destination got, by whose rule, and how the delivery ended."""

    name: str
    outcome: str  #: sent, limited, not_sent, held
    reason: str
    detail: str
    rule: str
    fields: tuple[str, ...]
    removed: tuple[str, ...]
    hashed: tuple[str, ...]
    other: int  #: fields of the site's own making that left: counted, not named
    ended: str  #: an `Outcome`, `waiting`, or "" when nothing is on record
    ended_reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Story:
    """All that the log tells of one event."""

    event_id: str  #: "" once its opening is deleted
    event: str
    received_s: int
    site: str
    trust: str
    place: str
    regime: str
    policy: str
    purposes: tuple[tuple[str, str, str, str], ...]  #: (name, state, source, rule)
    signals: tuple[Mapping[str, Any], ...]
    destinations: tuple[DestinationStory, ...]
    duplicates: int
    entries: tuple[Mapping[str, Any], ...]


def tell(entries: Sequence[Stored], outcomes: Mapping[str, Ended]) -> Story:
    """The story of an event's entries, ordered by number, and of its outcomes as the store knows them.

    Raises EntryError when there is no decision among them or an opening does not fit its commitment.
    """
    bodies = [(e, parse(e.body)) for e in entries]
    found = next(((e, b) for e, b in bodies if b["type"] == "decision"), None)
    if found is None:
        raise EntryError("no decision entry")
    stored, body = found
    about = _opened(stored, body, "event", "evt_c")
    evidence = _opened(stored, body, "consent", "consent_c")
    rules = {r["name"]: r["rule"] for r in evidence.get("rules", ())}
    return Story(
        event_id=about.get("id", ""),
        event=about.get("name", body["event"]),
        received_s=body["t"],
        site=body["site"],
        trust=body["trust"],
        place=body["place"],
        regime=body["regime"],
        policy=body["policy"],
        purposes=tuple((p["name"], p["state"], p.get("source", ""), rules.get(p["name"], "")) for p in body["purposes"]),
        signals=tuple(evidence.get("readings", ())),
        destinations=tuple(_destination(d, outcomes.get(d["dest"])) for d in body["dests"]),
        duplicates=sum(b.get("outcome") == "duplicate" for _, b in bodies),
        entries=tuple(b for _, b in bodies),
    )


def as_json(story: Story) -> dict[str, Any]:
    """The story in the shape of `explain` (DESIGN §5.3), with deliveries and log entries added."""
    return {
        "event_id": story.event_id,
        "event": story.event,
        "received": _time(story.received_s),
        "site": story.site,
        "trust": story.trust,
        "place": story.place,
        "policy": {"file": _file(story), "digest": story.policy},
        "consent": {
            "regime": story.regime,
            "purposes": {n: {"state": state, "source": source, "rule": rule} for n, state, source, rule in story.purposes},
            "signals": [dict(s) for s in story.signals],
        },
        "destinations": {
            d.name: {
                "outcome": d.outcome,
                "reason": d.reason,
                "detail": d.detail,
                "rule": d.rule,
                "fields": list(d.fields),
                "other_fields": d.other,
                "removed": list(d.removed),
                "hashed": list(d.hashed),
                "delivery": {"outcome": d.ended, "reason": d.ended_reason, "attempts": d.attempts},
            }
            for d in story.destinations
        },
        "duplicates": story.duplicates,
        "log": [dict(e) for e in story.entries],
    }


def as_text(story: Story, *, why: Callable[[str, str], str] = lambda reason, detail: f"{reason} {detail}".strip()) -> str:
    """The story for people, as in specs/experience.md §2.3. `why` turns a reason and its detail into words."""
    policy = f"policy {_file(story) or 'none'} {story.policy[:8]}"
    lines = [
        f"{story.event}  {story.event_id or '(id erased)'}  {_time(story.received_s)}  {story.site}  {story.place}  {policy}",
        f" ● received    {story.trust}, log #{story.entries[0]['nseq']}"
        + (f", sent again {story.duplicates}×: not stored twice" if story.duplicates else ""),
    ]
    signals = " ".join(str(s["signal"]) for s in story.signals) or "no signal"
    states = " · ".join(f"{name} {_STATES[state]}" for name, state, _, _ in story.purposes)
    lines.append(f" ● consent     {signals} · {states or 'no purposes'} ({story.regime})")
    width = max([11, *(len(d.name) for d in story.destinations)])
    for one in story.destinations:
        mark, _, said = _SAID[one.outcome].partition(" ")
        lines.append(f" {mark} {one.name:<{width}} {said:<8}  {_tail(one, why)}".rstrip())
    return "\n".join(lines)


def _tail(one: DestinationStory, why: Callable[[str, str], str]) -> str:
    parts = []
    if one.outcome in ("sent", "limited"):
        parts.append(one.ended + (f" ({one.ended_reason})" if one.ended_reason else ""))
        if one.attempts:
            parts.append(f"{one.attempts} attempt{'s' * (one.attempts > 1)}")
    if one.outcome != "sent":
        parts.append(why(one.reason, one.detail))
    if one.removed:
        parts.append("without " + " ".join(one.removed))
    if one.hashed:
        parts.append("hashed " + " ".join(one.hashed))
    return " · ".join(p for p in parts if p) + (f"   {one.rule}" if one.rule else "")


def _destination(row: Mapping[str, Any], ended: Ended | None) -> DestinationStory:
    outcome = _OUTCOME[row["decision"]]
    said, reason, attempts = ended if ended is not None else (None, "", 0)
    stands = str(said) if said is not None else _WAITS
    if ended is None:
        stands = str(Outcome.WITHHELD) if outcome == "not_sent" else ""
    return DestinationStory(
        name=row["dest"],
        outcome=outcome,
        reason=row["reason"],
        detail=row.get("detail", ""),
        rule=row.get("rule", ""),
        fields=_names(row.get("fields", ())),
        removed=_names(row.get("removed", ())),
        hashed=_names(row.get("hashed", ())),
        other=row.get("other", 0),
        ended=stands,
        ended_reason=reason,
        attempts=attempts,
    )


def _names(fields: Any) -> tuple[str, ...]:
    """Field names, or a count where the entry holds only their digest."""
    return (f"({fields['count']} fields)",) if isinstance(fields, Mapping) else tuple(fields)


def _opened(stored: Stored, body: Mapping[str, Any], name: str, member: str) -> Mapping[str, Any]:
    if stored.opening is None or name not in stored.opening:
        return {}
    if not opens(name, body[member], stored.opening[name]):
        raise EntryError(f"{member}: the opening does not fit the commitment")
    found: Mapping[str, Any] = json.loads(stored.opening[name][1])
    return found


def _file(story: Story) -> str:
    """The policy file that the rules name."""
    return next((d.rule.rpartition(":")[0] for d in story.destinations if d.rule), "")


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
