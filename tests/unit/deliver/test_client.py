"""The HTTP client: what may be contacted, what leaves, and what is known when no answer comes."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from ebbgate.deliver.address import AddressRefused, Origin, check_origin, origin_of, vet
from ebbgate.deliver.classify import Failed, Failure
from ebbgate.deliver.client import RESPONSE_CAP, Client
from ebbgate.demo.sink import RecordingSink, Reply, always, in_turn
from ebbgate.destinations.kit import HttpRequest, HttpResponse

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def post(url: str, body: bytes = b'{"a":1}', headers: tuple[tuple[str, str], ...] = ()) -> HttpRequest:
    """A POST of a small body."""
    return HttpRequest("POST", url, headers, body)


def yes() -> bool:
    """A gate that is always fresh."""
    return True


@asynccontextmanager
async def raw(handler: Handler) -> AsyncIterator[str]:
    """A server that does what no HTTP server does; gives its address."""
    running: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            with suppress(ConnectionError):
                await handler(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            running.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for task in tuple(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@asynccontextmanager
async def client(url: str, *, deadline_s: float = 5.0) -> AsyncIterator[Client]:
    """A client whose stand-in is `url`."""
    made = Client(endpoint=url, deadline_s=deadline_s)
    try:
        yield made
    finally:
        await made.aclose()


async def test_a_request_arrives_as_it_was_made() -> None:
    """Method, path, query, headers and body reach the destination unchanged; nothing of ours is added that tells on visitors."""
    async with RecordingSink(always(Reply(202, b"ok", (("x-a", "1"),)))).serve() as sink, client(sink.url) as http:
        found = await http.send(post(f"{sink.url}/collect?k=v%20w", b"\x00body", (("Content-Type", "text/plain"),)), yes)
    assert isinstance(found, HttpResponse)
    assert (found.status, found.body, found.headers["x-a"]) == (202, b"ok", "1")
    got = sink.requests[0]
    assert (got.method, got.path, got.query, got.body) == ("POST", "/collect", "k=v%20w", b"\x00body")
    assert {k for k, _ in got.headers} == {"content-type", "content-length", "host", "accept-encoding"}
    assert got.header("host") == sink.url.removeprefix("http://")


async def test_cookies_are_neither_kept_nor_sent() -> None:
    """What a destination sets does not come back to it: two visitors' requests must not be linked."""
    reply = Reply(200, b"", (("set-cookie", "id=1; Path=/"),))
    async with RecordingSink(always(reply)).serve() as sink, client(sink.url) as http:
        await http.send(post(f"{sink.url}/"), yes)
        await http.send(post(f"{sink.url}/"), yes)
    assert [r.header("cookie") for r in sink.requests] == [None, None]


async def test_a_redirect_is_not_followed() -> None:
    """Personal data never goes to a host that an answer names."""
    async with RecordingSink().serve() as elsewhere:
        reply = Reply(307, b"", (("location", f"{elsewhere.url}/x"),))
        async with RecordingSink(always(reply)).serve() as sink, client(sink.url) as http:
            found = await http.send(post(f"{sink.url}/"), yes)
    assert isinstance(found, HttpResponse)
    assert found.status == 307
    assert elsewhere.count == 0


async def test_the_environment_s_proxy_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy variable of the process does not divert deliveries."""
    async with RecordingSink().serve() as proxy, RecordingSink().serve() as sink:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        async with client(sink.url) as http:
            await http.send(post(f"{sink.url}/"), yes)
        assert (proxy.count, sink.count) == (0, 1)


async def test_a_long_answer_is_cut() -> None:
    """No more than 64 KiB of an answer are read, whatever it announces."""
    async with RecordingSink(always(Reply(200, b"x" * (RESPONSE_CAP * 4)))).serve() as sink, client(sink.url) as http:
        found = await http.send(post(f"{sink.url}/"), yes)
        assert isinstance(found, HttpResponse)
        assert len(found.body) == RESPONSE_CAP
        assert isinstance(await http.send(post(f"{sink.url}/"), yes), HttpResponse)


async def test_an_endless_answer_is_cut() -> None:
    """A destination that never stops talking does not hold the worker: the first 64 KiB are the answer."""

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 8192)
            await writer.drain()

    async with raw(endless) as url, client(url, deadline_s=1.0) as http:
        found = await http.send(post(f"{url}/"), yes)
    assert isinstance(found, HttpResponse)
    assert len(found.body) == RESPONSE_CAP


async def test_a_refused_connection_sent_nothing() -> None:
    """Nobody listens: known as not sent, safe to repeat."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    async with client(url) as http:
        assert await http.send(post(f"{url}/"), yes) == Failed(Failure.NOT_SENT, "connect_failed")


