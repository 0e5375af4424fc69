"""JSON Schema, as much of it as our own schemas of platforms need: a body and a schema → what is wrong, as paths and keywords.

A keyword that is not known here is an error of the schema: a rule that nobody checks must not stand in one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent / "schemas"
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
_NOTES: Final = frozenset({"$schema", "$defs", "$comment", "title", "description"})


def load(name: str) -> dict[str, Any]:
    """The schema of one platform."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def violations(found: object, schema: Mapping[str, Any], root: Mapping[str, Any] | None = None, path: str = "$") -> Iterator[str]:
    """`path: keyword` of everything that breaks the schema. Raises ValueError for a keyword that is not known."""
    root = schema if root is None else root
    for keyword, rule in schema.items():
        if keyword in _NOTES or (keyword == "additionalProperties" and isinstance(found, dict) and _extra(found, schema) == set()):
            continue
        yield from _broken(keyword, rule, found, schema, root, path)


def _broken(keyword: str, rule: Any, found: Any, schema: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Iterator[str]:
    good = True
    match keyword:
        case "$ref":
            yield from violations(found, root["$defs"][rule.removeprefix("#/$defs/")], root, path)
        case "anyOf":
            good = any(not list(violations(found, one, root, path)) for one in rule)
        case "not":
            good = bool(list(violations(found, rule, root, path)))
        case "type":
            kinds = rule if isinstance(rule, list) else [rule]
            good = any(isinstance(found, _TYPES[k]) and (k == "boolean") == isinstance(found, bool) for k in kinds)
        case "enum" | "const":
            good = found in (rule if keyword == "enum" else [rule])
        case "required":
            yield from (f"{path}.{name}: required" for name in rule if isinstance(found, dict) and name not in found)
        case "properties":
            for name, one in rule.items() if isinstance(found, dict) else ():
                if name in found:
                    yield from violations(found[name], one, root, f"{path}.{name}")
        case "additionalProperties":
            for name in _extra(found, schema) if isinstance(found, dict) else ():
                if rule is False:
                    yield f"{path}.{name}: additionalProperties"
                else:
                    yield from violations(found[name], rule, root, f"{path}.{name}")
        case "propertyNames":
            for name in found if isinstance(found, dict) else ():
                yield from violations(name, rule, root, f"{path}.{name}")
        case "items":
            for index, part in enumerate(found if isinstance(found, list) else ()):
                yield from violations(part, rule, root, f"{path}[{index}]")
        case "minItems" | "minLength" | "minProperties":
            good = not isinstance(found, (list, str, dict)) or type(found) is not _SIZED[keyword] or len(found) >= rule
        case "maxItems" | "maxLength" | "maxProperties":
            good = not isinstance(found, (list, str, dict)) or type(found) is not _SIZED[keyword] or len(found) <= rule
        case "minimum":
            good = not isinstance(found, (int, float)) or found >= rule
        case "maximum":
            good = not isinstance(found, (int, float)) or found <= rule
        case "pattern":
            good = not isinstance(found, str) or re.search(rule, found) is not None
        case _:
            raise ValueError(f"unknown keyword {keyword}")
    if not good:
        yield f"{path}: {keyword}"


_SIZED: Final[Mapping[str, type]] = {
    "minItems": list,
    "maxItems": list,
    "minLength": str,
    "maxLength": str,
    "minProperties": dict,
    "maxProperties": dict,
}


def _extra(found: Mapping[str, Any], schema: Mapping[str, Any]) -> set[str]:
    return set(found) - set(schema.get("properties", ()))
