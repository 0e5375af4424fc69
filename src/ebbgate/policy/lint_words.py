"""What is wrong with the free words of one policy file: names that authors make up, lists of them, and texts for people.

Free does not mean any: a name that can never match, a word with blanks around it or a text that shows as something else than it is
would read well and do something else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ebbgate.policy.authored import DestinationWords, PolicyWords
from ebbgate.policy.words import hint_for
from ebbgate.policy.yaml import Document

MAX_NAME: Final = 60  #: characters of a purpose, category or parameter
MAX_EVENT: Final = 200  #: of an event's name, as senders may write it
MAX_TITLE: Final = 300  #: of `policy` and `owner`
MAX_TEXT: Final = 4000  #: of `reason` and `because`
#: As destinations are called; what it does not match is none, installed or not.
DESTINATION_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
#: What a parameter's name cannot hold: what ends it in an address, what quotes, and what others take for a wildcard.
_NO_PARAMETER: Final = re.compile(r"[\s*=&?#%+;/]")


def check_words(doc: Document, words: PolicyWords) -> None:
    """Adds every finding about names and texts to `doc`."""
    _texts(doc, words)
    consent, at = words.consent, ("consent",)
    for name, purpose in consent.purposes.items():
        here = (*at, "purposes", name)
        if name == "nothing":
            doc.report(
                "P002", doc.key(*here), "'nothing' cannot be the name of a purpose", "'needs: nothing' would then mean two things"
            )
        elif not _is_name(name, MAX_NAME):
            doc.report("P007", doc.key(*here), _what_a_name_is(MAX_NAME))
        for setting in ("tcf", "google", "categories"):
            twice(doc, (*here, setting), getattr(purpose, setting))
        _names(doc, (*here, "categories"), purpose.categories, MAX_NAME)
    twice(doc, (*at, "gpc_counts_as"), consent.gpc_counts_as)
    twice(doc, (*at, "read_from"), consent.read_from)
    _parameters(doc, ("before_anything_leaves", "keep_url_parameters"), words.before_anything_leaves.keep_url_parameters)
    for name, destination in words.destinations.items():
        _destination(doc, name, destination)


def _texts(doc: Document, words: PolicyWords) -> None:
    texts: list[tuple[tuple[str, ...], str | None, int]] = [
        (("policy",), words.policy, MAX_TITLE),
        (("owner",), words.owner, MAX_TITLE),
        (("reason",), words.reason, MAX_TEXT),
    ]
    texts += [(("destinations", name, "because"), d.because, MAX_TEXT) for name, d in words.destinations.items()]
    for path, text, most in texts:
        if text is None or (path[-1] == "because" and not text.strip()):
            continue  # a ground that says nothing is P011
        if not text.strip() or len(text) > most:
            doc.report("P007", doc.value(*path), f"{path[-1]!r} is a text of 1 to {most} characters")


def _destination(doc: Document, name: str, destination: DestinationWords) -> None:
    at = ("destinations", name)
    _parameters(doc, (*at, "keep_url_parameters"), destination.keep_url_parameters or ())
    if destination.events == "all":
        return
    path = (*at, "events")
    twice(doc, path, destination.events)
    for index, event in enumerate(destination.events):
        if event == "all":
            doc.report(
                "P002", doc.value(*path, index), "unknown event 'all'", "without brackets it means every event: 'events: all'"
            )
        elif "*" in event:
            doc.report("P002", doc.value(*path, index), f"unknown event {event!r}", "there are no wildcards: name each event")
        elif not _is_name(event, MAX_EVENT):
            doc.report("P007", doc.value(*path, index), _what_a_name_is(MAX_EVENT))


def _parameters(doc: Document, path: tuple[str, ...], names: Sequence[str]) -> None:
    twice(doc, path, names)
    for index, name in enumerate(names):
        if "*" in name:
            doc.report(
                "P002", doc.value(*path, index), f"unknown parameter {name!r}", "there are no wildcards: name each parameter"
            )
        elif not 0 < len(name) <= MAX_NAME or _NO_PARAMETER.search(name):
            doc.report(
                "P007", doc.value(*path, index), "this can be no parameter of an address", "write its name alone, as 'utm_source'"
            )


def _names(doc: Document, path: tuple[str, ...], names: Sequence[str], most: int) -> None:
    for index, name in enumerate(names):
        if not _is_name(name, most):
            doc.report("P007", doc.value(*path, index), _what_a_name_is(most))


def _is_name(name: str, most: int) -> bool:
    return 0 < len(name) <= most and name == name.strip() and name.isprintable()


def _what_a_name_is(most: int) -> str:
    return f"a name has 1 to {most} characters on one line, and no blanks around them"


def check_destination_name(doc: Document, name: str, known: Sequence[str]) -> bool:
    """Whether a name could be that of a destination; reports one that cannot."""
    if DESTINATION_NAME.match(name):
        return True
    doc.report("P002", doc.key("destinations", name), f"unknown destination {name!r}", hint_for(name, known))
    return False


def twice(doc: Document, path: tuple[str, ...], items: Sequence[str | int]) -> None:
    """A word that stands twice in one list: the second can never do anything."""
    seen: set[str | int] = set()
    for index, item in enumerate(items):
        if item in seen:
            doc.report("P021", doc.value(*path, index), f"{item!r} stands twice in this list", "remove one")
        seen.add(item)
