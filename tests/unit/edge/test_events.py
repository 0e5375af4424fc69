"""The native endpoint without a server: what it hands over, and the bytes of its answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ebbgate.collect.native import Collected
from ebbgate.edge.events import EventsEndpoint, receipt_body
from ebbgate.edge.sites import Sites
from ebbgate.edge.visitor import Visitors
from ebbgate.edge.visitor_cookie import VisitorCookie
from ebbgate.errors import EventError
from ebbgate.model import Place, Trust
from ebbgate.pipeline import Pipeline, Receipt, Status
from ebbgate.settings import ServerSettings, SiteSettings, VisitorCookieSettings
from tests.unit.choices.rig import ORIGIN

NOW_MS = 1_795_262_400_000
GOOD = [Receipt("E-1", Status.ACCEPTED), Receipt('"ü', Status.DUPLICATE)]
BAD = Receipt("", Status.INVALID, EventError("an event has no name", code="event_name_missing", hint="say what happened"))


def test_an_answer_is_the_same_bytes_as_ever() -> None:
    """Members in their order, no member without a value; keys that were ignored are told to a server only."""
    plain = (
        b'{"accepted":1,"events":[{"id":"E-1","status":"accepted"},{"id":"\\"\xc3\xbc","status":"duplicate"}],"durability":"fsync"}'
    )
    assert receipt_body(GOOD, "fsync", ("colour",), Trust.BROWSER) == plain
    assert receipt_body(GOOD, "fsync", ("colour",), Trust.SERVER) == plain[:-1] + b',"ignored":["colour"]}'
    assert receipt_body([BAD], "memory", (), Trust.SERVER) == (
        b'{"accepted":0,"events":[{"id":"","status":"invalid","error":{"code":"event_name_missing",'
        b'"detail":"an event has no name","hint":"say what happened"}}],"durability":"memory"}'
    )


class Holders:
    """In the pipeline's place: counts who else holds the events that it was given."""

    durability = "memory"
    others = -1

    async def accept(self, collected: Sequence[Collected], place: Place) -> list[Receipt]:
        self.others = sys.getrefcount(collected) - 2  # its own name and the argument of the question
        return [Receipt(one.id, Status.ACCEPTED) for one in collected]


@pytest.mark.parametrize("cookie", [False, True])
async def test_the_pipeline_alone_holds_the_events(cookie: bool) -> None:
    """Nothing else keeps what was read of a request while it is stored."""
    settings = VisitorCookieSettings(enabled=cookie)
    pipeline, unused = cast(Pipeline, Holders()), cast(Any, SimpleNamespace(govern=None))
    endpoint = EventsEndpoint(
        ServerSettings(),
        Sites({"shop": SiteSettings.model_validate({"origins": [ORIGIN]})}),
        Visitors(()),
        pipeline,
        VisitorCookie(settings, unused, unused, govern=unused, entropy=bytes),
        clock_ms=lambda: NOW_MS,
        new_id=lambda: "made",
    )
    event = {"event": "page_view", "id": "E-1", "visitor": {"client_id": "c"}}
    scope = {
        "type": "http", "method": "POST", "path": "/e/v1/events", "query_string": b"", "client": ("127.0.0.1", 1),
        "headers": [(b"origin", ORIGIN.encode()), (b"content-type", b"application/json")],
    }  # fmt: skip
    said: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": json.dumps({"events": [event]}).encode(), "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    await endpoint(scope, receive, send)
    assert said[0]["status"] == 202
    assert cast(Holders, pipeline).others == 0
