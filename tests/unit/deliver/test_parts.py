"""Smaller parts of delivery: tokens, lanes, rows whose window is over, a store that is full when an outcome is to be written."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ebbgate.deliver.classify import Failed, Failure
from ebbgate.deliver.client import Fresh
from ebbgate.deliver.clock import Watch
from ebbgate.deliver.files import FileSender
from ebbgate.deliver.prepare import Present, prepare
from ebbgate.deliver.runner import open_lane
from ebbgate.deliver.token import TokenRefused, Tokens
from ebbgate.demo.sink import RecordingSink, Reply
from ebbgate.destinations.kit import DestinationSettings, HttpRequest, HttpResponse, OAuth
from ebbgate.errors import StoreFull
from ebbgate.model import Outcome
from ebbgate.store.protocol import Lease
from tests.unit.deliver.fakes import NOW_MS, HandClock, destination, policies, queued
from tests.unit.deliver.rig import House, lane_to, open_house

HOUR_MS = 3_600_000


def present(now_ms: int) -> Present:
    """A quiet moment."""
    return Present(policies=policies(), disabled=frozenset(), choices={}, now_ms=now_ms, steady_ms=now_ms)


def test_a_row_in_doubt_is_not_sent_after_its_window() -> None:
    """47 hours after a request that may have been processed, the row ends as unknown instead of being sent as a new event."""
    settings = DestinationSettings(endpoint="http://127.0.0.1:1")
    doubtful = queued(1, attempts=1, first_attempt_ms=NOW_MS)
    items, results = prepare([doubtful], destination(), settings, present(NOW_MS + 47 * HOUR_MS - 1))
    assert (len(items), results) == (1, [])
    items, results = prepare([doubtful], destination(), settings, present(NOW_MS + 47 * HOUR_MS))
    assert items == []
    assert [(r.outcome, r.dead, r.reason) for r in results] == [(Outcome.UNKNOWN, True, "dedupe_window_over")]
    items, _ = prepare([queued(1)], destination(), settings, present(NOW_MS + 47 * HOUR_MS))
    assert len(items) == 1


class TokenServer:
    """A sender that answers token requests as told."""

    def __init__(self, *answers: HttpResponse | Failed) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def send(self, request: HttpRequest, fresh: Fresh) -> HttpResponse | Failed:
        """The next answer."""
        assert request.body == b"credentials"
        self.asked += 1
        return self.answers.pop(0)

    async def aclose(self) -> None:
        """Nothing to close."""


def given(body: object, status: int = 200) -> HttpResponse:
    """An answer with a JSON body."""
    return HttpResponse(status, {}, json.dumps(body).encode())


OAUTH = OAuth(
    request=lambda settings, now_s: HttpRequest("POST", "https://token.example/", (), b"credentials"),
    apply=lambda request, token: replace(request, headers=(("authorization", token),)),
)
REQUEST = HttpRequest("POST", "https://collect.platform.example/", (), b"{}")


async def test_a_token_is_kept_until_shortly_before_it_ends() -> None:
    """One token request serves all requests until two minutes before its end."""
    clock = HandClock()
    server = TokenServer(given({"access_token": "t1", "expires_in": 3600}), given({"access_token": "t2", "expires_in": 3600}))
    tokens = Tokens(OAUTH, None, Watch(clock))
    seen = []
    for seconds in (0, 3000, 470, 20):
        clock.pass_s(seconds)
        request, _ = await tokens.authorise(REQUEST, server)
        seen.append(request.headers[0][1])
    assert seen == ["t1", "t1", "t1", "t2"]


@pytest.mark.parametrize(
    "answer",
    [
        given({"error": "invalid_grant"}, 400),
        given({"error": "busy"}, 503),
        given(["t"]),
        given({"access_token": ""}),
        given({"access_token": "a\r\nb"}),
        given({"access_token": "t", "expires_in": "soon"}),
        Failed(Failure.NOT_SENT, "connect_failed"),
    ],
)
async def test_without_a_token_nothing_is_sent(answer: HttpResponse | Failed) -> None:
    """Every way of not getting a token is a refusal with a closed word that holds neither token nor credentials."""
    tokens = Tokens(OAUTH, None, Watch(HandClock()))
    with pytest.raises(TokenRefused) as refused:
        await tokens.authorise(REQUEST, TokenServer(answer))
    assert refused.value.reason.startswith("token_")


async def test_a_ready_token_needs_none_of_ours() -> None:
    """Settings that hold a token make no token request."""
    server = TokenServer()
    tokens = Tokens(replace(OAUTH, request=lambda settings, now_s: None), None, Watch(HandClock()))
    assert await tokens.authorise(REQUEST, server) == (REQUEST, 0)
    assert server.asked == 0
    assert not tokens.forget(0), "a ready token that is refused is ours to replace: the destination is held"


async def test_requests_that_were_refused_together_share_one_fresh_token() -> None:
    """Of four requests with one refused token each may be tried again and one token is asked for; the next refusal ends it."""
    given_out = [given({"access_token": f"t{n}", "expires_in": 3600}) for n in range(3)]
    server = TokenServer(*given_out)
    tokens = Tokens(OAUTH, None, Watch(HandClock()))
    four = await asyncio.gather(*(tokens.authorise(REQUEST, server) for _ in range(4)))
    assert (server.asked, {number for _, number in four}) == (1, {1})
    assert tokens.forget(1)
    assert tokens.forget(1)
    again = await asyncio.gather(*(tokens.authorise(REQUEST, server) for _ in range(4)))
    assert (server.asked, {request.headers[0][1] for request, _ in again}) == (2, {"t1"})
    assert tokens.forget(1), "a late refusal of the old token costs the new one nothing"
    assert (await tokens.authorise(REQUEST, server))[1] == 2
    assert server.asked == 2
    tokens.worked(1)  # of the old token: says nothing about the new one
    assert not tokens.forget(2), "the fresh one was refused too"


async def test_a_token_that_worked_may_be_replaced_again() -> None:
    """Once a request with the fresh token was taken, its end an hour later is again worth one token request."""
    server = TokenServer(*(given({"access_token": f"t{n}", "expires_in": 3600}) for n in range(3)))
    tokens = Tokens(OAUTH, None, Watch(HandClock()))
    for number in (1, 2, 3):
        assert (await tokens.authorise(REQUEST, server))[1] == number
        tokens.worked(number)
        assert tokens.forget(number)


async def test_no_token_holds_the_destination_before_any_intent(tmp_path: Path) -> None:
    """While the token cannot be had nothing is begun, nothing counted, nothing lost."""
    replies = iter([Reply.of(500), Reply.of(200, {"access_token": "t"})])

    def script(received: Any) -> Reply:
        return next(replies) if received.path == "/token" else Reply()

    oauth = replace(OAUTH, request=lambda settings, now_s: HttpRequest("POST", f"{settings.endpoint}/token", (), b""))
    async with (
        RecordingSink(script).serve() as sink,
        open_house(tmp_path, [lane_to(destination(oauth=oauth), sink.url)]) as house,
    ):
        await house.post(range(3))
        await house.until_ended("sink", 3)
        counts = await house.check()
        requests = house.runner.states()["sink"].figures.requests
    assert counts["sink"] == {Outcome.DELIVERED: 3}
    assert requests == 1
    assert [r.path for r in sink.requests] == ["/token", "/token", "/collect"]


async def test_an_outcome_waits_for_a_full_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store without room when an outcome is to be written is asked until it has room: no answer is forgotten."""
    async with RecordingSink().serve() as sink, open_house(tmp_path, [lane_to(destination(), sink.url)], start=False) as house:
        _full_twice(house, monkeypatch)
        await house.post([1])
        await house.post([2], name="unmapped")
        await house.runner.start()
        await house.until_ended("sink", 2)
        counts = await house.check({"sink": sink})
    assert counts["sink"] == {Outcome.DELIVERED: 1, Outcome.UNMAPPED: 1}
    assert sink.count == 1


