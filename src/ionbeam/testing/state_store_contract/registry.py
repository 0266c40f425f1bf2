"""What every `DatasetRegistry`, `QuarantineLedger` and `Bookmarks` must do."""

# ruff: noqa: D102 - a contract's clauses are told by their names

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from ionbeam.ports import StateStore
from ionbeam.records import IngestionOutcome, QuarantineEntry, QuarantineStatus, Tally
from ionbeam.testing.clock import VirtualClock
from ionbeam.testing.scenario import a_dataset
from ionbeam.testing.state_store_contract.examples import (
    NOW,
    a_command,
    a_quarantine_entry,
    event_of,
)


class RegistryContract:
    """Clauses about datasets, quarantine and bookmarks."""

    async def test_a_registered_dataset_is_found(self, store: StateStore, other: StateStore) -> None:
        metadata = a_dataset("ünï/côdé", lateness="P1D", metadata=("a", "b"), identity=["b"], version=7)
        await store.datasets.register(metadata, ["remark", "another"])
        record = await other.datasets.get("ünï/côdé")
        assert record is not None
        assert (record.metadata, record.findings) == (metadata, ("remark", "another"))
        assert record.registered_at == NOW
        assert await other.datasets.coverage("ünï/côdé") == []
        assert await store.datasets.get("unknown") is None

    async def test_the_highest_version_is_current(self, store: StateStore) -> None:
        for version, name in ((2, "second"), (3, "third"), (1, "first")):
            metadata = a_dataset(metadata=(name,), version=version)
            await store.datasets.register(metadata, [name])
        record = await store.datasets.get("story")
        assert record is not None
        assert (record.metadata.version, record.findings) == (3, ("third",))

    async def test_of_one_version_the_last_registration_is_current(
        self, store: StateStore, clock: VirtualClock
    ) -> None:
        await store.datasets.register(a_dataset(metadata=("one",)), [])
        await clock.advance(timedelta(hours=1))
        await store.datasets.register(a_dataset(metadata=("two",)), [])
        record = await store.datasets.get("story")
        assert record is not None
        assert record.metadata == a_dataset(metadata=("two",))
        assert record.registered_at == NOW + timedelta(hours=1)

    async def test_registering_the_same_again_changes_nothing(
        self, store: StateStore, clock: VirtualClock
    ) -> None:
        await store.datasets.register(a_dataset(), ["remark"])
        before = await store.datasets.get("story")
        await clock.advance(timedelta(hours=1))
        await store.datasets.register(a_dataset(), ["remark"])
        assert await store.datasets.get("story") == before

    async def test_datasets_are_listed_by_name(self, store: StateStore) -> None:
        for name in ("b", "a/c", "a"):
            await store.datasets.register(a_dataset(name), [])
        await store.windows.admit(event_of(a_command(1, metadata=a_dataset("b"))), [])
        records = await store.datasets.list()
        assert [record.metadata.dataset.name for record in records] == ["a", "a/c", "b"]
        assert [len(await store.datasets.coverage(name)) for name in ("a", "a/c", "b")] == [0, 0, 1]

    async def test_refused_rows_are_listed_oldest_first(self, store: StateStore) -> None:
        entries = [
            replace(a_quarantine_entry(1), at=NOW),
            replace(a_quarantine_entry(2, dataset="rain"), at=NOW - timedelta(days=1)),
            replace(a_quarantine_entry(3), at=NOW - timedelta(days=2)),
        ]
        for entry in entries:
            await _keep(store, entry.ingestion_id.int, entry.dataset, [entry])
        assert await store.quarantine.list() == entries[::-1]
        assert await store.quarantine.list("rain") == [entries[1]]
        assert await store.quarantine.list("none") == []

    async def test_an_entry_is_added_once(self, store: StateStore) -> None:
        entry = a_quarantine_entry(1)
        await store.quarantine.add(entry)
        await store.quarantine.mark_replayed(entry.id)
        await store.quarantine.add(entry)
        assert await store.quarantine.list() == [replace(entry, status=QuarantineStatus.REPLAYED)]

    async def test_a_replayed_entry_is_marked(self, store: StateStore, other: StateStore) -> None:
        entry = a_quarantine_entry(1)
        await _keep(store, 1, "story", [entry])
        assert await store.quarantine.get(entry.id) == entry
        await store.quarantine.mark_replayed(entry.id)
        assert await other.quarantine.get(entry.id) == replace(entry, status=QuarantineStatus.REPLAYED)
        assert await store.quarantine.get(UUID(int=99)) is None

    async def test_refusing_again_does_not_reopen_what_was_replayed(self, store: StateStore) -> None:
        entry = a_quarantine_entry(1, rows=0)
        await store.ingestions.refuse(a_command(1), 10, "broken", entry)
        await store.quarantine.mark_replayed(entry.id)
        await store.ingestions.refuse(a_command(1), 10, "broken", entry)
        assert [e.status for e in await store.quarantine.list()] == [QuarantineStatus.REPLAYED]

    async def test_a_bookmark_moves(self, store: StateStore, other: StateStore) -> None:
        assert await store.bookmarks.get("schedule/a") is None
        await store.bookmarks.set("schedule/a", "1")
        await store.bookmarks.set("schedule/b", "2")
        await other.bookmarks.set("schedule/a", "3")
        assert await store.bookmarks.get("schedule/a") == "3"
        assert await store.bookmarks.get("schedule/b") == "2"


async def _keep(store: StateStore, number: int, dataset: str, entries: list[QuarantineEntry]) -> None:
    command = a_command(number, metadata=a_dataset(dataset))
    await store.ingestions.accept(command, 3)
    claim = await store.ingestions.claim(command.id)
    assert claim is not None
    outcome = IngestionOutcome(Tally(3, rejected=3), rejects=tuple(entries))
    await store.ingestions.settle(claim, outcome, event_of(command))
