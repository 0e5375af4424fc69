"""`ebbgate tag`: the lines that a page embeds, with the integrity value of this version's tag."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ebbgate.cli.form import Form, FormOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(tag)


def tag(
    url: Annotated[str, typer.Option(help="Address or path of the prefix; default server.prefix, on the page's own origin.")] = "",
    nonce: Annotated[str, typer.Option(help="Nonce of the page's content security policy for the inline line.")] = "",
    pin: Annotated[bool, typer.Option("--pin/--no-pin", help="With or without the integrity value.")] = True,
    form: FormOption = Form.TEXT,
    config: Annotated[Path | None, typer.Option(help="ebbgate.toml; default ./ebbgate.toml.")] = None,
) -> None:
    """Print the snippet for your pages. With a pinned integrity value, print it again after every update."""
    import json

    from ebbgate.edge.tag import integrity, snippet
    from ebbgate.errors import ConfigError
    from ebbgate.settings import load_settings

    if any(c in url + nonce for c in "\"'<>& \n"):
        raise ConfigError("--url and --nonce take no quotes, angle brackets or blanks")
    address = url.rstrip("/") if url else load_settings(config).server.prefix
    lines = snippet(address, nonce=nonce, pinned=pin)
    if form is Form.JSON:
        typer.echo(json.dumps({"snippet": lines, "src": f"{address}/t.js", "integrity": integrity() if pin else None}))
    else:
        typer.echo(lines, nl=False)
