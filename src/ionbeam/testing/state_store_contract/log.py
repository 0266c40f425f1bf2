"""What every `EventLog` must do."""

# ruff: noqa: D102 - a contract's clauses are told by their names

import asyncio
from datetime import timedelta
from uuid import UUID

from ionbeam.messages.codec import encode
from ionbeam.messages.commands import StartSourceCommand
from ionbeam.messages.events import DataSetAvailableEvent
from ionbeam.observations.dataset import DatasetMetadata
from ionbeam.ports import StateStore
from ionbeam.testing.clock import VirtualClock
from ionbeam.testing.scenario import a_dataset
from ionbeam.testing.state_store_contract.examples import NOW, a_command, at, event_of


class EventLogContract:
    """Clauses about the event log."""

    async def test_an_entry_says_what_was_told_when(self, store: StateStore) -> None:
        command = a_command(1, metadata=a_dataset("ünï/côdé"))
        entry = await store.log.append(command)
        assert (entry.kind, entry.id, entry.subject) == ("IngestDataCommand", command.id, "ünï/côdé")
        assert (entry.body, entry.at) == (encode(command), NOW)

    async def test_the_subject_is_the_dataset_or_the_source(self, store: StateStore) -> None:
        start = StartSourceCommand(id=UUID(int=1), source_name="feed", start_time=at(1), end_time=at(2))
        done = DataSetAvailableEvent(
            id=UUID(int=1),
            metadata=DatasetMetadata(name="set"),
            dataset_location="x",
            start_time=at(1),
            end_time=at(2),
        )
        subjects = [(await store.log.append(m)).subject for m in (start, done, event_of(a_command(1)))]
        assert subjects == ["feed", "set", "story"]

    async def test_a_message_is_recorded_once(self, store: StateStore, clock: VirtualClock) -> None:
        first = await store.log.append(a_command(1))
        await clock.advance(timedelta(hours=1))
        await store.log.append(a_command(2))
        assert await store.log.append(a_command(1)) == first
        assert [entry.id.int async for entry in store.log.read()] == [1, 2]

    async def test_a_command_and_its_event_may_share_an_id(self, store: StateStore) -> None:
        command = a_command(1)
        await store.log.append(command)
        await store.log.append(event_of(command))
        await store.log.close(command)
        assert [entry.kind for entry in await store.log.open_entries()] == ["DataAvailableEvent"]

    async def test_sequences_grow(self, store: StateStore, other: StateStore) -> None:
        sequences = [(await s.log.append(a_command(n))).sequence for n, s in enumerate([store, other, store])]
        assert sequences == sorted(set(sequences))

    async def test_an_entry_is_open_until_it_is_closed(self, store: StateStore, other: StateStore) -> None:
        for number in (3, 1, 2):
            await store.log.append(a_command(number))
        assert [entry.id.int for entry in await other.log.open_entries()] == [3, 1, 2]
        for _ in range(2):
            await other.log.close(a_command(1))
        assert [entry.id.int for entry in await store.log.open_entries()] == [3, 2]
        assert [entry.id.int async for entry in store.log.read()] == [3, 1, 2]

    async def test_appending_again_does_not_open_a_closed_entry(self, store: StateStore) -> None:
        await store.log.append(a_command(1))
        await store.log.close(a_command(1))
        await store.log.append(a_command(1))
        assert await store.log.open_entries() == []

    async def test_an_entry_says_whether_it_is_open(self, store: StateStore) -> None:
        assert (await store.log.append(a_command(1))).is_open
        await store.log.close(a_command(1))
        assert not (await store.log.append(a_command(1))).is_open
        assert [entry.is_open async for entry in store.log.read()] == [False]

    async def test_an_entry_can_be_opened_again_as_of_now(
        self, store: StateStore, clock: VirtualClock
    ) -> None:
        first = await store.log.append(a_command(1))
        await store.log.close(a_command(1))
        await clock.advance(timedelta(hours=1))
        again = await store.log.append(a_command(1), reopen=True)
        assert (again.sequence, again.is_open) == (first.sequence, True)
        assert again.at == NOW + timedelta(hours=1)
        assert await store.log.open_entries() == [again]

    async def test_opening_what_is_open_leaves_it_as_it_is(
        self, store: StateStore, clock: VirtualClock
    ) -> None:
        first = await store.log.append(a_command(1), reopen=True)
        await clock.advance(timedelta(hours=1))
        assert await store.log.append(a_command(1), reopen=True) == first

    async def test_closing_what_was_never_told_does_nothing(self, store: StateStore) -> None:
        await store.log.close(a_command(1))
        assert [entry async for entry in store.log.read()] == []
        entry = await store.log.append(a_command(1))
        assert await store.log.open_entries() == [entry]

    async def test_reading_goes_on_behind_a_sequence_and_by_kind(self, store: StateStore) -> None:
        messages = [m for n in range(3) for m in (a_command(n), event_of(a_command(n)))]
        entries = [await store.log.append(message) for message in messages]
        assert [e async for e in store.log.read(after=entries[1].sequence)] == entries[2:]
        assert [e async for e in store.log.read(kind="DataAvailableEvent")] == entries[1::2]
        behind = store.log.read(after=entries[2].sequence, kind="IngestDataCommand")
        assert [e async for e in behind] == [entries[4]]
        assert [e async for e in store.log.read(after=entries[-1].sequence)] == []

    async def test_a_long_log_is_read_to_its_end(self, store: StateStore) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(1100):
                group.create_task(store.log.append(event_of(a_command(number))))
        entries = [entry async for entry in store.log.read()]
        assert len({entry.id for entry in entries}) == len(entries) == 1100
        assert [entry.sequence for entry in entries] == sorted(entry.sequence for entry in entries)

    async def test_of_racing_appends_one_is_kept(self, store: StateStore, other: StateStore) -> None:
        command = a_command(1)
        entries = await asyncio.gather(*(s.log.append(command) for s in [store, other] * 8))
        assert len(set(entries)) == 1
        assert len([entry async for entry in store.log.read()]) == 1
