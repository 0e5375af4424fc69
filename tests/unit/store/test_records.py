"""`records.db`: revisions that can be judged by again, the inventory of fields, counted traffic; bounded, and without values."""

from __future__ import annotations

import hashlib
from pathlib import Path

import apsw
import pytest

from ebbgate.errors import ConfigError, StoreBroken, StoreError
from ebbgate.store import sqlite_records
from ebbgate.store.sqlite_records import FILE, FieldRow, Records, TrafficRow

HOUR = 3_600_000
NOW = 500_000 * HOUR
ONE = hashlib.sha256(b"one").hexdigest()
TWO = hashlib.sha256(b"two").hexdigest()
TRAFFIC = (500_000, "shop", "purchase", "DE", "", {"analytics": "granted"}, ("event.name", "order.value"), 3)


def test_a_revision_is_kept_with_when_and_who(tmp_path: Path) -> None:
    """The texts of every revision come back by digest, its beginning, or the time at which it was in force."""
    records = Records.open(tmp_path)
    records.keep(ONE, {"eu.yaml": b"first", "us.yaml": b"same"}, who="file", at_ms=1000)
    records.keep(TWO, {"eu.yaml": b"second", "us.yaml": b"same"}, who="file", at_ms=2000)
    records.keep(ONE, {"eu.yaml": b"first", "us.yaml": b"same"}, who="file", at_ms=3000)
    records.close()
    beside = Records.read(tmp_path)
    assert beside.revision(ONE) == (ONE, {"eu.yaml": b"first", "us.yaml": b"same"})
    assert beside.revision(TWO[:8].upper()) == (TWO, {"eu.yaml": b"second", "us.yaml": b"same"})
    assert [beside.in_force(at) for at in (999, 1000, 1999, 2500, 9000)] == [None, ONE, ONE, TWO, ONE]
    assert beside.activations()[0] == (ONE, 3000, "file")
    assert len(beside.activations()) == 3
    with pytest.raises(ConfigError, match="no revision"):
        beside.revision("ffff" if not (ONE + TWO).startswith("ffff") else "0000")
    with pytest.raises(ConfigError, match="2 revisions"):
        beside.revision("")
    beside.close()


def test_counts_add_up_over_writings_and_restarts(tmp_path: Path) -> None:
    """First seen stays, last seen and counts grow, the newest line of each destination is told."""
    for turn, to in enumerate(({"ga4": "eu.yaml:9"}, {"ga4": "eu.yaml:10", "meta": "eu.yaml:20"}, {})):
        records = Records.open(tmp_path)
        records.add([("shop", "order.value", 3, to)], [TRAFFIC], now_ms=NOW + turn)
        records.close()
    beside = Records.read(tmp_path)
    (row,) = beside.fields()
    assert row == ("shop", "order.value", NOW, NOW + 2, 9, {"ga4": "eu.yaml:10", "meta": "eu.yaml:20"})
    assert beside.traffic(NOW) == [("purchase", "DE", "", {"analytics": "granted"}, ("event.name", "order.value"), 9)]
    assert beside.traffic(NOW + HOUR) == []
    beside.close()


def test_fields_and_traffic_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger who makes up names fills so many rows and no more; what is known goes on being counted."""
    monkeypatch.setattr(sqlite_records, "MAX_PATHS", 3)
    monkeypatch.setattr(sqlite_records, "MAX_TRAFFIC", 2)
    records = Records.open(None)
    for turn in range(4):
        rows: list[FieldRow] = [("blog", "event.name", 1, {})]
        rows += [("shop", f"properties.p{turn}{i}", 1, {}) for i in range(2)]
        traffic: list[TrafficRow] = [(500_000, "shop", f"e{turn}{i}", "", "", {}, ("event.name",), 1) for i in range(2)]
        records.add(rows, traffic, now_ms=NOW)
    records.add([("shop", "properties.p00", 5, {})], [], now_ms=NOW)
    assert [(f.site, f.path, f.events) for f in records.fields()] == [
        ("blog", "event.name", 4),
        ("shop", "properties.p00", 6),
        ("shop", "properties.p01", 1),
        ("shop", "properties.p10", 1),
    ]
    assert len(records.traffic(0)) == 2


def test_old_traffic_is_forgotten() -> None:
    """After five weeks the counts of an hour and its shapes go."""
    records = Records.open(None)
    records.add([], [TRAFFIC], now_ms=NOW)
    later = NOW + (sqlite_records.KEPT_HOURS + 1) * HOUR
    records.add([], [(later // HOUR, *TRAFFIC[1:])], now_ms=later)
    assert [t.events for t in records.traffic(0)] == [3]


def test_trouble_is_told_in_our_words(tmp_path: Path) -> None:
    """No file, a file of another version, and a failed write are errors with a code; a failed write leaves nothing half done."""
    with pytest.raises(ConfigError, match="nothing is recorded"):
        Records.read(tmp_path)
    records = Records.open(tmp_path)
    with pytest.raises(StoreError):
        Records.read(tmp_path).keep(ONE, {"eu.yaml": b"x"}, who="file", at_ms=1)
    with pytest.raises(StoreError):
        records.add([("shop", "event.name", 1, {}), ("shop", "order.id", None, {})], [], now_ms=NOW)  # type: ignore[list-item]  # a fault of ours
    assert records.fields() == []
    records.add([("shop", "event.name", 1, {})], [], now_ms=NOW)
    records.close()
    db = apsw.Connection(str(tmp_path / FILE))
    db.pragma("user_version", 9)
    db.close()
    with pytest.raises(StoreBroken, match="version 9"):
        Records.open(tmp_path)
    (tmp_path / FILE).write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreBroken):
        Records.open(tmp_path)
