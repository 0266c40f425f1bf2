from pathlib import Path
from typing import Any


def test_datasets_are_listed_with_what_they_cover(as_json: Any, demo_folder: Path) -> None:
    (form,) = as_json("dataset", "list", "--data-dir", demo_folder)
    assert (form["dataset"], form["span"], form["lateness"]) == ("ioncannon", "PT1H", "PT0S")
    assert (form["windows"], form["rows"]) == (24, 23040)
    assert form["coverage"] == [
        {"start": "2024-06-01T00:00:00Z", "end": "2024-06-02T00:00:00Z", "length": "P1D"}
    ]
    assert form["gaps"] == []


def test_the_list_is_a_table_for_people(ionbeam: Any, demo_folder: Path) -> None:
    header, line = ionbeam("dataset", "list", "--data-dir", demo_folder).stdout.splitlines()
    assert header.split()[:3] == ["dataset", "span", "lateness"]
    assert line.split()[:3] == ["ioncannon", "PT1H", "PT0S"]


def test_a_dataset_tells_its_variables_units_and_identity(as_json: Any, demo_folder: Path) -> None:
    form = as_json("dataset", "show", "ion", "--data-dir", demo_folder)
    assert form["identity"] == ["station_id"]
    assert form["metadata"] == ["station_id", "sensor_type", "location_type"]
    pressure = next(v for v in form["variables"] if v["standard_name"] == "surface_air_pressure")
    assert pressure["name"] == "surface_air_pressure__hPa__2.0__point__PT0S"
    assert (pressure["unit"], pressure["level"], pressure["type"]) == ("hPa", 2.0, "float64")


def test_gaps_between_what_is_covered_are_told(ionbeam: Any, as_json: Any, demo_copy: Path) -> None:
    span = ("--start", "2024-06-03T00:00:00Z", "--end", "2024-06-03T01:00:00Z")
    as_json("source", "run", "ioncannon", *span, "--data-dir", demo_copy)
    form = as_json("dataset", "show", "ioncannon", "--data-dir", demo_copy)
    gap = {"start": "2024-06-02T00:00:00Z", "end": "2024-06-03T00:00:00Z", "length": "P1D"}
    assert form["gaps"] == [gap]
    printed = ionbeam("dataset", "show", "ioncannon", "--data-dir", demo_copy).stdout
    assert printed.split("gaps\n")[1].splitlines()[1].split() == list(gap.values())
    assert "solar_irradiance" in printed


def test_an_unknown_dataset_is_a_misuse(ionbeam: Any, demo_folder: Path) -> None:
    result = ionbeam("dataset", "show", "cannon", "--data-dir", demo_folder)
    assert result.exit_code == 2
    assert result.stderr == "Error: there is no dataset 'cannon'; did you mean 'ioncannon'?\n"


def test_where_there_is_none_that_is_said(ionbeam: Any) -> None:
    result = ionbeam("dataset", "show", "x")
    assert result.exit_code == 2
    assert "there is none at all yet" in result.stderr