async def test_a_name_that_does_not_resolve_sent_nothing() -> None:
    """A failing resolver is a network failure, not a wrong configuration."""

    async def nowhere(_: str, __: int) -> list[str]:
        raise socket.gaierror(8, "unknown name")

    http = Client(hosts=("collect.platform.example",), resolve=nowhere)
    assert await http.send(post("https://collect.platform.example/"), yes) == Failed(Failure.NOT_SENT, "name_failed")


async def test_tls_that_cannot_be_trusted_sent_nothing() -> None:
    """A destination that does not speak TLS gets no byte of the request."""
    seen = bytearray()

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.extend(await reader.read(65536))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with raw(plain) as url, client(url.replace("http:", "https:")) as http:
        found = await http.send(post(f"{url.replace('http:', 'https:')}/", b"canary"), yes)
    assert found == Failed(Failure.NOT_SENT, "tls_failed")
    assert b"canary" not in seen


async def test_silence_after_the_request_is_unknown_at_the_deadline() -> None:
    """A destination that takes the request and never answers ends at our deadline, as perhaps processed."""
    async with RecordingSink(always(Reply(hang=True))).serve() as sink, client(sink.url, deadline_s=0.3) as http:
        began = asyncio.get_running_loop().time()
        found = await http.send(post(f"{sink.url}/"), yes)
        took = asyncio.get_running_loop().time() - began
    assert isinstance(found, Failed)
    assert found.failure is Failure.UNKNOWN
    assert took < 2
    assert sink.count == 1


async def test_a_dripped_answer_ends_at_the_deadline() -> None:
    """One byte now and then keeps no connection open longer than the deadline (specs/reliability.md §4 row 21)."""
    async with (
        RecordingSink(always(Reply(200, b"x" * 1000, drip_s=0.05))).serve() as sink,
        client(sink.url, deadline_s=0.4) as http,
    ):
        began = asyncio.get_running_loop().time()
        found = await http.send(post(f"{sink.url}/"), yes)
        took = asyncio.get_running_loop().time() - began
    assert found == Failed(Failure.UNKNOWN, "deadline")
    assert took < 2


async def _garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(65536)
    writer.write(b"\x00\xff\x00 not http at all\r\n\r\n")
    await writer.drain()
    writer.close()


async def _reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(65536)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
    await writer.drain()
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(65536)
    writer.close()


@pytest.mark.parametrize("handler", [_garbage, _reset, _hang_up])
async def test_a_broken_answer_is_unknown(handler: Handler) -> None:
    """Garbage, a reset in the body, or a closed connection after the whole request: perhaps processed."""
    async with raw(handler) as url, client(url) as http:
        found = await http.send(post(f"{url}/"), yes)
    assert isinstance(found, Failed)
    assert found.failure is Failure.UNKNOWN


async def test_a_cut_answer_of_an_http_server_is_unknown() -> None:
    """A 200 whose body stops half-way is no delivery."""
    async with RecordingSink(always(Reply(200, b"x" * 100, cut_after=10))).serve() as sink, client(sink.url) as http:
        found = await http.send(post(f"{sink.url}/"), yes)
    assert isinstance(found, Failed)
    assert found.failure is Failure.UNKNOWN


