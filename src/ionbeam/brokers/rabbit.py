"""RabbitMQ as the broker, over AMQP 0-9-1.

Every queue of the topology is durable and declared without arguments, as existing clients declare
it. Beside a queue stand two of our own: ``{queue}.retry``, whose messages return to the queue when
their delay has run out, and ``{queue}.dead``, where a message that was given up lies with its reason.
A message leaves its queue only after it lies in one of them, or is done, so a crash in between
doubles it and never loses it.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager

import aio_pika
import structlog
from aio_pika.abc import (
    AbstractChannel,
    AbstractIncomingMessage,
    AbstractQueue,
    AbstractRobustChannel,
    AbstractRobustConnection,
)
from aio_pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelInvalidStateError,
    ChannelPreconditionFailed,
    ProbableAuthenticationError,
)
from pamqp.exceptions import PAMQPException
from yarl import URL

from ionbeam.brokers.middleware import backoff, outcome_of
from ionbeam.errors import BrokerUnavailable, ConfigInvalid
from ionbeam.messages.topology import Exchange, ExchangeKind, Queue
from ionbeam.ports import DeadLetter, Delivery, Handler, Outcome, Subscription, Verdict

log = structlog.get_logger(__name__)

ATTEMPT_HEADER = "x-ionbeam-attempt"
REASON_HEADER = "x-ionbeam-reason"
RECONNECT_AFTER_S = 1.0

_LOST = (AMQPError, PAMQPException, OSError, ChannelInvalidStateError)
"""What the library raises when the connection or a channel is gone; time-outs are OSErrors."""


class RabbitBroker:
    """A `ports.Broker` on one RabbitMQ server; connects when it is first used, and again when cut off.

    ``timeout`` seconds bound every call. ``retry_delay`` seconds pass before the second delivery,
    twice as many before each further one.
    """

    def __init__(
        self, url: str, *, max_deliveries: int = 5, retry_delay: float = 1.0, timeout: float = 30.0
    ) -> None:
        self._url = _parsed(url)
        self._max_deliveries = max_deliveries
        self._retry_delay = retry_delay
        self._timeout = timeout
        self._exchanges: dict[str, Exchange] = {}
        self._consumers: set[_Consumer] = set()
        self._connecting = asyncio.Lock()
        self._connection: AbstractRobustConnection | None = None
        self._publishing: AbstractRobustChannel | None = None
        self._closed = False

    async def declare(self, exchanges: Iterable[Exchange], queues: Iterable[Queue]) -> None:
        """See `ports.Broker`; `ConfigInvalid` when the server has one of them in another form."""
        async with self._passing_channel() as channel:
            for exchange in exchanges:
                await channel.declare_exchange(exchange.name, exchange.kind.value, durable=True)
                self._exchanges[exchange.name] = exchange
            for queue in queues:
                declared = await _declare_queue(channel, queue.name)
                if queue.exchange:
                    await declared.bind(queue.exchange, queue.routing_key)

    async def publish(self, exchange: str, routing_key: str, body: bytes, *, message_id: str) -> None:
        """See `ports.Broker`; the exchange must have been declared through this object."""
        message = _message(body, message_id, {})
        if not exchange:
            await self._send("", routing_key, message, mandatory=True)
            return
        known = self._exchanges.get(exchange)
        if known is None:
            # Publishing to an absent exchange would make the server close the channel.
            raise BrokerUnavailable(f"the exchange {exchange!r} is not declared")
        await self._send(exchange, routing_key, message, mandatory=known.kind is not ExchangeKind.FANOUT)

    async def consume(self, queue: str, handler: Handler, *, prefetch: int = 1) -> Subscription:
        """See `ports.Broker`; each consumer has a channel of its own."""
        async with self._passing_channel() as channel:
            await channel.declare_queue(queue, passive=True)
            await _declare_queue(channel, queue)
        async with self._connected() as connection:
            own = await connection.channel()
            await own.set_qos(prefetch_count=prefetch)
            consumer = _Consumer(self, own, await own.declare_queue(queue, durable=True), handler)
            await consumer.start()
        self._consumers.add(consumer)
        return consumer

    async def dead_letters(self, queue: str) -> list[DeadLetter]:
        """See `ports.Broker`; everything is looked at and, when the channel closes, lies there as before."""
        letters = []
        async with self._passing_channel() as channel:
            dead = await channel.declare_queue(_dead(queue), passive=True)
            while (message := await dead.get(fail=False)) is not None:
                reason = str(message.headers.get(REASON_HEADER, ""))
                letters.append(DeadLetter(queue, message.body, _id(message), reason, _attempt(message)))
        return letters

    async def close(self) -> None:
        """See `ports.Broker`."""
        # What is in hand may still have to publish its result.
        await asyncio.gather(*(consumer.cancel() for consumer in list(self._consumers)))
        self._closed = True
        connection, self._connection, self._publishing = self._connection, None, None
        if connection is not None:
            await connection.close()

    async def _apply(self, delivery: Delivery, outcome: Outcome) -> None:
        """Put the message where its verdict says, before it is taken off its queue."""
        if outcome.verdict is Verdict.RETRY:
            headers: dict[str, str | int] = {ATTEMPT_HEADER: delivery.attempt + 1}
            message = _message(delivery.body, delivery.message_id, headers)
            message.expiration = backoff(delivery.attempt, self._retry_delay)
            await self._send("", _retry(delivery.queue), message, mandatory=True)
        elif outcome.verdict is Verdict.DEAD:
            headers = {ATTEMPT_HEADER: delivery.attempt, REASON_HEADER: outcome.reason}
            message = _message(delivery.body, delivery.message_id, headers)
            await self._send("", _dead(delivery.queue), message, mandatory=True)

    async def _send(self, exchange: str, key: str, message: aio_pika.Message, *, mandatory: bool) -> None:
        async with self._connected() as connection:
            channel = await self._publishing_channel(connection)
            target = (
                await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
            )
            await target.publish(message, key, mandatory=mandatory)

    async def _publishing_channel(self, connection: AbstractRobustConnection) -> AbstractRobustChannel:
        async with self._connecting:
            if self._publishing is None:
                channel = connection.channel(publisher_confirms=True, on_return_raises=True)
                await channel.initialize()
                self._publishing = channel
            await self._publishing.ready()
            return self._publishing

    @asynccontextmanager
    async def _passing_channel(self) -> AsyncIterator[AbstractChannel]:
        """A channel for one errand, so that a refusal by the server closes nothing else."""
        async with self._connected() as connection, aio_pika.Channel(connection) as channel:
            yield channel

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AbstractRobustConnection]:
        """The connection, made when there is none; whatever goes wrong on it leaves as our own error."""
        if self._closed:
            raise BrokerUnavailable("the broker is closed")
        try:
            async with asyncio.timeout(self._timeout):
                async with self._connecting:
                    if self._connection is None:
                        self._connection = await aio_pika.connect_robust(
                            self._url, timeout=self._timeout, reconnect_interval=RECONNECT_AFTER_S
                        )
                await self._connection.ready()
                yield self._connection
        except (AuthenticationError, ProbableAuthenticationError) as error:
            raise ConfigInvalid(f"RabbitMQ at {self._address} refuses these credentials") from error
        except ChannelPreconditionFailed as error:
            raise ConfigInvalid(f"RabbitMQ at {self._address} refuses: {error}") from error
        except _LOST as error:
            raise BrokerUnavailable(f"RabbitMQ at {self._address}: {_fault(error)}") from error

    @property
    def _address(self) -> str:
        return f"{self._url.host}:{self._url.port or 5672}"


class _Consumer:
    """One channel, one queue, one handler."""

    def __init__(
        self, broker: RabbitBroker, channel: AbstractChannel, queue: AbstractQueue, handler: Handler
    ) -> None:
        self._broker = broker
        self._channel = channel
        self._queue = queue
        self._handler = handler
        self._tag = ""
        self._stopping = False
        self._in_hand: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to take messages."""
        self._tag = await self._queue.consume(self._take)

    async def cancel(self) -> None:
        """See `ports.Subscription`; closing the channel gives back what was not begun."""
        if self not in self._broker._consumers:
            return
        self._stopping = True
        await self._tell(self._queue.cancel(self._tag))
        if self._in_hand:
            await asyncio.wait(self._in_hand)
        await self._tell(self._channel.close())
        self._broker._consumers.discard(self)

    async def _tell(self, call: Awaitable[object]) -> None:
        """Await a farewell; when the connection is gone, the server knows already."""
        try:
            async with asyncio.timeout(self._broker._timeout):
                await call
        except _LOST as error:
            log.warning("consumer lost", queue=self._queue.name, reason=_fault(error))

    async def _take(self, message: AbstractIncomingMessage) -> None:
        if self._stopping:
            return
        # A task of our own: the library's may end with its channel, the handler must not.
        task = asyncio.create_task(self._handle(message))
        self._in_hand.add(task)
        task.add_done_callback(self._in_hand.discard)

    async def _handle(self, message: AbstractIncomingMessage) -> None:
        headers = {name: str(value) for name, value in message.headers.items()}
        delivery = Delivery(self._queue.name, message.body, _id(message), _attempt(message), headers)
        outcome = await outcome_of(self._handler, delivery, self._broker._max_deliveries)
        try:
            await self._broker._apply(delivery, outcome)
        except (BrokerUnavailable, ConfigInvalid) as error:
            outcome = Outcome(Verdict.RETRY, str(error))
            settle = message.nack(requeue=True)
        else:
            settle = message.ack()
        try:
            await settle
        except _LOST as error:
            # The server takes the message back with the lost channel and delivers it again.
            log.warning(
                "verdict lost", queue=delivery.queue, verdict=outcome.verdict.value, reason=_fault(error)
            )


