"""A visitor's real browser on a website with the tag, and what a test asks of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.chromium import ARGUMENTS, CHROMIUM
from tests.e2e.harness import Gateway
from tests.tag.site import Hosts, Site, websites

GRANT: Final = "ebb('consent', {analytics: 'granted', advertising: 'granted'});"
REFUSE: Final = "ebb('consent', {analytics: 'denied', advertising: false});"
#: A page that looks for news only when something happens in it: the tag's own watch is taken away.
NO_POLLING: Final = "window.setInterval=()=>0;"
_PATIENCE_S: Final = 20  #: for what must come; nothing depends on it but how long a failing test takes


async def loaded(page: Any) -> None:
    """Until the tag runs. Playwright's own waiting needs eval, which the page's policy forbids."""
    async with asyncio.timeout(_PATIENCE_S):
        while not await page.evaluate("Boolean(window.ebb && ebb.status)"):
            await asyncio.sleep(0.005)


@dataclass
class Visit:
    """One visitor's browser: a page, its console and what the site's policy objected to."""

    site: Site
    gateway: Gateway
    context: Any
    page: Any
    complaints: list[str] = field(default_factory=list)

    def listen(self) -> None:
        """Note errors and warnings of the page from here on."""
        self.page.on("console", self._console)
        self.page.on("pageerror", self._error)

    def leave(self) -> None:
        """Note no more."""
        self.page.remove_listener("console", self._console)
        self.page.remove_listener("pageerror", self._error)

    def _console(self, message: Any) -> None:
        where = message.location.get("url", "")  # late words about the visit before are not this one's
        if message.type in ("error", "warning") and (not where or where.startswith(self.site.origin)):
            self.complaints.append(message.text)

    def _error(self, error: Any) -> None:
        self.complaints.append(str(error))

    async def open(self, path: str = "/", script: str = "", attributes: str = "") -> None:
        """Go to a page whose own script is `script`."""
        self.site.script, self.site.attributes = script, attributes
        await self.page.goto(self.site.origin + path)
        await loaded(self.page)

    async def do(self, script: str) -> Any:
        """Run a script in the page, as the site's own would."""
        return await self.page.evaluate(script)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, [(s.method, s.path, s.status, s.body[:200]) for s in self.site.sent]
            await asyncio.sleep(0.005)

    async def quiet(self, turns: int = 3) -> None:
        """Give the page the time in which it would send: a few turns of its own clock, and of the tag's watch beside it."""
        turn = "(n) => new Promise((done) => { const turn = () => (n-- ? setTimeout(turn, 30) : done()); turn() })"
        await self.page.evaluate(turn, turns)

    async def events(self, n: int) -> list[dict[str, Any]]:
        """The first `n` events that arrived; fails when there are more a moment later."""
        await self.until(lambda: len(self.site.events()) >= n)
        await asyncio.sleep(0.05)
        assert len(self.site.events()) == n, self.names()
        return self.site.events()

    def names(self) -> list[str]:
        """Names of the events that arrived, in order."""
        return [event["event"] for event in self.site.events()]

    async def cookies(self) -> list[Any]:
        """The site's cookies."""
        found: list[Any] = await self.context.cookies(self.site.origin)
        return found

    async def stored(self) -> tuple[list[str], int]:
        """Names of the cookies, and how many entries the page's storage has."""
        count = await self.do("localStorage.length + sessionStorage.length")
        return sorted(c["name"] for c in await self.cookies()), count

    async def forgotten(self) -> None:
        """Wait until cookies and storage are empty: the page reads an answer a moment after the site wrote it."""
        async with asyncio.timeout(_PATIENCE_S):
            while await self.stored() != ([], 0):
                await asyncio.sleep(0.01)


@dataclass
class Stage:
    """One gateway, one server of websites, one browser with one page for all visits that need no profile of their own."""

    hosts: Hosts
    gateway: Gateway
    browser: Any
    context: Any
    page: Any


@asynccontextmanager
async def staged(playwright: Any, folder: Path) -> AsyncIterator[Stage]:
    """The stage, until the block ends."""
    async with websites(folder) as (hosts, behind), playwright() as p:
        browser = await p.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = await browser.new_context()
        yield Stage(hosts, behind, browser, context, await context.new_page())
        await browser.close()


@asynccontextmanager
async def visiting(stage: Stage, *, init: str = "", **options: Any) -> AsyncIterator[Visit]:
    """A browser on a site it does not know; with `init` (a script before all others) or options in a profile of its own."""
    own = bool(init or options)
    context = await stage.browser.new_context(**options) if own else stage.context
    if init:
        await context.add_init_script(init)
    page = await context.new_page() if own else stage.page
    visit = Visit(stage.hosts.new(), stage.gateway, context, page)
    visit.listen()
    try:
        yield visit
    finally:
        visit.site.hanging.set()
        visit.leave()
        await (context.close() if own else _left(page))


async def _left(page: Any) -> None:
    """Leave whatever is shown. A page that is on its way elsewhere by itself arrives there first."""
    for _ in range(3):
        try:
            await page.goto("about:blank")
        except Exception as error:
            if "interrupted by another navigation" not in str(error):
                raise
            await page.wait_for_load_state()
        else:
            return
    raise AssertionError("the page does not come to rest")


def tcf(now_text: str, status: str, purposes: range) -> str:
    """Script of a TCF API that answers its listener at once, and again when the page calls `heard(…)`."""
    told = {
        "eventStatus": status, "tcString": now_text, "gdprApplies": True,
        "purpose": {"consents": {str(n): n in purposes for n in range(1, 12)}},
    }  # fmt: skip
    return f"window.__tcfapi=(c,v,f)=>{{window.heard=f;f({json.dumps(told)},true)}};"
