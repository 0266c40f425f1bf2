"""The Arrow schemas a map stands for."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ionbeam.errors import MapInvalid
from ionbeam.observations.columns import (
    TIME_TYPE,
    arrow_type,
    canonical_schema,
    check_identity,
    is_known,
    raw_schema,
)
from ionbeam.observations.dataset import DataIngestionMap

NOBODY_KNOWS = st.one_of(st.text(), st.text(alphabet="()[]{},'0123456789fiuSUVMmOb<>=|: "))


def ingestion_map(**more: object) -> DataIngestionMap:
    form = {
        "datetime": {"from_col": "time"},
        "lat": {"standard_name": "latitude", "cf_unit": "degree", "from_col": "y"},
        "lon": {"standard_name": "longitude", "cf_unit": "degree"},
        "canonical_variables": [
            {
                "column": "T",
                "standard_name": "air_temperature",
                "cf_unit": "degC",
                "level": 2,
                "dtype": "float32",
            }
        ],
        "metadata_variables": [{"column": "station_id"}, {"column": "T_qc", "dtype": "int64"}],
    }
    return DataIngestionMap.model_validate(form | more)


def test_a_raw_schema_has_the_sources_names_in_order() -> None:
    assert raw_schema(ingestion_map()) == pa.schema(
        [
            ("time", TIME_TYPE),
            ("y", pa.float64()),
            ("lon", pa.float64()),
            ("T", pa.float32()),
            ("station_id", pa.string()),
            ("T_qc", pa.int64()),
        ]
    )


def test_a_canonical_schema_has_axes_then_canonical_names_then_metadata() -> None:
    assert canonical_schema(ingestion_map()) == pa.schema(
        [
            ("datetime", TIME_TYPE),
            ("lat", pa.float64()),
            ("lon", pa.float64()),
            ("air_temperature__degC__2.0__point__PT0S", pa.float32()),
            ("station_id", pa.string()),
            ("T_qc", pa.int64()),
        ]
    )


def test_duplicate_names_are_dropped_and_the_first_wins() -> None:
    twice = ingestion_map(metadata_variables=[{"column": "id", "dtype": "int32"}, {"column": "id"}])
    schema = raw_schema(twice)
    assert schema.names == ["time", "y", "lon", "T", "id"]
    assert schema.field("id").type == pa.int32()


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("string", pa.string()),
        ("str", pa.string()),
        ("object", pa.string()),
        ("category", pa.string()),
        ("no_such_type", pa.string()),
        ("complex128", pa.string()),
        ("bool", pa.bool_()),
        ("boolean", pa.bool_()),
        ("float64", pa.float64()),
        ("float32", pa.float32()),
        ("int32", pa.int32()),
        ("uint16", pa.uint16()),
        ("Int64", pa.int64()),
        ("UInt8", pa.uint8()),
        ("Float32", pa.float32()),
        ("float16", pa.float32()),
        ("Float16", pa.float32()),
        (">f2", pa.float32()),
        ("double[pyarrow]", pa.float64()),
        (">f8", pa.float64()),
        ("datetime64[ns, UTC]", TIME_TYPE),
        ("datetime64[s]", TIME_TYPE),
        ("M8[ns]", TIME_TYPE),
    ],
)
def test_a_dtype_name_has_its_arrow_type(dtype: str, expected: pa.DataType) -> None:
    assert arrow_type(dtype) == expected


@settings(deadline=None)
@given(NOBODY_KNOWS)
def test_no_dtype_name_can_break_a_schema(dtype: str) -> None:
    assert isinstance(arrow_type(dtype), pa.DataType)


@pytest.mark.parametrize("dtype", ["string", "category", "U10", "Int64", "float16", "datetime64[ns, UTC]"])
def test_a_dtype_that_says_how_values_are_kept_is_known(dtype: str) -> None:
    assert is_known(dtype)


@pytest.mark.parametrize("dtype", ["banana", "complex64", "", "__import__('os')"])
def test_any_other_dtype_is_not_known_and_means_text(dtype: str) -> None:
    assert not is_known(dtype)
    assert arrow_type(dtype) == pa.string()


@pytest.mark.parametrize("identity", [None, [], ["station_id"], ["station_id", "lat", "lon"], ["T_qc"]])
def test_an_identity_of_known_columns_is_accepted(identity: list[str] | None) -> None:
    check_identity(ingestion_map(identity=identity))


@pytest.mark.parametrize("column", ["T", "datetime", "nobody"])
def test_an_identity_of_other_columns_is_refused_with_a_choice(column: str) -> None:
    with pytest.raises(MapInvalid, match=f"{column}.*choose from.*station_id"):
        check_identity(ingestion_map(identity=["station_id", column]))
