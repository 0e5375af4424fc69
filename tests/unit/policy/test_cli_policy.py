from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from ebbgate.cli import policy as commands
from ebbgate.errors import ConfigError, PolicyError
from ebbgate.policy.schema import policy_schema
from tests.unit.policy.making import POLICIES

EVENT = {
    "event": "purchase",
    "id": "A-1009",
    "time": "2026-11-21T22:31:21Z",
    "user": {"email": "ana@example.com"},
    "order": {"id": "A-1009", "value": 12, "currency": "EUR"},
    "consent": {"purposes": {"analytics": "granted", "advertising": "denied"}},
    "place": {"country": "DE"},
}


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in an empty folder: no settings but those given."""
    monkeypatch.chdir(tmp_path)


def run(*words: str, stdin: str | None = None) -> Result:
    """Runs a command."""
    app = typer.Typer()
    commands.register(app)
    return CliRunner().invoke(app, list(words), input=stdin)


def ok(result: Result, code: int = 0) -> str:
    """The output of a run that ended as expected."""
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    return str(result.stdout)


def test_check_of_clean_policies() -> None:
    """Exit 0 and one line."""
    assert ok(run("check", str(POLICIES))) == "Found no problems in 3 policies.\n"


def test_check_of_wrong_policies() -> None:
    """Exit 1, findings with their places, and the count; tests beside the policies are checked too."""
    Path("p").mkdir()
    text = (POLICIES / "eu.yaml").read_text()
    Path("p/eu.yaml").write_text(text.replace("needs: [advertising]", "needs: [advertsing]"))
    shown = ok(run("check", "p"), 1)
    assert ":13: P002 unknown purpose 'advertsing'" in shown
    assert "did you mean 'advertising'?" in shown
    assert shown.endswith("in 1 of 1 policy.\n")
    Path("p/eu.yaml").write_text(text)
    Path("p/eu_test.yaml").write_text("suite: x\ncases: [{it: y, expect: {ga5: sent}}]\n")
    assert "p/eu_test.yaml:2:26: T001" in ok(run("check", "p"), 1)
    assert "T001" in ok(run("check", "p/eu_test.yaml"), 1)


def test_warnings_alone_are_clean() -> None:
    """A warning is shown but does not fail a build."""
    Path("eu.yaml").write_text((POLICIES / "eu.yaml").read_text().replace("24 months", "30 days"))
    shown = ok(run("check", "eu.yaml"))
    assert "P050 warning" in shown


def test_check_formats() -> None:
    """json, github and sarif are what their readers parse."""
    Path("eu.yaml").write_text((POLICIES / "eu.yaml").read_text().replace("shorten_ip", "shorten_ips"))
    (found,) = json.loads(ok(run("check", "eu.yaml", "--format", "json"), 1))
    assert (found["code"], found["file"], found["column"]) == ("P001", "eu.yaml", 3)
    assert ok(run("check", "eu.yaml", "--format", "github"), 1).startswith("::error file=eu.yaml,line=")
    assert json.loads(ok(run("check", "eu.yaml", "--format", "sarif"), 1))["version"] == "2.1.0"
    assert isinstance(run("check", "eu.yaml", "--format", "yaml").exception, ConfigError)


def test_check_fix() -> None:
    """`--fix` mends the misspelling and then finds nothing."""
    good = (POLICIES / "eu.yaml").read_text()
    Path("eu.yaml").write_text(good.replace("shorten_ip", "shorten_ips"))
    ok(run("check", "eu.yaml", "--fix"))
    assert Path("eu.yaml").read_text() == good


def test_check_fix_keeps_line_ends() -> None:
    """A file of Windows stays one: only the misspelt word changes."""
    good = (POLICIES / "eu.yaml").read_bytes().replace(b"\n", b"\r\n")
    Path("eu.yaml").write_bytes(good.replace(b"shorten_ip", b"shorten_ips"))
    ok(run("check", "eu.yaml", "--fix"))
    assert Path("eu.yaml").read_bytes() == good


def test_check_tells_of_files_that_are_not_read() -> None:
    """A policy under another ending is named and counted; it is a warning."""
    Path("p").mkdir()
    Path("p/eu.yaml").write_text((POLICIES / "eu.yaml").read_text())
    Path("p/kenya.yml").write_text("policy: x\n")
    shown = ok(run("check", "p"))
    assert "p/kenya.yml: P034 warning" in shown
    assert shown.rstrip().endswith("in 2 of 2 policies.")


def test_check_explains_codes() -> None:
    """`--explain P012` prints the page."""
    assert ok(run("check", "--explain", "p012")).startswith("# P012: destination without `send`")


def test_nothing_to_check() -> None:
    """No policies where the settings say: the command could not run."""
    assert isinstance(run("check").exception, PolicyError)


def test_test_of_our_policies() -> None:
    """Every case beside the policies of this repository passes and every rule is exercised."""
    shown = ok(run("test", str(POLICIES), "--coverage", "--junit", "out.xml"))
    assert shown.startswith("PASS: ")
    assert "never hit" not in shown
    assert Path("out.xml").read_text().startswith("<?xml")


def test_test_fails() -> None:
    """A case that does not hold is exit 1."""
    Path("eu.yaml").write_text((POLICIES / "eu.yaml").read_text())
    Path("eu_test.yaml").write_text("suite: x\ncases: [{it: y, given: {country: DE}, expect: {ga4: sent}}]\n")
    assert "FAIL: 0/1" in ok(run("test", "."), 1)
    assert "FAIL: 0/1" in ok(run("test", "eu_test.yaml"), 1)


def test_explain_json() -> None:
    """The published object, with the place of the event's file."""
    Path("event.json").write_text(json.dumps(EVENT))
    found = json.loads(ok(run("explain", "event.json", "--policy", str(POLICIES), "--format", "json")))
    assert found["policy"]["file"] == "eu.yaml"
    assert found["place"] == {"country": "DE", "region": None, "source": "event"}
    assert {name: d["outcome"] for name, d in found["destinations"].items()} == {
        "ga4": "sent", "meta": "not_sent", "webhook": "sent",
    }  # fmt: skip
    assert "user.email" in found["destinations"]["ga4"]["removed"]


