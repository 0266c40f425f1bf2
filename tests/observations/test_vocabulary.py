"""The CF standard name table as shipped, and what is said about names and their units."""

import gzip
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from ionbeam.errors import MapInvalid
from ionbeam.observations.units import check_unit
from ionbeam.observations.vocabulary import (
    StandardName,
    check_quantity,
    standard_name,
    suggest,
    table_version,
)

CHECKOUT = Path(__file__).parents[2]
OFFICIAL = CHECKOUT / "../shared/data/cf/standard_names.tsv"


def shipped() -> bytes:
    return files("ionbeam.observations").joinpath("cf_standard_names.tsv.gz").read_bytes()


def shipped_rows() -> list[list[str]]:
    _version, *lines = gzip.decompress(shipped()).decode().splitlines()
    return [(line + "\t\t").split("\t")[:3] for line in lines]


def test_the_version_stands_on_the_first_line() -> None:
    assert table_version().startswith("CF standard name table version 93")


def test_every_alias_leads_to_a_current_name() -> None:
    for name, _unit, alias_of in shipped_rows():
        if alias_of:
            entry = standard_name(alias_of)
            assert entry is not None, name
            assert not entry.alias_of, name


def test_every_canonical_unit_is_a_unit() -> None:
    units = {unit for _name, unit, _alias in shipped_rows() if unit}
    assert len(units) > 100
    for unit in units:
        assert check_unit(unit).unit == unit


def test_the_shipped_table_is_what_the_script_makes_of_the_official_one(tmp_path: Path) -> None:
    if not OFFICIAL.exists():
        pytest.skip(f"no official table at {OFFICIAL}")
    script = CHECKOUT / "tools" / "compact_cf_table.py"
    made = [tmp_path / "one.gz", tmp_path / "two.gz"]
    for target in made:
        subprocess.run([sys.executable, script, OFFICIAL, target], check=True)
    assert made[0].read_bytes() == made[1].read_bytes()
    assert gzip.decompress(made[0].read_bytes()) == gzip.decompress(shipped())
    assert made[0].read_bytes()[4:8] == b"\0\0\0\0", "the gzip header carries a time"


def test_a_current_name_has_its_canonical_unit() -> None:
    assert standard_name("air_temperature") == StandardName("air_temperature", "K")


def test_an_alias_has_the_unit_of_its_current_name() -> None:
    assert standard_name("air_pressure_at_sea_level") == StandardName(
        "air_pressure_at_sea_level", "Pa", "air_pressure_at_mean_sea_level"
    )


def test_a_name_that_is_both_current_and_an_alias_counts_as_current() -> None:
    entry = standard_name("convective_precipitation_rate")
    assert entry is not None
    assert entry.alias_of == ""


def test_a_name_outside_the_table_is_none() -> None:
    assert standard_name("bluetooth_RSSI") is None


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("air_temprature", "air_temperature"),
        ("air_pressure_at_sea_levl", "air_pressure_at_mean_sea_level"),
        ("relative_humidty", "relative_humidity"),
        ("bluetooth_RSSI", None),
    ],
)
def test_a_slip_of_the_pen_finds_the_current_name(name: str, near: str | None) -> None:
    assert suggest(name) == near


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("air_temperature", "degC"),
        ("relative_humidity", "%"),
        ("wind_speed", "km h-1"),
        ("wind_from_direction", "degree"),
        ("air_temperature_lapse_rate", "K/(100 m)"),
        ("sound_pressure_level_in_air", "dB"),
        ("surface_snow_thickness", "cm"),
        ("institution", "1"),
    ],
)
def test_a_known_quantity_in_a_unit_that_fits_needs_no_remark(name: str, unit: str) -> None:
    assert check_quantity(name, unit) == ()


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("air_temperature", "Pa"),
        ("wind_from_direction", "%"),
        ("air_temperature_lapse_rate", "degC/100m"),
        ("precipitation_amount", "mm h-1"),
        ("snowfall_amount", "cm"),
        ("sound_pressure_level_in_air", "1"),
    ],
)
def test_a_known_quantity_in_a_unit_that_cannot_express_it_is_refused(name: str, unit: str) -> None:
    with pytest.raises(MapInvalid, match=f"{name}.*{unit}.*CF measures it in"):
        check_quantity(name, unit)


@pytest.mark.parametrize(
    ("name", "unit"),
    [("precipitation_amount", "mm"), ("rainfall_amount", "cm"), ("precipitation_flux", "mm h-1")],
)
def test_a_depth_of_water_is_accepted_with_a_remark(name: str, unit: str) -> None:
    (remark,) = check_quantity(name, unit)
    assert "1 mm is 1 kg m-2" in remark


def test_an_alias_is_accepted_with_its_current_name() -> None:
    (remark,) = check_quantity("mass_concentration_of_pm10_ambient_aerosol_in_air", "ug m-3")
    assert "'mass_concentration_of_pm10_ambient_aerosol_particles_in_air'" in remark


def test_an_alias_in_a_wrong_unit_is_refused() -> None:
    with pytest.raises(MapInvalid, match="cannot be given in 'K'"):
        check_quantity("air_pressure_at_sea_level", "K")


def test_an_unknown_name_is_accepted_in_any_unit_with_a_remark() -> None:
    assert check_quantity("bluetooth_RSSI", "dBm") == ("'bluetooth_RSSI' is not a CF standard name",)
    assert check_quantity("air_temprature", "Pa") == (
        "'air_temprature' is not a CF standard name; did you mean 'air_temperature'?",
    )
