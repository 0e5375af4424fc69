"""`ebbgate serve`: everything in one process, until a signal says stop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(serve)


def serve(
    config: Annotated[Path | None, typer.Option(help="ebbgate.toml; default ./ebbgate.toml.")] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="A shop, sample visitors and stand-in destinations; needs no settings.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="With --demo: end after the sample visitors.")] = False,
) -> None:
    """Take events, decide, store, deliver. SIGTERM or Ctrl-C answers what is under way and stops."""
    import uvloop

    from ebbgate.errors import ConfigError

    if once and not demo:
        raise ConfigError("--once goes with --demo")
    if demo:
        from ebbgate.demo.run import demo as run_demo

        raise typer.Exit(uvloop.run(run_demo(once=once)))
    raise typer.Exit(uvloop.run(_serve(config)))


async def _serve(config: Path | None) -> int:
    from ebbgate import __version__, log
    from ebbgate.app import Gateway
    from ebbgate.edge.serving import calm_collector
    from ebbgate.edge.stopping import stop_signal
    from ebbgate.settings import load_settings

    settings = load_settings(config)
    log.configure(settings.log_format)
    gateway = Gateway(settings)
    with stop_signal() as stopped:
        async with gateway.running():
            calm_collector()
            log.get().info(
                "gateway.serving",
                version=__version__,
                host=gateway.collect_at,
                where=gateway.admin_at,
                path=settings.server.prefix,
                policies=len(gateway.policies.current.policies),
                destinations=len(gateway.configured),
                durability=gateway.store.durability,
            )
            broken = await gateway.until_broken(stopped)
        log.get().info("gateway.stopped", reason="store_broken" if broken else "signal")
    return 1 if broken else 0
