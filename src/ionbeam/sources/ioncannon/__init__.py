"""IonCannon: synthetic stations with believable weather, for demonstrations and load tests.

::

    Network   None. Stations SYNTH_0000, SYNTH_0001, … stand still at places drawn inside the bounds.
    Licence   None needed.
    Cadence   Any: times are epoch multiples of the measurement frequency.
    Limits    A million observations per second and core.
    Quirks    Wanted ones, each a share from 0 to 1. Late: a station's hour arrives when the next
              one starts. Gap: a station's hour never arrives. Duplicate: a row comes twice.
              Malformed: a row comes once more, without a time or at an impossible place.
              Disorder: rows change places within their batch.

Every number is a function of (seed, station, time) alone: however a span is split, the parts bring
the same rows. A row comes with the fetch whose span holds its delivery: that is the row's own time,
or, for a late row, the end of its hour.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, Field, model_validator

from ionbeam.observations.columns import LATITUDE, LONGITUDE, TIME, TIME_TYPE, raw_schema
from ionbeam.observations.dataset import DataIngestionMap, DatasetMetadata, IngestionMetadata
from ionbeam.observations.timespan import TimeSpan
from ionbeam.observations.variable import (
    CanonicalVariable,
    LatitudeAxis,
    LongitudeAxis,
    MetadataVariable,
    TimeAxis,
)
from ionbeam.ports import Fetcher
from ionbeam.sources.ioncannon.deliveries import Deliveries, Fault, Rows, Shares
from ionbeam.sources.ioncannon.draws import Draws
from ionbeam.sources.ioncannon.weather import Places, observe

DATASET = DatasetMetadata(
    name="ioncannon",
    description="Synthetic weather stations for demonstrations and load tests",
    aggregation_span=timedelta(hours=1),
    keywords=["synthetic", "load test"],
)


def _variable(name: str, unit: str, level: float, method: str, period: str) -> CanonicalVariable:
    """A variable whose column is named as it will be published."""
    unnamed = CanonicalVariable(
        column="", standard_name=name, cf_unit=unit, level=level, method=method, period=period
    )
    return unnamed.model_copy(update={"column": unnamed.canonical_name()})


VARIABLES = {
    "sea_level_pressure": _variable("air_pressure_at_mean_sea_level", "hPa", 2, "mean", "PT1H"),
    "temperature_maximum": _variable("air_temperature", "degC", 2, "maximum", "PT1H"),
    "temperature_minimum": _variable("air_temperature", "degC", 2, "minimum", "PT1H"),
    "temperature": _variable("air_temperature", "degC", 2, "point", "PT0S"),
    "dew_point": _variable("dew_point_temperature", "degC", 2, "point", "PT0S"),
    "humidity": _variable("relative_humidity", "%", 2, "point", "PT0S"),
    "irradiance": _variable("solar_irradiance", "W m-2", 2, "mean", "PT1H"),
    "pressure": _variable("surface_air_pressure", "hPa", 2, "point", "PT0S"),
    "wind_direction": _variable("wind_from_direction", "degree", 10, "mean", "PT1H"),
    "wind_speed": _variable("wind_speed", "m s-1", 10, "mean", "PT1H"),
}
"""The variable of each quantity the weather gives."""

METADATA = IngestionMetadata(
    dataset=DATASET,
    ingestion_map=DataIngestionMap(
        datetime=TimeAxis(),
        lat=LatitudeAxis(standard_name="latitude", cf_unit="degrees_north"),
        lon=LongitudeAxis(standard_name="longitude", cf_unit="degrees_east"),
        canonical_variables=list(VARIABLES.values()),
        metadata_variables=[
            MetadataVariable(column="station_id"),
            MetadataVariable(column="sensor_type"),
            MetadataVariable(column="location_type"),
        ],
        identity=["station_id"],
    ),
)
SCHEMA = raw_schema(METADATA.ingestion_map)


class GeographicBounds(BaseModel):
    """The box stations stand in, in degrees."""

    min_lat: float = Field(default=47, ge=-90, le=90)
    """Southern edge."""
    max_lat: float = Field(default=55, ge=-90, le=90)
    """Northern edge."""
    min_lon: float = Field(default=5, ge=-180, le=180)
    """Western edge."""
    max_lon: float = Field(default=15, ge=-180, le=180)
    """Eastern edge."""

    @model_validator(mode="after")
    def _in_order(self) -> "GeographicBounds":
        if self.min_lat > self.max_lat or self.min_lon > self.max_lon:
            raise ValueError("the bounds need min_lat <= max_lat and min_lon <= max_lon")
        return self


class IonCannonSettings(BaseModel):
    """The block ``ioncannon`` of the configuration, in both published spellings."""

    num_stations: int = Field(default=1000, ge=1)
    """How many stations measure."""
    measurement_frequency: timedelta = Field(default=timedelta(minutes=10), gt=timedelta(0))
    """Time between measurements; they are taken at its multiples since the UTC epoch."""
    measurement_frequency_minutes: float | None = Field(default=None, gt=0)
    """The same in minutes; wins where both are given."""
    geographic_bounds: GeographicBounds = GeographicBounds()
    """The box stations stand in, in degrees."""
    min_lat: float | None = None
    """Wins over `geographic_bounds.min_lat`."""
    max_lat: float | None = None
    """Wins over `geographic_bounds.max_lat`."""
    min_lon: float | None = None
    """Wins over `geographic_bounds.min_lon`."""
    max_lon: float | None = None
    """Wins over `geographic_bounds.max_lon`."""
    metadata_cardinality: int = Field(default=10, ge=1)
    """How many sensor types and location types there are."""
    data_path: Path | None = None
    """Accepted and without effect."""
    seed: int = 0
    """Another seed makes other stations and other weather."""
    late_share: float = Field(default=0, ge=0, le=1)
    """Share of a station's hours that arrive when the next hour starts."""
    gap_share: float = Field(default=0, ge=0, le=1)
    """Share of a station's hours that never arrive."""
    duplicate_share: float = Field(default=0, ge=0, le=1)
    """Share of rows that come twice."""
    malformed_share: float = Field(default=0, ge=0, le=1)
    """Share of rows that come once more without a time or at an impossible place."""
    disorder_share: float = Field(default=0, ge=0, le=1)
    """Share of rows that change places within their batch."""

    @model_validator(mode="after")
    def _one_spelling(self) -> "IonCannonSettings":
        if self.measurement_frequency_minutes is not None:
            self.measurement_frequency = timedelta(minutes=self.measurement_frequency_minutes)
        flat = {name: getattr(self, name) for name in GeographicBounds.model_fields}
        given = {name: value for name, value in flat.items() if value is not None}
        self.geographic_bounds = GeographicBounds(**{**self.geographic_bounds.model_dump(), **given})
        return self

    def shares(self) -> Shares:
        """How much of the data is to have which fault."""
        return Shares(
            self.late_share, self.gap_share, self.duplicate_share, self.malformed_share, self.disorder_share
        )


