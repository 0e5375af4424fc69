"""The first-party cookie: a random id that the server sets after a grant, and only then (specs/experience.md §3).

HttpOnly, Secure, SameSite=Lax, at most 400 days, never prolonged, removed on a refusal. It serves as `visitor.client_id` where
neither the event nor another cookie names the browser. A script cannot read it, and Safari does not cut its life to seven days as
it does for cookies that scripts set.

`edge/events.py`, `edge/dialects.py` and `edge/consent.py` ask here; what a grant is they decide by the policy of the place,
never by this file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from ebbgate.choices import Choices
from ebbgate.collect.native import Collected, subjects_of
from ebbgate.edge.head import Head, one_cookie
from ebbgate.edge.problems import Headers
from ebbgate.model import Consent, ConsentState, Event, Place, Trust, Value
from ebbgate.pipeline import Govern
from ebbgate.settings import VisitorCookieSettings
from ebbgate.store.keys import KeyRing, split_subject

CLIENT_ID: Final = "visitor.client_id"
_ANONYMOUS_ID: Final = "visitor.anonymous_id"
_BROWSER: Final = Trust.BROWSER  # looked up once: in Python 3.11 an enumeration's member costs as much as a call
#: A random number and the second of its making: the form that GA4 knows as a client id.
_VALUE: Final = re.compile(r"[0-9]{1,19}\.([0-9]{10})", re.ASCII)
#: Where a state comes from when nobody answered.
_NO_ANSWER: Final = frozenset({"none", "default", ""})
DAY_S: Final = 86_400


class VisitorCookie:
    """Reads, makes and removes the cookie of one gateway. Pure but for the choices on record; ids come from `entropy`."""

    def __init__(
        self,
        settings: VisitorCookieSettings,
        choices: Choices,
        keys: KeyRing,
        *,
        govern: Govern,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._settings = settings
        self._choices = choices
        self._keys = keys
        self._govern = govern
        self._entropy = entropy

    def read(self, head: Head, now_ms: int) -> str | None:
        """The id that a request brings; None when there is none, it has another form, or it is older than it may be."""
        if not self._settings.enabled or not head.cookie:
            return None
        value = one_cookie(head.cookie, self._settings.name)
        found = _VALUE.fullmatch(value) if value else None
        if found is None or not 0 <= now_ms // 1000 - int(found[1]) + DAY_S <= (self._settings.days + 1) * DAY_S:
            return None
        return value

    def fields(self, fields: dict[str, Value], head: Head, now_ms: int) -> dict[str, Value]:
        """The fields of a browser's request with its id, where no other cookie names the browser."""
        value = self.read(head, now_ms)
        if value is not None:
            fields.setdefault(CLIENT_ID, value)
        return fields

    def on_events(self, collected: Sequence[Collected], head: Head, now_ms: int) -> Sequence[Collected]:
        """The events of a browser's request with the id that it brings, for dialects that read no fields of ours before parsing."""
        value = self.read(head, now_ms)
        if value is None:
            return collected
        return [
            one if one.event is None or one.event.trust is not Trust.BROWSER or CLIENT_ID in one.event.fields
            else replace(one, event=_with_id(one.event, value))
            for one in collected
        ]  # fmt: skip

    def concerns(self, head: Head, collected: Sequence[Collected]) -> bool:
        """False when `for_events` would change nothing and add nothing, whatever these events' consent."""
        if not self._settings.enabled:
            return False
        if head.cookie:
            return True
        for one in collected:
            event = one.event
            if event is not None and event.trust is _BROWSER and not _named(event):
                return True
        return False

    async def for_events(
        self, head: Head, collected: Sequence[Collected], place: Place, now_ms: int
    ) -> tuple[Sequence[Collected], Headers]:
        """The events of a browser's request with an id where they may have one, and the headers that set or remove the cookie.

        Each event is judged by its own consent: of a request with several, only those that grant get the new id.
        """
        if not self._settings.enabled:
            return collected, []
        had = self.read(head, now_ms) is not None
        made = ""
        found: list[Collected] = []
        for one in collected:
            event = one.event
            if event is None or event.trust is not _BROWSER or (not had and _named(event)):
                found.append(one)
                continue
            state = self._asked(self._govern(one.signals, place, now_ms)[1])
            if had and state is ConsentState.DENIED:
                return collected, [self._removed()]
            if not had and state is ConsentState.GRANTED and not await self._refused_before(event):
                made = made or self._new(now_ms)
                one = replace(one, event=_with_id(event, made))
            found.append(one)
        return found, [self._set(made)] if made else []

    def for_choice(self, head: Head, event: Event, explicit: Mapping[str, str], now_ms: int) -> tuple[Event, Headers]:
        """The event of a browser's choice with its id, and the headers that go with what was chosen: purpose → granted | denied."""
        if not self._settings.enabled or event.trust is not Trust.BROWSER:
            return event, []
        states = [explicit.get(name) for name in self._settings.needs]
        if ConsentState.DENIED.value in states:
            return event, [self._removed()] if self.read(head, now_ms) is not None else []
        if _named(event) or any(state != ConsentState.GRANTED.value for state in states):
            return event, []
        made = self._new(now_ms)
        return _with_id(event, made), [self._set(made)]

    def _asked(self, consent: Consent) -> ConsentState:
        """Granted when each needed purpose was granted by an answer; denied when one was denied by an answer; else unknown."""
        states = []
        for name in self._settings.needs:
            purpose = consent.purposes.get(name)
            states.append(ConsentState.UNKNOWN if purpose is None or purpose.source in _NO_ANSWER else purpose.state)
        if ConsentState.DENIED in states:
            return ConsentState.DENIED
        return ConsentState.GRANTED if all(state is ConsentState.GRANTED for state in states) else ConsentState.UNKNOWN

    async def _refused_before(self, event: Event) -> bool:
        """True when the person, known by another id, has a refusal on record that this event's own signals do not show."""
        if not event.subjects:
            return False
        joined = self._keys.subject_keys(event.site, event.subjects)
        states = dict(self._choices.states(joined, await self._choices.load(split_subject(joined))))
        return any(states.get(name) == ConsentState.DENIED.value for name in self._settings.needs)

    def _new(self, now_ms: int) -> str:
        return f"{int.from_bytes(self._entropy(8)) % 10**18}.{now_ms // 1000}"

    def _set(self, value: str) -> tuple[bytes, bytes]:
        return self._header(value, self._settings.days * DAY_S)

    def _removed(self) -> tuple[bytes, bytes]:
        return self._header("", 0)

    def _header(self, value: str, max_age_s: int) -> tuple[bytes, bytes]:
        cookie = f"{self._settings.name}={value}; Max-Age={max_age_s}; Path=/; HttpOnly; Secure; SameSite=Lax"
        return b"set-cookie", cookie.encode("ascii")


def _named(event: Event) -> bool:
    return CLIENT_ID in event.fields or _ANONYMOUS_ID in event.fields


def _with_id(event: Event, value: str) -> Event:
    fields = {**event.fields, CLIENT_ID: value}
    return replace(event, fields=fields, subjects=subjects_of(fields))
