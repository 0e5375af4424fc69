"""Chooses the backend by the store's address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ebbgate.errors import ConfigError
from ebbgate.store.keys import KeyRing
from ebbgate.store.memory import MemoryStore
from ebbgate.store.options import Options
from ebbgate.store.protocol import Store
from ebbgate.store.sqlite import SqliteStore
from ebbgate.store.sqlite_visitor import SqliteVisitor


def open_store(url: str, keys: KeyRing, **options: Any) -> Store:
    """The store of `sqlite:///path/ebbgate.db` or `memory:`, not opened yet. `options` are fields of `Options`.

    Raises ConfigError for another address. The SQLite path's directory holds all files of the store.
    """
    if url == "memory:":
        return MemoryStore()
    return SqliteStore(sqlite_path(url), keys, Options(**options))


def open_beside(url: str, keys: KeyRing) -> SqliteVisitor:
    """The same store for a command line that runs beside the gateway (or without one): dead letters, queues, log.

    Raises ConfigError for a store that lives in another process's memory.
    """
    return SqliteVisitor(sqlite_path(url), keys)


def sqlite_path(url: str) -> Path:
    """Path in a `sqlite:///` address: relative after three slashes, absolute after four."""
    prefix = "sqlite:///"
    if not url.startswith(prefix) or not url.removeprefix(prefix):
        raise ConfigError("store.url is no address of a known store", code="store_url", hint="sqlite:///data/ebbgate.db")
    return Path(url.removeprefix(prefix))
