"""The authored form of a policy file, word for word: what people write, with the descriptions that editors show.

Only shape and closed words are checked here; what needs more than one place of the file is in `lint`. Unknown settings are
refused. The JSON Schema is generated from these models (`schema`).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from ebbgate.fields import FIELDS, GROUPS
from ebbgate.policy.places import COUNTRIES
from ebbgate.policy.places import GROUPS as COUNTRY_GROUPS
from ebbgate.policy.words import ConsentSource, FreeTextAction, FreeTextKind, GoogleSignal

_SECONDS: Final = {
    "second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800, "month": 2_628_000, "year": 31_536_000,
}  # fmt: skip
_DURATION: Final = re.compile(r"([1-9][0-9]{0,5}) (second|minute|hour|day|week|month|year)s?\Z")


def seconds(text: str) -> int | None:
    """Seconds in `10 minutes`; a month is a twelfth of 365 days. None when the words are not understood."""
    found = _DURATION.match(text)
    return int(found[1]) * _SECONDS[found[2]] if found else None


def _duration(value: Any) -> str:
    if not isinstance(value, str) or seconds(value) is None:
        raise PydanticCustomError("P007", "a time is a number and a word, like `10 minutes`, `30 days` or `24 months`")
    return value


def _list_or(word: str) -> PlainValidator:
    """A list of words, or the one word that stands for a rule of its own."""

    def check(value: Any) -> Any:
        if value == word:
            return value
        if isinstance(value, str):
            raise PydanticCustomError("P002", "unknown word {word}", {"word": repr(value), "near": word})
        if not isinstance(value, list):
            raise PydanticCustomError("P004", "this must be a list, or the word {word}", {"word": repr(word)})
        for index, item in enumerate(value):
            if not isinstance(item, str):
                raise PydanticCustomError("P004", "this must be a word", {"index": index})
        if not value:
            raise PydanticCustomError("P007", "the list is empty: write {word} or name at least one", {"word": repr(word)})
        return value

    return PlainValidator(check)


Duration = Annotated[
    str, PlainValidator(_duration), WithJsonSchema({"type": "string", "pattern": _DURATION.pattern.replace("\\Z", "$")})
]
_SELECTORS: Final[dict[str, Any]] = {
    "type": "string",
    "anyOf": [
        {"enum": [*GROUPS, "properties"], "description": "a group: all its known fields"},
        {"enum": list(FIELDS), "description": "one field"},
        {"pattern": r"^properties\.", "description": "a name that the site added itself"},
    ],
}
Selector = Annotated[str, WithJsonSchema(_SELECTORS)]
Country = Annotated[str, WithJsonSchema({"enum": [*COUNTRY_GROUPS, *sorted(COUNTRIES)]})]
Needs = Annotated[
    list[str] | Literal["nothing"],
    _list_or("nothing"),
    WithJsonSchema({"anyOf": [{"const": "nothing"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]
Events = Annotated[
    list[str] | Literal["all"],
    _list_or("all"),
    WithJsonSchema({"anyOf": [{"const": "all"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]


class _Authored(BaseModel):
    """Unknown settings are errors, and `12` is not text."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class AppliesTo(_Authored):
    """Whose visits the policy governs. A region beats a country, a country beats `everywhere_else`."""

    countries: list[Country] = Field(default=[], description="ISO country codes and the groups EU and EEA.")
    regions: list[str] = Field(default=[], description="Regions like US-CA (ISO 3166-2).")
    everywhere_else: bool = Field(default=False, description="true: every known country that no other policy names.")
    when_country_unknown: Literal["apply", "skip"] = Field(
        default="skip", description="apply: this policy also governs visits from an unknown place. One policy may say so."
    )


class PurposeWords(_Authored):
    """How one purpose is read from the consent signals."""

    tcf: list[int] = Field(default=[], description="TCF purposes 1 to 11: all of them must be allowed.")
    google: list[GoogleSignal] = Field(default=[], description="Google consent mode signals: all of them must be granted.")
    categories: list[str] = Field(
        default=[], description="Categories of consent banners, in the normal names (analytics, marketing …) or the site's own."
    )


class ConsentWords(_Authored):
    """What counts as consent under this law."""

    model: Literal["opt_in", "opt_out"] = Field(
        description="opt_in: silence is a no. opt_out: silence is what `if_missing` says, an objection is a no."
    )
    read_from: list[ConsentSource] = Field(description="Sources of consent, the most trusted first.")
    if_missing: Literal["refused", "allowed", "hold"] = Field(
        description="When no source says anything. allowed: opt_out only. hold: wait until the visitor decides, opt_in only."
    )
    if_sources_disagree: Literal["most_protective", "first_listed"] = Field(
        default="most_protective", description="most_protective: any refusal wins. first_listed: the first source of the list wins."
    )
    hold_for: Duration | None = Field(default=None, description="With `if_missing: hold`: how long, at most 1 day.")
    gpc_counts_as: list[str] = Field(
        default=[], description="Purposes that Global Privacy Control and US opt-outs refuse: sale and sharing."
    )
    honor_do_not_track: bool = Field(default=False, description="true: the old Do Not Track header refuses them too.")
    strict_mspa: bool = Field(
        default=False, description="true: US sections of GPP refuse them too for known children, unrelated uses and missing notice."
    )
    strict_usp: bool = Field(
        default=False, description="true: a US Privacy string refuses them too when it does not tell whether notice was given."
    )
    purposes: dict[str, PurposeWords] = Field(description="The purposes of this policy by name.")


