"""The composition root: settings → keys, policies, destinations, store → the two ASGI apps and the delivery workers."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ebbgate import log
from ebbgate.audit.entry import policy_activated
from ebbgate.choices import TEND_EVERY_S, Choices
from ebbgate.consent.resolve import Resolver
from ebbgate.deliver.runner import Runner, open_lane
from ebbgate.destinations.kit import Destination, DestinationSettings
from ebbgate.destinations.registry import DESTINATIONS
from ebbgate.edge.admin import admin_app
from ebbgate.edge.consent import ConsentEndpoint
from ebbgate.edge.dialects import Dialects
from ebbgate.edge.doctor import DoctorEndpoint
from ebbgate.edge.events import EventsEndpoint
from ebbgate.edge.limits import RateLimit
from ebbgate.edge.metrics import render_metrics
from ebbgate.edge.public import public_app
from ebbgate.edge.serving import address, listen, served
from ebbgate.edge.sites import Sites
from ebbgate.edge.status import StatusEndpoint
from ebbgate.edge.visitor import Visitors
from ebbgate.edge.visitor_cookie import VisitorCookie
from ebbgate.errors import ConfigError, StoreError
from ebbgate.pipeline import Decided, Pipeline, Status
from ebbgate.policy.holder import PolicyHolder
from ebbgate.policy.plan import DestinationFacts
from ebbgate.recorder import Recorder
from ebbgate.setting_errors import did_you_mean, told
from ebbgate.settings import Settings
from ebbgate.store.keys import KeyRing
from ebbgate.store.open import open_store
from ebbgate.store.protocol import Store

DAY_MS = 24 * 3600 * 1000
BUSY_REQUESTS = 8  #: requests being decided or stored at once from which on the intake comes first
BUSY_S = 0.1  #: for how long after that: between two rounds of requests none is under way


def clock_ms() -> int:
    """Wall clock, milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


def facts_of(destinations: Mapping[str, Destination]) -> dict[str, DestinationFacts]:
    """What policies must know of destinations, so that they need not import them."""
    return {
        name: DestinationFacts(
            name=name,
            hashes=d.hashes,
            demands_hash=d.demands_hash,
            restriction_flags=d.restriction_flags,
            reserved_events=d.reserved_events,
            max_age_s=d.max_age_s,
            kind=d.kind,
        )
        for name, d in destinations.items()
    }


@dataclass(frozen=True, slots=True, repr=False)
class Configured:
    """A destination together with its checked settings."""

    destination: Destination
    settings: DestinationSettings


def configure_destinations(settings: Settings) -> dict[str, Configured]:
    """Check the settings of every configured destination. Raises ConfigError naming keys, never values."""
    found: dict[str, Configured] = {}
    for name, given in sorted(settings.destinations.items()):
        destination = DESTINATIONS.get(name)
        if destination is None:
            where = settings.origin.of(("destinations", name))
            hint = did_you_mean(name, DESTINATIONS) or "see `ebbgate destination list`"
            raise ConfigError(f"{where}: destinations.{name}: no such destination", hint=hint)
        try:
            checked = destination.settings.model_validate(dict(given))
        except ValidationError as error:
            keys = destination.settings.model_fields
            problems = "\n".join(
                told(e, under=("destinations", name), origin=settings.origin, known=keys)
                for e in error.errors(include_input=False, include_url=False)
            )
            raise ConfigError(problems, hint=f"settings keys of {name}: {', '.join(keys)}") from None
        found[name] = Configured(destination, checked)
    return found


