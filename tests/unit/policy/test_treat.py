from __future__ import annotations

from collections.abc import Mapping

import pytest

from ebbgate.model import Scalar, Value
from ebbgate.policy import treat

NONE: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://shop.example", "https://shop.example"),
        ("https://shop.example/a?x=1&keep=2&y", "https://shop.example/a?keep=2"),
        ("https://shop.example/?keep=1&keep=2", "https://shop.example/?keep=1&keep=2"),
        ("https://shop.example/?ke%65p=1", "https://shop.example/?ke%65p=1"),
        ("https://shop.example/?keep", "https://shop.example/?keep"),
        ("https://shop.example/?KEEP=1", "https://shop.example/"),
        ("https://shop.example?keep=a?b=c", "https://shop.example?keep=a?b=c"),
        ("https://u:p@shop.example:8443/#frag?keep=1", "https://shop.example:8443/"),
        ("https://a@b@shop.example/", "https://shop.example/"),
        ("https://shop.example/a;id=1/b;x", "https://shop.example/a/b"),
        ("https://[2001:db8::1]:8080/a", "https://[2001:db8::1]:8080/a"),
        ("https://bücher.example/", "https://bücher.example/"),
        ("android-app://com.example.app/", "android-app://com.example.app/"),
        ("/thanks?keep=1&x=2#y", "/thanks?keep=1"),
        ("//evil.example/a", None),
        ("/\\evil.example", None),
        ("https:///a", None),
        ("https://sh op.example/", None),
        ("https://shop.example/\x00", None),
        ("https://shop.example\\@evil.example/", None),
        ("https://<script>/", None),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("mailto:ana@example.com", None),
        ("", None),
        ("thanks.html", None),
        (12, None),
    ],
)
def test_rebuild_url(url: Value, expected: str | None) -> None:
    """Only scheme, host, path and the listed parameters are built into the new address; the rest cannot be in it."""
    assert treat.rebuild_url(url, frozenset({"keep"})) == expected
    if expected is not None:
        assert treat.rebuild_url(expected, frozenset({"keep"})) == expected


def test_parameter_names() -> None:
    """Names once each, decoded, for the story; of no text there are none."""
    assert treat.parameter_names("https://s.example/?a=1&b%2Fc=2&a=3&=4&#x") == ("a", "b/c", "")
    assert treat.parameter_names(1) == ()


@pytest.mark.parametrize(
    ("path", "expected"), [("/a/b", "/a/b"), ("/a?x=1", "/a"), ("/a#x?y", "/a"), ("/a;s=1/b", "/a/b"), (1, None)]
)
def test_plain_path(path: Value, expected: str | None) -> None:
    """A path carries no parameters of any kind."""
    assert treat.plain_path(path) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("0.0.0.0", "0.0.0.0"),
        ("255.255.255.255", "255.255.255.0"),
        ("10.0.0.1", "10.0.0.0"),
        ("::ffff:10.1.2.3", "10.1.2.0"),
        ("2001:db8:aaaa:bbbb::1", "2001:db8:aaaa::"),
        ("010.0.0.1", None),
        ("1.2.3", None),
        ("1.2.3.4 ", None),
        ("fe80::1%1", None),
        ("", None),
        (16909060, None),
    ],
)
def test_to_network(address: Value, expected: str | None) -> None:
    """/24 of version 4 and of version 4 inside version 6, /48 of version 6, nothing of what is no address."""
    assert treat.to_network(address) == expected


def test_whole_ip() -> None:
    """A valid address in its shortest form."""
    assert treat.whole_ip("2001:0db8::0001") == "2001:db8::1"
    assert treat.whole_ip("x") is None


def test_known_items_types() -> None:
    """Numbers where numbers belong, text where text belongs, nothing else."""
    items: tuple[Mapping[str, Scalar], ...] = ({"price": True, "quantity": 2, "id": 5, "name": "n", "index": "1"},)
    assert treat.known_items(items) == ({"quantity": 2, "id": "5", "name": "n"},)
    assert treat.known_items(()) == ()
    assert treat.known_items(1) is None


def test_floor_time() -> None:
    """Down to the step, also before 1970; what is no number is left out."""
    assert treat.floor_time(7_199_999, treat.HOUR_MS) == 3_600_000
    assert treat.floor_time(-1, treat.DAY_MS) == -treat.DAY_MS
    assert treat.floor_time(3_600_001.9, treat.HOUR_MS) == 3_600_000
    assert treat.floor_time("x", 1) is None
    assert treat.floor_time(True, 1) is None


def test_cut_text() -> None:
    """Text is cut, other values are not text."""
    assert treat.cut_text("abc", 2) == "ab"
    assert treat.cut_text(12345, 2) == 12345


def test_hashing_of_odd_text() -> None:
    """A lone surrogate does not stop the event."""
    assert len(treat.hashed("a\ud800", None, lambda v, _: v) or "") == 64
    assert treat.hashed("x", None, lambda v, _: None) is None
    assert treat.pseudonymised(True, "user.id", str) is None
    assert treat.pseudonymised(7, "user.id", str) == "user.id\x007"
