from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pandas as pd
import pyarrow as pa
import pytest

from ionbeam.observations.columns import TIME_TYPE
from ionbeam_client import coerce_types
from ionbeam_client.arrow_tools import (
    dataframes_to_record_batches,
    dataframes_to_tables,
    schema_from_ingestion_map,
)
from ionbeam_client.models import IngestionMetadata

START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {"T": ["1.5", "2"], "extra": [0, 0], "lat": [52, 53], "time": [START, START]}, index=[7, 8]
    )


def test_the_schema_of_a_map_has_axes_variables_and_metadata(metadata: IngestionMetadata) -> None:
    assert schema_from_ingestion_map(metadata.ingestion_map) == pa.schema(
        [
            ("time", TIME_TYPE),
            ("lat", pa.float64()),
            ("lon", pa.float64()),
            ("T", pa.float64()),
            ("station_id", pa.string()),
        ]
    )


def test_coerced_types_are_those_of_the_map_and_the_kind_stays(
    frame: pd.DataFrame, metadata: IngestionMetadata
) -> None:
    schema = schema_from_ingestion_map(metadata.ingestion_map)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    (batch,) = table.to_batches()
    for target in (schema, metadata, metadata.ingestion_map):
        coerced = coerce_types(table, target)
        assert isinstance(coerced, pa.Table)
        assert coerced.schema == schema
    assert isinstance(coerce_types(batch, schema), pa.RecordBatch)
    assert coerce_types(batch, schema).to_pylist() == coerced.to_pylist()
    as_frame = coerce_types(frame, schema)
    assert isinstance(as_frame, pd.DataFrame)
    assert list(as_frame.columns) == schema.names
    assert list(as_frame["T"]) == [1.5, 2.0]
    assert as_frame["lon"].isna().all()


def test_what_does_not_convert_stays_text(metadata: IngestionMetadata) -> None:
    coerced = coerce_types(pa.table({"T": ["1.5", "calm"]}), metadata)
    assert coerced["T"].to_pylist() == ["1.5", "calm"]


async def test_data_frames_become_batches_of_the_schema(
    frame: pd.DataFrame, metadata: IngestionMetadata
) -> None:
    async def frames() -> AsyncIterator[pd.DataFrame]:
        yield frame
        yield frame

    schema = schema_from_ingestion_map(metadata.ingestion_map)
    batches = [batch async for batch in dataframes_to_record_batches(frames(), schema)]
    assert [batch.schema for batch in batches] == [schema, schema]
    assert batches[0].column("lat").to_pylist() == [52.0, 53.0]


async def test_without_a_schema_data_frames_keep_their_columns(frame: pd.DataFrame) -> None:
    (plain,) = [table async for table in dataframes_to_tables([frame])]
    (indexed,) = [table async for table in dataframes_to_tables([frame], preserve_index=True)]
    assert plain.column_names == list(frame.columns)
    assert indexed.num_columns == plain.num_columns + 1
