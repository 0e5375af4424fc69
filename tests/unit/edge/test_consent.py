"""`POST /e/consent`: what is recorded of an answer, for whom, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ebbgate.errors import StoreFull
from tests.unit.choices.rig import Middle, event, opened
from tests.unit.consent.build import REJECT_ALL

CLIENT = {"visitor": {"client_id": "c"}}
YES, NO = {"purposes": {"advertising": "granted"}}, {"purposes": {"advertising": "denied"}}


@pytest.fixture
async def middle(tmp_path: Path) -> AsyncIterator[Middle]:
    async with opened(tmp_path) as made:
        yield made


async def ledger(middle: Middle, subject: str) -> dict[str, str]:
    found = await middle.store.choices([middle.key(subject)])
    return {purpose: state for purpose, (state, _) in found.get(middle.key(subject), {}).items()}


async def test_a_choice_is_acknowledged_once_it_is_recorded(middle: Middle) -> None:
    """202 with what was recorded and how durably; 200 when the caller waited for what was in flight."""
    assert await middle.ask(CLIENT | {"consent": YES}) == (
        202,
        {"recorded": {"advertising": "granted"}, "durability": "memory", "drained": False},
    )
    assert await ledger(middle, "client:c") == {"advertising": "granted"}
    status, answer = await middle.ask(CLIENT | {"consent": NO}, query="wait=drained", server=False)
    assert (status, answer["drained"], answer["recorded"]) == (200, True, {"advertising": "denied"})
    assert await ledger(middle, "client:c") == {"advertising": "denied"}


@pytest.mark.parametrize(
    ("body", "query", "method", "status", "code"),
    [
        (b"{", "", "POST", 400, "json_malformed"),
        (b'{"consent":{"purposes":{"a":"granted"}},"consent":{}}', "", "POST", 400, "json_duplicate_key"),
        ([], "", "POST", 422, "not_a_choice"),
        (CLIENT | {"event": "page_view", "consent": NO}, "", "POST", 422, "choice_unknown_key"),
        ({"visitor": "c", "consent": NO}, "", "POST", 422, "field_type"),
        (CLIENT | {"consent": {"purposs": {}}}, "", "POST", 422, "consent_unknown_key"),
        ({"consent": NO}, "", "POST", 422, "no_subject"),
        (CLIENT, "", "POST", 422, "no_choice"),
        (CLIENT | {"consent": {"purposes": {"advertising": "unknown"}}}, "", "POST", 422, "no_choice"),
        (CLIENT | {"consent": {"gpp": "DBcut"}}, "", "POST", 422, "consent_unreadable"),
        (CLIENT | {"consent": {"purposes": {"advertising": "maybe"}}}, "", "POST", 422, "consent_unreadable"),
        (CLIENT | {"consent": YES | {"gcs": 5}}, "", "POST", 422, "consent_unreadable"),
        ({"user": {"id": "u"}, "consent": YES}, "", "POST", 422, "grant_needs_server"),
        (CLIENT | {"consent": NO}, "wait=sent", "POST", 400, "wait"),
        (CLIENT | {"consent": NO}, "", "PUT", 405, "method"),
    ],
)
async def test_what_is_no_choice_is_refused(middle: Middle, body: Any, query: str, method: str, status: int, code: str) -> None:
    """Each with its own code, and nothing recorded."""
    got, answer = await middle.ask(body, query=query, server=False, method=method)
    assert (got, answer["code"]) == (status, code)
    assert answer["hint"]
    assert await ledger(middle, "client:c") == await ledger(middle, "user:u") == {}


async def test_a_name_that_no_policy_knows_is_not_recorded(middle: Middle) -> None:
    """What a stranger calls a purpose never reaches ledger or log; beside it the known ones count, and the answer says which did."""
    for name in ("ana@example.com", "advertising\ufeff", "x" * 128, "\u202e"):
        status, answer = await middle.ask(CLIENT | {"consent": {"purposes": {name: "denied"}}}, server=False)
        assert (status, answer["code"]) == (422, "no_choice"), name
        unreadable = {"purposes": {name: "denied"}, "gcs": 5}
        assert (await middle.ask(CLIENT | {"consent": unreadable}, server=False))[1]["code"] == "consent_unreadable"
        assert await ledger(middle, "client:c") == {}
    status, answer = await middle.ask(CLIENT | {"consent": {"purposes": {"ana@example.com": "denied", "advertising": "denied"}}})
    assert (status, answer["recorded"]) == (202, {"advertising": "denied"})
    assert await ledger(middle, "client:c") == {"advertising": "denied"}


async def test_strangers_are_refused(middle: Middle) -> None:
    """Another site's page, no page at all, a wrong key."""
    for headers, status, code in (
        ([("origin", "https://evil.example")], 403, "unknown_origin"),
        ([("authorization", "Bearer wrong-key-wrong-key")], 401, "bad_key"),
    ):
        got, answer = await middle.ask(CLIENT | {"consent": NO}, server=False, headers=headers, bare=True)
        assert (got, answer["code"]) == (status, code)
    got, answer = await middle.ask(CLIENT | {"consent": NO}, server=False, bare=True)
    assert (got, answer["code"]) == (401, "no_credentials")
    assert await ledger(middle, "client:c") == {}


