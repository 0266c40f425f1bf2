import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from ionbeam.aggregation.worker import BuildWorker
from ionbeam.scheduling.clock import SystemClock

LONG = timedelta(hours=1)
DEADLINE_S = 10.0


class Queue:
    """A number of windows that are due, and when the next one will be."""

    def __init__(self) -> None:
        self.due = 0
        self.next: datetime | None = None
        self.built = 0
        self.claims = 0
        self.at_once = self.most_at_once = 0
        self.gate: asyncio.Event | None = None

    async def build_next(self) -> bool:
        self.claims += 1
        if self.next is not None and self.next <= datetime.now(UTC):
            self.due, self.next = self.due + 1, None
        if not self.due:
            return False
        self.due -= 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await (self.gate.wait() if self.gate else asyncio.sleep(0))
        self.at_once -= 1
        self.built += 1
        return True

    async def next_due(self) -> datetime | None:
        return self.next


def a_worker(queue: Queue, poll: timedelta = LONG, concurrency: int = 1) -> BuildWorker:
    return BuildWorker(queue.build_next, queue, SystemClock(), poll, concurrency)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@asynccontextmanager
async def running(worker: BuildWorker) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(worker.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_everything_due_is_built():
    queue = Queue()
    queue.due = 5
    await a_worker(queue).build_due()
    assert (queue.built, queue.due, queue.claims) == (5, 0, 6)


async def test_building_ends_when_nothing_is_in_hand():
    queue = Queue()
    queue.due, queue.gate = 1, asyncio.Event()
    task = asyncio.create_task(a_worker(queue, concurrency=2).build_due())
    await until(lambda: queue.at_once == 1 and queue.claims == 2)
    assert not task.done()
    queue.gate.set()
    await task
    assert queue.built == 1


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_as_many_windows_as_allowed_are_built_at_once(concurrency: int):
    queue = Queue()
    queue.due, queue.gate = 6, asyncio.Event()
    task = asyncio.create_task(a_worker(queue, concurrency=concurrency).build_due())
    await until(lambda: queue.at_once == concurrency)
    queue.gate.set()
    await task
    assert (queue.built, queue.most_at_once) == (6, concurrency)


async def test_two_callers_share_the_slots():
    queue = Queue()
    queue.due, queue.gate = 4, asyncio.Event()
    worker = a_worker(queue)
    tasks = [asyncio.create_task(worker.build_due()) for _ in range(2)]
    await until(lambda: queue.at_once == 1)
    queue.gate.set()
    await asyncio.gather(*tasks)
    assert (queue.built, queue.most_at_once) == (4, 1)


async def test_a_wake_up_is_answered_at_once():
    queue = Queue()
    worker = a_worker(queue)
    async with running(worker):
        await until(lambda: queue.claims == 1)
        queue.due = 2
        worker.wake()
        await until(lambda: queue.built == 2)


async def test_a_wake_up_during_a_build_is_not_lost():
    queue = Queue()
    queue.due, queue.gate = 1, asyncio.Event()
    worker = a_worker(queue)
    async with running(worker):
        await until(lambda: queue.at_once == 1)
        worker.wake()
        claims = queue.claims
        queue.gate.set()
        await until(lambda: queue.claims >= claims + 2)


async def test_time_alone_makes_a_window_due():
    queue = Queue()
    queue.next = datetime.now(UTC) + timedelta(milliseconds=30)
    async with running(a_worker(queue)):
        await until(lambda: queue.built == 1)


async def test_the_queue_is_looked_at_though_nobody_wakes():
    """Another process may have queued something."""
    queue = Queue()
    async with running(a_worker(queue, poll=timedelta(milliseconds=5))):
        await until(lambda: queue.claims >= 3)
        queue.due = 1
        await until(lambda: queue.built == 1)


async def test_an_idle_worker_rests():
    queue = Queue()
    async with running(a_worker(queue)):
        await until(lambda: queue.claims == 1)
        for _ in range(100):
            await asyncio.sleep(0)
        assert queue.claims == 1


async def test_a_worker_that_is_stopped_stops():
    queue = Queue()
    queue.due, queue.gate = 3, asyncio.Event()
    async with running(a_worker(queue)) as task:
        await until(lambda: queue.at_once == 1)
        task.cancel()
        await asyncio.wait({task}, timeout=DEADLINE_S)
        assert task.cancelled()
    assert (queue.built, queue.due) == (0, 2)


async def test_a_defect_is_not_hidden():
    async def fail() -> bool:
        raise KeyError("defect")

    worker = BuildWorker(fail, Queue(), SystemClock(), LONG)
    with pytest.raises(ExceptionGroup, match="unhandled errors") as raised:
        await worker.run()
    assert raised.group_contains(KeyError)