async def test_an_old_word_of_the_gate_sends_nothing() -> None:
    """The gate is asked when the socket is ready: a stale word stops the first byte, on a new and on a kept connection."""
    seen: list[int] = []

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            seen.append(len(data))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
        writer.close()

    async with raw(count) as url, client(url) as http:
        assert await http.send(post(f"{url}/"), lambda: False) == Failed(Failure.STALE, "gate_stale")
        assert seen == []
        assert isinstance(await http.send(post(f"{url}/"), yes), HttpResponse)
        assert await http.send(post(f"{url}/"), lambda: False) == Failed(Failure.STALE, "gate_stale")
        assert isinstance(await http.send(post(f"{url}/"), yes), HttpResponse)
    assert len(seen) <= 4
    assert sum(seen) > 0


async def test_a_header_that_is_not_http_is_our_fault() -> None:
    """A value that would split a header is refused before anything leaves."""
    async with RecordingSink().serve() as sink, client(sink.url) as http:
        found = await http.send(post(f"{sink.url}/", headers=(("x-id", "a\r\nx-evil: 1"),)), yes)
    assert found == Failed(Failure.INVALID, "request_invalid")
    assert sink.count == 0


async def test_four_at_a_time_reuse_their_connections() -> None:
    """Requests in a row use the connections that are open."""
    peers: set[tuple[str, int]] = set()

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.add(writer.get_extra_info("peername"))
        while await reader.read(65536):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
        writer.close()

    async with raw(note) as url, client(url) as http:
        for _ in range(5):
            await asyncio.gather(*(http.send(post(f"{url}/"), yes) for _ in range(4)))
    assert 1 <= len(peers) <= 4


async def test_many_at_a_time_share_out_among_pools_of_four() -> None:
    """Sixteen requests at once are under way together, in four pools, and the next sixteen use the same connections."""
    together = asyncio.Barrier(16)
    peers: set[tuple[str, int]] = set()

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.add(writer.get_extra_info("peername"))
        while await reader.read(65536):
            await together.wait()  # nobody is answered before all sixteen are here
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
        writer.close()

    async with raw(note) as url, client(url, deadline_s=30) as http:
        for _ in range(3):
            answers = await asyncio.gather(*(http.send(post(f"{url}/"), yes) for _ in range(16)))
            assert [answer.status for answer in answers if isinstance(answer, HttpResponse)] == [200] * 16
        assert [len(pools) for pools in http._pools.values()] == [4]
        assert all(pool.busy == 0 for pools in http._pools.values() for pool in pools)
    assert len(peers) == 16


async def test_the_vetted_address_is_the_one_contacted() -> None:
    """A name that changes its answer after the check (DNS rebinding) is not asked again for the connection."""
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    asked: list[str] = []

    async def flip(host: str, _: int) -> list[str]:
        asked.append(host)
        return next(answers)

    async with RecordingSink().serve() as sink:
        http = Client(endpoint=f"http://localhost:{sink.port}", resolve=flip)
        found = await http.send(post(f"http://localhost:{sink.port}/"), yes)
        await http.send(post(f"http://localhost:{sink.port}/"), yes)
        await http.aclose()
    assert isinstance(found, HttpResponse)
    assert asked == ["localhost"]
    assert [r.header("host") for r in sink.requests] == [f"localhost:{sink.port}"] * 2


