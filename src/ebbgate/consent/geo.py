"""Where an address is, by the operator's own MaxMind-format database (optional extra `geo`; specs/consent.md §6).

The only file of this stage that touches the disk: once, when it is opened.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ebbgate.consent.place import UNKNOWN, make_place
from ebbgate.errors import ConfigError
from ebbgate.model import Place

SOURCE = "geo database"


class GeoDatabase:
    """An open `.mmdb` file. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Open the file; `ConfigError` when the extra is not installed or the file cannot be read."""
        try:
            maxminddb = importlib.import_module("maxminddb")
        except ImportError:
            raise ConfigError(
                "a geo database is configured, but maxminddb is not installed",
                code="geo_extra",
                hint="install ebbgate with the extra: pip install 'ebbgate[geo]'",
            ) from None
        try:
            self._reader: Any = maxminddb.open_database(str(path))
        except (OSError, ValueError, maxminddb.InvalidDatabaseError):
            raise ConfigError(
                "the geo database cannot be read", code="geo_file", hint="give the path of an .mmdb file with country.iso_code"
            ) from None

    def lookup(self, ip: str) -> Place:
        """Country and first subdivision of an address; anything that is not in the file is unknown."""
        try:
            record = self._reader.get(ip)
        except ValueError:
            return UNKNOWN
        country = record.get("country") if isinstance(record, dict) else None
        subdivisions = record.get("subdivisions") if isinstance(record, dict) else None
        first = subdivisions[0] if isinstance(subdivisions, list) and subdivisions else None
        return make_place(
            country.get("iso_code") if isinstance(country, dict) else None,
            first.get("iso_code") if isinstance(first, dict) else None,
            SOURCE,
        )

    def close(self) -> None:
        """Release the file."""
        self._reader.close()
