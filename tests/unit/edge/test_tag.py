from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

import ebbgate
from ebbgate.edge.tag import TagEndpoint, integrity, snippet, tag_source

TAG = Path(ebbgate.__file__).parent / "tag"


def ask(method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """One request to the endpoint, no server needed."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    scope = {"type": "http", "method": method, "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]}
    asyncio.run(TagEndpoint()(scope, receive, send))
    found = [(k.decode(), v.decode()) for k, v in sent[0]["headers"]]
    assert len(dict(found)) == len(found)  # no header twice
    return sent[0]["status"], dict(found), sent[1]["body"]


def test_what_is_served_was_built_from_these_sources() -> None:
    """Nobody changes the tag's source without building it: both digests are on record."""
    spec = importlib.util.spec_from_file_location("tag_build", TAG / "build.py")
    assert spec is not None
    assert spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    record = json.loads((TAG / "build.json").read_text(encoding="utf-8"))
    assert record["sources_sha256"] == build.sources_digest()
    assert record["built_sha256"] == hashlib.sha256(tag_source()).hexdigest()


def test_the_tag_is_small() -> None:
    """At most 3,584 bytes with gzip (specs/experience.md §3)."""
    assert len(gzip.compress(tag_source(), 9)) <= 3584


def test_the_tag_needs_no_eval_and_no_other_host() -> None:
    """Nothing that a strict content security policy forbids, and no address in it."""
    text = tag_source().decode()
    assert re.findall(r"\beval\b|\bFunction\(|innerHTML|document\.write|createElement|https?://|\.style\b", text) == []
    assert "document.cookie=" not in text


def test_the_tag_comes_with_the_right_type_and_may_be_kept() -> None:
    """JavaScript, not sniffed, cacheable, readable across origins, no cookie."""
    status, headers, body = ask()
    assert (status, body) == (200, tag_source())
    assert headers["content-type"] == "text/javascript; charset=utf-8"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"].startswith("public, max-age=3600")
    assert headers["access-control-allow-origin"] == "*"
    assert headers["vary"] == "Accept-Encoding"
    assert "set-cookie" not in headers


def test_the_tag_is_packed_for_who_takes_it() -> None:
    """Packed it is the same script; each form has its own ETag."""
    _, plain, _ = ask()
    _, packed, body = ask(accept_encoding="br, gzip")
    assert packed["content-encoding"] == "gzip"
    assert gzip.decompress(body) == tag_source()
    assert int(packed["content-length"]) == len(body)
    assert packed["etag"] != plain["etag"]


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}'])
def test_who_has_it_gets_nothing_again(form: str) -> None:
    """A matching If-None-Match is answered 304 without a body; another is not."""
    etag = ask()[1]["etag"]
    status, headers, body = ask(if_none_match=form.format(etag))
    assert (status, body, headers["etag"]) == (304, b"", etag)
    assert "content-length" not in headers
    assert ask(if_none_match='"other"')[0] == 200


def test_only_reading_is_answered() -> None:
    """HEAD has the headers alone; POST is refused."""
    status, headers, body = ask("HEAD")
    assert (status, body, int(headers["content-length"])) == (200, b"", len(tag_source()))
    assert ask("POST")[0] == 405


def test_the_snippet_pins_the_script() -> None:
    """The integrity value is that of the served bytes, the stub queues calls, and a nonce stands where it is needed."""
    value = re.search(r'integrity="sha384-([^"]+)"', snippet("/e"))
    assert value is not None
    assert base64.b64decode(value[1]) == hashlib.sha384(tag_source()).digest()
    assert integrity() in snippet("https://e.shop.example/e")
    assert 'src="/e/t.js"' in snippet("/e")
    assert '<script nonce="abc">window.ebb=' in snippet("/e", nonce="abc")
    assert "integrity" not in snippet("/e", pinned=False)
