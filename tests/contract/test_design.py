"""The contract's own examples (DESIGN.md §4, §5), word for word: its policy, the tests of it, and its event."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ebbgate.cli.main import app

DESIGN = Path(__file__).resolve().parents[2].parent / "shared" / "DESIGN.md"


def block(language: str, beginning: str) -> str:
    """The fenced block of the page that begins like this."""
    if not DESIGN.exists():
        pytest.skip(f"{DESIGN.name} is not beside this checkout")
    fence, _, rest = DESIGN.read_text(encoding="utf-8").partition(f"```{language}\n{beginning}")
    assert rest, f"no such block after {len(fence)} characters"
    return beginning + rest.partition("```")[0]


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """A folder with the example policy, and the example tests beside it."""
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "eu.yaml").write_text(block("yaml", "# yaml-language-server"), encoding="utf-8")
    (folder / "eu_test.yaml").write_text(block("yaml", "suite: EU visitors"), encoding="utf-8")
    return folder


def test_the_example_policy_loads_and_passes_its_tests(policies: Path) -> None:
    """`check` finds warnings at most, and `test` passes: a refusal in Germany is no sending with an American flag."""
    for command in ("check", "test"):
        done = CliRunner().invoke(app, [command, str(policies)])
        assert done.exit_code == 0, done.output


def test_the_example_event_is_explained_under_the_example_policy(policies: Path, tmp_path: Path) -> None:
    """`explain --format json` in the shape of §5.3, one answer a destination of the policy, also for one that is not installed."""
    event = tmp_path / "event.json"
    event.write_text(block("json", '{"event": "purchase", "id": "A-1009"'), encoding="utf-8")
    done = CliRunner().invoke(
        app,
        ["explain", str(event), "--policy", str(policies), "--country", "DE", "--format", "json", "--now", "2026-11-21T23:00:00Z"],
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told.keys() >= {"event_id", "policy", "place", "consent", "destinations"}
    assert (told["event_id"], Path(told["policy"]["file"]).name) == ("A-1009", "eu.yaml")
    assert told["consent"]["purposes"].keys() == {"analytics", "advertising"}
    assert all(one.keys() >= {"state", "source", "rule"} for one in told["consent"]["purposes"].values())
    destinations = told["destinations"]
    assert destinations.keys() == {"ga4", "meta", "fraud_screen"}
    assert all(one.keys() >= {"outcome", "reason", "rule", "fields", "removed", "hashed"} for one in destinations.values())
    # Its consent strings are placeholders, which nobody can read: nothing leaves but what needs no consent.
    outcomes = {name: one["outcome"] for name, one in destinations.items()}
    assert outcomes == {"ga4": "not_sent", "meta": "not_sent", "fraud_screen": "sent"}
