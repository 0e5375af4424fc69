"""The shared test vectors: read where they are, never copied. Tests that need them skip with a reason when they are absent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "vectors"


def load(name: str) -> list[dict[str, Any]]:
    """Entries of one vector file, e.g. `consent/tcf`; skips the calling test when the file is not there."""
    path = FOLDER / (name if name.endswith(".json") else f"{name}.json")
    if not path.is_file():
        pytest.skip(f"test vectors {name} are not beside this checkout")
    entries: list[dict[str, Any]] = json.loads(path.read_text())
    return entries
