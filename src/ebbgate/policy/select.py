"""Selectors: how the words of `send`, `remove` and their like stand for field paths (`fields.py` holds the table).

A selector is a group (`order`), a field (`order.value`), or a name that the site added itself (`properties.color`, with
everything below it). `properties` alone is all of a site's own names and is never part of another selector.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ebbgate.fields import FIELDS, GROUPS, OPEN_GROUPS, known


@dataclass(frozen=True, slots=True)
class Selection:
    """Field paths, and prefixes (ending in a dot) of the open groups."""

    paths: frozenset[str]
    below: tuple[str, ...]

    def covers(self, path: str) -> bool:
        """True when the selection stands for this path."""
        return path in self.paths or path.startswith(self.below) if self.below else path in self.paths


def expand(selectors: Iterable[str]) -> Selection:
    """What the selectors stand for; unknown ones stand for nothing."""
    paths: set[str] = set()
    below: list[str] = []
    for selector in selectors:
        if selector in OPEN_GROUPS:
            below.append(f"{selector}.")
        elif selector in GROUPS:
            paths.update(GROUPS[selector])
        elif selector in FIELDS:
            paths.add(selector)
        elif known(selector):
            paths.add(selector)
            below.append(f"{selector}.")
    return Selection(frozenset(paths), tuple(dict.fromkeys(below)))


def is_known(selector: str) -> bool:
    """True for a group, a field, or a name below an open group."""
    return selector in GROUPS or selector in OPEN_GROUPS or known(selector)


def all_selectors() -> tuple[str, ...]:
    """Every group and field, for suggestions."""
    return (*GROUPS, *OPEN_GROUPS, *FIELDS)
