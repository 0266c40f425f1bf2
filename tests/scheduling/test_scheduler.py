import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from ionbeam.errors import BrokerUnavailable, IonbeamError, StoreUnavailable
from ionbeam.ingestion.collect import start_command
from ionbeam.messages.codec import decode
from ionbeam.messages.commands import StartSourceCommand
from ionbeam.observations.timespan import TimeSpan
from ionbeam.scheduling.plan import Schedule
from ionbeam.scheduling.scheduler import Scheduler
from ionbeam.testing.clock import VirtualClock

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
HOURLY = Schedule("feed", HOUR, HOUR, 5 * MINUTE)


def asking(source: str, span: TimeSpan) -> list[StartSourceCommand]:
    return [start_command(source, span)]


class World:
    """State, broker and clock of one or more schedulers, all in memory so that virtual time fits."""

    def __init__(self, now: datetime = NOON + MINUTE) -> None:
        self.clock = VirtualClock(now)
        self.bookmarks = Bookmarks()
        self.log = Log()
        self.told: list[tuple[str, StartSourceCommand]] = []
        self.error: IonbeamError | None = None

    async def publish(self, exchange: str, key: str, body: bytes, *, message_id: str) -> None:
        if self.error is not None:
            raise self.error
        command = decode(StartSourceCommand, body)
        assert (exchange, message_id) == ("", str(command.id))
        assert command.id in self.log.ids, "a command is kept before it is told"
        self.told.append((key, command))

    def spans(self, source: str = "feed") -> list[TimeSpan]:
        return [command.span for _, command in self.told if command.source_name == source]

    @asynccontextmanager
    async def running(self, *schedules: Schedule) -> AsyncIterator[None]:
        state: Any = self
        task = asyncio.create_task(Scheduler(state, state, self.clock, schedules or (HOURLY,), asking).run())
        await self.clock.advance(timedelta(0))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()


class Bookmarks:
    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.error: IonbeamError | None = None

    async def get(self, name: str) -> str | None:
        return self.values.get(name)

    async def set(self, name: str, value: str) -> None:
        if self.error is not None:
            raise self.error
        self.values[name] = value


class Log:
    def __init__(self) -> None:
        self.ids: dict[Any, StartSourceCommand] = {}

    async def append(self, command: StartSourceCommand) -> SimpleNamespace:
        self.ids.setdefault(command.id, command)
        return SimpleNamespace(is_open=True)


@pytest.fixture
def world() -> World:
    return World()


def span(hour: int) -> TimeSpan:
    """What is asked for at an hour of the day, five minutes late."""
    end = NOON.replace(hour=hour) - 5 * MINUTE
    return TimeSpan(end - HOUR, end)


async def test_a_new_schedule_asks_for_its_newest_span_at_once(world: World):
    async with world.running():
        assert world.spans() == [span(12)]
    assert world.told[0][0] == "ionbeam.source.feed.start"


async def test_a_source_is_asked_at_every_boundary(world: World):
    async with world.running():
        await world.clock.advance(58 * MINUTE)
        assert world.spans() == [span(12)]
        await world.clock.advance(MINUTE)
        assert world.spans() == [span(12), span(13)]
        await world.clock.advance(3 * HOUR)
    assert world.spans() == [span(hour) for hour in (12, 13, 14, 15, 16)]


async def test_being_late_shifts_nothing():
    world = World(NOON + timedelta(minutes=59, seconds=59, microseconds=999_999))
    async with world.running():
        await world.clock.advance(timedelta(microseconds=1))
    assert world.spans() == [span(12), span(13)]


async def test_a_restart_asks_for_what_was_missed_and_nothing_twice(world: World):
    async with world.running():
        pass
    await world.clock.advance(4 * HOUR)
    async with world.running():
        assert world.spans() == [span(hour) for hour in (12, 13, 14, 15, 16)]
    async with world.running():
        assert len(world.told) == 5


