from __future__ import annotations

import pytest

from ebbgate.consent import gpp, gpp_us
from ebbgate.errors import SignalError
from tests.unit.consent.build import ACCEPT_ALL, number, text, us, usca, usnat
from tests.unit.consent.build import gpp as encode


@pytest.mark.parametrize(
    ("header", "ids"),
    [
        ("DBABM", (2,)),
        ("DBACNY", (2, 6)),
        ("DBABjw", (5, 6)),
        ("DBABLA", (7,)),
        ("DBABL", (7,)),
        ("DBABTA", (6,)),
        ("DBAA", ()),
    ],
)  # fmt: skip
def test_headers_of_the_specification(header: str, ids: tuple[int, ...]) -> None:
    """The specification's own examples, with its padding and the reference library's."""
    parts = {2: ACCEPT_ALL, 5: "Bxyz", 6: "1YNN", 7: usnat()}
    assert gpp.decode("~".join([header, *(parts[i] for i in ids)])).section_ids == ids


def test_every_kind_of_section() -> None:
    """TC string, US Privacy, national, state and unknown sections side by side; the unknown one is kept as it is."""
    found = gpp.decode(encode([(2, ACCEPT_ALL), (6, "1YNN"), (7, usnat()), (8, usca(gpc=True)), (99, "Whatever.x")]))
    assert found.tcf is not None
    assert found.us_privacy is not None
    assert [section_id for section_id, _ in found.us] == [7, 8]
    assert dict(found.raw)[99] == "Whatever.x"
    assert [found.readable(i) for i in (2, 6, 7, 8, 9, 99)] == [True, True, True, True, False, False]
    shown = gpp.describe(found)
    assert list(shown["sections"]) == ["tcfeuv2", "uspv1", "usnat", "usca"]
    assert shown["sections"]["usca"]["Gpc"] is True


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "D",
        "CBABM~" + ACCEPT_ALL,
        "DCABM~" + ACCEPT_ALL,
        "DBABM",
        "DBABM~",
        "DBAA~1YNN",
        "DBABM~" + ACCEPT_ALL + "~1YNN",
        "DBABM~CP!",
        "DBABM~CPgarbage",
        "DBABTA~1yNN",
        "DBABL=~" + usnat(),
        "DBABzw~" + usnat(),
        encode([(7, "CVV")]),
        encode([(7, usnat() + ".YA")]),
        encode([(9, us(1, [1] * 17) + ".YA")]),
        encode([(8, usca().replace("B", "D", 1))]),
        encode([(8, usca() + "." + text("10" + "1"))]),
        encode([(8, usca(opt_out=3))]),
        encode([(25, text(number(1, 6) + "01" * 9) + "." + text("11" * 8))]),
        encode([(25, text(number(25, 6) + number(1, 6)))]),
        "DBABL4~" + usnat(),
        "DBABLB~" + usnat(),
        text(number(3, 6) + number(1, 6) + number(1, 12) + "0" + "0" * 30, multiple=6) + "~" + usnat(),
        text(number(3, 6) + number(1, 6) + number(1, 12) + "0" + "10" * 20, multiple=6) + "~" + usnat(),
        text(number(3, 6) + number(1, 6) + number(1, 12) + "1" + "11" + "0" * 19 + "11", multiple=6) + "~" + usnat(),
        "DBABL~" + "A" * 40_000,
    ],
)
def test_malformed_strings_are_refused(bad: str) -> None:
    """Header and sections must agree and every known section must decode completely."""
    for _ in range(2):
        with pytest.raises(SignalError):
            gpp.decode(bad)


def test_groups_in_the_header() -> None:
    """A group item names consecutive sections."""
    header = text(number(3, 6) + number(1, 6) + number(1, 12) + "1" + "01011" + "11", multiple=6)
    assert gpp.decode(f"{header}~{usnat()}~{usca()}").section_ids == (7, 8)


def test_older_encoders_of_usnat_version_1() -> None:
    """Version 1 with the longer lists is read as such, and shown with version 1's list lengths."""
    short = us(1, [1, 1, 1, 1, 1, 1, 2, 2, 2, *[0] * 12, 0, 0, 0, 1, 0, 0])
    long = us(1, [1, 1, 1, 1, 1, 1, 2, 2, 2, *[0] * 16, 0, 0, 1, 0, 1, 0, 0])
    for core, child in ((short, 0), (long, 1)):
        section = gpp_us.decode_section(7, core)
        shown = gpp_us.describe(section)
        assert (len(shown["SensitiveDataProcessing"]), len(shown["KnownChildSensitiveDataConsents"])) == (12, 2)
        assert (1 in section.answers("KnownChildSensitiveDataConsents")) is bool(child)


