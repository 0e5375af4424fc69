"""What resolution tells of each signal: which purposes it refuses, by which source, in which words, and what was only seen."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pytest
from msgspec import structs

from ebbgate.consent.evidence import NOT_READ, SOURCES
from ebbgate.consent.resolve import Resolver, resolve
from ebbgate.model import Consent, ConsentRules, Model, Place, PurposeRule, Signals
from tests.unit.consent.build import ACCEPT_ALL, NOW_MS, REJECT_ALL, Tc, gpp
from tests.unit.consent.rules import CALIFORNIA, EU, GERMANY, D, G, U, klaro

#: One purpose for each way in which a signal can name it.
PURPOSES: Final = (
    PurposeRule("by_tcf", tcf=(1,)),
    PurposeRule("by_category", categories=("marketing",)),
    PurposeRule("by_google", google=("ad_storage",)),
    PurposeRule("by_opt_out", refused_by_gpc=True),
)
ALL: Final = tuple(purpose.name for purpose in PURPOSES)
UNREAD: Final = "cannot be read"


def resolved(signals: Signals, read_from: Sequence[str] = SOURCES, *, dnt: bool = False, place: Place = CALIFORNIA) -> Consent:
    """Under a policy that allows what nobody refuses."""
    rules = ConsentRules(Model.OPT_OUT, tuple(read_from), "allowed", "most_protective", PURPOSES, honor_dnt=dnt)
    return resolve(signals, place, rules, NOW_MS)


def refusals(consent: Consent) -> dict[str, tuple[str, str]]:
    """Purpose → the source that refused it, and its words."""
    return {name: (found.source, found.rule) for name, found in consent.purposes.items() if found.state is not G}


def told(consent: Consent) -> list[tuple[str, bool, str, str]]:
    """Every reading: signal, whether it counts, what it says, digest of the string."""
    return [(one.signal, one.valid, one.says, one.digest) for one in consent.readings]


#: Malformed part → the source it belongs to, and what it refuses.
MALFORMED: Final = {
    "purposes": ("event", ALL),
    "categories": ("event", ("by_category",)),
    "tcf": ("tcf", ("by_tcf",)),
    "gdpr_applies": ("tcf", ("by_tcf",)),
    "addtl_consent": ("tcf", ("by_tcf",)),
    "gpp": ("gpp", ("by_tcf", "by_opt_out")),
    "gpp_sid": ("gpp", ("by_tcf", "by_opt_out")),
    "us_privacy": ("us_privacy", ("by_opt_out",)),
    "gcs": ("google_consent_mode", ("by_google",)),
    "gcd": ("google_consent_mode", ("by_google",)),
    "npa": ("google_consent_mode", ()),
    "cmp_cookies": ("cmp_cookie", ("by_category",)),
}


@pytest.mark.parametrize("part", MALFORMED)
def test_a_part_that_cannot_be_read_refuses_what_it_could_have_decided(part: str) -> None:
    """Nothing more and nothing less, in the name of its source; a source that the policy does not read decides nothing."""
    source, purposes = MALFORMED[part]
    for read_from in (SOURCES, (source,)):
        found = resolved(Signals(malformed=(part,)), read_from)
        assert refusals(found) == dict.fromkeys(purposes, (source, f"{part}: {UNREAD}"))
        said = f"{UNREAD}: " + ", ".join(f"{p} denied" for p in purposes) if purposes else UNREAD
        assert told(found) == [(part, False, said, "")]
    unread = resolved(Signals(malformed=(part,)), tuple(s for s in SOURCES if s not in (source, "tcf_publisher")))
    assert refusals(unread) == {}
    assert told(unread) == [(part, True, NOT_READ, "")]


def test_a_part_that_no_version_knows_refuses_everything() -> None:
    """It might have refused anything: whatever the policy reads."""
    for read_from in (SOURCES, ("tcf",)):
        found = resolved(Signals(malformed=("of_tomorrow",)), read_from)
        assert refusals(found) == dict.fromkeys(ALL, ("event", f"of_tomorrow: {UNREAD}"))
        assert [one.digest for one in found.readings] == [""]


def test_malformed_parts_that_decide_nothing_hide_none_that_do() -> None:
    """`dma` and `time` refuse nothing, GPC has a reader of its own, and those behind them are looked at all the same."""
    assert told(resolved(Signals(malformed=("dma", "time")))) == []
    found = resolved(Signals(malformed=("dma", "gpc", "time", "categories")), ("event",))
    words = "a GPC signal that cannot be read"
    assert refusals(found) == {"by_opt_out": ("gpc", words), "by_category": ("event", f"categories: {UNREAD}")}
    assert refusals(resolved(Signals(gpc=True), ("event",)))["by_opt_out"] == ("gpc", "Sec-GPC")


def test_publisher_consent_alone_still_reads_the_tc_string() -> None:
    """A malformed TC string counts for a policy that reads the publisher's part only; a malformed GPP string does not."""
    assert set(refusals(resolved(Signals(malformed=("tcf",)), ("tcf_publisher",)))) == {"by_tcf"}
    assert refusals(resolved(Signals(malformed=("gpp",)), ("tcf_publisher",))) == {}


