"""The policies in force, and how a new revision takes their place: all of it is good, or nothing changes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from ebbgate.errors import PolicyError, Problem
from ebbgate.policy.load import digest_of, load_texts, read_files
from ebbgate.policy.plan import DestinationFacts, PolicySet


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What one look at the files came to."""

    activated: bool  #: a good revision that differs is in force now
    broken: bool  #: there is a new revision and it is wrong: the old one stays. Said once for each such revision
    problems: tuple[Problem, ...] = ()


class PolicyHolder:
    """Holds the `PolicySet` in force. Readers take `current` once for each event; `reload` swaps one reference."""

    def __init__(self, path: Path, facts: Mapping[str, DestinationFacts], *, configured: Collection[str] | None = None) -> None:
        """Loads the first revision. Raises PolicyError when it is wrong: there is no older one to keep."""
        self.problems: tuple[Problem, ...] = ()  #: of the newest revision; empty when that is the one in force
        self._path = path
        self._facts = facts
        self._configured = configured
        files = read_files(path)
        self._seen = _revision(files)
        self.current: PolicySet = self._load(files)
        self.texts = _texts(files)  #: file name → bytes of what is in force, to be kept with its digest

    def reload(self) -> Reloaded:
        """Looks at the bytes of the files: nothing new, a new revision in force, or a broken one that is not.

        Never raises; may be called from a thread of its own, by one caller at a time.
        """
        try:
            files = read_files(self._path)
            seen = _revision(files)
            if seen == self._seen:
                return Reloaded(activated=False, broken=False)
            self._seen = seen
            fresh = self._load(files)
        except PolicyError as error:
            return self._refused(error)
        self.problems = ()
        activated = fresh.digest != self.current.digest
        self.current = fresh
        self.texts = _texts(files)
        return Reloaded(activated=activated, broken=False)

    def _refused(self, error: PolicyError) -> Reloaded:
        news = error.problems != self.problems
        self.problems = error.problems
        if all(p.code == "P009" for p in error.problems):
            # The files could not be read: whatever is there next time is looked at afresh.
            self._seen = ""
        return Reloaded(activated=False, broken=news, problems=error.problems)

    def _load(self, files: Mapping[str, bytes]) -> PolicySet:
        return load_texts(files, self._facts, configured=self._configured, whole=self._path.is_dir())


def _texts(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {Path(name).name: raw for name, raw in files.items()}


def _revision(files: Mapping[str, bytes]) -> str:
    """SHA-256 hex over names and bytes."""
    return digest_of({name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()})
