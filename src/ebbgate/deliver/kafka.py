"""The sender of Kafka topics: a PRODUCE to a `kafka:` address becomes messages that all replicas have stored, or a reason for each.

The client is librdkafka in `confluent-kafka` (docs/decisions/0007): it talks to brokers on threads of its own, and waiting for them
happens on another one, so the event loop never does. Messages wait at most five seconds for a broker, so that none leaves much
later than the gate's word for it.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from ebbgate.deliver.classify import Failed, Failure
from ebbgate.deliver.client import CONNECT_S, Fresh
from ebbgate.destinations.kafka import METHOD, SCHEME, Settings
from ebbgate.destinations.kit import HttpRequest, HttpResponse
from ebbgate.errors import DestinationError

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

#: How long a message may wait for its replicas; the gate's word is older by that at most.
MESSAGE_S: Final = 5.0
#: A cluster that answered so lately needs no look before the next batch.
SEEN_FOR_S: Final = 10.0
_POLL_S: Final = 0.05
#: Words of librdkafka for a cluster that cannot be asked; all others about a topic are the cluster's own.
_AWAY: Final = frozenset({"_TRANSPORT", "_TIMED_OUT", "_ALL_BROKERS_DOWN", "_RESOLVE", "_TIMED_OUT_QUEUE", "LEADER_NOT_AVAILABLE"})


def configuration(settings: Settings, *, connect_s: float = CONNECT_S, message_s: float = MESSAGE_S) -> dict[str, Any]:
    """What librdkafka is told: idempotent, acknowledged by all replicas, nothing on standard error."""
    brokers, tls = settings.addresses()
    found: dict[str, Any] = {
        "bootstrap.servers": ",".join(brokers),
        "client.id": "ebbgate",
        "security.protocol": ("SASL_" if settings.username else "") + ("SSL" if tls else "PLAINTEXT"),
        "enable.idempotence": True,
        "acks": "all",
        "message.timeout.ms": int(message_s * 1000),
        "socket.connection.setup.timeout.ms": max(1000, int(connect_s * 1000)),
        "message.max.bytes": 1_000_000,
        "partitioner": "murmur2_random",  # as Java's clients place a key
        "compression.type": "lz4",
        "linger.ms": 5,
        "log_level": 0,
        "log.connection.close": False,
    }
    if settings.username is not None and settings.password is not None:
        found |= {
            "sasl.mechanism": settings.mechanism,
            "sasl.username": settings.username,
            "sasl.password": settings.password.get_secret_value(),
        }
    return found


class KafkaSender:
    """Produces to one topic. Calls of `send` may overlap."""

    def __init__(self, settings: Settings, *, connect_s: float = CONNECT_S, message_s: float = MESSAGE_S) -> None:
        """`connect_s`: to reach a broker; `message_s`: for a message to be stored by all replicas.

        Raises DestinationError where the client is not installed. Connects with the first batch.
        """
        if find_spec("confluent_kafka") is None:
            raise DestinationError("kafka needs a client that is not installed", hint="pip install 'ebbgate[kafka]'")
        self._settings = settings
        self._connect_s = connect_s
        self._message_s = message_s
        self._lock = threading.Lock()
        self._producer: Producer | None = None
        self._seen_s = 0.0

    async def send(self, request: HttpRequest, fresh: Fresh) -> HttpResponse | Failed:
        """200 with what failed, by line; 404 for a topic that is not there; a Failed when no broker could be reached."""
        scheme, _, topic = request.url.partition(":")
        if request.method != METHOD or scheme != SCHEME or topic != self._settings.topic:
            return Failed(Failure.REFUSED, "address_refused")
        lines = [json.loads(line) for line in request.body.splitlines()]
        word = await asyncio.to_thread(self._look)
        if word in _AWAY:
            return Failed(Failure.NOT_SENT, "connect_failed")
        if word:
            return _answer(dict.fromkeys(range(len(lines)), word))
        if not fresh():
            return Failed(Failure.STALE, "gate_stale")
        return _answer(await asyncio.to_thread(self._produce, lines))

    async def aclose(self) -> None:
        """Wait for what is in flight, then close the connections."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await asyncio.to_thread(producer.flush, self._message_s)

    def _connected(self) -> Producer:
        from confluent_kafka import Producer

        with self._lock:
            if self._producer is None:
                told = configuration(self._settings, connect_s=self._connect_s, message_s=self._message_s)
                self._producer = Producer(told, error_cb=_ignored)
                self._seen_s = 0.0
            return self._producer

    def _look(self) -> str:
        """The word for why nothing can be sent now, "" when the topic is there: asked before the gate is asked for the last time."""
        from confluent_kafka import KafkaException

        if self._producer is not None and time.monotonic() - self._seen_s < SEEN_FOR_S:
            return ""
        topic = self._settings.topic
        try:
            found = self._connected().list_topics(topic, timeout=self._connect_s).topics[topic].error
        except KafkaException as error:
            return _word(error.args[0])
        if found is None:
            self._seen_s = time.monotonic()
        return "" if found is None else _word(found)

    def _produce(self, lines: list[Mapping[str, Any]]) -> dict[int, str]:
        """Hand over all messages and wait for the word on each. Returns the failed ones: line → the protocol's word."""
        from confluent_kafka import KafkaException

        producer, failed = self._connected(), dict[int, str]()
        waiting = set(range(len(lines)))
        for number, line in enumerate(lines):
            try:
                producer.produce(
                    self._settings.topic,
                    key=line["key"],
                    value=json.dumps(line["value"], ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"),
                    headers=[(name, str(value).encode()) for name, value in line["headers"].items()],
                    on_delivery=_report(number, waiting, failed),
                )
            except KafkaException as error:
                waiting.discard(number)
                failed[number] = _word(error.args[0])
            except BufferError:
                waiting.discard(number)
                failed[number] = "_QUEUE_FULL"
        until_s = time.monotonic() + 2 * self._message_s
        while waiting and time.monotonic() < until_s:
            producer.poll(_POLL_S)  # the words may also come to another thread that polls
        for number in tuple(waiting):
            failed[number] = "_MSG_TIMED_OUT"
        if failed:
            self._seen_s = 0.0
            if "_FATAL" in failed.values():
                self._producer = None  # an idempotent producer that lost its place is of no use any more
        return failed


def _report(number: int, waiting: set[int], failed: dict[int, str]) -> Callable[[KafkaError | None, Message], None]:
    def done(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failed[number] = _word(error)
        waiting.discard(number)

    return done


def _word(error: KafkaError) -> str:
    return "_FATAL" if error.fatal() else str(error.name())


def _ignored(_error: KafkaError) -> None:
    """What concerns a message comes with its report; the rest is librdkafka trying again."""


def _answer(failed: Mapping[int, str]) -> HttpResponse:
    return HttpResponse(200, {}, json.dumps({"failed": failed}).encode())
