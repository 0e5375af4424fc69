"""One entry of the log: canonical bytes without personal data, and the openings of its commitments.

Values that could point to a person stand in the entry only as `*_c` = SHA-256(domain ‖ 32-byte fresh nonce ‖ value). Nonce
and value are the *opening*, kept apart and deletable: once it is gone the entry still verifies and links to nobody
(specs/reliability.md §3). Builders are pure: time, node and entropy are arguments. The decision entry, the only one on the
hot path, is in `decision.py`; all others are here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ebbgate.audit import words
from ebbgate.audit.canonical import EntryError, Json, decode, encode
from ebbgate.fields import FIELDS
from ebbgate.model import EMPTY, Outcome

NONCE: Final = 32  #: bytes of entropy for each commitment
_DOMAIN: Final = {name: f"ebbgate/audit/v1/{name}".encode() + b"\0" for name in ("consent", "event", "subject", "payload", "batch")}
#: Which commitment stands under which key.
COMMITMENTS: Final = {"consent_c": "consent", "evt_c": "event", "subj_c": "subject", "payload_c": "payload", "batch_c": "batch"}
_DIGITS: Final = 16  #: the longest `nseq`
_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder(dict[str, tuple[bytes, bytes]]).decode


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """Canonical bytes that many decision entries share, in six pieces.

    Between them stand, in this order, what differs: `consent_c`, `evt_c`, `nseq`, `subj_c` (nothing where there is no subject)
    and `t`. A store may keep a form once and of each entry the rest: `fill` makes the same bytes again.
    """

    pieces: tuple[str, str, str, str, str, str]

    def fill(self, nseq: int, t: int, own: bytes) -> bytes:
        """The entry's canonical bytes. `own`: the commitments' digests, 32 bytes each: consent, event, subject if any."""
        a, b, c, d, e, f = self.pieces
        return f"{a}{own[:32].hex()}{b}{own[32:64].hex()}{c}{nseq}{d}{own[64:].hex()}{e}{t}{f}".encode()


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One entry, complete but for its number, which only the store's writer knows."""

    type: str
    key: bytes  #: HMAC of the event it is about, b"" for others; stored beside the entry, never in it
    head: bytes  #: canonical bytes up to the number; b"" with a form
    tail: bytes  #: canonical bytes after it; with a form, what fills it: `own`
    opening: bytes = b""  #: what opens its commitments: `pack_opening`
    evidence: bytes = b""  #: the value behind `consent_c`, left out of `opening` because many entries have the same
    form: Form | None = None
    t: int = 0  #: with a form: seconds since 1970

    def encode(self, nseq: int) -> bytes:
        """The exact bytes that are stored and hashed; `nseq` counts this node's entries from 1 without gaps."""
        if self.form is not None:
            return self.form.fill(nseq, self.t, self.tail)
        return b"%b%d%b" % (self.head, nseq, self.tail)

    def __repr__(self) -> str:
        return f"Entry({self.type})"


def pack_opening(opening: Mapping[str, tuple[bytes, bytes]]) -> bytes:
    """Commitment → (nonce, value) as bytes; b"" for none."""
    return _pack(opening) if opening else b""


def unpack_opening(packed: bytes, evidence: bytes = b"") -> Mapping[str, tuple[bytes, bytes]]:
    """Inverse of `pack_opening`, with an entry's `evidence` in its place. Raises EntryError for other bytes."""
    try:
        found = _unpack(packed) if packed else {}
    except msgspec.MsgspecError:
        raise EntryError("an opening cannot be read") from None
    if evidence and "consent" in found:
        found["consent"] = (found["consent"][0], evidence)
    return found


def whole_opening(entry: Entry) -> bytes:
    """What opens an entry's commitments with nothing left out, for where an entry is kept by itself."""
    return pack_opening(unpack_opening(entry.opening, entry.evidence)) if entry.evidence else entry.opening


def commit(name: str, nonce: bytes, value: bytes) -> str:
    """SHA-256 hex of domain ‖ nonce ‖ value."""
    return hashlib.sha256(_DOMAIN[name] + nonce + value).hexdigest()


def opens(name: str, commitment: str, opening: tuple[bytes, bytes]) -> bool:
    """True when this nonce and value are what was committed to."""
    nonce, value = opening
    return len(nonce) == NONCE and name in _DOMAIN and commit(name, nonce, value) == commitment


