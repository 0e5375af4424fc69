"""What vendors declared in IAB's Global Vendor List: data, with its date (specs/consent.md §1.6).

Only the vendors that a shipped destination talks to. Read in GVL v224 (November 2023, spec 2) and v45 (March 2024, spec 3);
755 also in v178. Meta, Snap, Pinterest, X and Reddit are in neither list: a TC string says nothing about them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: The newest vendor list these declarations were compared with.
GVL_VERSION: Final = 178


@dataclass(frozen=True, slots=True)
class Declaration:
    """A vendor's purposes by default legal basis, and those on which it accepts the other basis (`flexible`)."""

    name: str
    consent: frozenset[int]
    interest: frozenset[int] = frozenset()
    flexible: frozenset[int] = frozenset()
    special_purposes: frozenset[int] = frozenset()
    special_features: frozenset[int] = frozenset()


def _declared(
    name: str,
    consent: tuple[int, ...],
    interest: tuple[int, ...] = (),
    flexible: tuple[int, ...] | None = None,
    special_purposes: tuple[int, ...] = (),
) -> Declaration:
    """`flexible` left out means: every purpose on legitimate interest is flexible (note of §1.6)."""
    return Declaration(
        name,
        frozenset(consent),
        frozenset(interest),
        frozenset(interest if flexible is None else flexible),
        frozenset(special_purposes),
    )


DECLARATIONS: Final[dict[int, Declaration]] = {
    755: _declared("Google Advertising Products", (1, 3, 4), (2, 7, 9, 10), special_purposes=(1, 2, 3)),
    804: _declared("LinkedIn Ireland", (1, 3, 4), (2, 7, 9, 10)),
    1126: _declared("Microsoft Advertising", (1, 2, 3, 4, 7, 9, 10), flexible=(2, 7, 10)),
    32: _declared("Xandr (Microsoft)", (1, 3, 4), (2, 7, 10)),
    793: _declared("Amazon Advertising", (1, 2, 3, 4, 7, 9, 10), flexible=(2, 7, 9, 10)),
    68: _declared("Amazon Ad Server", (1, 3, 4), (2, 7, 9, 10)),
    91: _declared("Criteo", (1, 2, 3, 4, 7, 9, 10), flexible=(10,)),
    986: _declared("BYTEDANCE PTE. LTD.", (1, 3, 4), (2, 7, 9, 10)),
}

#: A vendor that is not in the table: nothing but consent counts, for any purpose.
UNDECLARED: Final = Declaration("not in the table", frozenset(range(1, 25)))


def declaration(vendor: int) -> Declaration:
    """The vendor's declaration, or one that accepts consent only."""
    return DECLARATIONS.get(vendor, UNDECLARED)
