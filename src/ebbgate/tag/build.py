"""Builds `t.min.js` from the sources beside it: a development step, `python src/ebbgate/tag/build.py`, that needs npm.

`npm install --prefix FOLDER esbuild@… terser@…` first, then name FOLDER as the argument. What was built from what is recorded in
`build.json`; a test compares it with the sources, so that nobody ships one without the other.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILT = HERE / "t.min.js"
RECORD = HERE / "build.json"
ESBUILD = ("--bundle", "--format=iife", "--target=es2021")
TERSER = ("--compress", "passes=3,ecma=2020,pure_getters,unsafe_arrows", "--mangle", "--ecma", "2020")


def sources_digest(folder: Path = HERE) -> str:
    """SHA-256 hex over names and contents of the sources."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.js")):
        if path.name != BUILT.name:
            content = path.read_bytes()
            digest.update(f"{path.name}:{len(content)}:".encode() + content)
    return digest.hexdigest()


def main(tools: Path) -> None:
    """Bundle, minify, record. `tools`: the folder given to npm."""
    bin_dir = tools / "node_modules" / ".bin"
    # One keyword for all declarations packs better.
    bundled = re.sub(rb"\bconst ", b"let ", _run(str(bin_dir / "esbuild"), str(HERE / "main.js"), *ESBUILD))
    BUILT.write_bytes(_run(str(bin_dir / "terser"), *TERSER, given=bundled).strip() + b"\n")
    versions = {tool: _version(_run(str(bin_dir / tool), "--version")) for tool in ("esbuild", "terser")}
    record = {
        "sources_sha256": sources_digest(),
        "built_sha256": hashlib.sha256(BUILT.read_bytes()).hexdigest(),
        "tools": versions,
    }
    RECORD.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _run(*command: str, given: bytes = b"") -> bytes:
    return subprocess.run(command, input=given, capture_output=True, check=True).stdout  # noqa: S603  tools that the developer installed


def _version(said: bytes) -> str:
    found = re.search(r"\d+\.\d+\.\d+", said.decode())
    return found[0] if found else ""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
