from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.reference import FOLDER, PAGES, ROOT


@pytest.mark.parametrize("name", sorted(PAGES))
def test_generated_pages_are_current(name: str) -> None:
    """What is not documented is red: each generated page says what the code's tables say (`make docs`)."""
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name]()


def test_every_setting_is_described() -> None:
    """No key of ebbgate.toml stands in the reference without a word about it."""
    rows = [line.split(" | ") for line in PAGES["settings.md"]().splitlines() if line.startswith("| `")]
    assert len(rows) > 35
    assert [row[0] for row in rows if len(row[-1].strip(" |")) < 10] == []


def test_guides_say_whom_they_are_for() -> None:
    """Every guide tells its reader in the first lines whether it is theirs."""
    guides = sorted((ROOT / "docs" / "guides").glob("*.md"))
    assert len(guides) > 8
    untold = [g.name for g in guides if not re.match(r"# .*\n\nFor [a-z]", g.read_text(encoding="utf-8"))]
    assert untold == []


def test_links_in_the_docs_lead_somewhere() -> None:
    """Every relative link of README and docs names a file that is there."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_the_readme_names_only_commands_that_exist() -> None:
    """Each `ebbgate …` verb of the README answers to --help."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    verbs = sorted(
        {tuple(m.split()) for m in re.findall(r"`?ebbgate ([a-z]+(?: (?:decode|why|render|hash|show|search|retry|drop))?)", text)}
    )
    assert len(verbs) > 10
    for verb in verbs:
        done = subprocess.run([sys.executable, "-m", "ebbgate", *verb, "--help"], capture_output=True, check=False)
        assert done.returncode == 0, verb


def test_the_readmes_policy_loads() -> None:
    """The policy file shown in the README is one that loads, up to the owner and reason left out for brevity."""
    from ebbgate.app import facts_of
    from ebbgate.destinations.registry import DESTINATIONS
    from ebbgate.policy.load import load_texts

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    policy = re.search(r"```yaml\n(policy:.*?)```", text, re.DOTALL)
    assert policy is not None
    whole = policy[1].replace("applies_to:", "owner: privacy@shop.example\nreason: example\napplies_to:", 1)
    found = load_texts({"readme.yaml": whole.encode()}, facts_of(DESTINATIONS))
    assert set(found.policies[0].destinations) == {"meta"}
