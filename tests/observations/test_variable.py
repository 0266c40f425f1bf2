"""Variables and the one place where canonical column names are written and read."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from ionbeam.errors import InvalidInput
from ionbeam.observations.variable import (
    BaseVariable,
    CanonicalStandard,
    CanonicalVariable,
    LatitudeAxis,
    LongitudeAxis,
    MetadataVariable,
    TimeAxis,
)

PARTS = st.from_regex(r"[a-zA-Z0-9%/.\- ](_?[a-zA-Z0-9%/.\- ]){0,20}", fullmatch=True)
LEVELS = st.floats(allow_nan=False, allow_infinity=False)


def temperature(**more: object) -> CanonicalVariable:
    return CanonicalVariable(**{"column": "T0", "standard_name": "air_temperature", "cf_unit": "degC"} | more)


def test_a_canonical_variable_needs_column_name_and_unit_only() -> None:
    made = temperature()
    assert (made.level, made.method, made.period, made.dtype) == (0.0, "point", "PT0S", "float64")
    for missing in ("column", "standard_name", "cf_unit"):
        with pytest.raises(ValidationError, match=missing):
            CanonicalVariable.model_validate(
                {"column": "c", "standard_name": "s", "cf_unit": "1"} | {missing: None}
            )


def test_a_standard_needs_all_four_parts() -> None:
    whole = {"standard_name": "air_temperature", "level": 2, "method": "point", "period": "PT0S"}
    assert CanonicalStandard(**whole).level == 2.0
    for part in whole:
        with pytest.raises(ValidationError, match=part):
            CanonicalStandard(**{k: v for k, v in whole.items() if k != part})


def test_axes_have_their_published_defaults() -> None:
    assert TimeAxis().model_dump() == {"dtype": "datetime64[ns, UTC]", "from_col": None}
    for axis in (LatitudeAxis, LongitudeAxis):
        made = axis(standard_name="latitude", cf_unit="degree")
        assert made.model_dump() == {
            "dtype": "float64",
            "standard_name": "latitude",
            "cf_unit": "degree",
            "from_col": None,
        }
        with pytest.raises(ValidationError, match="standard_name"):
            axis(cf_unit="degree")
        with pytest.raises(ValidationError, match="cf_unit"):
            axis(standard_name="latitude")


def test_metadata_is_text_unless_told_otherwise() -> None:
    assert MetadataVariable(column="station_id").model_dump() == {"dtype": "string", "column": "station_id"}


def test_quality_flags_are_told_by_their_ending() -> None:
    assert MetadataVariable(column="air_temperature_qc", dtype="int64").is_quality_flag
    assert not MetadataVariable(column="qc_station").is_quality_flag


def test_variables_are_frozen_and_standards_serve_as_keys() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        temperature().level = 3.0
    assert {temperature(level=2).standard(): "T2m"}[temperature(level=2.0, cf_unit="K").standard()] == "T2m"


def test_a_canonical_variable_is_a_standard_with_unit_and_column() -> None:
    made = temperature(level=2)
    assert isinstance(made, CanonicalStandard)
    assert made.model_dump_json() == (
        '{"dtype":"float64","standard_name":"air_temperature","level":2.0,"method":"point","period":"PT0S",'
        '"column":"T0","cf_unit":"degC"}'
    )
    assert {made: 1}[temperature(level=2.0)] == 1
    assert made != made.standard()
    assert type(made.standard()) is CanonicalStandard


@pytest.mark.parametrize("level", [math.nan, math.inf, -math.inf, None, "two"])
def test_a_level_is_a_finite_number(level: object) -> None:
    with pytest.raises(ValidationError, match="level"):
        temperature(level=level)


@pytest.mark.parametrize(
    ("given_level", "written"),
    [(2, "2.0"), (2.0, "2.0"), (0, "0.0"), (-0.0, "0.0"), (1e-7, "1e-07"), (-0.05, "-0.05"), (1e16, "1e+16")],
)
def test_a_level_is_written_as_python_writes_a_float(given_level: float, written: str) -> None:
    name = temperature(level=given_level).canonical_name()
    assert name == f"air_temperature__degC__{written}__point__PT0S"


@pytest.mark.parametrize(
    "name",
    [
        "wind_speed__m s-1__10.0__mean__PT10M",
        "relative_humidity__%__0.0__point__PT0S",
        "air_temperature_lapse_rate__degC/100m__0.0__point__PT0S",
        "mole_fraction_of_carbon_monoxide_in_air__1e-6__0.0__point__PT0S",
    ],
)
def test_published_names_read_and_write_back(name: str) -> None:
    assert CanonicalVariable.from_canonical_name(name).canonical_name() == name


def test_level_2_and_2_0_are_the_same_column() -> None:
    short = CanonicalVariable.from_canonical_name("air_temperature__degC__2__point__PT0S")
    long = CanonicalVariable.from_canonical_name("air_temperature__degC__2.0__point__PT0S")
    assert short.standard() == long.standard()
    assert short.canonical_name() == long.canonical_name() == "air_temperature__degC__2.0__point__PT0S"
    assert short.column == "air_temperature__degC__2__point__PT0S"


@pytest.mark.parametrize(
    "name",
    [
        "air_temperature__degC",
        "air_temperature__degC__",
        "air_temperature__degC______",
        "air_temperature__degC__0",
    ],
)
def test_missing_trailing_parts_take_their_defaults(name: str) -> None:
    read = CanonicalVariable.from_canonical_name(name)
    assert (read.level, read.method, read.period) == (0.0, "point", "PT0S")


def test_parts_beyond_five_are_dropped() -> None:
    read = CanonicalVariable.from_canonical_name("a__K__2__mean__PT1H__more__of__it")
    assert read.canonical_name() == "a__K__2.0__mean__PT1H"


@pytest.mark.parametrize(
    "name",
    ["", "station_id", "a__", "__K", "__", "a__K__two__point__PT0S", "a__K__nan", "a__K__inf__point__PT0S"],
)
def test_what_is_no_canonical_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"canonical column name|level") as refusal:
        CanonicalVariable.from_canonical_name(name)
    assert isinstance(refusal.value, ValueError)
    with pytest.raises(InvalidInput):
        CanonicalStandard.from_canonical_name(name)


@settings(deadline=None)
@given(PARTS, PARTS, LEVELS, PARTS, PARTS)
def test_every_name_written_reads_back(name: str, unit: str, level: float, method: str, period: str) -> None:
    made = CanonicalVariable(
        column="c", standard_name=name, cf_unit=unit, level=level, method=method, period=period
    )
    read = CanonicalVariable.from_canonical_name(made.canonical_name())
    assert read.standard() == made.standard()
    assert read.cf_unit == unit
    assert read.canonical_name() == made.canonical_name()
    assert CanonicalStandard.from_canonical_name(made.canonical_name()) == made.standard()


@settings(deadline=None)
@given(st.text())
def test_any_text_is_either_a_canonical_name_or_refused(name: str) -> None:
    try:
        read = CanonicalVariable.from_canonical_name(name)
    except InvalidInput:
        return
    assert CanonicalVariable.from_canonical_name(read.canonical_name()).standard() == read.standard()


@pytest.mark.parametrize(
    ("dtype", "written"),
    [
        ("float64", "float64"),
        ("string", "string"),
        ("datetime64[ns, UTC]", "datetime64[ns, UTC]"),
        (np.float64, "float64"),
        (np.dtype("int32"), "int32"),
        (float, "float64"),
        (object, "object"),
        (str, "str"),
        (pd.StringDtype(), "string"),
        (pd.Int64Dtype(), "Int64"),
        (pd.DatetimeTZDtype("ns", "UTC"), "datetime64[ns, UTC]"),
    ],
)
def test_a_dtype_of_any_kind_survives_json(dtype: object, written: str) -> None:
    made = MetadataVariable(column="c", dtype=dtype)
    assert made.dtype == written
    assert MetadataVariable.model_validate_json(made.model_dump_json()) == made


def test_a_null_dtype_takes_the_default() -> None:
    assert temperature(dtype=None).dtype == "float64"
    assert MetadataVariable.model_validate_json('{"column":"c","dtype":null}').dtype == "string"


def test_what_is_no_dtype_is_refused_with_an_example() -> None:
    with pytest.raises(ValidationError, match="use a name such as 'float64'"):
        MetadataVariable(column="c", dtype=object())


@pytest.mark.parametrize(
    "model", [CanonicalVariable, MetadataVariable, TimeAxis, LatitudeAxis, LongitudeAxis]
)
def test_columns_share_the_published_base(model: type[BaseModel]) -> None:
    assert issubclass(model, BaseVariable)
    assert next(iter(model.model_fields)) == "dtype"


def test_unknown_keys_are_ignored() -> None:
    assert temperature(unit_of_old="C", extra=1) == temperature()
    assert json.loads(temperature(extra=1).model_dump_json()).keys() == {
        "dtype",
        "standard_name",
        "level",
        "method",
        "period",
        "column",
        "cf_unit",
    }
