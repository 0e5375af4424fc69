from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ebbgate import log
from ebbgate.cli import main
from ebbgate.cli.init import EVENT, SETTINGS
from ebbgate.policy.templates import templates
from ebbgate.store.keys import KeyRing

SECRET = "a-secret-that-is-never-shown"


@dataclass(frozen=True)
class Mistake:
    """What an operator got wrong, the command that meets it, and what the answer must say."""

    command: str
    says: tuple[str, ...]
    change: tuple[str, str, str] = ("", "", "")  #: (file, text, its replacement; the text "" appends, "*" replaces the file)
    environment: dict[str, str] = field(default_factory=dict)
    code: int = 2
    before: Callable[[Path], object] | None = None


def toml(text: str, replacement: str) -> tuple[str, str, str]:
    return ("ebbgate.toml", text, replacement)


def line_of(text: str) -> int:
    """The line of the settings, as init writes them, that begins with the text."""
    return next(n for n, line in enumerate(SETTINGS.splitlines(), 1) if line.startswith(text))


PORT, LAST = line_of("port = 8080"), len(SETTINGS.splitlines()) + 1
GA4 = "[destinations.ga4]\nmeasurement_id = 'G-EXAMPLE'\napi_secret = '" + SECRET + "'\n"
MISTAKES = {
    "unknown key": Mistake("serve", (f"ebbgate.toml:{PORT}:1: unknown setting 'server.prot': did you mean 'port'?",),
                           toml("port = 8080", "prot = 8080")),
    "unknown table": Mistake("serve", (f"ebbgate.toml:{line_of('[store]')}:2: unknown setting 'stroe': did you mean 'store'?",),
                             toml("[store]", "[stroe]")),
    "text for a number": Mistake("serve", (f"ebbgate.toml:{PORT}:1: server.port needs a whole number",),
                                 toml("port = 8080", "port = 'x'")),
    "out of range": Mistake("serve", (f"ebbgate.toml:{PORT}:1: server.port must be at most 65535",),
                            toml("port = 8080", "port = 99999")),
    "no list": Mistake("serve", (f"ebbgate.toml:{line_of('origins')}:1: sites.shop.origins needs a list",),
                       toml('["https://shop.example"]', '"https://shop.example"')),
    "an origin with a path": Mistake(
        "serve", (f"ebbgate.toml:{line_of('origins')}:1: sites.shop.origins entry 1: an origin is scheme://host",),
        toml("https://shop.example", "https://shop.example/x")),
    "no network": Mistake("serve", (f"ebbgate.toml:{line_of('trusted_proxies')}:1: server.trusted_proxies entry 1: a network is",),
                          toml("trusted_proxies = []", "trusted_proxies = ['10.0.0.1/8']")),
    "a short server key": Mistake("serve", (f"ebbgate.toml:{line_of('server_keys')}:1: sites.shop.server_keys: a server key has",),
                                  toml(f'["{SECRET}"]', '["short"]')),
    "a word for a switch": Mistake("serve", (f"ebbgate.toml:{LAST + 1}:1: delivery.enabled needs true or false",),
                                   toml("", "[delivery]\nenabled = 'perhaps'\n")),
    "an unknown log format": Mistake("serve", ("EBBGATE_LOG_FORMAT: log_format must be 'json' or 'console'",),
                                     environment={"EBBGATE_LOG_FORMAT": "xml"}),
    "not TOML": Mistake("serve", (f"ebbgate.toml:{LAST}:11: not TOML: ", "hint:"), toml("", "[delivery]]\n")),
    "a table twice": Mistake("serve", (f"ebbgate.toml:{LAST}:8: not TOML: the table [server] stands twice",), toml("", "[server]\n")),
    "not UTF-8": Mistake("serve", ("ebbgate.toml: not TOML: not UTF-8", "hint:"),
                         before=lambda folder: (folder / "ebbgate.toml").write_bytes(b"\xff\xfe")),
    "a misspelt variable": Mistake("serve", ("EBBGATE_SERVRE__PORT: unknown setting 'servre'", "hint: did you mean EBBGATE_SERVER"),
                                   environment={"EBBGATE_SERVRE__PORT": "1"}),
    "a misspelt key in a variable": Mistake("serve", ("EBBGATE_SERVER__PROT: unknown setting 'server.prot': did you mean 'port'?",),
                                            environment={"EBBGATE_SERVER__PROT": "1"}),
    "a wrong type in a variable": Mistake("serve", ("EBBGATE_SERVER__PORT: server.port needs a whole number",),
                                          environment={"EBBGATE_SERVER__PORT": "x"}),
    "a secret file that is missing": Mistake(
        "serve", ("EBBGATE_DESTINATIONS__GA4__API_SECRET_FILE: no/such/file: No such file or directory", "hint:"),
        environment={"EBBGATE_DESTINATIONS__GA4__API_SECRET_FILE": "no/such/file"}),
    "a secret given twice": Mistake(
        "serve", ("EBBGATE_DESTINATIONS__GA4__API_SECRET and EBBGATE_DESTINATIONS__GA4__API_SECRET_FILE are both set", "hint:"),
        environment={"EBBGATE_DESTINATIONS__GA4__API_SECRET": SECRET, "EBBGATE_DESTINATIONS__GA4__API_SECRET_FILE": "x"}),
    "settings that are missing": Mistake("serve --config none.toml", ("none.toml: no such file", "hint: make one with `ebbgate init`")),
    "an unknown store": Mistake("serve", ("store.url", "hint: sqlite:///"), toml("sqlite:///", "postgres:///")),
    "a destination that is near": Mistake(
        "serve", (f"ebbgate.toml:{LAST}:2: destinations.ga5: no such destination", "hint: did you mean 'ga4'?"),
        toml("", GA4.replace("ga4", "ga5"))),
    "a destination's misspelt key": Mistake(
        "serve", (f"ebbgate.toml:{LAST + 1}:1: unknown setting 'destinations.ga4.measurment_id': did you mean 'measurement_id'?",
                  f"ebbgate.toml:{LAST}:2: destinations.ga4.api_secret is missing", "hint: settings keys of ga4:"),
        toml("", "[destinations.ga4]\nmeasurment_id = 'G-EXAMPLE'\n")),
    "an endpoint in clear": Mistake("serve", (f"ebbgate.toml:{LAST + 3}:1: destinations.ga4.endpoint: must be https",),
                                    toml("", GA4 + "endpoint = 'http://elsewhere.example'\n")),
    "no keys": Mistake("serve", ("no keys in keys", "hint: Put your copy of them there"),
                       before=lambda folder: (folder / "keys").rename(folder / "gone")),
    "keys that others read": Mistake("serve", ("keys/data.key can be read by others", "hint: chmod 600 keys/data.key"),
                                     before=lambda folder: (folder / "keys/data.key").chmod(0o644)),
    "half a key": Mistake("serve", ("keys/data.key is not a key of 32 bytes", "hint:"),
                          before=lambda folder: (folder / "keys/data.key").write_bytes(b"abc")),
    "a word in a policy": Mistake("check", ("policies/eu.yaml:47:13: P002 unknown purpose 'advertsing'", "did you mean 'advertising'?"),
                                  ("policies/eu.yaml", "needs: [advertising]", "needs: [advertsing]"), code=1),
    "a policy that does not load": Mistake("serve", ("policies/eu.yaml:47:13: P002", "hint: run `ebbgate check`"),
                                           ("policies/eu.yaml", "needs: [advertising]", "needs: [advertsing]")),
    "no policies": Mistake("serve", ("policies: P009 there is no policy file", "ebbgate init"),
                           before=lambda folder: (folder / "policies").rename(folder / "gone")),
    "a store that is none": Mistake("serve", ("ebbgate.db is no SQLite file", "hint: Put the right file back"),
                                    ("data/ebbgate.db", "*", "hello, this is another file altogether\n")),
    "a store that is none, asked": Mistake("doctor", ("data/ebbgate.db is no SQLite file (put the right one back",),
                                           ("data/ebbgate.db", "*", "hello\n"), code=1),
    "no store yet": Mistake("queue list", ("data/ebbgate.db: no store there", "hint: It appears when `ebbgate serve` first runs")),
    "render to a name that is near": Mistake("destination render ga5", ("no such destination", "hint: did you mean 'ga4'?")),
    "render to any name": Mistake("destination render nobody", ("no such destination", "hint: known: amplitude, ")),
    "render a bad line": Mistake("destination render ga4 lines.jsonl", ("line 2, column 2: not JSON",),
                                 ("lines.jsonl", "*", '{"event": {"event": "purchase"}, "settings": {}}\n{broken}\n')),
    "render a file that is missing": Mistake("destination render ga4 none.jsonl", ("none.jsonl: No such file or directory",)),
    "hash for a name that is near": Mistake("destination hash lines.jsonl", ("line 1: no such destination", "did you mean 'meta'?"),
                                            ("lines.jsonl", "*", '{"platform": "mata", "field": "email", "value": "a"}\n')),
    "an unknown kind of signal": Mistake("consent decode --kind tfc", ("'tfc' is not one of 'tcf'",)),
    "signals that are missing": Mistake("consent decode --kind tcf none.txt", ("none.txt: No such file or directory",)),
    "an event that is no JSON": Mistake("consent why e.json", ("e.json:1:15: not JSON: ",), ("e.json", "*", '{"event": "x",}')),
    "an event without a name": Mistake("consent why e.json", ("e.json: an event has no name", "hint:"), ("e.json", "*", "{}")),
    "an event that is missing": Mistake("consent why none.json", ("none.json: No such file or directory",)),
    "--once alone": Mistake("serve --once", ("--once goes with --demo",)),
    "a time in words": Mistake("explain first-event.json --now yesterday", ("--now yesterday: not a time", "hint: write it like")),
    "a misspelt command": Mistake("chekc", ("No such command 'chekc'. Did you mean 'check'?",)),
    "a misspelt option": Mistake("check --fromat json", ("No such option: --fromat", "--format")),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=[name.replace(" ", "-") for name in MISTAKES])
