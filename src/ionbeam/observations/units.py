"""What a unit means: spellings checked and repaired, values converted.

udunits2 (through cf-units) decides what a unit is. A spelling it reads as meant is kept as it is,
because units are part of published column names; the tables below hold the exceptions. A repair
changes the label only, never a value.
"""

import difflib
import math
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ionbeam.errors import InvalidInput, MapInvalid

if TYPE_CHECKING:
    from cf_units import Unit

BEYOND_UDUNITS = frozenset({"dB"})
"""Units of the CF table that udunits cannot read; they convert to themselves only."""

_UNKNOWN = "udunits does not know this spelling"
_ALIAS = "the same unit in the spelling used here"
_NUMBER = "a plain number has the unit 1"

REPAIRS: dict[str, tuple[str, str]] = {
    "percent": ("%", _ALIAS),
    "Celsius": ("degC", _ALIAS),
    "celsius": ("degC", _ALIAS),
    "deg_C": ("degC", _ALIAS),
    "deg": ("degree", _UNKNOWN),
    "deg/s": ("degree s-1", _UNKNOWN),
    "deg_north": ("degree_north", _UNKNOWN),
    "deg_east": ("degree_east", _UNKNOWN),
    "deg C": ("degC", _UNKNOWN),
    "deg F": ("degF", _UNKNOWN),
    "celcius": ("degC", _UNKNOWN),
    "kn": ("knot", _UNKNOWN),
    "kmh": ("km h-1", _UNKNOWN),
    "kmph": ("km h-1", _UNKNOWN),
    "mps": ("m s-1", _UNKNOWN),
    "Wm-2": ("W m-2", _UNKNOWN),
    "kgm-2": ("kg m-2", _UNKNOWN),
    "ugm-3": ("ug m-3", _UNKNOWN),
    "%RH": ("%", "the quantity belongs in the standard name"),
    "dBA": ("dB", "the A weighting belongs in the standard name"),
    "dB(A)": ("dB", "the A weighting belongs in the standard name"),
    "okta": ("0.125", "an okta is an eighth of the sky"),
    "oktas": ("0.125", "an okta is an eighth of the sky"),
    "octas": ("0.125", "an okta is an eighth of the sky"),
    "psu": ("1e-3", "CF writes practical salinity as 1e-3"),
    "PSU": ("1e-3", "CF writes practical salinity as 1e-3"),
    "‰": ("1e-3", _UNKNOWN),
    "CSQ": ("1", "a modem's signal index (0 to 31, 99 unknown) is a plain number"),
    "-": ("1", _NUMBER),
    "none": ("1", _NUMBER),
    "no_unit": ("1", _NUMBER),
    "unitless": ("1", _NUMBER),
    "dimensionless": ("1", _NUMBER),
    "index": ("1", _NUMBER),
    "C": ("degC", "udunits reads coulomb; write that if you mean it"),
    "F": ("degF", "udunits reads farad; write that if you mean it"),
    "degree C": ("degC", "udunits reads degree times coulomb"),
    "degrees C": ("degC", "udunits reads degree times coulomb"),
    "degree Celsius": ("degC", "udunits reads degree times kelvin"),
    "degrees Celsius": ("degC", "udunits reads degree times kelvin"),
    "centigrade": ("degC", "udunits reads a hundredth of a grade, an angle"),
    "Centigrade": ("degC", "udunits reads a hundredth of a grade, an angle"),
    "pH": ("1", "udunits reads picohenry"),
    "pa": ("Pa", "udunits reads pico-are, an area"),
    "mb": ("mbar", "udunits reads millibarn, an area"),
    "mph": ("mile hour-1", "udunits reads milliphot, an illuminance"),
    "kph": ("km h-1", "udunits reads kilophot, an illuminance"),
    "ms-1": ("m s-1", "udunits reads per millisecond"),
    "ms-2": ("m s-2", "udunits reads per square millisecond"),
    "m/s-1": ("m s-1", "udunits reads metre times second"),
    "m s-1m": ("m s-1", "udunits reads square metre per second; a known slip for wind speed"),
    "degC/100m": ("K/(100 m)", "udunits reads a hundredth of a metre times kelvin"),
    "K/100m": ("K/(100 m)", "udunits reads a hundredth of a metre times kelvin"),
    "#/0.1l": ("10 L-1", "udunits reads a volume"),
}
"""Spelling → (unit, why): aliases, spellings udunits refuses, and those it reads as something else."""