def _full_twice(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("finish", "settle"):
        real = getattr(house.store, name)
        left = {"n": 2}

        async def full(lease: Lease, *args: Any, _real: Any = real, _left: dict[str, int] = left, **named: Any) -> None:
            if _left["n"]:
                _left["n"] -= 1
                raise StoreFull("planted")
            await _real(lease, *args, **named)

        monkeypatch.setattr(house.store, name, full)


class HookSettings(DestinationSettings):
    """Settings of something self-hosted."""

    url: str = ""
    host: str = ""


PLATFORM = ("collect.platform.example",)
HERE = "http://127.0.0.1:1"
REACH: list[tuple[dict[str, str], tuple[str, ...], str, bool]] = [
    ({"url": "https://93.184.216.34/hook"}, (), "https://127.0.0.1/", True),
    ({"url": "https://93.184.216.34/hook"}, (), "https://93.184.216.35/hook", True),
    ({"url": f"{HERE}/hook"}, (), f"{HERE}/x", False),
    ({"host": HERE}, PLATFORM, f"{HERE}/x", False),
    ({"host": HERE}, PLATFORM, "http://127.0.0.1:2/x", True),
    ({"url": "https://a.example/", "endpoint": HERE}, PLATFORM, f"{HERE}/x", False),
    ({"endpoint": HERE}, PLATFORM, "https://collect.platform.example/", True),
]


@pytest.mark.parametrize(("settings", "hosts", "target", "refused"), REACH)
async def test_a_lane_reaches_what_its_settings_say(
    settings: Mapping[str, str], hosts: tuple[str, ...], target: str, refused: bool
) -> None:
    """A webhook reaches its own address, a platform its hosts or the address set for it, a stand-in stands in for all of them."""
    lane = open_lane(destination(hosts=hosts, settings=HookSettings), HookSettings.model_validate(settings), deadline_s=1)
    found = await lane.sender.send(HttpRequest("POST", target, (), b""), lambda: True)
    await lane.sender.aclose()
    assert isinstance(found, Failed)
    assert (found.failure is Failure.REFUSED) is refused


class FileSettings(DestinationSettings):
    """Settings of a directory."""

    path: str


def put(place: Path, body: bytes = b"lines") -> HttpRequest:
    """A PUT of a file."""
    return HttpRequest("PUT", f"file://{quote(str(place))}", (), body)


async def test_a_directory_gets_whole_files(tmp_path: Path) -> None:
    """A request to a directory stands as one private file, a repeat replaces it, and nothing else is left behind."""
    lane = open_lane(destination(settings=FileSettings), FileSettings(path=str(tmp_path / "out")))
    place = tmp_path / "out" / "dt=2026-11-21" / "a b.jsonl.gz"
    for _ in range(2):
        found = await lane.sender.send(put(place), lambda: True)
        assert isinstance(found, HttpResponse)
        assert found.status == 201
    await lane.sender.aclose()
    assert [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == [place]
    assert place.read_bytes() == b"lines"
    assert place.stat().st_mode & 0o777 == 0o600


async def test_nothing_is_written_outside_the_directory(tmp_path: Path) -> None:
    """Paths beside, above or through a link are refused; an old word of the gate or a file in the way writes nothing."""
    inside, outside = tmp_path / "out", tmp_path / "elsewhere"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    sender = FileSender(inside)
    for place in (outside / "x", inside / ".." / "elsewhere" / "x", inside / "link" / "x", Path("/etc/x")):
        assert await sender.send(put(place), lambda: True) == Failed(Failure.REFUSED, "address_refused")
    for other in (HttpRequest("POST", f"file://{inside}/x", (), b""), HttpRequest("PUT", f"http://{inside}/x", (), b"")):
        assert await sender.send(other, lambda: True) == Failed(Failure.REFUSED, "address_refused")
    assert await sender.send(put(inside / "x"), lambda: False) == Failed(Failure.STALE, "gate_stale")
    (inside / "file").write_bytes(b"")
    assert await sender.send(put(inside / "file" / "x"), lambda: True) == Failed(Failure.NOT_SENT, "file_failed")
    (inside / "taken").mkdir()
    assert await sender.send(put(inside / "taken"), lambda: True) == Failed(Failure.NOT_SENT, "file_failed")
    assert sorted(p.name for p in inside.iterdir()) == ["file", "link", "taken"]
    assert list(outside.iterdir()) == []


async def test_a_full_disk_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room for a file: 507, nothing left behind."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "planted")

    monkeypatch.setattr("os.fsync", full)
    found = await FileSender(tmp_path).send(put(tmp_path / "x"), lambda: True)
    assert isinstance(found, HttpResponse)
    assert found.status == 507
    assert os.listdir(tmp_path) == []
