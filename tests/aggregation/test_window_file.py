from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ionbeam.aggregation import window_file
from ionbeam.aggregation.window_file import ContentHash, WindowFile, WindowFileWriter
from ionbeam.observations.columns import TIME_TYPE

SCHEMA = pa.schema(
    [
        ("datetime", TIME_TYPE),
        ("lat", pa.float64()),
        ("T", pa.float32()),
        ("n", pa.int16()),
        ("ok", pa.bool_()),
        ("station", pa.string()),
    ]
)
ROWS = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.none() | st.sampled_from([0.0, 1.5]),
        st.none() | st.sampled_from([0.0, 1.5]),
        st.none() | st.integers(-3, 3),
        st.none() | st.booleans(),
        st.none() | st.sampled_from(["", "a", "ä", "longer"]),
    ),
    max_size=30,
)


def table_of(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [[] for _ in SCHEMA]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def repr_of(column: pa.Array) -> str:
    return f"{column.type}{column.to_pylist()}"


def written(path: Path, tables: list[pa.Table]) -> tuple[WindowFile, bytes]:
    writer = WindowFileWriter(path, SCHEMA)
    for table in tables:
        writer.append(table)
    return writer.close(), path.read_bytes()


def hashed(*tables: pa.Table) -> str:
    content = ContentHash(tables[0].schema)
    for table in tables:
        content.update(table)
    return content.hexdigest()


ONE = table_of([(0, 1.0, 2.0, 3, True, "a"), (1, None, None, None, None, None)])


def test_rows_come_back_as_they_were(tmp_path: Path):
    file, _ = written(tmp_path / "w.parquet", [ONE])
    assert pq.read_table(tmp_path / "w.parquet") == ONE
    assert file.rows == 2


def test_a_file_without_rows_has_its_columns(tmp_path: Path):
    file, _ = written(tmp_path / "w.parquet", [])
    assert file.rows == 0
    assert pq.read_table(tmp_path / "w.parquet") == SCHEMA.empty_table()


@given(rows=ROWS, cuts=st.lists(st.integers(0, 30), max_size=6), group=st.integers(1, 12))
def test_how_rows_are_cut_on_the_way_leaves_no_trace(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]], cuts: list[int], group: int
):
    folder = tmp_path_factory.mktemp("files")
    table = table_of(rows)
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    parts = [table.slice(a, b - a) for a, b in pairwise(edges)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_file, "ROW_GROUP_ROWS", group)
        whole = written(folder / "one.parquet", [table])
        assert written(folder / "other.parquet", parts) == whole
        metadata = pq.read_metadata(folder / "other.parquet")
    assert pq.read_table(folder / "other.parquet") == table
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert sizes == [group] * (len(rows) // group) + [len(rows) % group] * bool(len(rows) % group)


@given(one=ROWS, other=ROWS)
def test_two_hashes_are_equal_when_the_rows_are(one: list[tuple[Any, ...]], other: list[tuple[Any, ...]]):
    tables = table_of(one), table_of(other)
    assert (hashed(tables[0]) == hashed(tables[1])) == (tables[0] == tables[1])


@given(rows=ROWS, start=st.integers(0, 5), chunk=st.integers(1, 7))
def test_slices_and_chunks_do_not_count(rows: list[tuple[Any, ...]], start: int, chunk: int):
    table = table_of(rows)
    before = table_of([(9, 9.0, 9.0, 9, False, "before")] * start)
    inside = pa.concat_tables([before, table, before]).combine_chunks().slice(start, len(rows))
    assert hashed(inside) == hashed(table)
    parts = [SCHEMA.empty_table(), *(table.slice(i, chunk) for i in range(0, len(rows), chunk))]
    assert hashed(pa.concat_tables(parts)) == hashed(table)


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.int16(), pa.int64(), pa.uint8(), TIME_TYPE])
def test_what_memory_holds_behind_a_null_does_not_count(kind: pa.DataType):
    width = kind.bit_width // 8
    validity = pa.py_buffer(b"\x05")
    columns = [
        pa.Array.from_buffers(
            kind, 3, [validity, pa.py_buffer(b"\1" * width + garbage * width + b"\2" * width)], 1
        )
        for garbage in (b"\0", b"\7")
    ]
    assert len({hashed(pa.table({"a": column})) for column in columns}) == 1


def test_garbage_behind_a_null_text_does_not_count():
    validity, offsets = pa.py_buffer(b"\x05"), np.array([0, 1, 4, 5], np.int32)
    texts = [
        pa.Array.from_buffers(pa.string(), 3, [validity, pa.py_buffer(offsets), pa.py_buffer(data)], 1)
        for data in (b"axxxb", b"ayyyb")
    ]
    assert [text.to_pylist() for text in texts] == [["a", None, "b"]] * 2
    assert len({hashed(pa.table({"a": text})) for text in [*texts, pa.array(["a", None, "b"])]}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([None, "a"]), pa.array(["a", None])),
        (pa.array([None, 0.0]), pa.array([0.0, None])),
        (pa.array([""]), pa.array([None], pa.string())),
        (pa.array([0]), pa.array([None], pa.int64())),
        (pa.array([False]), pa.array([None], pa.bool_())),
        (pa.array(["ab", "c"]), pa.array(["a", "bc"])),
        (pa.array([1], pa.int32()), pa.array([1], pa.int64())),
        (pa.array([0.0]), pa.array([-0.0])),
    ],
    ids=repr_of,
)
def test_different_content_has_different_hashes(one: pa.Array, other: pa.Array):
    assert hashed(pa.table({"a": one})) != hashed(pa.table({"a": other}))


def test_names_count():
    column = pa.array([1.0])
    assert hashed(pa.table({"a": column})) != hashed(pa.table({"b": column}))


def test_a_hash_is_the_same_wherever_it_is_made():
    """Revisions recorded by an earlier version must not look changed."""
    assert hashed(ONE) == "893bbeed8afd94af2514dd714392ede5"
