"""`ebbgate audit`: reads a store on disk, also while a gateway runs on it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ebbgate.cli.audit import app
from ebbgate.errors import ConfigError
from ebbgate.store.keys import KeyRing
from ebbgate.store.options import Options
from ebbgate.store.sqlite import SqliteStore
from tests.unit.store import kit
from tests.unit.store.kit import KEYS, NOW, event

RUN = CliRunner()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site with a store of three events, one of them sent again, one destination served."""
    monkeypatch.setattr(KeyRing, "load", classmethod(lambda cls, directory: KEYS))
    (tmp_path / "ebbgate.toml").write_text('[store]\nurl = "sqlite:///data/ebbgate.db"\n[sites.shop]\n[sites.other]\n')
    asyncio.run(filled(tmp_path))
    return tmp_path / "ebbgate.toml"


async def filled(directory: Path) -> None:
    store = SqliteStore(directory / "data" / "ebbgate.db", KEYS, Options(min_free_bytes=0, clock_ms=lambda: NOW))
    await store.open()
    await store.append([event(i) for i in range(3)])
    await store.append([event(1)])
    await kit.deliver(store, "ga4")
    await store.close()


def test_show_tells_the_story(config: Path) -> None:
    """One event by its sender's id: decision, duplicate, delivery; an unknown one is exit code 1."""
    shown = RUN.invoke(app, ["show", "E-1", "--config", str(config), "--format", "json"])
    assert shown.exit_code == 0, shown.output
    story = json.loads(shown.stdout)
    assert (story["event_id"], story["duplicates"]) == ("E-1", 1)
    assert story["destinations"]["ga4"]["delivery"] == {"outcome": "delivered", "reason": "http_200", "attempts": 1}
    assert story["destinations"]["meta"]["delivery"]["outcome"] == "waiting"
    text = RUN.invoke(app, ["show", "E-1", "--config", str(config), "--site", "shop"])
    assert "purchase  E-1" in text.stdout
    assert RUN.invoke(app, ["show", "E-9", "--config", str(config)]).exit_code == 1
    assert RUN.invoke(app, ["show", "E-1", "--config", str(config), "--site", "other"]).exit_code == 1


def test_search_filters_newest_first(config: Path) -> None:
    """All entries from the newest; by destination, outcome and reason; nothing found is exit code 1."""
    every = RUN.invoke(app, ["search", "--config", str(config), "--format", "json"])
    numbers = [json.loads(line)["nseq"] for line in every.stdout.splitlines()]
    assert numbers == [6, 5, 4, 3, 2, 1]
    some = RUN.invoke(app, ["search", "--config", str(config), "--destination", "ga4", "--outcome", "delivered"])
    assert some.stdout.splitlines()[0].startswith("#6")
    assert len(some.stdout.splitlines()) == 1
    sent = RUN.invoke(app, ["search", "--config", str(config), "--outcome", "sent", "--reason", "granted", "--limit", "2"])
    assert [line.split()[0] for line in sent.stdout.splitlines()] == ["#3", "#2"]
    assert "purchase E-2" in sent.stdout
    again = RUN.invoke(app, ["search", "--config", str(config), "--outcome", "duplicate"])
    assert [line.split()[0] for line in again.stdout.splitlines()] == ["#4"]
    assert RUN.invoke(app, ["search", "--config", str(config), "--destination", "nobody"]).exit_code == 1


def test_since(config: Path) -> None:
    """A span or a time cuts what is older; prose is an error."""
    assert RUN.invoke(app, ["search", "--config", str(config), "--since", "2025-10-09T08:53:20Z"]).exit_code == 0
    assert RUN.invoke(app, ["search", "--config", str(config), "--since", "2025-10-09T08:53:21"]).exit_code == 1
    assert RUN.invoke(app, ["search", "--config", str(config), "--since", "30m"]).exit_code == 1
    assert isinstance(RUN.invoke(app, ["search", "--config", str(config), "--since", "yesterday"]).exception, ConfigError)


def test_works_beside_a_running_gateway(config: Path) -> None:
    """Nothing is locked, and what was just acknowledged is seen."""

    async def beside() -> str:
        store = SqliteStore(config.parent / "data" / "ebbgate.db", KEYS, Options(min_free_bytes=0, clock_ms=lambda: NOW))
        await store.open()
        await store.append([event("fresh")])
        found = await asyncio.to_thread(RUN.invoke, app, ["show", "E-fresh", "--config", str(config)])
        assert await store.append([event("later")]) == ["accepted"]
        await store.close()
        return found.stdout

    assert "purchase  E-fresh" in asyncio.run(beside())


def test_without_a_store(tmp_path: Path) -> None:
    """No store yet: an error with a hint, no empty store made."""
    (tmp_path / "ebbgate.toml").write_text("")
    failed = RUN.invoke(app, ["search", "--config", str(tmp_path / "ebbgate.toml")])
    assert isinstance(failed.exception, ConfigError)
    assert not (tmp_path / "data").exists()
