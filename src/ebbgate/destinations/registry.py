"""Which destinations there are: our own, and those that installed packages declare under `ebbgate.destinations`.

An entry point names a `Destination` constant. A third party cannot take the name of a built-in one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Final

from ebbgate.destinations import (
    amplitude,
    bigquery,
    clickhouse,
    ecapi,
    file,
    ga4,
    google_data_manager,
    harmless,
    kafka,
    klaviyo,
    linkedin,
    matomo,
    meta,
    microsoft,
    mixpanel,
    pinterest,
    piwik_pro,
    plausible,
    posthog,
    reddit,
    rudderstack,
    s3,
    segment,
    snapchat,
    snowplow,
    tiktok,
    umami,
    webhook,
    x,
)
from ebbgate.destinations.kit import Destination
from ebbgate.errors import DestinationError

ENTRY_POINT_GROUP: Final = "ebbgate.destinations"

BUILT_IN: Final[tuple[Destination, ...]] = (
    ga4.DESTINATION,
    meta.DESTINATION,
    google_data_manager.DESTINATION,
    tiktok.DESTINATION,
    linkedin.DESTINATION,
    microsoft.DESTINATION,
    matomo.DESTINATION,
    posthog.DESTINATION,
    webhook.DESTINATION,
    clickhouse.DESTINATION,
    file.DESTINATION,
    pinterest.DESTINATION,
    snapchat.DESTINATION,
    reddit.DESTINATION,
    x.DESTINATION,
    mixpanel.DESTINATION,
    amplitude.DESTINATION,
    plausible.DESTINATION,
    umami.DESTINATION,
    piwik_pro.DESTINATION,
    klaviyo.DESTINATION,
    segment.DESTINATION,
    rudderstack.DESTINATION,
    snowplow.DESTINATION,
    ecapi.DESTINATION,
    bigquery.DESTINATION,
    s3.DESTINATION,
    kafka.DESTINATION,
)

#: The names that the vector files and other projects use for the same platform.
ALIASES: Final[Mapping[str, str]] = MappingProxyType({
    "meta_capi": "meta",
    "google_datamanager": "google_data_manager",
    "google_ads": "google_data_manager",
    "microsoft_ads": "microsoft",
    "x_ads": "x",
})  # fmt: skip


def collect(installed: Iterable[EntryPoint]) -> Mapping[str, Destination]:
    """Built-in destinations and those of `installed` entry points, by name.

    Raises DestinationError when one is no `Destination`, is declared under another name, or takes a name that is in use.
    """
    found = {d.name: d for d in BUILT_IN}
    for point in installed:
        loaded = point.load()
        if not isinstance(loaded, Destination):
            raise DestinationError(f"entry point `{point.name}` is no Destination", hint="point it at a DESTINATION constant")
        if loaded.name != point.name:
            raise DestinationError(f"entry point `{point.name}` declares another name", hint="use the destination's own name")
        if loaded.name in found:
            raise DestinationError(f"destination `{loaded.name}` is declared twice", hint="choose another name")
        found[loaded.name] = loaded
    return MappingProxyType({name: _guarded(destination) for name, destination in found.items()})


def _guarded(destination: Destination) -> Destination:
    """One that takes people as hashes sees no e-mail address and no number in a field where none belongs."""
    return replace(destination, render=harmless.guarded(destination.render)) if destination.demands_hash else destination


DESTINATIONS: Final[Mapping[str, Destination]] = collect(entry_points(group=ENTRY_POINT_GROUP))


def load(name: str) -> Destination:
    """The destination of that name or alias. Raises DestinationError with the known names."""
    found = DESTINATIONS.get(ALIASES.get(name, name))
    if found is None:
        raise DestinationError("no such destination", code="destination_unknown", hint=f"known: {', '.join(sorted(DESTINATIONS))}")
    return found
