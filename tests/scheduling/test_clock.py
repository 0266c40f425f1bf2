import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from ionbeam.ports import Clock
from ionbeam.scheduling import clock as module
from ionbeam.scheduling.clock import SystemClock


def test_it_tells_the_time_in_utc():
    clock: Clock = SystemClock()
    before, now, after = datetime.now(UTC), clock.now(), datetime.now(UTC)
    assert before <= now <= after
    assert now.tzinfo is UTC


async def test_it_never_returns_early(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_LONGEST_NAP_S", 0.004)
    clock = SystemClock()
    for milliseconds in (1, 3, 10):
        time = clock.now() + timedelta(milliseconds=milliseconds)
        await clock.sleep_until(time)
        assert clock.now() >= time


async def test_a_time_that_is_past_is_not_waited_for():
    async with asyncio.timeout(1):
        await SystemClock().sleep_until(datetime(2000, 1, 1, tzinfo=UTC))


async def test_a_wall_clock_that_is_set_forward_ends_the_sleep(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_LONGEST_NAP_S", 0.01)
    clock = SystemClock()
    time = clock.now() + timedelta(hours=1)
    sleeper = asyncio.create_task(clock.sleep_until(time))
    await asyncio.sleep(0)
    assert not sleeper.done()
    monkeypatch.setattr(clock, "now", lambda: time)
    async with asyncio.timeout(5):
        await sleeper
