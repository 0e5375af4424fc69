"""Problems as text for people and editors, as JSON, as GitHub annotations and as SARIF."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from ebbgate.errors import Problem
from ebbgate.policy.words import CODES


def ordered(problems: Iterable[Problem]) -> list[Problem]:
    """By file, line and column."""
    return sorted(problems, key=lambda p: (p.file, p.line, p.column, p.code))


def as_text(problems: Sequence[Problem]) -> str:
    """`file:line:column: CODE message`, the line with carets under it and one hint; a blank line between findings."""
    return "\n\n".join(_one(problem) for problem in ordered(problems))


def _one(problem: Problem) -> str:
    place = f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file
    kind = "warning " if problem.severity == "warning" else ""
    head = f"{place}: {problem.code} {kind}{problem.message}"
    hint = f" {problem.hint}" if problem.hint else ""
    if not problem.excerpt.strip():
        return f"{head}{':' if hint else ''}{hint}"
    # Blanks instead of control characters keep the carets in place and the terminal safe.
    excerpt = "".join(c if c.isprintable() else " " for c in problem.excerpt)
    start = problem.column - 1
    width = max(1, min(problem.width, len(excerpt) - start))
    number = f"{problem.line:>4}"
    return f"{head}\n     |\n{number} | {excerpt}\n     | {' ' * start}{'^' * width}{hint}"


def summary(problems: Sequence[Problem], files: int) -> str:
    """The last line of `check`: how many problems in how many of the files."""
    if not problems:
        return f"Found no problems in {_count(files, 'policy', 'policies')}."
    wrong = len({problem.file for problem in problems})
    return f"Found {_count(len(problems), 'problem', 'problems')} in {wrong} of {_count(files, 'policy', 'policies')}."


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def as_json(problems: Sequence[Problem]) -> str:
    """A JSON list, one object a problem; the shape is stable."""
    return json.dumps(as_rows(problems), indent=2, ensure_ascii=False)


def as_rows(problems: Sequence[Problem]) -> list[dict[str, str | int]]:
    """One object a problem, in order."""
    return [
        {
            "file": p.file,
            "line": p.line,
            "column": p.column,
            "end_column": p.column + p.width,
            "code": p.code,
            "severity": p.severity,
            "message": p.message,
            "hint": p.hint,
        }
        for p in ordered(problems)
    ]


def as_github(problems: Sequence[Problem]) -> str:
    """Workflow commands: one annotation a problem."""
    return "\n".join(
        f"::{p.severity} file={_property(p.file)},line={max(1, p.line)},col={max(1, p.column)},"
        f"endColumn={max(1, p.column) + p.width},title={p.code}::{_data(p.message + (f' ({p.hint})' if p.hint else ''))}"
        for p in ordered(problems)
    )


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def as_sarif(problems: Sequence[Problem], version: str) -> str:
    """SARIF 2.1.0 for code-scanning pages."""
    used = sorted({p.code for p in problems})
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "ebbgate",
                "version": version,
                "rules": [{"id": code, "shortDescription": {"text": CODES[code][0]}} for code in used],
            }
        },
        "results": [
            {
                "ruleId": p.code,
                "level": p.severity,
                "message": {"text": f"{p.message}. {p.hint}".strip() if p.hint else p.message},
                "locations": [
                    {
                        "physicalLocation": {
                            "artifactLocation": {"uri": p.file},
                            "region": {
                                "startLine": max(1, p.line),
                                "startColumn": max(1, p.column),
                                "endColumn": max(1, p.column) + p.width,
                            },
                        }
                    }
                ],
            }
            for p in ordered(problems)
        ],
    }
    document = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=2, ensure_ascii=False)
