"""What the workers share and what each has of its own: the surroundings, one lane a destination, the figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final

from ebbgate.deliver.client import DEADLINE_S, Sender
from ebbgate.deliver.clock import Watch
from ebbgate.deliver.pace import Pace
from ebbgate.deliver.retry import Draw
from ebbgate.destinations.kit import Destination
from ebbgate.model import Outcome
from ebbgate.policy.plan import PolicySet
from ebbgate.store.protocol import Store

DAY_MS: Final = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Times and counts of delivery; tests make them short."""

    lease_ms: int = 90_000  #: or three deadlines of the lane, where that is longer (specs/reliability.md §2.2)
    margin_s: float = 10.0  #: by which a lease outlives a request, for writing how it ended
    fresh_s: float = 2.0  #: the oldest word of the gate on which a first byte may leave
    poll_s: float = 1.0  #: how often an idle worker looks for retries that are due
    base_s: float = 1.0  #: of the backoff
    gap_s: float = 1.0  #: least pause after a failure of the destination
    frozen_retry_s: float = 60.0  #: while the clock is not trusted, what seems expired waits so long
    full_s: float = 0.5  #: before a full store is asked again
    observe_s: float = 1.0  #: how often the clocks are compared
    cursor_s: float = 10.0  #: how often the cursor follows events that are not for this destination
    queue_ttl_ms: int = 7 * DAY_MS  #: nothing waits longer
    chunk: int = 2_000  #: most rows of a destination in memory
    linger_s: float = 0.1  #: least time from one look at the queue to the next, unless a look found more than it could take


@dataclass(frozen=True, slots=True)
class Lane:
    """One destination as configured, with the client that only it uses."""

    destination: Destination
    settings: Any  #: of the destination's own settings class
    sender: Sender
    deadline_s: float = DEADLINE_S  #: absolute, of one request; the sender keeps it

    @property
    def name(self) -> str:
        """The destination's name."""
        return self.destination.name

    @property
    def requests(self) -> int:
        """Most requests in flight."""
        return int(self.settings.requests_at_once)

    def chunk(self, most: int) -> int:
        """Rows to read at once: enough for a few full requests, few enough to stay small in memory."""
        return max(1, min(most, max(64, self.destination.batch.events * 4, self.requests * 16)))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything the workers need from outside. Chance and time come from here, so that tests decide them."""

    store: Store
    watch: Watch
    policies: Callable[[], PolicySet]  #: the snapshot in force
    entropy: Callable[[int], bytes]  #: fresh random bytes, for nonces
    draw: Draw  #: for jitter
    node: str = "local"
    disabled: Callable[[], Collection[str]] = frozenset  #: kill switches: `destination:NAME`, `purpose:NAME`
    pace: Pace = field(default_factory=Pace)  #: leaves the event loop to the intake while requests wait
    limits: Limits = field(default_factory=Limits)


@dataclass(slots=True)
class Figures:
    """What one worker has done since the process started. Counts and closed words only."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    requests: int = 0
    retried: int = 0
    in_flight: int = 0
    crashes: int = 0
    blocked: int = 0  #: deliveries that the egress check kept back: a fault of ours, to be looked at
    last_reason: str = ""  #: of the last request that failed; "" after one that did not
    last_status: int = 0
    state: str = "idle"  #: idle | sending | gathering | waiting | no_lease | stopped
