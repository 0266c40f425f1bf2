from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ionbeam.errors import PayloadInvalid
from ionbeam.ingestion import payload as module
from ionbeam.ingestion.payload import write_parquet, write_payload
from ionbeam.observations.columns import TIME_TYPE
from ionbeam.observations.timespan import TimeSpan
from ionbeam.stores.local import LocalBatchStore

SPAN = TimeSpan(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC))
SCHEMA = pa.schema(
    [
        ("time", TIME_TYPE),
        ("lat", pa.float64()),
        ("count", pa.int64()),
        ("station", pa.string()),
    ]
)
TIMES = [datetime(2024, 1, 1, hour, tzinfo=UTC) for hour in range(3)]


def rows(**columns: Sequence[object] | pa.Array) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


async def written(folder: Path, *batches: pa.RecordBatch, schema: pa.Schema | None = SCHEMA) -> pa.Table:
    path = folder / "written.parquet"
    count = await write_parquet(path, list(batches), schema)
    table = pq.read_table(path)
    assert table.num_rows == count
    return table


async def test_the_payload_has_the_declared_columns_in_order(tmp_path: Path) -> None:
    table = await written(
        tmp_path, rows(station=["a", "b", "c"], extra=[1, 2, 3], lat=[1, 2, 3], count=[7, 8, 9], time=TIMES)
    )
    assert table.schema.remove_metadata() == SCHEMA
    assert table.to_pylist()[2] == {"time": TIMES[2], "lat": 3.0, "count": 9, "station": "c"}


async def test_columns_that_did_not_come_are_null_in_their_type(tmp_path: Path) -> None:
    table = await written(tmp_path, rows(time=TIMES))
    assert table.schema.remove_metadata() == SCHEMA
    assert [table[name].null_count for name in ("lat", "count", "station")] == [3, 3, 3]


async def test_a_column_with_one_unreadable_value_stays_text_in_the_whole_payload(tmp_path: Path) -> None:
    table = await written(
        tmp_path, rows(lat=["1.50"]), rows(lat=["north"]), rows(lat=[2.5]), rows(lat=[None]), rows(count=[1])
    )
    assert table["lat"].to_pylist() == ["1.50", "north", "2.5", None, None]
    assert table.schema.field("count").type == pa.int64()


async def test_text_that_all_converts_becomes_its_declared_type(tmp_path: Path) -> None:
    table = await written(
        tmp_path, rows(lat=["1.50", "2"], time=["2024-01-01T00:00:00Z", "2024-01-01 02+01:00"])
    )
    assert table["lat"].to_pylist() == [1.5, 2.0]
    assert table["time"].to_pylist() == TIMES[:2]


async def test_a_missing_integer_of_a_data_frame_is_null(tmp_path: Path) -> None:
    table = await written(tmp_path, rows(count=pa.array([1.0, float("nan")])))
    assert table["count"].to_pylist() == [1, None]


async def test_a_fraction_is_not_cut_to_an_integer(tmp_path: Path) -> None:
    table = await written(tmp_path, rows(count=[1.5]))
    assert table["count"].to_pylist() == ["1.5"]


async def test_numbers_are_not_guessed_to_be_times(tmp_path: Path) -> None:
    table = await written(tmp_path, rows(time=[1_704_067_200]))
    assert table["time"].to_pylist() == ["1704067200"]


async def test_times_beyond_nanoseconds_stay_readable(tmp_path: Path) -> None:
    table = await written(tmp_path, rows(time=[datetime(9999, 1, 1, tzinfo=UTC)]))
    assert table["time"].to_pylist() == ["9999-01-01 00:00:00.000000Z"]


async def test_dictionary_columns_are_written_as_their_values(tmp_path: Path) -> None:
    coded = pa.array(["a", "b", "a"]).dictionary_encode()
    with_schema = await written(tmp_path, rows(station=coded))
    without = await written(tmp_path, rows(station=coded), schema=None)
    assert with_schema["station"].to_pylist() == without["station"].to_pylist() == ["a", "b", "a"]
    assert without.schema.field("station").type == pa.string()


async def test_what_is_neither_its_type_nor_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PayloadInvalid, match="'lat'"):
        await written(tmp_path, rows(lat=[[1.0]]))


async def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    twice = pa.RecordBatch.from_arrays([pa.array([1.0]), pa.array([2.0])], names=["lat", "lat"])
    with pytest.raises(PayloadInvalid, match="'lat' comes 2 times"):
        await written(tmp_path, twice)


async def test_anything_but_arrow_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="dict"):
        await write_parquet(tmp_path / "p.parquet", [{"lat": 1.0}], SCHEMA)  # type: ignore[list-item]


