"""Which log entries a search finds, and how one reads on a line. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

_OUTCOME: Final = {"send": "sent", "limited": "limited", "withhold": "not_sent", "hold": "held"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for; None and 0 mean anything."""

    destination: str | None = None
    outcome: str | None = None
    reason: str | None = None
    since_s: int = 0


def matches(body: Mapping[str, Any], wanted: Wanted) -> bool:
    """True when one fact of the entry has all that is wanted: the same destination with that outcome and that reason."""
    if wanted.since_s and body["t"] < wanted.since_s:
        return False
    return any(
        wanted.destination in (None, destination) and wanted.outcome in (None, outcome) and wanted.reason in (None, reason)
        for destination, outcome, reason in facts(body)
    )


def facts(body: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(destination, outcome, reason) of an entry; one of blanks when it is about none."""
    kind, destination = body["type"], body.get("dest", "")
    if kind == "decision":
        return [(d["dest"], _OUTCOME[d["decision"]], d["reason"]) for d in body["dests"]] or [("", "", "")]
    if kind == "attempt.finished":
        found = [(destination, r["outcome"], r["reason"]) for r in body["results"]]
        return [*found, (destination, "retried", "")] if body["retried"] else found
    if kind in ("held.released", "held.shredded"):
        return [(d, body.get("outcome", "released"), "") for d in body.get("dests", ())] or [("", body.get("outcome", ""), "")]
    return [(destination, body.get("outcome", ""), body.get("reason", ""))]


def line(body: Mapping[str, Any], *, event_id: str = "") -> str:
    """`#number time type` and what it says, on one line without control characters."""
    when = datetime.fromtimestamp(body["t"], UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    head = f"#{body['nseq']}  {when}  {body['type']:<16}"
    kind = body["type"]
    if kind == "decision":
        told = " · ".join(f"{d} {o} ({r})" for d, o, r in facts(body) if d)
        text = f"{body['event']} {event_id or '(id erased)'}  {body['place']}  {told}"
    elif kind in ("attempt.started", "attempt.finished", "outcome"):
        said = " · ".join(f"{o} ({r})" if r else o for _, o, r in facts(body) if o)
        text = f"{body['dest']}  {body['n']} event{'s' * (body['n'] != 1)}  {said}".rstrip()
    else:
        skip = ("v", "type", "t", "node", "nseq", "subj_c")
        text = "  ".join(f"{k}={_short(v)}" for k, v in body.items() if k not in skip)
    return f"{head}  {text}".translate(_CONTROL)


#: Control characters and bidirectional overrides become a visible mark: an id cannot repaint the auditor's terminal.
_CONTROL: Final = dict.fromkeys([*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)], "�")

_DIGEST: Final = re.compile(r"^([0-9a-f]{12})[0-9a-f]{52}$")


def _short(value: Any) -> str:
    """Digests by their beginning, as everywhere for people; `--format json` has them whole."""
    if isinstance(value, list):
        return ",".join(_short(v) for v in value)
    if isinstance(value, dict):
        return ":".join(_short(v) for v in value.values())
    return _DIGEST.sub(r"\1", str(value))
