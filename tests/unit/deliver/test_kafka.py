"""The Kafka sender against a cluster that speaks the real protocol: librdkafka's own mock brokers, on sockets of this machine."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from ebbgate.deliver.classify import Failed, Failure
from ebbgate.deliver.kafka import KafkaSender, configuration
from ebbgate.deliver.runner import open_lane
from ebbgate.destinations.kafka import DESTINATION, SCHEMA, Settings, classify, envelope
from ebbgate.destinations.kit import Act, HttpRequest, HttpResponse
from ebbgate.errors import DestinationError
from ebbgate.model import Outcome
from tests.contract.test_destination_rules import event
from tests.optional import extra
from tests.unit.deliver.rig import fresh, new_event, open_house
from tests.unit.destinations.samples import cleaned

kafka = extra("confluent_kafka", "kafka")
TOPIC: Final = "events"


class Cluster:
    """One mock broker, which lives as long as the client that holds it."""

    def __init__(self) -> None:
        self._holder: Any = kafka.Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none:1", "log_level": 0})
        (broker,) = self._holder.list_topics(TOPIC, timeout=10).brokers.values()
        self.address = f"{broker.host}:{broker.port}"

    def settings(self, **more: Any) -> Settings:
        """Settings of a destination on it."""
        return Settings.model_validate({"brokers": self.address, "topic": TOPIC, "tls": False, **more})

    def messages(self, count: int) -> list[Any]:
        """The first `count` messages of the topic."""
        told = {"bootstrap.servers": self.address, "group.id": "test", "auto.offset.reset": "earliest", "log_level": 0}
        consumer = kafka.Consumer(told)
        names = consumer.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
        consumer.assign([kafka.TopicPartition(TOPIC, number, kafka.OFFSET_BEGINNING) for number in names])
        found: list[Any] = []
        until = time.monotonic() + 30
        while len(found) < count and time.monotonic() < until:
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                found.append(message)
        consumer.close()
        return found

    def end(self) -> None:
        """The brokers are gone."""
        self._holder = None
        gc.collect()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    found = Cluster()
    yield found
    found.end()


def request(settings: Settings, *names: str, blob: dict[int, str] | None = None) -> HttpRequest:
    """A batch of events; `blob` puts a long text into some of them."""
    rows = []
    for number, name in enumerate(names):
        own = {"blob": (blob or {}).get(number, "")}
        clean = cleaned(DESTINATION, event(name, id=f"e-{number}", properties=own))
        rows.append(DESTINATION.render(clean, settings))
    return envelope(rows, settings)  # type: ignore[arg-type]  # these events are never skipped


async def test_messages_arrive_with_key_headers_and_value(cluster: Cluster) -> None:
    """What a consumer reads is the flat record, under the person's key, with event id, name and schema as headers."""
    settings = cluster.settings()
    sender = KafkaSender(settings)
    found = await sender.send(request(settings, "purchase", "page_view"), lambda: True)
    await sender.aclose()
    assert isinstance(found, HttpResponse)
    assert classify(found, 2) == classify(HttpResponse(200, {}, b'{"failed":{}}'), 2)
    assert (classify(found, 2).act, classify(found, 2).outcome, classify(found, 2).rows) == (Act.DONE, Outcome.DELIVERED, {})
    messages = await asyncio.to_thread(cluster.messages, 2)
    by_id = {dict(m.headers())["event-id"]: m for m in messages}
    assert by_id.keys() == {b"e-0", b"e-1"}
    first = by_id[b"e-0"]
    assert (first.key(), dict(first.headers())["event-name"], dict(first.headers())["schema"]) == (
        b"cust-9",
        b"purchase",
        SCHEMA.encode(),
    )
    value = json.loads(first.value())
    assert (value["event_id"], value["event_name"], value["order_value"], value["user_id"]) == ("e-0", "purchase", 12.5, "cust-9")


