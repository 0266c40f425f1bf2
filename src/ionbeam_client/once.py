"""One call, one connection: for scripts that ingest and end."""

import asyncio
from datetime import datetime
from uuid import UUID

from ionbeam.ingestion.payload import Batches
from ionbeam.ports import BatchStore, Broker
from ionbeam_client.client import IonbeamClient
from ionbeam_client.config import IonbeamClientConfig
from ionbeam_client.models import IngestDataCommand, IngestionMetadata


async def ingest(
    batch_stream: Batches,
    metadata: IngestionMetadata,
    start_time: datetime,
    end_time: datetime,
    config: IonbeamClientConfig | None = None,
    *,
    ingestion_id: UUID | None = None,
    broker: Broker | None = None,
    store: BatchStore | None = None,
) -> IngestDataCommand:
    """Connect, ingest, disconnect; errors as those of `IonbeamClient.ingest` and ``connect``."""
    async with IonbeamClient(config, broker=broker, store=store) as client:
        return await client.ingest(batch_stream, metadata, start_time, end_time, ingestion_id=ingestion_id)


def ingest_sync(
    batch_stream: Batches,
    metadata: IngestionMetadata,
    start_time: datetime,
    end_time: datetime,
    config: IonbeamClientConfig | None = None,
    *,
    ingestion_id: UUID | None = None,
    broker: Broker | None = None,
    store: BatchStore | None = None,
) -> IngestDataCommand:
    """`ingest` for code without an event loop; `RuntimeError` inside one: await ``ingest`` there."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(
            ingest(
                batch_stream,
                metadata,
                start_time,
                end_time,
                config,
                ingestion_id=ingestion_id,
                broker=broker,
                store=store,
            )
        )
    raise RuntimeError("ingest_sync was called inside an event loop; await ingest() there")
