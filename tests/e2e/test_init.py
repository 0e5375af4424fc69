from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ebbgate.demo.http import request
from ebbgate.demo.sink import RecordingSink
from tests.e2e.harness import Gateway, as_platforms
from tests.e2e.test_command_line import ebbgate


class _Made(Gateway):
    """A gateway on the files that `ebbgate init` made."""

    def _write(self, sections: Mapping[str, Mapping[str, Any]]) -> None:
        """Nothing: they are there."""


async def test_the_steps_that_init_prints_lead_to_a_delivery(tmp_path: Path) -> None:
    """Followed to the letter, except for the ports: policies are clean, the event is taken, the stand-in gets it, the log tells it."""
    code, printed, _ = await ebbgate("init", cwd=tmp_path)
    assert code == 0
    steps = re.findall(r"ebbgate (check policies|test policies|explain first-event\.json)", printed)
    assert len(steps) == 3
    for step in steps:
        code, out, err = await ebbgate(*step.split(), cwd=tmp_path)
        assert code == 0, (step, out, err)
    assert re.search(r"take the # from the lines of \[destinations\.ga4\]", printed)
    async with RecordingSink(as_platforms).serve() as sink:
        text = (tmp_path / "ebbgate.toml").read_text(encoding="utf-8")
        start = text.index("# [destinations.ga4]")
        block = text[start : text.index("#\n", start)]
        assert "http://127.0.0.1:9001" in block
        text = text.replace(block, re.sub(r"(?m)^# ", "", block)).replace("http://127.0.0.1:9001", sink.url)
        (tmp_path / "ebbgate.toml").write_text(text.replace("port = 8080", "port = 0").replace("port = 8081", "port = 0"))
        gateway = _Made(tmp_path, sink)
        await gateway.start()
        try:
            status, answered = await _as_curl(printed, gateway, tmp_path)
            assert status == 202
            assert answered["events"][0]["status"] == "accepted"
            await sink.wait_for(1, timeout_s=30)
        finally:
            await gateway.stop()
        sent = sink.requests[0].json()
        assert sent["events"][0]["name"] == "page_view"
        assert "ana@example.com" not in json.dumps(sent)
        assert "1f3c" not in json.dumps(sent)
        assert re.search(r"\d  (ebbgate audit search)", printed)
        code, out, err = await ebbgate("audit", "search", cwd=tmp_path)
        assert (code, err) == (0, "")
        assert re.search(r"attempt\.finished +ga4 +1 event +accepted_unverified", out)


async def _as_curl(printed: str, gateway: Gateway, folder: Path) -> tuple[int, Any]:
    """Send what the printed curl command would send, to where this gateway listens."""
    found = re.search(r"(curl .*?)\n    5", printed, re.DOTALL)
    assert found is not None
    words = shlex.split(found[1].replace("\\\n", " "))
    headers = dict(words[i + 1].split(": ", 1) for i, word in enumerate(words) if word == "-H")
    body = (folder / words[words.index("--data") + 1].removeprefix("@")).read_bytes()
    path = words[-1].removeprefix("http://127.0.0.1:8080")
    status, _, answered = await request(gateway.address, "POST", path, headers=headers, body=body)
    return status, json.loads(answered)