PRIVATE = [
    "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "192.0.2.1", "198.18.0.1", "203.0.113.9", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0",
    "fc00::1", "fd12:3456::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "::127.0.0.1", "::10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:a00:1::1",
    "2001:0:53aa:64c::1", "nonsense", "",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_no_address_inside_is_contacted(address: str) -> None:
    """Loopback, private, link-local, metadata, multicast and every IPv6 wrapping of them are refused."""
    with pytest.raises(AddressRefused):
        vet([address], loopback=False)
    with pytest.raises(AddressRefused):
        vet(["93.184.216.34", address], loopback=False)


def test_public_addresses_pass() -> None:
    """Addresses that anybody may reach are not refused."""
    public = ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"]
    assert vet(public, loopback=False) == public


def test_loopback_is_only_for_a_loopback_stand_in() -> None:
    """A stand-in on this machine reaches this machine and nothing else."""
    assert vet(["127.0.0.1", "::1"], loopback=True) == ["127.0.0.1", "::1"]
    with pytest.raises(AddressRefused):
        vet(["127.0.0.1", "93.184.216.34"], loopback=True)
    with pytest.raises(AddressRefused):
        vet([], loopback=True)


REFUSED_URLS = [
    "http://collect.platform.example/", "https://collect.platform.example:8443/", "https://evil.example/",
    "https://collect.platform.example.evil.example/", "https://user@collect.platform.example/", "https://127.0.0.1/",
    "https://2130706433/", "https://0x7f.1/", "https://[::1]/", "https://localhost/", "ftp://collect.platform.example/", "file:///etc/passwd",
    "//collect.platform.example/", "https://", "https://collect.platform.example\\@evil.example/", "https://collect.platform.example:99999/",
    "https://collect.platform.example /", "gopher://127.0.0.1:6379/_", "https://cöllect.example/", "https://collect.platform.example:443@evil.example/",
]  # fmt: skip


@pytest.mark.parametrize("url", REFUSED_URLS)
async def test_only_the_platform_s_own_hosts_are_contacted(url: str) -> None:
    """A platform's client goes to that platform by https on port 443; every other address is refused without a look-up."""

    async def never(_: str, __: int) -> list[str]:
        raise AssertionError("resolved")

    http = Client(hosts=("collect.platform.example",), resolve=never)
    found = await http.send(post(url), yes)
    assert isinstance(found, Failed)
    assert found.failure is Failure.REFUSED


INSIDE = [
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://[::ffff:127.0.0.1]/",
    "https://127.0.0.1/",
]


@pytest.mark.parametrize("url", INSIDE)
async def test_a_webhook_does_not_reach_inside(url: str) -> None:
    """However loopback is spelt, a webhook that names it gets no connection."""
    found = await Client().send(post(url), yes)
    assert isinstance(found, Failed)
    assert found.failure in (Failure.REFUSED, Failure.NOT_SENT)
    assert found.reason in ("address_refused", "name_failed")


def test_a_stand_in_is_https_or_on_this_machine() -> None:
    """A configured endpoint in clear is loopback, or refused."""
    inside = origin_of("http://localhost:9001")
    assert check_origin(inside, endpoint=inside, hosts=()) is True
    https = origin_of("https://stand-in.example:8443/x")
    assert check_origin(https, endpoint=https, hosts=("a.example",)) is False
    clear = origin_of("http://stand-in.example")
    with pytest.raises(AddressRefused):
        check_origin(clear, endpoint=clear, hosts=())


def test_names_below_a_star_fit() -> None:
    """`*.platform.example` stands for names below it, not for itself or for look-alikes."""
    below = Origin("https", "eu.platform.example", 443)
    assert check_origin(below, endpoint=None, hosts=("*.platform.example",)) is False
    for host in ("platform.example", "evilplatform.example", "platform.example.evil.example"):
        with pytest.raises(AddressRefused):
            check_origin(Origin("https", host, 443), endpoint=None, hosts=("*.platform.example",))


async def test_the_sink_answers_in_turn_and_counts() -> None:
    """The scripted sink gives its answers in order and then the last one for ever."""
    script = in_turn([Reply.of(503, retry_after="7"), Reply(202)], Reply(204, b""))
    async with RecordingSink(script).serve() as sink, client(sink.url) as http:
        found = [await http.send(post(f"{sink.url}/"), yes) for _ in range(4)]
    assert [f.status for f in found if isinstance(f, HttpResponse)] == [503, 202, 204, 204]
    first = found[0]
    assert isinstance(first, HttpResponse)
    assert first.headers["retry-after"] == "7"
    await sink.wait_for(4)
