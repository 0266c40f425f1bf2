"""From data frames and loosely typed batches to what a map declares.

pandas is needed only by those who bring data frames.
"""

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any

import pyarrow as pa

from ionbeam.ingestion.payload import conformed, each
from ionbeam.observations.columns import raw_schema
from ionbeam_client.models import DataIngestionMap, IngestionMetadata

DataFrames = AsyncIterable[Any] | Iterable[Any]
"""A stream of ``pandas.DataFrame``."""


def schema_from_ingestion_map(ingestion_map: DataIngestionMap) -> pa.Schema:
    """The columns a payload has under a map: axes, canonical variables, metadata."""
    return raw_schema(ingestion_map)


def coerce_types(rows: Any, target: pa.Schema | DataIngestionMap | IngestionMetadata) -> Any:
    """``rows`` with the columns and types of ``target``, in its order.

    Takes a record batch, a table or a pandas data frame and returns the same kind. Undeclared columns
    are dropped, missing ones are null, and a column that does not convert stays text: ingestion then
    refuses its unreadable rows one by one.
    """
    schema = _schema(target)
    if isinstance(rows, pa.Table):
        return conformed(rows, schema)
    if isinstance(rows, pa.RecordBatch):
        table = conformed(pa.Table.from_batches([rows]), schema)
        columns = [column.combine_chunks() for column in table.columns]
        return pa.RecordBatch.from_arrays(columns, schema=table.schema)
    return conformed(pa.Table.from_pandas(rows, preserve_index=False), schema).to_pandas()


async def dataframes_to_tables(
    stream: DataFrames, schema: pa.Schema | None = None, preserve_index: bool = False
) -> AsyncIterator[pa.Table]:
    """Each data frame as a table, with the columns of ``schema`` when one is given."""
    async for frame in each(stream):
        table = pa.Table.from_pandas(frame, preserve_index=preserve_index)
        yield table if schema is None else conformed(table, schema)


async def dataframes_to_record_batches(
    stream: DataFrames, schema: pa.Schema | None = None, preserve_index: bool = False
) -> AsyncIterator[pa.RecordBatch]:
    """Each data frame as record batches, with the columns of ``schema`` when one is given."""
    async for table in dataframes_to_tables(stream, schema, preserve_index):
        for batch in table.to_batches():
            yield batch


def _schema(target: pa.Schema | DataIngestionMap | IngestionMetadata) -> pa.Schema:
    if isinstance(target, IngestionMetadata):
        return raw_schema(target.ingestion_map)
    return raw_schema(target) if isinstance(target, DataIngestionMap) else target
