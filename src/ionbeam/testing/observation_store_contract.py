"""What every `ObservationStore` must do, as tests to inherit.

    class TestMyStore(ObservationStoreContract):
        @pytest.fixture
        def store(self): return MyStore(...)

The store a test gets is empty. The tests are coroutines: run pytest-asyncio in auto mode.
"""

# ruff: noqa: D102 - a contract's clauses are told by their names

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ionbeam.errors import ObjectMissing
from ionbeam.observations.columns import TIME, TIME_TYPE
from ionbeam.observations.timespan import TimeSpan, align, from_nanoseconds, to_nanoseconds
from ionbeam.ports import ObservationStore
from ionbeam.records import Chunk

HOUR = datetime(2024, 3, 1, 13, tzinfo=UTC)
SPAN = TimeSpan(HOUR, HOUR + timedelta(hours=1))
MINUTE_NS = 60 * 10**9

ODD_DATASETS = [
    "rain*?[",
    "rain",
    "a/b",
    "a",
    "a%2Fb",
    "../up",
    ".",
    "日本 ü",
    "date=2024-03-01",
    'it\'s "quoted"; drop',
]


def ingestion(number: int) -> UUID:
    """A made-up ingestion id."""
    return UUID(int=number)


def observations(nanoseconds: Sequence[int], **columns: Sequence[Any] | pa.Array) -> pa.Table:
    """A table with rows at ``nanoseconds`` after the epoch and whatever other columns."""
    return pa.table({TIME: pa.array(nanoseconds, TIME_TYPE), **columns})


def temperatures(count: int, hour: datetime = HOUR) -> pa.Table:
    """``count`` rows, one a minute, each of its own station."""
    start = to_nanoseconds(hour)
    return observations(
        [start + i * MINUTE_NS for i in range(count)],
        lat=[50.0 + i for i in range(count)],
        lon=[8.0] * count,
        air_temperature__degC__2__point__PT0S=[i / 10 for i in range(count)],
        station_id=[f"station-{i}" for i in range(count)],
    )


def chunk_of(table: pa.Table, *, dataset: str = "rain", number: int = 1, part: int = 0) -> Chunk:
    """The chunk that describes ``table``."""
    times = table[TIME].cast(pa.int64())
    first = from_nanoseconds(pc.min(times).as_py())
    return Chunk(
        dataset=dataset,
        hour=align(first, timedelta(hours=1)),
        ingestion_id=ingestion(number),
        part=part,
        sequence=number,
        rows=table.num_rows,
        first=first,
        last=from_nanoseconds(pc.max(times).as_py()),
        location="",
    )


async def read_all(
    store: ObservationStore, chunks: Sequence[Chunk], span: TimeSpan = SPAN
) -> list[tuple[Chunk, pa.Table]]:
    """What a store has of ``chunks`` inside ``span``."""
    return [found async for found in store.read(chunks, span)]


