import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ionbeam.aggregation.coordinator import Coordinator, touched_windows
from ionbeam.aggregation.readiness import ReadinessPolicy
from ionbeam.messages.events import DataAvailableEvent
from ionbeam.observations.dataset import IngestionMetadata
from ionbeam.observations.timespan import MICROSECOND
from ionbeam.records import Chunk, WindowKey, WindowStatus
from ionbeam.stores.sqlite import SqliteStateStore
from ionbeam.testing.clock import VirtualClock
from ionbeam.testing.scenario import a_dataset
from ionbeam.testing.state_store_contract.examples import (
    DAY,
    HOUR,
    NOW,
    SECOND,
    a_command,
    at,
    built,
    event_of,
    ingestion,
    settled,
)


class Site:
    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock(NOW)
        self.state = SqliteStateStore(folder, self.clock)
        self.woken = 0

    def coordinator(self, state: Any = None, *, lenient: bool = False) -> Coordinator:
        return Coordinator(state or self.state, self.clock, ReadinessPolicy(lenient), self.wake)

    def wake(self) -> None:
        self.woken += 1

    async def arrive(
        self,
        number: int,
        start: float,
        end: float,
        hours: Sequence[int] | None = None,
        metadata: IngestionMetadata | None = None,
    ) -> DataAvailableEvent:
        """An ingestion is settled and its event handled."""
        event = await settled(self.state, a_command(number, start, end, metadata), hours)
        await self.coordinator().handle(event)
        return event

    async def untaken(self) -> list[UUID]:
        """Events nobody is done with."""
        entries = await self.state.log.open_entries()
        return [entry.id for entry in entries if entry.kind == DataAvailableEvent.__name__]

    async def found(self) -> dict[float, tuple[str, str]]:
        """Hour → status and reason of every window."""
        windows = await self.state.windows.windows()
        return {(w.key.start - DAY) / HOUR: (str(w.status), w.reason) for w in windows}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    yield site
    await site.state.close()


async def test_a_covered_window_is_queued_and_the_builder_woken(site: Site):
    await site.arrive(1, 10, 12)
    assert await site.found() == {10: ("queued", ""), 11: ("queued", "")}
    assert site.woken == 1
    assert await site.state.log.open_entries() == []


async def test_an_incomplete_window_waits_and_nobody_is_woken(site: Site):
    await site.arrive(1, 10, 10.5, [10])
    assert await site.found() == {10: ("waiting", "incomplete_coverage")}
    assert site.woken == 0


async def test_coverage_that_comes_later_queues_what_waited(site: Site):
    await site.arrive(1, 10, 10.5, [10])
    await site.arrive(2, 10.75, 11, [])
    assert await site.found() == {10: ("waiting", "gap")}
    await site.arrive(3, 10.5, 10.75, [])
    assert await site.found() == {10: ("queued", "")}


async def test_a_claim_reaches_a_second_beyond_its_ends(site: Site):
    """Its neighbour may end up to a second away, in another window."""
    quarter = timedelta(seconds=0.25) / HOUR
    await site.arrive(1, 10 + quarter * 2, 11)
    assert await site.found() == {10: ("waiting", "incomplete_coverage")}
    await site.arrive(2, 9, 10 - quarter, [])
    assert await site.found() == {10: ("queued", "")}


async def test_rows_outside_the_claim_are_looked_after_as_well(site: Site):
    await site.arrive(1, 5, 6)
    await built(site.state)
    await site.arrive(2, 10, 11, [5, 10])
    assert await site.found() == {5: ("queued", ""), 10: ("queued", "")}
    await site.arrive(3, 12, 13, [2])
    assert (await site.found())[2] == ("waiting", "incomplete_coverage")


async def test_a_window_without_rows_does_not_exist(site: Site):
    await site.arrive(1, 10, 12, [11])
    assert await site.found() == {11: ("queued", "")}


async def test_an_event_told_again_changes_nothing(site: Site):
    event = await site.arrive(1, 10, 11)
    [order] = await built(site.state)
    before = await site.state.windows.windows()
    await site.coordinator().handle(event)
    assert await site.state.windows.windows() == before
    assert order.version == 1
    assert site.woken == 1
    assert [e.kind for e in await site.state.log.open_entries()] == ["DataSetAvailableEvent"]


async def test_an_overlapping_claim_without_news_leaves_a_built_window_alone(site: Site):
    await site.arrive(1, 10, 11)
    await built(site.state)
    await site.arrive(2, 9, 12, [])
    assert await site.found() == {10: ("built", "")}
    assert site.woken == 1


