"""Rate limits: what a bucket gives, whose bucket it is, and how little is remembered."""

from __future__ import annotations

import base64
import gc
import ipaddress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebbgate.edge.limits import Buckets, RateLimit
from ebbgate.edge.sites import Sites
from ebbgate.edge.visitor import Visitors
from ebbgate.settings import LimitSettings, SiteSettings

KEY = "a-server-key-of-the-shop"
ORIGIN = "https://shop.example"


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    """Five at once, then one every half second, and Retry-After's seconds are those after which there is one again."""
    buckets = Buckets(2, 5, 100)
    assert [buckets.take(b"a", 10.0) for _ in range(5)] == [0.0] * 5
    wait_s = buckets.take(b"a", 10.0)
    assert wait_s == pytest.approx(0.5)
    assert buckets.take(b"a", 10.0 + wait_s / 2) > 0
    assert buckets.take(b"a", 10.0 + wait_s) == 0.0
    assert buckets.take(b"a", 10.0 + wait_s) > 0
    assert buckets.take(b"b", 10.0) == 0.0


@given(
    per_s=st.sampled_from([0.1, 1.0, 7.0]),
    burst=st.integers(1, 6),
    steps=st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.floats(0, 3)), max_size=60),
)
def test_a_bucket_never_gives_more_than_burst_and_rate(per_s: float, burst: int, steps: list[tuple[bytes, float]]) -> None:
    """Over every stretch of time at most burst + rate × time are let through, by counting them, however names and times mix."""
    buckets = Buckets(per_s, burst, 10_000)
    now_s = 0.0
    given_at: dict[bytes, list[float]] = {}
    for name, pause_s in steps:
        now_s += pause_s
        if not buckets.take(name, now_s):
            given_at.setdefault(name, []).append(now_s)
    for times in given_at.values():
        for first in range(len(times)):
            for last in range(first, len(times)):
                assert last - first + 1 <= burst + per_s * (times[last] - times[first]) + 1e-6


def test_a_refused_request_costs_nothing_more() -> None:
    """Who goes on knocking while refused is let in at the same moment as who waits."""
    buckets = Buckets(1, 1, 100)
    assert buckets.take(b"a", 0.0) == 0.0
    assert all(buckets.take(b"a", t / 10) for t in range(1, 10))
    assert buckets.take(b"a", 1.0) == 0.0


def test_memory_is_bounded_by_the_setting() -> None:
    """A million addresses leave no more behind than the setting says, and the newest of them are still known."""
    buckets = Buckets(0.001, 1, 1000)
    for number in range(20_000):
        buckets.take(number.to_bytes(8, "big"), 1.0)
        assert len(buckets) <= 1000
    assert buckets.take((19_999).to_bytes(8, "big"), 1.0) > 0


def test_full_buckets_are_forgotten() -> None:
    """What has had the time to fill up again is not kept: memory follows the traffic down."""
    buckets = Buckets(10, 10, 100_000)
    for number in range(1000):
        buckets.take(number.to_bytes(8, "big"), 0.0)
    for late in range(1, 6):
        buckets.take(b"later", 100.0 * late)
        buckets.take(b"other", 100.0 * late)
    assert len(buckets) <= 4


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Rig:
    """A limited app that says 200, and what it answered."""

    def __init__(self, **limits: Any) -> None:
        self.clock = Clock()
        sites = Sites({"shop": SiteSettings(origins=(ORIGIN,), server_keys=(KEY,), write_keys=("public-key",))})
        self.limit = RateLimit(
            LimitSettings(**limits),
            sites,
            Visitors((ipaddress.ip_network("10.0.0.0/8"),)),
            prefix="/e",
            now_s=self.clock,
            entropy=lambda n: b"k" * n,
        )
        self._app = self.limit.before(self._hello)
        self.answered: list[dict[str, Any]] = []

    async def _hello(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def ask(
        self, peer: str = "203.0.113.7", path: str = "/e/v1/events", method: str = "POST", query: str = "", **headers: str
    ) -> int:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            self.answered.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "client": (peer, 4711) if peer else None,
            "headers": [(k.replace("_", "-").encode(), v.encode("latin-1")) for k, v in headers.items()],
        }
        self.answered.clear()
        await self._app(scope, receive, send)
        return int(self.answered[0]["status"])


ONE = {"per_address_per_s": 0.1, "per_address_burst": 1, "per_key_per_s": 0.1, "per_key_burst": 2}


async def test_the_refusal_says_when_and_a_page_may_read_it() -> None:
    """429 with whole seconds in Retry-After, problem JSON with its own code, and CORS for a page of the site alone."""
    rig = Rig(**ONE)
    assert await rig.ask(origin=ORIGIN) == 200
    assert await rig.ask(origin=ORIGIN) == 429
    headers = dict(rig.answered[0]["headers"])
    assert headers[b"retry-after"] == b"10"
    assert headers[b"access-control-allow-origin"] == ORIGIN.encode()
    assert msgspec.json.decode(rig.answered[1]["body"])["code"] == "too_many_requests"
    assert await rig.ask(origin="https://evil.example") == 429
    assert b"access-control-allow-origin" not in dict(rig.answered[0]["headers"])
    rig.clock.now_s += 10
    assert await rig.ask() == 200
    assert rig.limit.refused == {"address": 2, "key": 0}