class ObservationStoreContract:
    """Inherit, and give a ``store`` fixture."""

    async def test_what_was_written_is_read_back(self, store: ObservationStore) -> None:
        table = temperatures(10)
        described = chunk_of(table)
        chunk = await store.write(described, table)
        assert replace(chunk, location="") == described
        assert await read_all(store, [chunk]) == [(chunk, table)]

    async def test_writing_again_returns_the_first_writers_chunk(self, store: ObservationStore) -> None:
        table = temperatures(10)
        chunk = await store.write(chunk_of(table), table)
        other = temperatures(3)
        again = await store.write(replace(chunk_of(other), sequence=99), other)
        assert again == chunk
        assert await read_all(store, [again]) == [(chunk, table)]

    async def test_racing_writers_agree_on_one_chunk(self, store: ObservationStore) -> None:
        tables = [temperatures(count) for count in range(1, 9)]
        chunks = await asyncio.gather(*(store.write(chunk_of(table), table) for table in tables))
        assert len(set(chunks)) == 1
        [(chunk, table)] = await read_all(store, chunks[:1])
        assert chunk.rows == table.num_rows
        assert table == temperatures(chunk.rows)

    async def test_every_type_survives_with_its_nulls(self, store: ObservationStore) -> None:
        start = to_nanoseconds(HOUR)
        table = observations(
            [start, start + 1, start + 1001],
            number=pa.array([1.5, None, float("nan")], pa.float64()),
            short=pa.array([None, 1.5, -0.0], pa.float32()),
            count=pa.array([1, None, -3], pa.int32()),
            flag=pa.array([True, None, False], pa.bool_()),
            text=pa.array(["", None, "ü\n"], pa.string()),
            silent=pa.array([None] * 3, pa.float64()),
            mute=pa.array([None] * 3, pa.string()),
        )
        chunk = await store.write(chunk_of(table), table)
        for span in (SPAN, TimeSpan(HOUR, HOUR + timedelta(microseconds=1))):
            [(_, found)] = await read_all(store, [chunk], span)
            assert found.schema == table.schema
            # repr, for NaN is not equal to itself
            assert repr(found.to_pylist()) == repr(table.to_pylist()[: found.num_rows])
            assert found.column_names == table.column_names
        assert found.num_rows == 2

    async def test_dictionary_columns_keep_their_values(self, store: ObservationStore) -> None:
        start = to_nanoseconds(HOUR)
        tags = pa.array(["b", None, "a", "b"]).dictionary_encode()
        table = observations([start + i for i in range(4)], tag=tags)
        chunk = await store.write(chunk_of(table), table)
        [(_, found)] = await read_all(store, [chunk])
        assert found["tag"].to_pylist() == ["b", None, "a", "b"]

    async def test_a_span_holds_its_start_and_not_its_end(self, store: ObservationStore) -> None:
        span = TimeSpan(HOUR + timedelta(minutes=10), HOUR + timedelta(minutes=20))
        start, end = to_nanoseconds(span.start), to_nanoseconds(span.end)
        times = [start - 1, start, start + 1, end - 1, end, end + 1]
        table = observations(times, station_id=[str(t) for t in times])
        chunk = await store.write(chunk_of(table), table)
        [(_, found)] = await read_all(store, [chunk], span)
        assert found == table.slice(1, 3)

    async def test_a_chunk_that_ends_just_before_the_span_ends_is_whole(
        self, store: ObservationStore
    ) -> None:
        end = to_nanoseconds(SPAN.end)
        table = observations([to_nanoseconds(HOUR), end - 1], station_id=["a", "b"])
        chunk = await store.write(chunk_of(table), table)
        assert chunk.last == SPAN.end - timedelta(microseconds=1)
        assert await read_all(store, [chunk]) == [(chunk, table)]

    async def test_a_chunk_outside_the_span_yields_no_rows_of_its_types(
        self, store: ObservationStore
    ) -> None:
        table = temperatures(10)
        chunk = await store.write(chunk_of(table), table)
        later = TimeSpan(SPAN.end, SPAN.end + timedelta(hours=1))
        nothing = TimeSpan(HOUR, HOUR)
        for span in (later, nothing):
            assert await read_all(store, [chunk], span) == [(chunk, table.schema.empty_table())]

    async def test_a_span_may_reach_from_the_first_year_to_the_last(self, store: ObservationStore) -> None:
        table = temperatures(10)
        chunk = await store.write(chunk_of(table), table)
        ever = TimeSpan(datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))
        assert await read_all(store, [chunk], ever) == [(chunk, table)]
        since = TimeSpan(HOUR + timedelta(minutes=4), ever.end)
        assert await read_all(store, [chunk], since) == [(chunk, table.slice(4))]
        until = TimeSpan(ever.start, HOUR + timedelta(minutes=4))
        assert await read_all(store, [chunk], until) == [(chunk, table.slice(0, 4))]

    async def test_observations_before_1970_are_kept(self, store: ObservationStore) -> None:
        hour = datetime(1969, 12, 31, 23, tzinfo=UTC)
        table = observations([to_nanoseconds(hour), -1], station_id=["a", "b"])
        chunk = await store.write(chunk_of(table), table)
        span = TimeSpan(hour, hour + timedelta(hours=1))
        assert chunk.hour == hour
        assert await read_all(store, [chunk], span) == [(chunk, table)]

    async def test_chunks_come_in_the_order_given(self, store: ObservationStore) -> None:
        chunks = []
        for number in (1, 2, 3):
            table = temperatures(number)
            chunks.append(await store.write(chunk_of(table, number=number), table))
        wanted = [chunks[2], chunks[0], chunks[1], chunks[0]]
        found = await read_all(store, wanted)
        assert [chunk for chunk, _ in found] == wanted
        assert [table.num_rows for _, table in found] == [3, 1, 2, 1]
        assert await read_all(store, []) == []

    async def test_rows_keep_their_order(self, store: ObservationStore) -> None:
        table = temperatures(50).take([(i * 7) % 50 for i in range(50)])
        chunk = await store.write(chunk_of(table), table)
        assert await read_all(store, [chunk]) == [(chunk, table)]
        half = TimeSpan(HOUR, HOUR + timedelta(minutes=25))
        [(_, found)] = await read_all(store, [chunk], half)
        assert found == table.filter(pc.less(table[TIME], pa.scalar(half.end, TIME_TYPE)))

    async def test_parts_of_one_hour_are_chunks_of_their_own(self, store: ObservationStore) -> None:
        tables = [temperatures(2), temperatures(5)]
        chunks = [await store.write(chunk_of(table, part=part), table) for part, table in enumerate(tables)]
        assert len({chunk.location for chunk in chunks}) == 2
        assert await read_all(store, chunks) == list(zip(chunks, tables, strict=True))

    async def test_hours_of_one_ingestion_are_chunks_of_their_own(self, store: ObservationStore) -> None:
        hours = [HOUR, HOUR + timedelta(hours=1), HOUR + timedelta(days=1), HOUR.replace(year=2023)]
        tables = [temperatures(3, hour) for hour in hours]
        chunks = [await store.write(chunk_of(table), table) for table in tables]
        ever = TimeSpan(min(hours), max(hours) + timedelta(hours=1))
        assert await read_all(store, chunks, ever) == list(zip(chunks, tables, strict=True))

    async def test_datasets_of_any_name_are_kept_apart(self, store: ObservationStore) -> None:
        tables = [temperatures(number + 1) for number in range(len(ODD_DATASETS))]
        chunks = [
            await store.write(chunk_of(table, dataset=name), table)
            for name, table in zip(ODD_DATASETS, tables, strict=True)
        ]
        assert [chunk.dataset for chunk in chunks] == ODD_DATASETS
        assert await read_all(store, chunks) == list(zip(chunks, tables, strict=True))

    async def test_what_was_deleted_is_missing_and_the_rest_is_there(self, store: ObservationStore) -> None:
        table = temperatures(3)
        gone, kept = [await store.write(chunk_of(table, number=n), table) for n in (1, 2)]
        await store.delete([gone])
        await store.delete([gone])
        assert await read_all(store, [kept]) == [(kept, table)]
        with pytest.raises(ObjectMissing):
            await read_all(store, [kept, gone])

    async def test_a_deleted_chunk_can_be_written_anew(self, store: ObservationStore) -> None:
        table = temperatures(3)
        await store.delete([await store.write(chunk_of(table), table)])
        other = temperatures(4)
        chunk = await store.write(chunk_of(other), other)
        assert await read_all(store, [chunk]) == [(chunk, other)]
