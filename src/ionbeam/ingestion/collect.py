"""Asks a source for a span, keeps its answer as a payload, and orders its ingestion.

The ingestion's id follows from the answer: the same answer for the same span is the same ingestion,
and does nothing twice. A changed answer, also one that changes back, is a new one.
"""

from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid5

import structlog

from ionbeam.errors import IonbeamError, Retriable
from ionbeam.ingestion.payload import Payload, write_payload
from ionbeam.messages.codec import encode
from ionbeam.messages.commands import IngestDataCommand, StartSourceCommand
from ionbeam.messages.topology import INGESTION_EXCHANGE, INGESTION_KEY
from ionbeam.observations.columns import raw_schema
from ionbeam.observations.dataset import IngestionMetadata
from ionbeam.observations.registration import register
from ionbeam.observations.timespan import TimeSpan
from ionbeam.ports import BatchStore, Broker, Source, StateStore
from ionbeam.records import IngestionRecord

log = structlog.get_logger(__name__)

_INGESTIONS = UUID("0b9c8c7e-6d0e-5b8b-9a36-6d1f8b7f2c11")
_STARTS = UUID("d7d0a1f4-54f4-5a86-8a54-0a3f0f0c9e21")


def start_command(source: str, span: TimeSpan, *, use_cache: bool = False) -> StartSourceCommand:
    """The order to fetch ``span`` from ``source``; the same order always has the same id."""
    return StartSourceCommand(
        id=uuid5(_STARTS, f"{source}\n{span}"),
        source_name=source,
        start_time=span.start,
        end_time=span.end,
        use_cache=use_cache,
    )


class Collector:
    """Handles `StartSourceCommand`; ``open_source(name, use_cache)`` gives the source."""

    def __init__(
        self,
        state: StateStore,
        objects: BatchStore,
        broker: Broker,
        open_source: Callable[[str, bool], Source],
        scratch: Path | None = None,
    ) -> None:
        self._state = state
        self._objects = objects
        self._broker = broker
        self._open_source = open_source
        self._scratch = scratch

    async def handle(self, command: StartSourceCommand) -> None:
        """Fetch and order the ingestion, unless that is done already.

        An honest empty answer is ingested too, for its coverage. A `Retriable` failure leaves the
        command open in the event log, to be tried again.
        """
        if not (await self._state.log.append(command)).is_open:
            return
        try:
            source = self._open_source(command.source_name, command.use_cache)
            await self.collect(source, command.span)
        except Retriable:
            raise
        except IonbeamError:
            await self._state.log.close(command)
            raise
        await self._state.log.close(command)

    async def collect(self, source: Source, span: TimeSpan) -> IngestDataCommand:
        """Fetch a span and order its ingestion."""
        metadata = register(source.metadata).metadata
        dataset = metadata.dataset.name
        payload = await write_payload(
            self._objects,
            dataset,
            span,
            source.fetch(span),
            raw_schema(metadata.ingestion_map),
            scratch=self._scratch,
        )
        latest = await self._state.ingestions.latest(dataset, span)
        command = IngestDataCommand(
            id=_ingestion_id(metadata, span, payload, latest),
            metadata=metadata,
            payload_location=payload.location,
            start_time=span.start,
            end_time=span.end,
        )
        log.info(
            "span fetched",
            source=source.name,
            dataset=dataset,
            span=str(span),
            rows=payload.rows,
            ingestion_id=str(command.id),
        )
        # Accepted here already, so that the next answer for this span knows what came before it.
        await self._state.ingestions.accept(command, payload.rows)
        await self._broker.publish(
            INGESTION_EXCHANGE, INGESTION_KEY, encode(command), message_id=str(command.id)
        )
        return command


def _ingestion_id(
    metadata: IngestionMetadata, span: TimeSpan, payload: Payload, latest: IngestionRecord | None
) -> UUID:
    """A link of a chain per span: it names the answer, its map and the answer before it."""
    if latest is not None and latest.payload_location == payload.location and latest.metadata == metadata:
        return latest.id
    before = latest.id if latest else ""
    return uuid5(_INGESTIONS, f"{span}\n{payload.digest}\n{metadata.model_dump_json()}\n{before}")
