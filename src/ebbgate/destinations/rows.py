"""An event as one flat record, for tables and files: a column a field, dots written as underscores."""

from __future__ import annotations

from typing import Any

from ebbgate.destinations import reading, wire
from ebbgate.model import CleanEvent


def record(clean: CleanEvent) -> dict[str, Any]:
    """`event_id`, `event_name`, `event_time`, `site`, the fields, `order_items` and `properties` as JSON text, `policy`."""
    row: dict[str, Any] = {
        "event_id": clean.id,
        "event_name": clean.name,
        "event_time": reading.iso_time(clean.time_ms),
        "site": clean.site,
    }
    for path, found in clean.fields.items():
        if path.startswith(("event.", "properties.")):
            continue
        row[path.replace(".", "_")] = found if isinstance(found, (str, int, float, bool)) else wire.encode(found).decode()
    for path in ("event.source", "event.original_name"):
        if (text := reading.text(clean, path)) is not None:
            row[path.replace(".", "_")] = text
    if own := reading.properties(clean):
        row["properties"] = wire.encode(own).decode()
    if clean.limited:
        row["limited"] = True
    if clean.policy:
        row["policy"] = clean.policy
    return row
