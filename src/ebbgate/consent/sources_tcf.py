"""TC strings as evidence: for purposes, and for vendors together with Additional Consent (specs/consent.md §1.5, §1.7)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ebbgate.consent import additional_consent, tcf
from ebbgate.consent.evidence import Case, Evidence, Opinion, opinions, unreadable
from ebbgate.consent.jurisdictions import tcf_applies
from ebbgate.consent.tcf import TcString
from ebbgate.consent.tcf_permit import consents_to, permits_processing_for_site, why_invalid
from ebbgate.consent.vendors import declaration
from ebbgate.errors import SignalError
from ebbgate.model import ConsentState, PurposeRule, VendorRule

NOT_APPLICABLE = "does not apply: the sender says that GDPR does not, and so does the place"


@dataclass(frozen=True, slots=True)
class TcfEvidence:
    """What a TC string says of purposes, and the string itself for vendors: None when it does not count."""

    evidence: Evidence
    string: TcString | None
    applies: bool = True


def read(case: Case, source: str, signal: str, raw: str, *, in_force: bool = True) -> TcfEvidence:
    """One TC string from wherever it came. `in_force` False: a `gpp_sid` does not name its section."""
    try:
        found = tcf.decode(raw)
        problem = why_invalid(found, case.now_ms)
    except SignalError as refused:
        found, problem = None, refused.message
    applies = in_force and (case.signals.gdpr_applies is not False or tcf_applies(case.place))
    if not applies and not case.opt_in:
        return TcfEvidence(Evidence(source, signal, raw, valid=problem is None, note=NOT_APPLICABLE), None, applies=False)
    if found is None or problem is not None:
        why = problem or "not valid"
        return TcfEvidence(unreadable(case, source, signal, raw, why, lambda rule: bool(rule.tcf)), None)
    said = opinions(case.rules.purposes, lambda rule: _purposes(found, rule))
    if not applies:
        # Under opt-in a refusal still counts; a grant from a string that does not apply is none.
        said = {name: opinion for name, opinion in said.items() if opinion[0] is ConsentState.DENIED}
        return TcfEvidence(Evidence(source, signal, raw, said, note=NOT_APPLICABLE), None, applies=False)
    return TcfEvidence(Evidence(source, signal, raw, said, choice_made=True), found)


def read_publisher(case: Case, raw: str) -> Evidence:
    """The PublisherTC segment, for the site's own purposes; a string without one has no opinion."""
    try:
        found = tcf.decode(raw)
        problem = why_invalid(found, case.now_ms)
    except SignalError as refused:
        return unreadable(case, "tcf_publisher", "tcf_publisher", raw, refused.message, lambda rule: bool(rule.tcf))
    if problem is not None:
        return unreadable(case, "tcf_publisher", "tcf_publisher", raw, problem, lambda rule: bool(rule.tcf))
    publisher = found.publisher
    if publisher is None:
        return Evidence("tcf_publisher", "tcf_publisher", raw, note="no publisher segment")
    said = opinions(
        case.rules.purposes,
        lambda rule: _answer(rule, [p for p in rule.tcf if not publisher.consents_to(p)], "publisher purpose"),
    )
    if case.signals.gdpr_applies is False and not tcf_applies(case.place):
        said = {name: opinion for name, opinion in said.items() if opinion[0] is ConsentState.DENIED} if case.opt_in else {}
        return Evidence("tcf_publisher", "tcf_publisher", raw, said, note=NOT_APPLICABLE)
    return Evidence("tcf_publisher", "tcf_publisher", raw, said, choice_made=True)


def read_additional(raw: str) -> Evidence:
    """An Additional Consent string: it speaks of vendors only (`vendor_states`), never of a purpose."""
    try:
        additional_consent.decode(raw)
    except SignalError as refused:
        return Evidence("tcf", "addtl_consent", raw, valid=False, note=refused.message)
    return Evidence("tcf", "addtl_consent", raw, note="read for vendors")


def _purposes(found: TcString, rule: PurposeRule) -> Opinion | None:
    """All TCF ids of a purpose must be consented to; legitimate interest is no grant of a purpose."""
    return _answer(rule, [purpose for purpose in rule.tcf if not consents_to(found, purpose)], "TCF purpose")


def _answer(rule: PurposeRule, refused: list[int], what: str) -> Opinion | None:
    if not rule.tcf:
        return None
    if refused:
        return ConsentState.DENIED, f"{_numbers(what, refused)} refused"
    return ConsentState.GRANTED, f"{_numbers(what, rule.tcf)} granted"


def _numbers(what: str, numbers: Sequence[int]) -> str:
    return f"{what}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def vendor_states(
    rules: Iterable[VendorRule], strings: Sequence[TcString | None], additional: Sequence[str]
) -> dict[str, ConsentState]:
    """Destination → state of its vendor, for the destinations that name one; empty without a TC string.

    `strings`: the TC strings that apply, None for one that does not count. All of them must permit. `additional`: AC
    strings as received; they count only beside a TC string, and one that cannot be read refuses.
    """
    found: dict[str, ConsentState] = {}
    for rule in rules:
        providers = _provider(rule.google_ac, additional) if rule.google_ac is not None else ConsentState.GRANTED
        if not strings:
            if providers is ConsentState.DENIED:
                found[rule.destination] = ConsentState.DENIED
            continue
        if None in strings or (rule.tcf is not None and not all(_permitted(s, rule, rule.tcf) for s in strings if s)):
            found[rule.destination] = ConsentState.DENIED
        else:
            found[rule.destination] = providers
    return found


def _permitted(string: TcString, rule: VendorRule, vendor: int) -> bool:
    declared = declaration(vendor)
    if not rule.purposes:
        return vendor in string.vendors and (string.disclosed is None or vendor in string.disclosed)
    return all(permits_processing_for_site(string, vendor, purpose, declared) for purpose in rule.purposes)


def _provider(provider: int, additional: Sequence[str]) -> ConsentState:
    """Whether every AC string names the provider as consented; no string at all leaves it unknown."""
    try:
        decoded = [additional_consent.decode(raw) for raw in additional]
    except SignalError:
        return ConsentState.DENIED
    if not decoded:
        return ConsentState.UNKNOWN
    return ConsentState.GRANTED if all(provider in one.consented for one in decoded) else ConsentState.DENIED
