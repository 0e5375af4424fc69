"""The decision entry: for one event, what every destination gets and why. The one entry on the hot path.

All of it but number, time and commitments repeats from event to event, so that part is kept as a form (bounded): what is made
for each event are three digests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from ebbgate.audit import words
from ebbgate.audit.canonical import EntryError, Json, encode, quoted
from ebbgate.audit.entry import Entry, Form, build, named, pack_opening, shortened
from ebbgate.model import Consent, Decision, Event, Place

_KEPT: Final = 4096  #: forms kept, and texts for each of their two larger parts
_FILLED: Final = 3 * 64 + 2 * 16  #: the most that is filled into a form: digests in hex and numbers
#: SHA-256 after its domain (`entry.commit`): a copy costs half of what a new one does.
_CONSENT, _EVENT, _SUBJECT = (hashlib.sha256(f"ebbgate/audit/v1/{n}".encode() + b"\0") for n in ("consent", "event", "subject"))
_T = TypeVar("_T")


class _Kept(Generic[_T]):
    """Values by identity of an immutable object, the oldest forgotten first. Holding the object keeps its id from being reused."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[object, _T]] = {}

    def get(self, about: object) -> _T | None:
        found = self._found.get(id(about))
        return found[1] if found is not None and found[0] is about else None

    def put(self, about: object, value: _T) -> _T:
        while len(self._found) >= _KEPT:
            self._found.pop(next(iter(self._found)), None)
        self._found[id(about)] = (about, value)
        return value


_consents: _Kept[tuple[str, str, bytes]] = _Kept()
_tuples: _Kept[tuple[str, str]] = _Kept()
_dests: dict[tuple[Decision, ...], tuple[str, str]] = {}


