"""URL-encoded parameters, and the consent signals that travel among them (specs/wire-formats.md §5a, specs/consent.md §4). Pure.

One reading only: broken percent-escapes are refused, and of a parameter given twice with different values no one is taken as
consent, for which one counts would be a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl

from msgspec.structs import replace

from ebbgate.errors import RequestError
from ebbgate.model import Signals

MAX_PARAMETERS: Final = 512
MAX_VALUE_BYTES: Final = 8 * 1024

#: parameter → member of Signals, taken as text.
_TEXTS: Final = {
    "gcs": "gcs",
    "gcd": "gcd",
    "npa": "npa",
    "dma": "dma",
    "gdpr_consent": "tcf",
    "addtl_consent": "addtl_consent",
    "us_privacy": "us_privacy",
    "gpp": "gpp",
}
_MEMBERS: Final = {**_TEXTS, "gdpr": "gdpr_applies", "gpp_sid": "gpp_sid", "gpc": "gpc"}
_FLAGS: Final = {"1": True, "0": False}


@dataclass(frozen=True, slots=True, repr=False)
class Form:
    """Parameters by name, the first of a name; `ambiguous` are those given more than once with different values."""

    values: Mapping[str, str]
    ambiguous: frozenset[str] = frozenset()

    def under(self, other: Form) -> Form:
        """These parameters with `other`'s laid over them."""
        return Form({**self.values, **other.values}, (self.ambiguous - other.values.keys()) | other.ambiguous)

    def __repr__(self) -> str:
        return f"Form({len(self.values)} parameters)"


def read_form(text: str) -> Form:
    """Decode `a=1&b=2`. Raises RequestError for what is no UTF-8, too many parameters, NUL, or a value over 8 KiB."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="strict")
    except UnicodeDecodeError:
        raise RequestError("parameters are not UTF-8", code="form_not_utf8", hint="encode them with encodeURIComponent") from None
    except ValueError:
        raise RequestError(
            f"more than {MAX_PARAMETERS} parameters", status=413, code="form_too_many_parameters", hint="send fewer"
        ) from None
    values: dict[str, str] = {}
    ambiguous: set[str] = set()
    for name, value in pairs:
        if "\x00" in value or "\x00" in name:
            raise RequestError("a parameter holds a NUL character", code="form_nul", hint="remove it")
        if len(value.encode()) > MAX_VALUE_BYTES or len(name) > MAX_VALUE_BYTES:
            raise RequestError(f"a parameter is longer than {MAX_VALUE_BYTES} bytes", code="form_long_value", hint="shorten it")
        if values.setdefault(name, value) != value:
            ambiguous.add(name)
    return Form(values, frozenset(ambiguous))


def form_signals(form: Form, request: Signals) -> Signals:
    """The consent parameters of a hit, laid over what the request's head says. What cannot be read stays as malformed evidence."""
    found: dict[str, Any] = {}
    malformed: list[str] = []
    for parameter in sorted(_MEMBERS.keys() & form.values.keys()):
        value, member = form.values[parameter], _MEMBERS[parameter]
        if not value.strip():
            continue  # tags send empty parameters for what a page does not have
        read = _read(parameter, value) if parameter not in form.ambiguous else None
        if read is None:
            malformed.append(member)
        else:
            found[member] = read
    if not found and not malformed:
        return request
    found["gpc"] = request.gpc or found.get("gpc", False)
    return replace(request, **found, malformed=(*request.malformed, *malformed))


def query_key(query: str, name: str) -> str | None:
    """A key that a client puts into the query; None when it is missing, given twice, or the query cannot be read."""
    try:
        given = parse_qs(query, max_num_fields=MAX_PARAMETERS).get(name, [])
    except ValueError:
        return None
    return given[0] if len(given) == 1 else None


def _read(parameter: str, value: str) -> Any:
    """The parameter's value in its member's type, None for what cannot be read."""
    if parameter in _TEXTS:
        return value
    return _sids(value) if parameter == "gpp_sid" else _FLAGS.get(value)


def _sids(text: str) -> tuple[int, ...] | None:
    """`7`, `7,8`, `7_8` → section ids."""
    parts = [part.strip() for part in text.replace("_", ",").split(",")]
    return tuple(map(int, parts)) if all(p.isascii() and p.isdigit() and len(p) < 4 for p in parts) else None
