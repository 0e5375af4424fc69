"""The log entries of delivery. Pure: time and entropy are arguments (specs/reliability.md §2.2, §3)."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from ebbgate.audit import entry as log
from ebbgate.audit.entry import Entry
from ebbgate.deliver.classify import word
from ebbgate.model import CleanEvent, Outcome
from ebbgate.store.protocol import OpenAttempt, Queued, Result

Entropy = Callable[[int], bytes]

DIED: Final = "process_died"


def request_id(destination: str, started_ms: int, positions: Sequence[int]) -> str:
    """Names a request in its first and last entry: 16 hex digits of what the store keeps of an open attempt."""
    text = f"{destination}\0{started_ms}\0{','.join(map(str, positions))}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def started(
    destination: str,
    queued: Sequence[Queued],
    cleans: Sequence[CleanEvent],
    body: bytes,
    *,
    node: str,
    now_ms: int,
    entropy: Entropy,
) -> Entry:
    """Intent: which events and which fields are about to leave, and a commitment to the exact body."""
    return log.attempt_started(
        destination=destination,
        request=request_id(destination, now_ms, [q.position for q in queued]),
        keys=[q.key for q in queued],
        fields={path for clean in cleans for path in clean.fields},
        payload_sha256=hashlib.sha256(body).digest(),
        attempt=max(q.attempts for q in queued) + 1,
        node=node,
        at_ms=now_ms,
        entropy=entropy(64),
    )


def finished(
    destination: str,
    request: str,
    queued: Sequence[Queued],
    results: Sequence[Result],
    *,
    status: int,
    ms: int,
    node: str,
    now_ms: int,
) -> Entry:
    """How the request ended, by outcome and reason; every row without an outcome is counted as retried."""
    ended = Counter((r.outcome, word(r.reason)) for r in results if r.outcome is not None)
    return log.attempt_finished(
        destination=destination,
        request=request,
        results=ended,
        retried=len(queued) - sum(ended.values()),
        status=status,
        ms=ms,
        node=node,
        at_ms=now_ms,
        key=queued[0].key if len(queued) == 1 else b"",
    )


def settled(destination: str, results: Sequence[Result], *, node: str, now_ms: int, entropy: Entropy) -> list[Entry]:
    """One entry for each outcome and reason of rows that ended without a request."""
    groups: dict[tuple[Outcome, str], list[bytes]] = {}
    for result in results:
        if result.outcome is not None:
            groups.setdefault((result.outcome, word(result.reason)), []).append(result.queued.key)
    return [
        log.outcome(
            destination=destination, outcome=outcome, reason=reason, keys=keys, node=node, at_ms=now_ms, entropy=entropy(32)
        )
        for (outcome, reason), keys in groups.items()
    ]


def died(attempt: OpenAttempt, outcome: Outcome | None, *, node: str, now_ms: int) -> Entry:
    """The end of a request whose process died before it could write one."""
    n = len(attempt.positions)
    return log.attempt_finished(
        destination=attempt.destination,
        request=request_id(attempt.destination, attempt.started_ms, attempt.positions),
        results={} if outcome is None else {(outcome, DIED): n},
        retried=n if outcome is None else 0,
        node=node,
        at_ms=now_ms,
    )