class Generalise(_Authored):
    """Values made coarser."""

    time: Literal["hour", "day"] | None = Field(default=None, description="event.time cut down to the hour or the day.")
    place: Literal["country"] | None = Field(default=None, description="Only the country leaves, no region.")


class Everywhere(_Authored):
    """What is done before any destination gets anything."""

    remove: list[Selector] = Field(default=[], description="Fields and groups that never leave.")
    keep_url_parameters: list[str] = Field(
        default=[], description="Parameters that addresses keep; all others are cut off, with fragment and user name."
    )
    shorten_ip: Literal["keep", "to_network", "remove"] = Field(
        default="to_network", description="network.ip: as it is, cut to /24 or /48, or gone."
    )
    if_free_text_contains: dict[FreeTextKind, FreeTextAction] = Field(
        default={},
        description="What to do about personal data in titles, addresses, search terms and the site's own properties. "
        "email, card_number, iban and token are removed unless it says otherwise.",
    )
    pseudonymise: list[Selector] = Field(default=[], description="Replaced by a keyed code that changes with the key.")
    generalise: Generalise = Field(default=Generalise(), description="Values made coarser for every destination.")


class Vendor(_Authored):
    """The vendor that must be permitted where an IAB string is the evidence."""

    tcf: int | None = Field(default=None, description="Vendor id in IAB's Global Vendor List.", ge=1, le=65_535)
    google_ac: int | None = Field(default=None, description="Provider id in Google's Additional Consent list.", ge=1)


class Limited(_Authored):
    """The reduced sending that the law allows without consent."""

    send: list[Selector] = Field(description="Fields and groups that leave all the same; none that `send` does not name.")
    add: dict[str, bool | str] = Field(default={}, description="The platform's restriction flags, e.g. limited_data_use: true.")


class IfRefused(_Authored):
    """What happens instead when a needed purpose is not granted."""

    send_limited: Limited = Field(description="Send less, with the platform's restriction flags.")


class DestinationWords(_Authored):
    """What one destination gets, and what for."""

    # Both are asked for by the linter with codes of their own, so they are optional here and required for editors.
    model_config = ConfigDict(json_schema_extra={"required": ["needs", "send"]})

    enabled: bool = Field(default=True, description="false: nothing leaves to it, whatever else is written.")
    needs: Needs | None = Field(default=None, description="Purposes that must all be granted; or: nothing, with `because`.")
    because: str | None = Field(default=None, description="Why no consent is needed: the legal ground and where it is written.")
    vendor: Vendor | None = Field(default=None, description="Vendor ids, where an IAB string is the evidence.")
    events: Events = Field(default="all", description="Event names that leave, or: all.")
    extend: Literal["cnil-proxy", "no-identifiers"] | None = Field(
        default=None, description="A named set of treatments that is added to this destination's own."
    )
    send: list[Selector] | None = Field(default=None, description="Fields and groups that leave. Nothing else does.")
    remove: list[Selector] = Field(default=[], description="Exceptions: parts of the groups in `send` that stay.")
    hash: list[Selector] = Field(default=[], description="Fields that leave as the SHA-256 that this destination asks for.")
    pseudonymise: list[Selector] = Field(default=[], description="Fields replaced by a keyed code that changes with the key.")
    generalise: Generalise = Field(default=Generalise(), description="Values made coarser for this destination.")
    limit: dict[str, int] = Field(default={}, description="Longest text of a field, in characters.")
    keep_url_parameters: list[str] | None = Field(
        default=None, description="Fewer URL parameters than `before_anything_leaves` keeps."
    )
    if_refused: IfRefused | None = Field(default=None, description="What the law allows without the needed consent.")
    expire_after: Duration | None = Field(default=None, description="Not sent any more after this time, at most 90 days.")


class PolicyWords(_Authored):
    """One policy file: who it is for, what counts as consent, and what may leave to whom."""

    policy: str = Field(description="What this policy is, in one sentence.", min_length=1)
    owner: str | None = Field(default=None, description="Who answers for it.")
    reason: str | None = Field(default=None, description="The law and the assessment it rests on.")
    applies_to: AppliesTo = Field(description="Whose visits it governs.")
    consent: ConsentWords = Field(description="What counts as consent.")
    before_anything_leaves: Everywhere = Field(default=Everywhere(), description="What is done for every destination.")
    destinations: dict[str, DestinationWords] = Field(description="What may leave, one entry for each destination.")
    keep_evidence_for: Duration = Field(default="24 months", description="How long the log of decisions is kept.")


#: The model that holds the settings at a path of a policy file; `*` stands for a name of the author's.
MODELS: Final[dict[tuple[str, ...], type[BaseModel]]] = {
    (): PolicyWords,
    ("applies_to",): AppliesTo,
    ("consent",): ConsentWords,
    ("consent", "purposes", "*"): PurposeWords,
    ("before_anything_leaves",): Everywhere,
    ("before_anything_leaves", "generalise"): Generalise,
    ("destinations", "*"): DestinationWords,
    ("destinations", "*", "vendor"): Vendor,
    ("destinations", "*", "generalise"): Generalise,
    ("destinations", "*", "if_refused"): IfRefused,
    ("destinations", "*", "if_refused", "send_limited"): Limited,
}
