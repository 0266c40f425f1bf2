import io
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ionbeam.observations.timespan import TimeSpan, to_nanoseconds
from ionbeam.ports import ObservationStore
from ionbeam.stores.local import LocalBatchStore
from ionbeam.stores.parquet import DESCRIPTION, ParquetObservationStore
from ionbeam.testing.observation_store_contract import (
    HOUR,
    SPAN,
    ObservationStoreContract,
    chunk_of,
    ingestion,
    observations,
    read_all,
    temperatures,
)


@pytest.fixture
def objects(tmp_path: Path) -> LocalBatchStore:
    return LocalBatchStore(tmp_path / "objects")


@pytest.fixture
def store(objects: LocalBatchStore) -> ParquetObservationStore:
    return ParquetObservationStore(objects)


class TestParquetObservationStore(ObservationStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ParquetObservationStore:
        return ParquetObservationStore(LocalBatchStore(tmp_path / "objects"))


def test_it_is_an_observation_store(store: ParquetObservationStore):
    port: ObservationStore = store
    assert port is store


async def test_a_chunk_lies_under_its_dataset_date_and_hour(store: ParquetObservationStore):
    table = temperatures(2)
    first = await store.write(chunk_of(table, dataset="a/b"), table)
    second = await store.write(chunk_of(table, dataset="a/b", part=1), table)
    folder = "observations/a%2Fb/event_date=2024-03-01/event_hour=13"
    assert first.location == f"{folder}/{ingestion(1)}.parquet"
    assert second.location == f"{folder}/{ingestion(1)}_1.parquet"


async def test_the_hour_in_the_key_is_utc(store: ParquetObservationStore):
    table = temperatures(2)
    described = chunk_of(table)
    elsewhere = described.hour.astimezone(tz=timezone(timedelta(hours=9)))
    chunk = await store.write(replace(described, hour=elsewhere), table)
    assert "/event_date=2024-03-01/event_hour=13/" in chunk.location


async def test_a_file_explains_itself_to_other_engines(store: ParquetObservationStore, tmp_path: Path):
    table = temperatures(7)
    chunk = await store.write(replace(chunk_of(table, number=42), part=3), table)
    path = tmp_path / "objects" / chunk.location
    [[described]] = duckdb.sql(
        "select json(decode(value)) from parquet_kv_metadata(?) where decode(key) = 'ionbeam.chunk'",
        params=[str(path)],
    ).fetchall()
    [[facts]] = duckdb.sql(
        "select ? ->> ['$.dataset', '$.ingestion_id', '$.part', '$.sequence', '$.rows', '$.first', '$.last']",
        params=[described],
    ).fetchall()
    assert facts == [
        "rain",
        str(ingestion(42)),
        "3",
        "42",
        "7",
        "2024-03-01T13:00:00Z",
        "2024-03-01T13:06:00Z",
    ]


async def test_duckdb_reads_the_chunks_as_one_partitioned_table(
    store: ParquetObservationStore, tmp_path: Path
):
    for number in (1, 2):
        for hours in (0, 1, 24):
            table = temperatures(10, HOUR + timedelta(hours=hours))
            await store.write(chunk_of(table, number=number), table)
    rows = duckdb.sql(
        "select event_date::varchar, event_hour::int, count(*), max(air_temperature__degC__2__point__PT0S) "
        "from read_parquet(?, hive_partitioning = true) where event_hour = 13 group by all order by all",
        params=[str(tmp_path / "objects/observations/rain/**/*.parquet")],
    ).fetchall()
    assert rows == [("2024-03-01", 13, 20, 0.9), ("2024-03-02", 13, 20, 0.9)]


async def test_the_same_chunk_has_the_same_bytes(tmp_path: Path):
    stores = [LocalBatchStore(tmp_path / name) for name in ("one", "other")]
    table = temperatures(100)
    chopped = pa.concat_tables([table.slice(0, 13), table.slice(13)]).replace_schema_metadata({"pandas": "…"})
    contents = []
    for objects, rows in zip(stores, (table, chopped), strict=True):
        chunk = await ParquetObservationStore(objects).write(chunk_of(rows), rows)
        with objects.open(chunk.location) as file:
            contents.append(file.read())
    assert contents[0] == contents[1]


async def test_what_is_read_carries_no_description(store: ParquetObservationStore):
    table = temperatures(10)
    chunk = await store.write(chunk_of(table), table)
    short = TimeSpan(HOUR, HOUR + timedelta(minutes=5))
    for span in (SPAN, short):
        [(_, found)] = await read_all(store, [chunk], span)
        assert not found.schema.metadata


async def test_dictionary_columns_stay_dictionaries(store: ParquetObservationStore):
    start = to_nanoseconds(HOUR)
    table = observations([start, start + 1], tag=pa.array(["b", None]).dictionary_encode())
    chunk = await store.write(chunk_of(table), table)
    short = TimeSpan(HOUR, HOUR + timedelta(microseconds=1))
    for span in (SPAN, short):
        [(_, found)] = await read_all(store, [chunk], span)
        assert found.schema == table.schema


class CountingStore(LocalBatchStore):
    """Counts the bytes that are read of its objects."""

    bytes_read = 0

    def open(self, key: str) -> io.RawIOBase:
        store = self

        class Counted(io.FileIO):
            def read(self, size: int = -1) -> bytes:
                found = super().read(size)
                store.bytes_read += len(found)
                return found

        return Counted(self._path(key))


async def test_a_short_span_reads_only_the_row_groups_it_needs(tmp_path: Path):
    objects = CountingStore(tmp_path)
    store = ParquetObservationStore(objects)
    rows = 1_000_000
    start = to_nanoseconds(HOUR)
    times = range(start, start + rows * 1_000_000, 1_000_000)
    table = observations(times, value=pa.array(times))
    chunk = await store.write(chunk_of(table), table)
    await read_all(store, [chunk])
    whole, objects.bytes_read = objects.bytes_read, 0
    span = TimeSpan(HOUR + timedelta(minutes=10), HOUR + timedelta(minutes=10, seconds=1))
    [(_, found)] = await read_all(store, [chunk], span)
    assert found["value"].to_pylist() == list(
        range(to_nanoseconds(span.start), to_nanoseconds(span.end), 1_000_000)
    )
    assert objects.bytes_read < whole / 2


async def test_the_description_is_under_the_documented_key(store: ParquetObservationStore, tmp_path: Path):
    table = temperatures(1)
    chunk = await store.write(chunk_of(table), table)
    assert list(pq.read_schema(tmp_path / "objects" / chunk.location).metadata) == [DESCRIPTION]
    assert DESCRIPTION == b"ionbeam.chunk"
