from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebbgate.collect.strict_json import MAX_DEPTH, MAX_INTEGER, loads
from ebbgate.errors import RequestError
from tests.scale import scaled


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"consent":"denied","consent":"granted"}', "json_duplicate_key"),
        (b'{"consent" :"denied","consent":"granted"}', "json_duplicate_key"),
        (b'{"a":{"consent":1,\n"consent"\t:2}}', "json_duplicate_key"),
        (b'{"x":"\\":","a":1,"a":2}', "json_duplicate_key"),
        (b'{"a\\\\":1,"a\\\\":2}', "json_duplicate_key"),
        (b'{"a":1,"\\u0061":2}', "json_duplicate_key"),
        (b'{"a":NaN}', "json_malformed"),
        (b'{"a":Infinity}', "json_malformed"),
        (b'{"a":1e999}', "json_malformed"),
        (b'{"a":01}', "json_malformed"),
        (b'{"a":"\\ud800"}', "json_malformed"),
        (b'{"a":1}x', "json_malformed"),
        (b"", "json_malformed"),
        (b'\xef\xbb\xbf{"a":1}', "json_malformed"),
        (b'{"a":"\xff"}', "json_not_utf8"),
        (b'{"a":"\\u0000"}', "json_nul"),
        (b'{"a\\u0000":1}', "json_nul"),
        (b'{"a":9007199254740992}', "json_big_number"),
        (b'{"a":[[-9007199254740992]]}', "json_big_number"),
        (b'{"a":123456789012345678901234567890}', "json_big_number"),
        (b'{"a":"' + b"x" * 8193 + b'"}', "json_long_string"),
        (b'{"' + b"x" * 8193 + b'":1}', "json_long_string"),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "json_too_deep"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "json_too_deep"),
        (b"[" * 200_000, "json_too_deep"),
        (json.dumps({str(i): i for i in range(257)}).encode(), "json_too_many_keys"),
    ],
    ids=lambda v: v if isinstance(v, str) else v[:24].decode("latin-1"),
)
def test_refuses_what_decoders_read_differently(body: bytes, code: str) -> None:
    """Whatever two decoders could read in two ways, or grows without bound, is refused with its own code and a hint."""
    with pytest.raises(RequestError) as caught:
        loads(body)
    assert (caught.value.code, caught.value.status) == (code, 400)
    assert caught.value.hint


@pytest.mark.parametrize(
    "value",
    [
        {"a": "x" * 8192},
        {"a": MAX_INTEGER, "b": -MAX_INTEGER},
        {"a": 'say "hi": {"b":1}'},
        {"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 2}]},
        {'"': 1, "\\": 2, " ": 3, ":": 4},
        {str(i): i for i in range(256)},
        [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]],
    ],
)
def test_takes_everything_within_the_bounds(value: object) -> None:
    """What stays within the bounds decodes to itself, compact or pretty."""
    assert loads(json.dumps(value).encode()) == value
    assert loads(json.dumps(value, indent=1, separators=(" , ", " : ")).encode()) == value
    assert loads(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()) == value


_keys = st.text(alphabet='ab":\\ \t\n\u00e9', max_size=3)
_scalars = st.none() | st.booleans() | st.integers(-9, 9) | st.text(alphabet='ab":\\ ,{}\n', max_size=6)
_pairs: Any = st.recursive(
    _scalars.map(lambda v: ("scalar", v)),
    lambda inner: (
        st.lists(st.tuples(_keys, inner), max_size=4).map(lambda v: ("object", v))
        | st.lists(inner, max_size=3).map(lambda v: ("array", v))
    ),
    max_leaves=12,
)


def _write(node: tuple[str, Any], blank: str) -> tuple[str, bool]:
    """(JSON text, does an object in it have a key twice)."""
    kind, value = node
    if kind == "scalar":
        return json.dumps(value), False
    written = [_write(item if kind == "array" else item[1], blank) for item in value]
    twins = any(t for _, t in written)
    if kind == "array":
        return "[" + ",".join(t for t, _ in written) + "]", twins
    names = [name for name, _ in value]
    inner = f"{blank},".join(f"{json.dumps(n)}{blank}:{blank}{t}" for n, (t, _) in zip(names, written, strict=True))
    return "{" + blank + inner + "}", twins or len(set(names)) != len(names)


@settings(max_examples=scaled(1500), deadline=None)
@given(_pairs, st.sampled_from(["", " ", "\n", "\t ", "\r\n"]))
def test_counting_finds_every_duplicate_and_no_other(node: tuple[str, Any], blank: str) -> None:
    """The counting proof refuses exactly the texts in which some object has a key twice."""
    text, twins = _write(node, blank)
    body = text.encode()
    if twins:
        with pytest.raises(RequestError) as caught:
            loads(body)
        assert caught.value.code == "json_duplicate_key"
    else:
        assert loads(body) == json.loads(text)


@settings(max_examples=scaled(500), deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_refusal(body: bytes) -> None:
    """No input raises anything but the refusal."""
    try:
        loads(body)
    except RequestError as error:
        assert error.status == 400  # noqa: PT017  both ways are allowed, only the kind of refusal is checked
