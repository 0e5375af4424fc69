"""`fmt`: a policy file laid out alike everywhere. Words, order and comments stay; only blanks change."""

from __future__ import annotations

import re
from typing import Final

from ebbgate.policy.yaml import read_yaml

_COLON: Final = re.compile(r"^(\s*(?:- )?[A-Za-z_][A-Za-z0-9_.-]*):[ ]{2,}(?=[^\s#])")


def formatted(text: str) -> str:
    """Line ends, blanks at line ends, blanks after a colon and runs of empty lines made alike; one line end at the end.

    Text that is not sound YAML, or that would mean something else afterwards, comes back as it is.
    """
    lines = [_COLON.sub(r"\1: ", line.rstrip()) for line in text.replace("\r\n", "\n").split("\n")]
    kept: list[str] = []
    for line in lines:
        if line or (kept and kept[-1]):
            kept.append(line)
    result = "\n".join(kept).rstrip("\n") + "\n"
    before, after = read_yaml(text.encode(), ""), read_yaml(result.encode(), "")
    return text if before.problems or after.problems or before.data != after.data else result
