"""Rules of the house that a reader relies on and a linter does not know."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import ebbgate

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src" / "ebbgate").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


def calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called == name:
                yield node


def where(path: Path) -> str:
    return path.relative_to(ROOT / "src" / "ebbgate").as_posix()


def test_only_policy_clean_makes_a_clean_event() -> None:
    """A destination takes only a CleanEvent, and only policy/clean.py makes one: nothing goes round the policy."""
    makers = {where(p) for p in SOURCES for _ in calls(ast.parse(p.read_text(encoding="utf-8")), "CleanEvent")}
    assert makers == {"policy/clean.py"}


def test_only_settings_reads_the_environment() -> None:
    """Every setting has one way in."""
    readers = {where(p) for p in SOURCES if re.search(r"\bos\.(environ|getenv)\b", p.read_text(encoding="utf-8"))}
    assert readers <= {"settings.py"}


def test_no_middleware_class_that_costs_a_request_its_budget() -> None:
    """BaseHTTPMiddleware and Starlette's TestClient are not used (specs/performance.md §1)."""
    for path in [*SOURCES, *TESTS]:
        if path != Path(__file__):
            text = path.read_text(encoding="utf-8")
            assert "BaseHTTPMiddleware" not in text, path
            assert "starlette.testclient" not in text, path


@pytest.mark.parametrize("path", TESTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_test_says_its_promise(path: Path) -> None:
    """Each test states in its docstring's first line what it promises."""
    silent = [
        node.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_no_file_has_two_subjects() -> None:
    """No source file is longer than 400 lines."""
    assert [(where(p), n) for p in SOURCES if (n := len(p.read_text(encoding="utf-8").splitlines())) > 400] == []


def test_no_marks_are_left_behind() -> None:
    """No promise is postponed in the source."""
    marks = re.compile(r"\b(TODO|FIXME|XXX|NotImplemented(Error)?)\b")
    assert [where(p) for p in SOURCES if marks.search(p.read_text(encoding="utf-8"))] == []


def test_the_version_stands_in_one_form() -> None:
    """pyproject, the package and the changelog agree."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == ebbgate.__version__
    assert f"## [{ebbgate.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_dependency_has_its_reason() -> None:
    """Each direct dependency stands in decision 0002, and there are at most fourteen."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[<>=;\[ ]", d)[0] for d in project["dependencies"]]
    reasons = (ROOT / "docs" / "decisions" / "0002-dependencies.md").read_text(encoding="utf-8")
    assert len(names) <= 14
    assert [n for n in names if n.lower() not in reasons.lower()] == []


def test_lock_files_pin_every_package_without_addresses() -> None:
    """Exact versions and hashes, and no host from which to take them."""
    for name in ("run", "dev"):
        text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
        assert "://" not in text
        assert "--index" not in text
        blocks = re.split(r"\n(?=[a-z0-9])", text.strip(), flags=re.IGNORECASE)
        assert [b.splitlines()[0] for b in blocks if "==" not in b.splitlines()[0] or "--hash=sha256:" not in b] == []


def test_every_decision_is_listed() -> None:
    """docs/decisions/README.md names every page, and every page it names is there."""
    folder = ROOT / "docs" / "decisions"
    listed = set(re.findall(r"\((\d{4}-[a-z0-9-]+\.md)\)", (folder / "README.md").read_text(encoding="utf-8")))
    assert listed == {p.name for p in folder.glob("[0-9]*.md")}
