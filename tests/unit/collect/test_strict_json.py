from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebbgate.collect import strict_json
from ebbgate.collect.strict_json import MAX_DEPTH, MAX_INTEGER, MAX_STRING_BYTES, QUIET_BLOCK, USUAL_DEPTH, loads
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
        (b'{"a" :1,"a" :2,"b":":x"}', "json_duplicate_key"),
        (b'{"a":1,"a":2,"b":"\\u003a"}', "json_duplicate_key"),
        (b'{"a":1,"a":2,"b":"\\u003A"}', "json_duplicate_key"),
        (b'{"a":1,"a":1}', "json_duplicate_key"),
        (b'{"a":' * USUAL_DEPTH + b'{"b":1,"b":2}' + b"}" * USUAL_DEPTH, "json_duplicate_key"),
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
        (b'{"a":"' + b'xxxxxxx\\"' * 1025 + b'"}', "json_long_string"),
        (b'{"a":"' + "\u00e9".encode() * 4097 + b'"}', "json_long_string"),
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


def _write(node: tuple[str, Any], random: Random, blanks: str, escapes: float) -> tuple[str, bool]:
    """(JSON text, does an object in it have a key twice). Any of `blanks` may stand wherever JSON allows it."""

    def gap() -> str:
        return "".join(random.choices(blanks, k=random.randrange(3))) if blanks else ""

    def text(value: str) -> str:
        """A string, in which any character may be written as an escape."""
        return '"' + "".join(f"\\u{ord(c):04x}" if random.random() < escapes else json.dumps(c)[1:-1] for c in value) + '"'

    kind, value = node
    if kind == "scalar":
        return text(value) if isinstance(value, str) else json.dumps(value), False
    written = [_write(item if kind == "array" else item[1], random, blanks, escapes) for item in value]
    twins = any(t for _, t in written)
    if kind == "array":
        return f"[{gap()}" + ",".join(f"{gap()}{t}{gap()}" for t, _ in written) + "]", twins
    names = [name for name, _ in value]
    inner = ",".join(f"{gap()}{text(n)}{gap()}:{gap()}{t}{gap()}" for n, (t, _) in zip(names, written, strict=True))
    return f"{{{gap()}{inner}}}", twins or len(set(names)) != len(names)


@settings(max_examples=scaled(1500), deadline=None)
@given(
    _pairs, st.randoms(use_true_random=False), st.sampled_from(["", " ", "\n", " \t\r\n"]), st.sampled_from([0.0, 0.0, 0.1, 0.9])
)
def test_finds_every_duplicate_and_no_other(node: tuple[str, Any], random: Random, blanks: str, escapes: float) -> None:
    """Refused are exactly the texts in which some object has a key twice, whatever blanks and escapes they are written with."""
    text, twins = _write(node, random, blanks, escapes)
    body = text.encode()
    if twins:
        with pytest.raises(RequestError) as caught:
            loads(body)
        assert caught.value.code == "json_duplicate_key"
    else:
        assert repr(loads(body)) == repr(json.loads(text))


def test_ordinary_writing_is_proven_without_a_second_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compact, spaced or indented, with quotes or other alphabets in it: no such text costs its sender the slow path."""

    def slow(_: bytes) -> None:
        pytest.fail("decoded twice")

    monkeypatch.setattr(strict_json, "_find_duplicate", slow)
    value = {
        "events": [{"a": 'say "hi": \u00e9\n', "url": "https://a.b/?c=:", "t": "22:31:21", "n": 59, "f": 9.9, "o": {"": None}}] * 3
    }
    for separators in ((",", ":"), (", ", ": "), (" ,\n", " :\t")):
        for ascii_only in (True, False):
            assert loads(json.dumps(value, separators=separators, ensure_ascii=ascii_only).encode()) == value
    assert loads(json.dumps(value, indent=2).encode()) == value


@settings(max_examples=scaled(300), deadline=None)
@given(st.data())
def test_reads_numbers_and_depths_as_the_slow_decoder(data: st.DataObject) -> None:
    """Value and type are those of the standard library, above and below the depth at which the quick decoder gives up."""
    number = st.integers(-MAX_INTEGER, MAX_INTEGER) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none()
    value: Any = data.draw(number | st.sampled_from([MAX_INTEGER, -MAX_INTEGER, 1e300, -0.0, 5e-324, 2.0**60]))
    for level in range(data.draw(st.integers(0, MAX_DEPTH))):
        value = {"a": value} if data.draw(st.booleans()) else [value, level]
    assert repr(loads(json.dumps(value).encode())) == repr(value)


@pytest.mark.parametrize("before", [0, 1, QUIET_BLOCK - 9, QUIET_BLOCK - 8, QUIET_BLOCK - 7, QUIET_BLOCK // 2])
@pytest.mark.parametrize("shape", ['["","{}"]', '{{"":"","{}":1}}'])
def test_no_place_in_the_body_hides_a_long_string(before: int, shape: str) -> None:
    """A string one byte over the limit is refused wherever it begins; one at the limit is taken."""
    head, tail = shape.format("#").split("#")
    head = head.replace('""', f'"{"x" * before}"', 1)
    assert loads((head + "y" * MAX_STRING_BYTES + tail).encode())
    with pytest.raises(RequestError) as caught:
        loads((head + "y" * (MAX_STRING_BYTES + 1) + tail).encode())
    assert caught.value.code == "json_long_string"


@settings(max_examples=scaled(500), deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_refusal(body: bytes) -> None:
    """No input raises anything but the refusal."""
    try:
        loads(body)
    except RequestError as error:
        assert error.status == 400  # noqa: PT017  both ways are allowed, only the kind of refusal is checked
