from __future__ import annotations

from pathlib import Path

import pytest

from ebbgate.errors import PolicyError
from ebbgate.policy.holder import PolicyHolder, Reloaded
from tests.unit.policy.making import CONSENT, FACTS, HEAD

GOOD = (
    f"{HEAD}{CONSENT}destinations: {{ga4: {{needs: [analytics], send: [event]}}, meta: {{needs: [advertising], send: [event]}}}}\n"
)
NOTHING = Reloaded(activated=False, broken=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one good policy."""
    (tmp_path / "a.yaml").write_text(GOOD)
    return tmp_path


def test_the_first_revision_must_be_good(tmp_path: Path) -> None:
    """Without a good revision there is no holder: nothing is in force by accident."""
    (tmp_path / "a.yaml").write_text("policy: x\n")
    with pytest.raises(PolicyError):
        PolicyHolder(tmp_path, FACTS)


def test_nothing_new(folder: Path) -> None:
    """Unchanged bytes change nothing, whatever the file's dates say."""
    holder = PolicyHolder(folder, FACTS)
    before = holder.current
    (folder / "a.yaml").write_text(GOOD)
    assert holder.reload() == NOTHING
    assert holder.current is before


def test_a_good_revision_takes_over(folder: Path) -> None:
    """New bytes that load are in force at once, as one new set."""
    holder = PolicyHolder(folder, FACTS)
    before = holder.current
    (folder / "a.yaml").write_text(GOOD.replace("{needs: [analytics]", "{enabled: false, needs: [analytics]"))
    assert holder.reload() == Reloaded(activated=True, broken=False)
    assert holder.current.digest != before.digest
    assert not holder.current.policies[0].destinations["ga4"].enabled
    assert before.policies[0].destinations["ga4"].enabled


def test_a_broken_revision_never_replaces_a_good_one(folder: Path) -> None:
    """The old set stays; the problems are said once and remembered until they are mended."""
    holder = PolicyHolder(folder, FACTS)
    before = holder.current
    (folder / "a.yaml").write_text(GOOD.replace("needs", "neds"))
    found = holder.reload()
    assert (found.activated, found.broken) == (False, True)
    assert holder.problems == found.problems != ()
    assert holder.current is before
    assert holder.reload() == NOTHING
    assert holder.problems
    (folder / "a.yaml").write_text(GOOD + "# mended\n")
    assert holder.reload() == Reloaded(activated=True, broken=False)
    assert holder.problems == ()


def test_going_back_to_the_revision_in_force(folder: Path) -> None:
    """A broken edit that is taken back is no news, and nothing is broken any more."""
    holder = PolicyHolder(folder, FACTS)
    (folder / "a.yaml").write_text("")
    assert holder.reload().broken
    (folder / "a.yaml").write_text(GOOD)
    assert holder.reload() == NOTHING
    assert holder.problems == ()


def test_one_wrong_file_of_two(folder: Path) -> None:
    """A good change beside a wrong file is not taken: revisions are whole."""
    holder = PolicyHolder(folder, FACTS)
    before = holder.current
    (folder / "a.yaml").write_text(GOOD + "# x\n")
    (folder / "b.yaml").write_text("policy: y\n")
    assert holder.reload().broken
    assert holder.current is before


def test_policies_that_vanish(folder: Path) -> None:
    """An empty or missing folder keeps the old set, is told once, and is looked at again."""
    holder = PolicyHolder(folder, FACTS)
    before = holder.current
    (folder / "a.yaml").rename(folder / "a.txt")
    assert holder.reload().broken
    assert not holder.reload().broken
    assert holder.current is before
    (folder / "a.txt").rename(folder / "a.yaml")
    assert holder.reload() == NOTHING
    assert holder.problems == ()
