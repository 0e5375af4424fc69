"""The sender of destinations that are directories: a PUT to a `file:` address becomes a whole file or none.

The file is written beside its place, synced and renamed, and so is its directory: a reader never sees half a file, and what is
recorded as delivered survives a power cut. Writing happens on a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from ebbgate.deliver.classify import Failed, Failure
from ebbgate.deliver.client import Fresh
from ebbgate.destinations.kit import HttpRequest, HttpResponse

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class FileSender:
    """Writes below one directory and nowhere else."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def send(self, request: HttpRequest, fresh: Fresh) -> HttpResponse | Failed:
        """201 when the file stands, 507 when there is no room; a Failed when nothing was written."""
        parts = urlsplit(request.url)
        place = Path(unquote(parts.path))
        if request.method != "PUT" or parts.scheme != "file" or parts.netloc or not self._inside(place):
            return Failed(Failure.REFUSED, "address_refused")
        if not fresh():
            return Failed(Failure.STALE, "gate_stale")
        try:
            await asyncio.to_thread(_write, place, request.body)
        except OSError as error:
            if error.errno in _FULL:
                return HttpResponse(507, {}, b"")
            return Failed(Failure.NOT_SENT, "file_failed")
        return HttpResponse(201, {}, b"")

    async def aclose(self) -> None:
        """Nothing stays open."""

    def _inside(self, place: Path) -> bool:
        """True for a path below the directory, once links are followed."""
        return ".." not in place.parts and place.is_relative_to(self._root) and place.resolve().is_relative_to(self._root.resolve())


def _write(place: Path, content: bytes) -> None:
    folder = place.parent
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{place.name}.{secrets.token_hex(4)}"
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(place)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    entry = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(entry)
    finally:
        os.close(entry)
