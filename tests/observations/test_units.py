"""Units: what udunits really says about every spelling the tables mention."""

import math
import subprocess
import sys

import numpy as np
import pytest
from cf_units import Unit

from ionbeam.errors import InvalidInput, MapInvalid
from ionbeam.observations.units import (
    COMMON,
    REPAIRS,
    UnitCheck,
    check_unit,
    converter,
    fits,
)


def udunits_reads(unit: str) -> str | None:
    """The definition udunits gives, or None where it cannot read the spelling."""
    try:
        parsed = Unit(unit)
    except ValueError:
        return None
    return None if parsed.is_unknown() or parsed.is_no_unit() else parsed.definition


@pytest.mark.parametrize("unit", ["m/s", "kg/m2", "ug/m3", "mbar", "ppm", "ppb", "1e-6", "km h-1", "degrees"])
def test_a_spelling_udunits_reads_as_meant_is_kept(unit: str) -> None:
    assert check_unit(unit) == UnitCheck(unit, unit)


@pytest.mark.parametrize("unit", COMMON)
def test_every_suggested_unit_is_itself_fine(unit: str) -> None:
    assert check_unit(unit) == UnitCheck(unit, unit)


@pytest.mark.parametrize("declared", REPAIRS)
def test_every_repair_is_needed_and_leads_to_a_unit(declared: str) -> None:
    unit, reason = REPAIRS[declared]
    assert check_unit(declared) == UnitCheck(declared, unit, reason)
    assert check_unit(unit) == UnitCheck(unit, unit)
    read = udunits_reads(declared)
    if "same unit" in reason:
        assert read == udunits_reads(unit)
    elif "udunits reads" in reason:
        assert read is not None
        assert read != udunits_reads(unit)
    else:
        assert read is None


@pytest.mark.parametrize(
    ("declared", "unit"),
    [
        ("°C", "degC"),
        ("ºC", "degC"),
        ("° C", "degC"),
        ("℃", "degC"),
        ("°", "degree"),
        ("µg/m³", "ug/m3"),
        ("m s⁻¹", "m s-1"),
        ("W·m⁻²", "W.m-2"),
        ("m s−1", "m s-1"),
        (" m  s-1\n", "m s-1"),
        ("kΩ", "kohm"),
    ],
)
def test_signs_outside_ascii_are_written_in_ascii(declared: str, unit: str) -> None:
    check = check_unit(declared)
    assert check.unit == unit
    assert check.repaired
    assert check.reason


@pytest.mark.parametrize(
    ("declared", "unit"),
    [("m_s-1", "m s-1"), ("W_m-2", "W m-2"), ("ug_m-3", "ug m-3"), ("kg_m-2_s-1", "kg m-2 s-1")],
)
def test_an_underscore_between_factors_becomes_a_space(declared: str, unit: str) -> None:
    assert udunits_reads(declared) is None
    assert check_unit(declared).unit == unit


@pytest.mark.parametrize(
    ("declared", "nearest"), [("hpa", "hPa"), ("HPA", "hPa"), ("w/m2", "W/m2"), ("degg", "deg"), ("MM", "mm")]
)
def test_a_refusal_suggests_the_nearest_unit(declared: str, nearest: str) -> None:
    with pytest.raises(MapInvalid, match=f"did you mean '{nearest}"):
        check_unit(declared)


@pytest.mark.parametrize("declared", ["furlongs_per_fortnight_ish", "unknown", "?", "1/0", "xyzzy"])
def test_nonsense_is_refused_by_name(declared: str) -> None:
    with pytest.raises(MapInvalid) as refusal:
        check_unit(declared)
    assert repr(declared) in str(refusal.value)


@pytest.mark.parametrize("declared", ["", "   ", "\t"])
def test_an_empty_unit_is_refused_with_what_to_write(declared: str) -> None:
    with pytest.raises(MapInvalid, match="write 1"):
        check_unit(declared)


@pytest.mark.parametrize(
    ("unit", "other", "expected"),
    [
        ("degC", "K", True),
        ("%", "1", True),
        ("ppm", "1e-9", True),
        ("dB", "dB", True),
        ("dB", "1", False),
        ("kg m-2", "mm", False),
        ("degree", "%", False),
        ("degree", "rad", True),
        ("1", "degree", False),
        ("nonsense", "nonsense", False),
    ],
)
def test_units_fit_when_values_can_be_given_in_either(unit: str, other: str, expected: bool) -> None:
    assert fits(unit, other) is expected
    assert fits(other, unit) is expected


@pytest.mark.parametrize(
    ("unit", "target"),
    [
        ("degC", "K"),
        ("K", "degC"),
        ("degF", "degC"),
        ("hPa", "Pa"),
        ("mbar", "hPa"),
        ("km h-1", "m s-1"),
        ("knot", "m s-1"),
        ("%", "1"),
        ("ug m-3", "kg m-3"),
        ("K/(100 m)", "K m-1"),
        ("10 L-1", "cm-3"),
    ],
)
def test_a_conversion_agrees_with_udunits(unit: str, target: str) -> None:
    values = np.array([-40.0, 0.0, 1.0, 55.5, 1013.25, 1e6])
    expected = Unit(unit).convert(values, Unit(target))
    np.testing.assert_allclose(converter(unit, target)(values), expected, rtol=1e-12, atol=1e-12)


def test_the_published_conversions_are_exact() -> None:
    assert (converter("degC", "K").scale, converter("degC", "K").offset) == (1.0, 273.15)
    assert (converter("hPa", "Pa").scale, converter("hPa", "Pa").offset) == (100.0, 0.0)
    assert (converter("%", "1").scale, converter("%", "1").offset) == (0.01, 0.0)


def test_a_conversion_keeps_float32_and_nan_and_makes_floats_of_integers() -> None:
    to_kelvin = converter("degC", "K")
    assert to_kelvin(np.array([1.0], dtype=np.float32)).dtype == np.float32
    assert to_kelvin(np.array([1])).dtype == np.float64
    assert math.isnan(to_kelvin(np.array([np.nan]))[0])


@pytest.mark.parametrize("pair", [("Pa", "K"), ("degree", "%"), ("nonsense", "K"), ("nonsense", "nonsense")])
def test_units_that_do_not_fit_have_no_conversion(pair: tuple[str, str]) -> None:
    with pytest.raises(InvalidInput, match="cannot be converted"):
        converter(*pair)


@pytest.mark.parametrize("pair", [("dBm", "W"), ("W", "dBm")])
def test_a_logarithmic_conversion_is_refused_instead_of_bent_straight(pair: tuple[str, str]) -> None:
    with pytest.raises(InvalidInput, match="not linear"):
        converter(*pair)


def test_importing_the_module_does_not_load_udunits() -> None:
    code = "import sys, ionbeam.observations.units; sys.exit('cf_units' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
