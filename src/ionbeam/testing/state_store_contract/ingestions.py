"""What every `IngestionLedger` must do."""

# ruff: noqa: D102 - a contract's clauses are told by their names

import asyncio
from datetime import timedelta

import pytest

from ionbeam.errors import Busy, Fenced
from ionbeam.ports import StateStore
from ionbeam.records import IngestionClaim, IngestionOutcome, IngestionStatus, Tally
from ionbeam.testing.clock import VirtualClock
from ionbeam.testing.scenario import a_dataset
from ionbeam.testing.state_store_contract.examples import (
    NOW,
    a_chunk,
    a_command,
    a_quarantine_entry,
    at,
    event_of,
    ingestion,
    settled,
    span,
)

EMPTY = IngestionOutcome(Tally())


class IngestionLedgerContract:
    """Clauses about what was accepted and what became of it."""

    async def test_an_accepted_command_is_remembered(self, store: StateStore, other: StateStore) -> None:
        command = a_command(1, metadata=a_dataset(metadata=("station_id", "owner"), identity=["owner"]))
        record = await store.ingestions.accept(command, 60)
        assert (record.status, record.tally, record.accepted_at) == ("accepted", Tally(60), NOW)
        assert (record.metadata, record.span) == (command.metadata, span(10, 11))
        assert await other.ingestions.get(command.id) == record
        assert await other.ingestions.get(ingestion(2)) is None

    async def test_a_command_is_accepted_once(self, store: StateStore, clock: VirtualClock) -> None:
        first = await store.ingestions.accept(a_command(1), 60)
        await clock.advance(timedelta(hours=1))
        assert await store.ingestions.accept(a_command(1), 70) == first

    async def test_acceptance_order_is_the_order_of_the_log(self, store: StateStore) -> None:
        logged = [await store.log.append(a_command(number)) for number in (1, 2)]
        accepted = [await store.ingestions.accept(a_command(number), 1) for number in (2, 1, 3)]
        assert [record.sequence for record in accepted[1::-1]] == [entry.sequence for entry in logged]
        assert accepted[2].sequence > logged[1].sequence
        assert [entry.id.int async for entry in store.log.read()] == [1, 2, 3]

    async def test_a_claim_is_exclusive(self, store: StateStore, other: StateStore) -> None:
        await store.ingestions.accept(a_command(1), 60)
        assert (await _claimed(store)).record.id == ingestion(1)
        for ledger in (store.ingestions, other.ingestions):
            with pytest.raises(Busy):
                await ledger.claim(ingestion(1))

    async def test_of_racing_claims_one_wins(self, store: StateStore, other: StateStore) -> None:
        for number in range(1, 6):
            await store.ingestions.accept(a_command(number), 60)
            claims = (s.ingestions.claim(ingestion(number)) for s in [store, other] * 8)
            answers = await asyncio.gather(*claims, return_exceptions=True)
            assert sum(isinstance(answer, IngestionClaim) for answer in answers) == 1
            assert sum(isinstance(answer, Busy) for answer in answers) == 15

    async def test_released_work_can_be_claimed_again(self, store: StateStore, other: StateStore) -> None:
        await store.ingestions.accept(a_command(1), 60)
        first = await _claimed(store)
        await store.ingestions.release(first)
        assert (await _claimed(other)).token > first.token

    async def test_who_lost_the_work_cannot_settle_it(self, store: StateStore, other: StateStore) -> None:
        await store.ingestions.accept(a_command(1), 60)
        lost = await _claimed(store)
        await store.ingestions.release(lost)
        claim = await _claimed(other)
        outcome = IngestionOutcome(Tally(60, 60), (a_chunk(lost.record, 10),), (a_quarantine_entry(1),))
        with pytest.raises(Fenced):
            await store.ingestions.settle(lost, outcome, event_of(a_command(1)))
        assert await store.ingestions.chunks(ingestion(1)) == []
        assert await store.quarantine.list() == []
        assert [entry.kind for entry in await store.log.open_entries()] == ["IngestDataCommand"]
        await other.ingestions.settle(claim, EMPTY, event_of(a_command(1)))

    async def test_who_lost_the_work_cannot_release_it(self, store: StateStore, other: StateStore) -> None:
        await store.ingestions.accept(a_command(1), 60)
        lost = await _claimed(store)
        await store.ingestions.release(lost)
        await _claimed(other)
        await store.ingestions.release(lost)
        with pytest.raises(Busy):
            await store.ingestions.claim(ingestion(1))

    async def test_settling_keeps_everything_at_once(self, store: StateStore, other: StateStore) -> None:
        command = a_command(1, 10, 12)
        record = await store.ingestions.accept(command, 127)
        chunks = (a_chunk(record, 10, part=1), a_chunk(record, 11), a_chunk(record, 10))
        entry = a_quarantine_entry(1)
        outcome = IngestionOutcome(Tally(127, 120, 4, 3), chunks, (entry,), ("T looks odd",))
        await store.ingestions.settle(await _claimed(store), outcome, event_of(command))

        found = await other.ingestions.get(command.id)
        assert found is not None
        assert (found.status, found.tally, found.warnings) == ("settled", outcome.tally, ("T looks odd",))
        assert await other.ingestions.chunks(command.id) == [chunks[2], chunks[0], chunks[1]]
        assert await other.quarantine.list() == [entry]
        [told] = await other.log.open_entries()
        assert (told.kind, told.id) == ("DataAvailableEvent", command.id)

    async def test_settled_work_is_done(self, store: StateStore, other: StateStore) -> None:
        await store.ingestions.accept(a_command(1), 0)
        claim = await _claimed(store)
        await store.ingestions.settle(claim, EMPTY, event_of(a_command(1)))
        assert await other.ingestions.claim(ingestion(1)) is None
        with pytest.raises(Fenced):
            await store.ingestions.settle(claim, EMPTY, event_of(a_command(1)))

    async def test_a_refused_command_is_closed_and_its_rows_count(self, store: StateStore) -> None:
        await store.ingestions.accept(a_command(1), 60)
        await store.ingestions.release(await _claimed(store))
        entry = a_quarantine_entry(1, rows=0)
        for _ in range(2):
            await store.ingestions.refuse(a_command(1), 10, "no such column", entry)
        record = await store.ingestions.get(ingestion(1))
        assert record is not None
        assert (record.status, record.reason) == ("refused", "no such column")
        assert record.tally == Tally(60, rejected=60)
        assert await store.quarantine.list() == [entry]
        assert await store.log.open_entries() == []
        assert await store.ingestions.claim(ingestion(1)) is None

    async def test_a_command_can_be_refused_before_it_is_accepted(self, store: StateStore) -> None:
        await store.ingestions.refuse(a_command(1), 10, "no payload", a_quarantine_entry(1, rows=0))
        record = await store.ingestions.accept(a_command(1), 60)
        assert (record.status, record.tally) == (IngestionStatus.REFUSED, Tally(received=10, rejected=10))
        assert [entry.id.int async for entry in store.log.read()] == [1]
        assert await store.log.open_entries() == []

    async def test_what_is_settled_cannot_be_refused(self, store: StateStore) -> None:
        await settled(store, a_command(1))
        await store.ingestions.refuse(a_command(1), 10, "too late", a_quarantine_entry(1, rows=0))
        record = await store.ingestions.get(ingestion(1))
        assert record is not None
        assert (record.status, record.tally.stored) == ("settled", 60)

    async def test_the_latest_is_the_last_accepted_of_exactly_that_span(self, store: StateStore) -> None:
        assert await store.ingestions.latest("story", span(10, 11)) is None
        for number, hours in ((2, (10, 11)), (1, (10, 11)), (3, (10, 12)), (4, (9, 11))):
            await store.ingestions.accept(a_command(number, *hours), 0)
        await store.ingestions.accept(a_command(5, metadata=a_dataset("another")), 0)
        latest = await store.ingestions.latest("story", span(10, 11))
        assert latest is not None
        assert latest.id == ingestion(1)

    async def test_earlier_chunks_of_an_hour_come_in_acceptance_order(self, store: StateStore) -> None:
        await store.log.append(a_command(4))
        await settled(store, a_command(2, 10, 12))
        await settled(store, a_command(4))
        await settled(store, a_command(5, metadata=a_dataset("another")))
        record = await store.ingestions.accept(a_command(1), 60)
        await settled(store, a_command(3))
        before = await store.ingestions.chunks_before("story", at(10), record.sequence)
        assert [chunk.ingestion_id.int for chunk in before or ()] == [4, 2]

    async def test_nobody_concludes_from_half_the_story(self, store: StateStore, other: StateStore) -> None:
        """A row is a known one only when all that was accepted before it is known."""
        await settled(store, a_command(1))
        await store.log.append(a_command(2))
        record = await store.ingestions.accept(a_command(3), 60)
        assert await store.ingestions.chunks_before("story", at(10), record.sequence) is None
        await store.ingestions.accept(a_command(2), 60)
        assert await other.ingestions.chunks_before("story", at(10), record.sequence) is None

        await settled(store, a_command(2))
        await store.log.append(a_command(4))
        before = await store.ingestions.chunks_before("story", at(10), record.sequence)
        assert [chunk.ingestion_id.int for chunk in before or ()] == [1, 2]

    async def test_a_refused_or_foreign_ingestion_keeps_nobody_waiting(self, store: StateStore) -> None:
        await store.ingestions.refuse(a_command(1), 10, "no payload", a_quarantine_entry(1, rows=0))
        await store.log.append(a_command(2, metadata=a_dataset("another")))
        record = await store.ingestions.accept(a_command(3), 60)
        assert await store.ingestions.chunks_before("story", at(10), record.sequence) == []

    async def test_the_books_close_at_every_stage(self, store: StateStore) -> None:
        await store.ingestions.accept(a_command(1), 100)
        [line] = await store.ingestions.books()
        assert (line.dataset, line.hour, line.pending) == ("story", NOW.replace(minute=0), 100)
        assert line.closes
        outcome = IngestionOutcome(Tally(100, 80, 15, 5))
        await store.ingestions.settle(await _claimed(store), outcome, event_of(a_command(1)))
        await store.ingestions.accept(a_command(2), 7)
        await store.ingestions.refuse(a_command(2), 10, "broken", a_quarantine_entry(2, rows=0))
        await store.ingestions.accept(a_command(3), 11)
        [line] = await store.ingestions.books()
        assert (line.tally, line.pending) == (Tally(118, 80, 15, 12), 11)
        assert line.closes

    async def test_the_books_have_a_line_per_dataset_and_hour_of_reception(
        self, store: StateStore, clock: VirtualClock
    ) -> None:
        await store.ingestions.accept(a_command(1, metadata=a_dataset("rain")), 1)
        await clock.advance(timedelta(minutes=30) - timedelta(microseconds=1))
        await store.ingestions.accept(a_command(2, metadata=a_dataset("fog")), 2)
        await store.ingestions.accept(a_command(3, metadata=a_dataset("rain")), 4)
        await clock.advance(timedelta(microseconds=1))
        await store.ingestions.accept(a_command(4, metadata=a_dataset("rain")), 8)
        lines = [(b.dataset, b.hour.hour, b.tally.received) for b in await store.ingestions.books()]
        assert lines == [("fog", 12, 2), ("rain", 12, 5), ("rain", 13, 8)]


async def _claimed(store: StateStore) -> IngestionClaim:
    claim = await store.ingestions.claim(ingestion(1))
    assert claim is not None
    return claim