async def test_one_message_too_large_costs_no_other(cluster: Cluster) -> None:
    """The cluster's limit refuses one row for good; its neighbours are stored."""
    settings = cluster.settings()
    sender = KafkaSender(settings)
    found = await sender.send(request(settings, "search", "purchase", "login", blob={1: "x" * 1_100_000}), lambda: True)
    await sender.aclose()
    assert isinstance(found, HttpResponse)
    answer = classify(found, 3)
    assert (answer.act, answer.outcome, answer.rows) == (Act.DONE, Outcome.DELIVERED, {1: Outcome.REJECTED})
    messages = await asyncio.to_thread(cluster.messages, 2)
    assert {dict(m.headers())["event-id"] for m in messages} == {b"e-0", b"e-2"}


async def test_nothing_leaves_on_an_old_word_of_the_gate(cluster: Cluster) -> None:
    """The gate is asked once the cluster is found to be there; its no sends nothing."""
    settings = cluster.settings()
    sender, asked = KafkaSender(settings), list[bool]()

    def no() -> bool:
        asked.append(True)
        return False

    assert await sender.send(request(settings, "login"), no) == Failed(Failure.STALE, "gate_stale")
    assert asked == [True]
    await sender.send(request(settings, "purchase"), lambda: True)
    await sender.aclose()
    (message,) = await asyncio.to_thread(cluster.messages, 1)
    assert dict(message.headers())["event-name"] == b"purchase"


async def test_waiting_for_a_cluster_never_holds_the_event_loop() -> None:
    """Without a broker nothing was sent, and other tasks ran all the while."""
    settings = Settings.model_validate({"brokers": "127.0.0.1:9", "topic": TOPIC, "tls": False})
    sender, turns = KafkaSender(settings, connect_s=0.5), 0
    sending = asyncio.ensure_future(sender.send(request(settings, "purchase"), lambda: True))
    while not sending.done():
        turns += 1
        await asyncio.sleep(0.001)
    assert sending.result() == Failed(Failure.NOT_SENT, "connect_failed")
    assert turns > 3
    await sender.aclose()


async def test_a_cluster_that_goes_away_leaves_the_outcome_unknown(cluster: Cluster) -> None:
    """A message handed over and never acknowledged may be stored: it is not called refused, nor delivered."""
    settings = cluster.settings()
    sender = KafkaSender(settings, connect_s=0.5, message_s=1.0)
    await sender.send(request(settings, "purchase"), lambda: True)
    await asyncio.to_thread(cluster.end)
    found = await sender.send(request(settings, "purchase", "login"), lambda: True)
    await sender.aclose()
    assert isinstance(found, HttpResponse)
    assert classify(found, 2).rows == {0: Act.UNKNOWN, 1: Act.UNKNOWN}


async def test_the_delivery_stage_brings_events_to_the_topic(cluster: Cluster, tmp_path: Path) -> None:
    """Through queue, gate, log and sender: every event is delivered once, as the log says."""
    lane = open_lane(DESTINATION, cluster.settings())
    async with open_house(tmp_path, [lane]) as house:
        cleans = [fresh(number, "kafka") for number in range(40)]
        await house.store.append([new_event(number, [clean]) for number, clean in enumerate(cleans)])
        house.numbers.update({number: {"kafka"} for number in range(40)})
        house.runner.wake(["kafka"])
        await house.until(lambda: house.ended("kafka") >= 40, 60)
    messages = await asyncio.to_thread(cluster.messages, 40)
    assert sorted(dict(m.headers())["event-id"].decode() for m in messages) == sorted(f"e-{n}" for n in range(40))


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("MSG_SIZE_TOO_LARGE", Outcome.REJECTED),
        ("INVALID_RECORD", Outcome.REJECTED),
        ("_QUEUE_FULL", Act.RETRY),
        ("NOT_ENOUGH_REPLICAS", Act.RETRY),
        ("NOT_ENOUGH_REPLICAS_AFTER_APPEND", Act.UNKNOWN),
        ("_MSG_TIMED_OUT", Act.UNKNOWN),
        ("_FATAL", Act.UNKNOWN),
    ],
)
def test_each_error_of_the_protocol_has_its_meaning(word: str, meaning: Outcome | Act) -> None:
    """Refused for good, pushed back, or perhaps stored: only the row that it names."""
    answer = classify(HttpResponse(200, {}, json.dumps({"failed": {"1": word}}).encode()), 3)
    assert (answer.act, answer.rows) == (Act.DONE, {1: meaning})


