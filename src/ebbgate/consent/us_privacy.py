"""The IAB US Privacy string, `1YNN` (specs/consent.md §3). Deprecated since 2024, still sent."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from ebbgate.errors import SignalError

_FORM: Final = re.compile(r"1([YN-])([YN-])([YN-])", re.ASCII)


class SaleAnswer(StrEnum):
    """What the string says about sale of the visitor's data."""

    OPTED_OUT = "opted_out"
    NOT_OPTED_OUT = "not_opted_out"
    NO_OPINION = "no_opinion"  #: the law does not apply


@dataclass(frozen=True, slots=True)
class UsPrivacy:
    """The three characters after the version: each `Y`, `N` or `-`."""

    notice: str
    opt_out_sale: str
    lspa_covered: str

    def answer(self, *, strict: bool = False) -> SaleAnswer:
        """Opted out also where no notice was given, and where the characters contradict each other.

        `strict`: also where they do not tell whether notice was given.
        """
        if (self.notice, self.opt_out_sale, self.lspa_covered) == ("-", "-", "-"):
            return SaleAnswer.NO_OPINION
        if self.opt_out_sale == "N" and (self.notice == "Y" or (self.notice == "-" and not strict)):
            return SaleAnswer.NOT_OPTED_OUT
        return SaleAnswer.OPTED_OUT


@lru_cache(maxsize=128)
def _decode(text: str) -> UsPrivacy | None:
    matched = _FORM.fullmatch(text)
    return UsPrivacy(*matched.groups()) if matched else None


def decode(text: str) -> UsPrivacy:
    """Exactly four characters, upper case, version 1; anything else raises `SignalError`."""
    found = _decode(text) if len(text) == 4 else None
    if found is None:
        raise SignalError("not a US Privacy string of version 1", code="us_privacy")
    return found


def describe(found: UsPrivacy) -> dict[str, Any]:
    """JSON values: the shape of `consent decode --kind usp`."""
    return {"version": 1, "notice": found.notice, "opt_out_sale": found.opt_out_sale, "lspa_covered": found.lspa_covered}
