"""Keeps building: at once when windows were queued, by time when they become due."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

from ionbeam.ports import BuildQueue, Clock


class BuildWorker:
    """Runs ``build_next`` while windows are due; sleeps between, at most ``poll_interval``."""

    def __init__(
        self,
        build_next: Callable[[], Awaitable[bool]],
        queue: BuildQueue,
        clock: Clock,
        poll_interval: timedelta,
        concurrency: int = 1,
    ) -> None:
        self._build_next = build_next
        self._queue = queue
        self._clock = clock
        self._poll_interval = poll_interval
        self._concurrency = concurrency
        self._woken = asyncio.Event()
        self._building = asyncio.Lock()

    def wake(self) -> None:
        """Look at the queue now."""
        self._woken.set()

    async def run(self) -> None:
        """Build for ever."""
        while True:
            self._woken.clear()
            await self.build_due()
            now = self._clock.now()
            due = await self._queue.next_due()
            until = min(due or now + self._poll_interval, now + self._poll_interval)
            await self._wait(until - now)

    async def build_due(self) -> None:
        """Build until nothing is due and nothing is in hand."""
        async with self._building, asyncio.TaskGroup() as group:
            for _ in range(self._concurrency):
                group.create_task(self._drain())

    async def _drain(self) -> None:
        while await self._build_next():
            pass

    async def _wait(self, span: timedelta) -> None:
        with suppress(TimeoutError):
            # Not wait_for: before Python 3.12 it can swallow a cancellation that meets the wake-up.
            async with asyncio.timeout(max(span.total_seconds(), 0)):
                await self._woken.wait()
