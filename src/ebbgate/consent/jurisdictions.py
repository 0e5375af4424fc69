"""Which law's default holds where: data, with its date (specs/consent.md §6). Not legal advice; policies decide.

A place that no table names is opt-in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ebbgate.model import Model, Place

#: The day on which the tables below were true.
AS_OF: Final = "2026-11-21"


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


EU_STATES: Final = _codes("AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE")
#: Parts of EU states with ISO codes of their own, in which EU law holds.
EU_TERRITORIES: Final = _codes("GF GP MQ RE YT MF AX")
#: Not EU law, but opt-in laws or practice of their own.
TREATED_AS_OPT_IN: Final = _codes("GI JE GG IM FO GL BL PM NC PF WF")
EU: Final = EU_STATES | EU_TERRITORIES
EEA: Final = EU | {"IS", "LI", "NO"}
#: Where a TC string applies also when the sender says that GDPR does not (§1.5).
TCF_COUNTRIES: Final = EEA | {"GB", "CH"}

#: Countries known to be opt-in; every country that stands in no table is treated like them.
OPT_IN: Final = TCF_COUNTRIES | TREATED_AS_OPT_IN | _codes("BR TR TH ZA KR CN IN VN SA AE IL NG KE")
_OPT_OUT: Final = _codes("US CA AU NZ JP MX SG")
_OPT_IN_REGIONS: Final = frozenset({"CA-QC"})

_GROUPS: Final = {"EU": EU, "EEA": EEA}

#: ISO 3166-1 alpha-2, officially assigned, and XK, which geo databases use for Kosovo.
COUNTRIES: Final = _codes(
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF "
    "CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH "
    "GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW "
    "KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG "
    "NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN "
    "SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE "
    "YT ZA ZM ZW"
)


@dataclass(frozen=True, slots=True)
class UsState:
    """One state's comprehensive privacy law: dates as YYYY-MM-DD (day 01 where the source gives a month), None = not required."""

    in_force: str
    must_honor_gpc_since: str | None = None


US_STATES: Final[dict[str, UsState]] = {
    "US-CA": UsState("2020-01-01", "2020-01-01"),
    "US-VA": UsState("2023-01-01"),
    "US-CO": UsState("2023-07-01", "2024-07-01"),
    "US-CT": UsState("2023-07-01", "2025-01-01"),
    "US-UT": UsState("2023-12-01"),
    "US-FL": UsState("2024-07-01"),
    "US-TX": UsState("2024-07-01", "2025-01-01"),
    "US-OR": UsState("2024-07-01", "2026-01-01"),
    "US-MT": UsState("2024-10-01", "2025-01-01"),
    "US-DE": UsState("2025-01-01", "2026-01-01"),
    "US-IA": UsState("2025-01-01"),
    "US-NE": UsState("2025-01-01", "2025-01-01"),
    "US-NH": UsState("2025-01-01", "2025-01-01"),
    "US-NJ": UsState("2025-01-01", "2025-07-15"),
    "US-TN": UsState("2025-07-01"),
    "US-MN": UsState("2025-07-31", "2025-07-31"),
    "US-MD": UsState("2025-10-01", "2025-10-01"),
    "US-IN": UsState("2026-01-01"),
    "US-KY": UsState("2026-01-01"),
    "US-RI": UsState("2026-01-01"),
    # enacted, later
    "US-OK": UsState("2027-01-01"),
    "US-LA": UsState("2027-01-01"),
    "US-AL": UsState("2027-05-01"),
    "US-VT": UsState("2028-01-01"),
}


def regime(place: Place) -> Model:
    """What silence means at a place; an unknown place, and one that no table names, is opt-in."""
    if place.region in _OPT_IN_REGIONS or place.country not in _OPT_OUT:
        return Model.OPT_IN
    return Model.OPT_OUT


def tcf_applies(place: Place) -> bool:
    """True where TC strings bind whatever the sender says of GDPR: EEA, UK, Switzerland, unknown."""
    return place.country is None or place.country in TCF_COUNTRIES


def must_honor_gpc(place: Place, on: str) -> bool:
    """True when a US state's law requires to honour GPC on a day (YYYY-MM-DD); an unknown state counts as the strictest."""
    if place.country != "US":
        return False
    if place.region is None:
        return True
    state = US_STATES.get(place.region)
    return state is not None and state.must_honor_gpc_since is not None and state.must_honor_gpc_since <= on


def group_members(name: str) -> frozenset[str]:
    """Countries of a group that policies may name, `EU` or `EEA`; another name raises `KeyError`."""
    return _GROUPS[name]
