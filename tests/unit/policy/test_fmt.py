from __future__ import annotations

from ebbgate.policy.fmt import formatted
from tests.unit.policy.making import POLICIES


def test_blanks_only() -> None:
    """Line ends, trailing blanks, blanks after colons, runs of empty lines; comments stay where they are."""
    before = "\n\npolicy:   x  \r\nowner: y   # who\n\n\n\nlist:\n  - a:  1\n  - 'b:  2'\n\n"
    after = "policy: x\nowner: y   # who\n\nlist:\n  - a: 1\n  - 'b:  2'\n"
    assert formatted(before) == after
    assert formatted(after) == after


def test_our_files_are_formatted() -> None:
    """The policies and tests of this repository are laid out as `fmt` does it."""
    for path in POLICIES.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert formatted(text) == text, path.name


def test_meaning_is_never_changed() -> None:
    """Text in which blanks mean something, or that is no YAML, comes back as it was."""
    for text in ("a: |\n  x  \n\n\n  y\n", "a: [\n", "a: 'x  \n\n\n  y'\n", ""):
        assert formatted(text) == text
