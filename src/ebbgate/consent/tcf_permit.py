"""What a decoded TC string permits, and whether it counts at all today (specs/consent.md §1.1, §1.5).

All times are arguments. Every function answers "no" unless the string says yes for exactly what is asked.
"""

from __future__ import annotations

from typing import Final

from ebbgate.consent.tcf import TcString
from ebbgate.consent.vendors import Declaration

DAY_MS: Final = 86_400_000
#: CMPs must ask again at least every 13 months.
MAX_AGE_MS: Final = 395 * DAY_MS
#: Clocks may be off by this much.
MAX_AHEAD_MS: Final = DAY_MS
#: 2023-10-01T00:00Z: strings created from here on need TCF policy 4 (TCF 2.2).
POLICY_4_FROM_MS: Final = 1_696_118_400_000
#: 2026-03-01T00:00Z: strings created from here on need a DisclosedVendors segment (TCF 2.3).
DISCLOSED_FROM_MS: Final = 1_772_323_200_000

_NOT_ALLOWED, _REQUIRE_CONSENT, _REQUIRE_INTEREST = 0, 1, 2
#: From policy 4 on these purposes have no legitimate interest; purpose 1 never had one.
_NO_INTEREST_FROM_POLICY_4: Final = frozenset({3, 4, 5, 6})


def why_invalid(tc: TcString, now_ms: int) -> str | None:
    """Why the whole string counts as no consent at `now_ms`, or None when it is valid (specs/consent.md §1.1)."""
    if not tc.service_specific:
        return "global scope, which is no longer valid"
    if tc.cmp_id < 2:
        return "not from a registered CMP"
    if tc.policy_version < 2:
        return "policy version older than TCF 2.0"
    if tc.policy_version < 4 and tc.created_ms >= POLICY_4_FROM_MS:
        return "created under a policy version that had ended"
    if tc.created_ms >= DISCLOSED_FROM_MS and tc.disclosed is None:
        return "no disclosed vendors, which TCF 2.3 requires"
    if tc.last_updated_ms < now_ms - MAX_AGE_MS:
        return "older than 13 months"
    if max(tc.last_updated_ms, tc.created_ms) > now_ms + MAX_AHEAD_MS:
        return "dated in the future"
    return None


def permits(tc: TcString, vendor: int, purpose: int, declared: Declaration) -> bool:
    """May `vendor` process for `purpose` under this (valid) string: the algorithm of specs/consent.md §1.5."""
    if tc.disclosed is not None and vendor not in tc.disclosed:
        return False
    kind = _strictest_restriction(tc, vendor, purpose)
    if kind == _NOT_ALLOWED:
        return False
    if purpose in declared.consent:
        by_consent = True
    elif purpose in declared.interest:
        by_consent = False
    else:
        return False
    if (kind == _REQUIRE_CONSENT and not by_consent) or (kind == _REQUIRE_INTEREST and by_consent):
        if purpose not in declared.flexible:
            return False
        by_consent = not by_consent
    if by_consent:
        return consents_to(tc, purpose) and vendor in tc.vendors
    if purpose == 1 or (purpose in _NO_INTEREST_FROM_POLICY_4 and tc.policy_version >= 4):
        return False
    return tc.interest_in(purpose) and vendor in tc.vendors_li


def permits_processing_for_site(tc: TcString, vendor: int, purpose: int, declared: Declaration) -> bool:
    """May `vendor` receive data for a purpose of the site.

    Where the vendor declared the purpose, its declaration decides. Where it did not (GA4 for "measure content
    performance"), it can only act for the site: then the user must have consented to both, the purpose and the vendor,
    and the publisher must not have ruled consent out.
    """
    if purpose in declared.consent or purpose in declared.interest:
        return permits(tc, vendor, purpose, declared)
    return (
        (tc.disclosed is None or vendor in tc.disclosed)
        and _strictest_restriction(tc, vendor, purpose) in (None, _REQUIRE_CONSENT)
        and consents_to(tc, purpose)
        and vendor in tc.vendors
    )


def consents_to(tc: TcString, purpose: int) -> bool:
    """Purpose consent; with PurposeOneTreatment purpose 1 was never asked and so never given."""
    return tc.consents_to(purpose) and not (purpose == 1 and tc.purpose_one_treatment)


def permits_special_purpose(tc: TcString, vendor: int, special_purpose: int, declared: Declaration) -> bool:
    """Security, delivery, saving choices: declared, and the user was told of the vendor."""
    if special_purpose not in declared.special_purposes:
        return False
    return vendor in (tc.vendors_li if tc.disclosed is None else tc.disclosed)


def permits_special_feature(tc: TcString, vendor: int, special_feature: int, declared: Declaration) -> bool:
    """Precise geolocation, device scan: opted in, declared, and the vendor has a basis for some purpose."""
    if special_feature not in declared.special_features or not tc.opted_into(special_feature):
        return False
    return any(permits(tc, vendor, purpose, declared) for purpose in sorted(declared.consent | declared.interest))


def _strictest_restriction(tc: TcString, vendor: int, purpose: int) -> int | None:
    """Lowest restriction type on (purpose, vendor); type 3 is undefined and ignored."""
    kinds = [r.kind for r in tc.restrictions if r.purpose == purpose and r.kind <= _REQUIRE_INTEREST and vendor in r]
    return min(kinds, default=None)
