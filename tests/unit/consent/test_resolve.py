from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import structs

from ebbgate.consent.evidence import SOURCES
from ebbgate.consent.resolve import resolve
from ebbgate.model import ConsentState, Place, Signals
from tests.unit.consent.build import ACCEPT_ALL, NOW_MS, REJECT_ALL, Tc, gpp, usca, usnat
from tests.unit.consent.rules import CALIFORNIA, EU, GERMANY, US, D, G, U, klaro, states, us


def test_silence() -> None:
    """Silence is unknown under opt-in and under `refused`, and what the policy says under opt-out."""
    assert states(Signals()) == (U, U)
    assert us(Signals()) == (G, G)
    assert states(Signals(), replace(US, if_missing="refused")) == (U, U)
    assert states(Signals(), replace(EU, if_missing="hold")) == (U, U)
    assert states(Signals(), replace(EU, if_missing="allowed")) == (U, U)
    assert resolve(Signals(), CALIFORNIA, US, NOW_MS).purposes["analytics"].source == "default"


def test_unknown_purposes_are_unknown() -> None:
    """A purpose that no rule knows is never granted."""
    assert resolve(Signals(purposes=(("secret", "granted"),)), GERMANY, EU, NOW_MS).state("secret") is U


def test_sections_in_force() -> None:
    """`gpp_sid` limits what can permit; an opt-out in another US section is honoured all the same."""
    both = gpp([(7, usnat()), (8, usca())])
    assert us(Signals(gpp=both, gpp_sid=(8,))) == (G, G)
    assert us(Signals(gpp=gpp([(7, usnat(opt_out=1)), (8, usca())]), gpp_sid=(8,))) == (G, D)
    assert us(Signals(gpp=gpp([(7, usnat(notice=0, opt_out=0)), (8, usca())]), gpp_sid=(8,))) == (G, G)
    assert us(Signals(gpp=gpp([(6, "1YYN"), (8, usca())]), gpp_sid=(8,))) == (G, D)
    assert us(Signals(gpp=gpp([(6, "1NNN"), (8, usca())]), gpp_sid=(8,))) == (G, G)
    assert us(Signals(gpp=gpp([(2, REJECT_ALL), (8, usca())]), gpp_sid=(8,))) == (G, G)
    assert us(Signals(gpp=gpp([(5, "AAAA"), (8, usca())]), gpp_sid=(8,))) == (G, G)
    assert us(Signals(gpp=both, gpp_sid=(-1,))) == (G, G)


def test_sections_in_force_that_are_missing() -> None:
    """A section named as in force that the string does not hold, or that nobody knows, contradicts: no permission."""
    assert us(Signals(gpp=gpp([(8, usca())]), gpp_sid=(7,))) == (D, D)
    assert us(Signals(gpp=gpp([(8, usca()), (99, "AAAA")]), gpp_sid=(8, 99))) == (D, D)
    assert us(Signals(gpp_sid=(8,))) == (U, U)
    assert us(Signals(gpp_sid=(8,), us_privacy="1YNN")) == (U, G)
    assert us(Signals(gpp_sid=(0,))) == (G, G)
    assert states(Signals(gpp_sid=(2,))) == (U, U)


def test_refusals_of_section_2_count_under_opt_in_though_not_in_force() -> None:
    """A TC refusal in Germany is not undone by a `gpp_sid` that points elsewhere; a grant needs to be in force."""
    assert states(Signals(gpp=gpp([(2, REJECT_ALL), (7, usnat())]), gpp_sid=(7,))) == (D, D)
    assert states(Signals(gpp=gpp([(2, ACCEPT_ALL), (7, usnat())]), gpp_sid=(7,))) == (U, U)


def test_gdpr_does_not_apply() -> None:
    """The sender's "GDPR does not apply" counts only outside the EEA, the UK, Switzerland and unknown places."""
    accept, reject = Signals(tcf=ACCEPT_ALL, gdpr_applies=False), Signals(tcf=REJECT_ALL, gdpr_applies=False)
    for place in (GERMANY, Place()):
        assert states(accept, EU, place) == (G, G)
        assert states(reject, EU, place) == (D, D)
    brazil = Place("BR")
    assert states(accept, EU, brazil) == (U, U)
    assert states(reject, EU, brazil) == (D, D)
    assert resolve(accept, brazil, EU, NOW_MS).vendors == {}


