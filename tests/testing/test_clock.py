import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest

from ionbeam.errors import InvalidInput, NaiveDatetime
from ionbeam.ports import Clock
from ionbeam.testing.clock import VirtualClock

START = datetime(2024, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_it_is_a_clock_that_stands_still():
    clock: Clock = VirtualClock(START)
    assert clock.now() == clock.now() == START


def test_it_tells_utc_and_refuses_a_start_without_a_zone():
    start = datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert VirtualClock(start).now() == START
    assert VirtualClock(start).now().tzinfo is UTC
    with pytest.raises(NaiveDatetime):
        VirtualClock(START.replace(tzinfo=None))


async def test_sleeping_until_a_past_time_returns_at_once():
    clock = VirtualClock(START)
    await clock.sleep_until(START)
    await clock.sleep_until(START - MINUTE)
    assert clock.now() == START


async def test_a_sleeper_wakes_at_its_time_and_not_before():
    clock = VirtualClock(START)
    sleeper = asyncio.create_task(clock.sleep_until(START + MINUTE))
    await clock.advance(MINUTE - timedelta(microseconds=1))
    assert not sleeper.done()
    await clock.advance(timedelta(microseconds=1))
    assert sleeper.done()
    await sleeper


async def test_sleepers_wake_in_order_of_time_and_then_of_arrival():
    clock = VirtualClock(START)
    woken = []

    async def sleep(name: str, minutes: int) -> None:
        await clock.sleep_until(START + minutes * MINUTE)
        woken.append((name, clock.now()))

    async with asyncio.TaskGroup() as group:
        for name, minutes in (("c", 3), ("a1", 1), ("b", 2), ("a2", 1)):
            group.create_task(sleep(name, minutes))
        await clock.advance(10 * MINUTE)
    assert woken == [
        ("a1", START + MINUTE),
        ("a2", START + MINUTE),
        ("b", START + 2 * MINUTE),
        ("c", START + 3 * MINUTE),
    ]
    assert clock.now() == START + 10 * MINUTE


async def test_a_loop_that_sleeps_again_ticks_through_one_advance():
    clock = VirtualClock(START)
    ticks = []

    async def tick() -> None:
        while True:
            await clock.sleep_until(clock.now() + MINUTE)
            ticks.append(clock.now())

    ticking = asyncio.create_task(tick())
    await clock.advance(60 * MINUTE)
    assert ticks == [START + n * MINUTE for n in range(1, 61)]
    ticking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ticking


async def test_a_cancelled_sleeper_is_forgotten():
    clock = VirtualClock(START)
    sleeper = asyncio.create_task(clock.sleep_until(START + MINUTE))
    other = asyncio.create_task(clock.sleep_until(START + 2 * MINUTE))
    await clock.advance(timedelta(0))
    sleeper.cancel()
    await clock.advance(2 * MINUTE)
    assert sleeper.cancelled()
    assert other.done()
    await other


async def test_time_does_not_go_back():
    clock = VirtualClock(START)
    with pytest.raises(InvalidInput):
        await clock.advance(-MINUTE)
    assert clock.now() == START
