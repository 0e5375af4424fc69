from __future__ import annotations

import contextlib
from itertools import combinations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import fields, replace

from ebbgate.consent import gpp, tcf
from ebbgate.consent.resolve import resolve
from ebbgate.errors import SignalError
from ebbgate.model import Consent, ConsentRules, ConsentState, Model, Place, PurposeRule, Signals, VendorRule
from tests.scale import SCALE, scaled
from tests.unit.consent.build import ACCEPT_ALL, ALPHABET, DAY_MS, NOW_MS, REJECT_ALL, Tc, usca, usnat
from tests.unit.consent.build import gpp as encode_gpp

quick = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
DENIED, GRANTED = ConsentState.DENIED, ConsentState.GRANTED
PLACES = st.sampled_from([Place(), Place("DE"), Place("BR"), Place("US"), Place("US", "US-CA")])
SOURCES = ("event", "tcf", "tcf_publisher", "gpp", "google_consent_mode", "cmp_cookie", "us_privacy", "gpc", "dnt")

PURPOSES = (
    PurposeRule("analytics", (1, 8), ("analytics_storage",), ("analytics", "statistics")),
    PurposeRule("advertising", (1, 3, 4, 7), ("ad_storage", "ad_user_data"), ("marketing",), refused_by_gpc=True),
)
VENDORS = (VendorRule("ga4", 755, None, (1, 8)), VendorRule("meta", None, 89, (1, 3)))

TC_STRINGS = (
    ACCEPT_ALL,
    REJECT_ALL,
    Tc(purposes=(1, 8), vendors=(755,), publisher=(1,)).encode(),
    Tc(purposes=range(1, 12), created_ms=NOW_MS - 500 * DAY_MS).encode(),
    ACCEPT_ALL[:40],
    "CPgarbage",
    "",
)
GPP_STRINGS = (
    encode_gpp([(2, ACCEPT_ALL), (7, usnat())]),
    encode_gpp([(2, REJECT_ALL)]),
    encode_gpp([(6, "1YNN"), (8, usca())]),
    encode_gpp([(7, usnat(opt_out=1))]),
    encode_gpp([(5, "AAAA"), (99, "AAAA")]),
    "DBAgarbage",
)
COOKIES = (
    (("euconsent-v2", ACCEPT_ALL), ("addtl_consent", "2~89~dv.")),
    (("euconsent-v2", REJECT_ALL),),
    (("CookieConsent", "{marketing:true,statistics:false,method:'explicit'}"),),
    (("CookieConsent", "{marketing:true,statistics:true,method:'implied'}"), ("usprivacy", "1YYN")),
    (("klaro", "%7B%22marketing%22%3Atrue%2C%22analytics%22%3Atrue%7D"), ("usprivacy", "1YNN")),
    (("OptanonConsent", "isGpcEnabled=1&interactionCount=2&groups=C0002%3A1%2CC0004%3A1"),),
    (("cookieconsent_status", "deny"),),
    (("klaro", "broken"),),
)
#: Every way a field of `Signals` can be filled: grants, refusals, contradictions, garbage.
VALUES: dict[str, tuple[Any, ...]] = {
    "purposes": ((("analytics", "granted"), ("advertising", "granted")), (("analytics", "denied"),), (("advertising", "odd"),)),
    "categories": ((("Analytics", True), ("marketing", True)), (("marketing", False),)),
    "tcf": TC_STRINGS,
    "addtl_consent": ("2~89~dv.", "2~~dv.89", "junk"),
    "gpp": GPP_STRINGS,
    "us_privacy": ("1YNN", "1YYN", "1---", "junk"),
    "gcs": ("G111", "G100", "G1--", "junk"),
    "gcd": ("13r3r3r3r5", "13q3q3q3q5", "13l3l3l3l1l1", "junk"),
    "npa": ("0", "1"),
    "gpc": (True,),
    "dnt": (True, False),
    "cmp_cookies": COOKIES,
    "malformed": (("tcf",), ("gpp",), ("us_privacy",), ("purposes",), ("gcd",), ("consent",), ("time",)),
}
#: Attributes of other signals, not signals: fixed on both sides of a comparison.
GDPR = st.sampled_from([None, True, False])
SIDS = st.sampled_from([None, (2,), (7,), (8, 7), (-1,)])


def some(name: str) -> st.SearchStrategy[Any]:
    """One of the values of a field."""
    return st.sampled_from(VALUES[name])


@st.composite
def signals(draw: st.DrawFn) -> Signals:
    """Any combination of signals."""
    present = draw(st.sets(st.sampled_from(sorted(VALUES)), max_size=6))
    chosen = {name: draw(some(name)) for name in sorted(present)}
    return Signals(**chosen, gdpr_applies=draw(GDPR), gpp_sid=draw(SIDS))


