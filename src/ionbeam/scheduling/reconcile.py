"""Finds work again that was under way when a process or a message was lost.

Open entries of the event log are messages whose consumer has not said that it is done. Telling
them again is always safe, because every consumer does a thing once.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from ionbeam.errors import IonbeamError
from ionbeam.messages.codec import decode
from ionbeam.messages.commands import IngestDataCommand, StartSourceCommand
from ionbeam.messages.events import DataAvailableEvent, DataSetAvailableEvent
from ionbeam.messages.topology import DATA_AVAILABLE, INGESTION_EXCHANGE, INGESTION_KEY, source_queue
from ionbeam.ports import Broker, Clock, StateStore
from ionbeam.records import LogEntry

log = structlog.get_logger(__name__)


class Reconciler:
    """Tells open messages again; ``announce`` publishes a window's revision."""

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

    async def reconcile(self, older_than: timedelta = timedelta(0)) -> Counter[str]:
        """Tell every message that is open for longer than ``older_than``; how many of each kind.

        One that cannot be told stays open and keeps none of the others back.
        """
        told: Counter[str] = Counter()
        latest = self._clock.now() - older_than
        for entry in await self._state.log.open_entries():
            if entry.at <= latest and await self._is_told(entry):
                told[entry.kind] += 1
        if told:
            log.info("reconciled", **told)
        return told

    async def run(self, every: timedelta) -> None:
        """Reconcile for ever what stays open for longer than ``every``."""
        while True:
            await self._clock.sleep_until(self._clock.now() + every)
            await self.reconcile(older_than=every)

    async def _is_told(self, entry: LogEntry) -> bool:
        try:
            await self._tell(entry)
        except IonbeamError as error:
            log.warning("message not told", kind=entry.kind, id=str(entry.id), reason=str(error))
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
