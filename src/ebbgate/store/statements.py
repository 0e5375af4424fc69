"""Reads the `.sql` files: each statement stands under a line `-- name: …` and is found by that name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

_MARK: Final = "-- name: "


@cache
def statements(name: str) -> Mapping[str, str]:
    """Statements of `sql/<name>.sql` by name. A missing one is a KeyError at the first use in any test."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in files("ebbgate.store").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8").splitlines():
        if line.startswith(_MARK):
            lines = found.setdefault(line.removeprefix(_MARK).strip(), [])
        else:
            lines.append(line)
    return MappingProxyType({key: "\n".join(text).strip() for key, text in found.items()})
