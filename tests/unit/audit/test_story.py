"""The story that log entries tell, and the search through them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest

from ebbgate.audit import entry as entries
from ebbgate.audit.canonical import EntryError
from ebbgate.audit.decision import decision
from ebbgate.audit.entry import Entry, parse, unpack_opening
from ebbgate.audit.search import Wanted, line, matches
from ebbgate.audit.story import as_json, as_text, tell
from ebbgate.model import Decision, Event, Outcome, Place, Reason, Trust, Verdict
from tests.unit.store.kit import CONSENT

EVENT = Event("A-1009", "purchase", 5, 1_760_000_000_000, "shop", "native", Trust.SERVER, {})
POLICY = "ab" * 32
DECISIONS = (
    Decision("ga4", Verdict.SEND, Reason.GRANTED, policy=POLICY, rule="eu.yaml:31", fields=("event.id",), removed=("user.email",)),
    Decision("meta", Verdict.WITHHOLD, Reason.CONSENT_DENIED, detail="advertising", policy=POLICY, rule="eu.yaml:38"),
    Decision("crm", Verdict.HOLD, Reason.HELD, detail="advertising", policy=POLICY, rule="eu.yaml:44"),
    Decision(
        "bing", Verdict.LIMITED, Reason.LIMITED, detail="advertising", policy=POLICY, rule="eu.yaml:50", hashed=("user.email",)
    ),
)


@dataclass(frozen=True)
class Stored:
    nseq: int
    body: bytes
    opening: Mapping[str, tuple[bytes, bytes]] | None


def stored(entry: Entry, nseq: int) -> Stored:
    return Stored(nseq, entry.encode(nseq), unpack_opening(entry.opening, entry.evidence))


def decided() -> Stored:
    entry = decision(EVENT, DECISIONS, CONSENT, Place("DE"), node="n1", key=b"k" * 16, subject=b"s" * 16, entropy=bytes(range(96)))
    return stored(entry, 12)


def again() -> Stored:
    return stored(entries.duplicate(event_id="A-1009", key=b"k" * 16, node="n1", at_ms=9, entropy=bytes(32)), 13)


OUTCOMES: dict[str, tuple[Outcome | None, str, int]] = {
    "ga4": (Outcome.DELIVERED, "http_204", 2), "bing": (None, "http_503", 1), "crm": (None, "held", 0),
}  # fmt: skip


def test_tells_who_got_what_and_why() -> None:
    """Each destination with its outcome, reason, line and how the delivery ended; withheld ones too."""
    told = as_json(tell([decided(), again()], OUTCOMES))
    assert (told["event_id"], told["event"], told["place"], told["duplicates"]) == ("A-1009", "purchase", "DE", 1)
    assert told["policy"] == {"file": "eu.yaml", "digest": POLICY}
    assert told["consent"]["purposes"] == {"analytics": {"state": "granted", "source": "tcf", "rule": "purposes 1, 8 granted"}}
    assert told["consent"]["signals"][0]["digest"] == "cd" * 32
    found = {n: (d["outcome"], d["delivery"]["outcome"], d["delivery"]["attempts"]) for n, d in told["destinations"].items()}
    assert found == {
        "ga4": ("sent", "delivered", 2), "meta": ("not_sent", "withheld", 0), "crm": ("held", "waiting", 0),
        "bing": ("limited", "waiting", 1),
    }  # fmt: skip
    assert [e["nseq"] for e in told["log"]] == [12, 13]


def test_reads_as_text() -> None:
    """The text names event, consent, each destination's fate, and the policy line."""
    text = as_text(tell([decided(), again()], OUTCOMES), why=lambda reason, detail: f"needs {detail}")
    assert text.splitlines()[0].startswith("purchase  A-1009  2025-10-09T08:53:20Z  shop  DE  policy eu.yaml abababab")
    assert "analytics ✓ granted" in text
    assert "● ga4         SENT      delivered (http_204) · 2 attempts · without user.email   eu.yaml:31" in text
    assert "○ meta        NOT SENT  needs advertising   eu.yaml:38" in text
    assert "hashed user.email" in text
    assert "sent again 1×" in text


