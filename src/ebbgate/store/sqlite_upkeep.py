"""What keeps the files small and quick, beside the writer: seal, index, checkpoint, prune, delete what was shredded.

Long work runs on a helper thread with connections of its own and takes no lock that the writer waits for; the writer only
finishes a checkpoint's tail. With a test VFS there is one connection a file, so the same steps run on the writer.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import apsw

from ebbgate.store.sqlite_connect import BUSY_MS, PAGE_SIZE, fetch, first, immediate, many, private, sync_directory
from ebbgate.store.sqlite_connect import writer as connect
from ebbgate.store.sqlite_delivery import SQL as DELIVERY
from ebbgate.store.sqlite_delivery import Delivery, Done, Parked
from ebbgate.store.sqlite_segments import SQL as SEGMENT
from ebbgate.store.sqlite_segments import Segment, archive_path, bits, build_index, position, segment_path
from ebbgate.store.sqlite_writer import Job, State, Upkeep, Writer, as_broken
from ebbgate.store.statements import statements

ARCHIVE: Final = statements("archive")
_ROUNDS: Final = 5  #: passive checkpoints in a row while the writer goes on
_AGAIN_S: Final = 0.05
_TAIL_FRAMES: Final = 256  #: frames that the writer may copy itself: 2 MiB


class SqliteUpkeep(Upkeep):
    """Called by the writer after each round, on the writer's thread."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._failpoint = state.options.failpoint
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._inline = bool(state.options.vfs)
        self._thread = threading.Thread(target=self._run, name="ebbgate-upkeep", daemon=True)
        self._writer: Writer | None = None
        self._frames: dict[str, int] = {}
        self._checkpointing: set[str] = set()
        self._uncut: set[int] = set()  #: segments whose WAL may still hold bytes of shredded rows
        self._pruning = False

    def start(self, writer: Writer) -> None:
        """Begin; `writer` takes the small changes that follow long work."""
        self._writer = writer
        self.watch(self._state.delivery.db, "delivery")
        self.watch(self._state.active.db, "active")
        if not self._inline:
            self._thread.start()

    def stop(self) -> None:
        """Finish the work at hand and end. Call before the writer stops."""
        if self._thread.is_alive():
            self._work.put(None)
            self._thread.join()

    def watch(self, db: apsw.Connection, name: str) -> None:
        """Count the frames of a file's WAL after each commit."""

        def hook(_: apsw.Connection, __: str, frames: int) -> int:
            self._frames[name] = frames
            return apsw.SQLITE_OK

        self._frames[name] = 0
        db.set_wal_hook(hook)

    def after_commit(self, writer: Writer) -> None:
        """Seal by size or age, begin a checkpoint when a WAL is long, prune what is passed."""
        state, options = self._state, self._state.options
        active = state.active
        if active.count and (
            active.count >= options.segment_events
            or active.size >= options.segment_bytes
            or options.clock_ms() - active.created_ms >= options.segment_ms
        ):
            self._seal()
        for name, frames in list(self._frames.items()):
            if frames * PAGE_SIZE >= options.wal_bytes and name not in self._checkpointing:
                self._begin_checkpoint(name)
        if not self._pruning:
            self._begin_prune()
        for number in tuple(self._uncut):
            self._cut_segment(number)

    def _seal(self) -> None:
        state = self._state
        old = state.active
        self._failpoint("seal.begin")
        old.put_meta("sealed", state.options.clock_ms())
        self._failpoint("seal.marked")
        options = state.options
        new = Segment.open(
            state.directory / "segments",
            old.number + 1,
            now_ms=options.clock_ms(),
            base=state.numbers.last,
            synchronous=options.synchronous,
            vfs=options.vfs,
        )
        self._failpoint("seal.created")
        state.window.seal(old.number, old.last_at)
        state.active = new
        old.db.set_wal_hook(None)
        self.watch(new.db, "active")
        self._checkpointing.discard("active")
        old.db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # the helper folds the WAL in, not the writer
        old.db.close()
        self.finish_sealed(old.number)

    def finish_sealed(self, number: int) -> None:
        """Index a sealed segment, fold its WAL in, and note it in the delivery database. Also after a crash between."""
        self._do(lambda: self._index(number))

    def _index(self, number: int) -> None:
        state = self._state
        path = segment_path(state.directory / "segments", number)
        db = connect(path, synchronous=state.options.synchronous, vfs=state.options.vfs)
        try:
            keys, conversions = build_index(db)
            self._failpoint("seal.indexed")
            last_id, last_at, *_ = first(db, SEGMENT["last"])
            state.window.prepare(keys, conversions, last_at or 0)
            first_nseq, last_nseq = first(db, SEGMENT["span"])
            counts: dict[int, int] = defaultdict(int)
            for mask, count, _ in fetch(db, SEGMENT["counts"], (0,)):
                for bit in bits(mask):
                    counts[bit] += count
            with suppress(apsw.BusyError):  # a reader is in the way: closing folds it in later
                db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self._failpoint("seal.checkpointed")
        finally:
            db.close()
        row = (number, last_id, first_nseq, last_nseq, last_at or 0, json.dumps({str(b): n for b, n in counts.items()}))

        def apply() -> None:
            state.window.replace(number, keys, conversions)
            state.sealed.append((number, last_id))

        def change(delivery: Delivery) -> Done:
            fetch(delivery.db, DELIVERY["put_segment"], row)
            return Done(None, apply)

        self._submit(change)
        self._failpoint("seal.recorded")

    def _begin_checkpoint(self, name: str) -> None:
        self._checkpointing.add(name)
        state = self._state
        if self._inline:
            self._finish_checkpoint(name)
            return
        path = state.active.path if name == "active" else state.directory / "ebbgate.db"
        self._do(lambda: self._checkpoint(name, path))

    def _checkpoint(self, name: str, path: Path) -> None:
        self._failpoint("checkpoint.begin")
        db = connect(path, synchronous=self._state.options.synchronous)
        try:
            for _ in range(_ROUNDS):
                total, copied = db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                if total - copied <= _TAIL_FRAMES:
                    break
        finally:
            db.close()
        self._failpoint("checkpoint.copied")

        def change(_: Delivery) -> Done:
            return Done(None, lambda: self._finish_checkpoint(name))

        self._submit(change)

    def _finish_checkpoint(self, name: str) -> None:
        """On the writer: copy the tail, so that the WAL starts again from its beginning."""
        db = self._state.active.db if name == "active" else self._state.delivery.db
        with suppress(apsw.BusyError):  # a reader is in the way: the next round tries again
            db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        self._frames[name] = 0
        self._checkpointing.discard(name)
        self._failpoint("checkpoint.finished")

    def _begin_prune(self) -> None:
        """Archive the oldest sealed segment once every cursor is past it and nothing in it is held."""
        state = self._state
        if self._inline or not state.sealed:
            return
        number, last_id = state.sealed[0]
        end = position(number, last_id)
        if any(p.cursor < end for p in state.delivery.progress.values()):
            return
        if any(one.segment == number for one in state.parked.all()):
            return
        self._pruning = True
        self._do(lambda: self._prune(number))

    def _prune(self, number: int) -> None:
        """Copy log and keys, record, unlink: each step can be repeated after a crash."""
        state = self._state
        directory = state.directory / "segments"
        archive(directory, number, self._failpoint)

        def change(delivery: Delivery) -> Done:
            fetch(delivery.db, DELIVERY["prune_segment"], (number,))
            gone = state.window.expired_before(state.options.clock_ms())
            if gone:
                fetch(delivery.db, DELIVERY["delete_attempts"], (position(gone + 1, 0),))
            return Done(None, lambda: self._unlink(number))

        self._submit(change)

    def _unlink(self, number: int) -> None:
        state = self._state
        state.sealed[:] = [s for s in state.sealed if s[0] != number]
        self._failpoint("prune.recorded")

        def work() -> None:
            unlink_segment(state.directory / "segments", number)
            self._failpoint("prune.unlinked")
            self._pruning = False

        self._do(work)

    def delete_held(self, parked: Iterable[Parked]) -> None:
        """On the writer: overwrite the payloads of released or shredded rows and cut the WAL, so that the bytes are gone."""
        state = self._state
        by_segment: dict[int, list[int]] = defaultdict(list)
        for one in parked:
            by_segment[one.segment].append(one.row)
            state.parked.remove(one)
        for number, rows in by_segment.items():
            with self.segment(number) as db, immediate(db):
                many(db, SEGMENT["delete_held"], [(row,) for row in rows])
            self._failpoint("held.deleted")
            self._cut_segment(number)

    def _cut_segment(self, number: int) -> None:
        """On the writer: cut a segment's WAL. While a reader is in the way, after the next round again: nobody waits for it."""
        self._uncut.add(number)
        if segment_path(self._state.directory / "segments", number).exists():  # else it is pruned, and its WAL with it
            with self.segment(number) as db:
                db.set_busy_timeout(0)
                try:
                    db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
                except apsw.BusyError:
                    return
                finally:
                    db.set_busy_timeout(BUSY_MS)
        self._uncut.discard(number)

    def cut(self) -> None:
        """On the writer: fold the delivery database's WAL in and cut it, so that deleted bytes are gone."""
        self._failpoint("drop.committed")
        with suppress(apsw.BusyError):
            self._state.delivery.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def segment(self, number: int) -> _Borrowed:
        """A writing connection to a segment for a `with` block: the active one's own, or a short one."""
        state = self._state
        if number == state.active.number:
            return _Borrowed(state.active.db, close=False)
        path = segment_path(state.directory / "segments", number)
        return _Borrowed(connect(path, synchronous=state.options.synchronous, vfs=state.options.vfs), close=True)

    def _submit(self, change: Callable[[Delivery], Done]) -> None:
        assert self._writer is not None
        self._writer.submit([Job(lambda value, error: None, change=change)])

    def _do(self, work: Callable[[], None]) -> None:
        if self._inline:
            work()
        else:
            self._work.put(work)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            assert self._writer is not None
            try:
                work()
            except apsw.BusyError:
                time.sleep(_AGAIN_S)  # the command line is writing: the same work again
                self._work.put(work)
            except apsw.FullError:
                self._checkpointing.clear()  # no room for now: the next round tries again
                self._pruning = False
            except Exception as error:  # noqa: BLE001  nothing that goes wrong here may go on unseen: the store ends
                self._writer.fail(as_broken(error))


