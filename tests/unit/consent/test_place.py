from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ebbgate.consent import jurisdictions
from ebbgate.consent.geo import GeoDatabase
from ebbgate.consent.jurisdictions import group_members, must_honor_gpc, regime, tcf_applies
from ebbgate.consent.place import PLACE_HEADERS, UNKNOWN, make_place, place_from_headers
from ebbgate.errors import ConfigError
from ebbgate.model import Model, Place

NETLIFY = base64.b64encode(json.dumps({"country": {"code": "US"}, "subdivision": {"code": "CA"}}).encode()).decode()


@pytest.mark.parametrize(
    ("headers", "country", "region"),
    [
        ([("cf-ipcountry", "DE")], "DE", None),
        ([("cf-ipcountry", "us"), ("cf-region-code", "ca")], "US", "US-CA"),
        ([("cloudfront-viewer-country", "US"), ("cloudfront-viewer-country-region", "TX")], "US", "US-TX"),
        ([("x-vercel-ip-country", "FR"), ("x-vercel-ip-country-region", "IDF")], "FR", "FR-IDF"),
        ([("x-appengine-country", "US"), ("x-appengine-region", "ca")], "US", "US-CA"),
        ([("x-gclb-country", "US"), ("x-gclb-region", "USCA")], "US", "US-CA"),
        ([("x-akamai-edgescape", "georegion=263,country_code=US,region_code=CA,city=SANJOSE")], "US", "US-CA"),
        ([("x-nf-geo", NETLIFY)], "US", "US-CA"),
        ([("cf-ipcountry", "UK")], "GB", None),
        ([("cf-ipcountry", "US"), ("cf-region-code", "DE-BE")], "US", None),
        ([("cf-ipcountry", "US"), ("cf-region-code", "C A")], "US", None),
        ([("cf-ipcountry", "US"), ("cf-region-code", "CA"), ("x-gclb-country", "US"), ("x-gclb-region", "USTX")], "US", None),
        ([("cf-ipcountry", "US"), ("cf-region-code", "CA"), ("cf-region-code", "TX")], "US", None),
        ([("cf-ipcountry", "DE"), ("cf-ipcountry", "US")], None, None),
        ([("cf-ipcountry", "DE"), ("x-vercel-ip-country", "US")], None, None),
        ([("cf-ipcountry", "US"), ("x-nf-geo", "!")], None, None),
        ([("cf-ipcountry", "XX")], None, None),
        ([("cf-ipcountry", "T1")], None, None),
        ([("x-appengine-country", "ZZ")], None, None),
        ([("cf-ipcountry", "QQ")], None, None),
        ([("cf-ipcountry", "Deutschland")], None, None),
        ([("cf-ipcountry", "D" * 5000)], None, None),
        ([("x-nf-geo", base64.b64encode(b"[1]").decode())], None, None),
        ([("x-nf-geo", base64.b64encode(b'{"country":"US"}').decode())], None, None),
        ([("cf-region-code", "CA")], None, None),
        ([("user-agent", "x")], None, None),
    ],
)  # fmt: skip
def test_places_from_headers(headers: list[tuple[str, str]], country: str | None, region: str | None) -> None:
    """Each CDN's headers, normalised; missing, malformed or contradictory ones leave the place unknown."""
    place = place_from_headers(tuple(headers), trusted=True)
    assert (place.country, place.region) == (country, region)
    assert (place.source in PLACE_HEADERS) is (country is not None)


def test_untrusted_headers_say_nothing() -> None:
    """What a stranger sends about the place is not looked at."""
    assert place_from_headers((("cf-ipcountry", "US"), ("cf-region-code", "CA")), trusted=False) == UNKNOWN


@pytest.mark.parametrize(("country", "region"), [(None, "US-CA"), (5, None), ("", ""), ("US", 7), ("US", "x" * 40)])
def test_make_place_takes_anything(country: object, region: object) -> None:
    """Untrusted values never become more than a known country."""
    assert make_place(country, region, "test").region is None


def test_regime() -> None:
    """Opt-in wherever no table says otherwise; Quebec is opt-in inside an opt-out country."""
    assert regime(Place()) is Model.OPT_IN
    assert regime(Place("QA")) is Model.OPT_IN
    assert all(regime(Place(country)) is Model.OPT_IN for country in jurisdictions.OPT_IN)
    assert all(regime(Place(country)) is Model.OPT_OUT for country in ("US", "AU", "JP"))
    assert regime(Place("CA")) is Model.OPT_OUT
    assert regime(Place("CA", "CA-QC")) is Model.OPT_IN


