"""Which spans of a source are due: a pure function of the schedule, the last trigger and now."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ionbeam.observations.timespan import TimeSpan, align, format_duration

CATCH_UP = timedelta(days=7)
"""Triggers missed longer ago than this are not made up for; that is a backfill."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a source is asked and for what."""

    source_name: str
    window_size: timedelta
    trigger_interval: timedelta
    window_lag: timedelta = timedelta(0)

    @property
    def bookmark(self) -> str:
        """Under which name the last trigger is remembered."""
        parts = (self.window_size, self.trigger_interval, self.window_lag)
        return "/".join(["schedule", self.source_name, *(format_duration(part) for part in parts)])

    def span_at(self, trigger: datetime) -> TimeSpan:
        """What is asked for at a trigger: aligned, because triggers are."""
        end = trigger - self.window_lag
        return TimeSpan(end - self.window_size, end)

    def next_trigger(self, now: datetime) -> datetime:
        """The first trigger after ``now``."""
        return align(now, self.trigger_interval) + self.trigger_interval


def due_triggers(schedule: Schedule, last: datetime | None, now: datetime) -> Iterator[datetime]:
    """Triggers behind ``last`` up to ``now``, oldest first; only the newest one when there is no last."""
    newest = align(now, schedule.trigger_interval)
    if last is None:
        yield newest
        return
    trigger = max(schedule.next_trigger(last), schedule.next_trigger(now - CATCH_UP))
    while trigger <= newest:
        yield trigger
        trigger += schedule.trigger_interval
