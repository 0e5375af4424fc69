"""What the Python clients of this folder share: every host that the process connects to, told when it ends."""

from __future__ import annotations

import atexit
import json
import sys

_hosts: set[str] = set()


def _hook(event: str, args: tuple[object, ...]) -> None:
    if event == "socket.connect" and isinstance(args[1], tuple):
        _hosts.add(f"{args[1][0]}:{args[1][1]}")


def watch() -> None:
    """Note every address from here on and print them at the end."""
    sys.addaudithook(_hook)
    atexit.register(lambda: print(f"HOSTS {json.dumps(sorted(_hosts))}"))


def told(sent: int, failed: int) -> None:
    """Print what was sent and what failed."""
    print(f"SENT {json.dumps({'sent': sent, 'failed': failed})}")
