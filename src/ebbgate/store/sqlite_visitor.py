"""A store opened by the command line beside the gateway that owns it: read everything, steer dead letters, add log entries.

Each change takes the commit lock and reads the log's number under it, so that both processes count without a gap. The
gateway notices at its next transaction (`Writer`).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import apsw

from ebbgate.audit.entry import Entry
from ebbgate.errors import ConfigError
from ebbgate.store.key_mark import check_keys
from ebbgate.store.keys import KeyRing
from ebbgate.store.protocol import DeadLetter, EventTrace, Logged, QueueState
from ebbgate.store.sqlite_connect import check_library, immediate, translate, writer
from ebbgate.store.sqlite_delivery import Delivery, Done, Numbers
from ebbgate.store.sqlite_reads import Reader


class SqliteVisitor:
    """The part of the `Store` protocol that is safe beside a running gateway. Coroutines that block: for a command line."""

    def __init__(self, path: Path, keys: KeyRing) -> None:
        self._path = path
        self._keys = keys

    async def open(self) -> None:
        """Open the files. Raises ConfigError when no gateway has ever run here."""
        check_library()
        if not self._path.exists():
            raise ConfigError(
                f"{self._path}: no store there", code="store_absent", hint="It appears when `ebbgate serve` first runs."
            )
        check_keys(self._path.parent, self._keys)
        self._lock = os.open(self._path.parent / "commit.lock", os.O_RDWR | os.O_CREAT, 0o600)
        self._delivery = Delivery(writer(self._path), self._keys, Numbers(0))
        self._delivery.learn()
        self._reader = Reader(self._path, self._keys)

    async def close(self) -> None:
        """Close the files."""
        self._reader.close()
        self._delivery.db.close()
        os.close(self._lock)

    async def queues(self) -> Sequence[QueueState]:
        """State of every destination's queue."""
        return self._reader.queues()

    async def dead_letters(self, destination: str | None = None, *, limit: int = 100) -> Sequence[DeadLetter]:
        """Dead letters, newest first."""
        return self._reader.dead_letters(destination, limit)

    async def trace(self, key: bytes) -> EventTrace | None:
        """Everything about one event, or None."""
        return self._reader.trace(key)

    async def log(self, *, after: int = 0, limit: int = 1000) -> Sequence[Logged]:
        """Log entries in order of `nseq`."""
        return self._reader.log(after, limit)

    async def revive(self, ids: Collection[int], *, now_ms: int, entry: Entry) -> int:
        """Put dead letters back as retries due now. Returns how many."""
        count: int = self._change(lambda d: d.revive(ids, now_ms, entry))
        return count

    async def drop(self, ids: Collection[int], *, entry: Entry) -> int:
        """Delete dead letters for good. Returns how many; their bytes leave the WAL at its next reset."""
        count: int = self._change(lambda d: d.drop(ids, entry))
        return count

    async def record(self, entries: Sequence[Entry]) -> None:
        """Make log entries durable that belong to no event."""
        self._change(lambda d: d.record(entries))

    def _change(self, change: Callable[[Delivery], Done]) -> Any:
        delivery = self._delivery
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            delivery.numbers.last = max(delivery.last_nseq(), self._reader.last_nseq())
            with immediate(delivery.db):
                return change(delivery).value
        except apsw.Error as error:
            raise translate(error, self._path.name) from None
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
