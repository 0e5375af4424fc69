"""Consent cookies of the usual platforms, one platform a file (specs/consent.md §5).

`read_all` gives every platform found (decisions use all of them), `read` the first in the order of `PLATFORMS` (for display).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, Protocol

from ebbgate.consent.cmp_cookies import (
    axeptio,
    cookie_information,
    cookiebot,
    cookieconsent_v3,
    cookieyes,
    didomi,
    generic,
    hubspot,
    iubenda,
    klaro,
    onetrust,
    osano,
    shopify,
    tealium,
    trustarc,
)
from ebbgate.consent.cmp_cookies.reading import CmpReading, jar
from ebbgate.consent.cmp_cookies.wordpress import Complianz, WpConsentApi
from ebbgate.errors import SignalError

__all__ = ["PLATFORMS", "CmpReading", "describe", "is_consent_cookie", "jar", "read", "read_all"]


class Platform(Protocol):
    """One consent platform: its name, its cookies, and its reader. A module or a class is one."""

    @property
    def CMP(self) -> str: ...  # noqa: N802  constants of the modules
    @property
    def COOKIES(self) -> tuple[str, ...]: ...  # noqa: N802
    @property
    def PREFIXES(self) -> tuple[str, ...]: ...  # noqa: N802
    def read(self, cookies: Mapping[str, str]) -> CmpReading | None:
        """What the platform's cookies say, None when there are none, `SignalError` when they are broken."""


#: The order in which the first one found is shown; the generic strings come last.
PLATFORMS: Final[tuple[Platform, ...]] = (
    onetrust,
    cookiebot,
    cookieyes,
    Complianz,
    didomi,
    axeptio,
    klaro,
    cookieconsent_v3,
    iubenda,
    cookie_information,
    shopify,
    osano,
    trustarc,
    tealium,
    hubspot,
    WpConsentApi,
    generic,
)
_NAMES: Final = frozenset(name for platform in PLATFORMS for name in platform.COOKIES)
_PREFIXES: Final = tuple(prefix for platform in PLATFORMS for prefix in platform.PREFIXES)


def is_consent_cookie(name: str) -> bool:
    """True for a cookie that a reader here looks at: the edge keeps only these (and `usprivacy`)."""
    return name in _NAMES or name == "usprivacy" or name.startswith(_PREFIXES)


@lru_cache(maxsize=2048)
def read_all(cookies: tuple[tuple[str, str], ...]) -> tuple[CmpReading, ...]:
    """Every platform found among the cookies (name and raw value, first of a name wins). Never raises.

    A TC or AC string in a cookie of its own is added to the first platform that has none.
    """
    values: dict[str, str] = {}
    for name, value in cookies:
        values.setdefault(name, value)
    found: list[CmpReading] = []
    for platform in PLATFORMS:
        if platform is generic and found:
            break
        try:
            reading = platform.read(values)
        except SignalError:
            reading = CmpReading(platform.CMP, decoded=False)
        if reading is not None:
            found.append(reading)
    if found and found[0].cmp != generic.CMP:
        found = _with_strings(found, values)
    return tuple(found)


def _with_strings(found: list[CmpReading], cookies: Mapping[str, str]) -> list[CmpReading]:
    try:
        tc, ac = generic.tc_string(cookies), generic.ac_string(cookies)
    except SignalError:
        return [*found, CmpReading(generic.CMP, decoded=False)]
    first = found[0]
    own = replace(first, tc_string=first.tc_string or tc, ac_string=first.ac_string or ac) if first.decoded else first
    if tc is not None and own.tc_string != tc:
        # The platform's own cookie and the string's cookie differ: both are evidence.
        return [own, *found[1:], CmpReading(generic.CMP, tc_string=tc, ac_string=ac)]
    return [own, *found[1:]]


def read(cookies: Sequence[tuple[str, str]]) -> CmpReading | None:
    """The first platform found, or None."""
    return next(iter(read_all(tuple(cookies))), None)


def describe(reading: CmpReading | None) -> dict[str, Any]:
    """JSON values: the shape of `consent decode --kind cmp_cookies`."""
    if reading is None:
        reading = CmpReading("", decoded=False)
    shown: dict[str, Any] = {
        "cmp": reading.cmp or None,
        "decoded": reading.decoded,
        "choice_made": reading.choice_made,
        "categories": dict(reading.categories),
        "normalized": dict(reading.normalized),
        "gpc": reading.gpc,
        "tc_string": reading.tc_string,
        "ac_string": reading.ac_string,
    }
    if reading.region_exempt is not None:
        shown["region_exempt"] = reading.region_exempt
    return shown
