"""What is wrong with the fields of one destination: selectors, treatments that contradict each other, identifiers in clear."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ebbgate.fields import FIELDS, OPEN_GROUPS, DataClass, Kind
from ebbgate.policy.authored import DestinationWords, PolicyWords
from ebbgate.policy.plan import ALWAYS_SENT, DestinationFacts
from ebbgate.policy.presets import PRESETS, Preset
from ebbgate.policy.select import Selection, all_selectors, expand, is_known
from ebbgate.policy.words import LIMITED_DATA_USE, hint_for, is_void
from ebbgate.policy.yaml import Document

NO_PRESET: Final = Preset(about="")
#: `limit` cannot cut an address in the middle without making another address of it.
MAX_LIMIT: Final = 8192
#: A property's name as the intake takes it (`collect/values.py`), without blanks around it.
_PROPERTY: Final = re.compile(r"[A-Za-z_$](?:[A-Za-z0-9_$ -]{0,62}[A-Za-z0-9_$-])?\Z")


def check_selectors(doc: Document, path: tuple[str, ...], selectors: Sequence[str]) -> None:
    """Reports selectors that match nothing known, or that stand twice."""
    seen: set[str] = set()
    for index, selector in enumerate(selectors):
        span = doc.value(*path, index)
        if "*" in selector:
            doc.report(
                "P020", span, f"{selector!r} matches no known field", "there are no wildcards: a group's name means all its fields"
            )
        elif not is_known(selector) or not _can_come(selector):
            hint = hint_for(selector, all_selectors())
            near = hint.removeprefix("did you mean '").removesuffix("'?") if hint.startswith("did you mean") else ""
            doc.report("P020", span, f"{selector!r} matches no known field", hint, replacement=near)
        elif selector in seen:
            doc.report("P021", span, f"{selector!r} stands twice in this list", "remove one")
        seen.add(selector)


def _can_come(selector: str) -> bool:
    """False for a site's own name that no event can carry: the intake leaves such properties out."""
    group, _, name = selector.partition(".")
    return group not in OPEN_GROUPS or not name or all(_PROPERTY.match(part) for part in name.split("."))


def check_fields(
    doc: Document, words: PolicyWords, name: str, destination: DestinationWords, facts: DestinationFacts | None
) -> None:
    """Everything about what one destination is sent, and in what form."""
    at = ("destinations", name)
    for setting in ("remove", "hash", "pseudonymise"):
        check_selectors(doc, (*at, setting), getattr(destination, setting))
    if not destination.send:
        span = doc.value(*at, "send") if destination.send is not None else doc.key(*at)
        doc.report("P012", span, f"{name!r} does not say what is sent", "add 'send: [event, …]'")
        return
    check_selectors(doc, (*at, "send"), destination.send)
    preset = PRESETS[destination.extend] if destination.extend else NO_PRESET
    sent = expand((*destination.send, *ALWAYS_SENT))
    removed = expand((*words.before_anything_leaves.remove, *destination.remove, *preset.remove))
    _kept_and_removed(doc, at, destination.send, removed)
    for setting in ("remove", "hash", "pseudonymise"):
        _treated_but_not_sent(doc, (*at, setting), getattr(destination, setting), sent)
    _always_sent(doc, (*at, "remove"), destination.remove)
    _always_sent(doc, ("before_anything_leaves", "remove"), words.before_anything_leaves.remove)
    _hashes(doc, at, destination, facts)
    _limits(doc, words, at, destination, sent)
    _parameters(doc, words, at, destination)
    _limited(doc, words, at, destination, sent, facts)
    if facts is not None:
        _in_clear(doc, words, at, destination, facts, sent, removed)


def _kept_and_removed(doc: Document, at: tuple[str, str], send: Sequence[str], removed: Selection) -> None:
    for index, selector in enumerate(send):
        chosen = expand((selector,))
        named = chosen.paths or chosen.below
        if named and all(removed.covers(p) for p in chosen.paths) and all(b.startswith(removed.below) for b in chosen.below):
            doc.report("P023", doc.value(*at, "send", index), f"{selector!r} is both sent and removed", "decide on one")


def _always_sent(doc: Document, path: tuple[str, ...], selectors: Sequence[str]) -> None:
    for index, selector in enumerate(selectors):
        if any(expand((selector,)).covers(p) for p in ALWAYS_SENT):
            doc.report(
                "P023",
                doc.value(*path, index),
                f"{selector!r} cannot be removed: no platform takes an event without its name and time",
                "use 'generalise: {time: day}', or name other fields",
            )


def _treated_but_not_sent(doc: Document, path: tuple[str, ...], selectors: Sequence[str], sent: Selection) -> None:
    for index, selector in enumerate(selectors):
        chosen = expand((selector,))
        touched = any(sent.covers(p) for p in chosen.paths) or any(
            b.startswith(s) or s.startswith(b) for b in chosen.below for s in (*sent.below, *sent.paths)
        )
        if (chosen.paths or chosen.below) and not touched:
            doc.report("P024", doc.value(*path, index), f"{selector!r} is not sent, so it cannot be treated", "add it to 'send'")


