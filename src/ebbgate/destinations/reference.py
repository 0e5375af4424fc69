"""The reference page of destinations, written from their declarations: `ebbgate destination list --format markdown`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ebbgate.destinations.kit import DAY_S, HOUR_S, Destination

_HEAD: Final = """# Destinations

Written by `ebbgate destination list --format markdown` from the files in `src/ebbgate/destinations`; do not edit it by hand.

A destination runs only if the settings configure it and a policy names it. Every destination also takes `endpoint`, a stand-in for
the platform's address (https, or loopback for tests). Settings in bold are secrets: give them as an environment variable
`EBBGATE_DESTINATIONS__<NAME>__<KEY>` or as a file in `…_FILE`.
"""


def markdown(destinations: Iterable[Destination]) -> str:
    """The whole page: an overview, then one section a destination."""
    found = sorted(destinations, key=lambda d: d.name)
    overview = ["| name | platform | kind | receives |", "|---|---|---|---|"]
    overview += [f"| [`{d.name}`](#{d.name}) | {d.title} | {d.kind.replace('_', ' ')} | {d.recipient} |" for d in found]
    return "\n".join((_HEAD, *overview, "", *(_section(d) for d in found)))


def _section(destination: Destination) -> str:
    lines = [
        f"## {destination.name}",
        "",
        f"{destination.title}. Specification: {destination.docs}. {destination.notes}".rstrip(),
        "",
    ]
    lines += ["| setting | needed | meaning |", "|---|---|---|"]
    for name, field in destination.settings.model_fields.items():
        if name == "endpoint":
            continue
        shown = f"**`{name}`**" if name in destination.secret_settings else f"`{name}`"
        lines.append(f"| {shown} | {'yes' if field.is_required() else 'no'} | {field.description or ''} |")
    lines.append("")
    facts = [f"- up to {destination.batch.events} event{'s' if destination.batch.events > 1 else ''} a request"]
    if destination.max_age_s is not None:
        facts.append(f"- events older than {_span(destination.max_age_s)} are refused by the platform")
    window = destination.dedupe_window_s
    facts.append(
        f"- copies{' of orders' if destination.dedupe else ''} merge for {_span(window)}"
        if window
        else "- copies do not merge: a repeat may count twice"
    )
    if destination.demands_hash:
        facts.append(f"- a policy must hash: {', '.join(f'`{path}`' for path in sorted(destination.demands_hash))}")
    if destination.restriction_flags:
        facts.append(f"- `send_limited` may add: {', '.join(f'`{flag}`' for flag in sorted(destination.restriction_flags))}")
    if destination.hosts:
        facts.append(f"- sends to: {', '.join(f'`{host}`' for host in destination.hosts)}")
    return "\n".join((*lines, *facts, ""))


def _span(seconds: int) -> str:
    if seconds % DAY_S == 0 and seconds > DAY_S:
        return f"{seconds // DAY_S} days"
    if seconds < HOUR_S:
        return f"{seconds} seconds"
    hours = seconds // HOUR_S
    return f"{hours} hour{'s' if hours > 1 else ''}"
