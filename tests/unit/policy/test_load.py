from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from ebbgate.errors import PolicyError, Problem
from ebbgate.model import Place
from ebbgate.policy.load import examine, lint_policies, load_policies, load_texts
from ebbgate.policy.places import COUNTRIES
from ebbgate.policy.report import as_text
from tests.unit.policy.making import CONSENT, FACTS, POLICIES

WRONG = """\
policy: x
owner: y
reason: z
applies_to: {everywhere_else: true, when_country_unknown: apply}
consent: {model: opt_in, read_from: [event], if_missing: refused, purposes: {advertising: {}}}
before_anything_leaves:
    remov: [user.email]
destinations:
  meta:
    needs: [advertsing]
    send: [event]
"""

SHOWN = """\
{file}:7:5: P001 unknown setting 'remov'
     |
   7 |     remov: [user.email]
     |     ^^^^^ did you mean 'remove'?

{file}:10:13: P002 unknown purpose 'advertsing'
     |
  10 |     needs: [advertsing]
     |             ^^^^^^^^^^ did you mean 'advertising'?"""


def text(places: str, name: str = "x") -> str:
    """A sound policy for these places."""
    destinations = "destinations: {ga4: {needs: [analytics], send: [event]}, meta: {needs: [advertising], send: [event]}}"
    return f"policy: {name}\nowner: o\nreason: r\napplies_to: {places}\n{CONSENT}{destinations}\n"


def test_messages_are_those_of_the_specification(tmp_path: Path) -> None:
    """Both problems at once, each with place, code, excerpt, carets and a hint (specs/experience.md §2.1)."""
    file = tmp_path / "eu.yaml"
    file.write_text(WRONG)
    with pytest.raises(PolicyError) as refused:
        load_policies(file, FACTS)
    assert str(refused.value) == SHOWN.format(file=file.as_posix())
    assert [p.code for p in refused.value.problems] == ["P001", "P002"]


def test_the_policies_we_ship_are_clean() -> None:
    """The policies of this repository have not even a warning."""
    assert lint_policies(POLICIES, FACTS) == []


def test_region_beats_country_beats_everywhere_else() -> None:
    """Exactly one policy governs a place, the most specific one."""
    found = load_policies(POLICIES, FACTS)

    def file(country: str | None, region: str | None = None) -> str | None:
        policy = found.select(Place(country, region))
        return policy.file if policy else None

    assert file("US", "US-CA") == "california.yaml"
    assert file(None, "US-CA") == "california.yaml"
    assert file("US", "US-NV") == "elsewhere.yaml"
    assert file("US") == "elsewhere.yaml"
    assert file("NO") == file("GB") == file("CH") == file("RE") == file("DE", "DE-BE") == "eu.yaml"


@pytest.mark.parametrize(
    "place", [Place(), Place("XX"), Place("T1"), Place("de"), Place("EU"), Place("DE", "US-CA"), Place(None, "XX-1")]
)
def test_an_unknown_place_goes_to_the_policy_that_says_so(place: Place) -> None:
    """No ISO country, or a region of another country, is an unknown place: the strictest policy takes it."""
    found = load_policies(POLICIES, FACTS).select(place)
    assert found is not None
    assert found.file == "eu.yaml"


def test_everywhere_else_does_not_claim_an_unknown_place() -> None:
    """Without `when_country_unknown: apply` nothing governs an unknown place."""
    only = load_texts({"a.yaml": text("{everywhere_else: true}").encode()}, FACTS)
    assert only.select(Place("DE")) is not None
    assert only.select(Place()) is None
    assert only.select(Place("XX")) is None


def test_a_place_that_nobody_claims_has_no_policy() -> None:
    """Without `everywhere_else` a country that no policy names is governed by none."""
    only = load_texts({"a.yaml": text("{countries: [DE]}").encode()}, FACTS)
    assert only.select(Place("FR")) is None


def test_gaps_are_warnings() -> None:
    """A set with gaps loads, since a gap lets nothing out, and the linter tells."""
    files = {"a.yaml": text("{countries: [DE]}").encode()}
    assert [(p.code, p.severity) for p in _problems(files)] == [("P031", "warning"), ("P033", "warning")]


def _problems(files: dict[str, bytes], configured: tuple[str, ...] | None = None) -> list[Problem]:
    return examine(files, FACTS, configured=configured)[1]


def test_destinations_and_settings_that_miss_each_other_are_warnings() -> None:
    """A destination that is only in the policy, or only in the settings, is told and sends nothing."""
    files = {"a.yaml": text("{everywhere_else: true, when_country_unknown: apply}").encode()}
    found = _problems(files, ("ga4", "webhook"))
    assert [(p.code, p.severity, p.message.split()[0]) for p in found] == [
        ("P042", "warning", "'webhook'"),
        ("P040", "warning", "'meta'"),
    ]


