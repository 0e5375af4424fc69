"""`ebbgate queue` and `ebbgate sink`: what an operator sees and does, also while the gateway runs."""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request
from pathlib import Path

from typer.testing import CliRunner, Result

from ebbgate.audit.entry import parse
from ebbgate.cli.queue import app
from ebbgate.demo.sink import RecordingSink, Reply, in_turn
from ebbgate.model import Outcome
from ebbgate.store.keys import KeyRing
from tests.unit.deliver.fakes import destination
from tests.unit.deliver.rig import lane_to, open_house


def _configure(folder: Path) -> tuple[Path, KeyRing]:
    config = folder / "ebbgate.toml"
    config.write_text('[store]\nurl = "sqlite:///ebbgate.db"\n[keys]\ndirectory = "keys"\n')
    return config, KeyRing.create(folder / "keys", node="node-1")


async def _queue(config: Path, *args: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, [*args, "--config", str(config)])


async def test_dead_letters_are_listed_sent_again_and_dropped_beside_a_running_gateway(tmp_path: Path) -> None:
    """List shows them, retry delivers one, drop deletes the other, each change is in the log, and a number that is none is told."""
    config, keys = _configure(tmp_path)
    async with (
        RecordingSink(in_turn([Reply.of(200, {"bad": [0, 2]})])).serve() as sink,
        open_house(tmp_path, [lane_to(destination(), sink.url)], keys=keys) as house,
    ):
        await house.post(range(3))
        await house.until_ended("sink", 3)

        text = await _queue(config, "list")
        assert text.exit_code == 0, text.output
        assert "row_refused" in text.output
        listed = json.loads((await _queue(config, "list", "--format", "json")).stdout)
        assert [(q["destination"], q["waiting"], q["dead"]) for q in listed["queues"]] == [("sink", 0, 2)]
        first, second = sorted(d["id"] for d in listed["dead_letters"])
        assert {d["outcome"] for d in listed["dead_letters"]} == {"rejected"}

        again = await _queue(config, "retry", str(first), "--format", "json")
        assert (again.exit_code, json.loads(again.stdout)) == (0, {"count": 1, "missing": []})
        await house.until_ended("sink", 4)
        assert (await _queue(config, "retry", str(first))).exit_code == 1

        dropped = await _queue(config, "drop", "--all", "--yes", "--destination", "sink")
        assert (dropped.exit_code, dropped.output) == (0, "1 dropped\n")
        assert (await _queue(config, "drop", str(second))).exit_code == 1
        assert await house.store.dead_letters() == []
        counts = await house.outcomes()
        await house.post([9])
        await house.until_ended("sink", 5)
        entries = [parse(e.body) for e in await house.store.log(limit=1000)]
    assert sorted(str(o["sink"]) for o in counts.values()) == [Outcome.DELIVERED, Outcome.DELIVERED, Outcome.REJECTED]
    actions = [(e["action"], e["n"], e["dest"], e["node"]) for e in entries if e["type"] == "admin.action"]
    assert actions == [("queue.retry", 1, "sink", "node-1"), ("queue.drop", 1, "sink", "node-1")]
    assert [e["nseq"] for e in entries] == list(range(1, len(entries) + 1))


async def test_all_needs_a_yes(tmp_path: Path) -> None:
    """Without --yes nothing is touched; numbers and --all together are refused; a destination without a queue is told."""
    config, keys = _configure(tmp_path)
    async with (
        RecordingSink(in_turn([Reply.of(200, {"bad": [0]})])).serve() as sink,
        open_house(tmp_path, [lane_to(destination(), sink.url)], keys=keys) as house,
    ):
        await house.post([1])
        await house.until_ended("sink", 1)
        assert (await _queue(config, "drop", "--all")).exit_code == 2
        assert (await _queue(config, "retry", "1", "--all", "--yes")).exit_code == 2
        assert (await _queue(config, "retry")).exit_code == 2
        assert (await _queue(config, "list", "--destination", "other")).exit_code == 1
        assert len(await house.store.dead_letters()) == 1


async def test_the_sink_command_records_and_prints(tmp_path: Path) -> None:
    """`ebbgate sink` takes a request, prints it as one JSON line without its credentials, and ends after --count."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import typer;from ebbgate.cli.sink import register;a=typer.Typer();register(a);a()",
        "--port", "0", "--format", "json", "--count", "1", "--status", "202",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    url = (await process.stderr.readline()).decode().split()[-1]
    request = urllib.request.Request(f"{url}/hook?key=secret", b'{"a": 1}', {"Authorization": "Bearer secret", "X-A": "1"})
    status = await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=5).status)
    printed = json.loads(await process.stdout.readline())
    await asyncio.wait_for(process.wait(), 10)
    assert status == 202
    assert (printed["method"], printed["path"], printed["body"]) == ("POST", "/hook", {"a": 1})
    assert printed["headers"]["authorization"] == "***"
    assert "secret" not in json.dumps(printed)
