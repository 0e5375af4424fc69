from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping

import pytest

from ebbgate.edge.credentials import ClientHead, identify
from ebbgate.edge.head import Head
from ebbgate.edge.inflate import gunzip
from ebbgate.edge.sites import Sites
from ebbgate.errors import ConfigError, RequestError
from ebbgate.model import Trust
from ebbgate.settings import SiteSettings

SECRET = "secret-key-of-sixteen"
SITES = Sites(
    {
        "open": SiteSettings.model_validate({"origins": ["https://open.example"], "server_keys": [SECRET]}),
        "keyed": SiteSettings.model_validate({"origins": ["https://keyed.example"], "write_keys": ["wk"]}),
    }
)


def who(headers: Mapping[str, str], inner: str | None = None) -> tuple[str, Trust]:
    scope = {"headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()]}
    return identify(SITES, Head(scope), ClientHead(scope), inner)


def basic(user: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:".encode()).decode()


@pytest.mark.parametrize(
    ("headers", "inner"),
    [
        ({"Authorization": f"Bearer {SECRET}"}, None),
        ({"Authorization": basic(SECRET)}, None),
        ({"X-Write-Key": SECRET}, None),
        ({}, SECRET),
        ({"Authorization": basic(SECRET)}, "something else in the body"),
    ],
)
def test_a_server_key_speaks_for_the_server(headers: dict[str, str], inner: str | None) -> None:
    """Wherever a client puts it; the head counts before the body."""
    assert who(headers, inner) == ("open", Trust.SERVER)


@pytest.mark.parametrize(
    ("headers", "inner", "site"),
    [
        ({"Origin": "https://open.example"}, None, "open"),
        ({"Origin": "https://open.example"}, "any public key", "open"),
        ({"Origin": "https://keyed.example"}, None, "keyed"),
        ({"Origin": "https://keyed.example", "Authorization": basic("wk")}, None, "keyed"),
        ({}, "wk", "keyed"),
        ({"Referer": "https://open.example/a?b#c"}, None, "open"),
        ({"Referer": "https://user:pw@open.example/"}, None, "open"),
        ({"Sec-Fetch-Site": "same-origin", "Host": "open.example"}, None, "open"),
    ],
)
def test_browsers_are_known_by_their_page(headers: dict[str, str], inner: str | None, site: str) -> None:
    """By Origin, else Referer, else the browser's own word that the page is ours; never more than a browser's trust."""
    assert who(headers, inner) == (site, Trust.BROWSER)


@pytest.mark.parametrize(
    ("headers", "inner", "status"),
    [
        ({}, None, 401),
        ({}, "unknown", 401),
        ({"Authorization": "Digest x"}, None, 401),
        ({"Authorization": basic("")}, None, 401),
        ({"Authorization": f"Bearer {SECRET}x"}, None, 401),
        ({"Origin": "null"}, None, 403),
        ({"Origin": "https://evil.example"}, "wk", 403),
        ({"Origin": "https://open.example.evil.example"}, None, 403),
        ({"Origin": "https://open.example"}, "wk", 401),
        ({"Origin": "https://keyed.example"}, "other", 401),
        ({"Referer": "https://evil.example/?https://open.example"}, None, 403),
        ({"Referer": "https://open.example@evil.example/"}, None, 403),
        ({"Sec-Fetch-Site": "cross-site", "Host": "open.example"}, None, 401),
        ({"Sec-Fetch-Site": "same-origin", "Host": "evil.example"}, None, 401),
        ({"X-Write-Key": "x" * 600}, None, 401),
    ],
)
def test_strangers_are_refused(headers: dict[str, str], inner: str | None, status: int) -> None:
    """Missing, wrong and contradictory credentials, and pages that only look like ours."""
    with pytest.raises(RequestError) as refused:
        who(headers, inner)
    assert refused.value.status == status


def test_a_public_key_that_is_a_server_key_is_a_mistake() -> None:
    """Settings that would make every browser the server do not load."""
    site = SiteSettings.model_validate({"server_keys": [SECRET], "write_keys": [SECRET]})
    with pytest.raises(ConfigError):
        Sites({"shop": site})


@pytest.mark.parametrize(
    "raw", [b"", b"plain", gzip.compress(b"ab", mtime=0)[:-1], gzip.compress(b"a", mtime=0) + gzip.compress(b"b", mtime=0)]
)
def test_only_one_whole_gzip_member_is_taken(raw: bytes) -> None:
    """Cut off, doubled and plain bodies are refused."""
    with pytest.raises(RequestError) as refused:
        gunzip(raw, max_bytes=100)
    assert refused.value.code == "gzip_broken"


def test_a_body_is_bounded_after_decompression() -> None:
    """Exactly the limit passes; one byte more is refused without being unpacked whole."""
    assert gunzip(gzip.compress(b"x" * 100), max_bytes=100) == b"x" * 100
    with pytest.raises(RequestError) as refused:
        gunzip(gzip.compress(b"x" * 101), max_bytes=100)
    assert refused.value.status == 413
