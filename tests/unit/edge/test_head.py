"""The Cookie header: what of it travels on, and what becomes of one beyond the bounds."""

from __future__ import annotations

import pytest

from ebbgate.collect.request import TOO_MANY, request_signals
from ebbgate.consent.resolve import resolve
from ebbgate.edge.head import MAX_COOKIE_HEADER, MAX_COOKIES, read_cookies
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
