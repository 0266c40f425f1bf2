"""What every `ports.Broker` promises, as a test suite to inherit.

::

    class TestMyBroker(BrokerContract):
        @pytest.fixture
        async def broker(self):
            broker = MyBroker(max_deliveries=3, retry_delay=0.01)
            yield broker
            await broker.close()

The broker must give up after three deliveries and wait shortly between them. Names are unique, so
the suite may run on a server that others use. Needs pytest and pytest-asyncio in auto mode.
"""

# ruff: noqa: D102 (the names of the tests are their sentences)

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from ionbeam.errors import BrokerUnavailable, ConfigInvalid
from ionbeam.messages.topology import Exchange, ExchangeKind, Queue
from ionbeam.ports import Broker, Delivery, Handler, Outcome, Verdict

DEADLINE_S = 20.0
DELIVERIES = 3

ACK = Outcome(Verdict.ACK)
RETRY = Outcome(Verdict.RETRY, "not yet")
DEAD = Outcome(Verdict.DEAD, "never")


def work_queue(exchange: Exchange | None = None, routing_key: str = "") -> Queue:
    """A queue nobody else uses, bound to ``exchange`` when one is given."""
    name = f"contract.{uuid4().hex}"
    return Queue(name, str, "test", "test", "contract", exchange.name if exchange else "", routing_key)


def exchange_of(kind: ExchangeKind) -> Exchange:
    """An exchange nobody else uses."""
    return Exchange(f"contract.{uuid4().hex}", kind, str, "test", "contract")