def _hashes(doc: Document, at: tuple[str, str], destination: DestinationWords, facts: DestinationFacts | None) -> None:
    coded = expand(destination.pseudonymise)
    for index, selector in enumerate(destination.hash):
        span = doc.value(*at, "hash", index)
        paths = expand((selector,)).paths
        if any(coded.covers(p) for p in paths):
            doc.report("P025", span, f"{selector!r} is both hashed and pseudonymised", "decide on one")
        if facts is not None and is_known(selector):
            unknown = sorted(p for p in paths if p not in facts.hashes) or ([selector] if not paths else [])
            if unknown:
                doc.report(
                    "P022",
                    span,
                    f"{at[1]} has no use for a hash of {unknown[0]!r}, and a plain hash hides nothing",
                    "use 'pseudonymise', or do not send it",
                )


def _limits(doc: Document, words: PolicyWords, at: tuple[str, str], destination: DestinationWords, sent: Selection) -> None:
    coded = expand((*destination.pseudonymise, *words.before_anything_leaves.pseudonymise))
    for path, length in destination.limit.items():
        span = doc.key(*at, "limit", path)
        field = FIELDS.get(path)
        if not is_known(path) or (field is None and not path.startswith("properties.")):
            doc.report("P020", span, f"{path!r} matches no known field", hint_for(path, FIELDS))
        elif field is not None and (field.kind is not Kind.TEXT or path in ("page.url", "page.referrer", "network.ip")):
            doc.report("P025", span, f"{path!r} is not text that can be cut")
        elif not sent.covers(path):
            doc.report("P024", span, f"{path!r} is not sent, so it cannot be treated", "add it to 'send'")
        elif coded.covers(path) or expand(destination.hash).covers(path):
            doc.report("P025", span, f"{path!r} leaves as a code of one length: there is nothing to cut", "decide on one")
        if not 1 <= length <= MAX_LIMIT:
            doc.report("P007", doc.value(*at, "limit", path), f"a limit is 1 to {MAX_LIMIT} characters")


def _parameters(doc: Document, words: PolicyWords, at: tuple[str, str], destination: DestinationWords) -> None:
    kept = words.before_anything_leaves.keep_url_parameters
    for index, name in enumerate(destination.keep_url_parameters or ()):
        if name not in kept:
            doc.report(
                "P021",
                doc.value(*at, "keep_url_parameters", index),
                f"{name!r} is already cut off before anything leaves",
                "add it to before_anything_leaves.keep_url_parameters",
            )


def _limited(
    doc: Document,
    words: PolicyWords,
    at: tuple[str, str],
    destination: DestinationWords,
    sent: Selection,
    facts: DestinationFacts | None,
) -> None:
    if destination.if_refused is None:
        return
    limited = destination.if_refused.send_limited
    path = (*at, "if_refused", "send_limited")
    check_selectors(doc, (*path, "send"), limited.send)
    if not limited.send:
        doc.report("P012", doc.value(*path, "send"), "the limited form does not say what is sent", "add 'send: [event, …]'")
    for index, selector in enumerate(limited.send):
        chosen = expand((selector,))
        if any(not sent.covers(p) for p in chosen.paths) or any(not b.startswith(sent.below or ("\0",)) for b in chosen.below):
            doc.report(
                "P027",
                doc.value(*path, "send", index),
                f"{selector!r} would leave only when the visitor refuses",
                "a refusal must never let more out: add it to 'send' or remove it here",
            )
    if is_void(words.consent.model, limited.add):
        doc.report(
            "P018",
            doc.key(*path, "add", LIMITED_DATA_USE),
            f"{LIMITED_DATA_USE!r} is an opt-out of US states: under opt_in nothing is sent instead",
            "remove 'if_refused', or the flag where the law allows such a sending",
        )
    for flag, value in limited.add.items():
        if value is not True and facts is not None and flag in facts.restriction_flags:
            doc.report("P021", doc.value(*path, "add", flag), f"{flag!r} restricts nothing unless it is true", "write 'true'")
        if facts is not None and flag not in facts.restriction_flags:
            hint = hint_for(flag, facts.restriction_flags) or f"{at[1]} has no such flag"
            doc.report("P002", doc.key(*path, "add", flag), f"unknown restriction flag {flag!r}", hint)


def _in_clear(
    doc: Document,
    words: PolicyWords,
    at: tuple[str, str],
    destination: DestinationWords,
    facts: DestinationFacts,
    sent: Selection,
    removed: Selection,
) -> None:
    """Identifiers that the destination wants hashed, and contact data that an advertiser would get in clear."""
    hashed = expand(destination.hash)
    coded = expand((*destination.pseudonymise, *words.before_anything_leaves.pseudonymise))
    advertising = facts.kind == "advertising"
    for index, selector in enumerate(destination.send or ()):
        for path in sorted(expand((selector,)).paths):
            if removed.covers(path) or hashed.covers(path) or not sent.covers(path):
                continue
            field = FIELDS.get(path)
            if path in facts.demands_hash:
                hint = f"add 'hash: [{path}]'"
            elif advertising and field is not None and field.data_class is DataClass.CONTACT and not coded.covers(path):
                hint = f"add 'hash: [{path}]'" if path in facts.hashes else f"do not send {path!r}"
            else:
                continue
            doc.report("P026", doc.value(*at, "send", index), f"{path!r} would reach {at[1]} in clear", hint)
            break
