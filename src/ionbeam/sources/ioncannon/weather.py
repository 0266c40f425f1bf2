"""Weather that could be: what a synthetic station at a place measures at a time.

Smooth waves of pressure cross the land in days, clouds, wind and dryness drift over hours, the sun
does the rest. Sun and seasons use a circular orbit; humidity follows from temperature and dew point
by the Magnus form of Alduchov and Eskridge (1996); pressure falls with height as in an atmosphere
of scale height 8.4 km. Values are rounded as instruments report them.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from ionbeam.sources.ioncannon.draws import Draws, Floats, Integers

_DAY_NS = 86_400 * 10**9
_YEAR_D = 365.2425
_HOUR_ANGLE = 2 * np.pi / 24
_TILT = np.sin(np.radians(23.44))
_SOLAR_CONSTANT_W_M2 = 1361.0
_SCALE_HEIGHT_M = 8400.0
_SLICE = 8192
"""Rows at a time: their intermediate arrays fit a core's cache, which halves the time."""
_DRIFT_NS = 6 * 3600 * 10**9


@dataclass(frozen=True, slots=True)
class Places:
    """Where stations stand: one element each."""

    latitude: Floats
    longitude: Floats
    elevation_m: Floats

    @classmethod
    def drawn(cls, draws: Draws, stations: int, south: float, north: float, west: float, east: float) -> Self:
        """Places inside the bounds; a station keeps its place however many others there are."""
        numbers = np.arange(stations)
        latitude = south + (north - south) * draws.shares("latitude", numbers)
        longitude = west + (east - west) * draws.shares("longitude", numbers)
        return cls(
            np.clip(latitude.round(5), south, north),
            np.clip(longitude.round(5), west, east),
            (800 * draws.shares("elevation", numbers) ** 3).round(),
        )

    def take(self, stations: Integers) -> "Places":
        """The places of these stations."""
        return Places(self.latitude[stations], self.longitude[stations], self.elevation_m[stations])


def observe(draws: Draws, places: Places, station: Integers, time_ns: Integers) -> dict[str, Floats]:
    """Every variable for stations at times (nanoseconds after the epoch), all of one length.

    Temperatures in degC, humidity in %, pressures in hPa, irradiance in W m-2, wind in m s-1 and
    degrees; means, maxima and minima are those of the hour before the time.
    """
    cuts = range(0, max(len(station), 1), _SLICE)
    parts = [
        _observe(draws, places, station[cut : cut + _SLICE], time_ns[cut : cut + _SLICE]) for cut in cuts
    ]
    return {quantity: np.concatenate([part[quantity] for part in parts]) for quantity in parts[0]}


def _observe(draws: Draws, places: Places, station: Integers, time_ns: Integers) -> dict[str, Floats]:
    here = places.take(station)
    day = time_ns / _DAY_NS
    latitude = np.radians(here.latitude)
    sun = _Sun(day, latitude, np.radians(here.longitude))
    cloud, dryness, breeze, veer = draws.drifts("weather", station, time_ns, _DRIFT_NS)
    noise = draws.quarters("noise", station, time_ns)
    short, long = _waves(draws, day, latitude)

    climate = 27 - 0.34 * np.abs(here.latitude) - 0.0065 * here.elevation_m
    base = climate - 0.2 * here.latitude * sun.winter - 2.5 * short + 0.4 * noise[0]
    swing = 7 * np.cos(latitude) * (1 - 0.6 * cloud)
    warmth = sun.warmth()
    now, earlier = base + swing * warmth, base + swing * sun.warmth(hours_ago=1)
    temperature = _tenths(now)
    dew_point = _tenths(now - 0.2 - 9 * dryness**2 - 2 * np.maximum(warmth, 0))
    height = sun.height()
    # Waves of days move so little in an hour that its mean is the value at its end.
    sea_level_hpa = 1013.25 + 9 * short + 6 * long
    return {
        "sea_level_pressure": _tenths(sea_level_hpa),
        "temperature_maximum": _tenths(np.maximum(now, earlier) + 0.3 * noise[1]),
        "temperature_minimum": _tenths(np.minimum(now, earlier) - 0.3 * noise[2]),
        "temperature": temperature,
        "dew_point": dew_point,
        "humidity": _tenths(100 * np.exp(_magnus(dew_point) - _magnus(temperature))),
        "irradiance": _tenths(_SOLAR_CONSTANT_W_M2 * 0.75 * height * (1 - 0.7 * cloud**2)),
        "pressure": _tenths(sea_level_hpa * np.exp(here.elevation_m / -_SCALE_HEIGHT_M)),
        "wind_direction": np.rint(240 + 50 * long + 90 * (veer - 0.5)) % 360,
        "wind_speed": _tenths(0.3 + 7 * breeze**2 + 1.5 * height + 0.4 * noise[3]),
    }


class _Sun:
    """The sun over places at times, in local solar time."""

    def __init__(self, day: Floats, latitude: Floats, longitude: Floats) -> None:
        orbit = 2 * np.pi / _YEAR_D * (day + 10)
        self.winter: Floats = np.cos(orbit - 2 * np.pi * 30 / _YEAR_D)
        """1 in the coldest days of the northern winter, -1 in the warmest."""
        sine = -_TILT * np.cos(orbit)
        self._polar = np.sin(latitude) * sine
        self._equatorial = np.cos(latitude) * np.sqrt(1 - sine**2)
        angle = 2 * np.pi * day + longitude - np.pi
        self._cos, self._sin = np.cos(angle), np.sin(angle)

    def _hours_past_noon(self, less: float) -> Floats:
        """The cosine of the hour angle ``less`` hours earlier."""
        turn = less * _HOUR_ANGLE
        cosine: Floats = self._cos * np.cos(turn) + self._sin * np.sin(turn)
        return cosine

    def warmth(self, hours_ago: float = 0) -> Floats:
        """The day's course of temperature, from -1 to 1 at half past two."""
        return self._hours_past_noon(2.5 + hours_ago)

    def height(self) -> Floats:
        """The sine of the sun's elevation half an hour ago, 0 while it is down."""
        height: Floats = np.maximum(self._polar + self._equatorial * self._hours_past_noon(0.5), 0)
        return height


def _waves(draws: Draws, day: Floats, latitude: Floats) -> tuple[Floats, Floats]:
    """Two waves of pressure, of five and twelve days, each from -1 to 1."""
    first, second = 2 * np.pi * draws.shares("phase", np.arange(2))
    short = np.sin(2 * np.pi / 5.3 * day + 2 * latitude + first)
    long = np.sin(2 * np.pi / 11.7 * day - 3 * latitude + second)
    return short, long


def _magnus(celsius: Floats) -> Floats:
    """The logarithm of the saturation vapour pressure, but for a constant."""
    return 17.625 * celsius / (243.04 + celsius)


def _tenths(values: Floats) -> Floats:
    # Adding zero turns -0.0 into 0.0.
    rounded: Floats = np.rint(values * 10) / 10 + 0.0
    return rounded
