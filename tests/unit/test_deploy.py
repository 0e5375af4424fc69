from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from ebbgate.cli.init import SETTINGS
from ebbgate.consent.place import PLACE_HEADERS
from ebbgate.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


def text(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "pattern"),
    [("nginx.conf", r'^\s*proxy_set_header (\S+) "";'), ("Caddyfile", r"^\s*request_header -(\S+)$")],
)
def test_the_recipes_take_every_geo_header_from_visitors(name: str, pattern: str) -> None:
    """A header from which the gateway would read a place, and that the proxy does not set itself, ends at the proxy."""
    removed = {found.lower() for found in re.findall(pattern, text(name), re.MULTILINE)} - {"connection"}
    assert removed == PLACE_HEADERS


def said_in(comment: str) -> dict[str, Any]:
    """The settings that a recipe's comment names, as ebbgate.toml would have them."""
    pairs = re.findall(r'\[(\w+)\] ((?:\w+ = (?:"[^"]*"|\[[^\]]*\])(?:, )?)+)', comment)
    found: dict[str, Any] = {}
    for section, values in pairs:
        for key, value in re.findall(r'(\w+) = ("[^"]*"|\[[^\]]*\])', values):
            found[f"{section}.{key}"] = tomllib.loads(f"v = {value}")["v"]
    return found


def test_the_unit_writes_only_where_it_may(tmp_path: Path) -> None:
    """The settings named in the unit load, and all that they write is below its state directories."""
    unit = text("ebbgate.service")
    (tmp_path / "ebbgate.toml").write_text(SETTINGS.format(key="k" * 43), encoding="utf-8")
    told = said_in(unit.replace("\n# ", " "))
    assert set(told) == {"store.url", "keys.directory", "policies.path"}
    settings = load_settings(tmp_path / "ebbgate.toml", overrides=told)
    found = re.search(r"^StateDirectory=(.*)$", unit, re.MULTILINE)
    assert found is not None
    state = [Path("/var/lib") / name for name in found[1].split()]
    assert settings.keys.directory in state
    assert Path(settings.store.url.removeprefix("sqlite:///")).parent in state
    assert "ProtectSystem=strict" in unit


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` has no complaint."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze")
    unit = tmp_path / "ebbgate.service"
    unit.write_text(text("ebbgate.service").replace("/opt/ebbgate/bin/ebbgate ", f"{shutil.which('true')} "), encoding="utf-8")
    done = subprocess.run([program, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_the_compose_file_fits_its_neighbours(tmp_path: Path) -> None:
    """What it mounts is there or comes from `ebbgate init`, what it sets the Caddyfile reads, and only the proxy is published."""
    compose = yaml.safe_load(text("compose.yaml"))
    services = compose["services"]
    mounts = [mount for service in services.values() for mount in service["volumes"]]
    made_by_init = {"./ebbgate.toml", "./policies", "./keys"}
    for source in (mount.partition(":")[0] for mount in mounts):
        assert source in made_by_init | set(compose["volumes"]) or (DEPLOY / source).is_file(), source
    assert set(services["caddy"]["environment"]) == set(re.findall(r"\{\$(\w+):", text("Caddyfile")))
    (tmp_path / "ebbgate.toml").write_text(SETTINGS.format(key="k" * 43), encoding="utf-8")
    told = said_in(text("compose.yaml"))
    settings = load_settings(tmp_path / "ebbgate.toml", overrides=told)
    subnet = compose["networks"]["front"]["ipam"]["config"][0]["subnet"]
    assert [str(network) for network in settings.server.trusted_proxies] == [subnet]
    assert services["caddy"]["environment"]["GATEWAY"] == f"gateway:{settings.server.port}"
    assert "ports" not in services["gateway"]
    assert services["gateway"]["read_only"] is True
    assert services["gateway"]["cap_drop"] == ["ALL"]
    written = {mount.split(":")[1] for mount in services["gateway"]["volumes"] if not mount.endswith(":ro")}
    assert written == set(re.findall(r'"(/srv/ebbgate/\w+)"', (ROOT / "Dockerfile").read_text(encoding="utf-8")))
