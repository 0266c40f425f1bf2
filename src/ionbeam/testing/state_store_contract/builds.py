"""What every `BuildQueue` must do, apart from retiring chunks."""

# ruff: noqa: D102 - a contract's clauses are told by their names

import asyncio
from datetime import timedelta

import pytest

from ionbeam.errors import Fenced
from ionbeam.ports import StateStore
from ionbeam.records import Decision, WindowStatus
from ionbeam.testing.scenario import a_dataset
from ionbeam.testing.state_store_contract.examples import (
    NOW,
    SECOND,
    a_command,
    a_revision,
    admitted,
    at,
    built,
    claimed,
    ingestion,
    queued,
    revised,
    settled,
    the_window,
)


class BuildQueueContract:
    """Clauses about the queue of windows to build."""

    async def test_an_empty_queue_gives_nothing(self, store: StateStore) -> None:
        assert await store.builds.claim(NOW) is None
        assert await store.builds.next_due() is None

    async def test_the_oldest_window_comes_first(self, store: StateStore) -> None:
        await queued(store, 1, 11, 13, due=NOW - timedelta(hours=1))
        await queued(store, 2, 9, 11)
        starts = [(await claimed(store)).key.start for _ in range(4)]
        assert starts == [at(hour) for hour in (9, 10, 11, 12)]

    async def test_a_window_is_given_out_when_it_is_due(self, store: StateStore) -> None:
        due = NOW + timedelta(days=1)
        await queued(store, due=due)
        await queued(store, 2, 12, 13, due=due + SECOND)
        assert await store.builds.next_due() == due
        assert await store.builds.claim(due - timedelta(microseconds=1)) is None
        assert await store.builds.claim(due) is not None
        assert await store.builds.next_due() == due + SECOND

    async def test_an_order_holds_what_a_build_needs(self, store: StateStore) -> None:
        other_map = a_dataset(metadata=("station_id", "owner"), version=2)
        await store.log.append(a_command(3))
        await admitted(store, a_command(1, metadata=other_map))
        await admitted(store, a_command(2, 10, 12))
        [key] = await queued(store, 3)
        await settled(store, a_command(4, 11, 12))
        order = await claimed(store)
        assert (order.key, order.version, order.attempt) == (key, 3, 1)
        assert [chunk.ingestion_id.int for chunk in order.chunks] == [3, 1, 2]
        assert {chunk.hour for chunk in order.chunks} == {at(10)}
        assert sorted(order.maps, key=lambda m: m.version) == [a_dataset(), other_map]
        assert (order.revision, order.bases) == (None, ())

    async def test_chunks_are_chosen_by_the_times_of_their_rows(self, store: StateStore) -> None:
        """Windows may be shorter than the hour of a chunk, or longer."""
        quarters = a_dataset(span="PT15M")
        keys = await admitted(store, a_command(1, metadata=quarters))
        last = keys[-1]  # the chunk's last row is that of minute 59
        await admitted(store, a_command(2, 9, 10, quarters))
        await store.windows.decide([Decision(last, WindowStatus.QUEUED, due_at=NOW)])
        order = await claimed(store)
        assert order.key.start == at(10.75)
        assert [chunk.ingestion_id.int for chunk in order.chunks] == [1]

        [day] = await admitted(store, a_command(3, 0, 1, a_dataset(span="P1D")))
        await store.windows.decide([Decision(day, WindowStatus.QUEUED, due_at=NOW)])
        order = await claimed(store)
        assert [chunk.ingestion_id.int for chunk in order.chunks] == [1, 2, 3]

    async def test_a_window_is_in_one_builders_hands(self, store: StateStore, other: StateStore) -> None:
        await queued(store)
        await claimed(store)
        assert await store.builds.claim(NOW) is None
        assert await other.builds.claim(NOW) is None
        assert await store.builds.next_due() is None

    async def test_of_racing_claims_each_window_goes_to_one(
        self, store: StateStore, other: StateStore
    ) -> None:
        await queued(store, 1, 9, 14)
        orders = await asyncio.gather(*(s.builds.claim(NOW) for s in [store, other] * 8))
        given = [order.key.start.hour for order in orders if order is not None]
        assert sorted(given) == [9, 10, 11, 12, 13]

    async def test_a_settled_window_is_built(self, store: StateStore, other: StateStore) -> None:
        await queued(store)
        [order] = await built(store)
        window = await the_window(other)
        assert (window.status, window.built_version, window.attempts) == ("built", 1, 0)
        assert (window.due_at, window.revision) == (None, a_revision(order))
        assert await store.builds.next_due() is None
        [told] = await other.log.open_entries()
        assert (told.kind, told.id) == ("DataSetAvailableEvent", revised(a_revision(order)).id)

    async def test_a_window_that_did_not_change_is_built_without_revision(self, store: StateStore) -> None:
        await queued(store)
        await store.builds.settle(await claimed(store), None, None)
        window = await the_window(store)
        assert (window.status, window.built_version, window.revision) == ("built", 1, None)
        assert await store.log.open_entries() == []

    async def test_a_window_that_changed_meanwhile_stays_queued(self, store: StateStore) -> None:
        await queued(store)
        order = await claimed(store)
        await queued(store, 2)
        revision = a_revision(order)
        await store.builds.settle(order, revision, revised(revision))
        window = await the_window(store)
        assert (window.status, window.version, window.built_version) == ("queued", 2, 1)
        again = await claimed(store)
        assert (again.version, again.revision) == (2, revision)
        assert again.token > order.token
        assert [chunk.ingestion_id.int for chunk in again.chunks] == [1, 2]

    async def test_news_that_nobody_decided_about_yet_are_not_lost(self, store: StateStore) -> None:
        await queued(store)
        order = await claimed(store)
        [key] = await admitted(store, a_command(2))
        await store.builds.settle(order, None, None)
        await store.windows.decide([Decision(key, WindowStatus.QUEUED, due_at=NOW)])
        assert (await claimed(store)).version == 2

    async def test_a_failed_build_is_due_again_later(self, store: StateStore) -> None:
        await queued(store)
        later = NOW + timedelta(seconds=5)
        await store.builds.fail(await claimed(store), "disk full", later)
        window = await the_window(store)
        assert (window.status, window.reason, window.due_at) == ("queued", "disk full", later)
        assert window.attempts == 1
        assert await store.builds.claim(NOW) is None
        again = await store.builds.claim(later)
        assert again is not None
        assert again.attempt == 2

    async def test_a_failed_build_keeps_its_pause_until_there_are_news(self, store: StateStore) -> None:
        [key] = await queued(store)
        later = NOW + timedelta(minutes=5)
        await store.builds.fail(await claimed(store), "disk full", later)
        for status in (WindowStatus.QUEUED, WindowStatus.WAITING):
            await store.windows.decide([Decision(key, status, due_at=NOW)])
        window = await the_window(store)
        assert (window.status, window.reason, window.due_at) == ("queued", "disk full", later)
        await queued(store, 2)
        assert (await claimed(store)).attempt == 1

    async def test_a_parked_window_stays_parked_until_there_are_news(self, store: StateStore) -> None:
        [key] = await queued(store)
        await store.builds.fail(await claimed(store), "unreadable", None)
        for status in (WindowStatus.QUEUED, WindowStatus.WAITING):
            await store.windows.decide([Decision(key, status, due_at=NOW)])
        window = await the_window(store)
        assert (window.status, window.reason, window.due_at) == ("parked", "unreadable", None)
        assert await store.builds.claim(NOW + timedelta(days=999)) is None
        assert await store.builds.next_due() is None
        await queued(store, 2)
        assert (await claimed(store)).attempt == 1

    async def test_force_takes_a_failed_window_up_again(self, store: StateStore) -> None:
        [key] = await queued(store)
        for retry_at in (NOW + timedelta(minutes=5), None):
            await store.builds.fail(await claimed(store), "unreadable", retry_at)
            await store.windows.decide([Decision(key, WindowStatus.QUEUED, due_at=NOW, forced=True)])
        assert (await claimed(store)).attempt == 1

    async def test_a_rebuild_that_failed_does_not_keep_news_waiting(self, store: StateStore) -> None:
        [key] = await queued(store)
        await built(store)
        await store.windows.decide([Decision(key, WindowStatus.QUEUED, due_at=NOW, forced=True)])
        await store.builds.fail(await claimed(store), "unreadable", None)
        await queued(store, 2)
        assert (await claimed(store)).version == 2

    async def test_success_starts_the_attempts_anew(self, store: StateStore) -> None:
        await queued(store)
        await store.builds.fail(await claimed(store), "disk full", NOW)
        await built(store)
        await queued(store, 2)
        assert (await claimed(store)).attempt == 1

    async def test_who_lost_the_window_can_do_nothing_with_it(
        self, store: StateStore, other: StateStore
    ) -> None:
        await queued(store)
        lost = await claimed(store)
        await store.builds.fail(lost, "taken away", NOW)
        order = await claimed(other)
        assert order.token > lost.token
        before = await the_window(store)
        revision = a_revision(lost)
        with pytest.raises(Fenced):
            await store.builds.settle(lost, revision, revised(revision))
        with pytest.raises(Fenced):
            await store.builds.fail(lost, "I failed", None)
        assert await the_window(store) == before
        assert await store.windows.revisions(lost.key) == []
        assert await store.log.open_entries() == []
        await other.builds.settle(order, revision, revised(revision))

    async def test_an_order_is_good_for_one_settlement(self, store: StateStore) -> None:
        await queued(store)
        [order] = await built(store)
        with pytest.raises(Fenced):
            await store.builds.settle(order, None, None)
        with pytest.raises(Fenced):
            await store.builds.fail(order, "after all", NOW)
        assert (await the_window(store)).status is WindowStatus.BUILT

    async def test_a_rebuild_sees_the_inputs_again(self, store: StateStore) -> None:
        [key] = await queued(store)
        [first] = await built(store)
        await store.windows.decide([Decision(key, WindowStatus.QUEUED, "rebuild", NOW)])
        again = await claimed(store)
        assert again.chunks == first.chunks
        assert again.maps == first.maps
        assert [chunk.ingestion_id for chunk in again.chunks] == [ingestion(1)]
