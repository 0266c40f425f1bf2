"""The time on the wall."""

import asyncio
from datetime import UTC, datetime

_LONGEST_NAP_S = 60.0


class SystemClock:
    """`Clock` of the machine."""

    def now(self) -> datetime:
        """The current time in UTC."""
        return datetime.now(UTC)

    async def sleep_until(self, time: datetime) -> None:
        """Return at ``time`` or later."""
        while True:
            left = (time - self.now()).total_seconds()
            if left <= 0:
                return
            # Naps, because the wall clock may be set while the event loop's own clock runs on.
            await asyncio.sleep(min(left, _LONGEST_NAP_S))
