"""From an ingest command to stored observations and the event that tells of them.

The payload streams through in pieces of bounded size, so its length does not matter. Every piece is
mapped, folded, cut by hour and written under names that follow from the ingestion's id alone: a
killed ingestion starts over and writes the same objects. Nothing it wrote counts before it settles.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import IO
from uuid import UUID, uuid5

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from ionbeam.errors import (
    InvalidInput,
    ObjectCorrupt,
    ObjectExists,
    ObjectMissing,
    PayloadInvalid,
    PayloadMissing,
    StoreUnavailable,
)
from ionbeam.ingestion.mapping import Mapped, check_columns, to_canonical
from ionbeam.messages.codec import encode
from ionbeam.messages.commands import IngestDataCommand
from ionbeam.messages.events import DataAvailableEvent
from ionbeam.messages.topology import DATA_AVAILABLE
from ionbeam.observations.columns import TIME
from ionbeam.observations.dataset import IngestionMetadata
from ionbeam.observations.merging import merge, redundant
from ionbeam.observations.naming import object_name
from ionbeam.observations.registration import register, suspect_columns
from ionbeam.observations.timespan import TimeSpan, align, from_nanoseconds
from ionbeam.ports import BatchStore, Broker, Clock, ObservationStore, StateStore
from ionbeam.records import (
    Chunk,
    IngestionClaim,
    IngestionOutcome,
    IngestionRecord,
    IngestionStatus,
    QuarantineEntry,
    Tally,
)

log = structlog.get_logger(__name__)

PIECE_ROWS = 1 << 19
"""Rows of a payload in memory at once. Part numbers follow from it: changing it re-parts unfinished work."""

HOURS_AT_ONCE = 4

KNOWN_ROWS_LIMIT = 1 << 20
"""Beyond so many known rows in one hour a re-delivered row is stored again and folded by the window."""

_HOUR = timedelta(hours=1)
_HOUR_NS = 3_600_000_000_000


@dataclass(slots=True)
class _Progress:
    """What the pieces so far have left."""

    tally: Tally = field(default_factory=Tally)
    chunks: list[Chunk] = field(default_factory=list)
    rejects: list[QuarantineEntry] = field(default_factory=list)
    warnings: dict[str, None] = field(default_factory=dict)


class Ingestion:
    """Handles `IngestDataCommand`."""

    def __init__(
        self,
        state: StateStore,
        objects: BatchStore,
        observations: ObservationStore,
        broker: Broker,
        clock: Clock,
    ) -> None:
        self._state = state
        self._objects = objects
        self._observations = observations
        self._broker = broker
        self._clock = clock

    async def handle(self, command: IngestDataCommand) -> None:
        """Ingest a payload once; a repeated command only makes sure that its event is told.

        A command that can never work is recorded as refused, its payload quarantined, and the
        `InvalidInput` raised for the broker to dead-letter the message.
        """
        record = await self._state.ingestions.get(command.id)
        if record is not None and _differs(command, record):
            await self._refuse_second_use(command, record)
        if record is None or record.status is IngestionStatus.ACCEPTED:
            record = await self._ingest_or_refuse(command)
        if record.status is IngestionStatus.REFUSED:
            raise InvalidInput(record.reason)
        await self._announce(_event_of(record))

    async def _ingest_or_refuse(self, command: IngestDataCommand) -> IngestionRecord:
        rows = 0
        try:
            with await self._open(command) as file:
                payload = await asyncio.to_thread(_read_footer, file)
                rows = payload.metadata.num_rows
                registration = register(command.metadata)
                check_columns(payload.schema_arrow, registration.metadata.ingestion_map)
                repaired = command.model_copy(update={"metadata": registration.metadata})
                record = await self._state.ingestions.accept(repaired, rows)
                claim = await self._state.ingestions.claim(command.id)
                if claim is None:
                    return await self._state.ingestions.get(command.id) or record
                await self._state.datasets.register(registration.metadata, registration.findings)
                await self._ingest(claim, payload)
                return record
        except InvalidInput as error:
            await self._refuse(command, rows, error)
            raise

    async def _open(self, command: IngestDataCommand) -> AbstractContextManager[IO[bytes] | pa.NativeFile]:
        location = command.payload_location
        for key in (location, f"{location}.parquet"):
            try:
                return await asyncio.to_thread(self._objects.open, key)
            except ObjectMissing:
                continue
        raise PayloadMissing(f"there is no payload {location!r}; was it written to this store?")

    async def _ingest(self, claim: IngestionClaim, payload: pq.ParquetFile) -> None:
        record = claim.record
        progress = _Progress()
        try:
            await self._work_through(record, payload, progress)
            outcome = IngestionOutcome(
                progress.tally, tuple(progress.chunks), tuple(progress.rejects), tuple(progress.warnings)
            )
            await self._state.ingestions.settle(claim, outcome, _event_of(record))
        except InvalidInput:
            await self._observations.delete(progress.chunks)
            await self._objects.delete([entry.location for entry in progress.rejects])
            await self._state.ingestions.release(claim)
            raise
        except BaseException:
            await self._state.ingestions.release(claim)
            raise
        log.info(
            "ingestion settled",
            dataset=record.metadata.dataset.name,
            ingestion_id=str(record.id),
            received=progress.tally.received,
            stored=progress.tally.stored,
            duplicate=progress.tally.duplicate,
            rejected=progress.tally.rejected,
        )

    async def _work_through(
        self, record: IngestionRecord, payload: pq.ParquetFile, progress: _Progress
    ) -> None:
        pieces = _pieces(payload, record.metadata)
        number = 0
        try:
            while (mapped := await asyncio.to_thread(next, pieces, None)) is not None:
                await self._keep_rejects(record, number, mapped, progress)
                await self._keep_observations(record, number, mapped, progress)
                number += 1
        except pa.ArrowException as error:
            raise PayloadInvalid(f"the payload cannot be made canonical: {error}") from error

    async def _keep_rejects(
        self, record: IngestionRecord, piece: int, mapped: Mapped, progress: _Progress
    ) -> None:
        if mapped.rejects is None:
            return
        rows = mapped.rejects.num_rows
        dataset = record.metadata.dataset.name
        location = f"quarantine/{object_name(dataset)}/{record.id}{_part_suffix(piece)}.parquet"
        with suppress(ObjectExists):  # left by this ingestion before it was interrupted
            await self._objects.put(location, await asyncio.to_thread(_parquet_bytes, mapped.rejects))
        progress.tally += Tally(received=rows, rejected=rows)
        progress.rejects.append(
            QuarantineEntry(
                id=uuid5(record.id, f"quarantine/{piece}"),
                dataset=dataset,
                ingestion_id=record.id,
                location=location,
                rows=rows,
                reasons=mapped.reasons(),
                at=self._clock.now(),
            )
        )

    async def _keep_observations(
        self, record: IngestionRecord, piece: int, mapped: Mapped, progress: _Progress
    ) -> None:
        if mapped.observations.num_rows == 0:
            return
        identity = record.metadata.ingestion_map.identity_columns()
        progress.warnings |= dict.fromkeys(
            suspect_columns(mapped.observations, record.metadata.ingestion_map)
        )
        merged = await asyncio.to_thread(merge, mapped.observations, identity)
        progress.tally += Tally(received=mapped.observations.num_rows, duplicate=merged.folded)
        # Together, because writes that wait for the disk at the same time share its flushes; not all at
        # once, because each may hold an hour of what is known.
        slots, parts = asyncio.Semaphore(HOURS_AT_ONCE), tuple(progress.chunks)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._keep_hour(record, piece, rows, parts, slots))
                    for rows in _by_hour(merged.table)
                ]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        for chunk, rows in (task.result() for task in tasks):
            stored = chunk.rows if chunk else 0
            progress.tally += Tally(stored=stored, duplicate=rows - stored)
            progress.chunks += [chunk] if chunk else []

    async def _keep_hour(
        self,
        record: IngestionRecord,
        piece: int,
        rows: pa.Table,
        parts: Sequence[Chunk],
        slots: asyncio.Semaphore,
    ) -> tuple[Chunk | None, int]:
        """The chunk of one hour's news, None when all is known, and how many rows came."""
        async with slots:
            fresh = await self._fresh(record, rows, parts)
            if fresh.num_rows == 0:
                return None, rows.num_rows
            return await self._observations.write(_chunk_of(record, piece, fresh), fresh), rows.num_rows

    async def _fresh(self, record: IngestionRecord, rows: pa.Table, parts: Sequence[Chunk]) -> pa.Table:
        """The rows that are not already known, as far as that can be told safely and in bounded memory.

        What earlier ``parts`` of the payload have said since counts as known as well: a value may go
        back to an older one.
        """
        span = _span_of(rows)
        before = await self._state.ingestions.chunks_before(
            record.metadata.dataset.name, align(span.start, _HOUR), record.sequence
        )
        near = _near(before or (), span)
        near += _near(parts if near else (), span)
        if not near or sum(chunk.rows for chunk in near) > KNOWN_ROWS_LIMIT:
            return rows
        for ingestion_id in {chunk.ingestion_id for chunk in near}:
            # Under another map the same values may be other observations, or bring the window a column.
            other = await self._state.ingestions.get(ingestion_id)
            if other is None or other.metadata != record.metadata:
                return rows
        try:
            tables = [table async for _, table in self._observations.read(near, span)]
        except (ObjectCorrupt, ObjectMissing) as error:
            log.warning("known rows unreadable", dataset=record.metadata.dataset.name, reason=str(error))
            return rows
        identity = record.metadata.ingestion_map.identity_columns()
        return await asyncio.to_thread(_without_known, pa.concat_tables(tables), rows, identity)

    async def _refuse(self, command: IngestDataCommand, rows: int, error: InvalidInput) -> None:
        dataset, reason = command.metadata.dataset.name, str(error)
        entry = self._refused(command, uuid5(command.id, "quarantine"), reason)
        await self._state.ingestions.refuse(command, rows, reason, entry)
        log.error("ingestion refused", dataset=dataset, ingestion_id=str(command.id), reason=reason)

    async def _refuse_second_use(self, command: IngestDataCommand, record: IngestionRecord) -> None:
        """Quarantine a payload that comes under the id of another one; the first keeps the id."""
        reason = (
            f"the id {command.id} belongs to the ingestion of {record.payload_location} into "
            f"{record.metadata.dataset.name} for {record.span}; give {command.payload_location} its own"
        )
        entry = self._refused(command, uuid5(command.id, command.payload_location), reason)
        await self._state.quarantine.add(entry)
        raise InvalidInput(reason)

    def _refused(self, command: IngestDataCommand, entry_id: UUID, reason: str) -> QuarantineEntry:
        return QuarantineEntry(
            id=entry_id,
            dataset=command.metadata.dataset.name,
            ingestion_id=command.id,
            location=command.payload_location,
            rows=0,
            reasons={reason: 1},
            at=self._clock.now(),
        )

    async def _announce(self, event: DataAvailableEvent) -> None:
        await self._broker.publish(DATA_AVAILABLE, "", encode(event), message_id=str(event.id))


