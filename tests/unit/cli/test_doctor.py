"""`ebbgate doctor` on the gateway's own machine: what an operator is told before events are refused."""

from __future__ import annotations

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from ebbgate.cli.main import app
from ebbgate.policy.templates import templates
from ebbgate.store.keys import KeyRing


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A configured folder in which no gateway has run yet."""
    (tmp_path / "ebbgate.toml").write_text("[store]\nmin_free_bytes = 0\n", encoding="utf-8")
    (tmp_path / "policies").mkdir()
    for name, text in templates().items():
        (tmp_path / "policies" / name).write_text(text, encoding="utf-8")
    KeyRing.create(tmp_path / "keys")
    return tmp_path


def doctor(house: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", "--config", str(house / "ebbgate.toml"), *arguments])


def test_nothing_wrong_is_said_in_both_forms(house: Path) -> None:
    """Exit 0, one line of text or one JSON object; looking makes no file."""
    assert doctor(house).output == "  ✓ settings, keys, policies and store can be used\n"
    found = doctor(house, "--format", "json")
    assert (found.exit_code, json.loads(found.stdout)) == (0, {"ok": True, "problems": []})
    assert not (house / "data").exists()


def test_a_disk_without_room_is_found(house: Path) -> None:
    """Less free space than the gateway keeps: named with its place, before the first event is refused."""
    (house / "ebbgate.toml").write_text(f"[store]\nmin_free_bytes = {1 << 62}\n", encoding="utf-8")
    found = doctor(house, "--format", "json")
    assert found.exit_code == 1
    assert [p for p in json.loads(found.stdout)["problems"] if str(house) in p and "store.min_free_bytes" in p]


def test_a_folder_that_cannot_be_written_is_found(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only mount or another owner: the folder is named."""
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.R_OK)  # as click looks at --config
    found = doctor(house)
    assert found.exit_code == 1
    assert f"{house} cannot be written" in found.output


def test_a_file_where_the_folder_should_be_is_found(house: Path) -> None:
    """The store's folder is a file."""
    (house / "data").touch()
    assert "cannot be written" in doctor(house).output


def test_free_space_is_that_of_the_nearest_folder_there_is(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's folder is not made yet: the one that it would be made in counts."""
    asked: list[Path] = []

    def statvfs(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(f_bavail=1, f_frsize=1)

    monkeypatch.setattr(os, "statvfs", statvfs)
    assert doctor(house).exit_code == 0
    assert asked == [house]


def test_another_program_on_the_port_is_told_as_one(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--local` that is answered by something else says so: exit 1, no traceback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:  # answers 501 in HTML
        Thread(target=other.serve_forever, daemon=True).start()
        monkeypatch.setenv("EBBGATE_SERVER__PORT", str(other.server_port))
        found = doctor(house, "--local")
        other.shutdown()
    assert found.exit_code == 1
    assert "is no ebbgate: status 501" in found.output
