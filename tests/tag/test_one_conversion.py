"""One purchase told by the tag and by the shop's server, and by a platform's client: one conversion. In a real Chromium."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ebbgate.demo.http import request
from tests.e2e.harness import BOTH, SERVER_KEY, received
from tests.tag.visit import GRANT, Visit

pytestmark = pytest.mark.asyncio(loop_scope="session")


def order(number: str, value: int = 12) -> dict[str, Any]:
    return {"id": number, "value": value, "currency": "EUR"}


async def by_tag(visit: Visit, number: str, value: int = 12) -> None:
    before = len(visit.site.events())
    told = {"order": order(number, value), "user": {"email": "ana@example.com"}}
    await visit.open(script=GRANT + f"ebb('event', 'purchase', {json.dumps(told)});", attributes='data-auto="0"')
    await visit.events(before + 1)


async def by_server(visit: Visit, number: str) -> None:
    told = {"event": "purchase", "id": number, "order": order(number), "user": {"email": "ana@example.com"}, "consent": BOTH}
    status, answer = await visit.gateway.post({**told, "place": {"country": "DE"}}, server=True)
    assert (status, answer["accepted"] + (answer["events"][0]["status"] == "duplicate")) == (202, 1)


async def by_segment(visit: Visit, number: str) -> None:
    call = {
        "event": "Order Completed", "messageId": f"node-{number}", "anonymousId": "1.2", "context": {
            "consent": {"categoryPreferences": {"analytics": True, "marketing": True}}, "location": {"country": "DE"},
        },
        "properties": {"order_id": number, "event_id": number, "revenue": 12, "currency": "EUR", "email": "ana@example.com"},
    }  # fmt: skip
    headers = {"Authorization": f"Bearer {SERVER_KEY}", "Content-Type": "application/json"}
    status, _, _ = await request(visit.gateway.address, "POST", "/e/v1/track", headers=headers, body=json.dumps(call).encode())
    assert status == 200


async def conversions(visit: Visit, number: str) -> list[tuple[str, float]]:
    """What a platform that counts each (event name, event id) once makes of it: ids and values, first come."""
    await visit.gateway.drained()
    sent = [e for e in received(visit.gateway.sink)["meta"] if e["event_name"] == "Purchase" and number in json.dumps(e)]
    first = {(e["event_name"], e["event_id"]): float(e["custom_data"]["value"]) for e in reversed(sent)}
    return [(event_id, value) for (_, event_id), value in first.items()]


WAYS = {"tag": by_tag, "server": by_server, "segment": by_segment}


@pytest.mark.parametrize(
    "ways",
    [("tag", "server"), ("server", "tag"), ("tag", "segment"), ("segment", "tag"), ("tag", "server", "segment")],
    ids="-".join,
)
async def test_a_purchase_told_in_several_ways_is_one_conversion(visit: Visit, ways: tuple[str, ...]) -> None:
    """In each order the platform that counts an id once counts one purchase."""
    number = f"ONE-{'-'.join(ways)}"
    for way in ways:
        await WAYS[way](visit, number)
        await visit.gateway.drained()
    assert await conversions(visit, number) == [(number, 12.0)]


async def test_a_strangers_forged_order_does_not_suppress_the_servers(visit: Visit) -> None:
    """A page that guesses an order number and its event id, with a value of its own, keeps nothing of the shop's report back."""
    await by_tag(visit, "FORGED-1", value=1)
    await visit.gateway.drained()
    await by_server(visit, "FORGED-1")
    await visit.gateway.drained()
    sent = [e for e in received(visit.gateway.sink)["meta"] if e["event_id"] == "FORGED-1"]
    assert 12.0 in [float(e["custom_data"]["value"]) for e in sent]
