from __future__ import annotations

from pathlib import Path

import pytest

from ebbgate.errors import ConfigError
from ebbgate.settings import load_settings, secret_digest


def write(folder: Path, text: str) -> Path:
    path = folder / "ebbgate.toml"
    path.write_text(text, encoding="utf-8")
    return path


FULL = """
[server]
port = 9000
trusted_proxies = ["10.0.0.0/8"]
[store]
url = "sqlite:///data/x.db"
[sites.shop]
origins = ["https://Shop.example"]
server_keys = ["0123456789abcdef"]
[destinations.ga4]
measurement_id = "G-1"
"""


def test_reads_the_file_relative_to_itself(tmp_path: Path) -> None:
    """Paths in the file are relative to the file, whatever the working directory."""
    found = load_settings(write(tmp_path, FULL))
    assert found.server.port == 9000
    assert found.store.url == f"sqlite:///{tmp_path}/data/x.db"
    assert found.policies.path == tmp_path / "policies"
    assert found.keys.directory == tmp_path / "keys"
    assert found.sites["shop"].origins == ("https://shop.example",)


def test_the_environment_is_stronger_than_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EBBGATE_… with `__` overrides one key and leaves its neighbours."""
    monkeypatch.setenv("EBBGATE_SERVER__PORT", "9001")
    monkeypatch.setenv("EBBGATE_DESTINATIONS__GA4__API_SECRET", "s3cret")
    found = load_settings(write(tmp_path, FULL))
    assert found.server.port == 9001
    assert found.server.trusted_proxies
    assert found.destinations["ga4"] == {"measurement_id": "G-1", "api_secret": "s3cret"}
    assert "s3cret" not in repr(found)


def test_secrets_come_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """…_FILE gives the file's text with one trailing newline trimmed."""
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n\n")
    monkeypatch.setenv("EBBGATE_DESTINATIONS__GA4__API_SECRET_FILE", str(secret))
    found = load_settings(write(tmp_path, FULL))
    assert found.destinations["ga4"] == {"measurement_id": "G-1", "api_secret": "s3cret\n"}


def test_a_secret_given_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value and its file together are an error: which one counts would be a guess."""
    monkeypatch.setenv("EBBGATE_DESTINATIONS__GA4__API_SECRET", "x")
    monkeypatch.setenv("EBBGATE_DESTINATIONS__GA4__API_SECRET_FILE", "/nowhere")
    with pytest.raises(ConfigError, match="are both set"):
        load_settings(write(tmp_path, FULL))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[servr]\n", "unknown setting 'servr': did you mean 'server'?"),
        ("[server]\nprot = 1\n", "unknown setting 'server.prot': did you mean 'port'?"),
        ("[sites.shop]\norigin = []\n", "unknown setting 'sites.shop.origin': did you mean 'origins'?"),
        ("[server]\nport = 99999\n", "server.port"),
        ('[server]\nprefix = "e"\n', "server.prefix"),
        ('[server]\ntrusted_proxies = ["everyone"]\n', "server.trusted_proxies"),
        ('[sites.shop]\norigins = ["https://shop.example/path"]\n', "sites.shop.origins"),
        ('[sites.shop]\norigins = ["*"]\n', "sites.shop.origins"),
        ('[sites.shop]\nserver_keys = ["tooshort"]\n', "sites.shop.server_keys"),
        ("[server\n", "not TOML"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, says: str) -> None:
    """Every mistake names the file and the key, and never a value that may be a secret."""
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, text))
    assert says in caught.value.message
    assert str(tmp_path) in caught.value.message
    assert "tooshort" not in caught.value.message


def test_a_misspelt_variable_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that sets nothing must not look as if it did."""
    monkeypatch.setenv("EBBGATE_SERVR__PORT", "1")
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, FULL))
    assert caught.value.hint == "did you mean EBBGATE_SERVER…?"


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    """--config of a file that is not there is an error with a way out; without it, defaults serve."""
    with pytest.raises(ConfigError, match="no such file"):
        load_settings(tmp_path / "nowhere.toml")


def test_a_digest_stands_for_its_key() -> None:
    """`sha256:<hex>` is the digest itself, anything else is digested."""
    assert secret_digest("sha256:ABCD") == "abcd"
    assert secret_digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
