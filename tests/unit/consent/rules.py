"""Two policies' rules, opt-in and opt-out, that the tests of resolution share."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

from ebbgate.consent.resolve import resolve
from ebbgate.model import ConsentRules, ConsentState, Model, Place, PurposeRule, Signals, VendorRule
from tests.unit.consent.build import NOW_MS

G, D, U = ConsentState.GRANTED, ConsentState.DENIED, ConsentState.UNKNOWN
GERMANY, CALIFORNIA = Place("DE"), Place("US", "US-CA")
SIGNALS = ("ad_storage", "ad_user_data", "ad_personalization")

EU = ConsentRules(
    model=Model.OPT_IN,
    read_from=("event", "tcf", "gpp", "google_consent_mode", "cmp_cookie", "us_privacy", "gpc"),
    if_missing="refused",
    if_sources_disagree="most_protective",
    purposes=(
        PurposeRule("analytics", (1, 8), ("analytics_storage",), ("analytics", "statistics")),
        PurposeRule("advertising", (1, 3, 4, 7), SIGNALS, ("marketing",), refused_by_gpc=True),
    ),
    vendors=(VendorRule("ga4", 755, None, (1, 8)), VendorRule("meta", None, 89, (1, 3, 4, 7))),
)
US = replace(EU, model=Model.OPT_OUT, if_missing="allowed")


def states(signals: Signals, rules: ConsentRules = EU, place: Place = GERMANY) -> tuple[ConsentState, ConsentState]:
    """(analytics, advertising)."""
    consent = resolve(signals, place, rules, NOW_MS)
    return consent.state("analytics"), consent.state("advertising")


def us(signals: Signals) -> tuple[ConsentState, ConsentState]:
    """(analytics, advertising) in California."""
    return states(signals, US, CALIFORNIA)


def klaro(**services: bool) -> tuple[tuple[str, str], ...]:
    """A CMP cookie of a visitor who chose."""
    inner = ",".join(f'"{name}":{str(allowed).lower()}' for name, allowed in services.items())
    return (("klaro", quote("{" + inner + "}")),)
