from __future__ import annotations

import pytest

from ebbgate.consent.bits import MAX_CHARS, BitReader, covers
from ebbgate.errors import SignalError
from tests.unit.consent.build import entries, number, text


def test_reads_fields_in_order() -> None:
    """Fields come out as they were written, at any offset and width."""
    reader = BitReader(text("101" + number(40_000, 16) + number(2**36 - 2, 36)))
    assert (reader.read(3), reader.read(16), reader.read(36)) == (5, 40_000, 2**36 - 2)
    reader.finish()


@pytest.mark.parametrize("bad", ["", "a=", "a+", "a/", "a b", "a.b", "é", "A\n"])
def test_only_base64url_characters(bad: str) -> None:
    """An empty part and any character outside base64url are refused."""
    with pytest.raises(SignalError):
        BitReader(bad)


def test_length_of_one_mod_four_is_read() -> None:
    """Five characters hold 30 bits, though a plain base64 function refuses that length."""
    reader = BitReader("AAAAB")
    assert reader.read(30) == 1
    with pytest.raises(SignalError):
        reader.read(1)


def test_padding_of_the_decoder_is_not_data() -> None:
    """Bits that only complete a group of four characters cannot be read as fields."""
    reader = BitReader("AA")
    with pytest.raises(SignalError) as refused:
        reader.read(13)
    assert refused.value.code == "truncated"


def test_zero_padding_is_accepted_and_data_is_not() -> None:
    """Any amount of trailing zeros is fine; a set bit after the last field refuses the part."""
    for padding in ("", "A", "AA", "AAAAAAAA"):
        reader = BitReader("B" + padding)
        reader.read(6)
        reader.finish()
    reader = BitReader("BAAAAB")
    reader.read(6)
    with pytest.raises(SignalError) as refused:
        reader.finish()
    assert refused.value.code == "trailing"


def test_ranges_are_kept_as_ranges() -> None:
    """Single ids and pairs are read at any bit offset and never expanded."""
    for offset in range(8):
        reader = BitReader(text("0" * offset + entries([(1, 1), (3, 9), (12, 65535)])))
        reader.read(offset) if offset else None
        assert reader.ranges() == ((1, 1), (3, 9), (12, 65535))


@pytest.mark.parametrize(
    "bits",
    [
        number(1, 12) + "1" + number(9, 16) + number(3, 16),
        number(1, 12) + "0" + number(0, 16),
        number(2, 12) + "0" + number(5, 16),
        number(1, 12) + "1" + number(5, 16) + "0000",
    ],
    ids=["ends before it starts", "starts at zero", "second entry missing", "end missing"],
)
def test_bad_ranges_are_refused(bits: str) -> None:
    """Contradictory and cut ranges refuse the part."""
    with pytest.raises(SignalError):
        BitReader(text(bits, multiple=6)).ranges()


def test_length_is_bounded() -> None:
    """Text over 32 KiB is not looked at."""
    with pytest.raises(SignalError) as refused:
        BitReader("A" * (MAX_CHARS + 1))
    assert refused.value.code == "too_long"


def test_ranges_in_disorder_are_put_in_order() -> None:
    """Overlapping ranges in any order hold exactly the ids that one of them holds."""
    reader = BitReader(text(entries([(50, 90), (1, 100), (5, 5), (200, 200), (150, 160)])))
    found = reader.ranges()
    assert found == ((1, 100), (150, 160), (200, 200))
    assert [n for n in (0, 1, 60, 100, 101, 149, 150, 160, 161, 200, 201) if covers(found, n)] == [1, 60, 100, 150, 160, 200]
    assert not covers((), 5)
