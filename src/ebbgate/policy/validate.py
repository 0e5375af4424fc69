"""From plain YAML data to the authored form: pydantic's findings told with codes, positions and hints."""

from __future__ import annotations

import re
from collections.abc import Iterable
from copy import deepcopy
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ebbgate.policy.authored import MODELS, PolicyWords
from ebbgate.policy.words import did_you_mean, hint_for
from ebbgate.policy.yaml import Document, Path

_Model = TypeVar("_Model", bound=BaseModel)

#: pydantic's error type → what the value must be.
_TYPES: Final = {
    "string_type": "text",
    "list_type": "a list",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a group of settings",
    "model_type": "a group of settings",
    "model_attributes_type": "a group of settings",
}
_CHOICE: Final = re.compile(r"'([^']*)'")


def validate(doc: Document) -> PolicyWords | None:
    """The authored policy, or None with the problems in `doc`."""
    return validate_as(doc, PolicyWords, MODELS)


def validate_as(doc: Document, model: type[_Model], models: dict[tuple[str, ...], type[BaseModel]]) -> _Model | None:
    """A document as `model`; `models` tells which settings are known at each path, for suggestions.

    When only names of settings are unknown, the rest is still returned, so that one run finds all that is wrong: the
    problems in `doc` keep the file from loading.
    """
    if doc.data is None and doc.problems:
        return None
    try:
        return model.model_validate(doc.data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        seen: set[tuple[str, int, int]] = set()
        for detail in details:
            _report(doc, detail, models, seen)
    if any(detail["type"] != "extra_forbidden" for detail in details):
        return None
    try:
        return model.model_validate(_renamed(doc.data, [detail["loc"] for detail in details], models))
    except ValidationError:
        return None


def _renamed(data: Any, locations: list[tuple[str | int, ...]], models: dict[tuple[str, ...], type[BaseModel]]) -> Any:
    """A copy in which each unknown setting has the name that was probably meant, or is gone."""
    copy = deepcopy(data)
    for loc in locations:
        place = copy
        for part in loc[:-1]:
            place = place[part]
        value = place.pop(loc[-1])
        near = did_you_mean(str(loc[-1]), _settings_at(loc[:-1], models))
        if near and near not in place:
            place[near] = value
    return copy


def _report(
    doc: Document, detail: ErrorDetails, models: dict[tuple[str, ...], type[BaseModel]], seen: set[tuple[str, int, int]]
) -> None:
    kind, loc = detail["type"], detail["loc"]
    context: dict[str, Any] = detail.get("ctx", {})
    path = _existing(doc, (*loc, context["index"]) if "index" in context else loc)
    # A setting without a value has no place of its own: its name is shown.
    span = doc.key(*path) if (loc and loc[-1] == "[key]") or detail["input"] is None else doc.value(*path)
    hint = ""
    if kind == "extra_forbidden":
        code, message, span = "P001", f"unknown setting {str(loc[-1])!r}", doc.key(*path)
        hint = hint_for(str(loc[-1]), _settings_at(loc[:-1], models))
    elif kind == "missing":
        code, message, span = "P006", f"{_inside(loc)} has no {str(loc[-1])!r}", doc.key(*path) if path else doc.value()
    elif kind == "literal_error" and isinstance(detail["input"], str):
        code, message = "P002", f"unknown word {detail['input']!r}"
        hint = hint_for(detail["input"], _CHOICE.findall(str(context.get("expected", ""))))
    elif kind in ("P002", "P004", "P007"):
        code, message = kind, detail["msg"]
        hint = hint_for(str(detail["input"]), [context["near"]]) if "near" in context else ""
    elif kind in _TYPES or kind == "literal_error":
        code, message = "P004", f"this must be {_TYPES.get(kind, 'one of the known words')}"
    else:
        code, message = "P007", f"this is out of range: {detail['msg'].lower()}"
    if (code, span.line, span.column) not in seen:
        seen.add((code, span.line, span.column))
        replacement = hint.removeprefix("did you mean '").removesuffix("'?") if hint.startswith("did you mean") else ""
        doc.report(code, span, message, hint, replacement=replacement)


def _existing(doc: Document, loc: Iterable[str | int]) -> Path:
    """The longest part of pydantic's location that stands in the file: unions and keys add words of their own."""
    path: Path = ()
    for part in loc:
        if (*path, part) not in doc.values:
            break
        path = (*path, part)
    return path


def _inside(loc: tuple[str | int, ...]) -> str:
    names = [str(part) for part in loc[:-1] if isinstance(part, str)]
    return repr(names[-1]) if names else "the file"


def _settings_at(path: tuple[str | int, ...], models: dict[tuple[str, ...], type[BaseModel]]) -> list[str]:
    """Names of the settings that are known where `path` leads."""
    for pattern, model in models.items():
        if len(pattern) == len(path) and all(p in ("*", str(q)) for p, q in zip(pattern, path, strict=True)):
            return list(model.model_fields)
    return []
