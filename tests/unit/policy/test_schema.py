from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from ebbgate.policy.authored import MODELS, PolicyWords
from ebbgate.policy.schema import MODELINES, policy_schema
from tests.unit.policy.making import POLICIES


def nodes(schema: Any) -> list[dict[str, Any]]:
    """Every object of a schema."""
    if isinstance(schema, dict):
        return [schema, *(n for v in schema.values() for n in nodes(v))]
    return [n for v in schema for n in nodes(v)] if isinstance(schema, list) else []


def test_every_setting_has_a_description() -> None:
    """Editors show what each setting means."""
    schema = json.loads(policy_schema())
    for owner in [schema, *schema["$defs"].values()]:
        for name, setting in owner["properties"].items():
            assert setting.get("description"), name


def test_unknown_settings_are_refused_by_the_schema() -> None:
    """No object of ours takes settings it does not know."""
    schema = json.loads(policy_schema())
    for name, owner in {"": schema, **schema["$defs"]}.items():
        assert owner["additionalProperties"] is False, name


def test_completion_data_is_there() -> None:
    """Closed words, fields, countries and, when known, destinations can be completed."""
    schema = json.loads(policy_schema(["meta", "ga4"]))
    enums = [word for node in nodes(schema) for word in node.get("enum", ())]
    for word in (
        "opt_in",
        "hold",
        "most_protective",
        "gpp",
        "ad_storage",
        "to_network",
        "drop_event",
        "user.email",
        "order",
        "EEA",
        "NO",
    ):
        assert word in enums
    assert schema["properties"]["destinations"]["propertyNames"]["enum"] == ["ga4", "meta"]
    assert schema["$defs"]["DestinationWords"]["required"] == ["needs", "send"]


def test_the_models_are_all_known_to_the_linter() -> None:
    """Every model of the authored form is in the table by which unknown settings get their hint."""
    found: set[type[BaseModel]] = set()

    def walk(model: type[BaseModel]) -> None:
        found.add(model)
        for info in model.model_fields.values():
            for part in [info.annotation, *getattr(info.annotation, "__args__", ())]:
                if isinstance(part, type) and issubclass(part, BaseModel):
                    walk(part)

    walk(PolicyWords)
    assert set(MODELS.values()) == found


def test_our_policies_name_the_schema() -> None:
    """Both families of editors find the schema from the first two lines of each policy we ship."""
    for path in POLICIES.glob("*.yaml"):
        if not path.name.endswith("_test.yaml"):
            assert tuple(path.read_text().split("\n")[:2]) == MODELINES
