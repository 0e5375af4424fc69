"""Countries, groups of countries and regions that policies may name: ISO 3166 data of 2026-11.

The groups follow specs/consent.md §6: EU territories with ISO codes of their own belong to the EU; the EEA is the EU with
Iceland, Liechtenstein and Norway.
"""

from __future__ import annotations

import re
from typing import Final


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


EU: Final = _codes("AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE GF GP MQ RE YT MF AX")
EEA: Final = EU | {"IS", "LI", "NO"}
GROUPS: Final = {"EU": EU, "EEA": EEA}

#: ISO 3166-1 alpha-2, officially assigned; XK is in use for Kosovo.
COUNTRIES: Final = _codes(
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY "
    "BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK "
    "FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR "
    "IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK "
    "ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM "
    "PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF "
    "TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW"
)

US_STATES: Final = _codes(
    "AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK "
    "OR PA RI SC SD TN TX UT VT VA WA WV WI WY DC"
)
CA_PROVINCES: Final = _codes("AB BC MB NB NL NS NT NU ON PE QC SK YT")
_SUBDIVISIONS: Final = {"US": US_STATES, "CA": CA_PROVINCES}
_REGION: Final = re.compile(r"([A-Z]{2})-([A-Z0-9]{1,3})\Z")

#: What people write for a country that has another code.
_MEANT: Final = {"UK": "GB", "EL": "GR"}


def known_country(code: str) -> bool:
    """True for an ISO 3166-1 alpha-2 code."""
    return code in COUNTRIES


def known_region(code: str) -> bool:
    """True for an ISO 3166-2 code like `US-CA`; the lists of the US and Canada are closed."""
    found = _REGION.match(code)
    if not found or found[1] not in COUNTRIES:
        return False
    closed = _SUBDIVISIONS.get(found[1])
    return closed is None or found[2] in closed


def country_of(region: str) -> str:
    """The country part of a region code."""
    return region.partition("-")[0]


def meant(code: str) -> str:
    """The code that was probably meant: `UK` → `GB`; "" when there is none."""
    return _MEANT.get(code.upper(), "")
