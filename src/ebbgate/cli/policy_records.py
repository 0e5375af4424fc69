"""`replay`, `fields`, `revisions`, and what `diff --traffic` and `explain --as-of` read: what a running gateway has on record.

Nothing here holds a value of an event, and nothing is sent. Exit 0 clean, 1 findings, 2 could not run (DESIGN §5.3).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ebbgate.policy.diff import Situation
    from ebbgate.policy.plan import DestinationFacts, PolicySet
    from ebbgate.settings import Settings
    from ebbgate.store.sqlite_records import FieldRecord, Records

Config = Annotated[Path | None, typer.Option("--config", help="ebbgate.toml; default ./ebbgate.toml.")]
Form = Annotated[str, typer.Option("--format", help="text or json.")]
_SPAN = re.compile(r"(\d{1,6})\s*([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(replay)
    app.command()(fields)
    app.command()(revisions)


def replay(
    since: Annotated[str, typer.Option(help="Recorded traffic since then: 1h, 7d, or a time; from the full hour on.")],
    to: Annotated[Path, typer.Option(help="The policies to judge by: a directory or a file.")],
    from_: Annotated[Path | None, typer.Option("--from", help="The policies to compare with; default: the settings'.")] = None,
    allow: Annotated[bool, typer.Option("--allow", help="Exit 0 even when more would leave.")] = False,
    format_: Form = "text",
    config: Config = None,
) -> None:
    """Decide recorded traffic again under another policy and tell what would change. Nothing is sent."""
    from dataclasses import asdict

    from ebbgate.policy import diff as comparing
    from ebbgate.policy.load import load_policies

    _check_form(format_)
    settings, facts = _surroundings(config)
    before, after = load_policies(from_ or settings.policies.path, facts), load_policies(to, facts)
    found = comparing.effect(before, after, recorded(settings, since))
    if format_ == "json":
        typer.echo(json.dumps({**asdict(found), "lets_more_out": found.lets_more_out}, indent=2))
    else:
        typer.echo(comparing.effect_text(found, "recorded"))
    raise typer.Exit(1 if found.lets_more_out and not allow else 0)


def recorded(settings: Settings, since: str) -> list[Situation]:
    """The kinds of events that came since `1h`, `7d` or a time. Raises ConfigError when nothing is on record."""
    from ebbgate.policy.shapes import situations

    with _records(settings) as records:
        return list(situations(records.traffic(moment_ms(since))))


def fields(
    site: Annotated[str | None, typer.Option(help="Only this site's.")] = None,
    unruled: Annotated[
        bool, typer.Option("--unruled", help="Only those on which no policy has a word; exit 1 if there are any.")
    ] = False,
    format_: Form = "text",
    config: Config = None,
) -> None:
    """List every field that came: since when, its class, how often, who gets it by which line. No values are kept."""
    from ebbgate.policy.load import examine, read_files
    from ebbgate.policy.shapes import ruled

    _check_form(format_)
    settings, facts = _surroundings(config)
    with _records(settings) as records:
        found = [one for one in records.fields() if site in (None, one.site)]
    examined, _ = examine(read_files(settings.policies.path), facts)
    named = ruled(e.words for e in examined if e.words is not None)
    rows = [_row(one, named.covers(one.path)) for one in found]
    if unruled:
        rows = [row for row in rows if not row["ruled"]]
    typer.echo(json.dumps(rows, indent=2) if format_ == "json" else _table(rows))
    raise typer.Exit(1 if unruled and rows else 0)


def _row(one: FieldRecord, is_ruled: bool) -> dict[str, object]:
    from ebbgate.fields import FIELDS, is_personal

    known = FIELDS.get(one.path)
    return {
        "site": one.site,
        "path": one.path,
        "class": str(known.data_class) if known else "unknown",
        "personal": is_personal(one.path),
        "first_seen": _iso(one.first_ms),
        "last_seen": _iso(one.last_ms),
        "events": one.events,
        "destinations": one.destinations,
        "ruled": is_ruled,
    }


def _table(rows: list[dict[str, object]]) -> str:
    if not rows:
        return "no fields"
    lines = [("site", "field", "class", "first seen", "events", "leaves to")]
    for row in rows:
        to = row["destinations"]
        told = " ".join(f"{name} ({rule})" for name, rule in sorted(to.items())) if isinstance(to, dict) else ""
        told = told or ("nobody" if row["ruled"] else "nobody: NO POLICY NAMES IT")
        lines.append(
            (str(row["site"]), str(row["path"]), str(row["class"]), str(row["first_seen"])[:10], f"{row['events']:,}", told)
        )
    wide = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, wide, strict=True)).rstrip() for line in lines)


def revisions(format_: Form = "text", config: Config = None) -> None:
    """List the policy revisions that were in force, the newest first. `explain --revision DIGEST` judges by one of them."""
    _check_form(format_)
    settings, _ = _surroundings(config)
    with _records(settings) as records:
        found = records.activations()
    if format_ == "json":
        typer.echo(json.dumps([{"digest": a.digest, "activated": _iso(a.at_ms), "who": a.who} for a in found], indent=2))
    else:
        typer.echo("\n".join(f"{_iso(a.at_ms)}  {a.digest[:12]}  by {a.who}" for a in found) or "no revisions")


def past_policies(
    settings: Settings,
    facts: Mapping[str, DestinationFacts],
    *,
    as_of: str | None,
    revision: str | None,
    configured: Collection[str] | None = None,
) -> PolicySet:
    """The policies that were in force at a time, or those of a digest (or its beginning). Raises ConfigError when none is kept."""
    from ebbgate.errors import ConfigError
    from ebbgate.policy.load import load_texts

    if as_of is not None and revision is not None:
        raise ConfigError("--as-of and --revision exclude each other", code="usage", hint="give one of them")
    with _records(settings) as records:
        digest = revision if as_of is None else records.in_force(moment_ms(as_of))
        if digest is None or not re.fullmatch(r"[0-9a-fA-F]{4,64}", digest):
            raise ConfigError("no revision of that time or digest is kept", code="revision", hint="see `ebbgate revisions`")
        whole, texts = records.revision(digest)
    policies = load_texts(texts, facts, configured=configured)
    if policies.digest != whole:
        raise ConfigError(
            "a kept revision does not match its digest", code="revision_damaged", hint="restore records.db from a backup"
        )
    return policies


@contextmanager
def _records(settings: Settings) -> Iterator[Records]:
    from ebbgate.store.sqlite_records import Records

    records = Records.read(settings.store_path().parent)
    try:
        yield records
    finally:
        records.close()


def moment_ms(text: str) -> int:
    """Milliseconds since 1970 of a span before now (`1h`, `7d`) or a time. Raises ConfigError for anything else."""
    from ebbgate.errors import ConfigError

    span = _SPAN.fullmatch(text.strip())
    if span:
        return time.time_ns() // 1_000_000 - int(span[1]) * _SECONDS[span[2]] * 1000
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError("neither a span nor a time", code="usage", hint="1h, 7d, or 2026-11-21T10:00Z") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _surroundings(config: Path | None) -> tuple[Settings, dict[str, DestinationFacts]]:
    from ebbgate.app import facts_of
    from ebbgate.destinations.registry import DESTINATIONS
    from ebbgate.settings import load_settings

    return load_settings(config), facts_of(DESTINATIONS)


def _check_form(format_: str) -> None:
    from ebbgate.errors import ConfigError

    if format_ not in ("text", "json"):
        raise ConfigError(f"--format {format_}: unknown format", code="usage", hint="text or json")
