from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.e2e.harness import BOTH, gateway


async def ebbgate(*arguments: str, cwd: Path, text: str = "") -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of one command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ebbgate", *arguments,
        cwd=cwd, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "120"},
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(text.encode()), 60)
    return process.returncode or 0, out.decode(), err.decode()


EVENT: dict[str, Any] = {
    "event": "purchase", "id": "A-1009", "place": {"country": "DE"}, "user": {"email": "ana@example.com"},
    "visitor": {"client_id": "1.2"}, "order": {"id": "A-1009", "value": 12, "currency": "EUR"},
    "consent": {"purposes": {"analytics": "granted", "advertising": "denied"}},
}  # fmt: skip


async def test_init_makes_a_folder_that_works_at_once(tmp_path: Path) -> None:
    """After `init` the policies lint clean and pass their tests, doctor finds nothing, keys are private; twice is refused."""
    code, out, err = await ebbgate("init", "shop", cwd=tmp_path)
    assert (code, err) == (0, "")
    assert "next:" in out
    shop = tmp_path / "shop"
    assert (shop / "keys").stat().st_mode & 0o077 == 0
    for command in (("check", "policies"), ("test", "policies"), ("doctor",)):
        code, out, err = await ebbgate(*command, cwd=shop)
        assert code == 0, (command, out, err)
    code, _, err = await ebbgate("init", "shop", cwd=tmp_path)
    assert code == 2
    assert "there already" in err


async def test_explain_answers_in_the_documented_shape(tmp_path: Path) -> None:
    """`explain --format json` has the keys of DESIGN 5.3 and decides as the gateway would."""
    await ebbgate("init", ".", cwd=tmp_path)
    (tmp_path / "event.json").write_text(json.dumps(EVENT))
    code, out, err = await ebbgate("explain", "event.json", "--format", "json", cwd=tmp_path)
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert set(told) == {"event_id", "policy", "place", "consent", "destinations"}
    assert set(told["policy"]) == {"file", "digest"}
    assert told["consent"]["purposes"]["advertising"] | {"rule": ""} == {"state": "denied", "source": "event", "rule": ""}
    outcomes = {name: d["outcome"] for name, d in told["destinations"].items()}
    assert outcomes == {"ga4": "sent", "meta": "not_sent", "webhook": "sent"}
    for d in told["destinations"].values():
        assert set(d) == {"outcome", "reason", "rule", "fields", "removed", "hashed"}
        assert d["rule"].startswith("eu.yaml:")
    assert "ana@example.com" not in out


async def test_errors_are_told_with_a_way_out(tmp_path: Path) -> None:
    """A wrong setting exits with 2, one line that names it and a hint; never a traceback."""
    (tmp_path / "ebbgate.toml").write_text("[server]\nprot = 1\n")
    for command in (("serve",), ("doctor",), ("queue", "list"), ("audit", "search")):
        code, _, err = await ebbgate(*command, cwd=tmp_path)
        assert code == 2, command
        assert "unknown setting 'server.prot': did you mean 'port'?" in err, command
        assert "Traceback" not in err


async def test_the_log_tells_an_events_story_and_nothing_personal(tmp_path: Path) -> None:
    """`audit show` and `search` of a running gateway: decisions, attempts and outcomes of an event, by its id."""
    async with gateway(tmp_path) as served:
        await served.post({k: v for k, v in EVENT.items() if k != "place"} | {"consent": BOTH}, headers={"User-Agent": "x"})
        await served.drained()
        code, out, err = await ebbgate("audit", "show", "A-1009", "--config", str(served.config), cwd=tmp_path)
        assert (code, err) == (0, "")
        for word in ("purchase", "meta", "delivered", "accepted_unverified", "eu.yaml:"):
            assert word in out, out
        assert "ana@example.com" not in out
        code, out, err = await ebbgate("audit", "search", "--format", "json", "--config", str(served.config), cwd=tmp_path)
        assert (code, err) == (0, "")
        types = {json.loads(line)["type"] for line in out.splitlines()}
        assert types >= {"decision", "attempt.started", "attempt.finished", "policy.activated"}


async def test_the_demo_ends_well(tmp_path: Path) -> None:
    """`serve --demo --once` tells each visitor's story, sums up what was received, and exits with 0, leaving nothing behind."""
    code, out, err = await ebbgate("serve", "--demo", "--once", cwd=tmp_path)
    assert code == 0, err
    assert "NOT SENT" in out
    assert "LIMITED" in out
    assert "what each destination received" in out
    assert "were not as expected" not in out
    assert os.listdir(tmp_path) == []
