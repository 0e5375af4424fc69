"""The JSON Schema of policy files, with descriptions, for editors: yaml-language-server and JetBrains."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, Final

from ebbgate.policy.authored import PolicyWords

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
#: First lines of a policy file that tell the two families of editors where the schema is.
MODELINES: Final = (
    "# yaml-language-server: $schema=../.ebbgate/policy.schema.json",
    "# $schema: ../.ebbgate/policy.schema.json",
)


def policy_schema(destinations: Collection[str] = ()) -> str:
    """The schema as JSON text. With `destinations` their names are suggested too."""
    schema: dict[str, Any] = PolicyWords.model_json_schema(mode="validation")
    schema = {"$schema": DRAFT, "title": "ebbgate policy", **{k: v for k, v in schema.items() if k != "title"}}
    if destinations:
        schema["properties"]["destinations"]["propertyNames"] = {"enum": sorted(destinations)}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
