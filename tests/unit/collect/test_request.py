from __future__ import annotations

import pytest

from ebbgate.collect.request import request_signals
from ebbgate.model import RawRequest, Trust


def request(*headers: tuple[str, str]) -> RawRequest:
    return RawRequest("POST", "/e/v1/events", "", headers, b"", "203.0.113.9", 0, (), "shop", Trust.BROWSER)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (("1",), True),
        (("0",), False),
        (("1", "0"), True),
        (("0", "1"), True),
        (("unspecified",), None),
        ((" 1 ", "null"), True),
        ((), None),
    ],
)
def test_one_do_not_track_line_that_refuses_counts(values: tuple[str, ...], expected: bool | None) -> None:
    """Of several DNT lines a refusal wins, in any order; what is neither 1 nor 0 says nothing."""
    assert request_signals(request(*(("dnt", value) for value in values))).dnt is expected


@pytest.mark.parametrize("values", [("1",), ("0", "1"), ("1", "0"), ("0, 1",), ("\t1",)])
def test_one_gpc_line_that_refuses_counts(values: tuple[str, ...]) -> None:
    """A Sec-GPC of 1 in any line, or as a member of a joined list, is a refusal."""
    assert request_signals(request(*(("sec-gpc", value) for value in values))).gpc
    assert not request_signals(request(("sec-gpc", "0"), ("sec-gpc", "true"), ("dnt", "0"))).gpc
