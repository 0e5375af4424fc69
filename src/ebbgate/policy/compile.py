"""From the authored form to the flat plan that decides: done once when a policy is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ebbgate.model import ConsentRules, Model, PurposeRule, Reason, Scalar, VendorRule
from ebbgate.policy import authored, treat
from ebbgate.policy.authored import DestinationWords, PolicyWords, seconds
from ebbgate.policy.lint_fields import NO_PRESET
from ebbgate.policy.places import GROUPS
from ebbgate.policy.plan import ALWAYS_SENT, DestinationFacts, DestinationPlan, Everywhere, Policy, Projection
from ebbgate.policy.presets import PRESETS, Preset
from ebbgate.policy.select import expand
from ebbgate.policy.words import is_void
from ebbgate.policy.yaml import Document

_STEPS: Final = {None: 0, "hour": treat.HOUR_MS, "day": treat.DAY_MS}
DEFAULT_HOLD_S: Final = 600
#: What happens to personal data in free text when the policy is silent: kinds that are hardly ever found by mistake go.
DEFAULT_ACTIONS: Final = MappingProxyType({"email": "remove", "card_number": "remove", "iban": "remove", "token": "remove"})


def compile_policy(doc: Document, words: PolicyWords, facts: Mapping[str, DestinationFacts], *, file: str, digest: str) -> Policy:
    """The plan of a policy in which `lint` found no error."""
    places = words.applies_to
    return Policy(
        name=words.policy,
        file=file,
        digest=digest,
        owner=words.owner or "",
        reason=words.reason or "",
        consent=_consent(doc, words),
        everywhere=_everywhere(doc, words.before_anything_leaves),
        destinations=MappingProxyType(
            {
                name: _destination(doc, words, name, d, facts.get(name, DestinationFacts(name)), file)
                for name, d in words.destinations.items()
            }
        ),
        countries=frozenset(country for code in places.countries for country in GROUPS.get(code, (code,))),
        regions=frozenset(places.regions),
        everywhere_else=places.everywhere_else,
        unknown_country=places.when_country_unknown == "apply",
        evidence_s=seconds(words.keep_evidence_for) or 0,
        line=doc.line("destinations"),
        purpose_lines=MappingProxyType({name: doc.line("consent", "purposes", name) for name in words.consent.purposes}),
    )


def _consent(doc: Document, words: PolicyWords) -> ConsentRules:
    consent = words.consent
    purposes = tuple(
        PurposeRule(
            name=name,
            tcf=tuple(rule.tcf),
            google=tuple(rule.google),
            categories=tuple(rule.categories),
            refused_by_gpc=name in consent.gpc_counts_as,
            line=doc.line("consent", "purposes", name),
        )
        for name, rule in consent.purposes.items()
    )
    by_name = {p.name: p for p in purposes}
    vendors = tuple(
        VendorRule(
            destination=name,
            tcf=d.vendor.tcf,
            google_ac=d.vendor.google_ac,
            purposes=tuple(sorted({number for need in _needs(d) for number in by_name[need].tcf})),
        )
        for name, d in words.destinations.items()
        if d.vendor is not None
    )
    hold_s = (seconds(consent.hold_for) if consent.hold_for else DEFAULT_HOLD_S) or DEFAULT_HOLD_S
    return ConsentRules(
        model=Model(consent.model),
        read_from=tuple(consent.read_from),
        if_missing=consent.if_missing,
        if_sources_disagree=consent.if_sources_disagree,
        purposes=purposes,
        vendors=vendors,
        hold_for_s=hold_s if consent.if_missing == "hold" else 0,
        honor_dnt=consent.honor_do_not_track,
        strict_mspa=consent.strict_mspa,
        strict_usp=consent.strict_usp,
        line=doc.line("consent"),
    )


def _needs(destination: DestinationWords) -> tuple[str, ...]:
    return tuple(destination.needs) if isinstance(destination.needs, list) else ()


def _everywhere(doc: Document, words: authored.Everywhere) -> Everywhere:
    at = "before_anything_leaves"
    settings = [key[1] for key in doc.keys if len(key) == 2 and key[0] == at]
    return Everywhere(
        url_parameters=frozenset(words.keep_url_parameters),
        ip=words.shorten_ip,
        actions=MappingProxyType(dict[str, str](DEFAULT_ACTIONS) | dict[str, str](words.if_free_text_contains.items())),
        time_step_ms=_STEPS[words.generalise.time],
        line=doc.line(at),
        lines=MappingProxyType({str(name): doc.line(at, name) for name in settings}),
    )


def _destination(
    doc: Document, words: PolicyWords, name: str, destination: DestinationWords, facts: DestinationFacts, file: str
) -> DestinationPlan:
    at = ("destinations", name)

    def line(*path: str) -> str:
        return f"{file}:{doc.line(*at, *path)}"

    limited = destination.if_refused.send_limited if destination.if_refused else None
    if limited is not None and is_void(words.consent.model, limited.add):
        limited = None
    needs_line = line("needs")
    return DestinationPlan(
        destination=name,
        needs=_needs(destination),
        needs_text=", ".join(_needs(destination)),
        because=destination.because or "",
        events=None if destination.events == "all" else frozenset(destination.events),
        full=_projection(words, destination, facts, destination.send or [], {}),
        limited=_projection(words, destination, facts, limited.send, limited.add) if limited else None,
        rule=line(),
        rules_of=MappingProxyType(
            {
                Reason.CONSENT_DENIED: needs_line,
                Reason.CONSENT_UNKNOWN: needs_line,
                Reason.HELD: needs_line,
                Reason.VENDOR_DENIED: line("vendor"),
                Reason.EVENT_NOT_LISTED: line("events"),
                Reason.LIMITED: line("if_refused"),
                Reason.DISABLED: line("enabled"),
            }
        ),
        enabled=destination.enabled,
        expire_after_s=(seconds(destination.expire_after) or 0) if destination.expire_after else 0,
    )


def _projection(
    words: PolicyWords,
    destination: DestinationWords,
    facts: DestinationFacts,
    send: list[str],
    flags: Mapping[str, Scalar],
) -> Projection:
    """The fields of `send` without everything that is removed, each with its one treatment."""
    common = words.before_anything_leaves
    preset: Preset = PRESETS[destination.extend] if destination.extend else NO_PRESET
    sent = expand((*send, *ALWAYS_SENT))
    removed = expand((*common.remove, *destination.remove, *preset.remove))
    only_country = preset.only_country or "country" in (common.generalise.place, destination.generalise.place)
    coded = expand((*common.pseudonymise, *destination.pseudonymise, *preset.pseudonymise))
    hashed = expand(destination.hash)
    allow = frozenset(p for p in sent.paths if not removed.covers(p)) - ({"place.region"} if only_country else frozenset())
    parameters = frozenset[str]() if preset.no_url_parameters else destination.keep_url_parameters
    return Projection(
        allow=allow,
        allow_below=tuple(b for b in sent.below if not b.startswith(removed.below)) if removed.below else sent.below,
        remove=removed.paths,
        remove_below=removed.below,
        hashes=MappingProxyType({p: facts.hashes[p] for p in hashed.paths if p in allow}),
        pseudonymise=coded.paths - hashed.paths,
        pseudonymise_below=coded.below,
        limits=MappingProxyType(dict(destination.limit)),
        time_step_ms=_STEPS[destination.generalise.time],
        url_parameters=None if parameters is None else frozenset(parameters),
        flags=MappingProxyType(dict(flags)),
    )