class IonCannon:
    """Synthetic stations as a source; nothing is fetched from anywhere."""

    name = "ioncannon"
    metadata = METADATA
    settings_model = IonCannonSettings
    max_span = timedelta(days=1)

    def __init__(self, settings: IonCannonSettings, fetcher: Fetcher | None = None) -> None:
        bounds = settings.geographic_bounds
        self._draws = Draws(settings.seed)
        self._places = Places.drawn(
            self._draws, settings.num_stations, bounds.min_lat, bounds.max_lat, bounds.min_lon, bounds.max_lon
        )
        self._deliveries = Deliveries(
            self._draws, settings.num_stations, settings.measurement_frequency, settings.shares()
        )
        stations = np.arange(settings.num_stations)
        kinds = {
            name: (self._draws.shares(name, stations) * settings.metadata_cardinality).astype(np.int64)
            for name in ("sensor_type", "location_type")
        }
        self._tags = {
            "station_id": pa.array([f"SYNTH_{n:04d}" for n in stations.tolist()]),
            **{name: pa.array([f"{name}_{n}" for n in kind.tolist()]) for name, kind in kinds.items()},
        }

    async def fetch(self, span: TimeSpan) -> AsyncIterator[pa.RecordBatch]:
        """Batches of ``SCHEMA`` with at most 65 536 rows, in order of delivery."""
        deliveries = self._deliveries.within(span)
        while (rows := await asyncio.to_thread(next, deliveries, None)) is not None:
            yield await asyncio.to_thread(self._batch, rows)

    def _batch(self, rows: Rows) -> pa.RecordBatch:
        values = observe(self._draws, self._places, rows.station, rows.time_ns)
        here = self._places.take(rows.station)
        time = pa.array(rows.time_ns, mask=rows.fault == Fault.NO_TIME).cast(TIME_TYPE)
        columns = {
            TIME: time,
            LATITUDE: np.where(rows.fault == Fault.LATITUDE, 95.0, here.latitude),
            LONGITUDE: np.where(rows.fault == Fault.LONGITUDE, 400.0, here.longitude),
            **{VARIABLES[quantity].column: value for quantity, value in values.items()},
            **{name: tags.take(pa.array(rows.station)) for name, tags in self._tags.items()},
        }
        return pa.RecordBatch.from_pydict(columns, schema=SCHEMA)
