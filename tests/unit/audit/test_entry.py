"""Log entries: canonical, closed, without personal data, openable only with their opening."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import rfc8785
from msgspec import structs

from ebbgate.audit import entry as entries
from ebbgate.audit.canonical import EntryError, decode, encode
from ebbgate.audit.decision import decision
from ebbgate.audit.entry import Entry, commit, opens, parse, unpack_opening
from ebbgate.audit.words import MAX_ENTRY, TYPES
from ebbgate.fields import FIELDS
from ebbgate.model import EMPTY, Consent, Decision, Event, Model, Outcome, Place, Reason, Trust, Verdict
from tests.unit.store.kit import CONSENT, DECISIONS

ABOUT: dict[str, Any] = {"node": "n1", "at_ms": 1_760_000_000_999}
KEYS = [b"a" * 16, b"b" * 16]
ONE = bytes(range(32))
EVENT = Event("A-1009", "purchase", 5, 1_760_000_000_999, "shop", "native", Trust.BROWSER, {"user.email": "ana@example.com"})


def decided(event: Event = EVENT, decisions: tuple[Decision, ...] = DECISIONS, **changes: Any) -> Entry:
    about: dict[str, Any] = {"node": "n1", "key": b"k" * 16, "subject": b"s" * 16, "entropy": ONE * 3, **changes}
    return decision(event, decisions, CONSENT, Place("US", "US-CA"), **about)


BUILDERS: dict[str, Callable[[], Entry]] = {
    "decision": decided,
    "attempt.started": lambda: entries.attempt_started(
        destination="ga4", request="ab" * 8, keys=KEYS, fields=["user.email", "properties.mine"], payload_sha256=ONE, attempt=2,
        entropy=ONE * 2, **ABOUT,
    ),
    "attempt.finished": lambda: entries.attempt_finished(
        destination="ga4", request="ab" * 8, results={(Outcome.DELIVERED, "http_200"): 1}, retried=1, status=200, ms=41, **ABOUT
    ),
    "outcome": lambda: entries.outcome(
        destination="ga4", outcome=Outcome.EXPIRED, reason="too_old", keys=KEYS, entropy=ONE, **ABOUT
    ),
    "consent.changed": lambda: entries.consent_changed(
        subject=b"s" * 16, purposes={"ads": "denied"}, source="event", entropy=ONE, **ABOUT
    ),
    "erasure.applied": lambda: entries.erasure_applied(subject=b"s" * 16, n=3, entropy=ONE, **ABOUT),
    "policy.activated": lambda: entries.policy_activated(digest="ab" * 32, files={"eu.yaml": "cd" * 32}, **ABOUT),
    "key.rotated": lambda: entries.key_rotated(name="pepper", fingerprint="ab" * 16, **ABOUT),
    "admin.action": lambda: entries.admin_action(
        action="queue.drop", actor="operator", n=2, destination="ga4", reason="asked", **ABOUT
    ),
    "export.made": lambda: entries.export_made(what="bundle", n=9, digest="ab" * 32, **ABOUT),
    "clock.anomaly": lambda: entries.clock_anomaly(delta_s=-90, **ABOUT),
    "heartbeat": lambda: entries.heartbeat(n=0, **ABOUT),
    "held.released": lambda: entries.held_released(subject=b"s" * 16, destinations=["meta"], n=1, entropy=ONE, **ABOUT),
    "held.shredded": lambda: entries.held_shredded(
        subject=b"", destinations=["meta"], outcome=Outcome.WITHDRAWN, n=1, entropy=ONE, **ABOUT
    ),
}  # fmt: skip


def test_every_type_has_a_builder() -> None:
    """The closed list of types and the builders are the same list."""
    assert BUILDERS.keys() == TYPES.keys()


@pytest.mark.parametrize("kind", sorted(BUILDERS))
def test_stored_bytes_are_canonical_and_closed(kind: str) -> None:
    """Each entry is RFC 8785 canonical as another implementation sees it, parses, and carries its number."""
    entry = BUILDERS[kind]()
    for nseq in (1, 10, 2**53 - 1):
        stored = entry.encode(nseq)
        body = parse(stored)
        assert rfc8785.dumps(json.loads(stored)) == stored
        assert (body["type"], body["nseq"], body["v"], body["t"], body["node"]) == (kind, nseq, 1, 1_760_000_000, "n1")


@pytest.mark.parametrize("kind", sorted(BUILDERS))
def test_commitments_open_with_their_opening_only(kind: str) -> None:
    """Each `*_c` is opened by its own nonce and value and by nothing else; nothing else has an opening."""
    entry = BUILDERS[kind]()
    body = parse(entry.encode(1))
    members = {entries.COMMITMENTS[m]: body[m] for m in body.keys() & entries.COMMITMENTS}
    assert members.keys() == unpack_opening(entry.opening, entry.evidence).keys()
    for name, commitment in members.items():
        nonce, value = unpack_opening(entry.opening, entry.evidence)[name]
        assert opens(name, commitment, (nonce, value))
        assert not opens(name, commitment, (nonce, value + b"x"))
        assert not opens(name, commitment, (bytes(32), value) if nonce != bytes(32) else (ONE, value))
        assert not opens(name, commitment, (nonce[:-1], value))
        assert not opens("subject" if name != "subject" else "event", commitment, (nonce, value))


def test_nothing_of_the_person_is_in_a_decision() -> None:
    """Neither the event's id, its values, its subject nor a name of the site's own making stands in the entry."""
    event = structs.replace(
        EVENT, id="canary-id", name="canary_event", dialect="native", fields={"user.email": "canary@example.com"}
    )
    mine = (replace(DECISIONS[0], fields=("event.id", "properties.canary"), removed=("properties.canary2", "user.email")),)
    entry = decided(event, mine, subject=b"canary-subject!!")
    stored = entry.encode(1)
    assert b"canary" not in stored
    body = parse(stored)
    assert (body["event"], body["dests"][0]["fields"], body["dests"][0]["other"]) == ("custom", ["event.id"], 1)
    assert (body["dests"][0]["removed"], body["dests"][0]["other_removed"]) == (["user.email"], 1)
    assert b"canary-id" in unpack_opening(entry.opening, entry.evidence)["event"][1]


def test_one_person_s_entries_cannot_be_linked() -> None:
    """Two events of one subject share no commitment."""
    first, second = parse(decided().encode(1)), parse(decided(entropy=bytes(reversed(range(96)))).encode(2))
    assert not {first[m] for m in entries.COMMITMENTS if m in first} & {second[m] for m in entries.COMMITMENTS if m in second}


def test_a_decision_without_subject_commits_to_none() -> None:
    """No subject: no `subj_c`, no opening."""
    entry = decided(subject=b"")
    assert "subj_c" not in parse(entry.encode(1))
    assert "subject" not in unpack_opening(entry.opening, entry.evidence)


def test_equal_decisions_have_equal_bytes_however_they_come() -> None:
    """The kept text of a repeated decision is the text of a fresh one, and of other objects that are equal."""
    again = tuple(replace(d) for d in DECISIONS)
    assert decided().encode(7) == decided().encode(7) == decided(decisions=again).encode(7)
    other = (replace(DECISIONS[0], reason=Reason.NOT_NEEDED), *DECISIONS[1:])
    assert decided(decisions=other).encode(7) != decided().encode(7)


def test_many_distinct_decisions_are_not_mixed_up() -> None:
    """More distinct decisions than are kept: each entry still tells its own."""
    for number in range(5000):
        one = (Decision("ga4", Verdict.SEND, Reason.GRANTED, policy="ab" * 32, rule=f"eu.yaml:{number}"),)
        assert f'"eu.yaml:{number}"'.encode() in decided(decisions=one).encode(1)


def test_withheld_destinations_are_listed() -> None:
    """A destination that gets nothing is in the entry with its reason and line."""
    no = Decision("meta", Verdict.WITHHOLD, Reason.CONSENT_DENIED, detail="advertising", policy="ab" * 32, rule="eu.yaml:38")
    (row,) = parse(decided(decisions=(no,)).encode(1))["dests"]
    assert row == {
        "dest": "meta", "decision": "withhold", "reason": "consent_denied", "detail": "advertising", "rule": "eu.yaml:38",
    }  # fmt: skip


def test_the_longest_decision_fits() -> None:
    """Forty destinations with every known field stay below the limit; lists that are too long become count and digest."""
    every = tuple(FIELDS)
    many = tuple(
        Decision(f"destination_{n}", Verdict.SEND, Reason.GRANTED, policy="ab" * 32, rule="eu.yaml:1", fields=every, hashed=every)
        for n in range(40)
    )
    stored = decided(decisions=many).encode(1)
    assert len(stored) <= MAX_ENTRY
    fields = parse(stored)["dests"][0]["fields"]
    assert fields["count"] == len(every)
    endless = tuple(replace(d, detail="x" * 200) for d in many * 2)
    with pytest.raises(EntryError, match="longer"):
        decided(decisions=endless)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: decided(entropy=bytes(95)),
        lambda: decided(decisions=(replace(DECISIONS[0], policy="ab" * 32), replace(DECISIONS[1], policy="cd" * 32))),
        lambda: decided(decisions=(replace(DECISIONS[0], rule="a\nb"),)),
        lambda: decided(structs.replace(EVENT, site="a\x00b")),
        lambda: decided(structs.replace(EVENT, id="\ud800")),
        lambda: decision(
            EVENT, DECISIONS, Consent(Model.OPT_IN, {"": next(iter(CONSENT.purposes.values()))}), Place(), node="n", key=b"",
            subject=b"", entropy=ONE * 3,
        ),
        lambda: entries.outcome(destination="ga4", outcome=Outcome.EXPIRED, reason="Too old", keys=KEYS, entropy=ONE, **ABOUT),
        lambda: entries.outcome(destination="ga4", outcome=Outcome.EXPIRED, reason="x", keys=KEYS, entropy=b"", **ABOUT),
        lambda: entries.admin_action(action="Drop!", actor="operator", n=1, **ABOUT),
        lambda: entries.admin_action(action="drop", actor="operator", n=-1, **ABOUT),
        lambda: entries.admin_action(action="drop", actor="operator", n=2**53, **ABOUT),
        lambda: entries.key_rotated(name="pepper", fingerprint="not hex", **ABOUT),
        lambda: entries.consent_changed(subject=b"", purposes={"ads": "maybe"}, source="event", entropy=ONE, **ABOUT),
        lambda: entries.build("unheard.of", {"n": 1}, **ABOUT),
        lambda: entries.build("heartbeat", {"n": 1, "email": "x"}, **ABOUT),
        lambda: entries.build("heartbeat", {}, **ABOUT),
        lambda: entries.build("heartbeat", {"n": True}, **ABOUT),
        lambda: entries.build("outcome", {"dest": "ga4", "outcome": "lost", "reason": "x", "n": 1}, **ABOUT),
    ],
)  # fmt: skip
def test_what_the_format_lacks_is_refused(wrong: Callable[[], Entry]) -> None:
    """A key, word, number or length that the format does not have makes no entry."""
    with pytest.raises(EntryError):
        wrong()


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"[]",
        b'{"v":1}',
        b"\xff",
        b'{"n":0,"node":"n","nseq":1,"t":1,"type":"heartbeat","v":2}',
        b'{"n":0,"n":0,"node":"n","nseq":1,"t":1,"type":"heartbeat","v":1}',
        b'{"n": 0,"node":"n","nseq":1,"t":1,"type":"heartbeat","v":1}',
        b'{"node":"n","n":0,"nseq":1,"t":1,"type":"heartbeat","v":1}',
        b'{"n":0.0,"node":"n","nseq":1,"t":1,"type":"heartbeat","v":1}',
        b'{"n":null,"node":"n","nseq":1,"t":1,"type":"heartbeat","v":1}',
        b'{"n":1e3,"node":"n","nseq":1,"t":1,"type":"heartbeat","v":1}',
        b'{"n":NaN,"node":"n","nseq":1,"t":1,"type":"heartbeat","v":1}',
        b'{"n":0,"node":"\\u006e","nseq":1,"t":1,"type":"heartbeat","v":1}',
        b'{"n":0,"node":"n","nseq":1,"t":1,"type":"heartbeat","v":1,"x":"ana@example.com"}',
        b'{"n":0,"node":"n","nseq":1,"t":1,"type":["heartbeat"],"v":1}',
        b'{"n":0,"node":"' + b"n" * MAX_ENTRY + b'","nseq":1,"t":1,"type":"heartbeat","v":1}',
    ],
)
def test_bytes_that_are_not_an_entry_do_not_parse(stored: bytes) -> None:
    """Another form of the same value, an unknown key or version, a float: refused, and no value is quoted."""
    with pytest.raises(EntryError) as error:
        parse(stored)
    assert "ana@" not in str(error.value)


def test_a_good_entry_parses() -> None:
    """The cases above fail for what is wrong in them, not always."""
    assert parse(b'{"n":0,"node":"n","nseq":1,"t":1,"type":"heartbeat","v":1}')["n"] == 0


def test_an_entry_shows_its_type_only() -> None:
    """`repr` has no bytes of an opening."""
    assert repr(decided()) == "Entry(decision)"


def test_commitments_differ_by_domain() -> None:
    """The same nonce and value under another name is another commitment."""
    names = sorted(set(entries.COMMITMENTS.values()))
    assert len({commit(n, ONE, b"value") for n in names}) == len(names)


def test_canonical_form_has_bounds() -> None:
    """Floats, None, big integers, odd keys, surrogates and deep nesting have no canonical form."""
    deep: Any = "x"
    for _ in range(10):
        deep = [deep]
    wrongs: list[Any] = [1.5, None, 2**53, {"A": 1}, {"a b": 1}, "\ud800", deep, {"a": b"x"}]
    for wrong in wrongs:
        with pytest.raises(EntryError):
            encode(wrong)
    assert decode(b'["\xc3\xa9",true,-1,{}]') == ["é", True, -1, {}]
    assert EMPTY == {}
