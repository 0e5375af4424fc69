"""The page about destinations of third parties, done as a reader does it: two files, `pip install`, the command line of a new process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.optional import extra

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs" / "guides" / "add-a-destination.md").read_text(encoding="utf-8")
POLICY = """\
policy: Visitors everywhere
owner: privacy@shop.example
reason: tests
applies_to: {everywhere_else: true, when_country_unknown: apply}
consent:
  model: opt_in
  read_from: [event]
  if_missing: refused
  if_sources_disagree: most_protective
  purposes:
    analytics: {categories: [analytics]}
destinations:
  tally:
    needs: [analytics]
    events: [purchase]
    send: [event, order.value, user.email]
keep_evidence_for: 24 months
"""
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def _block(language: str) -> str:
    """The page's one block of code in a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs `ebbgate …` in a new process that knows nothing of this one and has the example installed."""
    extra("hatchling", "dev")
    folder, site = tmp_path_factory.mktemp("tally"), tmp_path_factory.mktemp("site")
    (folder / "tally.py").write_text(_block("python"), encoding="utf-8")
    (folder / "pyproject.toml").write_text(_block("toml"), encoding="utf-8")
    clean = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "SYSTEMROOT") if key in os.environ}
    offline = ("--no-index", "--no-build-isolation", "--no-deps", "--disable-pip-version-check", "--quiet")
    pip = [sys.executable, "-m", "pip", "install", *offline, "--target", str(site), "."]
    subprocess.run(pip, cwd=folder, env=clean, check=True, capture_output=True, timeout=120)

    def ebbgate(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ebbgate", *arguments]
        env = {**clean, "PYTHONPATH": str(site)}
        return subprocess.run(
            command, cwd=folder, env=env, input=given, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False
        )

    return ebbgate


def test_the_command_of_the_page_prints_what_the_page_shows(run: Run) -> None:
    """The event, the command and the request stand on the page; a new process makes the one of the others."""
    found = re.search(r"\$ echo '(.*?)' \\\n\s+\| ebbgate (.*?)\n", _block("console"))
    assert found
    answered = run(*found[2].split(), given=found[1])
    assert (answered.returncode, answered.stderr) == (0, "")
    assert json.loads(answered.stdout) == json.loads(_block("json"))


def test_a_policy_that_leaves_in_clear_what_it_wants_hashed_does_not_load(run: Run, tmp_path: Path) -> None:
    """The promise of the page about `demands_hash`, by `ebbgate check`: refused in clear, good once it is hashed."""
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "all.yaml").write_text(POLICY, encoding="utf-8")
    answered = run("check", str(policies))
    assert answered.returncode == 1, answered.stdout + answered.stderr
    assert "'user.email' would reach tally in clear" in answered.stdout + answered.stderr
    (policies / "all.yaml").write_text(POLICY.replace("user.email]", "user.email]\n    hash: [user.email]"), encoding="utf-8")
    answered = run("check", str(policies))
    assert answered.returncode == 0, answered.stdout + answered.stderr
