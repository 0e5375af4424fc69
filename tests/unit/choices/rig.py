"""The gateway's middle without sockets: pipeline, ledger, consent endpoint and workers over a store, in a time of its own."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ebbgate.choices import Choices
from ebbgate.collect import native
from ebbgate.consent.resolve import Resolver
from ebbgate.deliver.client import Sender
from ebbgate.deliver.lane import Lane, Limits
from ebbgate.deliver.runner import Runner
from ebbgate.destinations.kit import DestinationSettings, Row
from ebbgate.edge.consent import ConsentEndpoint
from ebbgate.edge.sites import Sites
from ebbgate.edge.visitor import Visitors
from ebbgate.edge.visitor_cookie import VisitorCookie
from ebbgate.model import CleanEvent, Decision, Place, Trust
from ebbgate.pipeline import Decided, Pipeline, Status
from ebbgate.policy.holder import PolicyHolder
from ebbgate.policy.plan import DestinationFacts
from ebbgate.policy.shapes import Observations
from ebbgate.settings import HoldSettings, ServerSettings, SiteSettings, VisitorCookieSettings
from ebbgate.store.keys import KeyRing
from ebbgate.store.memory import MemoryStore
from ebbgate.store.options import Options
from ebbgate.store.protocol import Store
from ebbgate.store.sqlite import SqliteStore
from tests.unit.deliver.fakes import HandClock, destination

GERMANY = Place("DE")
ORIGIN = "https://shop.example"
SERVER_KEY = "rig-server-key-not-a-secret"
HOLD = """
policy: Visitors who decide later
owner: privacy@shop.example
reason: tests of events that wait for their visitor
applies_to: {countries: [DE], when_country_unknown: apply}
consent:
  model: opt_in
  read_from: [event, gpp]
  if_missing: hold
  if_sources_disagree: most_protective
  hold_for: 10 minutes
  gpc_counts_as: [advertising]
  purposes:
    analytics: {categories: [analytics]}
    advertising: {categories: [marketing]}
destinations:
  sink:
    needs: [analytics]
    events: all
    send: [event, order.value, visitor.client_id]
  ads:
    needs: [analytics, advertising]
    events: all
    send: [event, order.value, visitor.client_id]
