"""`ebbgate openapi`: the OpenAPI 3.1 document of a host, for generators, gateways and tests of other people's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ebbgate.cli.form import Form, LayoutOption, laid_out


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(openapi)


def openapi(
    host: Annotated[str, typer.Option(help="collection or admin.")] = "collection",
    form: LayoutOption = Form.TEXT,
    config: Annotated[Path | None, typer.Option(help="ebbgate.toml, for server.prefix; default ./ebbgate.toml.")] = None,
) -> None:
    """Print the OpenAPI document of the collection host or of the admin host, as JSON."""
    from ebbgate.edge.openapi.documents import HOSTS, document
    from ebbgate.errors import ConfigError
    from ebbgate.settings import load_settings

    if host not in HOSTS:
        raise ConfigError(f"--host {host}: no such host", hint=" or ".join(HOSTS))
    typer.echo(laid_out(document(host, load_settings(config).server.prefix), form))
