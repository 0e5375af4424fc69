"""How a command that could not run says so."""

from __future__ import annotations

import apsw
import pytest

from ebbgate.cli import main
from ebbgate.errors import ConfigError


def said(raised: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """(exit code, stderr) of the console script when its command raises."""

    def app() -> None:
        raise raised

    monkeypatch.setattr(main, "app", app)
    with pytest.raises(SystemExit) as left:
        main.run()
    return left.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (ConfigError("no keys in keys", hint="make them"), "ebbgate: no keys in keys\n  hint: make them\n"),
        (OSError(30, "Read-only file system", "data/commit.lock"), "ebbgate: data/commit.lock: Read-only file system\n"),
        (OSError(28, "No space left on device"), "ebbgate: No space left on device\n"),
        (apsw.CantOpenError("unable to open database file"), "ebbgate: the store cannot be read: unable to open database file\n"),
    ],
)
def test_what_keeps_a_command_from_running_is_one_sentence(
    raised: BaseException, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 with a sentence and what to do, never a traceback: a read-only disk, a full one, a store that SQLite cannot open."""
    code, err = said(raised, monkeypatch, capsys)
    assert code == 2
    assert err.startswith(told)
    assert "Traceback" not in err


def test_a_fault_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything else is raised as it is."""

    def app() -> None:
        raise KeyError("ours")

    monkeypatch.setattr(main, "app", app)
    with pytest.raises(KeyError):
        main.run()
