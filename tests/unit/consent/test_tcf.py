from __future__ import annotations

from dataclasses import replace

import pytest

from ebbgate.consent import tcf
from ebbgate.consent.tcf import VendorSection
from ebbgate.errors import SignalError
from tests.unit.consent.build import ACCEPT_ALL, CREATED_MS, REJECT_ALL, Tc, entries, mask, number, section, text


@pytest.mark.parametrize("ranged", [False, True])
def test_fields_of_a_string(ranged: bool) -> None:
    """A string with every kind of field decodes to what was encoded, in both vendor encodings."""
    found = tcf.decode(
        Tc(
            purposes=(1, 3, 11),
            purposes_li=(2, 24),
            vendors=(1, 755),
            vendors_li=(4202,),
            restrictions=[(2, 1, [(3, 9)]), (7, 0, [(1, 1), (20, 30)])],
            disclosed=(1, 755),
            publisher=(1, 8),
            special_features=(2,),
            ranged=ranged,
        ).encode()
    )
    assert [p for p in range(1, 25) if found.consents_to(p)] == [1, 3, 11]
    assert [p for p in range(1, 25) if found.interest_in(p)] == [2, 24]
    assert found.vendors.ids() == [1, 755]
    assert found.vendors_li.ids() == [4202]
    assert 755 in found.vendors
    assert 754 not in found.vendors
    assert 25 in found.restrictions[1]
    assert 31 not in found.restrictions[1]
    assert found.opted_into(2)
    assert not found.opted_into(1)
    assert found.publisher is not None
    assert found.publisher.consents_to(8)
    assert not found.publisher.consents_to(9)
    assert found.created_ms == found.last_updated_ms == CREATED_MS
    assert (found.consent_language, found.publisher_country) == ("EN", "DE")
    assert found.segments == ("core", "disclosed_vendors", "publisher_tc")


@pytest.mark.parametrize("outside", [0, -1, 25, 1000])
def test_ids_outside_a_field_are_no(outside: int) -> None:
    """A purpose or vendor id that the field cannot hold is never granted."""
    found = tcf.decode(ACCEPT_ALL)
    assert not found.consents_to(outside)
    assert not found.interest_in(outside)
    assert outside not in found.vendors


def test_empty_disclosed_segment_means_nobody() -> None:
    """`IAAA` discloses no vendor, which is not the same as saying nothing."""
    found = tcf.decode(f"{Tc(disclosed=None).encode()}.IAAA")
    assert found.disclosed is not None
    assert found.disclosed.ids() == []


CORE = Tc(disclosed=None).encode()
OTHER = text("001" + section((1, 2)))


@pytest.mark.parametrize(
    "bad",
    [
        "",
        ".",
        CORE + ".",
        f"{CORE}..{OTHER}",
        f"{CORE}.{OTHER}.{OTHER}",
        f"{CORE}.{CORE}",
        f"{OTHER}.{CORE}",
        f"{CORE}.{text('111' + section((1,)))}",
        Tc(version=1).encode(),
        Tc(version=3).encode(),
        CORE[:-6],
        CORE + "=",
        " " + CORE,
        text(Tc(disclosed=None).core_bits() + "1"),
        text(Tc(disclosed=None).core_bits().replace(number(4, 6) + number(13, 6), number(40, 6) + number(13, 6), 1)),
        "C" * 40_000,
    ],
    ids=[
        "empty", "dot", "trailing dot", "empty part", "segment twice", "core twice", "core not first", "unknown type", "version 1",
        "version 3", "cut", "padding character", "blank", "data after the end", "not a language", "too long",
    ],
)  # fmt: skip
def test_malformed_strings_are_refused(bad: str) -> None:
    """Anything that does not decode completely raises SignalError, the second time as well."""
    for _ in range(2):
        with pytest.raises(SignalError) as refused:
            tcf.decode(bad)
        assert bad == "" or bad == "." or bad not in refused.value.message


def test_refusals_name_no_value() -> None:
    """The reason for a refusal holds nothing of the string."""
    with pytest.raises(SignalError) as refused:
        tcf.decode("CPersonalData!")
    assert "Personal" not in str(refused.value)


def test_description_merges_restrictions_and_lists_overlaps_once() -> None:
    """The same (purpose, type) named twice is a union; overlapping ranges list each id once."""
    shown = tcf.describe(tcf.decode(Tc(restrictions=[(5, 1, [(3, 5)]), (2, 0, [(1, 1)]), (5, 1, [(4, 7), (6, 6)])]).encode()))
    assert shown["publisher_restrictions"] == [
        {"purpose": 2, "type": 0, "vendors": [1]},
        {"purpose": 5, "type": 1, "vendors": [3, 4, 5, 6, 7]},
    ]


def test_description_of_huge_restrictions_is_bounded() -> None:
    """A string whose restrictions cover millions of ids is not expanded without end."""
    bits = Tc(disclosed=None, restrictions=[(p, kind, [(1, 65535)]) for p in range(1, 12) for kind in (0, 1)]).core_bits()
    with pytest.raises(SignalError) as refused:
        tcf.describe(tcf.decode(text(bits)))
    assert refused.value.code == "too_many"


def test_range_section_without_entries_names_nobody() -> None:
    """A range section with 0 entries and a high MaxVendorId holds no vendor."""
    assert VendorSection(500).ids() == []
    bits = "001" + number(500, 16) + "1" + entries([])
    found = tcf.decode(f"{CORE}.{text(bits)}")
    assert found.disclosed is not None
    assert 500 not in found.disclosed


def test_custom_purposes_of_the_publisher() -> None:
    """Custom purposes are read by their count."""
    bits = "011" + mask((1,), 24) + mask((2,), 24) + number(5, 6) + mask((1, 5), 5) + mask((3,), 5)
    shown = tcf.describe(tcf.decode(f"{CORE}.{text(bits)}"))["publisher_tc"]
    assert shown == {
        "consents": [1],
        "legitimate_interests": [2],
        "num_custom_purposes": 5,
        "custom_consents": [1, 5],
        "custom_legitimate_interests": [3],
    }


def test_reject_all_consents_to_nothing() -> None:
    """The default refusal holds no purpose and no vendor."""
    found = tcf.decode(REJECT_ALL)
    assert not any(found.consents_to(p) for p in range(1, 25))
    assert replace(found).vendors.ids() == []
