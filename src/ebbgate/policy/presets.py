"""Named sets of treatments that a destination may `extend`: each is data with the source it follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Preset:
    """Treatments that are added to a destination's own. They only ever take away."""

    about: str
    remove: tuple[str, ...] = ()
    pseudonymise: tuple[str, ...] = ()
    no_url_parameters: bool = False
    only_country: bool = False


PRESETS: Final = {
    "cnil-proxy": Preset(
        about=(
            "What the French authority asks of a proxy in front of an analytics service outside the EU: no address, no "
            "identifier of the person, a coded visitor id, no referrer, no URL parameters, nothing that can be recombined."
        ),
        remove=("network", "user", "click", "cookie", "group", "page.referrer", "device.user_agent", "device.app_instance_id",
                "visitor.anonymous_id", "visitor.device_id", "visitor.advertising_id"),
        pseudonymise=("visitor.client_id", "visitor.session_id"),
        no_url_parameters=True,
        only_country=True,
    ),
    "no-identifiers": Preset(
        about="Counts and amounts only: nothing that tells one visitor, browser or click from another.",
        remove=("network", "user", "click", "cookie", "group", "visitor", "device.user_agent", "device.app_instance_id", "order.id",
                "lead.id", "event.id"),
        only_country=True,
    ),
}  # fmt: skip