async def test_without_a_schema_the_columns_are_those_that_came(tmp_path: Path) -> None:
    table = await written(
        tmp_path,
        rows(a=pa.nulls(1), b=[1]),
        rows(c=["x"], a=[0.5]),
        rows(b=["many"]),
        schema=None,
    )
    assert table.to_pylist() == [
        {"a": None, "b": "1", "c": None},
        {"a": 0.5, "b": None, "c": "x"},
        {"a": None, "b": "many", "c": None},
    ]


async def test_an_honest_empty_span_is_a_payload_with_columns_and_no_rows(tmp_path: Path) -> None:
    store = LocalBatchStore(tmp_path)
    payload = await write_payload(store, "quiet", SPAN, [], SCHEMA)
    assert payload.rows == 0
    with store.open(payload.location) as file:
        assert pq.read_schema(file).remove_metadata() == SCHEMA


async def test_the_key_names_dataset_span_and_content(tmp_path: Path) -> None:
    store = LocalBatchStore(tmp_path)
    payload = await write_payload(store, "my data/set", SPAN, [rows(lat=[1.0])], SCHEMA)
    assert payload.location == (
        f"raw/my%20data%2Fset/20240101T000000Z-20240102T000000Z_{payload.digest[:16]}.parquet"
    )
    other = await write_payload(store, "my data/set", SPAN, [rows(lat=[1.1])], SCHEMA)
    assert other.location != payload.location


async def test_the_same_rows_again_are_the_same_payload(tmp_path: Path) -> None:
    store = LocalBatchStore(tmp_path)
    once = await write_payload(store, "d", SPAN, [rows(lat=[1.0, 2.0])], SCHEMA)
    again = await write_payload(store, "d", SPAN, [rows(lat=[1.0]), rows(lat=[2.0])], SCHEMA)
    assert again == once
    assert [entry.key async for entry in store.list("raw/")] == [once.location]


async def test_a_stream_that_fails_leaves_nothing(tmp_path: Path) -> None:
    async def failing() -> AsyncIterator[pa.RecordBatch]:
        yield rows(lat=[1.0])
        raise ConnectionError("cut off")

    store = LocalBatchStore(tmp_path)
    with pytest.raises(ConnectionError):
        await write_payload(store, "d", SPAN, failing(), SCHEMA)
    assert [entry async for entry in store.list("raw/")] == []


async def test_a_long_stream_is_widened_losslessly_after_it_left_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROW_GROUP", 4)
    batches = [rows(lat=[f"{n}.0"], count=[n]) for n in range(10)]
    table = await written(tmp_path, *batches, rows(lat=["?"], count=[10]))
    assert table["lat"].to_pylist() == [f"{n}.0" for n in range(10)] + ["?"]
    assert table["count"].to_pylist() == list(range(11))
    metadata = pq.read_metadata(tmp_path / "written.parquet")
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [4, 4, 3]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(
        st.tuples(
            st.none() | st.floats(allow_nan=False, width=32),
            st.none() | st.integers(-5, 5),
            st.none() | st.sampled_from(["", "a", "Ny-Ålesund", "7"]),
        ),
        max_size=40,
    ),
    cuts=st.lists(st.integers(0, 40), max_size=6),
)
async def test_batch_sizes_do_not_change_a_byte(
    values: list[tuple[float | None, int | None, str | None]],
    cuts: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ROW_GROUP", 8)
    columns = [list(column) for column in zip(*values, strict=True)] or [[], [], []]
    types = (pa.float64(), pa.int64(), pa.string())
    whole = pa.table(
        dict(
            zip(
                ("lat", "count", "station"),
                (pa.array(column, kind) for column, kind in zip(columns, types, strict=True)),
                strict=True,
            )
        )
    )
    edges = sorted({0, whole.num_rows, *(min(cut, whole.num_rows) for cut in cuts)})
    parts = [whole.slice(start, end - start) for start, end in pairwise(edges)]
    copies = [pa.Table.from_pylist(part.to_pylist(), schema=part.schema) for part in parts]
    results = []
    for name, batches in (("whole", [whole]), ("slices", parts), ("copies", copies)):
        path = tmp_path / name
        await write_parquet(path, batches, SCHEMA)
        results.append(path.read_bytes())
    assert results[0] == results[1] == results[2]


async def test_a_long_stream_passes_through_little_memory(tmp_path: Path) -> None:
    batch = rows(lat=np.arange(200_000.0), count=np.arange(200_000))
    pa.default_memory_pool().release_unused()
    before = pa.total_allocated_bytes()
    peak = 0

    async def many() -> AsyncIterator[pa.RecordBatch]:
        nonlocal peak
        for n in range(12):
            yield rows(lat=np.arange(200_000.0) + n, count=np.arange(200_000))
            peak = max(peak, pa.total_allocated_bytes() - before)

    assert await write_parquet(tmp_path / "long.parquet", many(), SCHEMA) == 2_400_000
    assert peak < 4 * batch.nbytes
