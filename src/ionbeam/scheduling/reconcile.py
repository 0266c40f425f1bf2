"""Finds work again that was under way when a process or a message was lost.

Open entries of the event log are messages whose consumer has not said that it is done. Telling
them again is always safe, because every consumer does a thing once.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

from ionbeam.errors import IonbeamError, Retriable
from ionbeam.messages.codec import decode
from ionbeam.messages.commands import IngestDataCommand, StartSourceCommand
from ionbeam.messages.events import DataAvailableEvent, DataSetAvailableEvent
from ionbeam.messages.topology import DATA_AVAILABLE, INGESTION_EXCHANGE, INGESTION_KEY, source_queue
from ionbeam.ports import Broker, Clock, StateStore
from ionbeam.records import LogEntry

log = structlog.get_logger(__name__)


GIVEN_UP_AFTER = timedelta(days=7)
"""A span that could not be fetched for so long is left to a backfill."""

_LONGEST_PAUSE = timedelta(hours=6)


class Reconciler:
    """Tells open messages again; ``announce`` publishes a window's revision.

    A message that stays open is told again after pauses that double, for as long as this process runs.
    """

    def __init__(
        self,
        state: StateStore,
        broker: Broker,
        clock: Clock,
        announce: Callable[[DataSetAvailableEvent], Awaitable[None]],
    ) -> None:
        self._state = state
        self._broker = broker
        self._clock = clock
        self._announce = announce
        self._told: dict[int, tuple[datetime, timedelta]] = {}

    async def reconcile(self, older_than: timedelta = timedelta(0)) -> Counter[str]:
        """Tell every message that is open for longer than ``older_than``; how many of each kind."""
        told: Counter[str] = Counter()
        now = self._clock.now()
        entries = await self._state.log.open_entries()
        self._told = {e.sequence: self._told[e.sequence] for e in entries if e.sequence in self._told}
        for entry in entries:
            again_at, pause = self._told.get(entry.sequence, (entry.at + older_than, older_than))
            if older_than and again_at > now:
                continue
            if await self._tell_or_give_up(entry, now):
                told[entry.kind] += 1
            pause = min(max(2 * pause, older_than), _LONGEST_PAUSE)
            self._told[entry.sequence] = (now + pause, pause)
        if told:
            log.info("reconciled", **told)
        return told

    async def run(self, every: timedelta) -> None:
        """Reconcile for ever what stays open for longer than ``every``."""
        while True:
            await self._clock.sleep_until(self._clock.now() + every)
            try:
                await self.reconcile(older_than=every)
            except Retriable as error:
                log.warning("reconciliation interrupted", reason=str(error))

    async def _tell_or_give_up(self, entry: LogEntry, now: datetime) -> bool:
        """Whether the entry was told; one that cannot be told now does not keep the others back."""
        if entry.kind == StartSourceCommand.__name__ and now - entry.at > GIVEN_UP_AFTER:
            await self._state.log.close(decode(StartSourceCommand, entry.body))
            log.error("span given up, backfill it", source=entry.subject, message_id=str(entry.id))
            return False
        try:
            await self._tell(entry)
        except IonbeamError as error:
            log.warning("message not told", kind=entry.kind, message_id=str(entry.id), reason=str(error))
            return False
        return True

    async def _tell(self, entry: LogEntry) -> None:
        if entry.kind == DataSetAvailableEvent.__name__:
            await self._announce(decode(DataSetAvailableEvent, entry.body))
            return
        exchange, key = _ROUTES[entry.kind](entry)
        await self._broker.publish(exchange, key, entry.body, message_id=str(entry.id))


_ROUTES: dict[str, Callable[[LogEntry], tuple[str, str]]] = {
    StartSourceCommand.__name__: lambda entry: ("", source_queue(entry.subject).name),
    IngestDataCommand.__name__: lambda _: (INGESTION_EXCHANGE, INGESTION_KEY),
    DataAvailableEvent.__name__: lambda _: (DATA_AVAILABLE, ""),
}
