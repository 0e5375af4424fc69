"""`ebbgate doctor`: is the gateway well? From its own machine, from its health route, or from outside with `--url`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ebbgate.cli.form import Form, FormOption

if TYPE_CHECKING:
    from ebbgate.settings import Settings

_SQLITE: Final = b"SQLite format 3\0"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    config: Annotated[Path | None, typer.Option(help="ebbgate.toml; default ./ebbgate.toml.")] = None,
    local: Annotated[bool, typer.Option("--local", help="Ask the gateway on this machine whether it is ready.")] = False,
    url: Annotated[str, typer.Option(help="Look from outside: address of the path prefix, https://shop.example/e")] = "",
    page: Annotated[list[str] | None, typer.Option(help="With --url: origin of a page, in place of the settings' own.")] = None,
    form: FormOption = Form.TEXT,
) -> None:
    """Check settings, keys, policies and store; with --local the running gateway, with --url all that stands before it.

    Exit 1 when something is wrong.
    """
    from ebbgate.settings import load_settings

    settings = load_settings(config)
    if url:
        _outside(settings, url, page or [], form)
        return
    problems = _ask(settings.server.host, settings.server.port) if local else _look(settings)
    if form is Form.JSON:
        typer.echo(json.dumps({"ok": not problems, "problems": problems}))
    elif not problems:
        typer.echo("  ✓ ready" if local else "  ✓ settings, keys, policies and store can be used")
    for problem in problems if form is Form.TEXT else ():
        typer.echo(f"  ✗ {problem}")
    if problems:
        raise typer.Exit(1)


def _outside(settings: Settings, url: str, pages: list[str], form: Form) -> None:
    import time
    from dataclasses import asdict
    from urllib.parse import urlsplit

    from ebbgate.cli.doctor_outside import examine
    from ebbgate.errors import ConfigError
    from ebbgate.store.keys import KeyRing

    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise ConfigError("--url is no address", hint="https://shop.example/e, the prefix as visitors reach it")
    keys = KeyRing.load(settings.keys.directory)
    findings = examine(
        url,
        pass_at=lambda minute: keys.pass_for("doctor", minute),
        now_ms=time.time_ns() // 1_000_000,
        origins=pages or sorted({origin for site in settings.sites.values() for origin in site.origins}),
    )
    if form is Form.JSON:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            mark = {True: "✓", False: "✗", None: "–"}[finding.ok]
            typer.echo(f"  {mark} {finding.check:<10} {finding.what}")
            if finding.do and not finding.ok:
                typer.echo(f"    {'':<10} → {finding.do}")
    if any(finding.ok is False for finding in findings):
        raise typer.Exit(1)


def _ask(host: str, port: int) -> list[str]:
    import http.client

    target = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104  the wildcard is compared, not bound
    connection = http.client.HTTPConnection(target, port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = answer.read(4096)
    except OSError as error:
        why = error.strerror or type(error).__name__
        return [f"nobody answers on {target}:{port}: {why} (`ebbgate serve` starts the gateway)"]
    finally:
        connection.close()
    if answer.status == 200:
        return []
    try:
        told = json.loads(body).get("problems", [])
    except (ValueError, AttributeError):
        return [f"what answers on {target}:{port} is no ebbgate: status {answer.status} (server.port names the gateway's own)"]
    return [str(p) for p in told] or [f"status {answer.status}"]


def _look(settings: Settings) -> list[str]:
    from ebbgate.app import Gateway
    from ebbgate.errors import EbbgateError

    try:
        Gateway(settings)
    except EbbgateError as error:
        # A finding that ends with its own hint says it once.
        return [error.message + (f" ({error.hint})" if error.hint and not error.message.endswith(error.hint) else "")]
    if settings.store.url == "memory:":
        return []
    path = settings.store_path()
    return _database(path) or _room(path.parent, settings.store.min_free_bytes)


def _database(path: Path) -> list[str]:
    """A file in the place of the store that is none. A store that is not there yet is made by the first start."""
    try:
        with path.open("rb") as file:
            begins = file.read(len(_SQLITE))
    except (FileNotFoundError, NotADirectoryError):  # the folder is looked at next
        return []
    except OSError as error:
        return [f"{path}: {error.strerror} (check its owner)"]
    return [] if begins in (b"", _SQLITE) else [f"{path} is no SQLite file (put the right one back, or move this one away)"]


def _room(folder: Path, least: int) -> list[str]:
    """What keeps the store's folder, or the one that it would be made in, from being written."""
    place = next((p for p in (folder, *folder.absolute().parents) if p.exists()), folder)
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return [f"{place} cannot be written: the store stands there (check its owner and how it is mounted)"]
    found = os.statvfs(place)
    free = found.f_bavail * found.f_frsize
    if free < least:
        return [f"{place} has {free >> 20} MiB left, and below {least >> 20} MiB no event is taken (store.min_free_bytes)"]
    return []