@pytest.mark.parametrize(("read_from", "honoured"), [(("event",), False), (("dnt",), False), (("event",), True)])
def test_a_malformed_do_not_track_counts_where_do_not_track_does(read_from: tuple[str, ...], honoured: bool) -> None:
    """By being read, or by being honoured; otherwise it is not even mentioned."""
    found = resolved(Signals(malformed=("dnt",)), read_from, dnt=honoured)
    counts = honoured or "dnt" in read_from
    assert refusals(found) == ({"by_opt_out": ("dnt", f"dnt: {UNREAD}")} if counts else {})
    assert [one.digest for one in found.readings] == [""] * counts


def sha(text: str) -> str:
    """As readings keep it."""
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


#: Signal → the names and strings under which it is told of when it is not read.
UNHEARD: Final = {
    "tcf": (Signals(tcf=REJECT_ALL), [("tcf", REJECT_ALL)]),
    "addtl_consent": (Signals(addtl_consent="2~89~dv."), [("addtl_consent", "2~89~dv.")]),
    "gpp": (Signals(gpp=gpp([(2, REJECT_ALL)])), [("gpp", gpp([(2, REJECT_ALL)]))]),
    "us_privacy": (Signals(us_privacy="1YYN"), [("us_privacy", "1YYN")]),
    "gcs": (Signals(gcs="G100"), [("google_consent_mode", "G100")]),
    "gcd": (Signals(gcd="13p3p3p3p5"), [("google_consent_mode", "13p3p3p3p5")]),
    "gcs and gcd": (Signals(gcs="G100", gcd="13p3p3p3p5"), [("google_consent_mode", "13p3p3p3p5")]),
    "npa": (Signals(npa="1"), [("google_consent_mode", "")]),
    "two cookies": (
        Signals(cmp_cookies=(*klaro(ads=False), ("CookieConsent", "-1"))),
        [("cmp_cookie cookiebot", ""), ("cmp_cookie klaro", "")],
    ),
    "usprivacy cookie": (Signals(cmp_cookies=(("usprivacy", "1YYN"),)), [("us_privacy cookie", "1YYN")]),
}


@pytest.mark.parametrize("name", UNHEARD)
def test_a_signal_that_is_not_read_is_kept_as_seen(name: str) -> None:
    """It refuses nothing, and the record says that it was there, with the digest of its string."""
    signals, expected = UNHEARD[name]
    found = resolved(signals, ("event",))
    assert refusals(found) == {}
    assert sorted(told(found)) == sorted((signal, True, NOT_READ, sha(raw)) for signal, raw in expected)


def test_the_events_own_words_are_kept_as_seen_too() -> None:
    """A policy that does not read the event's own purposes and categories says that there were some."""
    for signals in (Signals(purposes=(("by_tcf", "denied"),)), Signals(categories=(("marketing", False),))):
        found = resolved(signals, ("tcf",))
        assert refusals(found) == {}
        assert told(found) == [("event", True, NOT_READ, "")]


def test_silence_is_told_as_silence() -> None:
    """Without any signal there is no reading, whatever the policy reads."""
    for read_from in (SOURCES, ("event",), ("tcf", "tcf_publisher")):
        assert told(resolved(Signals(), read_from)) == []


def test_a_tc_string_is_told_once_for_each_use() -> None:
    """Read for both parts it makes two readings, for one of them one; that GDPR applies adds nothing to a string that is there."""
    both = resolved(Signals(tcf=ACCEPT_ALL, gdpr_applies=True), ("tcf", "tcf_publisher"), place=GERMANY)
    assert sorted(one.signal for one in both.readings) == ["tcf", "tcf_publisher"]
    for alone in ("tcf", "tcf_publisher"):
        assert [one.signal for one in resolved(Signals(tcf=ACCEPT_ALL), (alone,), place=GERMANY).readings] == [alone]