def test_denials_win() -> None:
    """Any explicit denial beats any number of grants, in whatever order sources are listed."""
    for reject in (
        {"tcf": REJECT_ALL},
        {"gcd": "13q3q3q3q5"},
        {"purposes": (("analytics", "denied"), ("advertising", "denied"))},
        {"cmp_cookies": klaro(analytics=False, marketing=False)},
    ):
        everything: dict[str, object] = {
            "tcf": ACCEPT_ALL,
            "gcd": "13r3r3r3r5",
            "purposes": (("analytics", "granted"), ("advertising", "granted")),
            "cmp_cookies": klaro(analytics=True, marketing=True),
        }
        assert states(Signals(**everything)) == (G, G)  # type: ignore[arg-type]  # one dictionary for all fields
        assert states(Signals(**{**everything, **reject})) == (D, D)  # type: ignore[arg-type]  # as above


def test_several_tc_strings_must_agree() -> None:
    """Strings in the event, in GPP and in a cookie: one refusal among them refuses."""
    assert states(Signals(tcf=ACCEPT_ALL, gpp=gpp([(2, REJECT_ALL)]))) == (D, D)
    assert states(Signals(tcf=ACCEPT_ALL, cmp_cookies=(("euconsent-v2", REJECT_ALL),))) == (D, D)


def test_first_listed_source_wins() -> None:
    """`first_listed`: the first source with an opinion decides, within it any denial."""
    rules = replace(EU, if_sources_disagree="first_listed", read_from=("google_consent_mode", "event", "tcf"))
    assert states(Signals(gcd="13r3r3r3r5", tcf=REJECT_ALL), rules) == (G, G)
    assert states(Signals(gcd="13q3q3q3q5", tcf=ACCEPT_ALL), rules) == (D, D)
    assert states(Signals(gcs="G1--", tcf=ACCEPT_ALL), rules) == (G, G)
    assert (
        resolve(Signals(gcd="13r3r3r3r5", tcf=REJECT_ALL), GERMANY, rules, NOW_MS).purposes["analytics"].source
        == "google_consent_mode"
    )


def test_opt_outs_bind_under_first_listed() -> None:
    """GPC, US opt-outs and unreadable signals refuse sale and sharing whatever stands before them."""
    rules = replace(US, if_sources_disagree="first_listed")
    granted = (("analytics", "granted"), ("advertising", "granted"))
    for signals in (
        Signals(purposes=granted, gpc=True),
        Signals(purposes=granted, us_privacy="1YYN"),
        Signals(purposes=granted, gpp=gpp([(8, usca(opt_out=1))])),
        Signals(purposes=granted, gpp="unreadable"),
        Signals(purposes=granted, tcf="unreadable"),
    ):
        assert states(signals, rules, CALIFORNIA) == (G, D)


def test_only_listed_sources_count() -> None:
    """A source the policy does not read neither grants nor denies, and the record says so; GPC always refuses."""
    rules = replace(EU, read_from=("event",))
    everything = Signals(
        purposes=(("analytics", "granted"), ("advertising", "granted")),
        tcf=REJECT_ALL,
        addtl_consent="1~1",
        gpp=gpp([(7, usnat(opt_out=1))]),
        us_privacy="1YYN",
        gcs="G100",
        gcd="13q3q3q3q5",
        cmp_cookies=(*klaro(analytics=False), ("usprivacy", "1YYN")),
    )
    assert states(everything, rules) == (G, G)
    consent = resolve(everything, GERMANY, rules, NOW_MS)
    unread = [reading for reading in consent.readings if reading.signal != "event"]
    assert len(unread) == 7
    assert {reading.says for reading in unread} == {"not read by this policy"}
    assert states(structs.replace(everything, gpc=True), rules) == (G, D)
    assert states(everything, replace(EU, read_from=("tcf",))) == (D, D)
    assert states(structs.replace(everything, tcf=None), replace(EU, read_from=("tcf",))) == (U, U)


