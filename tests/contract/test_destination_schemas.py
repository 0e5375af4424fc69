"""Bodies held against schemas of the platforms that publish one, in our own words: GA4's validator, Pinterest, Klaviyo, Mixpanel.

Many events of every name, the vectors and made-up nonsense: whatever is not skipped must be well-formed for the platform.
"""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from ebbgate.destinations.kit import Skip
from ebbgate.destinations.registry import load
from ebbgate.model import Event
from ebbgate.policy.clean import clean_everything
from tests.contract import schema
from tests.contract.test_destination_rules import NAMES, TIME_MS, event, requests_of, settings_of
from tests.property.test_destination_properties import events
from tests.scale import scaled

PLATFORMS: Final = ("ga4", "klaviyo", "mixpanel", "pinterest")


@pytest.mark.parametrize("name", PLATFORMS)
def test_every_event_is_well_formed_for_the_platform(name: str) -> None:
    """Every name of event, full and sparse, becomes a body without a violation."""
    wanted = schema.load(name)
    seen = 0
    for event_name in NAMES:
        sparse: dict[str, Any] = {"order": {}, "user": {"id": "u-1"}, "page": {"url": "https://shop.example/"}, "properties": {}}
        for given_event in (event(event_name), event(event_name, **sparse)):
            for request in requests_of(load(name), given_event, show_secrets=True):
                seen += 1
                assert list(schema.violations(request["body"], wanted)) == [], event_name
    assert seen >= len(NAMES)


@settings(max_examples=scaled(60), deadline=None)
@given(found=events())
def test_nonsense_is_skipped_or_well_formed(found: Event) -> None:
    """Whatever fields an event has, in whatever text: the platform would not refuse what we send."""
    at = replace(found, time_ms=TIME_MS)  # the edge holds times to a window
    for name in PLATFORMS:
        destination = load(name)
        parsed = destination.settings.model_validate(settings_of(name))
        clean = clean_everything(at, destination=name, hashes=destination.hashes, demands_hash=destination.demands_hash)
        row = destination.render(clean, parsed)
        # Klaviyo takes what is known about a person at another address, of which the schema says nothing.
        if not isinstance(row, Skip) and not (name == "klaviyo" and found.name == "identify"):
            body = json.loads(destination.envelope([row], parsed).body)
            assert list(schema.violations(body, schema.load(name))) == [], name


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("ga4", lambda b: b.update(non_personalized_ads=True)),
        ("ga4", lambda b: b["events"][0].update(name="session_start")),
        ("ga4", lambda b: b["events"][0]["params"].update(items=[{"price": 1}])),
        ("ga4", lambda b: b["consent"].update(ad_storage="GRANTED")),
        ("pinterest", lambda b: b["data"][0].update(event_name="Purchase")),
        ("pinterest", lambda b: b["data"][0]["custom_data"].update(value=12.5)),
        ("pinterest", lambda b: b["data"][0]["user_data"].update(em=["ana@example.com"])),
        ("klaviyo", lambda b: b["data"]["attributes"]["profile"]["data"]["attributes"].update(phone_number="030 1")),
        ("klaviyo", lambda b: b["data"]["attributes"].pop("metric")),
        ("mixpanel", lambda b: b[0]["properties"].update({"$insert_id": "x" * 37})),
        ("mixpanel", lambda b: b[0]["properties"].update(distinct_id="anon")),
        ("mixpanel", lambda b: b[0]["properties"].update(deep={"a": {"b": {"c": 1}}})),
    ],
)
def test_the_schemas_notice(name: str, spoil: Any) -> None:
    """Each schema refuses what its platform refuses: an oracle that accepts everything proves nothing."""
    (request,) = requests_of(load(name), event("purchase"), show_secrets=True)
    spoil(request["body"])
    assert list(schema.violations(request["body"], schema.load(name)))


def test_a_keyword_that_is_not_known_is_no_rule() -> None:
    """A schema cannot hold a rule that the validator would pass over in silence."""
    with pytest.raises(ValueError, match="unknown keyword"):
        list(schema.violations({}, {"dependentRequired": {}}))
