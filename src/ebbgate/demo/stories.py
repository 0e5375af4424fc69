"""Keeps the stories of the demo's events: for the terminal and for the shop's page. Names of fields only, never values."""

from __future__ import annotations

import shutil
import sys
from collections import deque
from typing import Any

from ebbgate.pipeline import Decided, Status
from ebbgate.policy.explain import as_text, story

MOST = 200
INDENT = "   "


def _columns() -> int:
    """Room for a story on the terminal; 0 where its lines do not go to one."""
    return shutil.get_terminal_size().columns - len(INDENT) if sys.stdout.isatty() else 0


class Stories:
    """The newest stories, numbered from 1."""

    def __init__(self) -> None:
        self._kept: deque[tuple[int, str, list[str]]] = deque(maxlen=MOST)
        self._number = 0

    def decided(self, decided: Decided, status: Status) -> None:
        """Called by the pipeline once an event is on disk, or was found to be a duplicate."""
        self._number += 1
        if status is Status.DUPLICATE:
            lines = [f"event {decided.event.id}  {decided.event.name}", " ○ duplicate  it was here before: nothing is sent again"]
        else:
            told = story(decided.event, decided.place, decided.consent, decided.policy, decided.decisions)
            lines = as_text(told, columns=_columns()).splitlines()
        self._kept.append((self._number, f"{decided.event.name}  {decided.event.id}", lines))

    def last(self) -> str:
        """The newest story, indented for the terminal."""
        return "\n".join(f"{INDENT}{line}" for line in self._kept[-1][2]) if self._kept else ""

    def after(self, number: int) -> list[dict[str, Any]]:
        """Stories newer than `number`, oldest first."""
        return [{"number": n, "title": title, "lines": lines[1:]} for n, title, lines in self._kept if n > number]
