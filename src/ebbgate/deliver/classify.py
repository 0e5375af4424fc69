"""What an answer, or the lack of one, means. Pure (specs/reliability.md §2.3).

How a platform's own statuses and bodies read is the destination's `classify` (`destinations/wire.py` holds the defaults); here are
the rules that no destination may break, and the reading of requests without an answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Final

from ebbgate.deliver.retry import retry_after_s
from ebbgate.destinations.kit import Act, Answer, Classify, HttpResponse


class Failure(StrEnum):
    """How far a request came that brought no answer."""

    NOT_SENT = "not_sent"  #: no byte left: name, connection or TLS failed
    NOT_RECEIVED = "not_received"  #: the platform cannot have the whole request
    UNKNOWN = "unknown"  #: the whole request left: it may have been processed
    REFUSED = "refused"  #: the address is not allowed: our configuration
    INVALID = "invalid"  #: the request cannot be written as HTTP: one of its rows is to blame
    STALE = "stale"  #: the gate's word was too old when the socket was ready: nothing left


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer came. `reason` is a closed word such as `connect_failed`, `deadline`, `address_refused`."""

    failure: Failure
    reason: str


_NOT_A_WORD: Final = re.compile(r"[^a-z0-9_.:-]+")


@lru_cache(1024)
def word(reason: str) -> str:
    """A reason as the log writes it: one short lower-case word. Destinations' reasons may hold blanks between field names."""
    return _NOT_A_WORD.sub("_", reason.lower()).strip("_.:-")[:80] or "none"


def by_failure(failed: Failed) -> Answer:
    """The reading of a request without an answer. The caller keeps the queue for PARK and for NOT_SENT."""
    if failed.failure is Failure.NOT_RECEIVED or failed.failure is Failure.NOT_SENT or failed.failure is Failure.STALE:
        return Answer(Act.RETRY, reason=failed.reason)
    if failed.failure is Failure.REFUSED:
        return Answer(Act.PARK, reason=failed.reason)
    if failed.failure is Failure.INVALID:
        return Answer(Act.BISECT, reason=failed.reason)
    return Answer(Act.UNKNOWN, reason=failed.reason)


def understand(response: HttpResponse, n: int, classify: Classify, *, now_s: float) -> Answer:
    """The destination's reading of an answer, held to the rules that no destination may break.

    A redirect parks the destination whatever the body says: following it would hand personal data to another host. A reading
    that raises, or that names rows which were not sent, leaves the outcome unknown. `Retry-After` is read for every push-back.
    """
    if 300 <= response.status < 400:
        return Answer(Act.PARK, reason=f"http_{response.status}")
    try:
        answer = classify(response, n)
    except Exception:  # noqa: BLE001  a platform's unexpected body must not stop the worker; nothing counts as delivered
        return Answer(Act.UNKNOWN, reason="answer_unreadable")
    if any(not 0 <= index < n for index in answer.rows):
        return Answer(Act.UNKNOWN, reason="answer_unreadable")
    if answer.act in (Act.RETRY, Act.UNKNOWN, Act.PARK) and answer.retry_after_s is None:
        asked = retry_after_s(response.headers.get("retry-after"), now_s=now_s)
        answer = replace(answer, retry_after_s=asked)
    return replace(answer, reason=word(answer.reason))
