"""A gateway does not start on a policy that would let out in clear what a destination wants hashed: every destination, every such field."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebbgate.app import Gateway
from ebbgate.destinations.registry import DESTINATIONS
from ebbgate.errors import PolicyError
from ebbgate.settings import Settings
from ebbgate.store.keys import KeyRing
from ebbgate.store.memory import MemoryStore
from tests.contract.test_destination_rules import settings_of

POLICY = """\
policy: Visitors everywhere
owner: privacy@shop.example
reason: tests
applies_to: {{everywhere_else: true, when_country_unknown: apply}}
consent:
  model: opt_in
  read_from: [event]
  if_missing: refused
  if_sources_disagree: most_protective
  purposes:
    advertising: {{categories: [marketing]}}
destinations:
  {name}:
    needs: [advertising]
    events: all
{rest}
keep_evidence_for: 24 months
"""
DEMANDS = [(name, path) for name, d in sorted(DESTINATIONS.items()) for path in sorted(d.demands_hash)]


def _start(folder: Path, name: str, rest: str) -> Gateway:
    """A gateway with this destination configured and one policy about it, as `serve` makes it."""
    (folder / "policies").mkdir()
    (folder / "policies" / "all.yaml").write_text(POLICY.format(name=name, rest=rest), encoding="utf-8")
    settings = Settings.model_validate({
        "policies": {"path": folder / "policies"},
        "sites": {"shop": {"origins": ["https://shop.example"]}},
        "destinations": {name: settings_of(name)},
    })  # fmt: skip
    return Gateway(settings, keys=KeyRing.ephemeral(), store=MemoryStore())


def _list(*paths: str) -> str:
    return f"[{', '.join(paths)}]"


@pytest.mark.parametrize(("name", "path"), DEMANDS)
@pytest.mark.parametrize("way", ["alone", "among_others", "with_its_group", "when_refused"])
def test_a_gateway_does_not_start_where_a_field_would_arrive_in_clear(tmp_path: Path, name: str, path: str, way: str) -> None:
    """Named alone, beside others that are hashed, with its whole group, or in the reduced sending: the start ends with P026."""
    group = path.partition(".")[0]
    others = sorted(DESTINATIONS[name].demands_hash - {path})
    hashed = f"    hash: {_list(*others)}\n" if others else ""
    rest = {
        "alone": f"    send: [event, {path}]\n",
        "among_others": f"    send: {_list('event', path, *others)}\n{hashed}",
        "with_its_group": f"    send: [event, {group}]\n{hashed}",
        "when_refused": f"    send: [event, {path}]\n    if_refused: {{send_limited: {{send: [event, {path}]}}}}\n",
    }[way]
    with pytest.raises(PolicyError) as refused:
        _start(tmp_path, name, rest)
    told = str(refused.value)
    assert "P026" in told
    assert f"would reach {name} in clear" in told
    assert f"'{path}' would" in told or way == "with_its_group", "of a group the first such field is named"


@pytest.mark.parametrize(("name", "path"), DEMANDS)
def test_it_starts_once_the_field_is_hashed(tmp_path: Path, name: str, path: str) -> None:
    """The same policy with `hash` for that field is no error: what was refused was the field in clear."""
    assert _start(tmp_path, name, f"    send: [event, {path}]\n    hash: [{path}]\n").policies.current.policies


def test_every_advertising_platform_demands_hashes() -> None:
    """An advertising platform that takes people at all takes e-mail addresses as hashes only."""
    advertising = {name for name, d in DESTINATIONS.items() if d.kind == "advertising"}
    assert {name for name, path in DEMANDS if path == "user.email"} >= advertising