class _Borrowed:
    """A connection that a `with` block closes only when it opened it."""

    def __init__(self, db: apsw.Connection, *, close: bool) -> None:
        self._db = db
        self._close = close

    def __enter__(self) -> apsw.Connection:
        return self._db

    def __exit__(self, *_: object) -> None:
        if self._close:
            self._db.close()


def archive(directory: Path, number: int, failpoint: Callable[[str], None] = lambda name: None) -> None:
    """Write `log-N.db` beside a sealed segment: whole or not at all."""
    target = archive_path(directory, number)
    draft = target.with_suffix(".tmp")
    draft.unlink(missing_ok=True)
    private(draft)
    db = apsw.Connection(str(draft))
    try:
        db.pragma("page_size", PAGE_SIZE)
        db.pragma("journal_mode", "OFF")  # a draft is thrown away when it is not finished
        db.pragma("synchronous", "OFF")
        fetch(db, ARCHIVE["schema"])
        fetch(db, ARCHIVE["attach"], (str(segment_path(directory, number)),))
        with db:
            for step in ("copy_events", "copy_openings", "copy_forms", "copy_meta", "index_events"):
                fetch(db, ARCHIVE[step])
        fetch(db, ARCHIVE["detach"])
    finally:
        db.close()
    handle = os.open(draft, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    failpoint("prune.copied")
    draft.rename(target)
    sync_directory(directory)
    failpoint("prune.archived")


def unlink_segment(directory: Path, number: int) -> None:
    """Remove a pruned segment's files."""
    path = segment_path(directory, number)
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        (directory / name).unlink(missing_ok=True)
    sync_directory(directory)
