"""When a `BuildQueue` may take chunks out of use: never while anything still needs them."""

# ruff: noqa: D102 - a contract's clauses are told by their names

from datetime import timedelta

from ionbeam.ports import StateStore
from ionbeam.records import Decision, WindowStatus
from ionbeam.testing.scenario import a_dataset
from ionbeam.testing.state_store_contract.examples import (
    NOW,
    a_command,
    a_quarantine_entry,
    a_revision,
    admitted,
    at,
    built,
    claimed,
    event_of,
    ingestion,
    queued,
    revised,
    settled,
)

LATER = NOW + timedelta(days=1)


class RetirementContract:
    """Clauses about retiring chunks."""

    async def test_retired_chunks_are_named_until_they_are_forgotten(
        self, store: StateStore, other: StateStore
    ) -> None:
        [key] = await queued(store)
        [order] = await built(store)
        assert await store.builds.unretired() == [key]
        assert await store.builds.retire(key) == list(order.chunks)
        assert await store.ingestions.chunks(ingestion(1)) == []
        assert await other.builds.unretired() == [key], "their files may still lie there"
        assert await other.builds.retire(key) == list(order.chunks)
        await other.builds.forget(order.chunks)
        assert await store.builds.retire(key) == []
        assert await store.builds.unretired() == []
        assert await store.ingestions.chunks(ingestion(1)) == []

    async def test_the_revision_takes_the_place_of_what_was_retired(
        self, store: StateStore, other: StateStore
    ) -> None:
        [key] = await queued(store)
        [first] = await built(store)
        await store.builds.retire(key)
        await queued(store, 2)
        order = await claimed(other)
        assert [base.window for base in order.bases] == [key]
        assert order.revision == a_revision(first)
        assert [chunk.ingestion_id.int for chunk in order.chunks] == [2]
        assert order.maps == first.maps

    async def test_the_base_is_the_revision_of_when_its_inputs_were_retired(self, store: StateStore) -> None:
        """A later one may hold what came too early and must be merged behind what is pending."""
        [key] = await queued(store)
        [first] = await built(store)
        await store.builds.retire(key)
        await store.log.append(a_command(9))
        await queued(store, 2)
        await built(store)
        assert [chunk.ingestion_id.int for chunk in await store.builds.retire(key)] == [1]

        await queued(store, 9)
        order = await claimed(store)
        assert order.bases == (a_revision(first),)
        assert [chunk.ingestion_id.int for chunk in order.chunks] == [9, 2]
        revision = a_revision(order)
        await store.builds.settle(order, revision, revised(revision))
        assert len(await store.builds.retire(key)) == 3
        await queued(store, 4)
        assert (await claimed(store)).bases == (revision,)

    async def test_a_window_that_is_not_built_keeps_its_chunks(self, store: StateStore) -> None:
        [key] = await queued(store)
        assert await store.builds.retire(key) == []
        await built(store)
        await queued(store, 2)
        assert await store.builds.retire(key) == []
        assert len((await claimed(store)).chunks) == 2

    async def test_a_chunk_stays_while_another_window_over_it_is_not_built(self, store: StateStore) -> None:
        halves = a_dataset(span="PT30M")
        first, second = await admitted(store, a_command(1, metadata=halves))
        await store.windows.decide(
            [
                Decision(first, WindowStatus.QUEUED, due_at=NOW),
                Decision(second, WindowStatus.QUEUED, due_at=LATER),
            ]
        )
        await built(store)
        assert await store.builds.retire(first) == []
        order = await store.builds.claim(LATER)
        assert order is not None
        await store.builds.settle(order, a_revision(order), None)
        assert len(await store.builds.retire(second)) == 1
        await store.windows.decide([Decision(first, WindowStatus.QUEUED, due_at=NOW)])
        assert (await claimed(store)).bases

    async def test_a_window_of_another_length_counts_as_well(self, store: StateStore) -> None:
        """A dataset whose windows became longer still has the shorter ones."""
        daily = a_dataset(span="P1D", version=2)
        [hour] = await queued(store)
        await built(store)
        [day] = await admitted(store, a_command(2, 11, 12, daily))
        assert await store.builds.retire(hour) == []
        await store.windows.decide([Decision(day, WindowStatus.QUEUED, due_at=NOW)])
        await built(store)
        assert len(await store.builds.retire(day)) == 2
        await store.windows.decide([Decision(hour, WindowStatus.QUEUED, due_at=NOW)])
        assert (await claimed(store)).bases

    async def test_nothing_is_retired_while_an_ingestion_is_pending(self, store: StateStore) -> None:
        await store.log.append(a_command(9))
        [key] = await queued(store)
        await built(store)
        assert await store.builds.retire(key) == []
        await store.ingestions.refuse(a_command(9), 10, "broken", a_quarantine_entry(9, rows=0))
        await store.log.append(a_command(8, metadata=a_dataset("another")))
        assert len(await store.builds.retire(key)) == 1

    async def test_nothing_is_retired_while_an_event_is_not_taken_in(self, store: StateStore) -> None:
        """Its chunks are there, but no window knows of them yet."""
        [key] = await queued(store)
        order = await claimed(store)
        event = await settled(store, a_command(2))
        revision = a_revision(order)
        await store.builds.settle(order, revision, revised(revision))
        assert await store.builds.retire(key) == []

        await store.windows.admit(event, [key])
        await store.log.close(event)
        assert await store.builds.retire(key) == []
        await store.windows.decide([Decision(key, WindowStatus.QUEUED, due_at=NOW)])
        assert [chunk.ingestion_id.int for chunk in (await claimed(store)).chunks] == [1, 2]

    async def test_chunks_of_other_windows_and_datasets_stay(self, store: StateStore) -> None:
        await admitted(store, a_command(3, metadata=a_dataset("another")))
        first, _ = await queued(store, 1, 10, 12)
        await built(store, 2)
        retired = await store.builds.retire(first)
        assert [(chunk.dataset, chunk.hour) for chunk in retired] == [("story", at(10))]
        assert [chunk.hour for chunk in await store.ingestions.chunks(ingestion(1))] == [at(11)]
        assert len(await store.ingestions.chunks(ingestion(3))) == 1

    async def test_an_event_told_again_after_retirement_touches_nothing(self, store: StateStore) -> None:
        [key] = await queued(store)
        await built(store)
        await store.builds.retire(key)
        await store.windows.admit(event_of(a_command(1)), [])
        [facts] = await store.windows.examine("story", key.length, key.span)
        assert (facts.version, facts.built_version) == (1, 1)