@st.composite
def rules(draw: st.DrawFn, disagree: str = "most_protective") -> ConsentRules:
    """Rules of a policy that reads some or all sources, in any order."""
    model = draw(st.sampled_from(list(Model)))
    read = draw(st.permutations(SOURCES))
    return ConsentRules(
        model=model,
        read_from=tuple(read[: draw(st.integers(1, len(SOURCES)))]),
        if_missing=draw(st.sampled_from(["refused", "hold"] if model is Model.OPT_IN else ["refused", "allowed"])),
        if_sources_disagree=disagree,
        purposes=PURPOSES,
        vendors=VENDORS,
        honor_dnt=draw(st.booleans()),
    )


#: The consent issue asks for 100,000 cases; a long run has them.
MONOTONE = 600 if SCALE == 1 else 100_000


@settings(quick, max_examples=MONOTONE)
@given(before=signals(), added=st.sampled_from(sorted(VALUES)), data=st.data(), rule=rules(), place=PLACES)
def test_adding_a_signal_never_turns_a_no_into_a_yes(
    before: Signals, added: str, data: st.DataObject, rule: ConsentRules, place: Place
) -> None:
    """An explicit refusal of a purpose or a vendor stays one, whatever else arrives."""
    after = with_more(before, added, data.draw(some(added)))
    if after is not None:
        assert_no_refusal_lost(resolve(before, place, rule, NOW_MS), resolve(after, place, rule, NOW_MS))


