"""`ebbgate queue list|retry|drop`: what waits to be delivered and what could not be, also while the gateway runs.

Nothing of an event is shown: numbers, destinations, outcomes and closed words. Each change is a log entry. Exit 0 done, 1 nothing
found to act on, 2 could not run (DESIGN §5.3).
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from ebbgate.cli.form import Form, FormOption

if TYPE_CHECKING:
    from ebbgate.audit.entry import Entry
    from ebbgate.store.protocol import DeadLetter, QueueState
    from ebbgate.store.sqlite_visitor import SqliteVisitor

app = typer.Typer(no_args_is_help=True, help="See and steer what waits to be delivered.")
_T = TypeVar("_T")
ALL: Final = 1_000_000  #: dead letters looked at by --all


Ids = Annotated[list[int] | None, typer.Argument(help="Numbers of dead letters, as `queue list` shows them.")]
OneDestination = Annotated[str | None, typer.Option("--destination", help="Only this destination's.")]
Every = Annotated[bool, typer.Option("--all", help="All dead letters, or all of one destination.")]
Yes = Annotated[bool, typer.Option("--yes", help="Needed with --all.")]
Config = Annotated[Path | None, typer.Option("--config", help="ebbgate.toml; default ./ebbgate.toml.")]


@app.command("list")
def list_(
    destination: OneDestination = None,
    limit: Annotated[int, typer.Option(min=0, max=ALL, help="Dead letters shown, the newest first.")] = 50,
    form: FormOption = Form.TEXT,
    config: Config = None,
) -> None:
    """How each queue stands, and its dead letters."""

    async def read(store: SqliteVisitor, _node: str) -> tuple[list[QueueState], Sequence[DeadLetter]]:
        queues = [q for q in await store.queues() if destination in (None, q.destination)]
        return queues, await store.dead_letters(destination, limit=limit)

    queues, dead = _with_store(config, read)
    if destination is not None and not queues:
        typer.echo(f"ebbgate: no queue of a destination '{destination}'", err=True)
        raise typer.Exit(1)
    if form is Form.JSON:
        typer.echo(json.dumps({"queues": [_queue(q) for q in queues], "dead_letters": [_letter(d) for d in dead]}))
        return
    typer.echo(_queues_text(queues))
    if dead:
        typer.echo("\n" + _dead_text(dead))


@app.command()
def retry(
    ids: Ids = None,
    destination: OneDestination = None,
    every: Every = False,
    yes: Yes = False,
    form: FormOption = Form.TEXT,
    config: Config = None,
) -> None:
    """Send dead letters again. They pass the gate again; one with the outcome `unknown` may then count twice at the platform."""

    async def revive(store: SqliteVisitor, found: Sequence[DeadLetter], name: str, node: str) -> int:
        now_ms = _now_ms()
        entry = _entry("queue.retry", len(found), name, node, now_ms)
        return await store.revive([d.id for d in found], now_ms=now_ms, entry=entry)

    _act(revive, "queued again", ids=ids, destination=destination, every=every, yes=yes, form=form, config=config)


@app.command()
def drop(
    ids: Ids = None,
    destination: OneDestination = None,
    every: Every = False,
    yes: Yes = False,
    form: FormOption = Form.TEXT,
    config: Config = None,
) -> None:
    """Delete dead letters for good: what they would have sent is gone, their outcome stays in the log."""

    async def delete(store: SqliteVisitor, found: Sequence[DeadLetter], name: str, node: str) -> int:
        return await store.drop([d.id for d in found], entry=_entry("queue.drop", len(found), name, node, _now_ms()))

    _act(delete, "dropped", ids=ids, destination=destination, every=every, yes=yes, form=form, config=config)


def _act(
    action: Callable[[SqliteVisitor, Sequence[DeadLetter], str, str], Awaitable[int]],
    done: str,
    *,
    ids: list[int] | None,
    destination: str | None,
    every: bool,
    yes: bool,
    form: Form,
    config: Path | None,
) -> None:
    """Run one change on the chosen dead letters of each destination, and say how many it touched."""
    if bool(ids) == every:
        typer.echo("ebbgate: name dead letters by number, or use --all --yes", err=True)
        raise typer.Exit(2)

    async def change(store: SqliteVisitor, node: str) -> tuple[int, list[int]]:
        wanted = set(ids or ())
        found = [d for d in await store.dead_letters(destination, limit=ALL) if every or d.id in wanted]
        if every and not yes:
            typer.echo(f"ebbgate: {len(found)} dead letters would be {done}; add --yes to do it", err=True)
            raise typer.Exit(2)
        count = 0
        for name in sorted({d.destination for d in found}):
            count += await action(store, [d for d in found if d.destination == name], name, node)
        return count, sorted(wanted - {d.id for d in found})

    count, missing = _with_store(config, change)
    if form is Form.JSON:
        typer.echo(json.dumps({"count": count, "missing": missing}))
    else:
        typer.echo(f"{count} {done}")
        if missing:
            typer.echo(f"no such dead letter: {', '.join(map(str, missing))}", err=True)
    raise typer.Exit(0 if count and not missing else 1)


def _with_store(config: Path | None, use: Callable[[SqliteVisitor, str], Awaitable[_T]]) -> _T:
    from ebbgate.settings import load_settings
    from ebbgate.store.keys import KeyRing
    from ebbgate.store.open import open_beside

    settings = load_settings(config)
    keys = KeyRing.load(settings.keys.directory)

    async def run() -> _T:
        store = open_beside(settings.store.url, keys)
        await store.open()
        try:
            return await use(store, keys.node)
        finally:
            await store.close()

    return asyncio.run(run())


def _entry(action: str, n: int, destination: str, node: str, now_ms: int) -> Entry:
    from ebbgate.audit.entry import admin_action

    return admin_action(action=action, actor="operator", n=n, destination=destination, node=node, at_ms=now_ms)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if ms else ""


def _queue(state: QueueState) -> dict[str, object]:
    return {**dataclasses.asdict(state), "oldest": _time(state.oldest_ms)}


def _letter(letter: DeadLetter) -> dict[str, object]:
    return {
        "id": letter.id,
        "destination": letter.destination,
        "outcome": str(letter.outcome),
        "reason": letter.reason,
        "attempts": letter.attempts,
        "received": _time(letter.at_ms),
        "died": _time(letter.died_ms),
    }


def _queues_text(queues: Sequence[QueueState]) -> str:
    if not queues:
        return "no queues yet"
    rows = [("destination", "waiting", "retries", "dead", "held", "oldest waiting since")]
    rows += [(q.destination, str(q.waiting), str(q.retries), str(q.dead), str(q.held), _time(q.oldest_ms) or "-") for q in queues]
    return _table(rows)


def _dead_text(dead: Sequence[DeadLetter]) -> str:
    rows = [("dead letter", "destination", "outcome", "reason", "attempts", "received", "ended")]
    rows += [
        (str(d.id), d.destination, str(d.outcome), d.reason or "-", str(d.attempts), _time(d.at_ms), _time(d.died_ms)) for d in dead
    ]
    return _table(rows)


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
