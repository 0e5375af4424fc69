from __future__ import annotations

import json
from pathlib import Path

import pytest

from ebbgate.errors import ConfigError, Problem
from ebbgate.model import Reason
from ebbgate.policy import report
from ebbgate.policy.fix import fixed
from ebbgate.policy.load import examine
from ebbgate.policy.pages import TEXTS, page
from ebbgate.policy.words import CODES, WHY, hint_for, reason_text
from tests.unit.policy.making import CONSENT, FACTS, HEAD, ROOT

WRONG = f"""{HEAD}{CONSENT}destinations:
  ga4:
    nedes: [analytics]   # kept as it is
    send: [event, "user.emial", oder]
  meta: {{needs: [advertising], send: [event]}}
"""
PROBLEM = Problem("a,b:c.yaml", 3, 5, "P002", "unknown word '50%'", "did you\nmean x?", "  a: b", 2)


def test_fix_renames_and_nothing_else() -> None:
    """`check --fix` puts the suggested words in place; comments, quotes and everything else stay."""
    problems = examine({"a.yaml": WRONG.encode()}, FACTS)[1]
    after = fixed(WRONG, problems)
    assert after == WRONG.replace("nedes", "needs").replace("user.emial", "user.email").replace("oder]", "order]")
    left = examine({"a.yaml": after.encode()}, FACTS)[1]
    assert [p.code for p in left] == ["P026"]
    assert fixed(after, left) == after


def test_github_escapes() -> None:
    """An annotation stays one line, and no text can end it."""
    assert report.as_github([PROBLEM]) == (
        "::error file=a%2Cb%3Ac.yaml,line=3,col=5,endColumn=7,title=P002::unknown word '50%25' (did you%0Amean x?)"
    )


def test_sarif_names_rules_and_places() -> None:
    """The SARIF log has each rule once and each place in full."""
    found = json.loads(report.as_sarif([PROBLEM, PROBLEM], "1.2.3"))["runs"][0]
    assert found["tool"]["driver"]["version"] == "1.2.3"
    assert [rule["id"] for rule in found["tool"]["driver"]["rules"]] == ["P002"]
    place = found["results"][1]["locations"][0]["physicalLocation"]
    assert place["region"] == {"startLine": 3, "startColumn": 5, "endColumn": 7}
    assert found["results"][0]["level"] == "error"


def test_json_is_stable() -> None:
    """The keys that scripts rely on."""
    (found,) = json.loads(report.as_json([PROBLEM]))
    assert list(found) == ["file", "line", "column", "end_column", "code", "severity", "message", "hint"]


def test_summary() -> None:
    """The last line counts problems, files with problems and files."""
    assert report.summary([], 1) == "Found no problems in 1 policy."
    assert report.summary([PROBLEM, PROBLEM], 2) == "Found 2 problems in 1 of 2 policies."


def test_excerpts_are_safe_for_a_terminal() -> None:
    """Control characters of a file never reach the terminal."""
    shown = report.as_text([Problem("a", 1, 1, "P001", "x", "", "\x1b[31mred", 3)])
    assert "\x1b" not in shown


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_has_its_page(code: str) -> None:
    """The page that `--explain` prints and the page in the docs are the same text."""
    text = page(code)
    assert text.startswith(f"# {code}: {CODES[code][0]}")
    assert (ROOT / "docs/reference/codes" / f"{code}.md").read_text(encoding="utf-8") == text


def test_no_page_without_a_code() -> None:
    """Pages, codes and the folder of the docs hold the same names; an unknown code is an error."""
    assert set(TEXTS) == set(CODES) == {p.stem for p in Path(ROOT / "docs/reference/codes").glob("*.md")}
    with pytest.raises(ConfigError):
        page("P999")


def test_every_reason_has_a_text_and_a_word() -> None:
    """Whatever is decided can be told to people and named in a test."""
    for reason in Reason:
        assert reason_text(reason, "some_detail").strip()
        assert "some_detail" not in reason_text(reason, "some_detail")
        assert reason.value in WHY


def test_hints() -> None:
    """The nearest word, else a short list, else nothing."""
    assert hint_for("advertsing", ["advertising", "analytics"]) == "did you mean 'advertising'?"
    assert hint_for("GA4", ["ga4"]) == "did you mean 'ga4'?"
    assert hint_for("zzz", ["b", "a"]) == "known: a, b"
    assert hint_for("zzz", [f"word{i}" for i in range(20)]) == ""
    assert hint_for("zzz", []) == ""
