"""Keeps on record which policies were in force and what kinds of events came: `records.db`, beside the hot path.

An event costs one look into a dictionary (`policy/shapes.py`); counts are written every few seconds on a thread. When the file
cannot be written, the gateway goes on and says so: no promise to a visitor rests on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from ebbgate import log
from ebbgate.errors import StoreError
from ebbgate.policy.shapes import Observations, Taken, summed
from ebbgate.store.open import sqlite_path
from ebbgate.store.sqlite_records import Records

EVERY_S: Final = 5.0
WHO: Final = "file"  #: a revision comes into force by its files


class Recorder:
    """Belongs to one event loop, from `open` to `close`."""

    def __init__(self, url: str, *, clock_ms: Callable[[], int]) -> None:
        """`url` is the store's address; of a store in memory nothing is kept."""
        self._directory = None if url == "memory:" else sqlite_path(url).parent
        self._clock_ms = clock_ms
        self._seen = Observations()
        self.kind = self._seen.kind  #: where an event counts once it is on disk
        self._records: Records | None = None
        self._unkept: dict[str, tuple[Mapping[str, bytes], int]] = {}  # digest → texts and time, until they are written

    async def open(self) -> None:
        """Open the file. Raises StoreError when it is damaged or of another version."""
        self._records = await asyncio.to_thread(Records.open, self._directory)

    async def close(self) -> None:
        """Write what was counted, and close."""
        await self.write()
        if self._records is not None:
            self._records.close()
            self._records = None

    async def activated(self, digest: str, texts: Mapping[str, bytes]) -> None:
        """A revision came into force: its texts are kept; tried again until they are."""
        self._unkept[digest] = (texts, self._clock_ms())
        await self.write()

    async def write(self) -> None:
        """Write what is not written yet. Never raises for a disk: what could not be kept is tried again, counts are lost."""
        records, taken = self._records, self._seen.take()
        if records is None:
            return
        try:
            await asyncio.to_thread(self._write, records, taken, dict(self._unkept))
        except StoreError as error:
            log.get().error("records.not_written", code=error.code)

    def _write(self, records: Records, taken: Taken, unkept: Mapping[str, tuple[Mapping[str, bytes], int]]) -> None:
        for digest, (texts, at_ms) in unkept.items():
            records.keep(digest, texts, who=WHO, at_ms=at_ms)
            self._unkept.pop(digest, None)
        now_ms = self._clock_ms()
        fields, traffic = summed(taken, now_ms)
        if fields:
            records.add(
                [(f.site, f.path, f.count, f.destinations) for f in fields],
                [
                    (
                        t.hour, t.site, t.situation.event, t.situation.place.country or "", t.situation.place.region or "",
                        dict(t.situation.states), t.situation.paths, t.situation.count,
                    )
                    for t in traffic
                ],
                now_ms=now_ms,
            )  # fmt: skip

    async def run(self) -> None:
        """Write again and again, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.write()
