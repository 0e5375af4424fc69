"""`make test`: the whole suite in parallel with branch coverage, then the floors that the issues name.

`--long` runs the full counts (EBBGATE_TEST_SCALE) without the coverage floors, which the short run holds.
"""

from __future__ import annotations

import subprocess
import sys

#: Rooms in which every branch is tested: a mistake there lets data out.
COMPLETE = ("*/ebbgate/consent/*", "*/ebbgate/policy/*", "*/ebbgate/deliver/gate.py")
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
    complete = _run("coverage", "report", "--show-missing", "--skip-covered", "--fail-under=100", f"--include={','.join(COMPLETE)}")
    return failed or complete


if __name__ == "__main__":
    raise SystemExit(main())
