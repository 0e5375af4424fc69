from __future__ import annotations

from itertools import product

import pytest

from ebbgate.consent import tcf
from ebbgate.consent.tcf_permit import (
    DAY_MS,
    DISCLOSED_FROM_MS,
    POLICY_4_FROM_MS,
    consents_to,
    permits,
    permits_processing_for_site,
    permits_special_feature,
    permits_special_purpose,
    why_invalid,
)
from ebbgate.consent.vendors import DECLARATIONS, UNDECLARED, Declaration, declaration
from tests.unit.consent.build import ACCEPT_ALL, ALL, CREATED_MS, NOW_MS, REJECT_ALL, Tc

GOOGLE = DECLARATIONS[755]
AMAZON = DECLARATIONS[793]


def string(**fields: object) -> tcf.TcString:
    """A decoded string built from fields of `Tc`."""
    return tcf.decode(Tc(**fields).encode())  # type: ignore[arg-type]  # fields are checked by Tc itself


def test_a_fresh_string_is_valid() -> None:
    """A string as CMPs write them today counts."""
    assert why_invalid(tcf.decode(ACCEPT_ALL), NOW_MS) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"service_specific": False},
        {"cmp_id": 1},
        {"cmp_id": 0},
        {"policy": 1},
        {"policy": 3, "created_ms": POLICY_4_FROM_MS, "updated_ms": NOW_MS},
        {"disclosed": None},
        {"disclosed": None, "created_ms": DISCLOSED_FROM_MS, "updated_ms": NOW_MS},
        {"created_ms": NOW_MS - 396 * DAY_MS},
        {"created_ms": NOW_MS + 2 * DAY_MS},
        {"created_ms": NOW_MS + 2 * DAY_MS, "updated_ms": NOW_MS},
    ],
    ids=[
        "global", "cmp 1", "cmp 0", "policy 1", "policy 3 after its end", "2.3 without disclosed vendors", "2.3 on its first day",
        "older than 13 months", "in the future", "created in the future",
    ],
)  # fmt: skip
def test_strings_that_do_not_count(fields: dict[str, object]) -> None:
    """Each rule of specs/consent.md §1.1 makes a whole string no consent."""
    assert why_invalid(string(purposes=ALL, **fields), NOW_MS)


def test_rules_by_date_spare_older_strings() -> None:
    """A string created before a cut-over is judged by the rules of its time."""
    last_day = DISCLOSED_FROM_MS - DAY_MS
    assert why_invalid(string(disclosed=None, created_ms=last_day), last_day + DAY_MS) is None
    assert why_invalid(string(policy=2, disclosed=None, created_ms=POLICY_4_FROM_MS - DAY_MS), POLICY_4_FROM_MS) is None
    assert why_invalid(string(created_ms=CREATED_MS), CREATED_MS - DAY_MS) is None


def _reference(tc: Tc, vendor: int, purpose: int, decl: Declaration) -> bool:
    """The algorithm of specs/consent.md §1.5, written down a second time over the encoder's sets."""
    if tc.disclosed is not None and vendor not in tc.disclosed:
        return False
    kinds = [k for p, k, ranges in tc.restrictions if p == purpose and k < 3 and any(a <= vendor <= b for a, b in ranges)]
    rt = min(kinds, default=None)
    if rt == 0:
        return False
    basis = "consent" if purpose in decl.consent else "li" if purpose in decl.interest else None
    if basis is None:
        return False
    if rt == 1 and basis == "li":
        if purpose not in decl.flexible:
            return False
        basis = "consent"
    elif rt == 2 and basis == "consent":
        if purpose not in decl.flexible:
            return False
        basis = "li"
    if basis == "consent":
        return purpose in tc.purposes and vendor in tc.vendors and not (purpose == 1 and tc.purpose_one_treatment)
    if purpose == 1 or (3 <= purpose <= 6 and tc.policy >= 4):
        return False
    return purpose in tc.purposes_li and vendor in tc.vendors_li


def test_permission_agrees_with_the_algorithm_in_every_case() -> None:
    """All combinations of basis, flexibility, restrictions, bits and policy version give the specified answer."""
    declared = Declaration("x", frozenset({1, 2, 3}), frozenset({4, 7, 9}), frozenset({2, 3, 7, 4}))
    for kinds, purpose, bits, shown, policy in product(
        [(), (0,), (1,), (2,), (3,), (2, 1), (1, 0), (3, 2)],
        [1, 2, 3, 4, 7, 8, 9],
        [(True, True), (True, False), (False, True), (False, False)],
        [True, False],
        [2, 4],
    ):
        consent, interest = bits
        tc = Tc(
            purposes=ALL if consent else (),
            purposes_li=ALL if interest else (),
            vendors=(5,) if consent else (),
            vendors_li=(5,) if interest else (),
            restrictions=[(purpose, kind, [(4, 6)]) for kind in kinds] + [(purpose, 0, [(1, 4)])],
            disclosed=(5,) if shown else (6,),
            policy=policy,
        )
        assert permits(tcf.decode(tc.encode()), 5, purpose, declared) == _reference(tc, 5, purpose, declared)


