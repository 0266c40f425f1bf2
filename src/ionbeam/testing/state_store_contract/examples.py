"""Messages, chunks and revisions the suites work with, and the steps that lead up to a clause."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from ionbeam.messages.commands import IngestDataCommand
from ionbeam.messages.events import DataAvailableEvent, DataSetAvailableEvent
from ionbeam.observations.dataset import DatasetMetadata, IngestionMetadata
from ionbeam.observations.timespan import TimeSpan, windows_over
from ionbeam.ports import StateStore
from ionbeam.records import (
    BuildOrder,
    Chunk,
    Decision,
    IngestionOutcome,
    IngestionRecord,
    QuarantineEntry,
    Revision,
    Tally,
    WindowKey,
    WindowState,
    WindowStatus,
)
from ionbeam.testing.scenario import a_dataset

NOW = datetime(2024, 1, 3, 12, 30, tzinfo=UTC)
DAY = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def at(hour: float) -> datetime:
    """A time of the first of January."""
    return DAY + hour * HOUR


def span(start: float, end: float) -> TimeSpan:
    """A span of hours of the first of January."""
    return TimeSpan(at(start), at(end))


def ingestion(number: int) -> UUID:
    """A made-up ingestion id."""
    return UUID(int=number)


def a_command(
    number: int, start: float = 10, end: float = 11, metadata: IngestionMetadata | None = None
) -> IngestDataCommand:
    """Ingestion ``number``, which claims the hours from ``start`` to ``end``."""
    return IngestDataCommand(
        id=ingestion(number),
        metadata=metadata or a_dataset(),
        payload_location=f"raw/{number}.parquet",
        start_time=at(start),
        end_time=at(end),
    )


def event_of(command: IngestDataCommand) -> DataAvailableEvent:
    """What is told when the command is settled."""
    return DataAvailableEvent(
        id=command.id,
        metadata=command.metadata,
        start_time=command.start_time,
        end_time=command.end_time,
    )


def a_chunk(record: IngestionRecord, hour: int, rows: int = 60, part: int = 0) -> Chunk:
    """A chunk that fills its hour."""
    return Chunk(
        dataset=record.metadata.dataset.name,
        hour=at(hour),
        ingestion_id=record.id,
        part=part,
        sequence=record.sequence,
        rows=rows,
        first=at(hour),
        last=at(hour + 1) - timedelta(minutes=1),
        location=f"observations/{hour}/{record.id}_{part}",
    )


def a_quarantine_entry(number: int, rows: int = 3, dataset: str = "story") -> QuarantineEntry:
    """Refused rows of ingestion ``number``."""
    return QuarantineEntry(
        id=UUID(int=number << 64),
        dataset=dataset,
        ingestion_id=ingestion(number),
        location=f"quarantine/{number}",
        rows=rows,
        reasons={"bad_time": rows},
        at=NOW,
    )


async def settled(
    store: StateStore, command: IngestDataCommand, hours: Sequence[int] | None = None
) -> DataAvailableEvent:
    """Take an ingestion through to its end; it leaves 60 rows in every hour it claims, or in ``hours``."""
    filled = range(command.start_time.hour, command.end_time.hour) if hours is None else hours
    record = await store.ingestions.accept(command, 60 * len(filled))
    claim = await store.ingestions.claim(command.id)
    assert claim is not None
    chunks = tuple(a_chunk(record, hour) for hour in filled)
    rows = sum(chunk.rows for chunk in chunks)
    event = event_of(command)
    await store.ingestions.settle(claim, IngestionOutcome(Tally(rows, stored=rows), chunks), event)
    return event


async def admitted(
    store: StateStore, command: IngestDataCommand, hours: Sequence[int] | None = None
) -> list[WindowKey]:
    """Settle an ingestion and let its event be taken in; the windows it touched."""
    event = await settled(store, command, hours)
    length = event.metadata.dataset.aggregation_span
    touched = [
        WindowKey(chunk.dataset, window.start, length)
        for chunk in await store.ingestions.chunks(event.id)
        for window in windows_over(TimeSpan(chunk.first, chunk.last + SECOND), length)
    ]
    await store.windows.admit(event, touched)
    await store.log.close(event)
    return touched


async def queued(
    store: StateStore, number: int = 1, start: int = 10, end: int = 11, due: datetime = NOW
) -> list[WindowKey]:
    """Bring an ingestion as far as windows that wait for their builder."""
    keys = await admitted(store, a_command(number, start, end))
    await store.windows.decide([Decision(key, WindowStatus.QUEUED, due_at=due) for key in keys])
    return keys


async def claimed(store: StateStore) -> BuildOrder:
    """The next window that is due."""
    order = await store.builds.claim(NOW)
    assert order is not None
    return order


async def built(store: StateStore, count: int = 1) -> list[BuildOrder]:
    """Build the next ``count`` windows that are due."""
    orders = []
    for _ in range(count):
        orders.append(await claimed(store))
        revision = a_revision(orders[-1])
        await store.builds.settle(orders[-1], revision, revised(revision))
    return orders


async def the_window(store: StateStore) -> WindowState:
    """The only window there is."""
    [window] = await store.windows.windows()
    return window


def a_revision(order: BuildOrder) -> Revision:
    """The revision that comes of an order."""
    before = order.revision
    number = before.number + 1 if before else 1
    inputs = {str(chunk.ingestion_id) for chunk in order.chunks}.union(before.inputs if before else ())
    return Revision(
        window=order.key,
        number=number,
        rows=sum(chunk.rows for chunk in order.chunks),
        content_hash=f"content-{number}",
        inputs_hash=f"inputs-{number}",
        inputs=tuple(sorted(inputs)),
        sequence=max(chunk.sequence for chunk in order.chunks),
        location=f".revisions/{number}",
        supersedes=before.content_hash if before else None,
        built_at=NOW,
    )


def revised(revision: Revision) -> DataSetAvailableEvent:
    """What is told of a revision."""
    key = revision.window
    return DataSetAvailableEvent(
        id=uuid5(ingestion(0), f"{key.id}/{revision.number}"),
        metadata=DatasetMetadata(name=key.dataset, aggregation_span=key.length),
        dataset_location=f"{key.file_stem}.parquet",
        start_time=key.span.start,
        end_time=key.span.end,
    )