def test_explain_text_of_a_draft() -> None:
    """The story for people, from standard input, under a draft, elsewhere."""
    shown = ok(run("explain", "-", "--draft", str(POLICIES), "--region", "us-ca", stdin=json.dumps(EVENT)))
    assert "policy california.yaml" in shown
    assert "DRAFT" in shown
    assert "ana@example.com" not in shown


def test_explain_uses_the_configured_destinations() -> None:
    """With settings, the story is about the destinations they configure."""
    Path("event.json").write_text(json.dumps(EVENT))
    Path("ebbgate.toml").write_text(f'[policies]\npath = "{POLICIES}"\n[destinations.ga4]\nmeasurement_id = "G-1"\n')
    found = json.loads(ok(run("explain", "event.json", "--format", "json")))
    assert list(found["destinations"]) == ["ga4"]


def test_explain_at_a_time() -> None:
    """`--now` is the clock; what is no time is refused."""
    Path("event.json").write_text(json.dumps(EVENT))
    ok(run("explain", "event.json", "--policy", str(POLICIES), "--now", "2026-11-21T23:00:00Z"))
    assert isinstance(run("explain", "event.json", "--policy", str(POLICIES), "--now", "soon").exception, ConfigError)


def test_explain_of_a_segment_event() -> None:
    """A file with `type` is a Segment-spec event."""
    segment = {
        "type": "track", "event": "Order Completed", "messageId": "m-1", "anonymousId": "a", "timestamp": "2026-11-21T22:31:21Z",
        "properties": {"order_id": "A-1", "total": 3, "currency": "EUR"},
        "context": {"consent": {"categoryPreferences": {"marketing": True, "analytics": True}}},
    }  # fmt: skip
    found = json.loads(
        ok(run("explain", "-", "--policy", str(POLICIES), "--country", "DE", "--format", "json", stdin=json.dumps(segment)))
    )
    assert found["destinations"]["meta"]["outcome"] == "sent"


@pytest.mark.parametrize("text", ["[]", "{", '{"event": 1}', '{"event": "purchase", "event": "x"}'])
def test_explain_of_no_event(text: str) -> None:
    """What is no event is an error that shows no value."""
    result = run("explain", "-", "--policy", str(POLICIES), stdin=text)
    assert result.exit_code != 0
    assert result.exception is not None


def test_explain_of_a_missing_file() -> None:
    """A file that is not there is named."""
    assert isinstance(run("explain", "none.json", "--policy", str(POLICIES)).exception, ConfigError)


def test_schema() -> None:
    """`schema` prints the schema with the names of the destinations."""
    shown = ok(run("schema"))
    assert "ga4" in json.loads(shown)["properties"]["destinations"]["propertyNames"]["enum"]
    assert len(shown) > len(policy_schema())


def test_fmt() -> None:
    """`fmt` changes files in place and `fmt --check` only tells."""
    Path("p").mkdir()
    Path("p/a.yaml").write_text("policy:   x\n")
    Path("p/a_test.yaml").write_text("suite: x\n")
    assert "would change p/a.yaml" in ok(run("fmt", "p", "--check"), 1)
    assert Path("p/a.yaml").read_text() == "policy:   x\n"
    assert ok(run("fmt", "p")).endswith("1 of 2 files changed\n")
    assert Path("p/a.yaml").read_text() == "policy: x\n"
    ok(run("fmt", "p/a.yaml", "--check"))


def test_diff() -> None:
    """Exit 1 when more would leave, 0 when somebody allowed it or less leaves; text and effect are both shown."""
    text = (POLICIES / "eu.yaml").read_text()
    Path("old.yaml").write_text(text)
    Path("new.yaml").write_text(text.replace("user.email, user.phone, click", "user.email, user.phone, order.tax, click"))
    shown = ok(run("diff", "old.yaml", "new.yaml"), 1)
    assert "new field leaving: order.tax" in shown
    assert "+    send: [event, page.url" in shown
    ok(run("diff", "old.yaml", "new.yaml", "--allow"))
    ok(run("diff", "new.yaml", "old.yaml"))
    found = json.loads(ok(run("diff", "old.yaml", "new.yaml", "--format", "json"), 1))
    assert found["lets_more_out"] is True
    assert found["new_fields"]["meta"] == ["order.tax"]
    assert isinstance(run("diff", "old.yaml", "new.yaml", "--format", "xml").exception, ConfigError)
    assert isinstance(run("explain", "x", "--format", "xml").exception, ConfigError)
