"""What registering a map repairs, remarks on and refuses."""

import numpy as np
import pyarrow as pa
import pytest

from ionbeam.errors import MapInvalid
from ionbeam.observations.columns import canonical_schema
from ionbeam.observations.dataset import DataIngestionMap, DatasetMetadata, IngestionMetadata
from ionbeam.observations.registration import (
    PERCENT_AS_ONE,
    Registration,
    register,
    suspect_columns,
    suspect_fraction,
)
from ionbeam.observations.variable import (
    CanonicalVariable,
    LatitudeAxis,
    LongitudeAxis,
    MetadataVariable,
    TimeAxis,
)

FEEDS = {
    "netatmo": """
        air_pressure_at_mean_sea_level hPa; air_temperature degC; dew_point_temperature degC;
        relative_humidity 1; solar_irradiance W m-2; surface_air_pressure hPa; surface_snow_thickness cm;
        ultraviolet_index 1; visibility_in_air m; wind_from_direction deg; wind_speed m s-1;
        wind_speed_of_gust m/s""",
    "netatmo_mqtt": "relative_humidity 1; wind_from_direction degree; precipitation_amount kg/m2",
    "meteotracker": """
        altitude m; air_pressure mbar; air_temperature degC; relative_humidity 1; air_potential_temperature K;
        humidity_index degC; air_temperature_lapse_rate degC/100m; wind_speed km h-1; bluetooth_RSSI dBm;
        mole_fraction_of_carbon_dioxide_in_air 1e-6; mass_concentration_of_pm1_ambient_aerosol_in_air ug m-3;
        particulate_matter_particle_number_0_5 cm-3; typical_particle_size um; ozone 1e-9""",
    "sensor.community": """
        air_temperature degC; relative_humidity 1; air_pressure Pa; air_pressure_at_sea_level Pa;
        mass_concentration_of_pm2p5_ambient_aerosol_in_air ug m-3""",
    "acronet": """
        precipitation_amount mm; air_temperature degC; relative_humidity %; wind_from_direction degree;
        air_pressure hPa; surface_downwelling_shortwave_flux_in_air W m-2; battery_level V;
        signal_strength CSQ""",
    "smart_citizen": """
        total_volatile_organic_compounds ppb; ambient_light lux; noise dBA; air_pressure_near_surface kPa;
        air_temperature ºC; particle_number #/0.1l; carbon_dioxide ppm""",
}


def variable(column: str, standard_name: str, cf_unit: str, **more: object) -> CanonicalVariable:
    return CanonicalVariable(column=column, standard_name=standard_name, cf_unit=cf_unit, **more)


def metadata(
    *variables: CanonicalVariable,
    dataset: str = "example",
    tags: tuple[str, ...] = ("station_id",),
    lat: LatitudeAxis | None = None,
    lon: LongitudeAxis | None = None,
    identity: list[str] | None = None,
) -> IngestionMetadata:
    return IngestionMetadata(
        dataset=DatasetMetadata(name=dataset),
        ingestion_map=DataIngestionMap(
            datetime=TimeAxis(),
            lat=lat or LatitudeAxis(standard_name="latitude", cf_unit="degrees_north"),
            lon=lon or LongitudeAxis(standard_name="longitude", cf_unit="degrees_east"),
            canonical_variables=list(variables),
            metadata_variables=[MetadataVariable(column=tag) for tag in tags],
            identity=identity,
        ),
    )


def feed(dataset: str) -> IngestionMetadata:
    rows = [row.split(maxsplit=1) for row in FEEDS[dataset].split(";")]
    return metadata(
        *(variable(f"c{i}", name, unit.strip()) for i, (name, unit) in enumerate(rows)), dataset=dataset
    )


def units(registration: Registration) -> list[str]:
    return [v.cf_unit for v in registration.metadata.ingestion_map.canonical_variables]


def refusal(declared: IngestionMetadata) -> str:
    with pytest.raises(MapInvalid) as fault:
        register(declared)
    return str(fault.value)


def test_a_sound_map_comes_back_unchanged_and_without_remarks() -> None:
    declared = metadata(variable("t", "air_temperature", "degC", level=2), variable("w", "wind_speed", "m/s"))
    assert register(declared) == Registration(declared)


def test_a_dtype_nobody_knows_is_told_with_what_becomes_of_the_column() -> None:
    declared = metadata(variable("t", "air_temperature", "degC", dtype="banana"))
    assert register(declared).findings == (
        "column 't': 'banana' is no dtype Ionbeam knows; its values are kept as text",
    )


