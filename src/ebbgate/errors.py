"""Every exception ebbgate raises on purpose.

    EbbgateError                 message, code, hint: shown to people, never holds an event's values
    ├── ConfigError              ebbgate.toml, environment or key files cannot be used
    ├── PolicyError              a policy or policy-test file is wrong; carries its problems
    ├── SignalError              a consent signal does not decode completely: it is no consent
    ├── RequestError             a request cannot be accepted; becomes problem JSON
    ├── EventError               one event of a request is not an event; becomes its `error`
    ├── DestinationError         a destination cannot be configured or built
    └── StoreError               the store cannot be trusted with an answer
        ├── StoreFull            no room or queue full: 503, try later
        ├── LeaseLost            a newer lease took over: the writer must stop
        └── StoreBroken          commit or fsync failed: the process must stop

A visitor's refusal is never an exception: it is a `Decision`.
"""

from __future__ import annotations

from dataclasses import dataclass


class EbbgateError(Exception):
    """Base of all of ours: a sentence, a stable code and what to do about it."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.hint = hint


class ConfigError(EbbgateError):
    """The settings or the key files cannot be used."""

    code = "config"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding in a policy or policy-test file. Lines and columns count from 1; 0 = the file as a whole."""

    file: str
    line: int
    column: int
    code: str  #: "P001" …: a page each in docs/reference/codes/
    message: str
    hint: str = ""
    excerpt: str = ""  #: the source line
    width: int = 1  #: how many characters of it are meant
    severity: str = "error"  #: error | warning
    replacement: str = ""  #: text that is safe to put there instead; "" = none


class PolicyError(EbbgateError):
    """A policy file does not load; `str()` is the printable list of problems."""

    code = "policy"

    def __init__(self, message: str, *, problems: tuple[Problem, ...] = (), code: str | None = None, hint: str = "") -> None:
        super().__init__(message, code=code, hint=hint)
        self.problems = problems


class SignalError(EbbgateError):
    """A consent signal that does not decode completely (specs/consent.md, ground rule 1)."""

    code = "signal"


class RequestError(EbbgateError):
    """A whole request that is refused, with its HTTP status (RFC 9457 problem)."""

    code = "request"

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str | None = None,
        hint: str = "",
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.status = status
        self.retry_after_s = retry_after_s


class EventError(EbbgateError):
    """One event that is refused; the message names paths, never values."""

    code = "event"


class DestinationError(EbbgateError):
    """A destination's settings or mapping cannot work."""

    code = "destination"


class StoreError(EbbgateError):
    """The store could not do what was asked; nothing was acknowledged."""

    code = "store"


class StoreFull(StoreError):
    """Queue or disk is full: the caller may try again later."""

    code = "store_full"


class LeaseLost(StoreError):
    """The fencing token is stale: someone else owns this destination's queue now."""

    code = "lease_lost"


class StoreBroken(StoreError):
    """A commit or fsync failed: what is on disk is unknown until a fresh process has checked."""

    code = "store_broken"
