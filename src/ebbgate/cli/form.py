"""`--format text|json`, which every command takes: text for people, one JSON document for programs (DESIGN §5.3)."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer


class Form(StrEnum):
    """How a command answers."""

    TEXT = "text"
    JSON = "json"


#: The option; its default stands at the command.
FormOption = Annotated[Form, typer.Option("--format", help="text for people, json for programs.")]
#: The same where the answer is JSON anyway: text lays it out over several lines.
LayoutOption = Annotated[Form, typer.Option("--format", help="json: on one line; text: the same, laid out for people.")]


def laid_out(answer: Any, form: Form) -> str:
    """An answer that is JSON in either form."""
    return json.dumps(answer, ensure_ascii=False, indent=2 if form is Form.TEXT else None)