def test_columns_that_differ_only_in_case_are_told_once() -> None:
    declared = metadata(
        variable("t", "air_temperature", "degC"),
        variable("T", "dew_point_temperature", "degC"),
        tags=("site", "Site", "LAT"),
    )
    told = [finding.split(" differ only in case")[0] for finding in register(declared).findings]
    assert told == ["columns 'lat' and 'LAT'", "columns 't' and 'T'", "columns 'site' and 'Site'"]


@pytest.mark.parametrize("dataset", FEEDS)
def test_every_published_feed_can_be_registered(dataset: str) -> None:
    registration = register(feed(dataset))
    columns = {v.column for v in registration.metadata.ingestion_map.canonical_variables}
    assert all(finding.split("'")[1] in columns for finding in registration.findings)


@pytest.mark.parametrize("dataset", FEEDS)
def test_registering_again_changes_nothing(dataset: str) -> None:
    once = register(feed(dataset)).metadata
    assert register(once).metadata == once


def test_a_repaired_unit_reaches_the_canonical_name_and_the_findings() -> None:
    registration = register(metadata(variable("d", "wind_from_direction", "deg", level=10, method="mean")))
    (repaired,) = registration.metadata.ingestion_map.canonical_variables
    assert repaired.canonical_name() == "wind_from_direction__degree__10.0__mean__PT0S"
    (finding,) = registration.findings
    assert finding.startswith("column 'd': unit 'deg' is written 'degree'")


def test_the_declared_metadata_is_not_touched() -> None:
    declared = metadata(variable("d", "wind_from_direction", "deg"))
    register(declared)
    assert declared.ingestion_map.canonical_variables[0].cf_unit == "deg"


def test_a_repaired_axis_unit_is_kept_too() -> None:
    registration = register(metadata(lat=LatitudeAxis(standard_name="latitude", cf_unit="deg")))
    assert registration.metadata.ingestion_map.lat.cf_unit == "degree"
    assert registration.findings == (
        "the latitude axis: unit 'deg' is written 'degree': udunits does not know this spelling",
    )


@pytest.mark.parametrize("dataset", sorted(PERCENT_AS_ONE))
def test_feeds_known_to_deliver_percent_as_one_are_repaired(dataset: str) -> None:
    registration = register(metadata(variable("h", "relative_humidity", "1"), dataset=dataset))
    assert units(registration) == ["%"]
    assert "delivers percent" in registration.findings[0]


def test_exactly_four_datasets_are_known_to_deliver_percent_as_one() -> None:
    assert sorted(PERCENT_AS_ONE) == ["meteotracker", "netatmo", "netatmo_mqtt", "sensor.community"]


def test_any_other_dataset_may_declare_a_true_fraction() -> None:
    registration = register(metadata(variable("h", "relative_humidity", "1")))
    assert units(registration) == ["1"]
    assert registration.findings == (
        "column 'h': relative humidity in '1' has to lie between 0 and 1; declare '%' for percent",
    )


def test_percent_declared_as_percent_needs_no_remark() -> None:
    assert register(metadata(variable("h", "relative_humidity", "%"), dataset="netatmo")).findings == ()


def test_unknown_and_old_names_are_allowed_and_remarked_on() -> None:
    registration = register(
        metadata(variable("r", "bluetooth_RSSI", "dBm"), variable("p", "air_pressure_at_sea_level", "Pa"))
    )
    unknown, old = registration.findings
    assert unknown == "column 'r': 'bluetooth_RSSI' is not a CF standard name"
    assert old.startswith("column 'p': 'air_pressure_at_sea_level' is an old name")
    assert old.endswith("'air_pressure_at_mean_sea_level'")


def test_all_faults_are_named_at_once_with_dataset_and_column() -> None:
    text = refusal(
        metadata(
            variable("a", "air_temperature", "Pa"),
            variable("b", "air_pressure", "hpa"),
            variable("c", "wind_speed", "xyzzy"),
            identity=["nobody"],
        )
    )
    assert "dataset 'example'" in text
    assert "column 'a': 'air_temperature' cannot be given in 'Pa'" in text
    assert "column 'b': 'hpa' is no unit that udunits knows; did you mean 'hPa'?" in text
    assert "column 'c': 'xyzzy'" in text
    assert "identity names 'nobody'" in text


def test_one_column_cannot_be_two_variables() -> None:
    text = refusal(
        metadata(variable("t", "air_temperature", "K"), variable("t", "dew_point_temperature", "K"))
    )
    assert "column 't' is mapped 2 times" in text


def test_one_column_cannot_be_variable_and_metadata() -> None:
    assert "column 't' is mapped 2 times" in refusal(
        metadata(variable("t", "air_temperature", "K"), tags=("t",))
    )