def test_header_part_of_the_newer_sections_is_skipped() -> None:
    """Section usin with the specification's header part and without it reads the same; its sub-section has no type bits."""
    core = text(number(1, 6) + "01" + "00" + "01" * 3 + "10" * 2 + "00" * 2)
    sub = text("10" * 8)
    plain = gpp_us.decode_section(25, f"{core}.{sub}")
    headed = gpp_us.decode_section(25, f"{text(number(25, 6) + number(1, 6) + number(0, 12))}.{core}.{sub}")
    assert plain == headed
    assert gpp_us.describe(plain)["SensitiveDataProcessing"] == [2] * 8
    assert gpp_us.describe(gpp_us.decode_section(25, core))["SensitiveDataProcessing"] is None


def test_layout_widths_are_those_of_the_specification() -> None:
    """Core lengths in bits, version field included (specs/consent.md §2.2)."""
    bits = {
        8: 46, 9: 40, 10: 38, 11: 42, 12: 44, 13: 46, 14: 46, 15: 52, 16: 42, 17: 52, 18: 42, 19: 42, 20: 46, 21: 54, 22: 42,
        23: 42, 24: 22, 25: 24, 26: 24, 27: 24,
    }  # fmt: skip
    assert {i: layout.versions[1].width + 6 for i, layout in gpp_us.LAYOUTS.items() if i != 7} == bits
    assert {v: core.width + 6 for v, core in gpp_us.LAYOUTS[7].versions.items()} == {1: 60, 2: 70}


def test_sections_without_sub_section_show_none() -> None:
    """Virginia's section has no GPC part, and its description has no such key."""
    assert "Gpc" not in gpp_us.describe(gpp_us.decode_section(9, us(1, [1] * 17)))


def test_absent_fields_are_none() -> None:
    """A field that a section does not have has no answer."""
    section = gpp_us.decode_section(8, usca())
    assert section.answer("TargetedAdvertisingOptOut") is None
    assert section.answers("TargetedAdvertisingOptOut") == ()


@pytest.mark.parametrize(
    ("section", "permits", "denied", "opted_out"),
    [
        (usnat(), True, False, False),
        (usnat(opt_out=1), False, True, True),
        (usnat(gpc=True), False, True, True),
        (usnat(notice=2), False, True, False),
        (usnat(notice=0), False, True, False),
        (usnat(notice=1, opt_out=0), False, True, False),
        (usnat(notice=0, opt_out=0), False, False, False),
        (usnat(child=1), False, True, True),
        (usnat(child=2), True, False, False),
        (usnat(provider=1), False, True, True),
        (usnat(gpc=None), True, False, False),
    ],
)
def test_meaning_of_the_national_section(section: str, permits: bool, denied: bool, opted_out: bool) -> None:
    """The decision table of specs/consent.md §2.3."""
    answer = gpp_us.answer(gpp_us.decode_section(7, section))
    assert (answer.permits_all, answer.denied, answer.opted_out) == (permits, denied, opted_out)


def test_meaning_of_state_sections() -> None:
    """California's sharing stands for targeting, the other states' targeting for sharing; each kind is judged by itself."""
    assert gpp_us.answer(gpp_us.decode_section(8, usca())).permits_all
    virginia = gpp_us.answer(gpp_us.decode_section(9, us(1, [1, 1, 1, 2, 1, *[0] * 8, 0, 1, 0, 0])))
    assert (virginia.may_sell, virginia.may_share, virginia.may_target) == (True, False, False)
    california = gpp_us.answer(gpp_us.decode_section(8, us(1, [1, 1, 1, 1, 2, *[0] * 9, 0, 0, 0, 1, 0, 0])))
    assert (california.may_sell, california.may_share, california.may_target) == (False, True, True)


def test_service_provider_mode_of_the_newer_sections() -> None:
    """MspaMode 2 is service-provider mode; a covered transaction of 0 does not exist and permits nothing."""

    def maryland(covered: int, mode: int) -> gpp_us.UsAnswer:
        return gpp_us.answer(gpp_us.decode_section(24, us(1, [covered, mode, 1, 1, 1, 2, 2, 0])))

    assert maryland(1, 0).permits_all
    assert maryland(1, 1).permits_all
    assert not maryland(1, 2).permits_all
    assert not maryland(0, 0).permits_all