async def test_windows_become_due_when_their_lateness_is_over(site: Site):
    late = a_dataset(lateness="P3D")
    await site.arrive(1, 10, 11, metadata=late)
    [window] = await site.state.windows.windows()
    assert (window.status, window.reason) == (WindowStatus.QUEUED, "subject_to_change")
    assert window.due_at == at(11) + timedelta(days=3)


async def test_who_allows_incomplete_windows_queues_whatever_has_rows(site: Site):
    event = await settled(site.state, a_command(1, 10, 10.5), [10])
    await site.coordinator(lenient=True).handle(event)
    assert await site.found() == {10: ("queued", "")}


async def test_an_event_nobody_ingested_still_covers(site: Site):
    await site.state.datasets.register(a_dataset(), [])
    await site.coordinator().handle(event_of(a_command(1)))
    assert [span.start for span in await site.state.datasets.coverage("story")] == [at(10)]


async def test_an_interrupted_event_stays_open_and_is_finished_when_told_again(site: Site, life: Any):
    event = await settled(site.state, a_command(1))
    counted = life()
    await site.coordinator(counted.of(site.state)).handle(event)
    await built(site.state)
    for last in range(len(counted.calls)):
        number = last + 10
        event = await settled(site.state, a_command(number))
        with pytest.raises(life.Killed):
            await site.coordinator(life(last).of(site.state)).handle(event)
        assert await site.untaken() == [event.id]
        await site.coordinator().handle(event)
        assert await site.untaken() == []
        [order] = await built(site.state)
        assert ingestion(number) in {chunk.ingestion_id for chunk in order.chunks}
        assert order.version == last + 2


async def test_two_coordinators_never_leave_a_covered_window_waiting(site: Site):
    """The slow one decides on facts from before the other's claim came in."""
    first = await settled(site.state, a_command(1, 10, 10.5), [10])
    second = await settled(site.state, a_command(2, 10.5, 11), [10])
    examined, go_on = asyncio.Event(), asyncio.Event()

    class SlowWindows:
        def __getattr__(self, name: str) -> Any:
            return getattr(site.state.windows, name)

        async def decide(self, decisions: Sequence[Any]) -> None:
            examined.set()
            await go_on.wait()
            await site.state.windows.decide(decisions)

    class SlowState:
        windows = SlowWindows()
        log, ingestions = site.state.log, site.state.ingestions

    slow = asyncio.create_task(site.coordinator(SlowState()).handle(first))
    async with asyncio.timeout(10):
        await examined.wait()
        await site.coordinator().handle(second)
        go_on.set()
        await slow
    assert await site.found() == {10: ("queued", "")}


async def test_many_events_at_once_are_all_counted(site: Site):
    events = [await settled(site.state, a_command(number, 10, 12)) for number in range(8)]
    await asyncio.gather(*(site.coordinator().handle(event) for event in [*events, *events]))
    assert [window.version for window in await site.state.windows.windows()] == [8, 8]
    assert await site.found() == {10: ("queued", ""), 11: ("queued", "")}


# Touched windows


def a_chunk(first: float, last: float) -> Chunk:
    hour = at(int(first))
    return Chunk("story", hour, ingestion(1), 0, 1, 2, at(first), at(last), "x")


def test_a_chunk_touches_the_windows_between_its_first_and_last_row():
    quarter = timedelta(minutes=15)
    touched = touched_windows([a_chunk(10.25, 10.5), a_chunk(10, 10.1)], quarter)
    assert [key.start for key in touched] == [at(hour) for hour in (10, 10.25, 10.5)]
    assert {(key.dataset, key.length) for key in touched} == {("story", quarter)}


def test_a_window_of_many_chunks_is_touched_once():
    chunks = [a_chunk(hour, hour + 0.5) for hour in (3, 4, 5)]
    assert touched_windows(chunks, timedelta(days=1)) == [WindowKey("story", DAY, timedelta(days=1))]
    assert touched_windows([], HOUR) == []


@given(
    first=st.integers(0, 3_599_999_999),
    length=st.integers(0, 3_599_999_999),
    window=st.sampled_from([SECOND * 7, timedelta(minutes=10), HOUR, timedelta(days=1), timedelta(days=7)]),
)
def test_every_row_lies_in_a_touched_window(first: int, length: int, window: timedelta):
    last = min(first + length, 3_599_999_999)
    times = [at(10) + micros * MICROSECOND for micros in (first, last)]
    chunk = Chunk("story", at(10), ingestion(1), 0, 1, 2, *times, "x")
    touched = touched_windows([chunk], window)
    for row in (chunk.first, chunk.last):
        assert sum(key.start <= row < key.start + window for key in touched) == 1
    assert all(key.start <= chunk.last and key.span.end > chunk.first for key in touched)