def test_one_column_cannot_be_both_axes() -> None:
    lat = LatitudeAxis(standard_name="latitude", cf_unit="degree", from_col="position")
    lon = LongitudeAxis(standard_name="longitude", cf_unit="degree", from_col="position")
    assert "column 'position' is mapped 2 times" in refusal(metadata(lat=lat, lon=lon))


def test_two_columns_cannot_make_the_same_canonical_column_even_after_repair() -> None:
    text = refusal(metadata(variable("a", "wind_speed", "m s-1"), variable("b", "wind_speed", "m_s-1")))
    assert "canonical name 'wind_speed__m s-1__0.0__point__PT0S' is mapped 2 times" in text


def test_the_same_quantity_at_two_levels_is_fine() -> None:
    register(
        metadata(
            variable("a", "wind_speed", "m s-1", level=2), variable("b", "wind_speed", "m s-1", level=10)
        )
    )


@pytest.mark.parametrize("tag", ["datetime", "lat", "lon"])
def test_metadata_cannot_take_the_name_of_an_axis(tag: str) -> None:
    renamed = metadata(
        tags=(tag,),
        lat=LatitudeAxis(standard_name="latitude", cf_unit="degree", from_col="y"),
        lon=LongitudeAxis(standard_name="longitude", cf_unit="degree", from_col="x"),
    )
    assert f"{tag!r}" in refusal(renamed)
    assert f"{tag!r}" in refusal(metadata(tags=(tag,)))


def test_metadata_cannot_take_the_name_of_a_canonical_variable() -> None:
    name = "air_temperature__K__0.0__point__PT0S"
    assert f"metadata column {name!r}" in refusal(
        metadata(variable("t", "air_temperature", "K"), tags=(name,))
    )


@pytest.mark.parametrize("name", ["x" * 200, "ü" * 33])
def test_a_name_that_fits_into_file_names_is_accepted(name: str) -> None:
    assert register(metadata(dataset=name)).metadata.dataset.name == name


@pytest.mark.parametrize(("name", "size"), [("x" * 201, 201), ("ü" * 34, 204)])
def test_a_name_too_long_for_file_names_is_refused(name: str, size: int) -> None:
    assert f"its name takes {size} bytes in a key; 200 fit" in refusal(metadata(dataset=name))


def test_an_empty_column_name_is_refused() -> None:
    assert "empty name" in refusal(metadata(variable(" ", "air_temperature", "K")))
    assert "empty name" in refusal(metadata(tags=("",)))


@pytest.mark.parametrize(
    "parts",
    [
        {"standard_name": "my__name"},
        {"standard_name": "name_"},
        {"standard_name": ""},
        {"method": ""},
        {"method": "mean__max"},
        {"period": ""},
        {"method": "point_"},
    ],
)
def test_a_name_that_would_not_read_back_is_refused(parts: dict[str, str]) -> None:
    assert "column 'x'" in refusal(
        metadata(variable(**{"column": "x", "standard_name": "n", "cf_unit": "K"} | parts))
    )


@pytest.mark.parametrize("unit", ["rad", "m", "nonsense"])
def test_positions_are_degrees(unit: str) -> None:
    text = refusal(metadata(lat=LatitudeAxis(standard_name="latitude", cf_unit=unit)))
    assert f"the latitude axis: {unit!r}" in text


def test_swapped_axes_are_refused() -> None:
    text = refusal(metadata(lon=LongitudeAxis(standard_name="latitude", cf_unit="degrees_north")))
    assert "the longitude axis: its standard name is 'latitude'" in text


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.55, 1.02], False),
        ([0.4, 2.0], False),
        ([0.4, 2.1], True),
        ([None, np.nan, 55.0], True),
        ([None, np.nan], False),
        ([], False),
    ],
)
def test_a_fraction_above_two_is_suspect(values: list[float | None], expected: bool) -> None:
    column = pa.array(values, pa.float64())
    assert suspect_fraction(column) is expected
    assert suspect_fraction(pa.chunked_array([column, column])) is expected


def test_text_is_never_a_suspect_fraction() -> None:
    assert suspect_fraction(pa.array(["55"])) is False


def test_only_humidity_declared_as_one_is_suspected() -> None:
    m = metadata(
        variable("h", "relative_humidity", "1"),
        variable("p", "relative_humidity", "%", level=2),
        variable("u", "ultraviolet_index", "1"),
    ).ingestion_map
    rows = [{name: 55.0 for name in canonical_schema(m).names if "__" in name}]
    (sentence,) = suspect_columns(pa.Table.from_pylist(rows, schema=canonical_schema(m)), m)
    assert sentence.startswith("column 'h'")
    assert suspect_columns(canonical_schema(m).empty_table(), m) == ()
