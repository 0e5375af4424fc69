"""What only several policies together can have wrong: overlaps and gaps of places, destinations nobody names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from ebbgate.policy.authored import PolicyWords
from ebbgate.policy.places import GROUPS
from ebbgate.policy.yaml import Document, Span

Authored = tuple[Document, PolicyWords]
_FIRST: Final = "it is already in {file}:{line}"


def lint_places(files: Sequence[Authored], configured: Collection[str] | None, *, whole: bool) -> None:
    """Adds findings to the documents: every place is claimed once, and with `whole` the rest of the world is too."""
    seen: dict[str, tuple[str, int]] = {}
    for doc, words in files:
        _claims(doc, words, seen)
    if not files or not whole:
        return
    last, _ = files[-1]
    at = ("applies_to",)
    if "an unknown country" not in seen:
        last.report(
            "P031",
            last.key(*at),
            "no policy governs visits from an unknown place: nothing leaves for them",
            "write 'when_country_unknown: apply' in the strictest policy",
        )
    if "everywhere else" not in seen:
        last.report(
            "P033",
            last.key(*at),
            "no policy governs the rest of the world: nothing leaves for it",
            "write 'everywhere_else: true' in one policy",
        )
    named = {name for _, words in files for name in words.destinations}
    for name in sorted(set(configured or ()) - named):
        last.report("P042", last.key("destinations"), f"{name!r} is configured but no policy names it: nothing leaves to it")


def _claims(doc: Document, words: PolicyWords, seen: dict[str, tuple[str, int]]) -> None:
    places = words.applies_to
    at = "applies_to"
    for index, code in enumerate(places.countries):
        for country in sorted(GROUPS.get(code, frozenset({code}))):
            if not _claim(doc, doc.value(at, "countries", index), country, seen):
                break
    for index, region in enumerate(places.regions):
        _claim(doc, doc.value(at, "regions", index), region, seen)
    if places.everywhere_else:
        _claim(doc, doc.key(at, "everywhere_else"), "everywhere else", seen)
    if places.when_country_unknown == "apply":
        _claim(doc, doc.key(at, "when_country_unknown"), "an unknown country", seen)


def _claim(doc: Document, span: Span, place: str, seen: dict[str, tuple[str, int]]) -> bool:
    first = seen.get(place)
    if first is not None:
        doc.report("P030", span, f"two policies claim {place}", _FIRST.format(file=first[0], line=first[1]))
        return False
    seen[place] = (doc.file, span.line)
    return True