async def test_a_household_is_one_sender() -> None:
    """Addresses of one IPv6 /64 share a bucket, those of another do not; an IPv4 address written as IPv6 is itself."""
    rig = Rig(**ONE)
    assert await rig.ask("2001:db8:1:2::1") == 200
    assert await rig.ask("2001:db8:1:2:ffff:ffff:ffff:ffff") == 429
    assert await rig.ask("2001:db8:1:3::1") == 200
    assert await rig.ask("198.51.100.4") == 200
    assert await rig.ask("::ffff:198.51.100.4") == 429
    assert await rig.ask("not an address") == 200
    assert await rig.ask("fe80::1%eth0") == 200
    assert await rig.ask("") == 200


async def test_behind_a_proxy_the_visitor_is_counted() -> None:
    """A trusted proxy's visitors have a bucket each; a stranger's forwarded-for changes nothing; a silent proxy is nobody."""
    rig = Rig(**ONE)
    assert await rig.ask("10.0.0.1", x_forwarded_for="203.0.113.1") == 200
    assert await rig.ask("10.0.0.2", x_forwarded_for="203.0.113.1") == 429
    assert await rig.ask("10.0.0.1", x_forwarded_for="6.6.6.6, 203.0.113.1") == 429
    assert await rig.ask("10.0.0.1", x_forwarded_for="203.0.113.2") == 200
    assert await rig.ask("198.51.100.1", x_forwarded_for="203.0.113.3") == 200
    assert await rig.ask("198.51.100.1", x_forwarded_for="203.0.113.4") == 429
    assert [await rig.ask("10.0.0.1") for _ in range(3)] == [200] * 3


@pytest.mark.parametrize(
    "how",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()},
        {"x_write_key": KEY},
        {"query": f"measurement_id=G-1&api_secret={KEY}"},
    ],
    ids=["bearer", "basic", "header", "query"],
)
async def test_a_server_is_counted_by_its_key(how: dict[str, str]) -> None:
    """A known server key has a bucket of its own wherever the site's servers stand, and is not held to an address's limit."""
    rig = Rig(**ONE)
    assert [await rig.ask(f"203.0.113.{n}", **how) for n in range(3)] == [200, 200, 429]
    assert rig.limit.refused == {"address": 0, "key": 1}
    assert await rig.ask("203.0.113.1") == 200
    free = Rig(per_address_per_s=0.1, per_address_burst=1)
    assert [await free.ask(**how) for _ in range(3)] == [200] * 3


@pytest.mark.parametrize(
    "how",
    [
        {"authorization": "Bearer some-other-key-{}"},
        {"authorization": "Basic \xff{}"},
        {"authorization": "Digest {}"},
        {"x_write_key": "public-key"},
        {"x_write_key": "\xff{}"},
        {"query": "api_secret=guess-{}"},
        {"query": "api_secret=" + "a" * 5000 + "{}"},
    ],
    ids=["bearer", "basic", "scheme", "write key", "latin", "query", "long"],
)
async def test_keys_that_are_none_open_no_bucket(how: dict[str, str]) -> None:
    """Who makes up a new key for every request, or uses a page's public one, is counted by address like anyone."""
    rig = Rig(**ONE)
    answers = [await rig.ask(**{k: v.format(n) for k, v in how.items()}) for n in range(3)]
    assert answers == [200, 429, 429]
    assert rig.limit.remembered == 1


async def test_a_flood_of_events_keeps_nobody_from_withdrawing() -> None:
    """Choices are counted apart, health and preflights not at all."""
    rig = Rig(**ONE)
    assert [await rig.ask() for _ in range(3)] == [200, 429, 429]
    assert [await rig.ask(path="/e/consent") for _ in range(2)] == [200, 429]
    assert [await rig.ask(path="/readyz", method="GET") for _ in range(3)] == [200] * 3
    assert [await rig.ask(method="OPTIONS") for _ in range(3)] == [200] * 3


async def test_no_address_is_in_memory() -> None:
    """What the limits remember of a thousand visitors holds none of their addresses, in text or in bytes."""
    rig = Rig(per_address_per_s=0.001, per_address_burst=1)
    for number in range(200):
        await rig.ask(f"203.0.113.{number}")
        await rig.ask(f"2001:db8:7:{number:x}::1")
    await rig.ask("203.0.113.77", x_forwarded_for="x")
    rig.answered.clear()
    seen: set[int] = set()
    held: list[Any] = []
    todo: list[Any] = [rig.limit._address, rig.limit.refused]
    while todo:
        one = todo.pop()
        if id(one) not in seen and not isinstance(one, type):
            seen.add(id(one))
            held.append(one)
            todo += gc.get_referents(one)
    texts = [v.encode() if isinstance(v, str) else v for v in held if isinstance(v, (str, bytes))]
    assert len([t for t in texts if len(t) == 8]) >= 400
    needles = [
        b"203.0.113",
        b"2001:db8",
        ipaddress.ip_address("203.0.113.77").packed,
        ipaddress.ip_address("2001:db8:7::").packed[:6],
    ]
    assert [t for t in texts if any(n in t for n in needles)] == []


async def test_without_a_limit_there_is_none() -> None:
    """Only keys limited: an address may send as it likes."""
    rig = Rig(per_key_per_s=0.1, per_key_burst=1)
    assert [await rig.ask() for _ in range(3)] == [200] * 3
    assert rig.limit.remembered == 0
