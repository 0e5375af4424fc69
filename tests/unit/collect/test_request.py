from __future__ import annotations

import pytest

from ebbgate.collect.request import request_fields, request_signals
from ebbgate.model import Place, RawRequest, Trust


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


def test_of_repeated_headers_the_first_counts() -> None:
    """Device and language are what the first line says, also when it says nothing."""
    twice = request(("user-agent", "A"), ("accept-language", "de-AT,en;q=0.5"), ("user-agent", "B"), ("accept-language", "fr"))
    assert request_fields(twice, Place()) == {"network.ip": "203.0.113.9", "device.user_agent": "A", "device.language": "de-AT"}
    empty = request(("user-agent", ""), ("accept-language", ""), ("user-agent", "B"), ("accept-language", "fr"))
    assert request_fields(empty, Place()) == {"network.ip": "203.0.113.9"}