def test_groups() -> None:
    """EU and EEA with the parts of EU states that have codes of their own; no other group."""
    assert len(jurisdictions.EU_STATES) == 27
    assert {"DE", "RE"} <= group_members("EU") <= group_members("EEA")
    assert group_members("EEA") - group_members("EU") == {"IS", "LI", "NO"}
    assert not group_members("EEA") & {"GB", "CH", "US"}
    with pytest.raises(KeyError):
        group_members("NATO")


def test_tables_hold_only_countries() -> None:
    """Every code in the tables is an ISO country, and 20 state laws are in force on the day of the table."""
    assert jurisdictions.OPT_IN | group_members("EEA") <= jurisdictions.COUNTRIES
    assert sum(state.in_force <= jurisdictions.AS_OF for state in jurisdictions.US_STATES.values()) == 20
    assert sum(state.must_honor_gpc_since is not None for state in jurisdictions.US_STATES.values()) == 12


def test_gpc_by_state() -> None:
    """By state and day; an unknown state counts as the strictest."""
    assert must_honor_gpc(Place("US", "US-CA"), "2026-11-21")
    assert must_honor_gpc(Place("US"), "2026-11-21")
    assert must_honor_gpc(Place("US", "US-OR"), "2026-01-01")
    assert not must_honor_gpc(Place("US", "US-OR"), "2025-12-31")
    assert not must_honor_gpc(Place("US", "US-VA"), "2026-11-21")
    assert not must_honor_gpc(Place("US", "US-WY"), "2026-11-21")
    assert not must_honor_gpc(Place("DE"), "2026-11-21")


def test_tcf_countries() -> None:
    """TC strings bind in the EEA, the UK, Switzerland and where the place is unknown."""
    assert all(tcf_applies(place) for place in (Place(), Place("DE"), Place("NO"), Place("GB"), Place("CH"), Place("RE")))
    assert not tcf_applies(Place("US"))


class _Reader:
    def __init__(self, records: dict[str, Any]) -> None:
        self.records = records
        self.closed = False

    def get(self, ip: str) -> Any:
        if ip not in self.records:
            raise ValueError(ip)
        return self.records[ip]

    def close(self) -> None:
        self.closed = True


class _InvalidDatabaseError(Exception):
    pass


def _fake(monkeypatch: pytest.MonkeyPatch, opened: Any) -> None:
    def open_database(path: str) -> Any:
        if isinstance(opened, Exception):
            raise opened
        return opened

    module = SimpleNamespace(open_database=open_database, InvalidDatabaseError=_InvalidDatabaseError)
    monkeypatch.setitem(sys.modules, "maxminddb", module)


def test_geo_database_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    """Country and first subdivision; what is not in the file, or not in the expected shape, is unknown."""
    reader = _Reader(
        {
            "192.0.2.1": {"country": {"iso_code": "US"}, "subdivisions": [{"iso_code": "CA"}]},
            "192.0.2.2": {"country": {"iso_code": "DE"}, "subdivisions": []},
            "192.0.2.3": None,
            "192.0.2.4": {"country": "DE", "subdivisions": ["x"]},
        }
    )
    _fake(monkeypatch, reader)
    database = GeoDatabase(Path("geo.mmdb"))
    assert database.lookup("192.0.2.1") == Place("US", "US-CA", "geo database")
    assert database.lookup("192.0.2.2") == Place("DE", None, "geo database")
    assert [database.lookup(ip) for ip in ("192.0.2.3", "192.0.2.4", "not an address")] == [UNKNOWN] * 3
    database.close()
    assert reader.closed


@pytest.mark.parametrize("error", [OSError("x"), ValueError("x"), _InvalidDatabaseError("x")])
def test_geo_database_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A bad file is a configuration error at start, not a guess later."""
    _fake(monkeypatch, error)
    with pytest.raises(ConfigError) as refused:
        GeoDatabase(Path("geo.mmdb"))
    assert refused.value.code == "geo_file"


def test_geo_database_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without maxminddb the error says which extra to install."""
    monkeypatch.setitem(sys.modules, "maxminddb", None)
    with pytest.raises(ConfigError) as refused:
        GeoDatabase(Path("geo.mmdb"))
    assert "ebbgate[geo]" in refused.value.hint
