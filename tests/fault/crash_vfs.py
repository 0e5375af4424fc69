"""An SQLite VFS that remembers what was written and what was synced, so that a test can cut the power afterwards.

`Journal.image(at, random)` makes the files as they could be after a cut at that operation: everything synced is there; of
what was written since, any part may be, in whole or in torn sectors. The same VFS can fail a chosen call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import apsw

SECTOR: Final = 512


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes handed to the operating system."""

    path: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    """A file was cut."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    """Everything written to a file so far is durable."""

    path: str


@dataclass(frozen=True, slots=True)
class Delete:
    """A file was removed."""

    path: str


@dataclass(frozen=True, slots=True)
class Ack:
    """The caller was told that this is durable."""

    what: Any


Operation = Write | Truncate | Sync | Delete | Ack


@dataclass(slots=True)
class Journal:
    """Operations in order, and the files as they were before the first."""

    root: Path
    operations: list[Operation] = field(default_factory=list)
    before: dict[str, bytes] = field(default_factory=dict)
    fail: Callable[[str, str], type[Exception] | None] = lambda call, path: None

    def start(self) -> None:
        """Take the files as they are as durable, and forget what led to them."""
        self.before = {str(p): p.read_bytes() for p in self.root.rglob("*") if p.is_file() and not p.name.endswith("-shm")}
        self.operations.clear()

    def acked(self, at: int) -> list[Any]:
        """What had been acknowledged before an operation."""
        return [o.what for o in self.operations[:at] if isinstance(o, Ack)]

    def image(self, at: int, random: Random, target: Path) -> None:
        """Write the files of a power cut before operation `at` to `target`."""
        files = {path: bytearray(data) for path, data in self.before.items()}
        pending: dict[str, list[Write | Truncate]] = {}
        for operation in self.operations[:at]:
            match operation:
                case Write() | Truncate():
                    pending.setdefault(operation.path, []).append(operation)
                    files.setdefault(operation.path, bytearray())
                case Sync():
                    for one in pending.pop(operation.path, []):
                        _apply(files[operation.path], one)
                case Delete():
                    pending.pop(operation.path, None)
                    files.pop(operation.path, None)
        keep = random.choice((0.0, 0.5, 0.9, 1.0))  # from nothing more than was synced to nearly everything
        for path, waiting in pending.items():
            for one in waiting:
                if random.random() < keep:
                    _apply(files[path], _torn(one, random) if random.random() < 0.3 else one)
        for path, data in files.items():
            copy = target / Path(path).relative_to(self.root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(bytes(data))


def _apply(data: bytearray, operation: Write | Truncate) -> None:
    if isinstance(operation, Truncate):
        del data[operation.size :]
        data.extend(bytes(operation.size - len(data)))
        return
    end = operation.offset + len(operation.data)
    if end > len(data):
        data.extend(bytes(end - len(data)))
    data[operation.offset : end] = operation.data


def _torn(operation: Write | Truncate, random: Random) -> Write | Truncate:
    if isinstance(operation, Truncate) or len(operation.data) <= SECTOR:
        return operation
    whole = random.randrange(len(operation.data) // SECTOR + 1) * SECTOR
    return Write(operation.path, operation.offset, operation.data[:whole])


class CrashVfs(apsw.VFS):
    """Register one a test under a name of its own; `close` takes it away again."""

    def __init__(self, name: str, journal: Journal) -> None:
        self.journal = journal
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  SQLite's name
        """Every file goes through a recording one."""
        return _File(name, flags, self.journal)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802  SQLite's name
        """Remember removals."""
        self.journal.operations.append(Delete(filename))
        super().xDelete(filename, syncdir)


class _File(apsw.VFSFile):
    def __init__(self, name: Any, flags: list[int], journal: Journal) -> None:
        self._journal = journal
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else str(name or "")
        super().__init__("", name, flags)

    def _check(self, call: str) -> None:
        error = self._journal.fail(call, self._path)
        if error is not None:
            raise error

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  SQLite's name
        self._check("write")
        self._journal.operations.append(Write(self._path, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802  SQLite's name
        self._check("truncate")
        self._journal.operations.append(Truncate(self._path, newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802  SQLite's name
        self._check("sync")
        super().xSync(flags)
        self._journal.operations.append(Sync(self._path))
