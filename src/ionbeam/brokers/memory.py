"""The embedded broker: work queues and fan-out inside one process.

Nothing survives the process, and nothing has to: messages wake, stores remember.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ionbeam.brokers.middleware import backoff, outcome_of
from ionbeam.errors import BrokerUnavailable, ConfigInvalid
from ionbeam.messages.topology import Exchange, ExchangeKind, Queue
from ionbeam.ports import DeadLetter, Delivery, Handler, Subscription, Verdict


@dataclass(slots=True)
class _Mailbox:
    """A queue: what waits in it and what was given up."""

    name: str
    waiting: "asyncio.Queue[Delivery]" = field(default_factory=asyncio.Queue)
    dead: list[DeadLetter] = field(default_factory=list)


class MemoryBroker:
    """A `ports.Broker` of asyncio queues.

    ``retry_delay`` seconds pass before the second delivery, twice as many before each further one.
    """

    def __init__(self, max_deliveries: int = 5, *, retry_delay: float = 0.05) -> None:
        self._max_deliveries = max_deliveries
        self._retry_delay = retry_delay
        self._exchanges: dict[str, Exchange] = {}
        self._bindings: dict[str, set[tuple[str, str]]] = {}
        self._mailboxes: dict[str, _Mailbox] = {}
        self._consumers: set[_Consumer] = set()
        self._unfinished = 0
        self._finished = asyncio.Event()
        self._closed = False

    async def declare(self, exchanges: Iterable[Exchange], queues: Iterable[Queue]) -> None:
        """See `ports.Broker`; `ConfigInvalid` when an exchange exists as another kind."""
        self._check_open()
        for exchange in exchanges:
            known = self._exchanges.setdefault(exchange.name, exchange)
            if known.kind is not exchange.kind:
                raise ConfigInvalid(
                    f"the exchange {exchange.name} exists as {known.kind}, not {exchange.kind}"
                )
        for queue in queues:
            self._mailboxes.setdefault(queue.name, _Mailbox(queue.name))
            if queue.exchange:
                self._exchange(queue.exchange)
                self._bindings.setdefault(queue.exchange, set()).add((queue.routing_key, queue.name))

    async def publish(self, exchange: str, routing_key: str, body: bytes, *, message_id: str) -> None:
        """See `ports.Broker`."""
        self._check_open()
        for mailbox in self._route(exchange, routing_key):
            self._unfinished += 1
            mailbox.waiting.put_nowait(Delivery(mailbox.name, body, message_id, attempt=1))

    async def consume(self, queue: str, handler: Handler, *, prefetch: int = 1) -> Subscription:
        """See `ports.Broker`."""
        self._check_open()
        consumer = _Consumer(self, self._mailbox(queue), handler, prefetch)
        self._consumers.add(consumer)
        return consumer

    async def dead_letters(self, queue: str) -> list[DeadLetter]:
        """See `ports.Broker`."""
        return list(self._mailbox(queue).dead)

    async def idle(self) -> None:
        """Return when nothing waits in any queue, is in hand, or is to be redelivered."""
        while self._unfinished:
            self._finished.clear()
            await self._finished.wait()

    async def close(self) -> None:
        """See `ports.Broker`."""
        # What is in hand may still have to publish its result.
        await asyncio.gather(*(consumer.cancel() for consumer in list(self._consumers)))
        self._closed = True

    async def _handle(self, mailbox: _Mailbox, handler: Handler, delivery: Delivery) -> None:
        try:
            outcome = await outcome_of(handler, delivery, self._max_deliveries)
        except asyncio.CancelledError:
            mailbox.waiting.put_nowait(delivery)
            raise
        if outcome.verdict is Verdict.RETRY:
            asyncio.get_running_loop().call_later(
                backoff(delivery.attempt, self._retry_delay),
                mailbox.waiting.put_nowait,
                replace(delivery, attempt=delivery.attempt + 1),
            )
            return
        if outcome.verdict is Verdict.DEAD:
            mailbox.dead.append(
                DeadLetter(mailbox.name, delivery.body, delivery.message_id, outcome.reason, delivery.attempt)
            )
        self._unfinished -= 1
        if not self._unfinished:
            self._finished.set()

    def _route(self, exchange: str, routing_key: str) -> list[_Mailbox]:
        if not exchange:
            return [self._mailbox(routing_key)]
        fanout = self._exchange(exchange).kind is ExchangeKind.FANOUT
        bound = self._bindings.get(exchange, set())
        names = sorted({queue for key, queue in bound if fanout or key == routing_key})
        if not names and not fanout:
            raise BrokerUnavailable(f"no queue is bound to {exchange} with the key {routing_key!r}")
        return [self._mailboxes[name] for name in names]

    def _exchange(self, name: str) -> Exchange:
        if name not in self._exchanges:
            raise BrokerUnavailable(f"the exchange {name!r} is not declared")
        return self._exchanges[name]

    def _mailbox(self, name: str) -> _Mailbox:
        if name not in self._mailboxes:
            raise BrokerUnavailable(f"the queue {name!r} is not declared")
        return self._mailboxes[name]

    def _check_open(self) -> None:
        if self._closed:
            raise BrokerUnavailable("the broker is closed")


class _Consumer:
    """Takes messages out of one mailbox, as many at once as it has slots."""

    def __init__(self, broker: MemoryBroker, mailbox: _Mailbox, handler: Handler, prefetch: int) -> None:
        self._broker = broker
        self._mailbox = mailbox
        self._handler = handler
        self._slots = asyncio.Semaphore(prefetch)
        self._in_hand: set[asyncio.Task[None]] = set()
        self._pump = asyncio.create_task(self._take())

    async def cancel(self) -> None:
        """See `ports.Subscription`; a message that waits for its redelivery stays in the queue."""
        self._pump.cancel()
        await asyncio.wait({self._pump, *self._in_hand})
        self._broker._consumers.discard(self)

    async def _take(self) -> None:
        while True:
            await self._slots.acquire()
            delivery = await self._mailbox.waiting.get()
            task = asyncio.create_task(self._broker._handle(self._mailbox, self._handler, delivery))
            self._in_hand.add(task)
            task.add_done_callback(self._put_down)

    def _put_down(self, task: asyncio.Task[None]) -> None:
        self._in_hand.discard(task)
        self._slots.release()
