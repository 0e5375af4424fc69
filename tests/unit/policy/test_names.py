from __future__ import annotations

from ebbgate.model import Value
from ebbgate.policy.decide import decide
from tests.unit.policy.making import consent, event, policy


def test_a_telling_property_name_is_in_no_decision() -> None:
    """A property's name that is personal data is told as `properties`, whether it stays or, with `report`, leaves."""
    fields: dict[str, Value] = {"properties.ana@example.com": 1, "properties.color": "red"}
    for actions, send in (("email: remove", "properties"), ("email: report", "properties"), ("email: report", "page.url")):
        rules = policy(
            f"  ga4: {{needs: nothing, because: x, send: [event, {send}]}}", common=f"  if_free_text_contains: {{{actions}}}"
        )
        (found,) = decide(event(fields), consent(), rules, ("ga4",))
        assert "properties" in (*found.fields, *found.removed)
        assert "ana" not in repr(found)
