"""`--format json` at every command (DESIGN §5.3): the option is there, and the answer is JSON on stdout."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer

from ebbgate.cli import main
from ebbgate.store.keys import KeyRing
from ebbgate.store.open import open_store
from ebbgate.store.sqlite_records import Records

#: Commands without `--format`, and why.
WITHOUT: Final = {
    "serve": "it gives no answer: it runs until it is stopped, and `log_format` lays out its log",
}
#: Commands that answer with one document a line: a line of input, or a thing found, is one.
LINES: Final = ("audit show", "audit search", "consent decode", "destination render", "destination hash", "sink")
EVENT: Final = {
    "event": "purchase",
    "id": "A-1",
    "time": "2026-11-21T22:31:21Z",
    "consent": {"purposes": {"advertising": "denied"}},
}
HOOK: Final = {"url": "https://hooks.example/x", "secret": "whsec_bm90IGEgc2VjcmV0IGF0IGFsbCwganVzdCBieXRlcw=="}
#: Command → (words, what stands on standard input, exit code), run in a folder that `init` made, with an empty store.
RUNS: Final[dict[str, tuple[list[str], str, int]]] = {
    "init": (["shop"], "", 0),
    "check": (["policies"], "", 0),
    "test": (["policies"], "", 0),
    "explain": (["event.json", "--country", "DE"], "", 0),
    "schema": ([], "", 0),
    "fmt": (["policies", "--check"], "", 0),
    "diff": (["policies", "policies"], "", 0),
    "replay": (["--since", "1h", "--to", "policies"], "", 0),
    "fields": ([], "", 0),
    "revisions": ([], "", 0),
    "sink": (["--port", "{taken}"], "", 2),
    "doctor": ([], "", 0),
    "tag": ([], "", 0),
    "openapi": ([], "", 0),
    "consent decode": (["--kind", "usp"], '"1YNN"\n"nonsense"\n', 0),
    "consent why": (["event.json", "--country", "DE"], "", 0),
    "destination list": ([], "", 0),
    "destination render": (["webhook"], json.dumps({"event": EVENT, "settings": HOOK}), 0),
    "destination hash": ([], json.dumps({"platform": "meta", "field": "em", "value": "Ana@example.com"}), 0),
    "audit show": (["A-1"], "", 1),
    "audit search": ([], "", 1),
    "queue list": ([], "", 0),
    "queue retry": (["1"], "", 1),
    "queue drop": (["1"], "", 1),
}


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """(name, command) of every command that does something."""
    command = typer.main.get_command(main.app) if command is None else command
    if not hasattr(command, "commands"):
        yield " ".join(path), command
        return
    for name, inner in command.commands.items():
        yield from commands(inner, (*path, name))


class Shell:
    """Runs commands as the console script does, in one process."""

    def __init__(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self._patch, self._capture = patch, capture

    def __call__(self, name: str, form: str) -> tuple[int, str]:
        """(exit code, stdout) of the command with `--format`."""
        words, stdin, _ = RUNS[name]
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            words = [word.format(taken=taken.getsockname()[1]) for word in words]
            self._patch.setattr(sys, "argv", ["ebbgate", *name.split(), *words, "--format", form])
            self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            with pytest.raises(SystemExit) as left:
                main.run()
        return int(left.value.code or 0), self._capture.readouterr().out


@pytest.fixture
def shell(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Commands run in the folder."""
    monkeypatch.chdir(folder)
    return Shell(monkeypatch, capsys)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `ebbgate init` makes, an event, and the files of a gateway that has taken none."""
    from ebbgate.cli.init import init

    made = tmp_path_factory.mktemp("format")
    init(made)
    (made / "event.json").write_text(json.dumps(EVENT), encoding="utf-8")
    (made / "data").mkdir()
    Records.open(made / "data").close()

    async def store() -> None:
        opened = open_store(f"sqlite:///{made / 'data' / 'ebbgate.db'}", KeyRing.load(made / "keys"))
        await opened.open()
        await opened.close()

    asyncio.run(store())
    return made


@pytest.mark.parametrize(("name", "command"), [pytest.param(name, command, id=name) for name, command in commands()])
def test_every_command_takes_a_format(name: str, command: Any, shell: Shell) -> None:
    """`--format json` gives one JSON document on stdout; a command that could not run exits 2 and gives none."""
    taken = {option for parameter in command.params for option in parameter.opts}
    if name in WITHOUT:
        assert "--format" not in taken, "an exception that is none any more"
        return
    assert "--format" in taken
    code, out = shell(name, "json")
    assert code == RUNS[name][2]
    if code == 2:
        assert out == ""
    elif name in LINES:
        assert [json.loads(line) for line in out.splitlines()] or code == 1
    else:
        json.loads(out)


@pytest.mark.parametrize("name", ["schema", "openapi", "consent decode", "destination render", "destination hash"])
def test_an_answer_that_is_json_anyway_is_laid_out_as_text(name: str, shell: Shell) -> None:
    """`--format text` gives the same documents over several lines, `--format json` each on its own line."""
    (_, text), (_, lines) = shell(name, "text"), shell(name, "json")
    told = [json.loads(line) for line in lines.splitlines()]
    assert text.count("\n") > len(told)
    found, rest = [], text
    while rest.strip():
        one, end = json.JSONDecoder().raw_decode(rest.lstrip())
        found.append(one)
        rest = rest.lstrip()[end:]
    assert found == told


def test_a_failed_policy_test_is_told_as_json(folder: Path, shell: Shell) -> None:
    """`test --format json` exits 1 and names the case and what was expected; rules that no case reaches are listed."""
    written = folder / "policies" / "eu_test.yaml"
    before = written.read_text(encoding="utf-8")
    written.write_text(before.replace("outcome: not_sent", "outcome: sent").replace(": not_sent", ": sent"), encoding="utf-8")
    try:
        code, out = shell("test", "json")
    finally:
        written.write_text(before, encoding="utf-8")
    told = json.loads(out)
    failed = [case for case in told["cases"] if case["failures"]]
    assert code == 1
    assert told["ok"] is False
    assert failed
    assert len(failed) == len(told["cases"]) - told["passed"]
    assert all("eu_test.yaml" in failure for case in failed for failure in case["failures"])
    assert len(told["never_hit"]) < told["rules"]


def test_policies_without_a_test_do_not_pass(folder: Path, shell: Shell) -> None:
    """`test` exits 1 where there is no case to run, as its verdict says."""
    tests = sorted((folder / "policies").glob("*_test.yaml"))
    kept = [(path, path.read_bytes()) for path in tests]
    for path in tests:
        path.unlink()
    try:
        code, out = shell("test", "json")
    finally:
        for path, before in kept:
            path.write_bytes(before)
    assert code == 1
    assert json.loads(out)["ok"] is False


def test_fmt_names_what_it_would_change(folder: Path, shell: Shell) -> None:
    """`fmt --check --format json` exits 1, names the file and writes nothing."""
    written = folder / "policies" / "eu.yaml"
    before = written.read_bytes()
    written.write_bytes(before + b"\n\n\n")
    try:
        code, out = shell("fmt", "json")
        kept = written.read_bytes()
    finally:
        written.write_bytes(before)
    assert code == 1
    assert json.loads(out) == {"files": 6, "changed": ["policies/eu.yaml"], "written": False}
    assert kept == before + b"\n\n\n"
