"""`GET /e/status`: the visitor is told whether the opt-out signal was honoured (11 CCR § 7025(c)(6))."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ebbgate.edge.sites import Sites
from ebbgate.edge.status import HONOURED, NOT_SENT, NOT_USED, StatusEndpoint, WellKnownGpc
from ebbgate.edge.visitor import Visitors
from ebbgate.edge.visitor_cookie import VisitorCookie
from ebbgate.errors import StoreError
from ebbgate.settings import SiteSettings, VisitorCookieSettings
from tests.unit.choices.rig import HOLD, ORIGIN, Middle, opened

GPC = [("sec-gpc", "1")]


@pytest.fixture
async def middle(tmp_path: Path) -> AsyncIterator[Middle]:
    async with opened(tmp_path) as made:
        yield made


def endpoint(middle: Middle) -> StatusEndpoint:
    return StatusEndpoint(
        Sites({"shop": SiteSettings.model_validate({"origins": [ORIGIN]})}),
        Visitors(()),
        middle.choices,
        middle.keys,
        VisitorCookie(VisitorCookieSettings(), middle.choices, middle.keys, govern=middle.pipeline.govern, entropy=os.urandom),
        govern=middle.pipeline.govern,
        clock_ms=middle.clock.wall_ms,
    )


async def ask(asked: Any, headers: list[tuple[str, str]] | None = None, method: str = "GET") -> tuple[int, dict[str, str], Any]:
    """(status, headers, answer)."""
    scope = {
        "type": "http",
        "method": method,
        "path": "/e/status",
        "query_string": b"",
        "headers": [(k.encode(), v.encode()) for k, v in headers or []],
        "client": ("127.0.0.1", 1),
    }
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    await asked(scope, None, send)
    answer = said[1]["body"]
    return (
        said[0]["status"],
        {k.decode(): v.decode() for k, v in said[0]["headers"]},
        json.loads(answer) if answer else None,
    )


async def test_a_signal_that_was_honoured_is_confirmed(middle: Middle) -> None:
    """With Sec-GPC: honoured, and the purposes it refuses; without: that no signal came. Never from a cache."""
    status, headers, answer = await ask(endpoint(middle), GPC)
    assert status == 200
    assert headers["cache-control"] == "no-store"
    assert (answer["gpc"], answer["opt_out_honored"], answer["text"]) == (True, True, HONOURED)
    assert answer["purposes"] == {"analytics": "unknown", "advertising": "denied"}
    _, _, answer = await ask(endpoint(middle))
    assert (answer["gpc"], answer["opt_out_honored"], answer["text"]) == (False, False, NOT_SENT)


async def test_no_honour_is_claimed_where_the_policy_gives_none(tmp_path: Path) -> None:
    """A policy in which the signal refuses nothing is not called honouring it."""
    text = HOLD.replace("gpc_counts_as: [advertising]", "gpc_counts_as: []")
    async with opened(tmp_path, policy=text) as middle:
        _, _, answer = await ask(endpoint(middle), GPC)
        assert (answer["opt_out_honored"], answer["text"]) == (False, NOT_USED)


async def test_where_nothing_leaves_every_signal_is_honoured(tmp_path: Path) -> None:
    """Without a policy for the place no data goes anywhere."""
    text = HOLD.replace("when_country_unknown: apply", "when_country_unknown: skip")
    async with opened(tmp_path, policy=text) as middle:
        _, _, answer = await ask(endpoint(middle), GPC)
        assert (answer["opt_out_honored"], answer["purposes"]) == (True, {})


async def test_recorded_choices_show(middle: Middle) -> None:
    """What this browser decided here, found by its cookie; a grant never hides the refusal of the signal."""
    await middle.say("client:123.456", analytics="granted", advertising="granted")
    cookie = [("cookie", "_ga=GA1.1.123.456"), ("origin", ORIGIN)]
    _, headers, answer = await ask(endpoint(middle), cookie)
    assert answer["purposes"] == {"analytics": "granted", "advertising": "granted"}
    assert headers["access-control-allow-origin"] == ORIGIN
    _, _, answer = await ask(endpoint(middle), [*cookie, *GPC])
    assert answer["purposes"] == {"analytics": "granted", "advertising": "denied"}
    assert answer["opt_out_honored"]


@pytest.mark.parametrize(("method", "status"), [("OPTIONS", 204), ("POST", 405), ("HEAD", 200)])
async def test_other_methods(middle: Middle, method: str, status: int) -> None:
    """Preflight and HEAD are answered, anything else is not known."""
    assert (await ask(endpoint(middle), [("origin", ORIGIN)], method))[0] == status


async def test_a_store_that_cannot_be_read(middle: Middle, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, not a guess."""

    async def broken(*_: Any) -> Any:
        raise StoreError("cannot be read")

    monkeypatch.setattr(middle.store, "choices", broken)
    assert (await ask(endpoint(middle), [("cookie", "_ga=GA1.1.1.2")]))[0] == 503


async def test_the_well_known_document() -> None:
    """The statement of the Global Privacy Control specification: that it is honoured, and since when that is said."""
    assert (await ask(WellKnownGpc("2026-11-21")))[2] == {"gpc": True, "lastUpdate": "2026-11-21"}
