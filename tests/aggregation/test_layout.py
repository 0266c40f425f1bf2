from itertools import permutations

import pyarrow as pa
import pytest

from ionbeam.aggregation.layout import layout_of
from ionbeam.observations.columns import TIME_TYPE, canonical_schema
from ionbeam.observations.dataset import IngestionMetadata
from ionbeam.testing.scenario import HUMIDITY, TEMPERATURE, a_dataset


def with_dtype(dtype: str, version: int = 2) -> IngestionMetadata:
    """The dataset with temperatures of another type."""
    metadata = a_dataset(version=version)
    variables = metadata.ingestion_map.canonical_variables
    variables[0] = variables[0].model_copy(update={"dtype": dtype})
    return metadata


def test_one_map_gives_its_own_columns():
    metadata = a_dataset(metadata=("station_id", "owner"))
    layout = layout_of([metadata])
    assert layout.schema == canonical_schema(metadata.ingestion_map)
    assert layout.identity == ("station_id", "owner")


def test_the_axes_come_first():
    schema = layout_of([a_dataset()]).schema
    assert schema.names[:3] == ["datetime", "lat", "lon"]
    assert schema.types[:3] == [TIME_TYPE, pa.float64(), pa.float64()]


def test_no_column_of_an_older_map_is_dropped():
    old = a_dataset(metadata=("station_id", "owner", "age"))
    old.ingestion_map.canonical_variables.reverse()
    new = a_dataset(metadata=("station_id", "site"), version=2)
    del new.ingestion_map.canonical_variables[1]
    names = layout_of([old, new]).schema.names
    assert names[3:] == [TEMPERATURE, HUMIDITY, "station_id", "site", "age", "owner"]


def test_the_highest_version_leads_then_the_map_with_most_columns():
    few = a_dataset(metadata=("b",), version=2)
    many = a_dataset(metadata=("b", "a"), version=1)
    assert layout_of([many, few]).identity == ("b",)
    same_version = a_dataset(metadata=("b",), version=1)
    assert layout_of([same_version, many]).identity == ("b", "a")


def test_the_order_of_the_maps_decides_nothing():
    maps = [
        a_dataset(metadata=("a", "b")),
        a_dataset(metadata=("b", "a")),
        a_dataset(metadata=("c", "T_qc"), identity=["c"]),
        with_dtype("float32", version=1),
    ]
    layouts = [layout_of(order) for order in permutations(maps)]
    assert all(layout == layouts[0] for layout in layouts)


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        ("float64", "float64", pa.float64()),
        ("float32", "float32", pa.float32()),
        ("float32", "float64", pa.float64()),
        ("int64", "float32", pa.float64()),
        ("int16", "int32", pa.float64()),
        ("float64", "string", pa.string()),
        ("bool", "float64", pa.string()),
        ("bool", "bool", pa.bool_()),
    ],
)
def test_types_that_differ_meet_where_both_fit(one: str, other: str, common: pa.DataType):
    layout = layout_of([with_dtype(one), with_dtype(other, version=1)])
    assert layout.schema.field(TEMPERATURE).type == common


def test_quality_flags_are_columns_but_no_identity():
    layout = layout_of([a_dataset(metadata=("station_id", "T_qc"))])
    assert layout.identity == ("station_id",)
    assert layout.schema.names[-2:] == ["station_id", "T_qc"]


def test_without_metadata_the_position_is_the_identity():
    assert layout_of([a_dataset(metadata=())]).identity == ("lat", "lon")
