"""`ebbgate sink`: a local stand-in for destinations that records what it gets and prints one line a request."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated

import typer

from ebbgate.cli.form import Form

if TYPE_CHECKING:
    from ebbgate.demo.sink import Received


#: Headers that carry credentials: a stand-in is shown on screens.
_SECRET = frozenset({"authorization", "x-api-key", "api-key", "webhook-signature", "x-posthog-api-key"})


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(sink)


def sink(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.", min=0, max=65535)] = 9001,
    form: Annotated[Form, typer.Option("--format", help="One line a request, or one JSON object a line.")] = Form.TEXT,
    status: Annotated[int, typer.Option(help="Status to answer with.", min=200, max=599)] = 200,
    count: Annotated[int, typer.Option(help="Stop after so many requests; 0 runs until Ctrl-C.", min=0)] = 0,
) -> None:
    """Stand in for destinations: set `endpoint = "http://127.0.0.1:9001"` in the settings of one, and watch what it would get."""
    try:
        asyncio.run(_serve(port, form, status, count))
    except KeyboardInterrupt:
        return
    except OSError as error:
        typer.echo(f"ebbgate: port {port} cannot be used: {error.strerror}", err=True)
        typer.echo("  hint: --port takes another, 0 a free one", err=True)
        raise typer.Exit(2) from None


async def _serve(port: int, form: Form, status: int, count: int) -> None:
    from ebbgate.demo.sink import RecordingSink, Reply, always

    show = _as_json if form is Form.JSON else _as_text
    recording = RecordingSink(always(Reply(status)), most=1, on_request=lambda r: print(show(r), flush=True))
    async with recording.serve(port):
        typer.echo(f"listening on {recording.url}", err=True)
        if count:
            await recording.wait_for(count, timeout_s=None)
        else:
            await asyncio.Event().wait()


def _as_text(received: Received) -> str:
    return f"{received.method} {received.path}  {len(received.body)} bytes  {received.body.decode('utf-8', 'replace')!r}"


def _as_json(received: Received) -> str:
    try:
        body = received.json()
    except ValueError:
        body = received.body.decode("utf-8", "replace")
    headers = {k: "***" if k in _SECRET else v for k, v in received.headers}
    return json.dumps({"n": received.number, "method": received.method, "path": received.path, "headers": headers, "body": body})
