"""`make test`: the whole suite in parallel with branch coverage, then the floors that the issues name.

`--long` runs the full counts (EBBGATE_TEST_SCALE) without the coverage floors, which the short run holds.
"""

from __future__ import annotations

import subprocess
import sys

#: Where a mistake lets data out: every branch is tested.
CORE = (
    "*/ebbgate/consent/*",
    "*/ebbgate/policy/decide.py",
    "*/ebbgate/policy/clean.py",
    "*/ebbgate/policy/plan.py",
    "*/ebbgate/policy/prepare.py",
    "*/ebbgate/policy/treat.py",
    "*/ebbgate/deliver/gate.py",
)
#: The whole rooms around it, reporting and evictions of caches included: percent of branches.
ROOMS = ("*/ebbgate/consent/*", "*/ebbgate/policy/*", "*/ebbgate/deliver/gate.py")
ROOMS_FLOOR = 99
FLOOR = 90


def _run(*command: str) -> int:
    return subprocess.call([sys.executable, "-m", *command])


def main() -> int:
    """Exit code of the first step that fails."""
    if "--long" in sys.argv:
        return _run("pytest", "-n", "2", "--timeout", "3600", "-q")
    failed = _run("pytest", "-n", "2", "--dist", "worksteal", "-q", "--cov=ebbgate", "--cov-branch", "--cov-report=")
    if failed:
        return failed
    failed = _run("coverage", "report", "--skip-covered", "--skip-empty", f"--fail-under={FLOOR}")
    for rooms, floor in ((ROOMS, ROOMS_FLOOR), (CORE, 100)):
        below = _run(
            "coverage", "report", "--show-missing", "--skip-covered", f"--fail-under={floor}", f"--include={','.join(rooms)}"
        )
        failed = failed or below
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