async def test_a_refusal_by_name_counts_beside_something_unreadable(middle: Middle) -> None:
    """A broken consent cookie must not keep a visitor from withdrawing; what is granted beside it is not recorded."""
    body = CLIENT | {"consent": {"purposes": {"advertising": "denied", "analytics": "granted"}, "gpp": "DBcut"}}
    status, answer = await middle.ask(body, server=False)
    assert (status, answer["recorded"]) == (202, {"advertising": "denied"})
    assert await ledger(middle, "client:c") == {"advertising": "denied"}


async def test_what_signals_say_is_recorded_by_purpose(middle: Middle) -> None:
    """Categories that the policy knows become purposes; a signal that the policy does not read decides nothing."""
    body = CLIENT | {"consent": {"categories": {"marketing": False, "analytics": True}, "tcf": REJECT_ALL}}
    assert (await middle.ask(body))[1]["recorded"] == {"advertising": "denied", "analytics": "granted"}


async def test_gpc_of_the_browser_is_a_refusal(middle: Middle) -> None:
    """Sec-GPC outweighs what the page says about the purposes that it concerns."""
    policy = middle.policies.current.policies[0]
    assert [p.name for p in policy.consent.purposes if p.refused_by_gpc] == ["advertising"]
    headers = [("sec-gpc", "1")]
    assert (await middle.ask(CLIENT | {"consent": YES}, server=False, headers=headers))[1]["recorded"] == {"advertising": "denied"}


async def test_a_page_grants_only_for_its_own_browser(middle: Middle) -> None:
    """Who is signed in, only the server vouches for: a page's grant is not recorded for a user, its refusal is."""
    both = CLIENT | {"user": {"id": "u", "email": "Ana@Example.com"}}
    await middle.ask(both | {"consent": YES}, server=False)
    assert await ledger(middle, "client:c") == {"advertising": "granted"}
    assert await ledger(middle, "user:u") == await ledger(middle, "email:ana@example.com") == {}
    await middle.ask(both | {"consent": NO}, server=False)
    assert await ledger(middle, "user:u") == await ledger(middle, "email:ana@example.com") == {"advertising": "denied"}
    await middle.ask(both | {"consent": YES})
    assert await ledger(middle, "user:u") == {"advertising": "granted"}


async def test_a_browser_known_by_its_cookie_only(middle: Middle) -> None:
    """The `_ga` cookie is the same visitor for the event that waits and for the choice."""
    await middle.post(event(1, "123.456"))
    cookie = [("cookie", "_ga=GA1.1.123.456")]
    status, _ = await middle.ask({"consent": {"purposes": {"analytics": "granted"}}}, server=False, headers=cookie)
    assert status == 202
    assert [h.destination for h in await middle.store.held(middle.key("client:123.456"))] == ["ads"]


async def test_a_store_that_cannot_write_is_said_so(middle: Middle, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with Retry-After: nothing was acknowledged."""

    async def full(*_: Any, **__: Any) -> None:
        raise StoreFull("no room")

    monkeypatch.setattr(middle.store, "put_choice", full)
    status, answer = await middle.ask(CLIENT | {"consent": NO})
    assert (status, answer["code"]) == (503, "store_full")


async def test_waiting_begins_after_the_choice_is_durable(middle: Middle, monkeypatch: pytest.MonkeyPatch) -> None:
    """`drained` asked earlier would let a request through that was gated in between."""
    order: list[str] = []
    put = middle.store.put_choice

    async def noted(*args: Any, **more: Any) -> None:
        await put(*args, **more)
        order.append("durable")

    async def drained() -> None:
        order.append("drained")

    monkeypatch.setattr(middle.store, "put_choice", noted)
    monkeypatch.setattr(middle.endpoint, "_drained", drained)
    await middle.ask(CLIENT | {"consent": NO}, query="wait=drained")
    assert order == ["durable", "drained"]
    await middle.ask(CLIENT | {"consent": NO})
    assert order == ["durable", "drained", "durable"]
