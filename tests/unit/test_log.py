from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from ebbgate import log


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    log.configure("json", stream)
    yield stream
    structlog.reset_defaults()


def test_a_key_that_is_not_listed_never_reaches_a_line(lines: io.StringIO) -> None:
    """Whatever a forgotten key holds, it is dropped and the drop is visible."""
    log.get().info("request.failed", email="ana@example.com", code="x")
    found = json.loads(lines.getvalue())
    assert "ana@example.com" not in lines.getvalue()
    assert (found["code"], found["count"]) == ("x", 1)


def test_nothing_can_forge_a_line(lines: io.StringIO) -> None:
    """Line breaks, escape sequences and direction marks arrive escaped."""
    log.get().info("x", reason="a\n{}\x1b[31m\u202e")
    assert len(lines.getvalue().splitlines()) == 1
    assert "\x1b" not in lines.getvalue()
    assert json.loads(lines.getvalue())["reason"] == "a\\n{}\\x1b[31m\\u202e"
