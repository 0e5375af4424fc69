"""`audit show` and `audit search`: read the forwarding log, also while the gateway runs. Nothing is written.

Exit 0 found, 1 nothing found, 2 could not run (DESIGN §5.3). Heavy modules are imported inside the commands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ebbgate.cli.form import Form, FormOption

if TYPE_CHECKING:
    from ebbgate.settings import Settings
    from ebbgate.store.keys import KeyRing
    from ebbgate.store.protocol import Logged
    from ebbgate.store.sqlite_reads import Reader

app = typer.Typer(no_args_is_help=True)
Config = Annotated[Path | None, typer.Option("--config", help="ebbgate.toml; default ./ebbgate.toml.")]
_SPAN = re.compile(r"(\d{1,6})\s*([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@app.command()
def show(
    event_id: Annotated[str, typer.Argument(help="Id of an event, as its sender gave it.")],
    site: Annotated[str | None, typer.Option(help="Site of the event; default: all sites of the settings.")] = None,
    form: FormOption = Form.TEXT,
    config: Config = None,
) -> None:
    """Tell the story of one event: what came, what the visitor allowed, who got what, and how it ended."""
    from ebbgate.audit import story
    from ebbgate.policy.words import reason_text

    with _log(config) as (settings, keys, reader):
        told = []
        for name in [site] if site is not None else settings.sites:
            trace = reader.trace(keys.event_key(name, event_id))
            if trace is not None:
                told.append(story.tell(trace.entries, trace.outcomes))
    if not told:
        typer.echo("ebbgate: no such event in the log" + (f" of site {site}" if site is not None else ""), err=True)
        raise typer.Exit(1)

    def why(reason: str, detail: str) -> str:
        from ebbgate.model import Reason

        return reason_text(Reason(reason), detail)

    for one in told:
        typer.echo(json.dumps(story.as_json(one), ensure_ascii=False) if form is Form.JSON else story.as_text(one, why=why))


@app.command()
def search(
    destination: Annotated[str | None, typer.Option(help="Only entries about this destination.")] = None,
    outcome: Annotated[str | None, typer.Option(help="sent, limited, not_sent, held, or an outcome such as delivered.")] = None,
    reason: Annotated[str | None, typer.Option(help="A reason such as consent_denied or http_400.")] = None,
    since: Annotated[str | None, typer.Option(help="24h, 7d, 30m, or a time such as 2026-11-21T10:00Z.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, the newest first.")] = 50,
    form: FormOption = Form.TEXT,
    config: Config = None,
) -> None:
    """List log entries, the newest first."""
    from ebbgate.audit.entry import parse
    from ebbgate.audit.search import Wanted, line, matches

    wanted = Wanted(destination=destination, outcome=outcome, reason=reason, since_s=_since(since))
    count = 0
    with _log(config) as (_, _, reader):
        for logged in reader.newest():
            body = parse(logged.body)
            if wanted.since_s and body["t"] < wanted.since_s:
                if body["t"] < wanted.since_s - 3600:  # entries are a little out of order in time, never by an hour
                    break
                continue
            if not matches(body, wanted):
                continue
            typer.echo(json.dumps(body, ensure_ascii=False) if form is Form.JSON else line(body, event_id=_event_id(logged)))
            count += 1
            if count == limit:
                break
    raise typer.Exit(0 if count else 1)


_ABSENT = "It appears when `ebbgate serve` first runs; --config names another ebbgate.toml."


@contextmanager
def _log(config: Path | None) -> Iterator[tuple[Settings, KeyRing, Reader]]:
    """Settings, keys and a reader of the store on disk."""
    from ebbgate.errors import ConfigError
    from ebbgate.settings import load_settings
    from ebbgate.store.keys import KeyRing
    from ebbgate.store.sqlite_reads import Reader

    settings = load_settings(config)
    path = settings.store_path()
    if not path.exists():
        raise ConfigError(f"{path}: no store there", code="store_absent", hint=_ABSENT)
    keys = KeyRing.load(settings.keys.directory)
    reader = Reader(path, keys)
    try:
        yield settings, keys, reader
    finally:
        reader.close()


def _event_id(logged: Logged) -> str:
    """Id of the event while the entry's opening exists."""
    if not logged.opening or "event" not in logged.opening:
        return ""
    value = logged.opening["event"][1]
    try:
        found: Mapping[str, Any] | Any = json.loads(value)
    except ValueError:
        return value.decode("utf-8", "replace")
    return str(found["id"]) if isinstance(found, dict) else value.decode("utf-8", "replace")


def _since(text: str | None) -> int:
    """Seconds since 1970 of `24h`, `7d` or an ISO time; 0 for none."""
    from datetime import UTC, datetime

    if text is None:
        return 0
    span = _SPAN.fullmatch(text.strip())
    if span:
        return int(datetime.now(UTC).timestamp()) - int(span[1]) * _SECONDS[span[2]]
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        from ebbgate.errors import ConfigError

        raise ConfigError("--since is neither a span nor a time", code="usage", hint="24h, 7d, or 2026-11-21T10:00Z") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