keep_evidence_for: 24 months
"""


@asynccontextmanager
async def running(clock: HandClock, *, step_s: float = 0.05) -> AsyncIterator[HandClock]:
    """Time passes by `step_s` about every millisecond, and only while the event loop turns: a busy machine slows it too."""

    async def tick() -> None:
        while True:
            await asyncio.sleep(0.001)
            clock.pass_s(step_s)

    ticking = asyncio.create_task(tick())
    try:
        yield clock
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)


def _render(clean: CleanEvent, settings: DestinationSettings) -> Row:
    return {"id": clean.id, "time": clean.time_ms, "consent": dict(clean.consent)}


#: Workers sleep in real time: their pauses are short.
QUICK = Limits(poll_s=0.005, base_s=0.02, gap_s=0.005, margin_s=1.0, cursor_s=1.0, full_s=0.01, observe_s=0.02)


class Middle:
    """Everything between the sockets."""

    def __init__(
        self,
        folder: Path,
        senders: Mapping[str, Sender],
        *,
        store: Store | None = None,
        keys: KeyRing | None = None,
        clock: HandClock | None = None,
        bounds: HoldSettings | None = None,
        policy: str = HOLD,
    ) -> None:
        self.clock = clock or HandClock()
        self.keys = keys or KeyRing.ephemeral()
        self.store = store or MemoryStore()
        (folder / "policies").mkdir(exist_ok=True)
        (folder / "policies" / "eu.yaml").write_text(policy, encoding="utf-8")
        names = ("sink", "ads")
        self.policies = PolicyHolder(folder / "policies", {n: DestinationFacts(n) for n in names}, configured=names)
        settings = DestinationSettings(endpoint="http://127.0.0.1:9")
        lanes = [Lane(destination(n, events=4, render=_render), settings, sender, 2.0) for n, sender in senders.items()]
        self.runner = Runner(
            lanes, store=self.store, policies=lambda: self.policies.current, clock=self.clock, limits=QUICK, draw=lambda: 0.5
        )
        self.woken: list[Collection[str] | None] = []
        self.choices = Choices(
            self.store, self.keys, clock_ms=self.clock.wall_ms, entropy=os.urandom, wake=self._wake, bounds=bounds
        )
        self.decided: list[Decided] = []
        self.seen = Observations()
        self.pipeline = Pipeline(
            policies=self.policies,
            resolver=Resolver(),
            choices=self.choices,
            store=self.store,
            keys=self.keys,
            destinations=names,
            clock_ms=self.clock.wall_ms,
            entropy=os.urandom,
            wake=self._wake,
            kind=self.seen.kind,
            watch=self._watch,
        )
        self.endpoint = ConsentEndpoint(
            ServerSettings(),
            Sites({"shop": SiteSettings.model_validate({"origins": [ORIGIN], "server_keys": [SERVER_KEY]})}),
            Visitors(()),
            self.choices,
            self.keys,
            VisitorCookie(VisitorCookieSettings(), self.choices, self.keys, govern=self.pipeline.govern, entropy=os.urandom),
            govern=self.pipeline.govern,
            purposes=lambda: {rule.name for policy in self.policies.current.policies for rule in policy.consent.purposes},
            drained=self.runner.drained,
            clock_ms=self.clock.wall_ms,
            durability=self.store.durability,
        )

    def _wake(self, names: Collection[str] | None = None) -> None:
        self.woken.append(names)
        self.runner.wake(names)

    def _watch(self, decided: Decided, status: Status) -> None:
        self.decided.append(decided)

    def key(self, subject: str) -> bytes:
        """The 16-byte key of `client:…` or `user:…`."""
        return self.keys.subject_key("shop", subject)

    async def post(self, *events: Mapping[str, Any]) -> list[Decision]:
        """Native events of visitors in Germany; gives the decisions of the last one."""
        found = native.parse_body(
            {"events": [dict(e) for e in events]},
            site="shop",
            trust=Trust.SERVER,
            received_ms=self.clock.wall_ms(),
            max_events=1000,
        )
        assert all(c.error is None for c in found)
        await self.pipeline.accept(found, GERMANY)
        return list(self.decided[-1].decisions)

    async def say(self, *subjects: str, **purposes: str) -> None:
        """Record a choice past the endpoint."""
        await self.choices.record({self.key(s): purposes for s in subjects})

    async def ask(
        self,
        body: Any,
        *,
        query: str = "",
        server: bool = True,
        headers: Iterable[tuple[str, str]] = (),
        method: str = "POST",
        bare: bool = False,
    ) -> tuple[int, Any]:
        """(status, answer) of the consent endpoint, asked by a page of the shop or by its server; `bare`: by neither."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = [("content-type", "application/json"), *headers]
        if not bare:
            sent.append(("authorization", f"Bearer {SERVER_KEY}") if server else ("origin", ORIGIN))
        scope = {
            "type": "http",
            "method": method,
            "path": "/e/consent",
            "query_string": query.encode(),
            "headers": [(k.encode(), v.encode()) for k, v in sent],
            "client": ("127.0.0.1", 1),
        }
        said: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": raw, "more_body": False}

        async def send(message: Any) -> None:
            said.append(message)

        await self.endpoint(scope, receive, send)
        answer = said[1]["body"]
        return said[0]["status"], json.loads(answer) if answer else None


def event(number: int | str, client: str = "c", consent: Mapping[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """A page view of a browser, with the purposes that it grants or denies."""
    whole: dict[str, Any] = {"event": "page_view", "id": f"{client}-{number}", "visitor": {"client_id": client}, **more}
    return whole | ({"consent": {"purposes": dict(consent)}} if consent else {})


@asynccontextmanager
async def opened(
    folder: Path, senders: Mapping[str, Sender] | None = None, *, disk: bool = False, start: bool = False, **options: Any
) -> AsyncIterator[Middle]:
    """A middle at work: on disk or in memory, with workers when told to start them."""
    keys = options.pop("keys", None) or KeyRing.ephemeral()
    store: Store | None = options.pop("store", None)
    if disk:
        clock = options.setdefault("clock", HandClock())
        store = SqliteStore(folder / "data" / "ebbgate.db", keys, Options(min_free_bytes=0, clock_ms=clock.wall_ms))
    middle = Middle(folder, senders or {}, store=store, keys=keys, **options)
    await middle.store.open()
    try:
        if start:
            await middle.runner.start()
        yield middle
    finally:
        await middle.runner.stop(grace_s=1)
        await middle.store.close()


async def until(done: Any, timeout_s: float = 20.0) -> None:
    """Until an async condition holds. Raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        while not await done():
            await asyncio.sleep(0.005)