def named(paths: Iterable[str]) -> tuple[list[str], int]:
    """Field paths in order, and how many names were a site's own: those can be personal, so they are only counted."""
    known = sorted({p for p in paths if p in FIELDS})
    return known, len({p for p in paths if p not in FIELDS})


def attempt_started(
    *,
    destination: str,
    request: str,
    keys: Sequence[bytes],
    fields: Iterable[str],
    payload_sha256: bytes,
    attempt: int,
    node: str,
    at_ms: int,
    entropy: bytes,
) -> Entry:
    """Intent to send one request: written before any byte leaves.

    `request` is 16 hex digits, fresh for each request; `keys` are the keys of its events; `payload_sha256` the digest of the
    body; `attempt` counts from 1; `entropy` 64 random bytes.
    """
    nonces = _nonces(entropy, 2)
    known, other = named(list(fields))
    batch = b"".join(keys)
    body: dict[str, Json] = {
        "dest": destination, "request": request, "n": len(keys), "fields": shortened(known), "other": other, "attempt": attempt,
        "payload_c": commit("payload", nonces[0], payload_sha256), "batch_c": commit("batch", nonces[1], batch),
    }  # fmt: skip
    opening = {"payload": (nonces[0], payload_sha256), "batch": (nonces[1], batch)}
    return build("attempt.started", body, node=node, at_ms=at_ms, key=keys[0] if len(keys) == 1 else b"", opening=opening)


def attempt_finished(
    *,
    destination: str,
    request: str,
    results: Mapping[tuple[Outcome, str], int],
    retried: int,
    node: str,
    at_ms: int,
    status: int = 0,
    ms: int = 0,
    key: bytes = b"",
) -> Entry:
    """How a request ended: (outcome, reason) → how many events; `retried` are queued again. `status` 0: no answer."""
    rows: list[Json] = [{"outcome": str(o), "reason": r or "none", "n": n} for (o, r), n in sorted(results.items())]
    body: dict[str, Json] = {
        "dest": destination, "request": request, "n": retried + sum(results.values()), "results": rows, "retried": retried,
        "status": status, "ms": ms,
    }  # fmt: skip
    return build("attempt.finished", body, node=node, at_ms=at_ms, key=key)


def outcome(
    *,
    destination: str,
    outcome: Outcome,
    reason: str,
    keys: Sequence[bytes],
    node: str,
    at_ms: int,
    entropy: bytes,
    retried: int = 0,
) -> Entry:
    """Events that ended without a request: expired, withdrawn, unmapped … `keys` of the events; `entropy` 32 random bytes."""
    (nonce,) = _nonces(entropy, 1)
    batch = b"".join(keys)
    body: dict[str, Json] = {
        "dest": destination, "outcome": str(outcome), "reason": reason or "none", "n": len(keys), "retried": retried,
        "batch_c": commit("batch", nonce, batch),
    }  # fmt: skip
    return build("outcome", body, node=node, at_ms=at_ms, key=keys[0] if len(keys) == 1 else b"", opening={"batch": (nonce, batch)})


def duplicate(*, event_id: str, key: bytes, node: str, at_ms: int, entropy: bytes) -> Entry:
    """An event that was here before: nothing leaves, the attempt to send it again stays on record. `entropy` 32 bytes."""
    (nonce,) = _nonces(entropy, 1)
    value = event_id.encode("utf-8", "surrogatepass")
    body: dict[str, Json] = {
        "dest": words.NO_DESTINATION, "outcome": "duplicate", "reason": "duplicate", "n": 1, "evt_c": commit("event", nonce, value),
    }  # fmt: skip
    return build("outcome", body, node=node, at_ms=at_ms, key=key, opening={"event": (nonce, value)})


def consent_changed(*, subject: bytes, purposes: Mapping[str, str], source: str, node: str, at_ms: int, entropy: bytes) -> Entry:
    """A visitor's choice or withdrawal: purpose → granted | denied. `source` is a word; `entropy` 32 bytes."""
    (nonce,) = _nonces(entropy, 1)
    rows: list[Json] = [{"name": p, "state": s} for p, s in sorted(purposes.items())]
    body: dict[str, Json] = {"purposes": rows, "source": source, "subj_c": commit("subject", nonce, subject)}
    return build("consent.changed", body, node=node, at_ms=at_ms, opening={"subject": (nonce, subject)})


def erasure_applied(*, subject: bytes, n: int, node: str, at_ms: int, entropy: bytes) -> Entry:
    """A person's payloads and openings were deleted: `n` deliveries stopped. The subject stays only in its own opening."""
    (nonce,) = _nonces(entropy, 1)
    body: dict[str, Json] = {"n": n, "subj_c": commit("subject", nonce, subject)}
    return build("erasure.applied", body, node=node, at_ms=at_ms, opening={"subject": (nonce, subject)})


