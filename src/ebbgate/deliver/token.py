"""The access token of a destination that takes one: got with its credentials, kept until shortly before it ends, refreshed once."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from ebbgate.deliver.classify import Failed
from ebbgate.deliver.client import Sender
from ebbgate.deliver.clock import Watch
from ebbgate.destinations.kit import HttpRequest, OAuth

EARLY_S: Final = 120.0
SHORTEST_S: Final = 30.0
#: A platform that does not say how long its token lasts is asked again after this.
UNSAID_S: Final = 600.0


class TokenRefused(Exception):
    """No token was given. `reason` is a closed word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Tokens:
    """Tokens of one destination. Nothing of the token or the credentials is ever shown or logged."""

    def __init__(self, oauth: OAuth, settings: Any, watch: Watch) -> None:
        self._oauth = oauth
        self._settings = settings
        self._watch = watch
        self._token = ""
        self._number = 0  #: how many tokens there were: requests in flight at once may carry different ones
        self._until_s = 0.0
        self._refreshed = False  #: the token in use was got because the one before was refused
        self._lock = asyncio.Lock()

    async def authorise(self, request: HttpRequest, sender: Sender) -> tuple[HttpRequest, int]:
        """The request with its authorisation, and the number of its token; a ready token in the settings needs none of ours (0).

        Requests that ask at the same time share one. Raises TokenRefused when there is no token to be had.
        """
        asking = self._oauth.request(self._settings, self._watch.wall_ms() // 1000)
        if asking is None:
            return request, 0
        async with self._lock:
            if not self._token or self._watch.mono_s() >= self._until_s:
                await self._ask(asking, sender)
            return self._oauth.apply(request, self._token), self._number

    def forget(self, number: int) -> bool:
        """The platform refused this token. True when another may help: there is one already, or asking for one was not yet tried.

        One is asked for once, until a request with it was taken: all requests that were sent with the refused one share it.
        """
        if not number:
            return False
        if number != self._number or not self._token:
            return True
        self._token = ""
        may_help, self._refreshed = not self._refreshed, True
        return may_help

    def worked(self, number: int) -> None:
        """A request with this token was taken."""
        if number == self._number:
            self._refreshed = False

    async def _ask(self, asking: HttpRequest, sender: Sender) -> None:
        found = await sender.send(asking, _always)
        if isinstance(found, Failed):
            raise TokenRefused(f"token_{found.reason}")
        if found.status != 200:
            raise TokenRefused(f"token_http_{found.status}")
        try:
            body = json.loads(found.body)
            token, lasts_s = body["access_token"], float(body.get("expires_in", UNSAID_S))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise TokenRefused("token_unreadable") from None
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
            raise TokenRefused("token_unreadable")
        self._token, self._number = token, self._number + 1
        self._until_s = self._watch.mono_s() + max(SHORTEST_S, lasts_s - EARLY_S)


def _always() -> bool:
    return True
