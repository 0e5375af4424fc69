"""`check --fix`: puts the suggested word where a word was misspelt. Nothing else is safe to change by machine."""

from __future__ import annotations

from collections.abc import Sequence

from ebbgate.errors import Problem


def fixed(text: str, problems: Sequence[Problem]) -> str:
    """The file's text with every safe rename made; comments and layout stay as they are."""
    lines = text.split("\n")
    for problem in sorted(problems, key=lambda p: (p.line, p.column), reverse=True):
        if not problem.replacement:
            # Only an unknown word with one near neighbour has a replacement.
            continue
        line = lines[problem.line - 1]
        start = problem.column - 1
        end = start + problem.width
        quote = line[start] if line[start : start + 1] in ("'", '"') else ""
        lines[problem.line - 1] = f"{line[:start]}{quote}{problem.replacement}{quote}{line[end:]}"
    return "\n".join(lines)