async def _declare_queue(channel: AbstractChannel, name: str) -> AbstractQueue:
    back = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": name}
    await channel.declare_queue(_retry(name), durable=True, arguments=dict(back))
    await channel.declare_queue(_dead(name), durable=True)
    return await channel.declare_queue(name, durable=True)


def _message(body: bytes, message_id: str, headers: dict[str, str | int]) -> aio_pika.Message:
    return aio_pika.Message(
        body,
        message_id=message_id,
        content_type="application/json",
        content_encoding="utf-8",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        headers=dict(headers),
    )


def _id(message: AbstractIncomingMessage) -> str:
    """The message's id; other publishers set none, so the same body then has the same id."""
    return message.message_id or hashlib.sha256(message.body).hexdigest()[:32]


def _attempt(message: AbstractIncomingMessage) -> int:
    value = message.headers.get(ATTEMPT_HEADER, 1)
    return value if isinstance(value, int) else 1


def _retry(queue: str) -> str:
    return f"{queue}.retry"


def _dead(queue: str) -> str:
    return f"{queue}.dead"


def _parsed(url: str) -> URL:
    """The URL; `ConfigInvalid`, without the password, when it is none."""
    try:
        parsed = URL(url)
    except ValueError:
        parsed = URL()
    if parsed.scheme not in ("amqp", "amqps") or not parsed.host:
        raise ConfigInvalid("a RabbitMQ URL looks like amqp://user:password@host:5672/")
    return parsed


def _fault(error: BaseException) -> str:
    return str(error) or type(error).__name__
