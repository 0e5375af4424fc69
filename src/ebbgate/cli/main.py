"""`ebbgate`: the tree of commands and how their errors are shown. Exit 0 clean, 1 findings, 2 could not run."""

from __future__ import annotations

import os
import sys

import typer

from ebbgate import __version__
from ebbgate.errors import EbbgateError

app = typer.Typer(
    name="ebbgate",
    help="A first-party, consent-aware event gateway: fail closed, durable, provable.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a traceback with locals could show an event
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"ebbgate {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: bool = typer.Option(False, "--version", help="Print the version.", callback=_version, is_eager=True),
) -> None:
    """A first-party, consent-aware event gateway: fail closed, durable, provable."""


def _add_commands() -> None:
    from ebbgate.cli import audit, consent, destination, doctor, init, openapi, policy, queue, serve, sink, tag

    init.register(app)
    serve.register(app)
    policy.register(app)
    app.add_typer(consent.app, name="consent", help="Decode consent signals and see who won.")
    app.add_typer(destination.app, name="destination", help="List, render and hash for destinations.")
    app.add_typer(audit.app, name="audit", help="Read the forwarding log.")
    app.add_typer(queue.app, name="queue", help="See and steer what waits to be delivered.")
    sink.register(app)
    doctor.register(app)
    tag.register(app)
    openapi.register(app)


_add_commands()


def run() -> None:
    """Entry point of the console script."""
    try:
        app()
    except EbbgateError as error:
        raise _stopped(error.message, error.hint) from None
    except BrokenPipeError:
        # The reader (head, less) has gone: nothing to tell, and the interpreter must not complain at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except OSError as error:
        what = error.strerror or type(error).__name__
        raise _stopped(f"{error.filename}: {what}" if error.filename else what, "Check its owner and the free space.") from None
    except Exception as error:
        # The store is read lazily: what SQLite says may come from any command. Everything else is a fault of ours.
        if type(error).__module__ != "apsw":
            raise
        raise _stopped(f"the store cannot be read: {error}", "Its folder must be writable, also for reading.") from None


def _stopped(message: str, hint: str) -> SystemExit:
    """Say why the command could not run; the exit is to be raised."""
    typer.echo(f"ebbgate: {message}", err=True)
    if hint:
        typer.echo(f"  hint: {hint}", err=True)
    return SystemExit(2)


if __name__ == "__main__":
    run()
