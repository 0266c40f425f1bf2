import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import aio_pika
import pytest
import structlog
from yarl import URL

from ionbeam.brokers.rabbit import RabbitBroker
from ionbeam.errors import BrokerUnavailable, ConfigInvalid
from ionbeam.messages.topology import EXCHANGES, INGESTION_EXCHANGE, INGESTION_KEY, INGESTION_QUEUE, QUEUES
from ionbeam.ports import Delivery, Outcome
from ionbeam.testing.broker_contract import BrokerContract, Gate, Recorder, eventually, send, work_queue

pytestmark = pytest.mark.service


class TestRabbitBroker(BrokerContract):
    @pytest.fixture
    async def broker(self, rabbit_url: str) -> AsyncIterator[RabbitBroker]:
        broker = RabbitBroker(rabbit_url, max_deliveries=3, retry_delay=0.01, timeout=20)
        yield broker
        await broker.close()


@pytest.fixture
async def broker(rabbit_url: str) -> AsyncIterator[RabbitBroker]:
    broker = RabbitBroker(rabbit_url, max_deliveries=3, retry_delay=0.01, timeout=20)
    yield broker
    await broker.close()


async def test_the_published_queues_can_be_declared_by_existing_clients(
    broker: RabbitBroker, rabbit_url: str
) -> None:
    await broker.declare(EXCHANGES, QUEUES)
    connection = await aio_pika.connect(rabbit_url)
    async with connection, connection.channel() as channel:
        for exchange in EXCHANGES:
            await channel.declare_exchange(exchange.name, exchange.kind.value, durable=True)
        for queue in QUEUES:
            declared = await channel.declare_queue(queue.name, durable=True)
            await declared.bind(queue.exchange, queue.routing_key)


async def test_both_ways_of_publishing_a_command_reach_the_ingestion_queue(
    broker: RabbitBroker, rabbit_url: str
) -> None:
    recorder = Recorder()
    await broker.declare(EXCHANGES, QUEUES)
    await broker.consume(INGESTION_QUEUE, recorder)
    connection = await aio_pika.connect(rabbit_url)
    async with connection, connection.channel() as channel:
        bare = aio_pika.Message(b"by queue name")
        await channel.default_exchange.publish(bare, INGESTION_QUEUE)
    await recorder.bodies(1)
    await broker.publish(INGESTION_EXCHANGE, INGESTION_KEY, b"by exchange", message_id="1")
    assert await recorder.bodies(2) == [b"by queue name", b"by exchange"]
    assert recorder.seen[0].message_id, "messages without an id get one"


async def test_messages_are_persistent_json(broker: RabbitBroker, rabbit_url: str) -> None:
    queue = work_queue()
    await broker.declare([], [queue])
    await broker.publish("", queue.name, b"{}", message_id="the id")
    connection = await aio_pika.connect(rabbit_url)
    async with connection, connection.channel() as channel:
        message = await (await channel.get_queue(queue.name)).get(no_ack=True)
    assert message.delivery_mode is aio_pika.DeliveryMode.PERSISTENT
    assert (message.content_type, message.message_id) == ("application/json", "the id")


async def test_a_message_survives_the_process_that_held_it(broker: RabbitBroker, rabbit_url: str) -> None:
    queue, gate, recorder = work_queue(), Gate(), Recorder()
    doomed = RabbitBroker(rabbit_url, timeout=3)
    await doomed.declare([], [queue])
    await doomed.consume(queue.name, gate)
    await send(doomed, queue, b"held")
    await gate.next()
    assert doomed._connection is not None
    await doomed._connection.close()
    await broker.consume(queue.name, recorder)
    assert await recorder.bodies(1) == [b"held"]
    gate.opened.set()
    await doomed.close()


async def test_many_publishers_at_once_share_the_connection(broker: RabbitBroker) -> None:
    queue, recorder = work_queue(), Recorder()
    await broker.declare([], [queue])
    await broker.consume(queue.name, recorder, prefetch=50)
    bodies = [str(n).encode() for n in range(500)]
    await asyncio.gather(*(send(broker, queue, body) for body in bodies))
    assert sorted(await recorder.bodies(500)) == sorted(bodies)


async def test_wrong_credentials_are_a_matter_for_a_person_and_stay_secret(
    rabbit_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    secret = uuid4().hex
    broker = RabbitBroker(str(URL(rabbit_url).with_password(secret)))
    with structlog.testing.capture_logs() as events, pytest.raises(ConfigInvalid) as caught:
        await broker.declare([], [work_queue()])
    assert secret not in str(caught.value) + caplog.text + str(events)
    await broker.close()


async def test_a_queue_that_exists_in_another_form_is_a_matter_for_a_person(
    broker: RabbitBroker, rabbit_url: str
) -> None:
    queue = work_queue()
    connection = await aio_pika.connect(rabbit_url)
    async with connection, connection.channel() as channel:
        await channel.declare_queue(queue.name, durable=True, arguments={"x-max-length": 1})
    with pytest.raises(ConfigInvalid, match=queue.name):
        await broker.declare([], [queue])


class Wire:
    """A TCP connection to the server that can be cut."""

    def __init__(self, url: str) -> None:
        self._server = URL(url)
        self._ends: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def url(self) -> AsyncIterator[str]:
        async with await asyncio.start_server(self._join, "127.0.0.1", 0) as listener:
            yield str(self._server.with_port(listener.sockets[0].getsockname()[1]))
            self.cut()

    def cut(self) -> None:
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._server.host, self._server.port)
        self._ends += [writer, far_writer]
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()


@pytest.fixture
async def wire(rabbit_url: str) -> Wire:
    return Wire(rabbit_url)


@pytest.fixture
async def wired_broker(wire: Wire) -> AsyncIterator[RabbitBroker]:
    async with wire.url() as url:
        broker = RabbitBroker(url, max_deliveries=3, retry_delay=0.01, timeout=20)
        yield broker
        await broker.close()


async def test_a_cut_connection_heals_and_what_was_in_hand_comes_again(
    wire: Wire, wired_broker: RabbitBroker
) -> None:
    queue, gate, done = work_queue(), Gate(), Recorder()

    async def handler(delivery: Delivery) -> Outcome:
        await gate(delivery)
        return await done(delivery)

    async def sent() -> bool:
        try:
            await send(wired_broker, queue, b"after")
        except BrokerUnavailable:
            return False
        return True

    await wired_broker.declare([], [queue])
    await wired_broker.consume(queue.name, handler)
    await send(wired_broker, queue, b"in hand")
    await gate.next()
    wire.cut()
    gate.opened.set()
    await eventually(sent)
    bodies = await done.bodies(3)
    assert bodies.count(b"in hand") == 2
    assert b"after" in bodies