def test_purpose_and_vendor_must_both_be_consented() -> None:
    """One bit without the other permits nothing."""
    assert permits(string(purposes=(1,), vendors=(755,)), 755, 1, GOOGLE)
    assert not permits(string(purposes=(1,), vendors=()), 755, 1, GOOGLE)
    assert not permits(string(purposes=(), vendors=(755,)), 755, 1, GOOGLE)


def test_purpose_one_treatment_is_no_consent() -> None:
    """Where purpose 1 was never asked, it was never given."""
    tc = string(purposes=ALL, vendors=(755,), purpose_one_treatment=True)
    assert not consents_to(tc, 1)
    assert consents_to(tc, 3)
    assert not permits(tc, 755, 1, GOOGLE)


def test_undeclared_purpose_of_the_site_needs_both_consents() -> None:
    """GA4 for purpose 8, which Google does not declare: purpose and vendor consented, disclosed, consent not ruled out."""
    yes: dict[str, object] = {"purposes": (8,), "vendors": (755,)}
    assert not permits(string(**yes), 755, 8, GOOGLE)
    assert permits_processing_for_site(string(**yes), 755, 8, GOOGLE)
    assert not permits_processing_for_site(string(**{**yes, "purposes": ()}), 755, 8, GOOGLE)
    assert not permits_processing_for_site(string(**{**yes, "vendors": ()}), 755, 8, GOOGLE)
    assert not permits_processing_for_site(string(**yes, disclosed=(1,)), 755, 8, GOOGLE)
    assert not permits_processing_for_site(string(**yes, restrictions=[(8, 0, [(755, 755)])]), 755, 8, GOOGLE)
    assert permits_processing_for_site(string(**yes, restrictions=[(8, 1, [(755, 755)])]), 755, 8, GOOGLE)
    assert not permits_processing_for_site(string(**yes, restrictions=[(8, 2, [(700, 800)])]), 755, 8, GOOGLE)
    assert permits_processing_for_site(string(purposes=(1,), vendors=(755,)), 755, 1, GOOGLE)


def test_special_purposes() -> None:
    """Declared and disclosed; in older strings the vendor's legitimate-interest bit."""
    assert permits_special_purpose(tcf.decode(REJECT_ALL), 755, 1, GOOGLE)
    assert not permits_special_purpose(string(disclosed=(1,)), 755, 1, GOOGLE)
    assert not permits_special_purpose(tcf.decode(REJECT_ALL), 793, 1, AMAZON)
    assert not permits_special_purpose(string(disclosed=None), 755, 1, GOOGLE)
    assert permits_special_purpose(string(disclosed=None, vendors_li=(755,)), 755, 1, GOOGLE)


def test_special_features() -> None:
    """Opted in, declared, and some basis for the vendor."""
    declared = Declaration("x", frozenset({1}), special_features=frozenset({1}))
    assert permits_special_feature(string(special_features=(1,), purposes=(1,), vendors=(755,)), 755, 1, declared)
    assert not permits_special_feature(string(special_features=(), purposes=(1,), vendors=(755,)), 755, 1, declared)
    assert not permits_special_feature(string(special_features=(1,)), 755, 1, declared)
    assert not permits_special_feature(string(special_features=(1,), purposes=(1,), vendors=(755,)), 755, 1, GOOGLE)


def test_vendors_outside_the_table_need_consent() -> None:
    """For a vendor nobody declared here, legitimate interest never counts."""
    assert declaration(412) is UNDECLARED
    assert not permits(string(purposes_li=ALL, vendors_li=(412,), disclosed=(412,)), 412, 7, declaration(412))
    assert permits(string(purposes=ALL, vendors=(412,), disclosed=(412,)), 412, 7, declaration(412))


def test_declarations_are_consistent() -> None:
    """No shipped vendor has a purpose on both bases, or purpose 1 on legitimate interest; 1149 is not TikTok."""
    for declared in DECLARATIONS.values():
        assert not declared.consent & declared.interest
        assert 1 not in declared.interest | declared.flexible
        assert declared.flexible <= declared.consent | declared.interest
    assert 1149 not in DECLARATIONS
