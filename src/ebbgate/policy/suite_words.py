"""The authored form of `*_test.yaml`: cases that a privacy team writes beside its policies, checked word for word."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator

from ebbgate.fields import known
from ebbgate.policy.places import known_country, known_region
from ebbgate.policy.select import all_selectors, is_known
from ebbgate.policy.validate import validate_as
from ebbgate.policy.words import STATE_WORDS, WHY, hint_for
from ebbgate.policy.yaml import Document, Path, read_yaml

#: The clock of suites that set none: fixed, so that a test passes on every day.
DEFAULT_NOW: Final = "2026-11-21T12:00:00Z"
_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2})?(?:Z|[+-]\d{2}:\d{2})?)?\Z")

State = Literal["granted", "allowed", "denied", "refused", "unknown"]
Said = Literal["sent", "limited", "not_sent", "held"]


class _Words(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SignalWords(_Words):
    """Consent signals as they arrive, for tests of real strings."""

    tcf: str | None = None
    gpp: str | None = None
    us_privacy: str | None = None
    gcs: str | None = None
    gcd: str | None = None
    addtl_consent: str | None = None
    gpc: bool = False
    dnt: bool | None = None
    categories: dict[str, bool] = {}


class Given(_Words):
    """An event, a visitor and what the visitor chose."""

    use: str | None = Field(default=None, description="A fixture to start from.")
    event: str | None = Field(default=None, description="Event name.")
    country: str | None = None
    region: str | None = None
    consent: dict[str, State] = {}
    signals: SignalWords | None = None
    fields: dict[str, Any] = {}


class Expected(_Words):
    """What one destination must get."""

    outcome: Said
    why: str | None = Field(default=None, description="A word for the reason: consent, vendor, event, place, disabled …")
    fields: list[str] = Field(default=[], description="Fields that must leave.")
    without: list[str] = Field(default=[], description="Fields and groups that must not leave.")
    only: list[str] | None = Field(default=None, description="Nothing but these may leave.")
    hashed: list[str] = Field(default=[], description="Fields that must leave hashed.")


def _expected(value: Any) -> Any:
    """`ga4: sent` is short for `ga4: {outcome: sent}`."""
    return Expected.model_validate({"outcome": value} if isinstance(value, str) else value)


Expectation = Annotated[Expected, PlainValidator(_expected)]


class Matrix(_Words):
    """One case for every combination."""

    country: list[str] = []
    region: list[str] = []
    consent: dict[str, dict[str, State]] = Field(default={}, description="Named choices.")


class Case(_Words):
    """One promise of the policies."""

    it: str = Field(min_length=1)
    given: Given = Given()
    matrix: Matrix = Matrix()
    expect: dict[str, Expectation] = {}
    expect_each: dict[str, dict[str, Expectation]] = Field(default={}, description="Per named choice of the matrix.")


class SuiteWords(_Words):
    """One test file."""

    suite: str = Field(min_length=1)
    now: str = Field(default=DEFAULT_NOW, description="The time at which every case happens.")
    fixtures: dict[str, Given] = {}
    cases: list[Case] = Field(min_length=1)


_MODELS: Final[dict[tuple[str, ...], type[BaseModel]]] = {
    (): SuiteWords,
    ("fixtures", "*"): Given,
    ("fixtures", "*", "signals"): SignalWords,
    ("cases", "*"): Case,
    ("cases", "*", "given"): Given,
    ("cases", "*", "given", "signals"): SignalWords,
    ("cases", "*", "matrix"): Matrix,
    ("cases", "*", "expect", "*"): Expected,
    ("cases", "*", "expect_each", "*", "*"): Expected,
}


@dataclass(frozen=True, slots=True)
class Known:
    """What the policies under test know: the words that tests may use."""

    destinations: frozenset[str]
    purposes: frozenset[str]


def read_suite(raw: bytes, file: str, words: Known) -> tuple[Document, SuiteWords | None]:
    """One test file, or None with the problems in the document."""
    doc = read_yaml(raw, file)
    suite = validate_as(doc, SuiteWords, _MODELS)
    if suite is None:
        return doc, None
    if now_of(suite) is None:
        doc.report("T003", doc.value("now"), "this is not a time", "write it like '2026-11-21T12:00:00Z'")
    for name, given in suite.fixtures.items():
        _given(doc, ("fixtures", name), given, suite, words)
    for index, case in enumerate(suite.cases):
        _case(doc, ("cases", index), case, suite, words)
    return doc, None if doc.problems else suite


def now_of(suite: SuiteWords) -> int | None:
    """The suite's fixed time in milliseconds since 1970 UTC; None when it is not a time."""
    if not _TIME.match(suite.now):
        return None
    try:
        moment = datetime.fromisoformat(suite.now)
    except ValueError:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _case(doc: Document, at: Path, case: Case, suite: SuiteWords, words: Known) -> None:
    _given(doc, (*at, "given"), case.given, suite, words)
    for index, country in enumerate(case.matrix.country):
        _country(doc, (*at, "matrix", "country", index), country)
    for index, region in enumerate(case.matrix.region):
        _region(doc, (*at, "matrix", "region", index), region)
    for name, states in case.matrix.consent.items():
        _purposes(doc, (*at, "matrix", "consent", name), states, words)
    if not case.expect and not case.expect_each:
        doc.report("T003", doc.key(*at, "it"), "this case expects nothing", "add 'expect: {ga4: sent}'")
    _expectations(doc, (*at, "expect"), case.expect, words)
    for name, expected in case.expect_each.items():
        if name not in case.matrix.consent:
            hint = hint_for(name, case.matrix.consent)
            doc.report("T002", doc.key(*at, "expect_each", name), f"unknown choice {name!r}", hint)
        _expectations(doc, (*at, "expect_each", name), expected, words)


