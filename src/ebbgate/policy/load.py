"""Policy files → the `PolicySet` in force, or every problem with its position. One wrong file and nothing loads.

This and `holder` are the only files of this package that read the disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ebbgate.errors import PolicyError, Problem
from ebbgate.policy.authored import PolicyWords
from ebbgate.policy.compile import compile_policy
from ebbgate.policy.lint import lint_file
from ebbgate.policy.lint_places import lint_places
from ebbgate.policy.plan import DestinationFacts, Policy, PolicySet
from ebbgate.policy.report import as_text, ordered
from ebbgate.policy.validate import validate
from ebbgate.policy.words import severity_of
from ebbgate.policy.yaml import Document, read_yaml

#: Files of tests stand beside the policies and are none.
TEST_SUFFIX: Final = "_test.yaml"


@dataclass(frozen=True, slots=True)
class Examined:
    """One file as far as it could be read."""

    doc: Document
    digest: str
    words: PolicyWords | None

    @property
    def name(self) -> str:
        """The file's name without its directory, as `rule` and `policy_file` have it."""
        return self.doc.file.replace("\\", "/").rpartition("/")[2]


def load_policies(path: Path, facts: Mapping[str, DestinationFacts], *, configured: Collection[str] | None = None) -> PolicySet:
    """The policies of a directory (`*.yaml` but no tests) or of one file.

    `facts`: what is known of each destination by name; `configured`: the destinations that settings name, or None.
    Raises PolicyError with every problem when there is one error in any file. Warnings do not hinder.
    """
    return load_texts(read_files(path), facts, configured=configured, whole=path.is_dir())


def load_texts(
    files: Mapping[str, bytes],
    facts: Mapping[str, DestinationFacts],
    *,
    configured: Collection[str] | None = None,
    whole: bool = True,
) -> PolicySet:
    """The same from file names and bytes, for revisions that are not on disk. Pure."""
    examined, problems = examine(files, facts, configured=configured, whole=whole)
    errors = [p for p in problems if p.severity == "error"]
    if errors:
        raise PolicyError(as_text(errors), problems=tuple(errors), hint="run `ebbgate check`")
    policies = tuple(_compiled(e, facts) for e in examined)
    return PolicySet.of(digest_of({e.name: e.digest for e in examined}), policies)


def _compiled(examined: Examined, facts: Mapping[str, DestinationFacts]) -> Policy:
    if examined.words is None:
        raise AssertionError("a file without errors has words")
    return compile_policy(examined.doc, examined.words, facts, file=examined.name, digest=examined.digest)


def lint_policies(path: Path, facts: Mapping[str, DestinationFacts], *, configured: Collection[str] | None = None) -> list[Problem]:
    """Every problem of a directory or file, warnings too, in order. Raises PolicyError when nothing can be read."""
    return examine(read_files(path), facts, configured=configured, whole=path.is_dir())[1]


def examine(
    files: Mapping[str, bytes],
    facts: Mapping[str, DestinationFacts],
    *,
    configured: Collection[str] | None = None,
    whole: bool = True,
) -> tuple[list[Examined], list[Problem]]:
    """Reads and lints files by name. `whole`: these are all policies there are, so gaps between them count."""
    examined = [_examine(name, raw, facts, configured) for name, raw in sorted(files.items())]
    lint_places([(e.doc, e.words) for e in examined if e.words is not None], configured if whole else None, whole=whole)
    return examined, ordered(problem for e in examined for problem in e.doc.problems)


def _examine(name: str, raw: bytes, facts: Mapping[str, DestinationFacts], configured: Collection[str] | None) -> Examined:
    doc = read_yaml(raw, name)
    words = validate(doc)
    if words is not None:
        lint_file(doc, words, facts, configured)
    return Examined(doc, hashlib.sha256(raw).hexdigest(), words)


def policy_files(path: Path) -> list[Path]:
    """The policy files of a directory, sorted; a single file is itself."""
    if path.is_file():
        return [path]
    return sorted(p for p in path.glob("*.yaml") if not p.name.endswith(TEST_SUFFIX) and not p.name.startswith("."))


def unread_files(path: Path) -> list[Problem]:
    """A warning for each file of a directory that looks like a policy and is not read: another ending, or a directory below."""
    if not path.is_dir():
        return []
    read = set(policy_files(path))
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in (".yaml", ".yml") and p.is_file() and not is_test(p))
    message, hint = "this file is not read: policies are the *.yaml files of the directory itself", "rename or move it"
    return [
        Problem(p.as_posix(), 0, 0, "P034", message, hint, severity=severity_of("P034"))
        for p in found
        if p not in read and not any(part.startswith(".") for part in p.relative_to(path).parts)
    ]


def is_test(path: Path) -> bool:
    """True for a file of policy tests."""
    return path.name.endswith(TEST_SUFFIX)


def read_tests(path: Path) -> dict[str, bytes]:
    """Name as given → bytes of the test files of a directory, or of one. Raises PolicyError when one cannot be read."""
    found = [path] if not path.is_dir() else sorted(p for p in path.iterdir() if is_test(p) and not p.name.startswith("."))
    return {file.as_posix(): _bytes_of(file) for file in found}


def read_files(path: Path) -> dict[str, bytes]:
    """Name as given → bytes. Raises PolicyError when there is no policy file or one cannot be read."""
    found = policy_files(path)
    if not found:
        raise _unreadable(path, "there is no policy file (*.yaml) here", "run `ebbgate init`, or check `[policies] path`")
    return {file.as_posix(): _bytes_of(file) for file in found}


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise _unreadable(file, f"the file cannot be read: {error.strerror}", "check its permissions") from None


def _unreadable(path: Path, message: str, hint: str) -> PolicyError:
    problem = Problem(path.as_posix(), 0, 0, "P009", message, hint, severity=severity_of("P009"))
    return PolicyError(as_text([problem]), problems=(problem,))


def digest_of(digests: Mapping[str, str]) -> str:
    """SHA-256 hex of a set of files: their names and digests, in the order of the names."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def errors_of(problems: Sequence[Problem]) -> list[Problem]:
    """The findings that keep a policy from loading."""
    return [p for p in problems if p.severity == "error"]
