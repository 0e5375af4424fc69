"""The Cookie header: what of it travels on, and what becomes of one beyond the bounds."""

from __future__ import annotations

import pytest

from ebbgate.collect.request import TOO_MANY, request_signals
from ebbgate.consent.resolve import resolve
from ebbgate.edge.head import MAX_COOKIE_HEADER, MAX_COOKIES, Head, read_cookies
from ebbgate.model import RawRequest, Trust
from tests.unit.consent.build import NOW_MS
from tests.unit.consent.rules import CALIFORNIA, US, D, G

REFUSAL = b"usprivacy=1YYN"


def states(cookies: bytes) -> tuple[object, object]:
    """(analytics, advertising) of a visitor in California whose browser sends these cookies."""
    request = RawRequest("POST", "/", "", (), b"", "203.0.113.9", 0, read_cookies(cookies), "shop", Trust.BROWSER)
    consent = resolve(request_signals(request), CALIFORNIA, US, NOW_MS)
    return consent.state("analytics"), consent.state("advertising")


@pytest.mark.parametrize("many", [b"a=" + b"x" * MAX_COOKIE_HEADER, b"; ".join(b"a%d=1" % n for n in range(MAX_COOKIES))])
@pytest.mark.parametrize("order", [1, -1])
def test_a_refusal_is_not_lost_among_too_many_cookies(many: bytes, order: int) -> None:
    """A header that is too long to be read refuses what a cookie in it could have refused; it is not silence."""
    cookies = b"; ".join([REFUSAL, many][::order])
    assert read_cookies(cookies) == TOO_MANY
    assert states(cookies) == (D, D)


def test_cookies_within_the_bounds_say_what_they_say() -> None:
    """A refusal among many is heard, and no cookie at all is silence."""
    assert states(b"; ".join([b"a%d=1" % n for n in range(MAX_COOKIES - 1)] + [REFUSAL])) == (G, D)
    assert states(b"a=1; _ga=GA1.1.1.2") == (G, G)
    assert states(b"") == (G, G)


def test_of_a_head_that_says_things_twice_each_line_counts_as_it_may() -> None:
    """The last of what is single, all of what adds up, in order, and nothing of what is not on a list."""
    given = [
        (b"host", b"x"), (b"origin", b"https://a.example"), (b"user-agent", b"\xe9"), (b"cf-ipcountry", b"DE"), (b"x-other", b"1"),
        (b"content-type", b"a/b"), (b"content-type", b" Text/Plain ; charset=x"), (b"cookie", b"a=1"), (b"cookie", b"b=2"),
        (b"authorization", b"Bearer a"), (b"authorization", b"Bearer b"), (b"x-forwarded-for", b"1, 2"), (b"x-forwarded-for", b"3"),
        (b"content-length", b"7"), (b"content-length", b"8"), (b"content-encoding", b" GZIP"), (b"origin", b"https://b.example"),
        (b"cf-ipcountry", b"FR"), (b"dnt", b"1"), (b"sec-gpc", b"1"), (b"accept-language", b"de"), (b"referer", b"r"),
    ]  # fmt: skip
    head = Head({"headers": given})
    assert (head.origin, head.authorization, head.cookie) == ("https://b.example", "Bearer b", b"a=1; b=2")
    assert (head.content_type, head.content_encoding, head.content_length) == ("text/plain", "gzip", 8)
    assert head.forwarded_for == ["1, 2", "3"]
    assert head.place_headers == (("cf-ipcountry", "DE"), ("cf-ipcountry", "FR"))
    assert head.headers == (
        ("user-agent", "é"), ("cf-ipcountry", "DE"), ("content-type", "a/b"), ("content-type", " Text/Plain ; charset=x"),
        ("cf-ipcountry", "FR"), ("dnt", "1"), ("sec-gpc", "1"), ("accept-language", "de"), ("referer", "r"),
    )  # fmt: skip
    assert [Head({"headers": [(b"content-length", raw)]}).content_length for raw in (b"-1", b"+1", b"1" * 16, b"")] == [-1] * 4
    empty = Head({"headers": []})
    assert (empty.origin, empty.authorization, empty.cookie, empty.content_length) == (None, None, b"", None)
    assert (empty.content_type, empty.content_encoding, empty.forwarded_for, empty.headers) == ("", "", [], ())