COMMON = (
    *("%", "1", "1e-6", "1e-9", "ppm", "ppb", "degree", "degree_north", "degree_east", "degC", "degF", "K"),
    *("Pa", "hPa", "kPa", "mbar", "um", "mm", "cm", "m", "km", "s", "min", "h", "day"),
    *("m s-1", "m/s", "km h-1", "km/h", "knot", "mm h-1", "mm/h", "kg m-2", "kg m-2 s-1", "W m-2", "W/m2"),
    *("J m-2", "ug m-3", "ug/m3", "mg m-3", "kg m-3", "cm-3", "m-3", "L-1", "g kg-1"),
    *("V", "mV", "A", "W", "dB", "dBm", "Hz", "lx", "S m-1", "uS cm-1"),
)
"""Units to suggest when a spelling is refused."""

_ASCII = str.maketrans({"°": "deg", "μ": "u", "Ω": "ohm", "−": "-", "·": "."})


@dataclass(frozen=True, slots=True)
class UnitCheck:
    """A unit as declared and as it should be written."""

    declared: str
    unit: str
    reason: str = ""
    """Why the two differ."""

    @property
    def repaired(self) -> bool:
        """Whether the label has to change."""
        return self.unit != self.declared


def check_unit(unit: str) -> UnitCheck:
    """The unit to write for a declared one; `MapInvalid` with a suggestion when there is none."""
    plain = _plain(unit)
    if not plain:
        raise MapInvalid("the unit is empty; write 1 for a plain number")
    if plain in REPAIRS:
        return UnitCheck(unit, *REPAIRS[plain])
    if is_unit(plain):
        return UnitCheck(
            unit, plain, "" if plain == unit else "units are written in ASCII, with single spaces"
        )
    spaced = " ".join(plain.replace("_", " ").split())
    if is_unit(spaced):
        return UnitCheck(unit, spaced, "a product is written with a space")
    raise MapInvalid(f"{unit!r} is no unit that udunits knows{_nearest(plain)}")


def is_unit(unit: str) -> bool:
    """Whether udunits, or the list of exceptions, knows this spelling."""
    return unit in BEYOND_UDUNITS or _parse(unit) is not None


def fits(unit: str, other: str) -> bool:
    """Whether values in one of two valid units can be given in the other.

    To udunits a radian is the number 1, so it would turn an angle into percent; that is refused.
    """
    if unit == other:
        return is_unit(unit)
    one, two = _parse(unit), _parse(other)
    if one is None or two is None:
        return False
    return _is_angle(one) == _is_angle(two) and bool(one.is_convertible(two))


@dataclass(frozen=True, slots=True)
class Conversion:
    """``value * scale + offset``."""

    scale: float
    offset: float

    def __call__(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The converted values; floats keep their width, integers become float64."""
        return np.asarray(values * self.scale + self.offset)


@lru_cache(maxsize=1024)
def converter(unit: str, target: str) -> Conversion:
    """The conversion between two units; `InvalidInput` when there is none or it is not affine.

    Read off udunits at points far apart, so that an offset costs the scale no digits.
    """
    if not fits(unit, target):
        raise InvalidInput(f"{unit!r} cannot be converted to {target!r}")
    one, two = _parse(unit), _parse(target)
    if unit == target or one is None:
        return Conversion(1.0, 0.0)
    far = 2.0**20
    at_zero, at_one, at_far = (float(one.convert(x, two)) for x in (0.0, 1.0, far))
    # Two points lose the last bit where there is an offset; fifteen digits are what udunits keeps anyway.
    scale = float(f"{(at_far - at_zero) / far:.15g}") if at_zero else at_one
    if not math.isfinite(scale) or not math.isclose(at_one - at_zero, scale, rel_tol=1e-9):
        raise InvalidInput(f"the conversion of {unit!r} to {target!r} is not linear")
    return Conversion(scale, at_zero)


def _plain(unit: str) -> str:
    """Without signs outside ASCII where a unit has them by custom, and without spare spaces."""
    # The ordinal sign of Romance keyboards often stands for the degree sign; NFKC would make it an o.
    signs = unicodedata.normalize("NFKC", unit.replace("º", "°")).translate(_ASCII)
    return " ".join(signs.split())


@lru_cache(maxsize=1024)
def _parse(unit: str) -> "Unit | None":
    # Importing cf_units takes 30 to 45 ms on top of numpy; most commands never look at a unit.
    import cf_units

    try:
        with cf_units.suppress_errors():
            parsed = cf_units.Unit(unit)
    except ValueError:
        return None
    return None if parsed.is_unknown() or parsed.is_no_unit() else parsed


def _is_angle(unit: "Unit") -> bool:
    return bool(unit.is_dimensionless()) and str(unit.definition).endswith("rad")


def _nearest(unit: str) -> str:
    targets = {u.lower(): u for u in COMMON} | {s.lower(): u for s, (u, _) in REPAIRS.items()}
    near = difflib.get_close_matches(unit.lower(), targets, n=1, cutoff=0.6)
    return f"; did you mean {targets[near[0]]!r}?" if near else ""