@pytest.mark.parametrize("word", ["UNKNOWN_TOPIC_OR_PART", "TOPIC_AUTHORIZATION_FAILED", "SASL_AUTHENTICATION_FAILED", "_SSL"])
def test_missing_rights_park_the_destination(word: str) -> None:
    """A topic that is not there and a user who may not write hold the queue; no event is lost by it."""
    answer = classify(HttpResponse(200, {}, json.dumps({"failed": {"0": word}}).encode()), 3)
    assert answer.act is Act.PARK


def test_the_producer_is_idempotent_and_waits_for_all_replicas() -> None:
    """What librdkafka is told, with TLS and a user unless the brokers are of this machine."""
    settings = Settings.model_validate({"brokers": ["k1:9093"], "topic": TOPIC, "username": "u", "password": "s3cret"})
    told = configuration(settings)
    assert (told["enable.idempotence"], told["acks"], told["security.protocol"]) == (True, "all", "SASL_SSL")
    assert (told["sasl.mechanism"], told["sasl.password"]) == ("SCRAM-SHA-512", "s3cret")
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    "wrong",
    [
        {"brokers": "k1:9092", "tls": False},
        {"brokers": "k1"},
        {"brokers": "k1:99999"},
        {"brokers": "http://k1:9092"},
        {"brokers": []},
        {"brokers": "k1:9093", "username": "u"},
    ],
)
def test_unsafe_addresses_and_half_a_login_are_refused(wrong: dict[str, Any]) -> None:
    """Clear text beyond this machine, an address that is none, a user without a password: each stops the boot."""
    with pytest.raises(ValueError, match=r"brokers|loopback|password"):
        Settings.model_validate({"topic": TOPIC, **wrong})


def test_without_the_client_the_boot_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A destination that cannot send does not start quietly."""
    monkeypatch.setattr("ebbgate.deliver.kafka.find_spec", lambda _: None)
    with pytest.raises(DestinationError, match="not installed"):
        open_lane(DESTINATION, Settings.model_validate({"brokers": "localhost:9092", "topic": TOPIC, "tls": False}))


class Client:
    """A client that says of each message what it is told to: an error's name, nothing, or that its queue is full."""

    def __init__(self, *words: str) -> None:
        self._words = list(words)

    def list_topics(self, topic: str, timeout: float) -> Any:
        """The topic is there."""
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None)})

    def produce(self, topic: str, *, on_delivery: Any, **_message: Any) -> None:
        """Report at once, or never."""
        word = self._words.pop(0)
        if word == "full":
            raise BufferError
        if word != "silent":
            on_delivery(kafka.KafkaError(kafka.KafkaError._FAIL, fatal=True) if word == "fatal" else None, None)

    def poll(self, seconds: float) -> int:
        """Nothing more comes."""
        return 0

    def flush(self, seconds: float) -> int:
        """Nothing is in flight."""
        return 0


async def test_a_message_without_a_word_is_unknown_and_a_full_queue_pushes_back() -> None:
    """What the client never reports is not called delivered; what it had no room for may be sent again at once."""
    settings = Settings.model_validate({"brokers": "localhost:9092", "topic": TOPIC, "tls": False})
    sender = KafkaSender(settings, message_s=0.02)
    stands_in: Any = Client("silent", "ok", "full")
    sender._producer = stands_in
    found = await sender.send(request(settings, "search", "purchase", "login"), lambda: True)
    assert isinstance(found, HttpResponse)
    assert classify(found, 3).rows == {0: Act.UNKNOWN, 2: Act.RETRY}


async def test_a_client_that_lost_its_place_is_replaced() -> None:
    """After a fatal error an idempotent producer refuses everything: the next batch gets a new one."""
    settings = Settings.model_validate({"brokers": "localhost:9092", "topic": TOPIC, "tls": False})
    sender = KafkaSender(settings, message_s=0.02)
    stands_in: Any = Client("fatal")
    sender._producer = stands_in
    found = await sender.send(request(settings, "purchase"), lambda: True)
    assert isinstance(found, HttpResponse)
    assert classify(found, 1).rows == {0: Act.UNKNOWN}
    assert sender._producer is None
