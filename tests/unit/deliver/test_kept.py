"""What is kept of an event after its first request: the destination's own values, not those that stood beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from ebbgate.demo.sink import RecordingSink, Reply, Script, always, in_turn
from ebbgate.model import Outcome
from ebbgate.policy.clean import load
from ebbgate.policy.decide import decide
from ebbgate.policy.plan import PolicySet
from ebbgate.policy.together import clean_all
from ebbgate.store.protocol import Result
from tests.unit.deliver.fakes import DIGEST, destination
from tests.unit.deliver.rig import House, fresh, lane_to, new_event, now_ms, open_house
from tests.unit.policy.making import GRANTED, consent, event, policy

TWO = """\
  webhook:
    needs: [analytics]
    send: [event, order.value]
  ga4:
    needs: [analytics]
    send: [event, page.title]
"""
CANARY = "canary of another destination"
UNDER = policy(TWO)


async def post_together(house: House, name: str = "purchase") -> None:
    """An event that two destinations get, stored in the form that they share; the house has one of them."""
    allowed = consent(analytics=GRANTED)
    happened = replace(event({"page.title": CANARY, "order.value": 5}, name=name), received_ms=now_ms(), time_ms=now_ms())
    shared, records = clean_all(happened, decide(happened, allowed, UNDER, ("webhook", "ga4")), UNDER, allowed, pseudonym=str)
    assert CANARY.encode() in shared
    await house.store.append([replace(new_event(1, [fresh(1)]), shared=shared, payloads={"webhook": records["webhook"]})])
    house.runner.wake(["webhook"])


def watched(house: House) -> list[Result]:
    """All results that are handed to the store from now on."""
    seen: list[Result] = []
    finish, settle = house.store.finish, house.store.settle

    async def watched_finish(lease: Any, attempt: int, results: Sequence[Result], *args: Any, **kwargs: Any) -> None:
        seen.extend(results)
        await finish(lease, attempt, results, *args, **kwargs)

    async def watched_settle(lease: Any, results: Sequence[Result], *args: Any, **kwargs: Any) -> None:
        seen.extend(results)
        await settle(lease, results, *args, **kwargs)

    house.store.finish = watched_finish  # type: ignore[method-assign]  # the real one is called
    house.store.settle = watched_settle  # type: ignore[method-assign]  # the real one is called
    return seen


@pytest.mark.parametrize(
    ("script", "name", "end"),
    [
        (in_turn([Reply.of(500)]), "purchase", Outcome.DELIVERED),
        (always(Reply.of(400)), "purchase", Outcome.REJECTED),
        (always(Reply()), "explodes", Outcome.INVALID),
    ],
    ids=["retry", "refused", "never sent"],
)
async def test_a_retry_and_a_dead_letter_hold_their_own_values_only(
    tmp_path: Path, script: Script, name: str, end: Outcome
) -> None:
    """What waits or is dead keeps no value of another destination, and still all that its own destination gets."""
    async with RecordingSink(script).serve() as sink:
        lanes = [lane_to(destination("webhook"), sink.url)]
        async with open_house(tmp_path, lanes, policy=PolicySet.of(DIGEST, (UNDER,))) as house:
            seen = watched(house)
            await post_together(house, name)
            await house.until_ended("webhook", 1)
            kept = [result.queued.payload for result in seen if result.outcome is None or result.dead]
            assert kept
            for payload in kept:
                assert CANARY.encode() not in payload
                assert load(payload).fields["order.value"] == 5
            assert house.runner.states()["webhook"].figures.outcomes == {end: 1}