def policy_activated(*, digest: str, files: Mapping[str, str], node: str, at_ms: int) -> Entry:
    """A revision of the policies came into force: digest of the set, file → SHA-256 hex."""
    rows: list[Json] = [{"file": f, "digest": d} for f, d in sorted(files.items())]
    return build("policy.activated", {"policy": digest, "files": rows}, node=node, at_ms=at_ms)


def key_rotated(*, name: str, fingerprint: str, node: str, at_ms: int) -> Entry:
    """A new key came into use; `name` is data, pepper or log."""
    return build("key.rotated", {"key": name, "fingerprint": fingerprint}, node=node, at_ms=at_ms)


def admin_action(*, action: str, actor: str, n: int, node: str, at_ms: int, destination: str = "", reason: str = "") -> Entry:
    """Somebody acted: `queue.retry`, `queue.drop` …; `actor` is a role or token id, never a person's name. `n` things touched."""
    body: dict[str, Json] = {"action": action, "actor": actor, "n": n}
    if destination:
        body["dest"] = destination
    if reason:
        body["reason"] = reason
    return build("admin.action", body, node=node, at_ms=at_ms)


def export_made(*, what: str, n: int, digest: str, node: str, at_ms: int) -> Entry:
    """Data left for an auditor or a person: what, how many records, SHA-256 hex of the file."""
    return build("export.made", {"what": what, "n": n, "digest": digest}, node=node, at_ms=at_ms)


def clock_anomaly(*, delta_s: int, node: str, at_ms: int) -> Entry:
    """Wall and monotonic clock disagree by `delta_s` seconds: expiry is frozen (specs/reliability.md §2.6)."""
    return build("clock.anomaly", {"delta_s": delta_s}, node=node, at_ms=at_ms)


def heartbeat(*, n: int, node: str, at_ms: int) -> Entry:
    """Hourly, so that silence is provable; `n` entries since the last one."""
    return build("heartbeat", {"n": n}, node=node, at_ms=at_ms)


def held_released(*, subject: bytes, destinations: Iterable[str], n: int, node: str, at_ms: int, entropy: bytes) -> Entry:
    """A visitor decided: `n` parked deliveries are queued."""
    (nonce,) = _nonces(entropy, 1)
    body: dict[str, Json] = {"dests": [*sorted(destinations)], "n": n, "subj_c": commit("subject", nonce, subject)}
    return build("held.released", body, node=node, at_ms=at_ms, opening={"subject": (nonce, subject)})


def held_shredded(
    *, subject: bytes, destinations: Iterable[str], outcome: Outcome, n: int, node: str, at_ms: int, entropy: bytes
) -> Entry:
    """Parked deliveries were deleted after a refusal or in time; `subject` b"" when many visitors' ran out."""
    (nonce,) = _nonces(entropy, 1)
    body: dict[str, Json] = {"outcome": str(outcome), "n": n, "dests": [*sorted(destinations)]}
    if not subject:
        return build("held.shredded", body, node=node, at_ms=at_ms)
    body["subj_c"] = commit("subject", nonce, subject)
    return build("held.shredded", body, node=node, at_ms=at_ms, opening={"subject": (nonce, subject)})


