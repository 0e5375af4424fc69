from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from ebbgate.cli import consent as cli
from ebbgate.cli.consent import MAX_LINE, Kind, decode_line, decoder_of
from tests.unit.consent.build import ACCEPT_ALL, REJECT_ALL, gpp, usca

POLICIES = Path(__file__).resolve().parents[3] / "policies"


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lines: bytes, *args: str) -> list[Any]:
    """The printed JSON values of `consent decode` for these input bytes."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(lines)))
    with pytest.raises(SystemExit) as ended:
        cli.app(["decode", *args])
    assert ended.value.code == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("tcf", ACCEPT_ALL),
        ("gpp", gpp([(8, usca())])),
        ("usp", "1YNN"),
        ("gcs_gcd", {"gcs": "G111"}),
        ("gcs_gcd", {"gcd": "13r3r3r3r5"}),
        ("gpc", {"headers": [["Sec-GPC", "1"]]}),
        ("cmp_cookies", {"cookie": "klaro=%7B%22a%22%3Atrue%7D"}),
        ("ac", "2~1~dv.2"),
    ],
)
def test_one_line_in_one_line_out(
    kind: str, value: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each kind answers line for line, in order, and a bad line in between is an error of its own."""
    line = json.dumps(value).encode()
    shown = run(monkeypatch, capsys, line + b"\n\nnot json\n" + line, "--kind", kind)
    assert len(shown) == 3
    assert shown[0] == shown[2]
    assert "error" not in shown[0]
    assert shown[1] == {"error": True}


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize(
    "line",
    [
        b"null", b"1", b"[]", b"{}", b'"\\ud800"', b"\xff", b"[" * 5000, b'{"gcs":1}', b'{"gcs":"G111","gcd":"x"}',
        b'{"headers":1}', b'{"headers":[["a"]]}', b'{"headers":[["a",1]]}', b'{"cookie":1}', b'""', b'"x"', b'{"other":"x"}',
    ],
)  # fmt: skip
def test_anything_else_is_an_error(kind: Kind, line: bytes) -> None:
    """Values of the wrong shape give `{"error": true}` and nothing else."""
    assert decode_line(decoder_of(kind), line) == {"error": True}


def test_reasons_on_demand(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`--reasons` says why, without a value of the input."""
    shown = run(monkeypatch, capsys, b'"CPsecret"\nnope\n', "--kind", "tcf", "--reasons")
    assert shown[0]["reason"] == "ends before a field is complete"
    assert shown[1]["reason"] == "not JSON"
    assert "secret" not in json.dumps(shown)


def test_overlong_lines_are_errors(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A line over 1 MiB is one error, and the next line is read as usual."""
    shown = run(monkeypatch, capsys, b'"' + b"A" * (3 * MAX_LINE) + b'"\n"1YNN"\n', "--kind", "usp")
    assert shown[0] == {"error": True}
    assert shown[1]["notice"] == "Y"
    assert len(shown) == 2


def test_decode_reads_files(tmp_path: Path) -> None:
    """A file works like standard input; one that is not there ends with exit code 2."""
    (tmp_path / "in.jsonl").write_text('"1YNN"\n')
    runner = CliRunner()
    done = runner.invoke(cli.app, ["decode", "--kind", "usp", str(tmp_path / "in.jsonl")])
    assert json.loads(done.stdout)["opt_out_sale"] == "N"
    assert runner.invoke(cli.app, ["decode", "--kind", "usp", str(tmp_path / "none")]).exit_code == 2


def test_why_tells_the_story(tmp_path: Path) -> None:
    """Signals found, what each says, and who decided, as text and as JSON."""
    event = tmp_path / "event.json"
    event.write_text(
        json.dumps({"event": "purchase", "id": "A-1", "consent": {"tcf": REJECT_ALL, "purposes": {"analytics": "granted"}}})
    )
    runner = CliRunner()
    text = runner.invoke(cli.app, ["why", str(event), "--policy", str(POLICIES), "--country", "DE"])
    assert text.exit_code == 0, text.output
    assert "Visitor in DE: opt-in, by eu.yaml:" in text.stdout
    assert "denied   tcf" in text.stdout
    story = json.loads(
        runner.invoke(cli.app, ["why", str(event), "--policy", str(POLICIES), "--country", "DE", "--format", "json"]).stdout
    )
    assert story["purposes"]["analytics"]["state"] == "denied"
    assert {one["signal"] for one in story["signals"]} >= {"event", "tcf"}
    assert REJECT_ALL not in json.dumps(story)


def test_why_of_a_segment_event(tmp_path: Path) -> None:
    """An event of the Segment spec tells its consent under `context.consent`."""
    event = tmp_path / "event.json"
    consent = {"categoryPreferences": {"marketing": False, "analytics": True}}
    event.write_text(json.dumps({"type": "track", "event": "Order Completed", "messageId": "m", "context": {"consent": consent}}))
    told = CliRunner().invoke(cli.app, ["why", str(event), "--policy", str(POLICIES), "--country", "DE", "--format", "json"])
    assert told.exit_code == 0, told.output
    states = {name: one["state"] for name, one in json.loads(told.stdout)["purposes"].items()}
    assert states == {"analytics": "granted", "advertising": "denied"}


def test_why_without_signals(tmp_path: Path) -> None:
    """An event without consent says so."""
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"event": "purchase", "id": "A-1"}))
    shown = CliRunner().invoke(cli.app, ["why", str(event), "--policy", str(POLICIES), "--region", "US-CA"])
    assert "Visitor in US-CA: opt-out" in shown.stdout
    assert "  none" in shown.stdout


@pytest.mark.parametrize("content", [None, "not json", '{"no": "event"}', "[]"])
def test_why_that_cannot_run(tmp_path: Path, content: str | None) -> None:
    """A file that is missing or is no event ends with exit code 2."""
    event = tmp_path / "event.json"
    if content is not None:
        event.write_text(content)
    assert CliRunner().invoke(cli.app, ["why", str(event), "--policy", str(POLICIES), "--country", "DE"]).exit_code == 2


def test_why_without_a_policy_for_the_place(tmp_path: Path) -> None:
    """Where no policy governs, nothing leaves, and the command says that."""
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"event": "purchase", "id": "A-1"}))
    shown = CliRunner().invoke(cli.app, ["why", str(event), "--policy", str(POLICIES / "california.yaml"), "--country", "DE"])
    assert shown.exit_code == 2
    assert "no policy governs this place" in shown.output
