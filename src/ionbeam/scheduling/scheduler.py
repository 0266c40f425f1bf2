"""Asks sources for spans at the boundaries their schedules name, and makes up for missed ones.

A trigger's command follows from source and span, so two schedulers, or one that was killed between
asking and remembering, order the same thing; whoever gets the order when it is done does nothing.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta

import structlog

from ionbeam.errors import Retriable
from ionbeam.messages.codec import encode
from ionbeam.messages.commands import StartSourceCommand
from ionbeam.messages.topology import source_queue
from ionbeam.observations.timespan import TimeSpan, parse_time
from ionbeam.ports import Broker, Clock, StateStore
from ionbeam.scheduling.plan import Schedule, due_triggers

log = structlog.get_logger(__name__)

_RETRY = timedelta(seconds=10)


class Scheduler:
    """Runs schedules; ``commands_for(source, span)`` makes the commands that ask for a span.

    Sources in ``handed_over`` belong to clients, who never say that they are done: asking is all.
    """

    def __init__(
        self,
        state: StateStore,
        broker: Broker,
        clock: Clock,
        schedules: Sequence[Schedule],
        commands_for: Callable[[str, TimeSpan], Iterable[StartSourceCommand]],
        handed_over: Collection[str] = (),
    ) -> None:
        self._state = state
        self._broker = broker
        self._clock = clock
        self._schedules = schedules
        self._commands_for = commands_for
        self._handed_over = handed_over

    async def run(self) -> None:
        """Trigger for ever."""
        while self._schedules:
            wake_at = [await self._trigger_due(schedule) for schedule in self._schedules]
            await self._clock.sleep_until(min(wake_at))

    async def _trigger_due(self, schedule: Schedule) -> datetime:
        """Ask for every span that is due; when to look again."""
        now = self._clock.now()
        try:
            last = await self._state.bookmarks.get(schedule.bookmark)
            for trigger in due_triggers(schedule, parse_time(last) if last else None, now):
                await self._ask(schedule.source_name, schedule.span_at(trigger))
                await self._state.bookmarks.set(schedule.bookmark, trigger.isoformat())
        except Retriable as error:
            log.warning("trigger failed", source=schedule.source_name, reason=str(error))
            return now + _RETRY
        return schedule.next_trigger(now)

    async def _ask(self, source: str, span: TimeSpan) -> None:
        for command in self._commands_for(source, span):
            entry = await self._state.log.append(command)
            if not entry.is_open:
                continue
            queue = source_queue(source).name
            await self._broker.publish("", queue, encode(command), message_id=str(command.id))
            if source in self._handed_over:
                await self._state.log.close(command)
            log.info("source triggered", source=source, span=str(command.span))
