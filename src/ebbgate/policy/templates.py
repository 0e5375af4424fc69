"""The policies that `ebbgate init` hands out: the files of `policies/`, which the wheel carries beside the code."""

from __future__ import annotations

from pathlib import Path

from ebbgate.errors import ConfigError


def templates_path() -> Path:
    """The folder of the files: inside the installed package, or at the top of a checkout."""
    here = Path(__file__).resolve().parent
    for candidate in (here.parent / "templates", here.parents[2] / "policies"):
        if (candidate / "eu.yaml").is_file():
            return candidate
    raise ConfigError("the policies that come with ebbgate are missing", hint="install it again")


def templates() -> dict[str, str]:
    """File name → text."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(templates_path().glob("*.yaml"))}