@pytest.mark.parametrize("model", list(Model))
def test_no_third_signal_undoes_the_refusal_of_two(model: Model) -> None:
    """All combinations of up to three signals at two places: a refusal by any two survives the third.

    By default every seventh pair; all of them, over 100,000 cases, at a scale of 7 or more.
    """
    rule = ConsentRules(
        model=model,
        read_from=SOURCES,
        if_missing="allowed" if model is Model.OPT_OUT else "refused",
        if_sources_disagree="most_protective",
        purposes=PURPOSES,
        vendors=VENDORS,
    )
    single = [(name, value) for name, values in VALUES.items() for value in values]
    step = max(1, 7 // scaled(1))
    cases = turn = 0
    for place in (Place("DE"), Place("US", "US-CA")):
        pairs: dict[Signals, Consent] = {}
        for first, second in combinations(single, 2):
            if (turn := turn + 1) % step:
                continue
            more = with_more(with_more(Signals(), *first) or Signals(), *second)
            if more is not None:
                pairs[more] = resolve(more, place, rule, NOW_MS)
        for before, consent in pairs.items():
            for name, value in single:
                after = with_more(before, name, value)
                if after is not None:
                    assert_no_refusal_lost(consent, pairs.get(after) or resolve(after, place, rule, NOW_MS))
                    cases += 1
    assert cases > 50_000 // step


def with_more(before: Signals, name: str, value: Any) -> Signals | None:
    """The same signals and one more; None where that field already holds another string."""
    more: dict[str, Any] = {name: value}
    if name in ("malformed", "purposes", "categories"):
        more[name] = (*getattr(before, name), *value)
    elif getattr(before, name) not in (None, False, ()):
        return None
    return replace(before, **more)


def assert_no_refusal_lost(first: Consent, second: Consent) -> None:
    """Whatever was explicitly refused is still refused."""
    for name, one in first.purposes.items():
        assert one.state is not DENIED or second.purposes[name].state is DENIED
    for destination, state in first.vendors.items():
        assert state is not DENIED or second.vendors[destination] is DENIED


@settings(quick, max_examples=scaled(200))
@given(found=signals(), rule=rules(), place=PLACES)
def test_only_what_a_signal_or_the_policy_says_is_granted(found: Signals, rule: ConsentRules, place: Place) -> None:
    """A grant names a source of `read_from`, or the default of an opt-out policy; the same input gives the same answer."""
    consent = resolve(found, place, rule, NOW_MS)
    assert consent == resolve(found, place, rule, NOW_MS)
    for one in consent.purposes.values():
        if one.state is GRANTED:
            assert one.source in rule.read_from or (one.source == "default" and rule.if_missing == "allowed")
    if not found.present() and not found.gdpr_applies and not found.gpp_sid and rule.if_missing != "allowed":
        assert {one.state for one in consent.purposes.values()} == {ConsentState.UNKNOWN}


@settings(quick, max_examples=scaled(200))
@given(found=signals(), rule=rules(disagree="first_listed"), place=PLACES)
def test_gpc_refuses_under_every_policy(found: Signals, rule: ConsentRules, place: Place) -> None:
    """With GPC set, nothing that counts as sale or sharing is granted, in any order of sources."""
    assert resolve(replace(found, gpc=True), place, rule, NOW_MS).state("advertising") is DENIED


@settings(quick, max_examples=scaled(150))
@given(data=st.data(), rule=rules(), place=PLACES)
def test_no_text_in_any_signal_raises_or_shows(data: st.DataObject, rule: ConsentRules, place: Place) -> None:
    """Arbitrary text in every field resolves without an exception, and none of it is in the result."""
    text = st.text(alphabet=st.characters(codec=None), max_size=40).map(lambda t: f"canary{t}")
    names = [f.name for f in fields(Signals) if f.name in ("tcf", "addtl_consent", "gpp", "us_privacy", "gcs", "gcd", "npa")]
    chosen: dict[str, Any] = {name: data.draw(text) for name in names}
    chosen["purposes"] = tuple((data.draw(text), data.draw(text)) for _ in range(2))
    chosen["categories"] = ((data.draw(text), True),)
    chosen["cmp_cookies"] = tuple(
        (name, data.draw(text)) for name in ("OptanonConsent", "CookieConsent", "klaro", "cc_cookie", "euconsent-v2", "usprivacy")
    )
    consent = resolve(Signals(**chosen), place, rule, NOW_MS)
    assert "canary" not in repr(consent)


@settings(quick, max_examples=scaled(150))
@given(
    purposes=st.sets(st.integers(1, 24)),
    interests=st.sets(st.integers(1, 24)),
    vendors=st.sets(st.integers(1, 65535), max_size=30),
    disclosed=st.none() | st.sets(st.integers(1, 900), max_size=30),
    restrictions=st.lists(
        st.tuples(
            st.integers(1, 24),
            st.integers(0, 3),
            st.lists(st.tuples(st.integers(1, 500), st.integers(0, 500)).map(lambda p: (p[0], p[0] + p[1])), max_size=4),
        ),
        max_size=5,
    ),
    ranged=st.booleans(),
)
def test_tc_strings_decode_to_what_was_encoded(
    purposes: set[int],
    interests: set[int],
    vendors: set[int],
    disclosed: set[int] | None,
    restrictions: list[tuple[int, int, list[tuple[int, int]]]],
    ranged: bool,
) -> None:
    """Any content survives encoding by the bit tables and decoding, in both vendor encodings."""
    if not ranged:
        vendors = {vendor % 3000 + 1 for vendor in vendors}
    raw = Tc(
        purposes=purposes, purposes_li=interests, vendors=vendors, disclosed=disclosed, restrictions=restrictions, ranged=ranged
    ).encode()
    shown = tcf.describe(tcf.decode(raw))
    assert shown["purpose_consents"] == sorted(purposes)
    assert shown["purpose_legitimate_interests"] == sorted(interests)
    assert shown["vendor_consents"] == sorted(vendors)
    assert shown["disclosed_vendors"] == (None if disclosed is None else sorted(disclosed))
    expected: dict[tuple[int, int], set[int]] = {}
    for purpose, kind, ranges in restrictions:
        expected.setdefault((purpose, kind), set()).update(v for a, b in ranges for v in range(a, b + 1))
    assert {(r["purpose"], r["type"]): set(r["vendors"]) for r in shown["publisher_restrictions"]} == expected


@settings(quick, max_examples=scaled(200))
@given(vendors=st.sets(st.integers(1, 900), max_size=20), ranged=st.booleans(), cut=st.integers(0, 400))
def test_prefixes_of_refusals_permit_nothing(vendors: set[int], ranged: bool, cut: int) -> None:
    """A cut "reject all" string (vendors disclosed, nothing consented) has no permissions."""
    raw = Tc(disclosed=vendors, ranged=ranged).encode()
    try:
        found = tcf.decode(raw[: min(cut, len(raw) - 1)])
    except SignalError:
        return
    assert found.purposes == found.purposes_li == 0
    assert found.vendors.ids() == found.vendors_li.ids() == []


@pytest.mark.parametrize("decode", [tcf.decode, gpp.decode], ids=["tcf", "gpp"])
@settings(quick, max_examples=scaled(150))
@given(data=st.data())
def test_changed_characters_raise_only_the_decoders_error(decode: Any, data: st.DataObject) -> None:
    """Flipped bits and replaced, inserted or removed characters decode or raise SignalError, nothing else."""
    raw = data.draw(st.sampled_from(TC_STRINGS[:3] if decode is tcf.decode else GPP_STRINGS[:4]))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw)))
        raw = raw[:at] + data.draw(st.sampled_from(["", *ALPHABET, ".", "~", "="])) + raw[at + data.draw(st.integers(0, 2)) :]
    with contextlib.suppress(SignalError):
        decode(raw)
