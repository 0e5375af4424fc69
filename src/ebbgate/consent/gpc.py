"""Global Privacy Control and Do Not Track headers (specs/consent.md §3).

`Sec-GPC` is a refusal of sale, sharing and targeted advertising; its absence is not consent.
"""

from __future__ import annotations

from collections.abc import Iterable

_BLANK = " \t"


def gpc(headers: Iterable[tuple[str, str]]) -> bool:
    """True when any Sec-GPC line says exactly `1`.

    Header names in any case, lines in any order, repeats allowed. A comma-joined value is outside the grammar; a member
    `1` in it counts, which is the safe reading.
    """
    return any(member.strip(_BLANK) == "1" for name, value in headers if name.lower() == "sec-gpc" for member in value.split(","))


def dnt(headers: Iterable[tuple[str, str]]) -> bool | None:
    """DNT: True opted out, False consents, None unset or unreadable. One `1` wins over any `0`."""
    values = [value.strip(_BLANK) for name, value in headers if name.lower() == "dnt"]
    if "1" in values:
        return True
    return False if values and all(value == "0" for value in values) else None
