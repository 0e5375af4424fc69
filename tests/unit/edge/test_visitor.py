from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from ebbgate.collect.request import TOO_MANY
from ebbgate.edge.head import Head, read_cookies
from ebbgate.edge.sites import Sites
from ebbgate.edge.visitor import Visitors
from ebbgate.errors import ConfigError, RequestError
from ebbgate.model import Place, Trust
from ebbgate.settings import SiteSettings

PROXIES = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8::/32"))


def head(*headers: tuple[str, str]) -> Head:
    return Head({"headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in headers]})


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("198.51.100.9", [], "198.51.100.9"),
        ("198.51.100.9", ["203.0.113.7"], "198.51.100.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["8.8.8.8, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["8.8.8.8, 203.0.113.7, 10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", ["8.8.8.8", "203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7:4711"], "203.0.113.7"),
        ("10.0.0.1", ["[2001:db9::7]:443"], "2001:db9::7"),
        ("10.0.0.1", ["2001:db9::7"], "2001:db9::7"),
        ("10.0.0.1", ["8.8.8.8, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["'; drop table"], "10.0.0.1"),
        ("2001:db8::1", ["203.0.113.7"], "203.0.113.7"),
        ("not an address", ["203.0.113.7"], "not an address"),
    ],
)
def test_counts_forwarded_addresses_from_the_right(peer: str, forwarded: list[str], expected: str) -> None:
    """Only what trusted proxies added counts: a forged left part never becomes the visitor's address."""
    found, _ = Visitors(PROXIES).locate(peer, head(*(("X-Forwarded-For", line) for line in forwarded)))
    assert found == expected


GEO = [
    ("CF-IPCountry", "US"), ("cf-region-code", "CA"), ("CloudFront-Viewer-Country", "US"), ("X-Vercel-IP-Country", "US"),
    ("X-AppEngine-Country", "US"), ("X-Akamai-Edgescape", "country_code=US,region_code=CA"), ("X-Gclb-Country", "US"),
]  # fmt: skip


@pytest.mark.parametrize("geo", GEO, ids=[g[0] for g in GEO])
def test_strangers_cannot_choose_their_place(geo: tuple[str, str]) -> None:
    """Geo headers of a peer that is no configured proxy change nothing; without proxies they change nothing at all."""
    assert Visitors(PROXIES).locate("198.51.100.9", head(geo))[1] == Place()
    assert Visitors(()).locate("10.0.0.1", head(geo))[1] == Place()


def test_a_trusted_proxy_says_the_place() -> None:
    """A configured proxy's country and region headers are the place."""
    _, place = Visitors(PROXIES).locate("10.0.0.1", head(("CF-IPCountry", "US"), ("cf-region-code", "CA")))
    assert (place.country, place.region) == ("US", "US-CA")


def sites(**sites: Any) -> Sites:
    return Sites({name: SiteSettings(**values) for name, values in sites.items()})


KEY = "a-server-key-of-the-shop"
SHOP = {"origins": ("https://shop.example",), "server_keys": (KEY,)}


@pytest.mark.parametrize(
    "origin",
    [
        "null", "https://shop.example.evil.example", "https://evil-shop.example", "http://shop.example", "https://shop.example:8443",
        "https://www.shop.example", "https://shop.example/", "HTTPS://SHOP.EXAMPLE/x", "*", "", "https://shop.example, https://shop.example",
        " https://shop.example", "https://shop.example\x00", "file://", "https://shop.example@evil.example", "ftp://shop.example",
        "shop.example", "//shop.example", "https://SHOP.example.", "https://xn--shp-ula.example", "https://shop%2eexample",
        "chrome-extension://abcdef", "https://", "https://shop.example#", "https://shop.example?x", "https://shop.examplf",
        "https://sho.example", "data:text/html,x", "http://127.0.0.1", "https://[::1]",
    ],
)  # fmt: skip
def test_only_exact_origins_are_sites(origin: str) -> None:
    """Thirty origins that only look like the site's: none is it, and none is answered with permission."""
    assert sites(shop=SHOP).of_origin(origin) is None
    with pytest.raises(RequestError) as caught:
        sites(shop=SHOP).identify(head(("Origin", origin)))
    assert caught.value.status in (401, 403)


def test_knows_browsers_by_origin_and_servers_by_key() -> None:
    """The origin makes a browser of the site, a key its server; a key wins over an origin."""
    found = sites(shop=SHOP, other={"origins": ("https://other.example",)})
    assert found.identify(head(("Origin", "https://other.example"))) == ("other", Trust.BROWSER)
    assert found.identify(head(("Authorization", f"Bearer {KEY}"))) == ("shop", Trust.SERVER)
    assert found.identify(head(("Authorization", f"bearer {KEY}"), ("Origin", "https://other.example"))) == ("shop", Trust.SERVER)


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Bearer wrong-key-wrong-key", f"Basic {KEY}", KEY, f"Bearer {KEY}x"])
def test_refuses_wrong_keys_even_with_a_good_origin(value: str) -> None:
    """A wrong key is 401: it never falls back to being a browser."""
    with pytest.raises(RequestError) as caught:
        sites(shop=SHOP).identify(head(("Authorization", value), ("Origin", "https://shop.example")))
    assert (caught.value.status, caught.value.code) == (401, "bad_key")


def test_takes_digests_of_keys() -> None:
    """Settings may hold only the digest of a key."""
    import hashlib

    digest = "sha256:" + hashlib.sha256(KEY.encode()).hexdigest()
    assert sites(shop={"server_keys": (digest,)}).identify(head(("Authorization", f"Bearer {KEY}"))) == ("shop", Trust.SERVER)


def test_two_sites_cannot_share() -> None:
    """An origin or key of two sites would mix tenants: refused at start."""
    for shared in ({"origins": ("https://a.example",)}, {"server_keys": (KEY,)}):
        with pytest.raises(ConfigError):
            sites(one=shared, two=shared)


def test_keeps_only_listed_cookies() -> None:
    """The site's own cookies never get past the edge; the first of a name wins; odd names are no names."""
    raw = b"session=secret; _ga=GA1.1.1.2; _ga=GA1.1.3.4; \xe2\x80\x80_fbp=fb.1.1.1; _fbc; euconsent-v2=CP; remember_me=1"
    assert read_cookies(raw) == (("_ga", "GA1.1.1.2"), ("euconsent-v2", "CP"))
    assert read_cookies(b"_ga=1; " * 5000) == TOO_MANY


def test_head_never_hands_on_cookie_or_authorization() -> None:
    """What travels with the request holds neither cookies nor credentials."""
    kept = head(
        ("Cookie", "session=1"), ("Authorization", "Bearer x"), ("User-Agent", "u"), ("X-Custom", "y"), ("Sec-GPC", "1")
    ).headers
    assert kept == (("user-agent", "u"), ("sec-gpc", "1"))