def test_every_source_is_readable() -> None:
    """Each word of `read_from` can decide something."""
    deciding = {
        "event": Signals(purposes=(("advertising", "denied"),)),
        "tcf": Signals(tcf=REJECT_ALL),
        "tcf_publisher": Signals(tcf=Tc(publisher=()).encode()),
        "gpp": Signals(gpp=gpp([(7, usnat(opt_out=1))])),
        "google_consent_mode": Signals(gcd="13q3q3q3q5"),
        "cmp_cookie": Signals(cmp_cookies=klaro(marketing=False)),
        "us_privacy": Signals(us_privacy="1YYN"),
        "gpc": Signals(gpc=True),
        "dnt": Signals(dnt=True),
    }
    assert set(deciding) == set(SOURCES)
    for source, signals in deciding.items():
        consent = resolve(signals, CALIFORNIA, replace(US, read_from=(source,)), NOW_MS)
        assert (consent.state("advertising"), consent.purposes["advertising"].source) == (D, source)


def test_publisher_permission() -> None:
    """`tcf_publisher` reads the site's own permission; without that segment, or with a bad string, it grants nothing."""
    rules = replace(EU, read_from=("tcf_publisher",))
    assert states(Signals(tcf=Tc(publisher=(1, 8)).encode()), rules) == (G, D)
    assert states(Signals(tcf=ACCEPT_ALL), rules) == (U, U)
    assert states(Signals(tcf="x"), rules) == (D, D)
    assert states(Signals(tcf=Tc(publisher=(1, 8), cmp_id=0).encode()), rules) == (D, D)
    outside = Signals(tcf=Tc(publisher=(1, 8)).encode(), gdpr_applies=False)
    assert states(outside, rules, Place("BR")) == (U, D)
    assert states(outside, replace(US, read_from=("tcf_publisher",)), CALIFORNIA) == (G, G)
    assert states(Signals(tcf=Tc(publisher=(1, 8)).encode()), replace(EU, read_from=("tcf", "tcf_publisher"))) == (D, D)


def test_dnt() -> None:
    """Off by default; with `honor_dnt` a refusal of what GPC refuses, and `DNT: 0` is no grant."""
    honored = replace(EU, honor_dnt=True)
    assert states(Signals(dnt=True), honored) == (U, D)
    assert states(Signals(dnt=False), honored) == (U, U)
    assert states(Signals(malformed=("dnt",)), honored) == (U, D)
    assert states(Signals(malformed=("dnt",))) == (U, U)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("purposes", (D, D)),
        ("categories", (D, D)),
        ("tcf", (D, D)),
        ("gdpr_applies", (D, D)),
        ("addtl_consent", (D, D)),
        ("gpp", (D, D)),
        ("gpp_sid", (D, D)),
        ("us_privacy", (U, D)),
        ("gcs", (D, D)),
        ("gcd", (D, D)),
        ("npa", (U, D)),
        ("cmp_cookies", (D, D)),
        ("gpc", (U, D)),
        ("dma", (U, U)),
        ("time", (U, U)),
        ("consent", (D, D)),
        ("anything else", (D, D)),
    ],
)
def test_malformed_parts_refuse_what_they_could_have_decided(name: str, expected: tuple[ConsentState, ConsentState]) -> None:
    """A part that could not even be taken apart is no silence."""
    assert states(Signals(malformed=(name,))) == expected


def test_malformed_parts_of_unread_sources() -> None:
    """They are recorded and have no weight, except for what could have been the whole consent object."""
    rules = replace(EU, read_from=("event",))
    assert states(Signals(malformed=("tcf", "gcd")), rules) == (U, U)
    assert states(Signals(malformed=("consent",)), replace(EU, read_from=("tcf",))) == (D, D)
    assert states(Signals(malformed=("tcf",)), replace(EU, read_from=("tcf_publisher",))) == (D, D)
