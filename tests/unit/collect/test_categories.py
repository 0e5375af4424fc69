from __future__ import annotations

from typing import Any

import pytest

from ebbgate.collect import categories
from ebbgate.errors import SignalError


def test_native_purposes() -> None:
    """`refused` means denied; every other word is an error."""
    assert categories.purposes({"a": "granted", "b": "refused", "c": "denied"}) == (
        ("a", "granted"),
        ("b", "denied"),
        ("c", "denied"),
    )


def test_segment_categories() -> None:
    """Segment's object as it is."""
    assert categories.categories({"Advertising": True, "Analytics": False}) == (("Advertising", True), ("Analytics", False))


def test_rudderstack() -> None:
    """An id on both lists is denied."""
    value = {"provider": "custom", "allowedConsentIds": ["a", "b"], "deniedConsentIds": ["b", "c"], "resolutionStrategy": "or"}
    assert dict(categories.rudderstack(value)) == {"a": True, "b": False, "c": False}
    assert categories.rudderstack({}) == ()


def test_metarouter() -> None:
    """`optOut` is inverted; a default that was not explicit grants nothing."""
    answers = {"ads": "true", "stats": "false", "x": True, "y": False}
    assert dict(categories.metarouter({"explicit": True, "optOut": answers})) == {
        "ads": False,
        "stats": True,
        "x": False,
        "y": True,
    }
    assert dict(categories.metarouter({"explicit": False, "optOut": answers})) == {"ads": False, "x": False}
    assert dict(categories.metarouter({"explicit": "true", "optOut": {"a": "false"}})) == {"a": True}
    assert categories.metarouter({}) == ()


def test_segment_spec_consent_of_either_kind() -> None:
    """Both objects in one event are joined, and a denial in either wins."""
    value = {"categoryPreferences": {"ads": True, "stats": True}, "optOut": {"ads": "true"}}
    assert dict(categories.segment_consent(value)) == {"ads": False, "stats": True}
    assert categories.segment_consent({}) == ()


@pytest.mark.parametrize(
    ("reader", "value"),
    [
        ("purposes", None),
        ("purposes", {"a": "yes"}),
        ("purposes", {"a": True}),
        ("categories", {"a": "true"}),
        ("categories", [("a", True)]),
        ("categories", {"": True}),
        ("categories", {"x" * 200: True}),
        ("categories", {str(n): True for n in range(300)}),
        ("rudderstack", {"allowedConsentIds": "a"}),
        ("rudderstack", {"deniedConsentIds": [1]}),
        ("rudderstack", {"deniedConsentIds": [""]}),
        ("rudderstack", {"deniedConsentIds": ["x"] * 300}),
        ("metarouter", {"optOut": {"a": "maybe"}}),
        ("metarouter", {"optOut": {"a": 1}}),
        ("metarouter", {"optOut": "all"}),
        ("segment_consent", "yes"),
    ],
)
def test_unreadable_objects_are_refused(reader: str, value: Any) -> None:
    """An object that is there and cannot be read is an error, never silence."""
    with pytest.raises(SignalError):
        getattr(categories, reader)(value)