async def test_a_long_absence_is_made_up_for_a_week(world: World):
    async with world.running():
        pass
    await world.clock.advance(timedelta(days=30))
    async with world.running():
        assert len(world.told) == 1 + 7 * 24
    assert world.spans()[-1].end == NOON + timedelta(days=30) - 5 * MINUTE


async def test_two_schedulers_ask_for_the_same_once(world: World):
    async with world.running(), world.running():
        await world.clock.advance(5 * HOUR)
    assert len(set(world.spans())) == 6
    assert len(world.log.ids) == 6


async def test_who_takes_over_repeats_what_was_not_remembered_under_the_same_id(world: World):
    """Killed between asking and remembering: the command comes twice and is the same."""
    world.bookmarks.error = StoreUnavailable("killed here")
    async with world.running():
        pass
    world.bookmarks.error = None
    async with world.running():
        pass
    assert len(world.told) == 2
    assert len({command.id for _, command in world.told}) == len(world.log.ids) == 1


async def test_a_broker_that_is_away_loses_no_trigger(world: World):
    world.error = BrokerUnavailable("away")
    async with world.running():
        await world.clock.advance(2 * HOUR)
        assert world.told == []
        kept = [command.span for command in world.log.ids.values()]
        assert kept == [span(hour) for hour in (12, 13, 14)], "where reconciliation finds them"
        world.error = None
        await world.clock.advance(timedelta(seconds=10))
        assert world.spans() == [span(14)]
        world.error = BrokerUnavailable("away")
        await world.clock.advance(3 * HOUR)
        world.error = None
        await world.clock.advance(timedelta(seconds=10))
    assert world.spans() == [span(hour) for hour in (14, 15, 16, 17)]


async def test_a_failing_source_queue_does_not_hold_up_the_others(world: World):
    publish = world.publish

    async def fail_for_one(exchange: str, key: str, body: bytes, *, message_id: str) -> None:
        if "broken" in key:
            raise BrokerUnavailable("no such queue")
        await publish(exchange, key, body, message_id=message_id)

    world.publish = fail_for_one  # type: ignore[method-assign]
    async with world.running(Schedule("broken", HOUR, HOUR), HOURLY):
        await world.clock.advance(HOUR)
    assert world.spans() == [span(12), span(13)]


async def test_a_defect_is_not_retried(world: World):
    world.error = IonbeamError("not to be retried")
    scheduler: Callable[..., Any] = Scheduler
    with pytest.raises(IonbeamError, match="not to be retried"):
        await scheduler(world, world, world.clock, [HOURLY], asking).run()


async def test_a_clients_source_is_asked_and_its_order_closed(world: World):
    """The client never says that it is done."""
    closed: list[StartSourceCommand] = []

    async def close(command: StartSourceCommand) -> None:
        closed.append(command)

    state: Any = world
    state.log.close = close
    scheduler = Scheduler(state, state, world.clock, [HOURLY], asking, handed_over={"feed"})
    task = asyncio.create_task(scheduler.run())
    await world.clock.advance(timedelta(0))
    task.cancel()
    await asyncio.wait({task})
    assert [command.span for command in closed] == [span(12)]


async def test_schedules_keep_their_own_time(world: World):
    quarterly = Schedule("other", 15 * MINUTE, 15 * MINUTE)
    async with world.running(HOURLY, quarterly):
        await world.clock.advance(HOUR - MINUTE)
    assert world.spans() == [span(12), span(13)]
    assert [s.end - NOON for s in world.spans("other")] == [n * 15 * MINUTE for n in range(5)]


async def test_two_schedules_of_one_source_do_not_disturb_each_other(world: World):
    daily = Schedule("feed", timedelta(days=1), timedelta(days=1))
    async with world.running(HOURLY, daily):
        await world.clock.advance(12 * HOUR)
    lengths = [s.length for s in world.spans()]
    assert (lengths.count(HOUR), lengths.count(timedelta(days=1))) == (13, 2)


async def test_without_schedules_there_is_nothing_to_wait_for(world: World):
    state: Any = world
    async with asyncio.timeout(10):
        await Scheduler(state, state, world.clock, (), asking).run()
    assert world.told == []
