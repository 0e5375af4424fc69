"""What is wrong with a setting and where it stands, in plain words. No value is ever shown: it may be a secret."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Path = tuple[str, ...]

#: pydantic's error types, by their beginnings; `{…}` is taken from the error's context.
_WORDS: Final = (
    ("int_", "needs a whole number"),
    ("float_", "needs a number"),
    ("bool_", "needs true or false"),
    ("string_type", "needs text in quotes"),
    ("string_pattern_mismatch", "does not have the form {pattern}"),
    ("string_too_short", "needs at least {min_length} characters"),
    ("string_too_long", "takes at most {max_length} characters"),
    ("path_", "needs a path in quotes"),
    ("tuple_type", "needs a list in brackets"),
    ("list_type", "needs a list in brackets"),
    ("too_short", "needs at least {min_length} entries"),
    ("too_long", "takes at most {max_length} entries"),
    ("model_", "needs a table of keys"),
    ("dict_type", "needs a table of keys"),
    ("mapping_type", "needs a table of keys"),
    ("less_than_equal", "must be at most {le}"),
    ("less_than", "must be below {lt}"),
    ("greater_than_equal", "must be at least {ge}"),
    ("greater_than", "must be above {gt}"),
    ("literal_error", "must be {expected}"),
    ("enum", "must be {expected}"),
    ("missing", "is missing"),
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the settings came from: the file's name, the places of its keys, the names of the variables that were set."""

    file: str = ""
    places: Mapping[Path, tuple[int, int]] = field(default_factory=dict)
    variables: Mapping[Path, str] = field(default_factory=dict)

    def of(self, path: Sequence[str]) -> str:
        """`ebbgate.toml:12:1` or the variable's name, of the setting or the nearest table around it; the file's name otherwise."""
        for length in range(len(path), 0, -1):
            part = tuple(path[:length])
            if part in self.variables:
                return self.variables[part]
            if part in self.places:
                line, column = self.places[part]
                return f"{self.file}:{line}:{column}"
        return self.file


def places(text: str) -> dict[Path, tuple[int, int]]:
    """Line and column, from 1, of every key and table of a text that is TOML."""
    found: dict[Path, tuple[int, int]] = {}
    lines = text.split("\n")
    table: Path = ()
    at = 0
    while at < len(lines):
        line, end = lines[at], at + 1
        bare = line.strip()
        if bare and not bare.startswith("#"):
            parsed = _parsed(lines[at:end])
            while parsed is None and end < len(lines):  # a list or a text over several lines
                end += 1
                parsed = _parsed(lines[at:end])
            path = _first_path(parsed or {})
            opens = len(bare) - len(bare.lstrip("["))
            column = len(line) - len(line.lstrip()) + opens + 1
            if opens:
                table, path = path, ()
            for length in range(1, len(path) + 1):
                found.setdefault(table + path[:length], (at + 1, column))
            if opens:
                found.setdefault(table, (at + 1, column))
        at = end
    return found


def _parsed(lines: Iterable[str]) -> dict[str, Any] | None:
    try:
        return tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return None


def _first_path(parsed: Mapping[str, Any]) -> Path:
    """The keys on the way down, as long as there is one way."""
    path: list[str] = []
    inner: Any = parsed
    while isinstance(inner, dict) and len(inner) == 1:
        path.append(next(iter(inner)))
        inner = inner[path[-1]]
    return tuple(path)


def told(error: Mapping[str, Any], *, under: Path, origin: Origin, known: Collection[str]) -> str:
    """One line of one error of pydantic's; `known` are the keys that may stand where it is."""
    loc = [part for part in error["loc"] if not (isinstance(part, str) and "[" in part)]
    path = [*under, *(part for part in loc if isinstance(part, str))]
    entry = next((f" entry {part + 1}" for part in loc if isinstance(part, int)), "")
    where = origin.of(path)
    name = ".".join(path)
    lead = f"{where}: " if where else ""
    if error["type"] == "extra_forbidden":
        return f"{lead}unknown setting '{name}'{near(path[-1], known)}"
    return f"{lead}{name}{entry}{_saying(error)}"


def _saying(error: Mapping[str, Any]) -> str:
    kind = str(error["type"])
    if kind == "value_error":
        return f": {str(error['msg']).removeprefix('Value error, ')}"
    words = next((words for start, words in _WORDS if kind.startswith(start)), "")
    try:
        return f" {words.format(**error.get('ctx', {}))}" if words else f": {error['msg']}"
    except KeyError:
        return f": {error['msg']}"


def near(word: str, known: Collection[str]) -> str:
    """`: did you mean 'port'?`, or what there is, or nothing where nothing can be said."""
    close = did_you_mean(word, known)
    return f": {close}" if close else f" (known: {', '.join(sorted(known))})" if known else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean 'ga4'?`, or "" when nothing is near."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean '{close[0]}'?" if close else ""
