from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ionbeam.errors import PayloadInvalid
from ionbeam.ingestion.mapping import COLUMN, REASON, ROW, VALUE, Mapped, check_columns, to_canonical
from ionbeam.observations.columns import canonical_schema
from ionbeam.testing.scenario import HUMIDITY, TEMPERATURE, a_dataset, a_row

MAP = a_dataset(metadata=("station_id", "owner")).ingestion_map
NOON = "2024-01-01T12:00:00Z"


def mapped(rows: list[dict[str, Any]], first_row: int = 0) -> Mapped:
    return to_canonical(pa.Table.from_pylist(rows), MAP, first_row)


def rejects(*rows: dict[str, Any], first_row: int = 0) -> list[tuple[Any, ...]]:
    """Row number, reason, column and value of every rejected row."""
    table = mapped(list(rows), first_row).rejects
    if table is None:
        return []
    return [(row[ROW], row[REASON], row[COLUMN], row[VALUE]) for row in table.to_pylist()]


def test_raw_columns_become_canonical_ones():
    result = mapped([a_row(NOON, T=12.5, RH=70.0, undeclared="x")])
    assert result.rejects is None
    assert result.reasons() == {}
    assert result.observations.schema == canonical_schema(MAP)
    [row] = result.observations.to_pylist()
    assert (row[TEMPERATURE], row[HUMIDITY], row["station_id"], row["owner"]) == (12.5, 70.0, "A", None)
    assert (row["lat"], row["lon"]) == (50.0, 7.0)


def test_rows_keep_the_order_in_which_they_came():
    rows = [a_row(NOON, T=float(t)) for t in (3, 1, 2)]
    assert mapped(rows).observations[TEMPERATURE].to_pylist() == [3.0, 1.0, 2.0]


def test_an_empty_payload_has_the_canonical_columns():
    result = to_canonical(pa.Table.from_pylist([a_row(NOON)]).slice(0, 0), MAP)
    assert result.observations == canonical_schema(MAP).empty_table()
    assert result.rejects is None


@pytest.mark.parametrize("kind", [pa.float16(), pa.float64(), pa.string()])
def test_half_floats_become_single_ones_whatever_came(kind: pa.DataType):
    temperature, humidity = MAP.canonical_variables
    half = MAP.model_copy(
        update={"canonical_variables": [temperature.model_copy(update={"dtype": "float16"}), humidity]}
    )
    values = (
        pa.array(["0.5", None, "-2"]) if kind == pa.string() else pa.array([0.5, None, -2.0], pa.float64())
    )
    raw = pa.Table.from_pylist([a_row(NOON, RH=1.0)] * 3)
    raw = raw.set_column(raw.schema.get_field_index("T"), "T", values.cast(kind))
    result = to_canonical(raw, half)
    assert result.rejects is None
    assert result.observations[TEMPERATURE].type == pa.float32()
    assert result.observations[TEMPERATURE].to_pylist() == [0.5, None, -2.0]


@pytest.mark.parametrize("axis", ["time", "lat", "lon"])
def test_a_payload_without_an_axis_is_refused_by_its_name(axis: str):
    table = pa.Table.from_pylist([a_row(NOON)]).drop_columns([axis])
    with pytest.raises(PayloadInvalid, match=f"no column {axis}; it has "):
        check_columns(table.schema, MAP)
    with pytest.raises(PayloadInvalid, match=f"no column {axis}; it has "):
        to_canonical(table, MAP)


def test_a_payload_with_a_column_twice_is_refused():
    table = pa.Table.from_pylist([a_row(NOON)])
    with pytest.raises(PayloadInvalid, match="more than one column T"):
        check_columns(table.append_column("T", table["T"]).schema, MAP)


def test_all_absent_axes_are_named():
    with pytest.raises(PayloadInvalid, match="no column time, lat, lon; it has T"):
        to_canonical(pa.table({"T": [1.0]}), MAP)


@pytest.mark.parametrize("time", [None, "", "yesterday", "2024-02-30T00:00:00Z"])
def test_a_row_without_a_time_is_rejected(time: str | None):
    assert rejects(a_row(NOON), a_row(time)) == [(1, "bad_time", "time", time)]


@pytest.mark.parametrize("time", ["1699-12-31T23:59:59Z", "2200-01-01T00:00:01Z", "2262-04-11T00:00:00Z"])
def test_a_time_that_leaves_no_room_for_a_window_is_rejected(time: str):
    assert rejects(a_row(time), a_row("1700-01-01T00:00:00Z")) == [(0, "bad_time", "time", time)]
    typed = pa.Table.from_pylist([a_row(time)])
    typed = typed.set_column(0, "time", typed["time"].cast(pa.timestamp("ns", tz="UTC")))
    assert to_canonical(typed, MAP).reasons() == {"bad_time": 1}


@pytest.mark.parametrize("lat", [90.1, -90.1, 95.0, 400.0, 999999.0])
def test_a_latitude_beyond_the_poles_is_rejected(lat: float):
    assert rejects(a_row(NOON, lat=lat)) == [(0, "impossible_position", "lat", f"{lat:g}")]


@pytest.mark.parametrize("lon", [360.1, -180.1, 400.0, 999999.0, -999.0])
def test_a_longitude_that_is_nowhere_is_rejected(lon: float):
    assert rejects(a_row(NOON, lon=lon)) == [(0, "impossible_position", "lon", f"{lon:g}")]


def test_half_a_position_is_rejected_and_its_missing_half_named():
    assert rejects(a_row(NOON, lat=None), a_row(NOON, lon=None), a_row(NOON)) == [
        (0, "impossible_position", "lat", None),
        (1, "impossible_position", "lon", None),
    ]


