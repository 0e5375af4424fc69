"""Anything at all, at every route of the collection host: events or a clear refusal, never a fault, and nothing kept of a refusal."""

from __future__ import annotations

import copy
import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ebbgate.app import Gateway
from ebbgate.edge.openapi.codes import CODES
from ebbgate.edge.openapi.documents import document
from tests.e2e.harness import BOTH, ORIGIN, SERVER_KEY
from tests.fuzz.app import ROOT, ask, make_gateway
from tests.scale import scaled

ROUNDS = scaled(1000)
RECORDED = sorted((ROOT / "tests" / "contract" / "requests").rglob("*.json"))
PATHS = document("collection")["paths"]


class Raw(str):
    """JSON as it stands: what no encoder would write."""

    __slots__ = ()


#: Values that have broken somebody's decoder, by their JSON.
NASTY: list[Any] = [
    *map(Raw, ["NaN", "-Infinity", "1e999", "-0.0", "1E+2", "01", "1.", "+1", "0x10", "tru", "", "//", "'a'", "\ufeff1"]),
    *map(Raw, [r'"\ud800"', r'"\udfff\ud83d"', r'"\u0000"', r'"\x41"', '"\x01"', '"' + "a" * 9000 + '"', r'"\u202e"']),
    *map(Raw, ["[" * 40 + "]" * 40, "[" * 5000, '{"a":' * 30 + "1" + "}" * 30, "1" * 5000, "0." + "1" * 5000, "9007199254740993"]),
    Raw("{" + ",".join(f'"k{n}":{n}' for n in range(300)) + "}"),
    Raw('{"a":1,"a":2}'),
    Raw('{"gcs":"G100","gcs":"G111"}'),
    Raw(r'{"\u0061":1,"a":2}'),
    Raw("[" + ",".join(["{}"] * 600) + "]"),
    None, True, False, 0, -1, 2**53, -(2**63), 1e308, 5e-324, "", " ", "null", "NaN", "é" * 4096, [], {}, [[]], [None], {"": ""},
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-21", "2026-11-21T22:31:21", "20261121T223121Z", "24:00",
    "1795300281", 1_795_300_281, 1_795_300_281_250, -1_795_300_281_250, 99_999_999_999_999_999, "a@b.example", "\u2028", "😀" * 50,
    {"purposes": {"advertising": "granted"}}, {"tcf": "CP"}, {"consent": 5}, {"events": []}, {"batch": [[]]}, "data:text/html,x",
    "https://[::1", "https://shop.example/?" + "utm_source=a&" * 300, "http://" + "a" * 3000, "%", "%ff%fe%00", "+", "&&==;;",
]  # fmt: skip
QUERIES = [
    "", "&", "=", "%", "%00", "%ff", "%ed%a0%80", "a=1&" * 600, "en=page_view&en=purchase", "v=1", "gcs=G111&gcs=G100",
    "x=" + "y" * 9000, "writeKey=a&writeKey=b", "wait=drained", "wait=forever", "quiet=1", "properties=%7B%22a%22",
    "context.a.b.c.d.e.f.g=1", "context=1&context.a=2", "pr1=id1~nm~~~pr&pr201=x", "em=tv.1~em." + "A" * 500,
    "gpp_sid=1_2_999999", "epn.value=1e5",
]  # fmt: skip
TYPES = [
    "application/json", "text/plain", "text/plain;charset=utf-16", "application/x-www-form-urlencoded", "",
    "multipart/form-data; boundary=x", "application/xml", "APPLICATION/JSON", "application/json; charset=latin-1", "\xff", "a" * 300,
]  # fmt: skip
HEADERS = [
    "user-agent", "referer", "cookie", "origin", "sec-gpc", "dnt", "accept-language", "x-forwarded-for", "cf-ipcountry",
    "cf-region-code", "x-akamai-edgescape", "x-nf-geo", "authorization", "x-write-key", "anonymousid", "x-ip-policy",
    "sec-fetch-site", "host", "content-length", "x-forwarded-host", "x-forwarded-proto", "if-none-match", "accept-encoding",
]  # fmt: skip
VALUES = [
    "", " ", "1", "\xff\xfe", "null", "http://[", "https://shop.example", "http://a:99999999", "*", "a" * 4000,
    "Bearer " + SERVER_KEY, "Bearer", "Basic \xff", "Basic Og==", "Basic YTpi", "Digest x", "8.8.8.8, 10.0.0.1",
    "[::1]:80, unknown", "_ga=GA1.1.1.2; _ga=x; OptanonConsent=%", "euconsent-v2=CP; ebb_id=1.1795300281; \u00e9=1", ";" * 500,
    "=,=;", "US", "DE", "XX", "georegion=1,country_code=US,", "eyJ", "{}", "same-origin", 'W/"x", *', "gzip;q=0, br", "-1",
    "1" * 40, "\t", "javascript:1", "//evil", "1, 1, 1",
]  # fmt: skip


