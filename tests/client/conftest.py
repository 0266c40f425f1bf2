from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ionbeam.brokers.memory import MemoryBroker
from ionbeam.stores.local import LocalBatchStore
from ionbeam_client import IonbeamClientConfig
from ionbeam_client.models import (
    CanonicalVariable,
    DataIngestionMap,
    DatasetMetadata,
    IngestionMetadata,
    LatitudeAxis,
    LongitudeAxis,
    MetadataVariable,
    TimeAxis,
)


@pytest.fixture
async def broker() -> AsyncIterator[MemoryBroker]:
    broker = MemoryBroker(max_deliveries=3, retry_delay=0.001)
    yield broker
    await broker.close()


@pytest.fixture
def store(tmp_path: Path) -> LocalBatchStore:
    return LocalBatchStore(tmp_path / "objects")


@pytest.fixture
def config() -> IonbeamClientConfig:
    return IonbeamClientConfig(amqp_url=None, retry_delay=0)


@pytest.fixture
def metadata() -> IngestionMetadata:
    return IngestionMetadata(
        dataset=DatasetMetadata(name="example_weather"),
        ingestion_map=DataIngestionMap(
            datetime=TimeAxis(from_col="time"),
            lat=LatitudeAxis(standard_name="latitude", cf_unit="degrees_north"),
            lon=LongitudeAxis(standard_name="longitude", cf_unit="degrees_east"),
            canonical_variables=[
                CanonicalVariable(column="T", standard_name="air_temperature", cf_unit="degC", level=2)
            ],
            metadata_variables=[MetadataVariable(column="station_id")],
        ),
    )