def test_order_of_files_does_not_matter() -> None:
    """The same files in any order make the same set: digest, selection and rules."""
    files = {p.name: p.read_bytes() for p in POLICIES.glob("*.yaml") if not p.name.endswith("_test.yaml")}
    sets = [load_texts(dict(order), FACTS) for order in itertools.permutations(files.items())]
    assert len({s.digest for s in sets}) == 1
    assert len({tuple(p.file for p in s.policies) for s in sets}) == 1
    for place in (Place("DE"), Place("US", "US-CA"), Place("BR"), Place()):
        assert len({found.file for s in sets if (found := s.select(place))}) == 1


def test_the_digest_is_of_the_bytes() -> None:
    """One byte more, be it a comment, is another digest of file and set."""
    one = load_texts({"a.yaml": text("{countries: [DE]}").encode()}, FACTS)
    two = load_texts({"a.yaml": text("{countries: [DE]}").encode() + b"# x\n"}, FACTS)
    assert one.digest != two.digest
    assert one.policies[0].digest != two.policies[0].digest


def test_one_wrong_file_and_nothing_loads(tmp_path: Path) -> None:
    """A good file beside a wrong one does not load either."""
    (tmp_path / "good.yaml").write_text(text("{countries: [DE]}"))
    (tmp_path / "wrong.yaml").write_text("policy: x\n")
    with pytest.raises(PolicyError):
        load_policies(tmp_path, FACTS)


def test_tests_are_no_policies(tmp_path: Path) -> None:
    """`*_test.yaml` and hidden files beside the policies are left alone."""
    (tmp_path / "a.yaml").write_text(text("{countries: [DE]}"))
    (tmp_path / "a_test.yaml").write_text("suite: x\n")
    (tmp_path / ".b.yaml").write_text("editor's backup")
    assert [p.file for p in load_policies(tmp_path, FACTS).policies] == ["a.yaml"]


@pytest.mark.parametrize("make", ["nothing", "folder", "unreadable"])
def test_no_policy_is_an_error(tmp_path: Path, make: str) -> None:
    """An empty folder, a missing one or one that cannot be read is an error, never an empty set."""
    path = tmp_path / "policies"
    if make != "nothing":
        path.mkdir()
    if make == "unreadable":
        (path / "a.yaml").mkdir()
    with pytest.raises(PolicyError) as refused:
        load_policies(path, FACTS)
    assert refused.value.problems[0].code == "P009"


def test_rules_carry_their_line() -> None:
    """Every destination knows the file and line that decides for it."""
    policy = load_policies(POLICIES, FACTS).by_file["eu.yaml"]
    lines = (POLICIES / "eu.yaml").read_text().split("\n")
    for name, plan in policy.destinations.items():
        file, _, number = plan.rule.partition(":")
        assert file == "eu.yaml"
        assert lines[int(number) - 1].strip().startswith(f"{name}:")


def test_norway_is_a_country() -> None:
    """`NO` is text in YAML 1.2, with or without quotes."""
    found = load_texts({"a.yaml": text("{countries: [NO]}").encode()}, FACTS)
    assert found.select(Place("NO")) is not None


def test_fifty_policies_load_within_a_second() -> None:
    """Loading is quick: one country a file, fifty files (issue 4; three times the figure here, for slow machines)."""
    body = (POLICIES / "eu.yaml").read_text()
    files = {
        f"p{i}.yaml": body.replace("[EEA, GB, CH]", f"[{country}]")
        .replace("when_country_unknown: apply", "when_country_unknown: skip")
        .encode()
        for i, country in enumerate(sorted(COUNTRIES)[:50])
    }
    started = time.perf_counter()
    load_texts(files, FACTS)
    assert time.perf_counter() - started < 3


def test_warnings_are_marked_in_text() -> None:
    """A warning says that it is one."""
    found = _problems({"a.yaml": text("{countries: [DE]}").encode()}, ())
    assert "P033 warning no policy governs the rest of the world" in as_text(found)


def test_what_us_signals_can_grant() -> None:
    """Under opt_out a US opt-out section that permits is a grant, so its purposes have a source; under opt_in it is none."""
    words = "read_from: [us_privacy], if_missing: refused, gpc_counts_as: [advertising], purposes: {advertising: {}}"
    tail = "destinations: {meta: {needs: [advertising], send: [event]}}\n"
    head = "policy: x\nowner: o\nreason: r\napplies_to: {everywhere_else: true, when_country_unknown: apply}\n"
    found = {}
    for model in ("opt_in", "opt_out"):
        whole = f"{head}consent: {{model: {model}, {words}}}\n{tail}"
        found[model] = [p.code for p in _problems({"a.yaml": whole.encode()})]
    assert found == {"opt_in": ["P013"], "opt_out": []}


def test_an_unknown_setting_and_more_behind_it() -> None:
    """A setting that was meant but is wrong too, or is there twice: the unknown name is told and nothing crashes."""
    sound = text("{everywhere_else: true, when_country_unknown: apply}")
    assert [p.code for p in _problems({"a.yaml": (sound + "keep_evidence_fr: 3\n").encode()})] == ["P001"]
    assert [p.code for p in _problems({"a.yaml": (sound + "polcy: y\n").encode()})] == ["P001"]