class Gateway:
    """One gateway: everything wired, nothing started until `async with gateway.running():`."""

    def __init__(
        self,
        settings: Settings,
        *,
        keys: KeyRing | None = None,
        store: Store | None = None,
        watch: Callable[[Decided, Status], None] | None = None,
        now_ms: Callable[[], int] = clock_ms,
    ) -> None:
        self.settings = settings
        self._busy_until_s = 0.0
        self.keys = keys or KeyRing.load(settings.keys.directory)
        self.configured = configure_destinations(settings)
        facts = facts_of(DESTINATIONS)
        self.policies = PolicyHolder(settings.policies.path, facts, configured=tuple(self.configured))
        self.store = store or open_store(
            settings.store.url,
            self.keys,
            window_ms=int(settings.store.duplicate_window_days * DAY_MS),
            segment_events=settings.store.segment_events,
            min_free_bytes=settings.store.min_free_bytes,
        )
        lanes = [open_lane(c.destination, c.settings, deadline_s=settings.delivery.deadline_s) for c in self.configured.values()]
        self.runner = Runner(lanes, store=self.store, policies=lambda: self.policies.current, busy=self._busy, node=self.keys.node)
        self.choices = Choices(
            self.store, self.keys, clock_ms=now_ms, entropy=os.urandom, wake=self.runner.wake, bounds=settings.holds
        )
        self.recorder = Recorder(settings.store.url, clock_ms=now_ms)
        self.pipeline = Pipeline(
            policies=self.policies,
            resolver=Resolver(),
            choices=self.choices,
            store=self.store,
            keys=self.keys,
            destinations=tuple(self.configured),
            clock_ms=now_ms,
            entropy=os.urandom,
            wake=self.runner.wake,
            kind=self.recorder.kind,
            watch=watch,
        )
        self.sites = Sites(settings.sites)
        self.visitors = Visitors(settings.server.trusted_proxies)
        self._now_ms = now_ms
        limits = settings.limits
        self.limits = (
            RateLimit(limits, self.sites, self.visitors, prefix=settings.server.prefix, now_s=time.monotonic, entropy=os.urandom)
            if limits.per_address_per_s or limits.per_key_per_s
            else None
        )
        self.public = self._public_app()
        self.admin = admin_app(
            settings.admin.tokens, self.problems, metrics=self._metrics, queues=self.store.queues, prefix=settings.server.prefix
        )
        self.collect_at = ""
        self.admin_at = ""

    def _public_app(self) -> Any:
        server = self.settings.server
        cookie = VisitorCookie(
            self.settings.visitor_cookie, self.choices, self.keys, govern=self.pipeline.govern, entropy=os.urandom
        )
        events = EventsEndpoint(
            server, self.sites, self.visitors, self.pipeline, cookie, clock_ms=self._now_ms, new_id=lambda: secrets.token_hex(16)
        )
        consent = ConsentEndpoint(
            server,
            self.sites,
            self.visitors,
            self.choices,
            self.keys,
            cookie,
            govern=self.pipeline.govern,
            purposes=lambda: {rule.name for policy in self.policies.current.policies for rule in policy.consent.purposes},
            drained=self.runner.drained,
            clock_ms=self._now_ms,
            durability=self.store.durability,
        )
        status = StatusEndpoint(
            self.sites, self.visitors, self.choices, self.keys, cookie, govern=self.pipeline.govern, clock_ms=self._now_ms
        )
        dialects = Dialects(
            server, self.sites, self.visitors, self.pipeline, self.choices, self.keys, cookie, clock_ms=self._now_ms
        )
        doctor = DoctorEndpoint(
            self.keys,
            self.visitors,
            ready=self.problems,
            policies=lambda: len(self.policies.current.policies),
            clock_ms=self._now_ms,
        )
        return public_app(
            server.prefix,
            events,
            consent,
            status,
            dialects,
            doctor,
            self.problems,
            gpc_since=server.gpc_well_known,
            limits=self.limits,
        )

    def _busy(self) -> bool:
        """True while requests queue up: deliveries leave the event loop to them (`deliver/pace.py`)."""
        now_s = time.monotonic()
        if self.pipeline.under_way >= BUSY_REQUESTS:
            self._busy_until_s = now_s + BUSY_S
        return now_s < self._busy_until_s

    def problems(self) -> list[str]:
        """Why the gateway is not ready: empty when events can be taken."""
        found = []
        if not self.store.healthy():
            found.append("the store cannot be written: its disk is full, or a write failed (see the log)")
        if self.policies.current is None:
            found.append("no policy is loaded")
        return found

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Gateway]:
        """Serve until the block ends: store open, listeners up, workers at work; all undone in reverse order."""
        async with AsyncExitStack() as stack:
            await self._start(stack)
            yield self

    async def _start(self, stack: AsyncExitStack) -> None:
        server = self.settings.server
        # Sockets first: a taken port must be found before anything is written.
        public = listen(server.host, server.port, what="server")
        stack.callback(public.close)
        admin = listen(self.settings.admin.host, self.settings.admin.port, what="admin")
        stack.callback(admin.close)
        self.collect_at, self.admin_at = address(public), address(admin)
        await self.store.open()
        stack.push_async_callback(self.store.close)
        await self.recorder.open()
        stack.push_async_callback(self.recorder.close)
        await self._record_policies()
        if self.settings.delivery.enabled:
            await self.runner.start()
            stack.push_async_callback(self.runner.stop)
        for chore in (self._reload_forever(), self._tend_forever(), self._watch_store(), self.recorder.run()):
            stack.push_async_callback(_cancel, asyncio.create_task(chore))
        await stack.enter_async_context(
            served(
                self.public,
                public,
                head_timeout_s=server.header_timeout_s,
                max_per_address=server.max_connections_per_address,
                exempt=self.visitors.trusts,
            )
        )
        await stack.enter_async_context(served(self.admin, admin))

    async def until_broken(self, stopped: asyncio.Event) -> bool:
        """Wait for `stopped`. True when the store broke first: the process must end and a fresh one check (reliability.md §2.1)."""
        waits = [asyncio.ensure_future(stopped.wait()), asyncio.ensure_future(self._broken())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return not stopped.is_set()
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _broken(self) -> None:
        while self.store.trusted() and not self.runner.is_broken():  # noqa: ASYNC110  the store breaks in another thread
            await asyncio.sleep(0.2)

    async def _metrics(self) -> bytes:
        outcomes = {(name, str(how)): n for name, lane in self.runner.states().items() for how, n in lane.figures.outcomes.items()}
        return render_metrics(
            self.pipeline,
            await self.store.queues(),
            outcomes,
            healthy=self.store.healthy(),
            policy=self.policies.current.digest,
            refused=bool(self.policies.problems),
            blocked={name: lane.figures.blocked for name, lane in self.runner.states().items()},
            limited=self.limits.refused if self.limits else {},
            senders=self.limits.remembered if self.limits else 0,
        )

    async def _record_policies(self) -> None:
        current = self.policies.current
        await self.recorder.activated(current.digest, self.policies.texts)
        entry = policy_activated(
            digest=current.digest, files={p.file: p.digest for p in current.policies}, node=self.keys.node, at_ms=self._now_ms()
        )
        await self.store.record([entry])
        log.get().info("policy.activated", digest=current.digest[:12], policies=len(current.policies))

    async def _reload_forever(self) -> None:
        """Look at the policy files again and again; only a good revision that differs is put in force (DESIGN §4)."""
        refused = False
        while True:
            await asyncio.sleep(self.settings.policies.reload_s)
            result = await asyncio.to_thread(self.policies.reload)
            if result.activated:
                await self._record_policies()
                self.runner.wake(self.configured)
                refused = False
            elif result.broken:
                refused, first = True, result.problems[0]
                log.get().error(
                    "policy.refused", problems=len(result.problems), file=first.file, line=first.line, code=first.code,
                    hint="the revision in force stays; `ebbgate check` tells more",
                )  # fmt: skip
            elif refused and not self.policies.problems:
                refused = False
                log.get().info("policy.restored", digest=self.policies.current.digest[:12])

    async def _watch_store(self) -> None:
        """Say once when the store takes nothing more, and once when it takes events again."""
        well = True
        while True:
            if self.store.healthy() != well:
                well = not well
                if well:
                    log.get().info("store.writable")
                else:
                    log.get().error("store.unwritable", hint="events are answered 503 until there is room")
            await asyncio.sleep(1)

    async def _tend_forever(self) -> None:
        """Parked events: what a crash cut short is finished, and what waited too long is shredded."""
        while True:
            try:
                await self.choices.tend(may_expire=not self.runner.watch.frozen)
            except StoreError as error:
                log.get().error("held.not_settled", code=error.code)
            await asyncio.sleep(TEND_EVERY_S)


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
