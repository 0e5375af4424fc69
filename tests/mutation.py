"""Mutation testing of what decides: `python -m tests.mutation [--only NAME] [--every N] [--survivors]`, or `make mutation`.

Each mutant is one change of a comparison, a boolean, a constant or a return in a copy of the tree; the tests of that room run on it
with -x. A mutant that no test notices survives. `docs/reference/mutation.md` explains the survivors (issue 4). All of them take about
an hour. What is known is kept in `.mutation.jsonl`, a line a mutant, so that a run which was stopped goes on where it was, and
`--survivors` asks the tests of today about those that survived before.
"""

from __future__ import annotations

import argparse
import ast
import copy
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
STATE: Final = ROOT / ".mutation.jsonl"
#: What is changed, and the tests that must notice, the quickest first.
TARGETS: Final = {
    "src/ebbgate/policy/decide.py": (
        "tests/unit/policy/test_decide.py", "tests/unit/policy/test_decide_edges.py", "tests/unit/policy/test_memo.py",
        "tests/unit/policy/test_recheck.py", "tests/property/test_policy_decide.py",
    ),
    "src/ebbgate/policy/clean.py": (
        "tests/unit/policy/test_clean.py", "tests/unit/policy/test_decide_edges.py", "tests/unit/policy/test_recheck.py",
        "tests/unit/policy/test_memo.py",
        "tests/unit/destinations/test_cli.py", "tests/property/test_policy_together.py", "tests/property/test_policy_decide.py",
    ),
    "src/ebbgate/consent/resolve.py": (
        "tests/unit/consent/test_resolve.py", "tests/unit/consent/test_resolve_one_signal.py",
        "tests/unit/consent/test_resolve_result.py", "tests/unit/consent/test_malformed_parts.py",
        "tests/unit/consent/test_resolve_told.py",
        "tests/property/test_consent_properties.py",
    ),
}  # fmt: skip
FLOOR: Final = 0.9
LIMIT_S: Final = 180

_SWAPPED: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip


class Mutant(NamedTuple):
    """One changed file."""

    file: str
    line: int
    what: str
    text: str


def changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What a node may become: a name for the change and the new node."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _SWAPPED:
        new = copy.deepcopy(node)
        new.ops = [_SWAPPED[type(node.ops[0])]()]
        yield "comparison turned round", new
    elif isinstance(node, ast.BoolOp):
        new_bool = copy.deepcopy(node)
        new_bool.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "and/or swapped", new_bool
        for index in range(len(node.values)):
            kept = [v for i, v in enumerate(node.values) if i != index]
            yield f"part {index + 1} left out", kept[0] if len(kept) == 1 else ast.BoolOp(node.op, kept)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not left out", node.operand
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        new_binary = copy.deepcopy(node)
        new_binary.op = _ARITHMETIC[type(node.op)]()
        yield "operator swapped", new_binary
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "True/False swapped", ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield "number + 1", ast.Constant(node.value + 1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield "text changed", ast.Constant(node.value + "~")
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield "returns None", ast.Return(ast.Constant(None))
    elif isinstance(node, ast.If):
        for value in (True, False):
            new_if = copy.deepcopy(node)
            new_if.test = ast.Constant(value)
            yield f"if {value}", new_if
    elif isinstance(node, ast.Continue):
        yield "continue became break", ast.Break()


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def mutants(file: str) -> Iterator[Mutant]:
    """Every mutant of a file, by line. Annotations, docstrings and imports are no behaviour."""
    source = (ROOT / file).read_text(encoding="utf-8")
    tree = ast.parse(source)
    for parent, name, index, node in list(_places(tree)):
        for what, new in changes(node):
            _put(parent, name, index, ast.copy_location(new, node))
            text = ast.unparse(ast.fix_missing_locations(tree))
            _put(parent, name, index, node)
            yield Mutant(file, getattr(node, "lineno", 0), what, text)


def _places(tree: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    for parent in ast.walk(tree):
        if isinstance(parent, (ast.Expr, ast.JoinedStr, ast.FormattedValue)):
            continue  # docstrings, and texts for people
        for name, value in ast.iter_fields(parent):
            if name in ("annotation", "returns", "decorator_list", "type_params"):
                continue
            if isinstance(value, list):
                for index, one in enumerate(value):
                    if isinstance(one, ast.AST) and not _passive(one):
                        yield parent, name, index, one
            elif isinstance(value, ast.AST) and not _passive(value):
                yield parent, name, None, value


def _passive(node: ast.AST) -> bool:
    """Types and imports: they change nothing at run time."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return True
    return isinstance(node, ast.AnnAssign) and "TypeAlias" in ast.unparse(node.annotation)


def _put(parent: ast.AST, name: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, name, node)
    else:
        getattr(parent, name)[index] = node


def survives(mutant: Mutant, folder: Path) -> bool:
    """Whether the tests of its room pass on it. One that hangs is noticed."""
    target = folder / mutant.file
    before = target.read_bytes()
    target.write_text(mutant.text, encoding="utf-8")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider", *TARGETS[mutant.file]],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": f"{folder / 'src'}:{folder}",
                "PYTHONDONTWRITEBYTECODE": "1",
                "EBBGATE_TEST_SCALE": "1",
            },
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    finally:
        target.write_bytes(before)
    return done.returncode == 0


class Book:
    """What is known of each mutant, on disk. A mutant is told by its whole text, so a changed source is asked about anew."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, Lock()
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.killed: dict[str, bool] = {one["key"]: one["killed"] for one in map(json.loads, lines)}

    def note(self, mutant: Mutant, killed: bool) -> None:
        """One answer, at once on disk."""
        line = {"key": key(mutant), "file": mutant.file, "line": mutant.line, "what": mutant.what, "killed": killed}
        with self._lock:
            self.killed[key(mutant)] = killed
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def key(mutant: Mutant) -> str:
    """A mutant's name: the digest of its file and text."""
    return hashlib.sha256(f"{mutant.file}\0{mutant.text}".encode()).hexdigest()


def ask(waiting: list[Mutant], workers: int, book: Book) -> str:
    """Runs the tests on each mutant and notes the answers. Returns a file whose tests fail without any change, or ""."""
    done, began, lock = 0, time.monotonic(), Lock()
    with TemporaryDirectory() as scratch:
        folders = [Path(scratch) / str(n) for n in range(workers)]
        for folder in folders:
            for name in ("src", "tests", "policies", "docs"):
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
            shutil.copy(ROOT / "pyproject.toml", folder)
        for file in sorted({m.file for m in waiting}):
            if not survives(Mutant(file, 0, "nothing", (folders[0] / file).read_text(encoding="utf-8")), folders[0]):
                return file
        free = list(folders)

        def one(mutant: Mutant) -> None:
            nonlocal done
            folder = free.pop()
            try:
                killed = not survives(mutant, folder)
            finally:
                free.append(folder)
            book.note(mutant, killed)
            with lock:
                done += 1
                if not killed or done % 20 == 0:
                    said = "" if killed else f"  SURVIVED {mutant.file}:{mutant.line}: {mutant.what}"
                    print(f"{done}/{len(waiting)} in {time.monotonic() - began:.0f} s{said}", flush=True)

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(one, waiting))
    return ""


def main() -> int:
    """Print every survivor and the share that was killed; 1 below the floor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="part of a file's name")
    parser.add_argument("--every", type=int, default=1, help="only every n-th mutant")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--survivors", action="store_true", help="ask again about those that survived")
    parser.add_argument("--anew", action="store_true", help="forget what is known")
    chosen = parser.parse_args()
    if chosen.anew:
        STATE.unlink(missing_ok=True)
    book = Book(STATE)
    found = [m for file in TARGETS if chosen.only in file for m in mutants(file)][:: chosen.every]
    waiting = [m for m in found if book.killed.get(key(m), False) is False and (chosen.survivors or key(m) not in book.killed)]
    print(f"{len(found)} mutants, {len(found) - len(waiting)} known", flush=True)
    if broken := ask(waiting, chosen.workers, book):
        print(f"{broken}: its tests fail without any change: mend that first")
        return 2
    for file in TARGETS:
        ours = [m for m in found if m.file == file]
        for mutant in ours:
            if not book.killed[key(mutant)]:
                print(f"{mutant.file}:{mutant.line}: {mutant.what}")
        if ours:
            killed = sum(book.killed[key(m)] for m in ours)
            print(f"{file}: {killed} of {len(ours)} killed, {killed / len(ours):.1%}")
    share = sum(book.killed[key(m)] for m in found) / max(1, len(found))
    print(f"in all {share:.1%} of {len(found)}")
    return 0 if share >= FLOOR else 1


if __name__ == "__main__":
    raise SystemExit(main())
