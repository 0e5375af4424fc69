"""`keys.mark` beside the store: by which keys it was written.

With another pepper the recorded refusals, withdrawals and duplicates of every visitor would not be found, and events would leave that
must not; with another data key the queue could not be opened. So a store is opened by its own keys or not at all.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ebbgate.errors import ConfigError
from ebbgate.store.keys import KeyRing
from ebbgate.store.sqlite_connect import sync_directory

NAME: Final = "keys.mark"


def check_keys(directory: Path, keys: KeyRing) -> None:
    """Raise ConfigError when the store in this folder was written by other keys. A store without a mark gets one."""
    path = directory / NAME
    try:
        mark = path.read_bytes()
    except FileNotFoundError:
        _write(path, keys.mark())
        return
    if other := keys.differs(mark):
        raise ConfigError(
            f"{other} is not the one by which {directory} was written",
            code="keys",
            hint="Restore the keys of this store, or give the new ones a store of their own.",
        )


def _write(path: Path, mark: bytes) -> None:
    draft = path.with_suffix(".tmp")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(handle, mark)
        os.fsync(handle)
    finally:
        os.close(handle)
    draft.replace(path)
    sync_directory(path.parent)
