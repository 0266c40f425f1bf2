import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pytest

from ionbeam.brokers.rabbit import RabbitBroker
from ionbeam.messages.codec import decode, encode
from ionbeam.messages.topology import DATASET_AVAILABLE, EXCHANGES, INGESTION_QUEUE, QUEUES, source_queue
from ionbeam.testing.broker_contract import Recorder
from ionbeam_client import IonbeamClient, IonbeamClientConfig
from ionbeam_client.errors import BrokerUnavailable
from ionbeam_client.models import (
    DataIngestionMap,
    DataSetAvailableEvent,
    DatasetMetadata,
    IngestDataCommand,
    IngestionMetadata,
    LatitudeAxis,
    LongitudeAxis,
    StartSourceCommand,
    TimeAxis,
)
from ionbeam_client.transfer import LocalFileSystemStore

pytestmark = pytest.mark.service

START = datetime(2024, 1, 1, tzinfo=UTC)
END = datetime(2024, 1, 2, tzinfo=UTC)
METADATA = IngestionMetadata(
    dataset=DatasetMetadata(name="weather"),
    ingestion_map=DataIngestionMap(
        datetime=TimeAxis(),
        lat=LatitudeAxis(standard_name="latitude", cf_unit="degrees_north"),
        lon=LongitudeAxis(standard_name="longitude", cf_unit="degrees_east"),
        canonical_variables=[],
        metadata_variables=[],
    ),
)


@pytest.fixture
async def platform(rabbit_url: str) -> AsyncIterator[RabbitBroker]:
    """The other side: declares what it reads and forgets what earlier tests left."""
    broker = RabbitBroker(rabbit_url)
    await broker.declare(EXCHANGES, QUEUES)
    yield broker
    await broker.close()


async def test_a_trigger_an_ingestion_and_an_export_travel_through_rabbitmq(
    rabbit_url: str, platform: RabbitBroker, tmp_path: Path
) -> None:
    source, exporter = f"source-{uuid4().hex}", f"exporter-{uuid4().hex}"
    client = IonbeamClient(IonbeamClientConfig(amqp_url=rabbit_url, arrow_store_path=tmp_path))
    exported: asyncio.Queue[int] = asyncio.Queue()

    async def fetch(start_time: datetime, end_time: datetime) -> None:
        day = pa.table({"datetime": [start_time], "lat": [1.0], "lon": [2.0]})
        await client.ingest([day], METADATA, start_time, end_time)

    async def export(event: DataSetAvailableEvent, batches: AsyncIterator[pa.RecordBatch]) -> None:
        exported.put_nowait(sum([batch.num_rows async for batch in batches]))

    client.register_trigger_handler(source, fetch)
    client.register_export_handler(exporter, export)
    commands = Recorder()
    async with client:
        await platform.consume(INGESTION_QUEUE, commands)
        order = StartSourceCommand(id=uuid4(), source_name=source, start_time=START, end_time=END)
        await platform.publish("", source_queue(source).name, encode(order), message_id=str(order.id))
        (body,) = await commands.bodies(1)
        command = decode(IngestDataCommand, body)
        assert (tmp_path / command.payload_location).is_file()
        assert (command.start_time, command.end_time) == (START, END)

        await LocalFileSystemStore(tmp_path).write_record_batches("window", [pa.table({"n": [1, 2, 3]})])
        event = DataSetAvailableEvent(
            id=uuid4(), metadata=METADATA.dataset, dataset_location="window", start_time=START, end_time=END
        )
        await platform.publish(DATASET_AVAILABLE, "", encode(event), message_id=str(event.id))
        assert await asyncio.wait_for(exported.get(), 20) == 3


async def test_a_client_alone_may_ingest_before_any_platform_has_started(
    rabbit_url: str, tmp_path: Path
) -> None:
    config = IonbeamClientConfig(amqp_url=rabbit_url, arrow_store_path=tmp_path)
    async with IonbeamClient(config) as client:
        day = pa.table({"datetime": [START], "lat": [1.0], "lon": [2.0]})
        sent = await client.ingest([day], METADATA, START, END)
    recorder, broker = Recorder(), RabbitBroker(rabbit_url)
    await broker.consume(INGESTION_QUEUE, recorder)
    assert encode(sent) in await recorder.bodies(1)
    await broker.close()


async def test_an_absent_server_is_unavailable(tmp_path: Path) -> None:
    config = IonbeamClientConfig(amqp_url="amqp://127.0.0.1:1/", arrow_store_path=tmp_path)
    with pytest.raises(BrokerUnavailable):
        await IonbeamClient(config).connect()