def test_no_position_at_all_is_allowed():
    [row] = mapped([a_row(NOON, lat=None, lon=float("nan"))]).observations.to_pylist()
    assert (row["lat"], row["lon"]) == (None, None)


@pytest.mark.parametrize(
    ("given_as", "is_at"),
    [(181.0, -179.0), (352.5, -7.5), (360.0, 0.0), (180.0, 180.0), (-180.0, -180.0), (0.0, 0.0)],
)
def test_longitudes_up_to_360_are_brought_to_180(given_as: float, is_at: float):
    rows = [a_row(NOON, lon=given_as), a_row(NOON, lon=7.0), a_row(NOON, lat=None, lon=None)]
    assert mapped(rows).observations["lon"].to_pylist() == [is_at, 7.0, None]


@pytest.mark.parametrize("lat", [90.0, -90.0])
def test_the_poles_are_places(lat: float):
    assert rejects(a_row(NOON, lat=lat)) == []


def test_a_number_that_cannot_be_read_is_rejected_with_its_text():
    rows = [a_row(NOON) | {"T": text} for text in ("1.5", "oops", "")]
    assert rejects(*rows) == [
        (1, "unreadable_value", "T", "oops"),
        (2, "no_value", "", None),
    ]
    assert rejects(a_row(NOON, T=float("inf"))) == [(0, "unreadable_value", "T", "inf")]
    assert rejects(a_row(NOON) | {"lat": "fifty"}) == [(0, "unreadable_value", "lat", "fifty")]


def test_a_row_that_observes_nothing_is_rejected():
    rows = [a_row(NOON, T=None), a_row(NOON, T=None, RH=1.0), a_row(NOON, T=float("nan"))]
    assert rejects(*rows) == [(0, "no_value", "", None), (2, "no_value", "", None)]


def test_without_declared_variables_a_position_is_enough():
    positions = MAP.model_copy(update={"canonical_variables": []})
    result = to_canonical(pa.Table.from_pylist([a_row(NOON)]), positions)
    assert (result.observations.num_rows, result.rejects) == (1, None)


def test_an_absent_variable_is_null_and_rows_need_another_one():
    rows = [{key: value for key, value in a_row(NOON, RH=rh).items() if key != "T"} for rh in (1.0, None)]
    result = mapped(rows)
    assert result.observations[TEMPERATURE].to_pylist() == [None]
    assert result.reasons() == {"no_value": 1}


def test_the_first_fault_of_a_row_is_its_reason():
    row = a_row("never", lat=95.0, lon=400.0, T=float("inf"))
    assert rejects(row) == [(0, "bad_time", "time", "never")]
    assert mapped([row]).observations.num_rows == 0


def test_row_numbers_are_those_of_the_payload():
    assert [r[0] for r in rejects(a_row(NOON), a_row(None), a_row(None), first_row=1000)] == [1001, 1002]


def test_a_rejected_row_keeps_every_raw_column():
    row = a_row(NOON, lat=95.0, undeclared="x", count=7)
    result = mapped([row, a_row(NOON)])
    assert result.rejects is not None
    [kept] = result.rejects.to_pylist()
    assert {key: kept[key] for key in row} == row
    assert result.reasons() == {"impossible_position": 1}


def test_reasons_are_counted():
    result = mapped([a_row(None), a_row(NOON), a_row(NOON, lat=99.0), a_row(None)])
    assert result.reasons() == {"bad_time": 2, "impossible_position": 1}


def test_missing_tags_keep_their_rows():
    rows = [a_row(NOON, None), a_row(NOON, ""), a_row(NOON, "A", owner=None)]
    assert mapped(rows).observations["station_id"].to_pylist() == [None, None, "A"]


def test_a_column_of_another_kind_refuses_the_payload():
    table = pa.Table.from_pylist([a_row(NOON) | {"T": [1.0]}])
    with pytest.raises(PayloadInvalid, match="column 'T' holds list"):
        to_canonical(table, MAP)


@given(
    rows=st.lists(
        st.sampled_from(
            [
                a_row(NOON) | {"T": "1"},
                a_row(NOON) | {"T": "x"},
                a_row("2024-01-01T12:00:00.123456789Z") | {"T": None, "RH": 5.0},
                a_row("2024-02-30T12:00:00Z") | {"T": "2"},
                a_row(None) | {"T": "2"},
                a_row(NOON, lat=95.0) | {"T": "2"},
                a_row(NOON, lon=270.0) | {"T": "3"},
                a_row(NOON, lat=None) | {"T": "3"},
                a_row(NOON, lat=None, lon=None) | {"T": "3"},
                a_row(NOON, T=None),
            ]
        ),
        min_size=1,
        max_size=12,
    ),
    size=st.integers(1, 12),
)
def test_a_row_is_judged_alone_whatever_comes_with_it(rows: list[dict[str, Any]], size: int):
    types = {
        "time": pa.string(),
        "T": pa.string(),
        "lat": pa.float64(),
        "lon": pa.float64(),
        "RH": pa.float64(),
    }
    table = pa.table(
        {name: pa.array([row[name] for row in rows], kind) for name, kind in types.items()}
        | {"station_id": [row["station_id"] for row in rows]}
    )
    whole = to_canonical(table, MAP)
    parts = [to_canonical(table.slice(i, size), MAP, i) for i in range(0, len(rows), size)]
    assert pa.concat_tables(part.observations for part in parts) == whole.observations
    refused = [part.rejects for part in parts if part.rejects is not None]
    assert (pa.concat_tables(refused) if refused else None) == whole.rejects
    received = whole.observations.num_rows + sum(whole.reasons().values())
    assert received == len(rows)
    assert np.all(np.abs(whole.observations["lon"].drop_null().to_numpy()) <= 180)
