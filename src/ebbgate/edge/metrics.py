"""`/metrics`: counters kept as plain numbers on the hot path, put into Prometheus' words only when somebody asks.

Labels come from closed sets: destinations of the settings, verdicts, outcomes. No event value is ever a label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ebbgate.model import EMPTY
from ebbgate.pipeline import Pipeline
from ebbgate.store.protocol import QueueState


class _Snapshot(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def render_metrics(
    pipeline: Pipeline,
    queues: Iterable[QueueState],
    outcomes: Mapping[tuple[str, str], int],
    *,
    healthy: bool,
    policy: str,
    refused: bool,
    blocked: Mapping[str, int] = EMPTY,
    limited: Mapping[str, int] = EMPTY,
    senders: int = 0,
) -> bytes:
    """The text format of one moment. `outcomes`: (destination, outcome) → count since the start; `blocked`: destination → count.

    `limited`: address | key → requests refused by the rate limits; `senders`: how many of either are remembered.
    """
    events = CounterMetricFamily("ebbgate_events", "Events by what became of them.", labels=["status"])
    decisions = CounterMetricFamily("ebbgate_decisions", "Decisions by destination.", labels=["destination", "verdict"])
    for (what, how), count in pipeline.counts.items():
        if what == "event":
            events.add_metric([str(how)], count)
        else:
            decisions.add_metric([what, str(how)], count)
    ended = CounterMetricFamily("ebbgate_outcomes", "Deliveries by how they ended.", labels=["destination", "outcome"])
    for (destination, outcome), count in outcomes.items():
        ended.add_metric([destination, outcome], count)
    kept_back = CounterMetricFamily(
        "ebbgate_egress_blocked", "Deliveries that showed personal data without leave: a fault.", labels=["destination"]
    )
    for destination, count in blocked.items():
        kept_back.add_metric([destination], count)
    refusals = CounterMetricFamily("ebbgate_rate_limited", "Requests over a rate limit.", labels=["by"])
    for by, count in limited.items():
        refusals.add_metric([by], count)
    remembered = GaugeMetricFamily("ebbgate_rate_limit_senders", "Addresses and keys that the rate limits remember.", value=senders)
    waiting = GaugeMetricFamily("ebbgate_queue_waiting", "Deliveries waiting.", labels=["destination"])
    dead = GaugeMetricFamily("ebbgate_queue_dead", "Dead letters.", labels=["destination"])
    oldest = GaugeMetricFamily(
        "ebbgate_queue_oldest_timestamp_seconds", "Receipt of the oldest waiting event.", labels=["destination"]
    )
    for queue in queues:
        waiting.add_metric([queue.destination], queue.waiting)
        dead.add_metric([queue.destination], queue.dead)
        if queue.oldest_ms:
            oldest.add_metric([queue.destination], queue.oldest_ms / 1000)
    store = GaugeMetricFamily("ebbgate_store_healthy", "1 while the store can be written.", value=float(healthy))
    revision = GaugeMetricFamily("ebbgate_policy_info", "The policy revision in force.", labels=["digest"])
    revision.add_metric([policy[:12]], 1)
    broken = GaugeMetricFamily("ebbgate_policy_refused", "1 while a newer revision on disk is refused.", value=float(refused))
    registry = CollectorRegistry()
    families = [events, decisions, ended, kept_back, refusals, remembered, waiting, dead, oldest, store, revision, broken]
    registry.register(_Snapshot(families))
    return generate_latest(registry)
