"""Keeps building: at once when windows were queued, by time when they become due."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import structlog

from ionbeam.errors import Retriable
from ionbeam.ports import BuildQueue, Clock

log = structlog.get_logger(__name__)


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
        """Build for ever; where the state cannot be reached, look again later."""
        while True:
            self._woken.clear()
            now = self._clock.now()
            until = now + self._poll_interval
            try:
                await self.build_due()
                until = min(await self._queue.next_due() or until, until)
            except* Retriable as errors:
                log.warning("builds interrupted", reason=str(errors.exceptions[0]))
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