class Recorder:
    """A handler that notes what it is given and answers with ``outcomes`` in turn, then ACK."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.seen: list[Delivery] = []
        self._outcomes = list(outcomes)
        self._changed = asyncio.Condition()

    async def __call__(self, delivery: Delivery) -> Outcome:
        async with self._changed:
            self.seen.append(delivery)
            self._changed.notify_all()
        return self._outcomes.pop(0) if self._outcomes else ACK

    async def bodies(self, count: int) -> list[bytes]:
        """The bodies seen, once there are ``count``."""
        async with asyncio.timeout(DEADLINE_S), self._changed:
            await self._changed.wait_for(lambda: len(self.seen) >= count)
        return [delivery.body for delivery in self.seen]


class Gate:
    """A handler that holds every message in hand until it is opened."""

    def __init__(self) -> None:
        self.began: asyncio.Queue[bytes] = asyncio.Queue()
        self.opened = asyncio.Event()
        self.done: list[bytes] = []

    async def __call__(self, delivery: Delivery) -> Outcome:
        self.began.put_nowait(delivery.body)
        await self.opened.wait()
        self.done.append(delivery.body)
        return ACK

    async def next(self) -> bytes:
        """The body of the next message in hand."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.began.get()


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return when ``condition`` holds; `TimeoutError` when it does not in time."""
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():  # noqa: ASYNC110 (a broker does not tell when it has changed)
            await asyncio.sleep(0.01)


async def send(broker: Broker, queue: Queue, *bodies: bytes) -> None:
    """Publish to a queue by its name."""
    for body in bodies:
        await broker.publish("", queue.name, body, message_id=f"id-{body.decode()}")


async def dead_letter_count(broker: Broker, queue: Queue, count: int) -> None:
    """Return when the queue has ``count`` dead letters."""

    async def reached() -> bool:
        return len(await broker.dead_letters(queue.name)) == count

    await eventually(reached)


class BrokerContract:
    """Inherit it and provide a fixture ``broker``."""

    async def test_a_message_waits_until_somebody_consumes(self, broker: Broker) -> None:
        queue, recorder = work_queue(), Recorder()
        await broker.declare([], [queue])
        await send(broker, queue, b"early")
        await broker.consume(queue.name, recorder)
        assert await recorder.bodies(1) == [b"early"]

    async def test_body_and_id_arrive_as_they_were_sent(self, broker: Broker) -> None:
        queue, recorder = work_queue(), Recorder()
        body = '{"name":"Bjørnøya","n":1}'.encode()
        await broker.declare([], [queue])
        await broker.consume(queue.name, recorder)
        await broker.publish("", queue.name, body, message_id="the id")
        await recorder.bodies(1)
        delivery = recorder.seen[0]
        assert (delivery.queue, delivery.body, delivery.message_id) == (queue.name, body, "the id")
        assert delivery.attempt == 1

    async def test_messages_arrive_in_the_order_they_were_sent(self, broker: Broker) -> None:
        queue, recorder = work_queue(), Recorder()
        sent = [str(n).encode() for n in range(20)]
        await broker.declare([], [queue])
        await send(broker, queue, *sent)
        await broker.consume(queue.name, recorder)
        assert await recorder.bodies(20) == sent

    async def test_an_acknowledged_message_never_comes_back(self, broker: Broker) -> None:
        queue, first, second = work_queue(), Recorder(), Recorder()
        await broker.declare([], [queue])
        subscription = await broker.consume(queue.name, first)
        await send(broker, queue, b"one")
        await first.bodies(1)
        await subscription.cancel()
        await send(broker, queue, b"two")
        await broker.consume(queue.name, second)
        assert await second.bodies(1) == [b"two"]

    async def test_consumers_of_one_queue_share_its_messages(self, broker: Broker) -> None:
        queue, one, other = work_queue(), Gate(), Gate()
        await broker.declare([], [queue])
        await broker.consume(queue.name, one)
        await broker.consume(queue.name, other)
        await send(broker, queue, b"a", b"b")
        assert {await one.next(), await other.next()} == {b"a", b"b"}
        one.opened.set()
        other.opened.set()

    async def test_a_fanout_gives_every_queue_its_own_copy(self, broker: Broker) -> None:
        exchange = exchange_of(ExchangeKind.FANOUT)
        queues, recorders = [work_queue(exchange), work_queue(exchange)], [Recorder(), Recorder()]
        await broker.declare([exchange], queues)
        for queue, recorder in zip(queues, recorders, strict=True):
            await broker.consume(queue.name, recorder)
        await broker.publish(exchange.name, "", b"news", message_id="1")
        assert [await recorder.bodies(1) for recorder in recorders] == [[b"news"], [b"news"]]

    async def test_a_fanout_needs_no_readers(self, broker: Broker) -> None:
        exchange = exchange_of(ExchangeKind.FANOUT)
        await broker.declare([exchange], [])
        await broker.publish(exchange.name, "", b"unheard", message_id="1")

    async def test_a_retry_in_one_queue_of_a_fanout_is_not_told_to_the_others(self, broker: Broker) -> None:
        exchange = exchange_of(ExchangeKind.FANOUT)
        queues, failing, calm = [work_queue(exchange), work_queue(exchange)], Recorder(RETRY), Recorder()
        await broker.declare([exchange], queues)
        await broker.consume(queues[0].name, failing)
        await broker.consume(queues[1].name, calm)
        await broker.publish(exchange.name, "", b"news", message_id="1")
        await failing.bodies(2)
        await broker.publish(exchange.name, "", b"more", message_id="2")
        assert await calm.bodies(2) == [b"news", b"more"]

    async def test_a_direct_exchange_routes_by_key(self, broker: Broker) -> None:
        exchange = exchange_of(ExchangeKind.DIRECT)
        queue, other = work_queue(exchange, "left"), work_queue(exchange, "right")
        recorder, elsewhere = Recorder(), Recorder()
        await broker.declare([exchange], [queue, other])
        await broker.consume(queue.name, recorder)
        await broker.consume(other.name, elsewhere)
        await broker.publish(exchange.name, "left", b"to the left", message_id="1")
        await broker.publish(exchange.name, "right", b"to the right", message_id="2")
        assert await recorder.bodies(1) == [b"to the left"]
        assert await elsewhere.bodies(1) == [b"to the right"]

    async def test_what_cannot_be_routed_is_refused(self, broker: Broker) -> None:
        exchange = exchange_of(ExchangeKind.DIRECT)
        queue, recorder = work_queue(exchange, "right"), Recorder()
        await broker.declare([exchange], [queue])
        for target, key in (
            ("", "contract.no-such-queue"),
            (exchange.name, "wrong"),
            ("contract.no-such-exchange", "any"),
        ):
            with pytest.raises(BrokerUnavailable):
                await broker.publish(target, key, b"lost", message_id="1")
        await broker.consume(queue.name, recorder)
        await broker.publish(exchange.name, "right", b"found", message_id="2")
        assert await recorder.bodies(1) == [b"found"]

    async def test_an_undeclared_queue_cannot_be_consumed(self, broker: Broker) -> None:
        with pytest.raises(BrokerUnavailable):
            await broker.consume("contract.no-such-queue", Recorder())

    async def test_declaring_again_changes_nothing(self, broker: Broker) -> None:
        exchange = exchange_of(ExchangeKind.DIRECT)
        queue, recorder = work_queue(exchange, "key"), Recorder()
        await broker.declare([exchange], [queue])
        await broker.publish(exchange.name, "key", b"kept", message_id="1")
        await broker.declare([exchange], [queue])
        await broker.publish(exchange.name, "key", b"once", message_id="2")
        await broker.consume(queue.name, recorder)
        assert await recorder.bodies(2) == [b"kept", b"once"]

    async def test_an_exchange_cannot_become_another_kind(self, broker: Broker) -> None:
        direct = exchange_of(ExchangeKind.DIRECT)
        fanout = Exchange(direct.name, ExchangeKind.FANOUT, str, "test", "contract")
        await broker.declare([direct], [])
        with pytest.raises(ConfigInvalid):
            await broker.declare([fanout], [])

    async def test_a_retried_message_comes_back_with_its_attempts_counted(self, broker: Broker) -> None:
        queue, recorder = work_queue(), Recorder(RETRY, RETRY)
        await broker.declare([], [queue])
        await broker.consume(queue.name, recorder)
        await send(broker, queue, b"again")
        await recorder.bodies(3)
        assert [(d.body, d.message_id, d.attempt) for d in recorder.seen] == [
            (b"again", "id-again", attempt) for attempt in (1, 2, 3)
        ]
        assert await broker.dead_letters(queue.name) == []

    async def test_a_handler_that_raises_asks_for_a_retry(self, broker: Broker) -> None:
        queue, recorder = work_queue(), Recorder()

        async def faulty(delivery: Delivery) -> Outcome:
            if delivery.attempt == 1:
                raise ZeroDivisionError
            return await recorder(delivery)

        await broker.declare([], [queue])
        await broker.consume(queue.name, faulty)
        await send(broker, queue, b"again")
        assert await recorder.bodies(1) == [b"again"]
        assert recorder.seen[0].attempt == 2

    async def test_after_the_last_delivery_a_message_is_dead(self, broker: Broker) -> None:
        queue, recorder = work_queue(), Recorder(*[RETRY] * 10)
        await broker.declare([], [queue])
        await broker.consume(queue.name, recorder)
        await send(broker, queue, b"hopeless")
        await dead_letter_count(broker, queue, 1)
        (letter,) = await broker.dead_letters(queue.name)
        assert (letter.queue, letter.body, letter.message_id) == (queue.name, b"hopeless", "id-hopeless")
        assert letter.attempts == DELIVERIES == len(recorder.seen)
        assert RETRY.reason in letter.reason

    async def test_a_dead_message_is_kept_at_once_with_its_reason(self, broker: Broker) -> None:
        queue, recorder = work_queue(), Recorder(DEAD)
        await broker.declare([], [queue])
        await broker.consume(queue.name, recorder)
        await send(broker, queue, b"broken")
        await dead_letter_count(broker, queue, 1)
        (letter,) = await broker.dead_letters(queue.name)
        assert (letter.body, letter.reason, letter.attempts) == (b"broken", DEAD.reason, 1)
        assert len(recorder.seen) == 1

    async def test_dead_letters_stay_and_come_oldest_first(self, broker: Broker) -> None:
        queue, recorder = work_queue(), Recorder(DEAD, DEAD, DEAD)
        await broker.declare([], [queue])
        await broker.consume(queue.name, recorder)
        await send(broker, queue, b"1", b"2", b"3")
        await dead_letter_count(broker, queue, 3)
        looks = [[letter.body for letter in await broker.dead_letters(queue.name)] for _ in range(2)]
        assert looks == [[b"1", b"2", b"3"]] * 2

    async def test_a_failing_message_does_not_hold_up_those_behind_it(self, broker: Broker) -> None:
        queue, seen = work_queue(), Recorder()

        async def handler(delivery: Delivery) -> Outcome:
            await seen(delivery)
            return RETRY if delivery.body == b"bad" else ACK

        await broker.declare([], [queue])
        await send(broker, queue, b"bad", b"good")
        await broker.consume(queue.name, handler)
        assert (await seen.bodies(2))[:2] == [b"bad", b"good"]

    async def test_prefetch_is_how_many_are_in_hand_at_once(self, broker: Broker) -> None:
        queue, other, gate, recorder = work_queue(), work_queue(), Gate(), Recorder()
        await broker.declare([], [queue, other])
        await broker.consume(other.name, recorder)
        await send(broker, queue, b"1", b"2", b"3")
        await broker.consume(queue.name, gate, prefetch=2)
        assert {await gate.next(), await gate.next()} == {b"1", b"2"}
        # Had the broker handed out the third, it would be here before a message sent only now.
        await send(broker, other, b"later")
        await recorder.bodies(1)
        assert gate.began.empty()
        gate.opened.set()
        assert await gate.next() == b"3"

    async def test_cancelling_waits_for_the_message_in_hand(self, broker: Broker) -> None:
        queue, gate, after = work_queue(), Gate(), Recorder()
        await broker.declare([], [queue])
        subscription = await broker.consume(queue.name, gate)
        await send(broker, queue, b"in hand")
        await gate.next()
        cancelling = asyncio.create_task(subscription.cancel())
        await asyncio.sleep(0)
        assert not cancelling.done()
        gate.opened.set()
        await cancelling
        assert gate.done == [b"in hand"]
        await send(broker, queue, b"next")
        await broker.consume(queue.name, after)
        assert await after.bodies(1) == [b"next"]

    async def test_cancelling_gives_back_what_was_not_begun(self, broker: Broker) -> None:
        queue, gate, after = work_queue(), Gate(), Recorder()
        await broker.declare([], [queue])
        await send(broker, queue, b"begun", b"waiting")
        subscription = await broker.consume(queue.name, gate)
        await gate.next()
        gate.opened.set()
        await subscription.cancel()
        rest = [body for body in (b"begun", b"waiting") if body not in gate.done]
        await send(broker, queue, b"last")
        await broker.consume(queue.name, after)
        assert await after.bodies(len(rest) + 1) == [*rest, b"last"]

    async def test_a_handler_may_publish(self, broker: Broker) -> None:
        queue, onward, recorder = work_queue(), work_queue(), Recorder()
        await broker.declare([], [queue, onward])
        await broker.consume(queue.name, _forwarding(broker, onward))
        await broker.consume(onward.name, recorder)
        await send(broker, queue, b"step")
        assert await recorder.bodies(1) == [b"step"]

    async def test_closing_finishes_what_is_in_hand_and_then_refuses(self, broker: Broker) -> None:
        queue, onward, gate = work_queue(), work_queue(), Gate()
        forward = _forwarding(broker, onward)

        async def gated(delivery: Delivery) -> Outcome:
            await gate(delivery)
            return await forward(delivery)

        await broker.declare([], [queue, onward])
        await broker.consume(queue.name, gated)
        await send(broker, queue, b"in hand")
        await gate.next()
        closing = asyncio.create_task(broker.close())
        await asyncio.sleep(0)
        gate.opened.set()
        await closing
        assert gate.done == [b"in hand"]
        with pytest.raises(BrokerUnavailable):
            await send(broker, queue, b"too late")


def _forwarding(broker: Broker, onward: Queue) -> Handler:
    async def forward(delivery: Delivery) -> Outcome:
        await broker.publish("", onward.name, delivery.body, message_id=delivery.message_id)
        return ACK

    return forward