def _read_footer(file: IO[bytes] | pa.NativeFile) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise _as_malformed(error, "is not readable Parquet") from error


def _as_malformed(error: Exception, fault: str) -> Exception:
    """What to raise: Arrow calls a broken file an `OSError` as well, but only the system gives an errno."""
    if isinstance(error, OSError) and error.errno is not None:
        return StoreUnavailable(f"the payload cannot be reached: {error}")
    return PayloadInvalid(f"the payload {fault}: {error}")


def _pieces(payload: pq.ParquetFile, metadata: IngestionMetadata) -> Iterator[Mapped]:
    """The payload, mapped, in pieces of `PIECE_ROWS` whatever its row groups are."""
    first_row = 0
    try:
        for batch in payload.iter_batches(batch_size=PIECE_ROWS):
            raw = pa.Table.from_batches([batch])
            yield to_canonical(raw, metadata.ingestion_map, first_row)
            first_row += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise _as_malformed(error, f"cannot be read behind row {first_row}") from error


def _near(chunks: Sequence[Chunk], span: TimeSpan) -> list[Chunk]:
    return [chunk for chunk in chunks if chunk.first < span.end and chunk.last >= span.start]


def _without_known(known: pa.Table, rows: pa.Table, identity: list[str]) -> pa.Table:
    old = redundant(merge(known, identity).table, rows, identity)
    return rows.filter(pa.array(~old)) if old.any() else rows


