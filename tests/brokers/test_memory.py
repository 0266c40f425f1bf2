import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from ionbeam.brokers.memory import MemoryBroker
from ionbeam.ports import Delivery, Outcome
from ionbeam.testing.broker_contract import ACK, DEAD, RETRY, BrokerContract, Gate, Recorder, send, work_queue


class TestMemoryBroker(BrokerContract):
    @pytest.fixture
    async def broker(self) -> AsyncIterator[MemoryBroker]:
        broker = MemoryBroker(max_deliveries=3, retry_delay=0.001)
        yield broker
        await broker.close()


async def test_an_unused_broker_is_idle() -> None:
    async with asyncio.timeout(1):
        await MemoryBroker().idle()


async def test_idle_waits_for_waiting_messages_redeliveries_and_their_consequences() -> None:
    broker, first, second = MemoryBroker(retry_delay=0.001), work_queue(), work_queue()
    last = Recorder(DEAD)

    async def pass_on(delivery: Delivery) -> Outcome:
        if delivery.attempt == 1:
            return RETRY
        await send(broker, second, delivery.body)
        return ACK

    await broker.declare([], [first, second])
    await send(broker, first, b"1", b"2")
    await broker.consume(first.name, pass_on)
    await broker.consume(second.name, last)
    async with asyncio.timeout(5):
        await broker.idle()
    assert [delivery.body for delivery in last.seen] == [b"1", b"2"]
    assert len(await broker.dead_letters(second.name)) == 1
    await broker.close()


async def test_it_is_not_idle_while_a_message_is_in_hand() -> None:
    broker, queue, gate = MemoryBroker(), work_queue(), Gate()
    await broker.declare([], [queue])
    await broker.consume(queue.name, gate)
    await send(broker, queue, b"in hand")
    await gate.next()
    idle = asyncio.create_task(broker.idle())
    await asyncio.sleep(0)
    assert not idle.done()
    gate.opened.set()
    async with asyncio.timeout(5):
        await idle
    await broker.close()


async def test_redeliveries_wait_longer_and_longer() -> None:
    broker, queue = MemoryBroker(max_deliveries=4, retry_delay=0.02), work_queue()
    times: list[float] = []

    async def failing(delivery: Delivery) -> Outcome:
        times.append(asyncio.get_running_loop().time())
        return RETRY

    await broker.declare([], [queue])
    await broker.consume(queue.name, failing)
    await send(broker, queue, b"again")
    async with asyncio.timeout(5):
        await broker.idle()
    waits = [later - earlier for earlier, later in pairwise(times)]
    for wait, least in zip(waits, (0.02, 0.04, 0.08), strict=True):
        assert wait >= least * 0.99
    await broker.close()


async def test_a_message_whose_handler_is_cancelled_goes_back() -> None:
    broker, queue, recorder = MemoryBroker(), work_queue(), Recorder()

    async def cancelled(delivery: Delivery) -> Outcome:
        raise asyncio.CancelledError

    await broker.declare([], [queue])
    await send(broker, queue, b"unfinished")
    subscription = await broker.consume(queue.name, cancelled)
    await asyncio.sleep(0)
    await subscription.cancel()
    await broker.consume(queue.name, recorder)
    assert await recorder.bodies(1) == [b"unfinished"]
    assert recorder.seen[0].attempt == 1
    await broker.close()
