"""Results of policy tests as text for people, as JSON for programs and as JUnit XML for build servers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import quoteattr

from ebbgate.policy.report import as_rows
from ebbgate.policy.report import as_text as problems_as_text
from ebbgate.policy.suite import CaseResult, SuiteResult, never_hit

_DOTS: Final = 92


def passed(results: Sequence[SuiteResult]) -> bool:
    """True when there are cases and all of them passed: a promise that is not tested is none."""
    return any(result.cases for result in results) and all(result.ok for result in results)


def as_text(results: Sequence[SuiteResult], *, verbose: bool = False, coverage: bool = False) -> str:
    """Failures (with `verbose` every case), then one line: `PASS: 8/8   rules exercised: 21/23`."""
    lines: list[str] = []
    for result in results:
        if result.problems:
            lines.append(problems_as_text(result.problems))
        for case in result.cases:
            if verbose or case.failures:
                lines.append(_case_line(case))
                lines.extend(f"  {failure}" for failure in case.failures)
    cases = [case for result in results for case in result.cases]
    good = sum(not case.failures for case in cases)
    summary = f"{'PASS' if passed(results) else 'FAIL'}: {good}/{len(cases)}"
    if coverage:
        rules = [rule for result in results for rule in result.rules]
        missed = [rule for result in results for rule in never_hit(result)]
        summary += f"   rules exercised: {len(rules) - len(missed)}/{len(rules)}"
        summary += f" (never hit: {', '.join(missed)})" if missed else ""
    return "\n".join([*lines, summary])


def _case_line(case: CaseResult) -> str:
    file = case.file.rpartition("/")[2]
    said = "FAIL" if case.failures else "PASS"
    return f"{file}  {case.name} ".ljust(_DOTS, ".") + f" {said} {case.seconds * 1000:5.1f} ms"


def as_json(results: Sequence[SuiteResult]) -> str:
    """One object: the verdict, every case with its failures, test files that cannot be run, rules that no case reaches."""
    cases = [case for result in results for case in result.cases]
    told = {
        "ok": passed(results),
        "passed": sum(not case.failures for case in cases),
        "cases": [
            {
                "file": case.file,
                "line": case.line,
                "name": case.name,
                "failures": case.failures,
                "milliseconds": round(case.seconds * 1000, 3),
            }
            for case in cases
        ],
        "problems": as_rows([problem for result in results for problem in result.problems]),
        "rules": sum(len(result.rules) for result in results),
        "never_hit": [rule for result in results for rule in never_hit(result)],
    }
    return json.dumps(told, indent=2, ensure_ascii=False)


def as_junit(results: Sequence[SuiteResult]) -> str:
    """JUnit XML: a suite a file, a case a case; a file that cannot be run is an error."""
    cases = [case for result in results for case in result.cases]
    problems = [problem for result in results for problem in result.problems]
    failed = sum(bool(case.failures) for case in cases)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites tests="{len(cases)}" failures="{failed}" errors="{len(problems)}">',
    ]
    for file in dict.fromkeys(case.file for case in cases):
        own = [case for case in cases if case.file == file]
        bad = sum(bool(case.failures) for case in own)
        lines.append(f'<testsuite name={quoteattr(file)} tests="{len(own)}" failures="{bad}">')
        for case in own:
            attributes = f'classname={quoteattr(file)} name={quoteattr(case.name)} time="{case.seconds:.6f}"'
            failures = "".join(f"<failure message={quoteattr(failure)}/>" for failure in case.failures)
            lines.append(f"<testcase {attributes}>{failures}</testcase>")
        lines.append("</testsuite>")
    for problem in problems:
        where = f"{problem.file}:{problem.line}:{problem.column}"
        message = quoteattr(f"{problem.code} {problem.message}")
        file = quoteattr(problem.file)
        lines.append(f'<testsuite name={file} tests="1" errors="1">')
        lines.append(f"<testcase classname={file} name={quoteattr(where)}><error message={message}/></testcase></testsuite>")
    return "\n".join([*lines, "</testsuites>", ""])
