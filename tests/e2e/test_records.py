"""What a running gateway keeps on record, through the command line: fields, revisions, replay, and judging by a past policy."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.harness import BOTH, Gateway, gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")
MAIL = "petra.kaiser@mailbox.example"


async def ebbgate(*arguments: str) -> tuple[int, str]:
    """Exit code and output of one command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ebbgate", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, problems = await process.communicate()
    assert b"Traceback" not in problems, problems.decode()
    return process.returncode or 0, out.decode()


def purchase(number: int, **more: Any) -> dict[str, Any]:
    """One event of a visitor who allowed everything."""
    order = {"id": f"A-{number}", "value": 12, "currency": "EUR"}
    person = {"client_id": "1.2"}
    return {"event": "purchase", "id": f"e-{number}", "order": order, "visitor": person, "consent": BOTH, **more}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Gateway, str]]:
    """A gateway that took events under two revisions of its policies, stopped; and the moment between the two."""
    async with gateway(tmp_path_factory.mktemp("records")) as house:
        for number in range(3):
            status, _ = await house.post(purchase(number, user={"email": MAIL}, properties={"color": "red", "shoe_size": 42}))
            assert status == 202
        await asyncio.sleep(1.1)
        between = datetime.now(UTC).isoformat()
        eu = house.folder / "policies" / "eu.yaml"
        eu.write_text(eu.read_text(encoding="utf-8").replace("needs: [analytics]", "needs: [advertising]"), encoding="utf-8")
        async with asyncio.timeout(10):
            while house.log.count(b"policy.activated") < 2:
                await asyncio.sleep(0.05)
        await house.post(purchase(9, consent={"purposes": {"analytics": "granted", "advertising": "denied"}}))
        await house.stop()
        yield house, between


async def test_fields_are_listed_with_what_nobody_ruled_on(served: tuple[Gateway, str]) -> None:
    """Every path that came, how often, and who gets it; a property that no policy names stands out and ends with exit 1."""
    house, _ = served
    code, out = await ebbgate("fields", "--format", "json", "--config", str(house.config))
    rows = {row["path"]: row for row in json.loads(out)}
    assert code == 0
    assert rows["order.value"]["events"] == 4
    assert set(rows["order.value"]["destinations"]) >= {"ga4", "meta"}
    assert all(rule.startswith("eu.yaml:") for rule in rows["order.value"]["destinations"].values())
    assert (rows["properties.shoe_size"]["ruled"], rows["properties.shoe_size"]["destinations"]) == (False, {})
    assert rows["user.email"]["class"] == "contact"
    code, out = await ebbgate("fields", "--unruled", "--config", str(house.config))
    assert code == 1
    assert "NO POLICY NAMES IT" in out
    assert "order.value" not in out


async def test_replay_tells_what_another_policy_would_change(served: tuple[Gateway, str], tmp_path: Path) -> None:
    """Recorded traffic decided again under a tighter policy sends less, under a looser one more, with exit 1."""
    house, _ = served
    config, eu = ("--config", str(house.config)), house.folder / "policies" / "eu.yaml"
    looser = tmp_path / "looser"
    looser.mkdir()
    for one in (house.folder / "policies").glob("*.yaml"):
        looser.joinpath(one.name).write_bytes(one.read_bytes())
    looser.joinpath("eu.yaml").write_text(eu.read_text(encoding="utf-8").replace("needs: [advertising]", "needs: [analytics]"))
    current = str(house.folder / "policies")
    code, out = await ebbgate("replay", "--since", "1h", "--to", str(looser), *config)
    assert code == 1
    assert "recorded events" in out
    assert "MORE sent" in out
    code, out = await ebbgate("replay", "--since", "1h", "--from", str(looser), "--to", current, "--format", "json", *config)
    found = json.loads(out)
    assert (code, found["events"], found["lets_more_out"]) == (0, 4, False)
    assert sum(found["fewer"].values()) >= 1
    code, out = await ebbgate("diff", str(looser), current, "--traffic", "7d", *config)
    assert code == 0
    assert "effect on 4 recorded events" in out


async def test_an_event_can_be_judged_by_a_past_revision(served: tuple[Gateway, str], tmp_path: Path) -> None:
    """`--as-of` and `--revision` give the decision that was right then; today's policy gives another."""
    house, between = served
    config = ("--config", str(house.config), "--country", "DE", "--format", "json")
    event = tmp_path / "event.json"
    event.write_text(json.dumps(purchase(1, consent={"purposes": {"analytics": "granted", "advertising": "denied"}})))

    async def ga4(*how: str) -> str:
        code, out = await ebbgate("explain", str(event), *how, *config)
        assert code == 0
        outcome = json.loads(out)["destinations"]["ga4"]["outcome"]
        assert isinstance(outcome, str)
        return outcome

    _, listed = await ebbgate("revisions", "--format", "json", "--config", str(house.config))
    newest, oldest = json.loads(listed)
    assert newest["who"] == "file"
    assert await ga4() == "not_sent"
    assert await ga4("--as-of", between) == "sent"
    assert await ga4("--revision", oldest["digest"][:12]) == "sent"
    assert await ga4("--revision", newest["digest"]) == "not_sent"
    code, _ = await ebbgate("explain", str(event), "--as-of", "2001-01-01", *config)
    assert code == 2
    code, _ = await ebbgate("explain", str(event), "--as-of", between, "--revision", newest["digest"], *config)
    assert code == 2


async def test_records_hold_no_value(served: tuple[Gateway, str]) -> None:
    """Nothing that the events said about a person is in the file of records."""
    house, _ = served
    stored = (house.folder / "data" / "records.db").read_bytes()
    assert b"order.value" in stored
    assert MAIL.encode() not in stored
    assert b"mailbox" not in stored
    assert b"A-1" not in stored
