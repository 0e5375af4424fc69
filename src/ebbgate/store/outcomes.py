"""How the outcomes of one attempt are packed: one byte a row, and the few distinct (outcome, reason) pairs as text."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ebbgate.audit.words import is_word
from ebbgate.errors import StoreError
from ebbgate.model import Outcome
from ebbgate.store.protocol import Result

QUEUED: Final = 0  #: the code of a row that goes back to the queue
_MOST: Final = 255


def check(results: Iterable[Result]) -> None:
    """Raise StoreError for a result that is neither an outcome nor a retry, or whose reason is no closed word."""
    for result in results:
        if (result.outcome is None) == (result.retry_at_ms <= 0):
            raise StoreError("a result is either an outcome or a time to try again", code="result")
        if result.dead and result.outcome is None:
            raise StoreError("a dead letter has an outcome", code="result")
        if result.reason and not is_word(result.reason):
            raise StoreError("a reason is a closed word", code="result")


def pack(positions: Sequence[int], settled: Mapping[int, tuple[Outcome, str]]) -> tuple[bytes, str]:
    """(one code a position, lines "outcome reason" from code 1). Positions not in `settled` are queued again."""
    pairs = list(dict.fromkeys(settled.values()))
    if len(pairs) > _MOST:
        raise StoreError("too many different outcomes in one attempt", code="result")
    codes = {pair: number for number, pair in enumerate(pairs, 1)}
    found = bytes([codes[settled[p]] if p in settled else QUEUED for p in positions])
    return found, "\n".join([f"{outcome} {reason or '-'}" for outcome, reason in pairs])


def unpack(code: int, words: str) -> tuple[Outcome, str] | None:
    """The pair behind a code, None for a row that was queued again."""
    if code == QUEUED:
        return None
    outcome, _, reason = words.split("\n")[code - 1].partition(" ")
    return Outcome(outcome), "" if reason == "-" else reason


def pack_positions(positions: Sequence[int]) -> bytes:
    """8 bytes each."""
    return array("Q", positions).tobytes()


def unpack_positions(data: bytes) -> array[int]:
    """Inverse of `pack_positions`."""
    found = array("Q")
    found.frombytes(data)
    return found
