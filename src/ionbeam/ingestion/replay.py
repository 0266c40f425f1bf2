"""Submits quarantined rows again, under the map that is registered now."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO
from uuid import uuid5

import pyarrow as pa
import pyarrow.parquet as pq

from ionbeam.errors import InvalidInput
from ionbeam.ingestion.mapping import COLUMN, REASON, ROW, VALUE
from ionbeam.ingestion.payload import write_payload
from ionbeam.messages.codec import encode
from ionbeam.messages.commands import IngestDataCommand
from ionbeam.messages.topology import INGESTION_EXCHANGE, INGESTION_KEY
from ionbeam.observations.timespan import TimeSpan
from ionbeam.ports import BatchStore, Broker, StateStore
from ionbeam.records import QuarantineEntry, QuarantineStatus


class Replay:
    """Brings quarantine entries back into ingestion."""

    def __init__(
        self, state: StateStore, objects: BatchStore, broker: Broker, scratch: Path | None = None
    ) -> None:
        self._state = state
        self._objects = objects
        self._broker = broker
        self._scratch = scratch

    async def replay(self, entry: QuarantineEntry) -> IngestDataCommand:
        """Order the ingestion of an entry's rows, or of its whole payload."""
        if entry.status is QuarantineStatus.REPLAYED:
            raise InvalidInput(f"{entry.id} was replayed already; what was refused again is in a newer entry")
        record = await self._state.ingestions.get(entry.ingestion_id)
        if record is None:
            raise InvalidInput(f"nothing is known of the ingestion {entry.ingestion_id} behind this entry")
        registered = await self._state.datasets.get(entry.dataset)
        # Single rows claim nothing: their ingestion has claimed the span already.
        span = TimeSpan(record.span.start, record.span.start) if entry.rows else record.span
        command = IngestDataCommand(
            id=uuid5(entry.id, "replay"),
            metadata=registered.metadata if registered else record.metadata,
            payload_location=await self._payload(entry, span),
            start_time=span.start,
            end_time=span.end,
        )
        await self._state.log.append(command)
        await self._broker.publish(
            INGESTION_EXCHANGE, INGESTION_KEY, encode(command), message_id=str(command.id)
        )
        await self._state.quarantine.mark_replayed(entry.id)
        return command

    async def _payload(self, entry: QuarantineEntry, span: TimeSpan) -> str:
        if entry.rows == 0:
            return entry.location
        with self._objects.open(entry.location) as file:
            payload = await write_payload(
                self._objects, entry.dataset, span, _raw_batches(file), scratch=self._scratch
            )
        return payload.location


def read_rejects(objects: BatchStore, entry: QuarantineEntry) -> pa.Table:
    """The refused rows of an entry, each with what was wrong."""
    with objects.open(entry.location) as file:
        return pq.read_table(file)


def _raw_batches(file: IO[bytes] | pa.NativeFile) -> Iterator[pa.RecordBatch]:
    for batch in pq.ParquetFile(file).iter_batches():
        yield batch.drop_columns([REASON, COLUMN, VALUE, ROW])
