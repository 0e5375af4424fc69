"""US signals as evidence: GPP sections, US Privacy, GPC, DNT (specs/consent.md §2.1, §2.3, §3).

They speak of sale, sharing and targeted advertising, that is of the purposes a policy counts as such (`refused_by_gpc`).
Under opt-in "did not opt out" is no grant.
"""

from __future__ import annotations

from ebbgate.consent import gpp, gpp_us, us_privacy
from ebbgate.consent.evidence import NOT_READ, Case, Evidence, Opinion, opinions, refuse, unreadable
from ebbgate.consent.sources_tcf import TcfEvidence, read_publisher
from ebbgate.consent.sources_tcf import read as read_tcf
from ebbgate.consent.us_privacy import SaleAnswer
from ebbgate.errors import SignalError
from ebbgate.model import ConsentState, PurposeRule

#: TCF v1 (dead) and TCF Canada: consent strings this version does not read, so they count as no consent (§2.4).
_NOT_DECODED = (1, 5)


def is_sale(rule: PurposeRule) -> bool:
    """True for a purpose that the policy counts as sale, sharing or targeted advertising."""
    return rule.refused_by_gpc


def read_gpc(case: Case, says: str) -> Evidence:
    """Global Privacy Control: refuses, whatever the policy reads."""
    return Evidence("gpc", "gpc", opinions=refuse(case.rules.purposes, is_sale, says), note=says, binding=True)


def read_dnt(case: Case) -> Evidence:
    """Do Not Track, where the policy honours it; `DNT: 0` is no grant."""
    if not (case.rules.honor_dnt or case.reads("dnt")):
        return Evidence("dnt", "dnt", note=NOT_READ)
    if case.signals.dnt is not True:
        return Evidence("dnt", "dnt", note="no refusal")
    return Evidence("dnt", "dnt", opinions=refuse(case.rules.purposes, is_sale, "DNT: 1"), note="DNT: 1", binding=True)


def read_us_privacy(case: Case, raw: str, source: str = "us_privacy") -> Evidence:
    """A US Privacy string, of the event or of a cookie."""
    try:
        found = us_privacy.decode(raw)
    except SignalError as refused:
        return unreadable(case, source, "us_privacy", raw, refused.message, is_sale)
    return _sale_answer(case, source, "us_privacy", raw, found.answer(strict=case.rules.strict_usp))


def _sale_answer(case: Case, source: str, signal: str, raw: str, answer: SaleAnswer) -> Evidence:
    if answer is SaleAnswer.OPTED_OUT:
        said = refuse(case.rules.purposes, is_sale, f"{signal}: opted out of sale, or not given the chance")
        return Evidence(source, signal, raw, said, choice_made=True, binding=True)
    if answer is SaleAnswer.NOT_OPTED_OUT and not case.opt_in:
        return Evidence(source, signal, raw, _grant(case, f"{signal}: did not opt out of sale"))
    return Evidence(source, signal, raw, note="no opinion" if answer is SaleAnswer.NO_OPINION else "did not opt out of sale")


def _grant(case: Case, why: str) -> dict[str, Opinion]:
    return opinions(case.rules.purposes, lambda rule: (ConsentState.GRANTED, why) if rule.refused_by_gpc else None)


def read_gpp(case: Case, raw: str) -> tuple[list[Evidence], TcfEvidence | None]:
    """A GPP string → one piece of evidence a section, and section 2 as a TC string.

    `gpp_sid` limits what can permit to the sections it names; opt-outs in other US sections are honoured all the same.
    A section that it names and that the string does not hold makes the signal contradictory.
    """
    try:
        found = gpp.decode(raw)
    except SignalError as refused:
        return [_unreadable(case, raw, refused.message)], None
    named = case.signals.gpp_sid
    in_force = None if named is None else frozenset(named)
    evidence: list[Evidence] = []
    if in_force is not None and not all(found.readable(section) for section in in_force if section > 0):
        evidence.append(_unreadable(case, raw, "a section in force is missing or unknown"))
    texts = dict(found.raw)
    if any(section in texts and (in_force is None or section in in_force) for section in _NOT_DECODED):
        evidence.append(_unreadable(case, raw, "a TCF section that is not decoded"))
    tc = None
    if found.tcf is not None:
        binds = in_force is None or gpp.TCF_EU in in_force
        tc = read_tcf(case, "gpp", "gpp tcfeuv2", texts[gpp.TCF_EU], in_force=binds)
        if binds and case.reads("tcf_publisher"):
            evidence.append(read_publisher(case, texts[gpp.TCF_EU]))
    if found.us_privacy is not None:
        binds = in_force is None or gpp.USP_V1 in in_force
        answer = found.us_privacy.answer(strict=case.rules.strict_usp)
        if binds or found.us_privacy.opt_out_sale == "Y":
            evidence.append(_sale_answer(case, "gpp", "gpp uspv1", texts[gpp.USP_V1], answer))
        else:
            evidence.append(Evidence("gpp", "gpp uspv1", texts[gpp.USP_V1], note="not in force"))
    for section_id, section in found.us:
        binds = in_force is None or section_id in in_force
        evidence.append(_us_section(case, section, texts[section_id], binds=binds))
    if not evidence and tc is None:
        evidence.append(Evidence("gpp", "gpp", raw, note="no section that speaks of these purposes"))
    return evidence, tc


def _us_section(case: Case, section: gpp_us.UsSection, raw: str, *, binds: bool) -> Evidence:
    signal = f"gpp {section.layout.name}"
    answer = gpp_us.answer(section, strict=case.rules.strict_mspa)
    if answer.opted_out:
        said = refuse(case.rules.purposes, is_sale, f"{signal}: opted out")
        return Evidence("gpp", signal, raw, said, choice_made=True, binding=True)
    if not binds:
        return Evidence("gpp", signal, raw, note="not in force")
    if answer.denied:
        said = refuse(case.rules.purposes, is_sale, f"{signal}: contradicts itself, or no notice was given")
        return Evidence("gpp", signal, raw, said, binding=True)
    if case.opt_in:
        return Evidence("gpp", signal, raw, note="no opt-out, which is no grant under opt-in")
    if answer.permits_all:
        return Evidence("gpp", signal, raw, _grant(case, f"{signal}: sale, sharing and targeting not opted out of"))
    why = f"{signal}: sale, sharing or targeting not permitted"
    return Evidence("gpp", signal, raw, refuse(case.rules.purposes, is_sale, why), binding=True)


def concerns_gpp(rule: PurposeRule) -> bool:
    """True for a purpose that some GPP section can decide."""
    return rule.refused_by_gpc or bool(rule.tcf)


def _unreadable(case: Case, raw: str, why: str) -> Evidence:
    return unreadable(case, "gpp", "gpp", raw, why, concerns_gpp)
