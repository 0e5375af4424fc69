"""The stricter readings that a policy may ask for, and publisher permissions from every carrier (specs/consent.md §1.3, §2.3, §3)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import structs

from ebbgate.app import facts_of
from ebbgate.consent import gpp_us
from ebbgate.consent.us_privacy import SaleAnswer, decode
from ebbgate.destinations.registry import DESTINATIONS
from ebbgate.model import ConsentState, Signals
from ebbgate.policy.load import load_texts
from ebbgate.policy.templates import templates
from tests.unit.consent.build import Tc, gpp, us
from tests.unit.consent.rules import CALIFORNIA, EU, GERMANY, US, D, G, U, states

STRICT = replace(US, strict_mspa=True, strict_usp=True)


def usnat(*, sharing: int = 1, personal: int = 0, child: int = 0) -> str:
    """A national section that permits everything, with these three answers; `child` is the one about those under 13."""
    return us(2, [sharing, 1, 1, 1, 1, 1, 2, 2, 2, *[0] * 16, 0, child, 0, personal, 1, 0, 0], gpc=False)


@pytest.mark.parametrize("section", [usnat(sharing=2), usnat(personal=2), usnat(child=2)])
def test_strict_mspa_refuses_more(section: str) -> None:
    """No notice of sharing, consent to uses that were not disclosed, a known child under 13: refused under `strict_mspa` alone."""
    decoded = gpp_us.decode_section(7, section)
    plain, strict = gpp_us.answer(decoded), gpp_us.answer(decoded, strict=True)
    assert (plain.permits_all, plain.denied) == (True, False)
    assert (strict.permits_all, strict.denied, strict.opted_out) == (False, True, False)
    signals = Signals(gpp=gpp([(7, section)]))
    assert states(signals, US, CALIFORNIA) == (G, G)
    assert states(signals, STRICT, CALIFORNIA) == (G, D)
    assert states(signals, replace(EU, strict_mspa=True)) == (U, D)


def test_strict_readings_leave_clear_answers_alone() -> None:
    """What permits by the plain reading and lacks nothing still permits."""
    assert states(Signals(gpp=gpp([(7, usnat())])), STRICT, CALIFORNIA) == (G, G)
    assert states(Signals(us_privacy="1YNN"), STRICT, CALIFORNIA) == (G, G)
    assert states(Signals(us_privacy="1---"), STRICT, CALIFORNIA) == (G, G)


@pytest.mark.parametrize("signals", [Signals(us_privacy="1-N-"), Signals(gpp=gpp([(6, "1-N-")]))])
def test_strict_usp_wants_to_know_of_the_notice(signals: Signals) -> None:
    """`1-N-` is no opt-out, and under `strict_usp` no permission either."""
    assert decode("1-N-").answer() is SaleAnswer.NOT_OPTED_OUT
    assert decode("1-N-").answer(strict=True) is SaleAnswer.OPTED_OUT
    assert states(signals, US, CALIFORNIA) == (G, G)
    assert states(signals, STRICT, CALIFORNIA) == (G, D)


def test_the_words_of_a_policy_reach_the_rules() -> None:
    """`strict_mspa`, `strict_usp` and `honor_do_not_track` are off unless a policy says true."""
    text = templates()["california.yaml"]
    facts = facts_of(DESTINATIONS)

    def rules(more: str) -> tuple[bool, bool, bool]:
        given = text.replace("  model: opt_out", f"  model: opt_out{more}", 1)
        found = load_texts({"a.yaml": given.encode()}, facts).policies[0].consent
        return found.strict_mspa, found.strict_usp, found.honor_dnt

    assert rules("") == (False, False, False)
    assert rules("\n  strict_mspa: true") == (True, False, False)
    assert rules("\n  strict_usp: true\n  honor_do_not_track: true") == (False, True, True)


PUBLISHER = replace(EU, read_from=("tcf_publisher", "gpp", "cmp_cookie"))


def carriers(text: str) -> list[Signals]:
    """The same TC string in the event, in a GPP string and in a cookie."""
    return [Signals(tcf=text), Signals(gpp=gpp([(2, text)])), Signals(cmp_cookies=(("euconsent-v2", text),))]


def analytics(signals: Signals, read_from: tuple[str, ...]) -> ConsentState:
    return states(signals, replace(EU, read_from=read_from), GERMANY)[0]


def test_publisher_permissions_count_from_every_carrier_that_is_read() -> None:
    """The segment refuses in a GPP string and in a cookie as it does in the event, where the core alone would grant."""
    core = Tc(purposes=range(1, 12), vendors=(755,), disclosed=(755,), publisher=())
    for signals in carriers(core.encode()):
        assert analytics(signals, PUBLISHER.read_from) is D
    for signals in carriers(replace(core, publisher=(1, 8)).encode()):
        assert analytics(signals, PUBLISHER.read_from) is G
        assert analytics(signals, ("tcf", "gpp", "cmp_cookie")) is G


def test_a_publisher_segment_does_not_count_where_its_carrier_does_not() -> None:
    """A cookie or GPP string that is not read, or a section that is not in force, says nothing by its publisher segment."""
    _, in_gpp, in_cookie = carriers(Tc(publisher=(1, 8)).encode())
    assert analytics(in_gpp, ("tcf_publisher", "cmp_cookie")) is U
    assert analytics(in_cookie, ("tcf_publisher", "gpp")) is U
    granted = structs.replace(in_gpp, gpp=gpp([(2, Tc(purposes=(1, 8), publisher=(1, 8)).encode())]), gpp_sid=(0,))
    assert analytics(granted, ("tcf_publisher", "gpp")) is U