def _given(doc: Document, at: Path, given: Given, suite: SuiteWords, words: Known) -> None:
    if given.use is not None and (given.use not in suite.fixtures or at[0] == "fixtures"):
        doc.report("T002", doc.value(*at, "use"), f"unknown fixture {given.use!r}", hint_for(given.use, suite.fixtures))
    if given.country is not None:
        _country(doc, (*at, "country"), given.country)
    if given.region is not None:
        _region(doc, (*at, "region"), given.region)
    _purposes(doc, (*at, "consent"), given.consent, words)
    for path in given.fields:
        if not known(path):
            doc.report("T002", doc.key(*at, "fields", path), f"{path!r} is no field", hint_for(path, all_selectors()))


def _country(doc: Document, at: Path, country: str) -> None:
    if not known_country(country):
        doc.report("T002", doc.value(*at), f"unknown country {country!r}", "leave it out for an unknown place")


def _region(doc: Document, at: Path, region: str) -> None:
    if not known_region(region):
        doc.report("T002", doc.value(*at), f"unknown region {region!r}", "write it like 'US-CA'")


def _purposes(doc: Document, at: Path, states: Mapping[str, str], words: Known) -> None:
    for name in states:
        if name not in words.purposes:
            doc.report("T002", doc.key(*at, name), f"no policy has the purpose {name!r}", hint_for(name, words.purposes))


def _expectations(doc: Document, at: Path, expectations: Mapping[str, Expected], words: Known) -> None:
    for name, expected in expectations.items():
        if name not in words.destinations:
            hint = hint_for(name, words.destinations)
            doc.report("T001", doc.key(*at, name), f"no policy names the destination {name!r}", hint)
        if expected.why is not None and expected.why not in WHY:
            doc.report("T002", doc.value(*at, name, "why"), f"unknown reason {expected.why!r}", hint_for(expected.why, WHY))
        for setting in ("fields", "without", "only", "hashed"):
            for index, selector in enumerate(getattr(expected, setting) or ()):
                if not is_known(selector):
                    span = doc.value(*at, name, setting, index)
                    doc.report("T002", span, f"{selector!r} is no field", hint_for(selector, all_selectors()))
        if expected.outcome == "not_sent" and (expected.fields or expected.hashed or expected.only):
            doc.report("T003", doc.value(*at, name), "nothing is sent, so no field can be expected", "expect only 'without'")


def signal_purposes(states: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Words of people → the explicit purposes of `Signals`: granted or denied; unknown is silence."""
    return tuple((name, STATE_WORDS[word].value) for name, word in sorted(states.items()) if STATE_WORDS[word].value != "unknown")
