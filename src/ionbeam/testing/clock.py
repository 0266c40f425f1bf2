"""A clock that moves when the test says so."""

import asyncio
import heapq
from datetime import datetime, timedelta
from itertools import count

from ionbeam.errors import InvalidInput
from ionbeam.observations.timespan import to_utc

_TURNS = 50


class VirtualClock:
    """`Clock` that stands still until it is advanced."""

    def __init__(self, start: datetime) -> None:
        self._now = to_utc(start)
        self._order = count()
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """The current virtual time in UTC."""
        return self._now

    async def sleep_until(self, time: datetime) -> None:
        """Return once the clock has been advanced to ``time``; at once when it is past."""
        if time <= self._now:
            await asyncio.sleep(0)
            return
        wake = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (to_utc(time), next(self._order), wake))
        await wake

    async def advance(self, by: timedelta) -> None:
        """Move on by ``by``, waking sleepers one by one at exactly their time, earliest first.

        Sleepers of one time wake in the order they lay down. Each may run, and sleep again inside
        the same advance, before the next one wakes; what it hands to a thread is not waited for.
        """
        if by < timedelta(0):
            raise InvalidInput(f"time does not go back by {-by}")
        target = self._now + by
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            time, _, wake = heapq.heappop(self._sleepers)
            if not wake.done():
                self._now = time
                wake.set_result(None)
                await self._settle()
        self._now = target

    async def _settle(self) -> None:
        """Let tasks that are ready run until they wait for something."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)