def decision(
    event: Event,
    decisions: Sequence[Decision],
    consent: Consent,
    place: Place,
    *,
    node: str,
    key: bytes,
    subject: bytes,
    entropy: bytes,
) -> Entry:
    """The entry of one decided event.

    `decisions`: one for each configured destination. `key` and `subject` are the store's HMACs (b"" = no subject); `entropy`
    96 random bytes. In clear: closed words, known field names, digests. Behind commitments: the consent evidence with the
    digests of its signals, the event's id and name, the subject. Raises EntryError when a word does not fit the format.
    """
    if len(entropy) != 96:
        raise EntryError("96 bytes of entropy are needed")
    known = _form(event, decisions, consent, place, node, bool(subject))
    evidence = known.evidence
    nonce_c, nonce_e, nonce_s = entropy[:32], entropy[32:64], entropy[64:]
    about = f'{known.before_id}{quoted(event.id)}{known.after_id}{event.time_ms}"}}'.encode()
    opening = {"consent": (nonce_c, b""), "event": (nonce_e, about)}
    own = _commit(_CONSENT, nonce_c, evidence) + _commit(_EVENT, nonce_e, about)
    if subject:
        opening["subject"] = (nonce_s, subject)
        own += _commit(_SUBJECT, nonce_s, subject)
    return Entry("decision", key, b"", own, pack_opening(opening), evidence, known.form, event.received_ms // 1000)


def _commit(domain: hashlib._Hash, nonce: bytes, value: bytes) -> bytes:
    digest = domain.copy()
    digest.update(nonce + value)
    return digest.digest()


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """A form and what it was made for, whose identity is part of its key."""

    decisions: Sequence[Decision]
    consent: Consent
    form: Form
    evidence: bytes  #: what `consent_c` commits to
    before_id: str  #: of what `evt_c` commits to: all but the event's id and time
    after_id: str


_forms: dict[tuple[object, ...], _Known] = {}


def _form(event: Event, decisions: Sequence[Decision], consent: Consent, place: Place, node: str, linked: bool) -> _Known:
    """Events of one kind, place, consent and decisions have one form. The oldest is forgotten first."""
    key = (
        id(decisions),
        id(consent),
        event.name,
        event.dialect,
        place.country,
        place.region,
        event.site,
        event.trust,
        node,
        linked,
    )
    known = _forms.get(key)
    if known is None or known.decisions is not decisions or known.consent is not consent:
        while len(_forms) >= _KEPT:
            _forms.pop(next(iter(_forms)), None)
        known = _forms[key] = _new_form(event, decisions, consent, place, node, linked)
    return known


def _new_form(event: Event, decisions: Sequence[Decision], consent: Consent, place: Place, node: str, linked: bool) -> _Known:
    dests, policy = _tuples.get(decisions) or _destinations(decisions)
    purposes, regime, evidence = _consents.get(consent) or _evidence(consent)
    name = event.name if event.name in words.EVENT_NAMES else words.CUSTOM
    pieces = (
        '{"consent_c":"',
        f'","dests":{dests},"event":"{name}","evt_c":"',
        f'","node":{_label(node)},"nseq":',
        f',"place":"{words.place_word(place.country, place.region)}","policy":"{policy}","purposes":{purposes},'
        f'"regime":"{regime}","site":{_label(event.site)},' + ('"subj_c":"' if linked else ""),
        ('",' if linked else "") + '"t":',
        f',"trust":"{event.trust.value}","type":"decision","v":{words.VERSION}}}',
    )
    if sum(len(piece.encode()) for piece in pieces) + _FILLED > words.MAX_ENTRY:
        raise EntryError(f"decision: longer than {words.MAX_ENTRY} bytes")
    before_id, after_id = f'{{"dialect":{quoted(event.dialect)},"id":', f',"name":{quoted(event.name)},"time_ms":"'
    return _Known(decisions, consent, Form(pieces), evidence, before_id, after_id)


_labels: dict[str, str] = {}


def _label(text: str) -> str:
    """Canonical string of an operator's name: few of them, checked once."""
    found = _labels.get(text)
    if found is None:
        if not words.is_label(text):
            raise EntryError("a name is not of the log's format")
        if len(_labels) > _KEPT:
            _labels.clear()
        found = _labels[text] = quoted(text)
    return found


def _destinations(decisions: Sequence[Decision]) -> tuple[str, str]:
    """Canonical text of `dests` and the digest of the one policy that governed."""
    exact = tuple(decisions)
    found = _dests.get(exact)
    if found is None:
        found = _encode_destinations(exact)
        while len(_dests) >= _KEPT:
            _dests.pop(next(iter(_dests)), None)
        _dests[exact] = found
    return _tuples.put(decisions, found) if isinstance(decisions, tuple) else found


def _encode_destinations(decisions: tuple[Decision, ...]) -> tuple[str, str]:
    digests = {d.policy for d in decisions if d.policy}
    if len(digests) > 1:
        raise EntryError("decision: two policies for one event")
    policy = digests.pop() if digests else "none"
    per_list = max(8, 600 // max(1, len(decisions)))  # keeps an entry with many destinations below 16 KiB
    rows: list[Json] = [_row(d, per_list) for d in decisions]
    build(  # the closed format is checked once for each distinct text
        "decision",
        {"site": "s", "event": words.CUSTOM, "trust": "server", "place": "unknown", "regime": "opt_in", "policy": policy,
         "purposes": [], "dests": rows, "consent_c": "0" * 64, "evt_c": "0" * 64},
        node="n", at_ms=0,
    )  # fmt: skip
    return encode(rows), policy


def _row(decision: Decision, limit: int) -> Json:
    row: dict[str, Json] = {"dest": decision.destination, "decision": str(decision.verdict), "reason": str(decision.reason)}
    if decision.detail:
        row["detail"] = decision.detail
    if decision.rule:
        row["rule"] = decision.rule
    if decision.sends:
        for name, paths, count in (("fields", decision.fields, "other"), ("removed", decision.removed, "other_removed")):
            known, other = named(paths)
            row[name] = shortened(known, limit)
            if other:
                row[count] = other
        hashed, _ = named(decision.hashed)
        row["hashed"] = shortened(hashed, limit)
    return row


def _evidence(consent: Consent) -> tuple[str, str, bytes]:
    """Canonical text of `purposes`, the regime, and the bytes behind `consent_c`."""
    rows: list[Json] = []
    for name, purpose in sorted(consent.purposes.items()):
        if not words.is_label(name) or not words.is_word(purpose.source or "none"):
            raise EntryError("purposes: not of the log's format")
        rows.append({"name": name, "state": str(purpose.state), "source": purpose.source or "none"})
    chose = {True: "yes", False: "no", None: "unknown"}
    readings: list[Json] = [
        {"signal": r.signal, "valid": r.valid, "says": r.says, "digest": r.digest, "choice_made": chose[r.choice_made]}
        for r in consent.readings
    ]
    rules: list[Json] = [{"name": n, "rule": p.rule} for n, p in sorted(consent.purposes.items())]
    vendors: list[Json] = [{"dest": d, "state": str(s)} for d, s in sorted(consent.vendors.items())]
    value: Json = {"readings": readings, "rules": rules, "vendors": vendors, "choice_made": chose[consent.choice_made]}
    return _consents.put(consent, (encode(rows), str(consent.model), encode(value).encode()))
