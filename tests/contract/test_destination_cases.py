"""Golden cases: an event in, the request out, for every destination. `cases/<destination>/*.json`, all of our own making.

After a wanted change, `EBBGATE_WRITE_CASES=1 pytest tests/contract/test_destination_cases.py` writes what comes out: read the
difference.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import pytest

from ebbgate.cli.destination import render_line
from ebbgate.destinations.registry import BUILT_IN, load

CASES: Final = Path(__file__).parent / "cases"
FILES: Final = sorted(CASES.glob("*/*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_an_event_becomes_the_request_that_was_agreed(path: Path) -> None:
    """The rendered requests of a case, or the reason why it is skipped, are exactly the recorded ones."""
    case = json.loads(path.read_text())
    answer = render_line(load(path.parent.name), case)
    if os.environ.get("EBBGATE_WRITE_CASES"):
        path.write_text(json.dumps({**case, "expect": answer}, ensure_ascii=False, indent=1) + "\n")
    assert answer == case["expect"]


def test_every_destination_has_cases() -> None:
    """A destination without golden cases cannot be added."""
    assert {d.name for d in BUILT_IN} <= {path.parent.name for path in FILES}


def test_no_case_shows_a_secret() -> None:
    """What `render` prints holds `***` where a secret stands, in address, headers and body."""
    for path in FILES:
        case = json.loads(path.read_text())
        assert "s3cret" not in json.dumps(case["expect"]), path
