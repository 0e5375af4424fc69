"""The closed lists of words that policy files use, and the texts that people read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final, Literal

from ebbgate.model import ConsentState, Reason, Verdict

#: Where consent may be read from (DESIGN §4), in no order.
CONSENT_SOURCES: Final = (
    "event", "tcf", "tcf_publisher", "gpp", "google_consent_mode", "cmp_cookie", "us_privacy", "gpc", "dnt",
)  # fmt: skip
#: Google consent mode's names (specs/consent.md §4.1).
GOOGLE_SIGNALS: Final = (
    "ad_storage", "analytics_storage", "ad_user_data", "ad_personalization", "functionality_storage",
    "personalization_storage", "security_storage",
)  # fmt: skip
TCF_PURPOSES: Final = tuple(range(1, 12))

ConsentSource = Literal["event", "tcf", "tcf_publisher", "gpp", "google_consent_mode", "cmp_cookie", "us_privacy", "gpc", "dnt"]
GoogleSignal = Literal[
    "ad_storage", "analytics_storage", "ad_user_data", "ad_personalization", "functionality_storage",
    "personalization_storage", "security_storage",
]  # fmt: skip
FreeTextKind = Literal["email", "phone", "card_number", "iban", "ip_address", "token", "national_id"]
FreeTextAction = Literal["remove", "mask", "drop_event", "report"]

#: Every code of `check`: what it is about, and "error" or "warning". Each has a page in docs/reference/codes/.
CODES: Final[dict[str, tuple[str, str]]] = {
    "P001": ("unknown setting", "error"),
    "P002": ("unknown word", "error"),
    "P003": ("duplicate key", "error"),
    "P004": ("wrong type", "error"),
    "P005": ("not strict YAML 1.2", "error"),
    "P006": ("missing setting", "error"),
    "P007": ("value out of range", "error"),
    "P008": ("file too big", "error"),
    "P009": ("nothing to read", "error"),
    "P010": ("destination without `needs`", "error"),
    "P011": ("`needs: nothing` without `because`", "error"),
    "P012": ("destination without `send`", "error"),
    "P013": ("purpose that no source can grant", "error"),
    "P014": ("word that contradicts the consent model", "error"),
    "P015": ("purpose that nothing needs", "warning"),
    "P016": ("time for a hold that is never made", "warning"),
    "P017": ("vendor that no source can speak of", "warning"),
    "P018": ("limited data use under opt-in", "warning"),
    "P020": ("field that matches nothing known", "error"),
    "P021": ("rule that can never fire", "error"),
    "P022": ("unkeyed hash that the destination has no use for", "error"),
    "P023": ("field both sent and removed", "error"),
    "P024": ("treatment of a field that is not sent", "error"),
    "P025": ("contradictory treatments of one field", "error"),
    "P026": ("identifier left in clear", "error"),
    "P027": ("limited sending that lets out more", "error"),
    "P030": ("two policies for one place", "error"),
    "P031": ("no policy for an unknown country", "warning"),
    "P032": ("policy that applies to nowhere", "error"),
    "P033": ("no policy for the rest of the world", "warning"),
    "P034": ("file beside the policies that is not read", "warning"),
    "P040": ("destination that is not configured", "warning"),
    "P041": ("event name that the destination reserves", "error"),
    "P042": ("configured destination without a policy", "warning"),
    "P050": ("evidence kept shorter than the legal reason needs", "warning"),
    "P051": ("nobody answers for this policy", "warning"),
    "T001": ("test that names an unknown destination", "error"),
    "T002": ("test that names something unknown", "error"),
    "T003": ("test that cannot be run", "error"),
}


#: Restriction flag of the US states' opt-outs.
LIMITED_DATA_USE: Final = "limited_data_use"


def is_void(model: str, flags: Mapping[str, object]) -> bool:
    """Whether a limited form rests on US opt-out law where consent is due (specs/consent.md §4.5, specs/destinations.md §1.4).

    Outside the US platforms ignore the flag: they would take the event like one with consent.
    """
    return model == "opt_in" and bool(flags.get(LIMITED_DATA_USE))


def severity_of(code: str) -> str:
    """`error` or `warning` of a code."""
    return CODES[code][1]


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """The nearest of the allowed words, or "" when none is near."""
    options = list(choices)
    near = get_close_matches(word, options, n=1, cutoff=0.6) or get_close_matches(word.lower(), options, n=1, cutoff=0.6)
    return near[0] if near else ""


def hint_for(word: str, choices: Iterable[str]) -> str:
    """The one hint under an unknown word: the nearest, else the whole list while it is short."""
    options = sorted(choices)
    near = did_you_mean(word, options)
    if near:
        return f"did you mean {near!r}?"
    return f"known: {', '.join(options)}" if 0 < len(options) <= 12 else ""


#: Outcome words of `explain` and of policy tests (DESIGN §5.3).
OUTCOMES: Final = {
    Verdict.SEND: "sent",
    Verdict.LIMITED: "limited",
    Verdict.WITHHOLD: "not_sent",
    Verdict.HOLD: "held",
}

_REASONS: Final = {
    Reason.GRANTED: "the visitor allowed {detail}",
    Reason.NOT_NEEDED: "needs no consent",
    Reason.LIMITED: "without {detail}: the limited form",
    Reason.CONSENT_DENIED: "needs {detail}, visitor refused it",
    Reason.CONSENT_UNKNOWN: "needs {detail}, visitor has not allowed it",
    Reason.VENDOR_DENIED: "the visitor's consent string does not permit this vendor",
    Reason.EVENT_NOT_LISTED: "this event is not among its events",
    Reason.NOT_IN_POLICY: "the policy does not name this destination",
    Reason.NO_POLICY: "no policy governs this place",
    Reason.DISABLED: "switched off in the policy",
    Reason.PERSONAL_DATA: "personal data where it must not be: {detail}",
    Reason.HELD: "waits until the visitor decides on {detail}",
    Reason.TOO_MANY_HELD: "needs {detail}, visitor has not decided, and too many events wait for that already",
}

#: What `why:` in a policy test may say, and the reasons that answer to it. Every reason's own name works too.
WHY: Final[dict[str, frozenset[Reason]]] = {
    "consent": frozenset({Reason.CONSENT_DENIED, Reason.CONSENT_UNKNOWN, Reason.VENDOR_DENIED, Reason.HELD, Reason.TOO_MANY_HELD}),
    "refused": frozenset({Reason.CONSENT_DENIED}),
    "vendor": frozenset({Reason.VENDOR_DENIED}),
    "event": frozenset({Reason.EVENT_NOT_LISTED}),
    "place": frozenset({Reason.NO_POLICY}),
    **{reason.value: frozenset({reason}) for reason in Reason},
}


def reason_text(reason: Reason, detail: str) -> str:
    """A decision's reason as a clause for people."""
    return _REASONS[reason].format(detail=detail.replace("_", " ") if detail else "it")


#: Words that people write for consent states in tests and on the command line.
STATE_WORDS: Final = {
    "granted": ConsentState.GRANTED,
    "allowed": ConsentState.GRANTED,
    "denied": ConsentState.DENIED,
    "refused": ConsentState.DENIED,
    "unknown": ConsentState.UNKNOWN,
}
STATE_TEXT: Final = {ConsentState.GRANTED: "granted", ConsentState.DENIED: "refused", ConsentState.UNKNOWN: "unknown"}