def test_a_cookies_tc_string_is_read_for_the_publisher_too() -> None:
    """Where the policy reads the publisher's part, one in a cookie refuses what the rest of its string allows; elsewhere it is not told."""
    refused_by_publisher = Signals(cmp_cookies=(("euconsent-v2", Tc(purposes=(1,), publisher=()).encode()),))
    alone = resolved(refused_by_publisher, ("cmp_cookie",), place=GERMANY)
    both = resolved(refused_by_publisher, ("cmp_cookie", "tcf_publisher"), place=GERMANY)
    assert refusals(alone) == {}
    assert alone.purposes["by_tcf"].source == "cmp_cookie"
    assert refusals(both) == {"by_tcf": ("tcf_publisher", "publisher purpose 1 refused")}
    assert [one.signal for one in both.readings if one not in alone.readings] == ["tcf_publisher"]
    assert set(alone.readings) < set(both.readings)


def test_consent_that_is_due_and_missing_is_told_where_it_is_read() -> None:
    """GDPR applies, or GPP sections are in force, but no string came: unknown instead of allowed, and only for that source."""
    gdpr, sections = Signals(gdpr_applies=True), Signals(gpp_sid=(1,))
    assert refusals(resolved(gdpr)) == {"by_tcf": ("tcf", "tcf: GDPR applies, but no string")}
    assert told(resolved(gdpr)) == [("tcf", False, "GDPR applies, but no string: by_tcf unknown", "")]
    assert set(refusals(resolved(sections))) == {"by_tcf", "by_opt_out"}
    assert refusals(resolved(sections))["by_tcf"] == ("gpp", "gpp: sections in force, but no string")
    for signals in (gdpr, sections, Signals(gdpr_applies=False), Signals(gpp_sid=(0, -1))):
        assert told(resolved(signals, ("event",))) == []
    for none_in_force in (Signals(gdpr_applies=False), Signals(gpp_sid=(0, -1)), Signals(gpp_sid=())):
        assert told(resolved(none_in_force)) == []


def test_npa_alone_is_a_signal_of_google() -> None:
    """Non-personalised ads, asked for on their own, are read and told."""
    assert len(told(resolved(Signals(npa="1"), ("google_consent_mode",)))) == 1


def test_the_first_source_listed_decides_against_later_ones() -> None:
    """With `first_listed` the first source that speaks wins, in the order of the list and not of the signals; opt-outs bind."""
    said = Signals(
        purposes=(("analytics", "granted"), ("advertising", "granted")), cmp_cookies=(("CookieConsent", "-1"),), tcf=REJECT_ALL
    )
    event_first = replace(EU, if_sources_disagree="first_listed", read_from=("event", "tcf", "gpc"))
    tcf_first = replace(EU, if_sources_disagree="first_listed", read_from=("tcf", "event", "gpc"))
    assert resolve(said, GERMANY, event_first, NOW_MS).state("analytics") is G
    assert resolve(said, GERMANY, tcf_first, NOW_MS).state("analytics") is D
    bound = structs.replace(said, gpc=True)
    assert resolve(bound, GERMANY, event_first, NOW_MS).state("advertising") is D
    assert resolve(bound, GERMANY, event_first, NOW_MS).state("analytics") is G
    assert resolve(Signals(), GERMANY, event_first, NOW_MS).state("analytics") is U


def test_what_nobody_said_is_told_as_such() -> None:
    """The words under a purpose that no signal speaks of: allowed by the policy's default, or not."""
    assert resolved(Signals()).purposes["by_tcf"].source == "default"
    assert resolved(Signals()).purposes["by_tcf"].rule == "nothing was said; the policy allows until someone objects"
    silent = resolve(Signals(), GERMANY, EU, NOW_MS).purposes["analytics"]
    assert (silent.state, silent.source, silent.rule) == (U, "none", "nothing was said")


def test_a_google_signal_is_granted_by_all_purposes_in_any_order() -> None:
    """One purpose without a grant keeps the signal denied, whether it stands first or last."""
    said = Signals(purposes=(("yes", "granted"), ("no", "denied")))
    for names in (("yes", "no"), ("no", "yes")):
        rules = replace(EU, purposes=tuple(PurposeRule(name, google=("ad_storage",)) for name in names), vendors=())
        assert resolve(said, GERMANY, rules, NOW_MS).google == {"ad_storage": D}


def test_the_resolver_keeps_answers_of_several_policies_and_not_of_too_many() -> None:
    """Another policy's question does not make it forget; after 64 policies it begins anew."""
    resolver = Resolver()
    first = resolver.resolve(Signals(), GERMANY, EU, NOW_MS)
    other = replace(EU)
    resolver.resolve(Signals(), GERMANY, other, NOW_MS)
    assert resolver.resolve(Signals(), GERMANY, EU, NOW_MS) is first
    kept = [replace(EU) for _ in range(200)]
    sizes = []
    for rules in kept:
        resolver.resolve(Signals(), GERMANY, rules, NOW_MS)
        sizes.append(len(resolver._rules))
    assert max(sizes) == 64
    assert resolver.resolve(Signals(), GERMANY, EU, NOW_MS) is not first
