from __future__ import annotations

import pytest

from ebbgate.consent.resolve import resolve
from ebbgate.model import ConsentRules, ConsentState, Model, Place, PurposeRule, Signals

NOW_MS = 1_795_300_290_000
#: Purposes without TCF ids: what refuses them must be the part that could not be read, not a default about TC strings.
PURPOSES = (PurposeRule("analytics"), PurposeRule("advertising", refused_by_gpc=True))


def rules(model: Model) -> ConsentRules:
    missing = "allowed" if model is Model.OPT_OUT else "refused"
    return ConsentRules(model, ("event", "gpp", "us_privacy", "gpc"), missing, "most_protective", PURPOSES)


@pytest.mark.parametrize("model", list(Model))
def test_unreadable_purposes_refuse_every_purpose(model: Model) -> None:
    """A `purposes` object of a wrong form could have refused anything, so it refuses all, whatever silence would mean."""
    found = resolve(Signals(malformed=("purposes",)), Place("US", "US-CA"), rules(model), NOW_MS)
    assert {name: p.state for name, p in found.purposes.items()} == dict.fromkeys(("analytics", "advertising"), ConsentState.DENIED)


@pytest.mark.parametrize("part", ["gpp", "gpp_sid", "us_privacy", "gpc"])
def test_unreadable_us_signals_are_an_opt_out(part: str) -> None:
    """Where silence allows, a US signal that cannot be read opts out of what it could have refused."""
    found = resolve(Signals(malformed=(part,)), Place("US", "US-CA"), rules(Model.OPT_OUT), NOW_MS)
    assert found.state("advertising") is ConsentState.DENIED
