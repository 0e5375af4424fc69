"""Strict YAML 1.2 for policy files: plain data with the position of every key and value.

Built from PyYAML's event stream, so that a hostile file is refused before anything is expanded: aliases, anchors, tags,
directives, merge keys, tabs, duplicate keys, more than 256 KiB, 50,000 nodes or 20 levels (specs/reliability.md §4, 17).
Scalars follow the YAML 1.2 core schema, in which `NO` and `yes` are text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import yaml

from ebbgate.errors import Problem
from ebbgate.policy.words import severity_of

MAX_BYTES: Final = 256 * 1024
MAX_NODES: Final = 50_000
MAX_DEPTH: Final = 20

Path: TypeAlias = tuple[str | int, ...]

_NULL: Final = re.compile(r"(?:~|null|Null|NULL|)\Z")
_TRUE: Final = re.compile(r"(?:true|True|TRUE)\Z")
_FALSE: Final = re.compile(r"(?:false|False|FALSE)\Z")
#: A number that begins with 0 is octal to older readers: it stays text, and where a number is wanted it is refused.
_INT: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})\Z")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]{1,18}|(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{0,18})?)(?:[eE][-+]?[0-9]{1,3})?\Z")
#: Characters that show as nothing, turn what is around them, or are line breaks to some readers of YAML and not to others.
_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\r(?!\n)"
    "|[\U000e0000-\U000e007f]"
)
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Span:
    """Where something stands: line and column from 1, width in characters on that line."""

    line: int = 0
    column: int = 0
    width: int = 1


NOWHERE: Final = Span()


@dataclass(slots=True)
class Document:
    """One YAML file as plain data, with positions, and the problems found so far."""

    file: str
    text: str = ""
    data: Any = None
    values: dict[Path, Span] = field(default_factory=dict)
    keys: dict[Path, Span] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def key(self, *path: str | int) -> Span:
        """Position of the key at `path`; of the nearest thing around it when it is not written."""
        for end in range(len(path), 0, -1):
            span = self.keys.get(path[:end]) or self.values.get(path[:end])
            if span:
                return span
        return self.values.get((), NOWHERE)

    def value(self, *path: str | int) -> Span:
        """Position of the value at `path`; of the nearest thing around it when it is not written."""
        return self.values.get(path) or self.key(*path)

    def line(self, *path: str | int) -> int:
        """Line of the key at `path`, from 1."""
        return self.key(*path).line

    def report(self, code: str, span: Span, message: str, hint: str = "", *, replacement: str = "") -> None:
        """Adds a problem at a position; its severity is the code's."""
        excerpt = self.lines[span.line - 1] if 0 < span.line <= len(self.lines) else ""
        self.problems.append(
            Problem(self.file, span.line, span.column, code, message, hint, excerpt, span.width, severity_of(code), replacement)
        )


class _StopReading(Exception):
    """The file cannot be read any further; why stands in the document already."""


def read_yaml(raw: bytes, file: str) -> Document:
    """Reads one file. Never raises: what is wrong stands in `problems`, and `data` is None when nothing could be read."""
    doc = Document(file)
    try:
        events = _events(raw, doc)
        doc.data = _Builder(doc, events).build((), next(events))
        # What follows the document is read too: a second one must not go unnoticed.
        for _ in events:
            pass
    except _StopReading:
        doc.data = None
    return doc


def _stop(doc: Document, code: str, span: Span, message: str, hint: str = "") -> _StopReading:
    doc.report(code, span, message, hint)
    return _StopReading()


def _events(raw: bytes, doc: Document) -> Iterator[yaml.Event]:
    """The node events of the only document, checked for everything that is refused."""
    if len(raw) > MAX_BYTES:
        raise _stop(doc, "P008", NOWHERE, f"the file has more than {MAX_BYTES // 1024} KiB")
    try:
        doc.text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _stop(doc, "P005", NOWHERE, "the file is not UTF-8 text") from None
    doc.lines = doc.text.replace("\r\n", "\n").split("\n")
    for pattern, what, hint in ((re.compile("\t"), "a tab", "use blanks"), (_INVISIBLE, "an invisible character", "remove it")):
        found = pattern.search(doc.text)
        if found:
            raise _stop(doc, "P005", _span_of_offset(doc.text, found.start()), f"{what} is not allowed", hint)
    return _checked(doc)