def write(value: Any) -> str:
    """JSON text, with what is `Raw` as it stands."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{write(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(write, value)) + "]"
    return json.dumps(value)


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a JSON value."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ():
        yield from nodes(item)


def names(value: Any) -> set[str]:
    """Names of all members in a JSON value."""
    return {name for one in nodes(value) for name in one}


class Fuzzer:
    """Requests made of recorded ones by changes that a seed decides."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._seeds = [self._recorded(path) for path in RECORDED]
        event = {
            "event": "purchase",
            "id": "A-1",
            "visitor": {"client_id": "1.2"},
            "order": {"id": "A", "value": 1, "currency": "EUR", "items": [{"id": "s", "price": 6}]},
            "page": {"url": f"{ORIGIN}/?gclid=x"},
            "properties": {"a": {"b": 1}},
            "consent": BOTH,
        }
        for body in (event, {"events": [event, event], "sent_at": "2026-11-21T22:31:21Z"}):
            self._seeds += [("POST", "/e/v1/events", {"content-type": "application/json"}, body)] * 12
        choice = {"visitor": {"client_id": "1.2"}, "consent": {"purposes": {"advertising": "denied"}}}
        self._seeds += [("POST", "/e/consent", {"content-type": "application/json"}, choice)] * 12
        self._seeds += [
            ("GET", path.replace("{key}", "shop"), {}, "") for path, item in PATHS.items() if "get" in item for _ in range(3)
        ]
        for path, item in PATHS.items():
            told = item.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
            self._seeds += [("POST", path, {}, told.get("example", {"type": "track"}))] * (3 if told else 0)
        self._keys = sorted({name for one in nodes(PATHS) for name in one.get("properties", ())} | names(self._seeds))

    def _recorded(self, path: Path) -> tuple[str, str, dict[str, str], Any]:
        given = json.loads(path.read_text(encoding="utf-8"))["request"]
        headers = {**given.get("headers", {}), "cookie": "; ".join(f"{k}={v}" for k, v in given.get("cookies", {}).items())}
        return given.get("method", "POST"), given["target"], headers, given.get("body", "")

    def request(self) -> tuple[str, str, list[tuple[bytes, bytes]], bytes, int]:
        """(method, target, headers, body, pieces)."""
        pick = self._random
        method, target, headers, body = pick.choice(self._seeds)
        headers = {"origin": ORIGIN, "host": "shop.example", **headers}
        if pick.random() < 0.3:
            headers = {**headers, "authorization": f"Bearer {SERVER_KEY}"}
        if pick.random() < 0.1:
            method = pick.choice(["GET", "POST", "HEAD", "OPTIONS", "PUT"])
        for _ in range(pick.randrange(3)):
            headers = {**headers, pick.choice(HEADERS): pick.choice(VALUES)}
        if pick.random() < 0.3:
            headers["content-type"] = pick.choice(TYPES)
        if pick.random() < 0.4:
            target = self._query(target)
        raw = self._body(body)
        if pick.random() < 0.1:
            headers["content-encoding"] = pick.choice(["gzip", "GZIP", "identity", "br", "gzip, gzip", "deflate", ""])
            raw = pick.choice(
                [raw, gzip.compress(raw), gzip.compress(raw) + b"x", gzip.compress(raw)[:-3], gzip.compress(bytes(2_000_000))]
            )
        packed = [(k.encode(), v.encode("latin-1", "replace")) for k, v in headers.items() if k != "cookie" or v]
        return method, target, packed, raw, pick.choice([1, 1, 1, 2, 7])

    def _query(self, target: str) -> str:
        pick = self._random
        path, _, query = target.partition("?")
        parts = query.split("&")
        what = pick.randrange(4)
        if what == 0:
            parts.insert(pick.randrange(len(parts) + 1), pick.choice(QUERIES))
        elif what == 1 and parts:
            at = pick.randrange(len(parts))
            value = pick.choice(NASTY)
            parts[at] = parts[at].partition("=")[0] + "=" + quote(write(value), safe="")[:6000]
        elif what == 2:
            pick.shuffle(parts)
            parts = parts[: pick.randrange(len(parts) + 1)]
        else:
            parts = parts * pick.choice([2, 30])
        return f"{path}?{'&'.join(parts)}"

    def _body(self, body: Any) -> bytes:
        pick = self._random
        if not isinstance(body, str):
            body = write(self._changed(json.loads(json.dumps(body))) if pick.random() < 0.8 else body)
        elif pick.random() < 0.5:
            lines = body.splitlines() or [""]
            at = pick.randrange(len(lines))
            lines[at] = pick.choice([self._query("?" + lines[at])[1:], pick.choice(QUERIES), write(pick.choice(NASTY))])
            body = pick.choice(["\n", "\r\n", "\r", "\n\n\n"]).join(lines * pick.choice([1, 1, 40]))
        raw: bytes = body.encode("utf-8", "surrogatepass")
        if pick.random() < 0.25:
            for _ in range(pick.randint(1, 4)):
                at = pick.randrange(len(raw) + 1)
                piece = pick.choice([b"\xff", b"\0", b'"', b"\\", b"{", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\n"])
                byte = bytes([pick.randrange(256)])
                raw = pick.choice(
                    [raw[:at], raw[:at] + byte + raw[at + 1 :], raw[:at] + raw[at + 5 :], raw[:at] + piece + raw[at:]]
                )
        return raw

    def _changed(self, value: Any) -> Any:
        """The same JSON with some members replaced, removed, added or nested."""
        pick = self._random
        for _ in range(pick.randint(1, 3)):
            path: list[Any] = []
            here = value
            while isinstance(here, (dict, list)) and here and (not path or pick.random() < 0.75):
                path.append((here, pick.choice(list(here)) if isinstance(here, dict) else pick.randrange(len(here))))
                here = here[path[-1][1]]
            if not path:
                return self._nasty()
            parent, key = path[-1]
            what = pick.randrange(5)
            if what == 0:
                del parent[key]
            elif what == 1 and isinstance(parent, dict):
                odd = ["", "a.b", "\u2028", "é", "__proto__", "x" * 70]
                parent[pick.choice(odd if pick.random() < 0.3 else self._keys)] = self._nasty()
            elif what == 2:
                parent[key] = pick.choice([[parent[key]], {"value": parent[key]}, [parent[key]] * 3])
            else:
                parent[key] = self._nasty()
        return value

    def _nasty(self) -> Any:
        return copy.deepcopy(self._random.choice(NASTY))  # a copy: what is put into it later must not come back


def route_of(path: str) -> dict[str, Any] | None:
    found = PATHS.get(path)
    if found is None and path.startswith("/e/v1/projects/") and path.endswith("/settings"):
        return PATHS["/e/v1/projects/{key}/settings"]  # type: ignore[no-any-return]  # a document is plain JSON
    return found  # type: ignore[no-any-return]  # as above


def checked(method: str, target: str, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """The answer is one that the document has, and a refusal says what is wrong in a known code with a hint."""
    kind = dict(headers).get(b"content-type", b"")
    item = route_of(target.partition("?")[0])
    assert status < 500
    if item is None or method.lower() not in item:
        assert status in (404, 405)
    else:
        assert str(status) in item[method.lower()]["responses"], (status, body)
    if status >= 400:
        assert kind == b"application/problem+json"
        problem = json.loads(body)
        assert problem["status"] == status
        assert status in CODES[problem["code"]].statuses, problem["code"]
        assert problem["hint"], problem


def stored(gateway: Gateway) -> int:
    return gateway.pipeline.counts.get(("event", "accepted"), 0) + gateway.pipeline.counts.get(("event", "duplicate"), 0)


async def test_any_request_is_answered_as_documented(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Thousands of made-up requests over every route: never a 5xx, always a documented answer, nothing stored of what is refused."""
    seed = random.SystemRandom().randrange(2**32)
    fuzzer, gateway = Fuzzer(seed), make_gateway(tmp_path)
    await gateway.store.open()
    taken: dict[int, int] = {}
    try:
        for number in range(ROUNDS):
            method, target, headers, body, pieces = fuzzer.request()
            before = stored(gateway)
            try:
                status, said, content = await ask(gateway, method, target, headers, body, pieces=pieces)
                checked(method, target, status, said, content)
            except BaseException as error:
                error.add_note(
                    f"seed {seed}, request {number}: {method} {target[:300]} {headers} {body[:2000]!r}\n{capsys.readouterr().err[-500:]}"
                )
                raise
            taken[status] = taken.get(status, 0) + 1
            assert status < 400 or stored(gateway) == before, f"seed {seed}, request {number}"
    finally:
        await gateway.store.close()
    good = sum(n for status, n in taken.items() if status < 300)
    assert good > ROUNDS / 10  # it reaches what lies behind the first checks
    assert len(taken) >= 8


ME = {"client_id": "1"}
#: What a run has found once, and what it is answered since: method, target, headers, body, status, code.
FOUND: list[tuple[str, str, dict[str, str], Any, int, str]] = [
    ("GET", "/e/v1/projects/shop/settings", {"origin": "http://[", "host": "shop.example"}, b"", 200, ""),
    ("POST", "/e/consent", {"origin": ORIGIN}, {"visitor": ME, "consent": {"purposes": {"a\ufeff": "denied"}}}, 422, "no_choice"),
    ("POST", "/e/v1/events", {"origin": ORIGIN}, {"event": "x", "properties": {"a": [1] * 1001}}, 422, "too_many_items"),
    ("POST", "/e/v1/track", {"origin": ORIGIN}, {"event": "x", "userId": "u", "properties": {"a": [1] * 100_000}}, 200, ""),
    ("GET", "/e/p.gif?event=page_view", {"referer": "http://["}, b"", 401, "no_credentials"),
    ("POST", "/healthz", {}, b"", 405, "method"),
    ("TRACE", "/readyz", {}, b"", 405, "method"),
    ("PUT", "/.well-known/gpc.json", {}, b"", 405, "method"),
]  # fmt: skip


async def test_what_was_found_once_stays_mended(tmp_path: Path) -> None:
    """Each has the answer that it was given when it was found."""
    gateway = make_gateway(tmp_path)
    for method, target, headers, body, status, code in FOUND:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        got, _, said = await ask(gateway, method, target, [(k.encode(), v.encode()) for k, v in headers.items()], raw)
        assert (got, json.loads(said)["code"] if code else "") == (status, code), target