def test_a_mistake_is_told_with_its_place_and_a_way_out(
    mistake: Mistake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What an operator gets wrong: the file with line and column where there is one, what is wrong, a hint; no secret, no traceback."""
    _folder(tmp_path)
    _apply(mistake, tmp_path)
    for name, value in mistake.environment.items():
        monkeypatch.setenv(name, value)
    assert _run(mistake.command, tmp_path, monkeypatch) == mistake.code
    told = capsys.readouterr()
    words = " ".join((told.out + told.err).split()).replace("│ ", "")
    for part in mistake.says:
        assert part in words
    assert SECRET not in words


def test_a_taken_port_is_told_with_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A port that another program has: `serve` names the setting, `sink` the option, `doctor --local` that it is no ebbgate."""
    _folder(tmp_path)
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("EBBGATE_SERVER__PORT", str(port))
        monkeypatch.setenv("EBBGATE_ADMIN__PORT", "0")
        assert _run("serve", tmp_path, monkeypatch) == 2
        told = capsys.readouterr().err
        assert f"cannot listen on 127.0.0.1:{port}: " in told
        assert "hint: choose another server.port" in told
        assert _run(f"sink --port {port}", tmp_path, monkeypatch) == 2
        assert "hint: --port takes another" in capsys.readouterr().err


def _folder(folder: Path) -> None:
    """What `ebbgate init` makes, as far as the mistakes touch it."""
    (folder / "ebbgate.toml").write_text(SETTINGS.format(key=SECRET), encoding="utf-8")
    (folder / "first-event.json").write_text(EVENT, encoding="utf-8")
    (folder / "policies").mkdir()
    for name, text in templates().items():
        (folder / "policies" / name).write_text(text, encoding="utf-8")
    KeyRing.create(folder / "keys")


def _apply(mistake: Mistake, folder: Path) -> None:
    name, text, replacement = mistake.change
    if name:
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        old = file.read_text(encoding="utf-8") if text != "*" else ""
        assert text in ("", "*") or text in old
        new = replacement if text == "*" else old.replace(text, replacement) if text else old + replacement
        file.write_text(new, encoding="utf-8")
    if mistake.before is not None:
        mistake.before(folder)


def _run(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys, "argv", ["ebbgate", *command.split()])
    monkeypatch.setattr(log, "configure", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        main.run()
    return int(str(ended.value.code or 0))