def test_after_erasure_the_rest_is_told() -> None:
    """Without its opening an entry tells what stands in clear and no id."""
    erased = replace(decided(), opening=None)
    told = tell([erased], OUTCOMES)
    assert (told.event_id, told.event, told.signals) == ("", "purchase", ())
    assert "(id erased)" in as_text(told)


def test_a_forged_opening_is_not_told() -> None:
    """An opening that does not fit its commitment is an error, never a story."""
    good = decided()
    assert good.opening is not None
    forged = {**good.opening, "event": (good.opening["event"][0], b'{"id":"X","name":"refund"}')}
    with pytest.raises(EntryError, match="evt_c"):
        tell([replace(good, opening=forged)], {})


def test_needs_a_decision() -> None:
    """Without the decision there is no story."""
    with pytest.raises(EntryError):
        tell([again()], {})


class TestSearch:
    def test_one_fact_must_have_it_all(self) -> None:
        """Destination, outcome and reason are looked for together, not each somewhere in the entry."""
        body = parse(decided().body)
        assert matches(body, Wanted())
        assert matches(body, Wanted(destination="meta", outcome="not_sent", reason="consent_denied"))
        assert not matches(body, Wanted(destination="ga4", outcome="not_sent"))
        assert not matches(body, Wanted(outcome="sent", reason="consent_denied"))
        assert not matches(body, Wanted(since_s=body["t"] + 1))
        assert matches(body, Wanted(since_s=body["t"]))

    def test_finds_results_of_requests(self) -> None:
        """A closing entry is found by any of its results, and by `retried`."""
        entry = entries.attempt_finished(
            destination="ga4", request="ab" * 8, results={(Outcome.REJECTED, "http_400"): 1}, retried=2, node="n1", at_ms=0
        )
        body = parse(entry.encode(1))
        assert matches(body, Wanted(destination="ga4", outcome="rejected", reason="http_400"))
        assert matches(body, Wanted(outcome="retried"))
        assert not matches(body, Wanted(outcome="delivered"))

    def test_lines_are_single_and_plain(self) -> None:
        """Every type prints on one line; an id with control or bidi characters cannot repaint the terminal."""
        shred = entries.held_shredded(
            subject=b"s" * 16, destinations=["meta"], outcome=Outcome.EXPIRED, n=1, node="n1", at_ms=0, entropy=bytes(32)
        )
        policy = entries.policy_activated(digest=POLICY, files={"eu.yaml": POLICY}, node="n1", at_ms=0)
        started = entries.attempt_started(
            destination="ga4", request="ab" * 8, keys=[bytes(16)], fields=[], payload_sha256=bytes(32), attempt=1, node="n1",
            at_ms=0, entropy=bytes(64),
        )  # fmt: skip
        for entry in (shred, policy, started):
            said = line(parse(entry.encode(4)))
            assert said.startswith("#4  1970-01-01 00:00:00Z")
            assert said.isprintable()
        evil = line(parse(decided().body), event_id="A\n\x1b[31m\u202egnp")
        assert evil.isprintable()
        assert "ga4 sent (granted) · meta not_sent (consent_denied)" in evil


def test_digests_are_told_by_their_beginning() -> None:
    """A line for people names a policy revision by twelve digits, as `ebbgate revisions` does; other words stay whole."""
    digest = "6774b3b7c5c9" + "0" * 52
    body = {"v": 1, "type": "policy.activated", "t": 0, "node": "n", "nseq": 1, "policy": digest,
            "files": [{"digest": digest, "name": "eu.yaml"}]}  # fmt: skip
    told = line(body)
    assert told.endswith("policy=6774b3b7c5c9  files=6774b3b7c5c9:eu.yaml")