def _by_hour(rows: pa.Table) -> Iterator[pa.Table]:
    """Slices of rows sorted by time, one per hour of event time."""
    hours = rows.column(TIME).combine_chunks().cast(pa.int64()).to_numpy() // _HOUR_NS
    cuts = [0, *(np.flatnonzero(np.diff(hours)) + 1).tolist(), rows.num_rows]
    for start, end in pairwise(cuts):
        yield rows.slice(start, end - start)


def _span_of(rows: pa.Table) -> TimeSpan:
    """The span of rows sorted by time, to the microsecond."""
    time = rows.column(TIME)
    first, last = (from_nanoseconds(time[i].value) for i in (0, -1))
    return TimeSpan(first, last + timedelta(microseconds=1))


def _chunk_of(record: IngestionRecord, part: int, rows: pa.Table) -> Chunk:
    span = _span_of(rows)
    return Chunk(
        dataset=record.metadata.dataset.name,
        hour=align(span.start, _HOUR),
        ingestion_id=record.id,
        part=part,
        sequence=record.sequence,
        rows=rows.num_rows,
        first=span.start,
        last=span.end - timedelta(microseconds=1),
        location="",
    )


def _differs(command: IngestDataCommand, record: IngestionRecord) -> bool:
    """Whether the command is another one than the record's; its map may have been repaired since."""
    return (command.metadata.dataset.name, command.span, command.payload_location) != (
        record.metadata.dataset.name,
        record.span,
        record.payload_location,
    )


def _event_of(record: IngestionRecord) -> DataAvailableEvent:
    return DataAvailableEvent(
        id=record.id, metadata=record.metadata, start_time=record.span.start, end_time=record.span.end
    )


def _part_suffix(part: int) -> str:
    return f"_{part}" if part else ""


def _parquet_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data
