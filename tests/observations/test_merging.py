"""Folding against a plain reading of its rules: a dictionary per observation, row after row."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ionbeam.observations import merging
from ionbeam.observations.columns import TIME, TIME_TYPE
from ionbeam.observations.merging import merge, redundant, with_schema

SCHEMA = pa.schema(
    [
        (TIME, TIME_TYPE),
        ("lat", pa.float64()),
        ("lon", pa.float64()),
        ("T", pa.float64()),
        ("n", pa.int64()),
        ("text", pa.string()),
        ("flag", pa.bool_()),
        ("station", pa.string()),
        ("number", pa.int32()),
        ("indoor", pa.bool_()),
        ("height", pa.float32()),
        ("since", TIME_TYPE),
    ]
)
IDENTITIES = [
    ["station"],
    ["station", "number"],
    ["indoor", "height", "station"],
    ["since"],
    ["number", "lat", "lon"],
    ["lat", "lon"],
    [],
]
FIRST, LAST = -(2**63) + 1, 2**63 - 1

VALUES = {
    TIME: st.sampled_from([0, 1, 1000, -1, 3_600_000_000_000]),
    "lat": st.sampled_from([None, 0.0, 50.0, -50.0]),
    "lon": st.sampled_from([None, 7.0, 8.0]),
    "T": st.sampled_from([None, 1.0, 2.0]),
    "n": st.sampled_from([None, 2**53 + 1, 0]),
    "text": st.sampled_from([None, "", "a"]),
    "flag": st.sampled_from([None, True, False]),
    "station": st.sampled_from([None, "", "a", "B", "ä", "z\0"]),
    "number": st.sampled_from([None, 0, -1, 2**31 - 1]),
    "indoor": st.sampled_from([None, True, False]),
    "height": st.sampled_from([None, 0.0, 1.5, -2.0]),
    "since": st.sampled_from([None, 0, 5]),
}
ROW = st.fixed_dictionaries(VALUES)
ROWS = st.lists(ROW, max_size=25)
IDENTITY = st.sampled_from(IDENTITIES)

Rows = list[dict[str, Any]]


def table_of(rows: Rows, schema: pa.Schema = SCHEMA) -> pa.Table:
    return pa.table({f.name: pa.array([row[f.name] for row in rows], f.type) for f in schema}, schema=schema)


def plain(table: pa.Table) -> Rows:
    numbers = [f.name for f in table.schema if pa.types.is_timestamp(f.type)]
    for name in numbers:
        index = table.schema.get_field_index(name)
        table = table.set_column(index, name, table.column(name).cast(pa.int64()))
    rows: Rows = table.to_pylist()
    return rows


def folded(rows: Rows, identity: Sequence[str]) -> Rows:
    """The rules, read aloud."""
    observations: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        key = (row[TIME], *(row[name] for name in identity))
        known = observations.setdefault(key, {})
        known.update({k: v for k, v in row.items() if v is not None or k not in known})
    return sorted(observations.values(), key=lambda row: sort_key(row, identity))


def sort_key(row: dict[str, Any], identity: Sequence[str]) -> tuple[Any, ...]:
    return (row[TIME], *((row[n] is None, row[n] if row[n] is not None else 0) for n in identity))


@given(rows=ROWS, identity=IDENTITY)
def test_folding_is_what_the_rules_say(rows: Rows, identity: list[str]):
    result = merge(table_of(rows), identity)
    expected = folded(rows, identity)
    assert plain(result.table) == expected
    assert result.table.schema == SCHEMA
    assert result.folded == len(rows) - len(expected)


@given(rows=ROWS, identity=IDENTITY, cut=st.integers(0, 25))
def test_folding_in_steps_is_folding_at_once(rows: Rows, identity: list[str], cut: int):
    table = table_of(rows)
    before = merge(table.slice(0, cut), identity).table
    assert merge(pa.concat_tables([before, table.slice(cut)]), identity).table == merge(table, identity).table


@given(rows=ROWS, identity=IDENTITY, data=st.data())
def test_order_does_not_matter_where_nothing_conflicts(rows: Rows, identity: list[str], data: st.DataObject):
    fixed = {
        name: {(row[TIME], *(row[n] for n in identity)): row[name] for row in rows} for name in SCHEMA.names
    }
    agreed = [
        {
            name: fixed[name][(row[TIME], *(row[n] for n in identity))] if row[name] is not None else None
            for name in SCHEMA.names
        }
        for row in rows
    ]
    for row, original in zip(agreed, rows, strict=True):
        row |= {name: original[name] for name in (TIME, *identity)}
    shuffled = data.draw(st.permutations(agreed))
    assert merge(table_of(shuffled), identity).table == merge(table_of(agreed), identity).table


@given(rows=ROWS, identity=IDENTITY)
def test_what_is_folded_stays_as_it_is(rows: Rows, identity: list[str]):
    once = merge(table_of(rows), identity).table
    again = merge(once, identity)
    assert (again.table, again.folded) == (once, 0)


@given(rows=ROWS, identity=IDENTITY, chunk=st.integers(1, 5))
def test_how_the_rows_are_chunked_leaves_no_trace(rows: Rows, identity: list[str], chunk: int):
    table = table_of(rows)
    chunked = pa.concat_tables(
        [SCHEMA.empty_table(), *(table.slice(i, chunk) for i in range(0, len(rows), chunk))]
    )
    assert merge(chunked, identity).table == merge(table, identity).table


@given(
    rows=ROWS,
    identity=IDENTITY,
    times=st.lists(st.integers(FIRST, LAST) | st.sampled_from([FIRST, 0, LAST]), min_size=25, max_size=25),
)
def test_times_may_lie_as_far_apart_as_nanoseconds_reach(rows: Rows, identity: list[str], times: list[int]):
    spread = [row | {TIME: time} for row, time in zip(rows, times, strict=False)]
    assert plain(merge(table_of(spread + spread), identity).table) == folded(spread, identity)


@given(rows=ROWS, identity=IDENTITY, largest=st.integers(30 * 31, 5000))
def test_more_combinations_than_a_key_can_count_are_counted_otherwise(
    rows: Rows, identity: list[str], largest: int
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "_LARGEST", largest)
        keys = merging.observation_keys(table_of(rows), identity) if rows else np.array([], np.int64)
        assert plain(merge(table_of(rows), identity).table) == folded(rows, identity)
    assert all(0 <= key <= largest for key in keys.tolist())


def test_many_nearly_unique_columns_over_a_long_time_do_not_overflow():
    count = 3000
    rng = np.random.default_rng(7)
    names = ["a", "b", "c", "d", "e"]
    table = pa.table(
        {TIME: pa.array(rng.integers(FIRST, LAST, count), TIME_TYPE)}
        | {name: pa.array(rng.permutation(count)) for name in names}
    )
    twice = pa.concat_tables([table, table.take(pa.array(rng.permutation(count)))])
    result = merge(twice, names)
    assert result.folded == count
    assert result.table == table.take(pa.array(np.argsort(table[TIME].cast(pa.int64()).to_numpy())))


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_minus_zero_is_zero(kind: pa.DataType):
    rows = [(0.0, 1), (-0.0, 2)]
    for order in (rows, rows[::-1]):
        table = pa.table(
            {
                TIME: pa.array([0, 0], TIME_TYPE),
                "lat": pa.array([lat for lat, _ in order], kind),
                "n": [n for _, n in order],
            }
        )
        assert merge(table, ["lat"]).table["n"].to_pylist() == [order[1][1]]


def test_nothing_folds_to_nothing():
    result = merge(SCHEMA.empty_table(), ["station"])
    assert (result.table, result.folded) == (SCHEMA.empty_table(), 0)


def test_without_identity_the_time_alone_tells_observations_apart():
    rows = table_of([dict.fromkeys(SCHEMA.names) | {TIME: t, "T": float(t)} for t in (1, 0, 1)])
    assert merge(rows, []).table["T"].to_pylist() == [0.0, 1.0]


@given(known=ROWS, new=ROWS, identity=IDENTITY)
def test_a_redundant_row_is_one_that_changes_nothing(known: Rows, new: Rows, identity: list[str]):
    before = merge(table_of(known), identity).table
    fresh = merge(table_of(new), identity).table
    after = [merge(pa.concat_tables([before, fresh.slice(i, 1)]), identity).table for i in range(len(fresh))]
    assert redundant(before, fresh, identity).tolist() == [table == before for table in after]


@given(known=ROWS, new=ROWS, data=st.data())
def test_columns_the_one_has_and_the_other_has_not_are_null_there(
    known: Rows, new: Rows, data: st.DataObject
):
    fields = st.sets(st.sampled_from(["lat", "T", "n", "text", "flag"]))
    without = [data.draw(fields), data.draw(fields)]
    schemas = [pa.schema([f for f in SCHEMA if f.name not in names]) for names in without]
    identity = ["station", "number"]
    before, fresh = (
        merge(table_of(r, s), identity).table for r, s in zip((known, new), schemas, strict=True)
    )
    whole = [with_schema(table, SCHEMA) for table in (before, fresh)]
    assert redundant(before, fresh, identity).tolist() == redundant(*whole, identity).tolist()


def test_a_row_of_another_time_or_identity_is_never_redundant():
    row = dict.fromkeys(SCHEMA.names) | {TIME: 5, "station": "a"}
    known = table_of([row])
    new = table_of([row, row | {"station": None}, row | {TIME: 6}, row | {TIME: 4}])
    assert redundant(known, new, ["station"]).tolist() == [True, False, False, False]


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
def test_a_float_is_redundant_when_every_bit_of_it_is_known(kind: pa.DataType):
    times = pa.array(range(4), TIME_TYPE)
    known = pa.table(
        {TIME: times, "T": pa.array(np.array([0, -0.0, 1.5, np.nan]).astype(kind.to_pandas_dtype()))}
    )
    new = pa.table(
        {TIME: times, "T": pa.array(np.array([-0.0, -0.0, 1.5, np.nan]).astype(kind.to_pandas_dtype()))}
    )
    assert redundant(known, new, []).tolist() == [False, True, True, True]


def test_columns_are_cast_ordered_and_filled():
    table = pa.table({"b": [1, None], "a": ["x", "y"], "gone": [0, 0]})
    schema = pa.schema([("a", pa.string()), ("b", pa.float64()), ("c", pa.bool_())])
    assert with_schema(table, schema) == pa.table(
        {"a": ["x", "y"], "b": [1.0, None], "c": [None, None]}, schema=schema
    )


def test_a_whole_number_beyond_what_a_float_holds_becomes_the_nearest_one():
    table = pa.table({"n": [2**53 + 1]})
    assert with_schema(table, pa.schema([("n", pa.float64())]))["n"].to_pylist() == [float(2**53)]


def test_times_are_sorted_exactly_to_the_nanosecond():
    start = datetime(2024, 1, 1, tzinfo=UTC)
    times = pa.array([start + timedelta(microseconds=i) for i in range(3)], TIME_TYPE).cast(pa.int64())
    nanoseconds = [value.as_py() + n for value in times for n in (2, 0, 1)]
    table = pa.table({TIME: pa.array(nanoseconds, TIME_TYPE)})
    assert merge(table, []).table[TIME].cast(pa.int64()).to_pylist() == sorted(nanoseconds)
