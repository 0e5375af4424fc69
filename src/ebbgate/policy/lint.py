"""What is wrong with one policy file beyond its shape: everything that needs two places of the file to see.

Each finding has a code with a page in docs/reference/codes/. What concerns several files is in `lint_places`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from ebbgate.policy.authored import ConsentWords, DestinationWords, PolicyWords, seconds
from ebbgate.policy.lint_fields import check_fields, check_selectors
from ebbgate.policy.lint_words import check_destination_name, check_words, twice
from ebbgate.policy.places import COUNTRIES, GROUPS, known_region, meant
from ebbgate.policy.plan import DestinationFacts
from ebbgate.policy.words import TCF_PURPOSES, did_you_mean, hint_for
from ebbgate.policy.yaml import Document

DAY_S: Final = 86_400
MAX_HOLD_S: Final = DAY_S
MAX_EXPIRE_S: Final = 90 * DAY_S
MAX_EVIDENCE_S: Final = 10 * 365 * DAY_S
#: Consent strings count for 13 months (specs/consent.md §1.1, §7); California asks for records of 24 months.
EVIDENCE_S: Final = {"opt_in": 395 * DAY_S, "opt_out": 730 * DAY_S}

#: Sources that can only refuse.
_ONLY_REFUSE: Final = frozenset({"gpc", "dnt"})
_US_SOURCES: Final = frozenset({"gpp", "us_privacy"})
#: Sources that may hold a TC string or the provider list beside it.
_IAB_SOURCES: Final = frozenset({"tcf", "gpp", "cmp_cookie"})


def lint_file(doc: Document, words: PolicyWords, facts: Mapping[str, DestinationFacts], configured: Collection[str] | None) -> None:
    """Adds every finding about this one file to `doc`."""
    if words.owner is None or words.reason is None:
        missing = " and no ".join(f"'{name}'" for name in ("owner", "reason") if getattr(words, name) is None)
        doc.report("P051", doc.key("policy"), f"this policy has no {missing}", "say who answers for it and on what ground")
    check_words(doc, words)
    _places(doc, words)
    _consent(doc, words)
    check_selectors(doc, ("before_anything_leaves", "remove"), words.before_anything_leaves.remove)
    check_selectors(doc, ("before_anything_leaves", "pseudonymise"), words.before_anything_leaves.pseudonymise)
    if not words.destinations:
        doc.report("P007", doc.value("destinations"), "no destination is named", "name at least one, or `enabled: false` it")
    for name, destination in words.destinations.items():
        _destination(doc, words, name, destination, facts, configured)
    if not any(problem.severity == "error" for problem in doc.problems):
        # A misspelt need would make its purpose look unused.
        _unused(doc, words)
    _times(doc, words)


def _places(doc: Document, words: PolicyWords) -> None:
    places = words.applies_to
    for index, code in enumerate(places.countries):
        if code not in COUNTRIES and code not in GROUPS:
            span = doc.value("applies_to", "countries", index)
            hint = f"did you mean {meant(code)!r}?" if meant(code) else hint_for(code.upper(), COUNTRIES | GROUPS.keys())
            doc.report("P002", span, f"unknown country {code!r}", hint, replacement=meant(code))
    for index, region in enumerate(places.regions):
        if not known_region(region):
            doc.report("P002", doc.value("applies_to", "regions", index), f"unknown region {region!r}", "write it like 'US-CA'")
    if not (places.countries or places.regions or places.everywhere_else or places.when_country_unknown == "apply"):
        doc.report("P032", doc.key("applies_to"), "this policy applies to nowhere", "name countries, regions or everywhere_else")


def _consent(doc: Document, words: PolicyWords) -> None:
    consent = words.consent
    at = ("consent",)
    if not consent.read_from:
        doc.report("P007", doc.value(*at, "read_from"), "no source of consent is named", "name at least one, e.g. event")
    if consent.model == "opt_in" and consent.if_missing == "allowed":
        doc.report("P014", doc.value(*at, "if_missing"), "'allowed' contradicts 'opt_in': silence is no consent", "write 'refused'")
    if consent.model == "opt_out" and consent.if_missing == "hold":
        doc.report("P014", doc.value(*at, "if_missing"), "'hold' contradicts 'opt_out': there is nothing to wait for")
    if consent.hold_for is not None and consent.if_missing != "hold":
        doc.report("P016", doc.key(*at, "hold_for"), "nothing is held: 'if_missing' is not 'hold'")
    for name, purpose in consent.purposes.items():
        for index, number in enumerate(purpose.tcf):
            if number not in TCF_PURPOSES:
                doc.report(
                    "P002", doc.value(*at, "purposes", name, "tcf", index), f"unknown TCF purpose {number}", "they go from 1 to 11"
                )
        if consent.read_from and not can_be_granted(name, consent):
            doc.report(
                "P013",
                doc.key(*at, "purposes", name),
                f"no source in 'read_from' can ever grant {name!r}",
                "add 'event' to read_from, or say under this purpose how a source names it",
            )
    if not consent.purposes and any(d.needs != "nothing" for d in words.destinations.values()):
        doc.report("P007", doc.value(*at, "purposes"), "no purpose is named")
    for index, name in enumerate(consent.gpc_counts_as):
        if name not in consent.purposes:
            span = doc.value(*at, "gpc_counts_as", index)
            doc.report("P002", span, f"unknown purpose {name!r}", hint_for(name, consent.purposes))


def can_be_granted(name: str, consent: ConsentWords) -> bool:
    """Whether any source that the policy reads can say yes to a purpose."""
    if consent.model == "opt_out" and consent.if_missing == "allowed":
        return True
    purpose, sources = consent.purposes[name], set(consent.read_from) - _ONLY_REFUSE
    if "event" in sources:
        return True
    if consent.model == "opt_out" and name in consent.gpc_counts_as and sources & _US_SOURCES:
        return True
    return bool(
        (purpose.tcf and sources & {"tcf", "tcf_publisher", "gpp"})
        or (purpose.google and "google_consent_mode" in sources)
        or (purpose.categories and "cmp_cookie" in sources)
    )


def _destination(
    doc: Document,
    words: PolicyWords,
    name: str,
    destination: DestinationWords,
    facts: Mapping[str, DestinationFacts],
    configured: Collection[str] | None,
) -> None:
    at = ("destinations", name)
    known = facts.get(name)
    if known is None and did_you_mean(name, facts):
        doc.report("P002", doc.key(*at), f"unknown destination {name!r}", hint_for(name, facts))
    elif known is None and check_destination_name(doc, name, sorted(facts)):
        doc.report(
            "P040",
            doc.key(*at),
            f"{name!r} is no destination that is installed: nothing is sent to it",
            "see `ebbgate destination list`",
        )
    elif known is not None and configured is not None and name not in configured:
        doc.report("P040", doc.key(*at), f"{name!r} is not configured: nothing is sent to it", "add it to ebbgate.toml")
    _needs(doc, words, at, destination)
    if destination.events != "all":
        for index, event in enumerate(destination.events):
            if known is not None and event in known.reserved_events:
                span = doc.value(*at, "events", index)
                doc.report("P041", span, f"{name} reserves the event name {event!r} and would drop it", "remove it")
    check_fields(doc, words, name, destination, known)


def _needs(doc: Document, words: PolicyWords, at: tuple[str, str], destination: DestinationWords) -> None:
    needs = destination.needs
    if needs is None:
        doc.report("P010", doc.key(*at), f"{at[1]!r} does not say what it needs", "add 'needs: [purpose]' or 'needs: nothing'")
        return
    if needs == "nothing":
        if not (destination.because or "").strip():
            doc.report("P011", doc.value(*at, "needs"), "'needs: nothing' without 'because'", "name the legal ground")
        if destination.if_refused is not None:
            doc.report("P021", doc.key(*at, "if_refused"), "'if_refused' can never apply: nothing is needed")
        if destination.vendor is not None:
            doc.report("P021", doc.key(*at, "vendor"), "'vendor' can never apply: nothing is needed")
        return
    twice(doc, (*at, "needs"), needs)
    for index, purpose in enumerate(needs):
        if purpose not in words.consent.purposes:
            span = doc.value(*at, "needs", index)
            hint = hint_for(purpose, words.consent.purposes)
            doc.report("P002", span, f"unknown purpose {purpose!r}", hint, replacement=_quoted(hint))
    vendor = destination.vendor
    if vendor is not None and vendor.tcf is None and vendor.google_ac is None:
        doc.report("P006", doc.key(*at, "vendor"), "'vendor' names no vendor", "add tcf or google_ac")
    elif vendor is not None and not _IAB_SOURCES & set(words.consent.read_from):
        doc.report(
            "P017",
            doc.key(*at, "vendor"),
            "'vendor' can never apply: no IAB string is read",
            "add 'tcf' to read_from, or remove it",
        )


def _quoted(hint: str) -> str:
    return hint.removeprefix("did you mean '").removesuffix("'?") if hint.startswith("did you mean") else ""


def _unused(doc: Document, words: PolicyWords) -> None:
    needed = {p for d in words.destinations.values() if isinstance(d.needs, list) for p in d.needs}
    for name in words.consent.purposes:
        if name not in needed:
            doc.report("P015", doc.key("consent", "purposes", name), f"no destination needs {name!r}", "remove it, or need it")


def _times(doc: Document, words: PolicyWords) -> None:
    kept_s = seconds(words.keep_evidence_for) or 0
    span = doc.value("keep_evidence_for")
    least_s = EVIDENCE_S[words.consent.model]
    if kept_s > MAX_EVIDENCE_S:
        doc.report("P007", span, "'keep_evidence_for' is at most 10 years")
    elif kept_s < least_s:
        doc.report(
            "P050",
            span,
            f"evidence is kept {kept_s // DAY_S} days, the record of consent needs {least_s // DAY_S}",
            "write '24 months'",
        )
    hold = words.consent.hold_for
    if hold is not None and (seconds(hold) or 0) > MAX_HOLD_S:
        doc.report("P007", doc.value("consent", "hold_for"), "'hold_for' is at most 1 day")
    for name, destination in words.destinations.items():
        if destination.expire_after is not None and (seconds(destination.expire_after) or 0) > MAX_EXPIRE_S:
            doc.report("P007", doc.value("destinations", name, "expire_after"), "'expire_after' is at most 90 days")
