"""structlog with an allow-list of keys: a key that is not listed never reaches a log line, whatever it holds.

Lines are about the gateway, never about an event's contents: an accepted request writes none, the log entry is its record.
"""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import structlog

#: Closed words, counts, names from configuration and files. No addresses, ids of people, URLs or free text from requests.
KEYS: Final = frozenset({
    "event", "level", "timestamp", "error_id", "kind", "code", "hint", "place", "file", "line", "digest", "destination", "outcome",
    "reason", "status", "count", "attempts", "seconds", "ms", "url_host", "port", "host", "path", "version", "signal", "segment",
    "problems", "waiting", "policies", "durability", "site", "where", "retry_in_s", "destinations",
})  # fmt: skip


def only_known_keys(_: Any, __: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop what is not on the list and count it, so that a forgotten key is noticed in tests, not in a leak."""
    unknown = [key for key in event_dict if key not in KEYS]
    for key in unknown:
        del event_dict[key]
    if unknown:
        event_dict["count"] = len(unknown)
        event_dict["hint"] = "keys not on the allow-list of log.py were dropped"
    return event_dict


def escape(_: Any, __: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Control and direction characters could forge lines or hide text on a terminal (specs/reliability.md §4.16)."""
    for key, value in event_dict.items():
        if isinstance(value, str) and not value.isprintable():
            event_dict[key] = value.encode("unicode_escape").decode("ascii")
    return event_dict


def configure(form: str = "json", stream: TextIO | None = None) -> None:
    """Set up logging once for the process: JSON lines, or aligned text for a terminal. Tracebacks never show locals."""
    out = stream or sys.stderr
    shared: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        only_known_keys,
        escape,
    ]
    if form == "json":
        shared.append(structlog.processors.JSONRenderer(sort_keys=True))
    else:
        shared.append(structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback))
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(20),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )


def get() -> Any:
    """The logger. Events are dotted names: `log.get().info("policy.activated", digest=…)`."""
    return structlog.get_logger()
