"""Events for tests of destinations: native JSON → Event, and what the policy stage makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ebbgate.collect.native import parse_event
from ebbgate.destinations.kit import Destination
from ebbgate.model import CleanEvent, Event, Trust
from ebbgate.policy.clean import clean_everything

TIME_MS: Final = 1_795_300_281_250
GRANTED: Final = {"ad_storage": "granted", "ad_user_data": "granted", "ad_personalization": "granted"}


def collected(native: Mapping[str, Any]) -> Event:
    """The Event of a native JSON object, received when it happened."""
    event, _ = parse_event(native, site="shop", trust=Trust.SERVER, received_ms=TIME_MS)
    return event


def cleaned(
    destination: Destination,
    native: Mapping[str, Any],
    *,
    google: Mapping[str, str] | None = None,
    flags: Mapping[str, bool] | None = None,
) -> CleanEvent:
    """What reaches a destination when a policy lets everything out and hashes what it demands."""
    return clean_everything(
        collected({"time": TIME_MS, **native}),
        destination=destination.name,
        hashes=destination.hashes,
        demands_hash=destination.demands_hash,
        google=GRANTED if google is None else google,
        flags=flags or {},
    )
