"""One batch of one destination, to its end: intent, request, answer, outcomes; and the halving of a batch that is refused.

The order is the promise: the intent is durable before the first byte (DESIGN §1.6), the gate's word is fresh at the first byte,
and what the answer means is durable before anything else is done with the rows (specs/reliability.md §2.2, §2.3).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from ebbgate import log
from ebbgate.audit.entry import Entry
from ebbgate.deliver import journal
from ebbgate.deliver.batching import Bisection, Search, batches, halves
from ebbgate.deliver.breaker import Breaker
from ebbgate.deliver.classify import Failed, Failure, by_failure, understand
from ebbgate.deliver.lane import Figures, Lane, Surroundings
from ebbgate.deliver.load import Load, Look, Progress
from ebbgate.deliver.outgoing import BLOCKED, FEW, Outgoing
from ebbgate.deliver.prepare import Item, Present, over, prepare_again, to_keep, window_s
from ebbgate.deliver.retry import backoff_s, row_result
from ebbgate.deliver.token import TokenRefused, Tokens
from ebbgate.destinations.kit import Act, Answer, Envelope, HttpRequest
from ebbgate.errors import StoreFull
from ebbgate.model import ConsentState, Outcome
from ebbgate.store.keys import split_subject
from ebbgate.store.protocol import Lease, Result, Store


async def _choices(store: Store, subjects: Collection[bytes]) -> dict[bytes, dict[str, tuple[str, int]]]:
    """The ledger of each event's subject, by its joined keys: a refusal under any of a visitor's ids is a refusal."""
    parts = {joined: split_subject(joined) for joined in subjects if joined}
    if not parts:
        return {}
    stored = await store.choices({key for keys in parts.values() for key in keys})
    found: dict[bytes, dict[str, tuple[str, int]]] = {}
    for joined, keys in parts.items() if stored else ():
        together: dict[str, tuple[str, int]] = {}
        for key in keys:
            for purpose, choice in stored.get(key, {}).items():
                known = together.get(purpose)
                if known is None or known[0] == ConsentState.GRANTED:
                    together[purpose] = choice
        if together:
            found[joined] = together
    return found


def _taken(answer: Answer) -> bool:
    """True for an answer that does not refuse the rows it is about."""
    return answer.act is Act.DONE and answer.outcome is not Outcome.REJECTED


class Attempts:
    """Sends batches of one destination. What concerns the destination as a whole goes to its breaker and its pause."""

    def __init__(self, around: Surroundings, lane: Lane, figures: Figures) -> None:
        self._around = around
        self._lane = lane
        self._figures = figures
        self._outgoing = Outgoing(lane.settings)
        self.breaker = Breaker(around.draw, scale=around.limits.gap_s)
        self._pause_until_s = 0.0
        self._failures = 0
        oauth = lane.destination.oauth
        self._tokens = None if oauth is None else Tokens(oauth, lane.settings, around.watch)
        self._epoch = 0
        self._flights: set[asyncio.Event] = set()
        self.stopping = False

    def wait_s(self) -> float:
        """Seconds until the destination may be tried again."""
        now_s = self._around.watch.mono_s()
        return max(0.0, self._pause_until_s - now_s, self.breaker.wait_s(now_s))

    def may_begin(self, lease: Lease) -> bool:
        """True when a request begun now would end well within the lease and nothing speaks against it."""
        need_ms = int((self._lane.deadline_s + self._around.limits.margin_s) * 1000)
        return not self.stopping and self.wait_s() == 0 and lease.until_ms - self._around.watch.steady_ms() >= need_ms

    async def quiesce(self) -> None:
        """Until every request that a look before this call let pass has ended; no other begins on such a look."""
        self._epoch += 1
        for flight in tuple(self._flights):
            await flight.wait()

    async def look(self, subjects: Collection[bytes]) -> Look:
        """Read the present as the gate needs it: the policies in force, the kill switches, what these visitors chose."""
        around, epoch, at_s = self._around, self._epoch, self._around.watch.mono_s()
        policies, disabled = around.policies(), frozenset(around.disabled())
        choices = await _choices(around.store, subjects)
        present = Present(
            policies=policies,
            disabled=disabled,
            choices=choices,
            now_ms=around.watch.latest_ms(),
            steady_ms=around.watch.steady_ms(),
            frozen=around.watch.frozen,
            frozen_retry_ms=int(around.limits.frozen_retry_s * 1000),
            queue_ttl_ms=around.limits.queue_ttl_ms,
        )
        return Look(present, at_s, epoch)

    def loads(self, items: Sequence[Item], look: Look) -> list[Load]:
        """Rows grouped into requests as the platform takes them."""
        key = self._lane.destination.batch_key
        groups = batches(items, limit=self._lane.destination.batch.events, key=None if key is None else lambda item: key(item.row))
        return [Load(group, look) for group in groups]

    async def deliver(self, load: Load, lease: Lease, progress: Progress) -> None:
        """Bring one batch as far as it goes now. Rows without an end stay in the queue as they are.

        Raises LeaseLost and StoreBroken of the store; nothing that the destination does.
        """
        waiting = [load]
        bisection: Bisection | None = None
        while waiting and self.may_begin(lease):
            part = waiting.pop()
            if not self._fresh(part.look):
                waiting.extend(reversed(await self._ask_again(part, lease, progress)))
                continue
            answer, rest = await self._one(part, lease, progress)
            refused = answer is not None and answer.act is Act.BISECT and bool(rest)
            if bisection is None:
                bisection = Bisection(len(part.items)) if refused else None
            elif answer is not None:
                bisection.asked(taken=_taken(answer))
            if refused and bisection is not None and self._lane.destination.check is not None:
                rest = await self._isolate(part, bisection, lease, progress)
            if bisection is not None and bisection.hopeless:
                self._park("every_row_refused")
                return
            waiting.extend(reversed(rest))

    async def _isolate(self, load: Load, bisection: Bisection, lease: Lease, progress: Progress) -> list[Load]:
        """What remains to be sent of a refused batch, after asking a platform that looks without recording which row spoils it.

        Nothing remains when it could not be asked: then the rows wait in the queue as they are.
        """
        search = Search(load.items)
        while (items := search.part()) and not bisection.hopeless:
            if not self.may_begin(lease):
                return []
            part = Load(items, load.look)
            if not self._fresh(part.look):
                again = await self._ask_again(part, lease, progress)
                if not again:
                    search.answered(refused=False, kept=())
                    continue
                (part,) = again
            alone = len(part.items) == 1
            answer, pieces = await self._one(part, lease, progress, check=not alone)
            if answer is None and pieces:  # the question itself cannot be sent: what is left is halved for real
                left = Load(search.unsettled, load.look)
                return self._halves(left) if len(left.items) > 1 else [left]
            if answer is None or answer.act not in (Act.DONE, Act.BISECT):
                return []
            bisection.asked(taken=_taken(answer))
            search.answered(refused=not _taken(answer), kept=() if alone else part.items)
        return [Load(search.unsettled, load.look)] if search.unsettled else []

    async def _one(self, load: Load, lease: Lease, progress: Progress, *, check: bool = False) -> tuple[Answer | None, list[Load]]:
        """One request, or none where it cannot be made. Returns the answer and the batches that remain to be sent.

        `check`: the platform only looks at the rows, so its answer ends none of them.
        """
        request = self._request(load, check=check)
        if request is None or len(request.body) > self._lane.destination.batch.body_bytes:
            reason = "request_failed" if request is None else "too_large"
            return None, await self._split(load, Outcome.INVALID, reason, lease, progress)
        if leak := self._leak(request, load, check=check):
            if len(load.items) == 1:
                self._figures.blocked += 1
                log.get().error("delivery.egress_blocked", destination=self._lane.name, reason=BLOCKED, kind=leak)
            return None, await self._split(load, Outcome.WITHHELD, BLOCKED, lease, progress)
        token = 0
        if self._tokens is not None:
            try:
                request, token = await self._tokens.authorise(request, self._lane.sender)
            except TokenRefused as refused:
                self._park(refused.reason)
                return None, []
        return await self._exchange(load, request, lease, progress, token=token, check=check)

    def _leak(self, request: HttpRequest, load: Load, *, check: bool) -> str:
        """The kind of personal data that a request shows without leave, "" when it may be sent."""
        cleans, policies = [item.clean for item in load.items], load.look.present.policies.by_file
        if len(cleans) <= FEW:
            return self._outgoing.leak(request, cleans, policies)
        rows = [item.row for item in load.items]
        envelope, settings = self._envelope(check=check), self._lane.settings
        return self._outgoing.leak_of_many(request, rows, cleans, policies, lambda some: envelope(some, settings))

    def _envelope(self, *, check: bool) -> Envelope:
        destination = self._lane.destination
        return destination.check if check and destination.check is not None else destination.envelope

    def _request(self, load: Load, *, check: bool) -> HttpRequest | None:
        try:
            return self._envelope(check=check)([item.row for item in load.items], self._lane.settings)
        except Exception:  # noqa: BLE001  a row that an envelope does not expect is found by halving and ends alone
            return None

    async def _exchange(
        self, load: Load, request: HttpRequest, lease: Lease, progress: Progress, *, token: int, check: bool
    ) -> tuple[Answer | None, list[Load]]:
        around, lane = self._around, self._lane
        queued = [item.queued for item in load.items]
        began_ms = around.watch.steady_ms()
        intent = journal.started(
            lane.name,
            queued,
            [i.clean for i in load.items],
            request.body,
            node=around.node,
            now_ms=began_ms,
            entropy=around.entropy,
        )
        try:
            attempt = await around.store.begin(lease, queued, intent, now_ms=began_ms)
        except StoreFull:
            # No intent, no byte: the rows wait until there is room.
            self._pause_until_s = around.watch.mono_s() + around.limits.full_s
            return None, []
        flight = asyncio.Event()
        self._flights.add(flight)
        self._figures.requests += 1
        self._figures.in_flight += 1
        try:
            if lane.destination.sign is not None:
                request = lane.destination.sign(request, lane.settings, around.watch.wall_ms() // 1000)
            found = await lane.sender.send(request, lambda: self._fresh(load.look))
        finally:
            self._figures.in_flight -= 1
            self._flights.discard(flight)
            flight.set()
        status = 0 if isinstance(found, Failed) else found.status
        if isinstance(found, Failed):
            answer = by_failure(found)
        else:
            answer = understand(found, len(queued), lane.destination.classify, now_s=around.watch.wall_ms() / 1000)
        failed = found if isinstance(found, Failed) else None
        self._learn(answer, failed, status, token)
        results = [] if check else self._results(load.items, answer, failed)
        now_ms = around.watch.steady_ms()
        closing = journal.finished(
            lane.name,
            journal.request_id(lane.name, began_ms, [q.position for q in queued]),
            queued,
            results,
            status=status,
            ms=max(0, now_ms - began_ms),
            node=around.node,
            now_ms=now_ms,
        )
        await self._finish(lease, attempt, results, closing, progress)
        if answer.act in (Act.BISECT, Act.HALVE) and len(load.items) > 1 and not check:
            return answer, self._halves(load)
        return answer, []

    def _results(self, items: Sequence[Item], answer: Answer, failed: Failed | None) -> list[Result]:
        """What the answer means for each row; none yet for those of a batch that is to be halved."""
        if answer.act is Act.PARK or (failed is not None and failed.failure in (Failure.NOT_SENT, Failure.STALE)):
            # No row is at fault and none was processed: all wait for the destination, and the request does not count.
            retry_at_ms = self._around.watch.steady_ms() + int(self.wait_s() * 1000)
            return [Result(item.queued, retry_at_ms=retry_at_ms, reason=answer.reason, counts=False) for item in items]
        match answer.act:
            case Act.BISECT | Act.HALVE if len(items) > 1:
                return []
            case Act.BISECT | Act.HALVE:
                return [over(items[0].queued, Outcome.REJECTED, answer.reason)]
            case Act.DONE:
                return [self._row(item, answer.rows.get(i, answer.outcome), answer) for i, item in enumerate(items)]
            case _:
                return [self._row(item, answer.rows.get(i, answer.act), answer) for i, item in enumerate(items)]

    def _row(self, item: Item, said: Outcome | Act, answer: Answer) -> Result:
        if isinstance(said, Outcome):
            return over(item.queued, said, answer.reason)
        if said in (Act.BISECT, Act.HALVE):
            return over(item.queued, Outcome.REJECTED, answer.reason)
        act = Act.UNKNOWN if said in (Act.UNKNOWN, Act.DONE) else Act.RETRY
        return row_result(
            item.queued,
            act,
            answer.reason,
            window_s=window_s(self._lane.destination, item.clean),
            now_ms=self._around.watch.steady_ms(),
            draw=self._around.draw,
            asked_s=answer.retry_after_s,
            base_s=self._around.limits.base_s,
        )

    def _learn(self, answer: Answer, failed: Failed | None, status: int, token: int) -> None:
        """What the answer says about the destination as a whole. `token`: number of the one that the request carried."""
        now_s, limits = self._around.watch.mono_s(), self._around.limits
        self._figures.last_status = status
        if failed is not None and failed.failure is Failure.STALE:
            return
        if answer.act is Act.PARK:
            # A token may have ended early: one fresh one is tried before the destination is held.
            if not (answer.refresh and self._tokens is not None and self._tokens.forget(token)):
                self._park(answer.reason, at_least_s=answer.retry_after_s or 0.0)
            return
        if answer.act in (Act.DONE, Act.BISECT, Act.HALVE):
            self._failures = 0
            self._figures.last_reason = ""
            if self._tokens is not None:
                self._tokens.worked(token)
            self.breaker.succeeded(now_s)
            return
        self._failures += 1
        self._figures.last_reason = answer.reason
        connecting = failed is not None and failed.failure is Failure.NOT_SENT
        self.breaker.failed(now_s, connecting=connecting)
        pause_s = answer.retry_after_s or 0.0
        if connecting or self._failures > 1:
            pause_s = max(pause_s, limits.gap_s, backoff_s(self._failures, self._around.draw, base_s=limits.base_s))
        self._pause_until_s = max(self._pause_until_s, now_s + pause_s)
        log.get().warning(
            "delivery.failed", destination=self._lane.name, reason=answer.reason, status=status, retry_in_s=round(self.wait_s(), 1)
        )

    def _park(self, reason: str, *, at_least_s: float = 0.0) -> None:
        """Our configuration or credentials: hold everything and try with one request from time to time."""
        self._figures.last_reason = reason
        self.breaker.open(self._around.watch.mono_s(), at_least_s=at_least_s)
        log.get().error("delivery.parked", destination=self._lane.name, reason=reason, retry_in_s=round(self.wait_s(), 1))

    def _fresh(self, look: Look) -> bool:
        around = self._around
        return (
            look.epoch == self._epoch
            and around.watch.mono_s() - look.at_s <= around.limits.fresh_s
            and around.policies() is look.present.policies
            and frozenset(around.disabled()) == look.present.disabled
        )

    async def _ask_again(self, load: Load, lease: Lease, progress: Progress) -> list[Load]:
        """The gate once more, with the present of now; what it stops is settled."""
        look = await self.look({item.queued.subject for item in load.items})
        items, results = prepare_again(load.items, self._lane.destination, self._lane.settings, look.present)
        await self.settle(lease, results, progress)
        return self.loads(items, look)

    async def _split(self, load: Load, outcome: Outcome, reason: str, lease: Lease, progress: Progress) -> list[Load]:
        """Two halves of a batch that cannot be made into a request; a single row of that kind ends."""
        if len(load.items) > 1:
            return self._halves(load)
        await self.settle(lease, [over(load.items[0].queued, outcome, reason)], progress)
        return []

    @staticmethod
    def _halves(load: Load) -> list[Load]:
        return [Load(part, load.look) for part in halves(load.items)]

    async def settle(self, lease: Lease, results: Sequence[Result], progress: Progress) -> None:
        """Write the ends that needed no request. A full store is waited for: an outcome is never dropped."""
        if not results and (progress.moved or not progress.complete):
            return
        around = self._around
        entries = journal.settled(
            self._lane.name, results, node=around.node, now_ms=around.watch.steady_ms(), entropy=around.entropy
        )
        cursor = progress.cursor_after(len(results))
        while True:
            try:
                await around.store.settle(lease, to_keep(results), entries, cursor=cursor, now_ms=around.watch.steady_ms())
                break
            except StoreFull:
                await asyncio.sleep(self._around.limits.full_s)
        self._count(results)
        progress.settled(len(results))

    async def _finish(self, lease: Lease, attempt: int, results: Sequence[Result], closing: Entry, progress: Progress) -> None:
        cursor = progress.cursor_after(len(results))
        while True:
            try:
                await self._around.store.finish(
                    lease, attempt, to_keep(results), closing, cursor=cursor, now_ms=self._around.watch.steady_ms()
                )
                break
            except StoreFull:
                await asyncio.sleep(self._around.limits.full_s)
        self._count(results)
        progress.settled(len(results))

    def _count(self, results: Sequence[Result]) -> None:
        for result in results:
            if result.outcome is None:
                self._figures.retried += 1
            else:
                self._figures.outcomes[result.outcome] += 1
