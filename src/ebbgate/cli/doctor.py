"""`ebbgate doctor`: is the gateway well? `--local` asks the running process's own health routes, without a shell or curl."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    config: Annotated[Path | None, typer.Option(help="ebbgate.toml; default ./ebbgate.toml.")] = None,
    local: Annotated[bool, typer.Option("--local", help="Ask the gateway on this machine whether it is ready.")] = False,
) -> None:
    """Check settings, keys, policies and store; with --local the running gateway. Exit 1 when something is wrong."""
    from ebbgate.settings import load_settings

    settings = load_settings(config)
    problems = _ask(settings.server.host, settings.server.port) if local else _look(settings)
    for problem in problems:
        typer.echo(f"  ✗ {problem}")
    if problems:
        raise typer.Exit(1)
    typer.echo("  ✓ ready" if local else "  ✓ settings, keys, policies and store can be used")


def _ask(host: str, port: int) -> list[str]:
    import http.client
    import json

    target = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104  the wildcard is compared, not bound
    connection = http.client.HTTPConnection(target, port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = answer.read(4096)
    except OSError as error:
        return [f"nobody answers on {target}:{port} ({error.strerror or type(error).__name__})"]
    finally:
        connection.close()
    return [] if answer.status == 200 else [str(p) for p in json.loads(body).get("problems", [])] or [f"status {answer.status}"]


def _look(settings: object) -> list[str]:
    from ebbgate.app import Gateway
    from ebbgate.errors import EbbgateError
    from ebbgate.settings import Settings

    assert isinstance(settings, Settings)
    try:
        Gateway(settings)
    except EbbgateError as error:
        return [error.message + (f" ({error.hint})" if error.hint else "")]
    return []