def _checked(doc: Document) -> Iterator[yaml.Event]:
    nodes = depth = documents = 0
    try:
        for event in yaml.parse(doc.text, Loader=_LOADER):
            span = _span(event)
            if isinstance(event, yaml.AliasEvent):
                raise _stop(doc, "P005", span, "aliases are not allowed", "write the text out where it is meant")
            if isinstance(event, yaml.NodeEvent):
                nodes += 1
                if nodes > MAX_NODES:
                    raise _stop(doc, "P008", span, f"the file has more than {MAX_NODES} values")
                if event.anchor is not None:
                    raise _stop(doc, "P005", span, "anchors are not allowed", "write the text out where it is meant")
                if getattr(event, "tag", None) is not None:
                    raise _stop(doc, "P005", span, "tags are not allowed", "write the value without its tag")
                if isinstance(event, yaml.CollectionStartEvent):
                    depth += 1
                    if depth > MAX_DEPTH:
                        raise _stop(doc, "P008", span, f"the file is nested more than {MAX_DEPTH} deep")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _stop(doc, "P005", span, "a file holds one document", "remove this `---` and what follows")
                if event.version or event.tags:
                    raise _stop(doc, "P005", span, "directives are not allowed", "remove the line that begins with %")
                continue
            else:
                continue
            yield event
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        span = Span(mark.line + 1, mark.column + 1) if mark else NOWHERE
        raise _stop(doc, "P005", span, f"this is not YAML: {error.problem or 'cannot be read'}") from None
    except yaml.YAMLError:
        raise _stop(doc, "P005", NOWHERE, "this is not YAML: it holds characters that are not allowed") from None
    if not nodes:
        raise _stop(doc, "P009", NOWHERE, "the file is empty")


class _Builder:
    """Turns checked events into plain data; depth is bounded, so recursion is safe."""

    def __init__(self, doc: Document, events: Iterator[yaml.Event]) -> None:
        self._doc = doc
        self._events = events

    def build(self, path: Path, event: yaml.Event) -> Any:
        """The value that begins with `event`."""
        self._doc.values[path] = _span(event)
        if isinstance(event, yaml.ScalarEvent):
            self._visible(event)
            return _scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return self._mapping(path)

    def _sequence(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self.build((*path, len(items)), event))
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            span = _span(event)
            if not isinstance(event, yaml.ScalarEvent):
                raise _stop(self._doc, "P005", span, "a key must be one word")
            self._visible(event)
            key = event.value
            if key == "<<":
                raise _stop(self._doc, "P005", span, "merge keys are not allowed", "write the settings out")
            here = (*path, key)
            if key in found:
                first = self._doc.keys[here].line
                self._doc.report("P003", span, f"{key!r} stands twice", f"it is already on line {first}: keep one")
                self._skip(next(self._events))
                continue
            self._doc.keys[here] = span
            found[key] = self.build(here, next(self._events))
        return found

    def _visible(self, event: yaml.ScalarEvent) -> None:
        """Refuses what escapes in quotation marks stand for, as in the text itself."""
        if _INVISIBLE.search(event.value) or "\t" in event.value:
            raise _stop(self._doc, "P005", _span(event), "an invisible character is not allowed", "remove it")

    def _skip(self, event: yaml.Event) -> None:
        depth = isinstance(event, yaml.CollectionStartEvent)
        level = int(depth)
        while level:
            event = next(self._events)
            level += isinstance(event, yaml.CollectionStartEvent)
            level -= isinstance(event, yaml.CollectionEndEvent)


def _scalar(event: yaml.ScalarEvent) -> Any:
    """A scalar by the YAML 1.2 core schema; quoted text is always text."""
    text: str = event.value
    if not event.implicit[0]:
        return text
    if _NULL.match(text):
        return None
    if _TRUE.match(text):
        return True
    if _FALSE.match(text):
        return False
    if _INT.match(text):
        return int(text)
    if _FLOAT.match(text):
        return float(text)
    return text


def _span(event: yaml.Event) -> Span:
    start, end = event.start_mark, event.end_mark
    if start is None or end is None:
        return NOWHERE
    width = end.column - start.column if end.line == start.line else 1
    return Span(start.line + 1, start.column + 1, max(1, width))


def _span_of_offset(text: str, offset: int) -> Span:
    line_start = text.rfind("\n", 0, offset) + 1
    return Span(text.count("\n", 0, offset) + 1, offset - line_start + 1)
