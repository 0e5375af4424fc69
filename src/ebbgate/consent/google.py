"""Google consent mode as its tags send it: `gcs`, `gcd`, `npa`, `dma` (specs/consent.md §4.1, §4.2).

`gcd` is read by position and by bits. Only what a site declared, set as default or updated makes a state; what Google's
tag assumes by itself (`implicit`) is shown and never counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from ebbgate.errors import SignalError
from ebbgate.model import ConsentState

#: In the order in which `gcd` lists them; `gcs` has the first two.
SIGNALS: Final = ("ad_storage", "analytics_storage", "ad_user_data", "ad_personalization")
_ALPHABET: Final = {c: i for i, c in enumerate("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_")}
_GCS: Final = re.compile(r"G1([01-])([01-])", re.ASCII)
_GCS_WORDS: Final = {"1": "granted", "0": "denied", "-": "unset"}
_WORDS: Final = {1: "unset", 2: "denied", 3: "granted"}
_OTHER_DELEGATE: Final = 8  #: follows something that is none of the four signals
_FIRST_DELEGATE: Final = 12  #: 12 + k follows signal k
_MAX_CHARS: Final = 128  #: longest `gcd` looked at: today's have 10 to 13 characters

STATES: Final = {"granted": ConsentState.GRANTED, "denied": ConsentState.DENIED, "unset": ConsentState.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Journey:
    """How one signal of `gcd` came to be; words are granted, denied, unset."""

    update: str
    default: str
    declare: str
    implicit: str
    delegated_to: str | None
    state: str = "unset"


@dataclass(frozen=True, slots=True)
class Gcd:
    """The four signals in the order of `SIGNALS`, and the unread rest."""

    journeys: tuple[Journey, Journey, Journey, Journey]
    tail: str

    def state(self, signal: str) -> ConsentState:
        """Effective state of one of `SIGNALS`."""
        return STATES[self.journeys[SIGNALS.index(signal)].state]


def decode_gcs(text: str) -> dict[str, str]:
    """`G1` + ad_storage + analytics_storage → words; any other form raises `SignalError`."""
    matched = _GCS.fullmatch(text) if len(text) == 4 else None
    if matched is None:
        raise SignalError("not a gcs value", code="gcs")
    return {"ad_storage": _GCS_WORDS[matched[1]], "analytics_storage": _GCS_WORDS[matched[2]]}


def decode_gcd(text: str) -> Gcd:
    """Decode all four signals, or raise `SignalError`."""
    found = _decode_gcd(text) if len(text) <= _MAX_CHARS else "too long"
    if isinstance(found, Gcd):
        return found
    raise SignalError(found, code="gcd")


@lru_cache(maxsize=4096)
def _decode_gcd(text: str) -> Gcd | str:
    """`1`, four pairs (C, S), a tail: C = delegation·4 + implicit, S = declare·16 + default·4 + update."""
    if len(text) < 10 or text[0] != "1":
        return "not a gcd value: it starts with 1 and has at least 10 characters"
    raw: list[Journey] = []
    for index in range(4):
        c, s = _ALPHABET.get(text[1 + 2 * index]), _ALPHABET.get(text[2 + 2 * index])
        if c is None or s is None:
            return "a character outside the alphabet"
        words = [_WORDS.get(value) for value in (s & 3, (s >> 2) & 3, s >> 4, c & 3)]
        update, default, declare, implicit = words
        if update is None or default is None or declare is None or implicit is None:
            return "a state that does not exist"
        delegation = c >> 2
        if delegation >= _FIRST_DELEGATE:
            delegate = SIGNALS[delegation - _FIRST_DELEGATE]
        elif delegation in (0, _OTHER_DELEGATE):
            delegate = None
        else:
            return "a delegation that does not exist"
        raw.append(Journey(update, default, declare, implicit, delegate))
    first, second, third, fourth = (_with_state(journey, raw) for journey in raw)
    return Gcd((first, second, third, fourth), text[9:])


def _with_state(own: Journey, all_four: list[Journey]) -> Journey:
    """Update, else default, else the delegate's update, else its default, else declare, else unset."""
    candidates = [own.update, own.default]
    if own.delegated_to is not None:
        other = all_four[SIGNALS.index(own.delegated_to)]
        candidates += [other.update, other.default]
    candidates.append(own.declare)
    state = next((word for word in candidates if word != "unset"), "unset")
    return Journey(own.update, own.default, own.declare, own.implicit, own.delegated_to, state)


def describe_gcd(found: Gcd) -> dict[str, Any]:
    """JSON values: the shape of `consent decode --kind gcs_gcd` for a gcd."""
    shown: dict[str, Any] = {
        name: {
            "state": journey.state,
            "update": journey.update,
            "default": journey.default,
            "declare": journey.declare,
            "implicit": journey.implicit,
            "delegated_to": journey.delegated_to,
        }
        for name, journey in zip(SIGNALS, found.journeys, strict=True)
    }
    shown["tail"] = found.tail
    return shown


@dataclass(frozen=True, slots=True)
class ConsentMode:
    """States of Google's signals on one hit, all its parameters taken together."""

    states: tuple[tuple[str, ConsentState], ...]
    problems: tuple[tuple[str, str], ...] = ()  #: parameter → why it could not be read

    def state(self, signal: str) -> ConsentState:
        """State of a signal; one that no parameter carries is unknown."""
        return next((state for name, state in self.states if name == signal), ConsentState.UNKNOWN)


def consent_mode(gcs: str | None, gcd: str | None, npa: str | None) -> ConsentMode:
    """Combine the parameters of a hit: any denial wins, and where `gcd` is present only it can grant (§4.2)."""
    problems: list[tuple[str, str]] = []
    states = dict.fromkeys(SIGNALS, ConsentState.UNKNOWN)
    if gcs is not None:
        try:
            states.update({name: STATES[word] for name, word in decode_gcs(gcs).items()})
        except SignalError as refused:
            problems.append(("gcs", refused.message))
    if gcd is not None:
        try:
            journeys = decode_gcd(gcd)
        except SignalError as refused:
            problems.append(("gcd", refused.message))
        else:
            for name in SIGNALS:
                if states[name] is not ConsentState.DENIED:
                    states[name] = journeys.state(name)
    if npa is not None and npa != "0":
        states["ad_personalization"] = ConsentState.DENIED
    return ConsentMode(tuple(states.items()), tuple(problems))
