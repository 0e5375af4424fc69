"""A corpus of wrong policy files: each must be refused with the right code at the right line and column."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ebbgate.errors import PolicyError
from ebbgate.policy.load import examine, load_texts
from ebbgate.policy.words import CODES
from tests.unit.policy.making import FACTS

HERE = Path(__file__).parent / "wrong_policies"
BASE = (HERE / "base.yaml").read_text(encoding="utf-8")


@dataclass
class Wrong:
    """One block of cases.txt, with the edits applied."""

    code: str
    title: str
    files: dict[str, str] = field(default_factory=dict)
    file: str = "a.yaml"
    line: int = 0
    column: int = 0


def _cases() -> list[Wrong]:
    blocks = re.split(r"\n\s*\n(?=[PT]\d{3} )", (HERE / "cases.txt").read_text(encoding="utf-8").rstrip("\n"))
    return [_case(block) for block in blocks if re.match(r"[PT]\d{3} ", block)]


def _case(block: str) -> Wrong:
    head, *rest = block.split("\n")
    code, _, title = head.partition(" ")
    wrong = Wrong(code, title)
    whole = [line[2:] for line in rest if line.startswith("= ")]
    second = [line[2:] for line in rest if line.startswith("& ")]
    wrong.files["a.yaml"] = "\n".join(whole) if whole else _edited(title, rest)
    if second:
        wrong.file = "b.yaml"
        wrong.files["b.yaml"] = "\n".join(second) + "\n"
    marked = wrong.files[wrong.file]
    assert marked.count("«") == 1, f"{title}: needs exactly one mark"
    before = marked[: marked.index("«")]
    wrong.line, wrong.column = before.count("\n") + 1, len(before) - before.rfind("\n")
    wrong.files[wrong.file] = marked.replace("«", "").replace("»", "")
    return wrong


def _edited(title: str, lines: list[str]) -> str:
    """base.yaml with each run of `-` lines replaced by the run of `+` lines after it."""
    text = BASE
    for old, new in re.findall(r"((?:^- [^\n]*\n?)+)((?:^\+ [^\n]*\n?)+|(?=\n|\Z))", "\n".join(lines) + "\n", re.MULTILINE):
        before = "\n".join(line[2:] for line in old.rstrip("\n").split("\n"))
        after = "\n".join(line[2:] for line in new.rstrip("\n").split("\n")) if new else ""
        assert text.count(before) == 1, f"{title}: {before!r} stands {text.count(before)} times"
        text = text.replace(before, after)
    return text


CASES = _cases()


def test_the_base_is_clean() -> None:
    """The policy that all wrong ones are made from has no problem at all, not even a warning."""
    assert examine({"base.yaml": BASE.encode()}, FACTS)[1] == []


def test_the_corpus_is_large() -> None:
    """At least 150 wrong files, no two alike."""
    texts = {tuple(sorted(case.files.items())) for case in CASES}
    assert len(CASES) >= 150
    assert len(texts) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.code} {case.title}")
def test_wrong_policy(case: Wrong) -> None:
    """The file is refused, and the problem names code, line and column where it is."""
    files = {name: text.encode() for name, text in case.files.items()}
    found = examine(files, FACTS)[1]
    places = [(p.file, p.line, p.column, p.code) for p in found]
    assert (case.file, case.line, case.column, case.code) in places
    with pytest.raises(PolicyError) as refused:
        load_texts(files, FACTS)
    assert case.code in {p.code for p in refused.value.problems}
    assert f"{case.file}:{case.line}:{case.column}: {case.code} " in str(refused.value)


def test_every_error_code_has_a_wrong_policy() -> None:
    """No error of `check` is untested: each code that refuses a policy file is in the corpus."""
    refusing = {code for code, (_, severity) in CODES.items() if severity == "error" and code.startswith("P")}
    assert refusing - {case.code for case in CASES} <= {"P009"}


@pytest.mark.parametrize("raw", [b"", b"# only a comment\n", b"---\n"], ids=["empty", "comment", "mark"])
def test_nothing_to_read(raw: bytes) -> None:
    """An empty file is no policy that allows everything: it is refused."""
    with pytest.raises(PolicyError) as refused:
        load_texts({"a.yaml": raw}, FACTS)
    assert refused.value.problems[0].code in ("P009", "P004")


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"policy: \x80", "policy: \ud7ff\x00".encode()], ids=["utf-16", "latin", "nul"])
def test_not_text(raw: bytes) -> None:
    """Bytes that are not UTF-8 text are refused."""
    with pytest.raises(PolicyError) as refused:
        load_texts({"a.yaml": raw}, FACTS)
    assert refused.value.problems[0].code == "P005"


def test_too_big() -> None:
    """A file over 256 KiB, or with more than 50,000 values, is refused before it is understood."""
    for raw in (b"#" * (256 * 1024 + 1), b"[" + b"1," * 60_000 + b"1]"):
        with pytest.raises(PolicyError) as refused:
            load_texts({"a.yaml": raw}, FACTS)
        assert refused.value.problems[0].code == "P008"