def build(
    kind: str,
    body: Mapping[str, Json],
    *,
    node: str,
    at_ms: int,
    key: bytes = b"",
    opening: Mapping[str, tuple[bytes, bytes]] = EMPTY,
) -> Entry:
    """Make an entry of closed keys. Raises EntryError for a key, word or length that the format does not have."""
    whole: dict[str, Json] = {**body, "v": words.VERSION, "type": kind, "t": at_ms // 1000, "node": node, "nseq": 1}
    _check_shape(whole)
    try:
        parts = {k: f'"{k}":{encode(v)}' for k, v in sorted(whole.items())}
    except EntryError as error:
        raise EntryError(f"{kind}: {error.message}") from None
    head = "{" + ",".join([t for k, t in parts.items() if k < "nseq"]) + ',"nseq":'
    tail = "," + ",".join([t for k, t in parts.items() if k > "nseq"]) + "}"
    return sized(Entry(kind, key, head.encode(), tail.encode(), pack_opening(opening)))


def sized(entry: Entry) -> Entry:
    """The entry, unless it is too long for the log."""
    if len(entry.head) + _DIGITS + len(entry.tail) > words.MAX_ENTRY:
        raise EntryError(f"{entry.type}: longer than {words.MAX_ENTRY} bytes")
    return entry


def shortened(fields: Sequence[str], limit: int = 120) -> Json:
    """Field names, or their count and SHA-256 of the newline-joined names when there are more than `limit`."""
    if len(fields) <= limit:
        return list(fields)
    return {"count": len(fields), "sha256": hashlib.sha256("\n".join(fields).encode()).hexdigest()}


def parse(data: bytes) -> dict[str, Any]:
    """The content of stored bytes. Raises EntryError unless they are canonical and of the closed format."""
    if len(data) > words.MAX_ENTRY:
        raise EntryError(f"longer than {words.MAX_ENTRY} bytes")
    value = decode(data)
    if not isinstance(value, dict):
        raise EntryError("not an object")
    _check_shape(value)
    return value


def _nonces(entropy: bytes, count: int) -> list[bytes]:
    if len(entropy) != count * NONCE:
        raise EntryError(f"{count * NONCE} bytes of entropy are needed")
    return [entropy[i * NONCE : (i + 1) * NONCE] for i in range(count)]


_STATES: Final = frozenset({"granted", "denied", "unknown"})
_LABELS: Final = frozenset({"dest", "node", "site", "name", "file", "rule", "detail", "source"})
_WORDS: Final = frozenset({"reason", "event", "trust", "regime", "action", "actor", "what", "key"})
_HEXES: Final = frozenset({"request", "digest", "fingerprint", "sha256", *COMMITMENTS})
_NUMBERS: Final = frozenset({"v", "t", "nseq", "n", "other", "other_removed", "attempt", "retried", "status", "ms", "count"})
_OUTCOMES: Final = frozenset(str(o) for o in Outcome)
_VERDICTS: Final = frozenset({"send", "limited", "withhold", "hold"})
_FIELD_LISTS: Final = frozenset({"fields", "hashed", "removed"})


def _check_shape(whole: Mapping[str, Any]) -> None:
    kind = whole.get("type")
    shape = words.TYPES.get(kind) if isinstance(kind, str) else None
    if shape is None:
        raise EntryError("unknown entry type")
    _check_keys(kind or "", whole, words.Shape(shape.required | words.COMMON, shape.optional))
    for key, value in whole.items():
        _check_value(key, value)
    if whole["v"] != words.VERSION:
        raise EntryError("unknown version")


def _check_keys(where: str, value: Mapping[str, Any], shape: words.Shape) -> None:
    missing = shape.required - value.keys()
    surplus = value.keys() - shape.required - shape.optional
    if missing:
        raise EntryError(f"{where}: missing {', '.join(sorted(missing))}")
    if surplus:
        raise EntryError(f"{where}: {len(surplus)} keys that the format does not have")


def _check_value(key: str, value: Any) -> None:
    good: bool
    if key in words.INNER and isinstance(value, list | tuple) and all(isinstance(v, Mapping) for v in value):
        for row in value:
            _check_keys(key, row, words.INNER[key])
            for inner, content in row.items():
                _check_value(inner, content)
        return
    if key in _FIELD_LISTS and isinstance(value, Mapping):
        _check_keys(key, value, words.Shape(words.DIGESTED))
        good = all(_value_fits(k, v) for k, v in value.items())
    elif key in _FIELD_LISTS:
        good = isinstance(value, list | tuple) and all(isinstance(v, str) and v in FIELDS for v in value)
    elif key == "dests":
        good = isinstance(value, list | tuple) and all(isinstance(v, str) and words.is_label(v) for v in value)
    else:
        good = _value_fits(key, value)
    if not good:
        raise EntryError(f"{key}: not of the log's format")


def _value_fits(key: str, value: Any) -> bool:
    if key in _NUMBERS:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if key == "delta_s":
        return isinstance(value, int) and not isinstance(value, bool)
    if not isinstance(value, str):
        return False
    closed = {"type": words.TYPES.keys(), "outcome": _OUTCOMES, "state": _STATES, "decision": _VERDICTS}.get(key)
    if closed is not None:
        return value in closed
    if key == "policy":
        return value in ("", "none") or words.is_hex(value)
    if key == "place":
        return value == "unknown" or words.place_word(None, value) == value
    if key in _LABELS:
        return words.is_label(value)
    if key in _WORDS:
        return words.is_word(value)
    return key in _HEXES and words.is_hex(value)
