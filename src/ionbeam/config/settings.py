"""What a configuration may say: every key, its type and its default.

The key names are published; the attribute docstrings are the reference page's text.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from ionbeam.observations.timespan import parse_duration
from ionbeam.observations.variable import CanonicalStandard

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


def _url_of(*schemes: str) -> AfterValidator:
    """A check that a URL has one of ``schemes`` and a host."""

    def check(value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(f"a URL is needed that starts with {' or '.join(f'{s}://' for s in schemes)}")
        return value

    return AfterValidator(check)


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than zero, such as PT5M")
    return value


def _not_negative(value: timedelta) -> timedelta:
    if value < timedelta(0):
        raise ValueError("must not be negative")
    return value


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
Lag = Annotated[Duration, AfterValidator(_not_negative)]


class Section(BaseModel):
    """A block of the file; keys it does not know are warned about before it is built."""

    model_config = ConfigDict(frozen=True, validate_default=True)


class BrokerSettings(Section):
    """How messages travel."""

    url: Annotated[str, _url_of("amqp", "amqps")] | None = Field(default=None, repr=False)
    """RabbitMQ for `ionbeam up`, such as `amqp://guest:guest@localhost:5672/`; without it messages stay in
    the process."""


class RedisSettings(Section):
    """Where state rests when several processes share it."""

    redis_url: Annotated[str, _url_of("redis", "rediss", "unix")] | None = Field(default=None, repr=False)
    """Such as `redis://localhost:6379`; without it state rests in SQLite below `data_dir`."""


class InfluxSettings(Section):
    """InfluxDB as the store of observations."""

    influxdb_url: Annotated[str, _url_of("http", "https")] | None = Field(default=None, repr=False)
    """Such as `http://localhost:8086`."""
    influxdb_org: str = ""
    """Organisation."""
    influxdb_token: str = Field(default="", repr=False)
    """Access token; best given as `${INFLUXDB_TOKEN}`."""
    influxdb_bucket: str = "ionbeam"
    """Bucket that holds all datasets."""


class BatchStoreSettings(Section):
    """Where Parquet objects lie: payloads, observations, finished windows."""

    type: Literal["local_filesystem"] = "local_filesystem"
    """Kind of store."""
    data_path: Path | None = None
    """Folder of the objects; below `data_dir` when not given."""


class AggregatorSettings(Section):
    """How windows are built and where they are published."""

    data_path: Path | None = None
    """Folder of the finished dataset files; in the object store when not given."""
    delete_after_export: bool = False
    """Delete observations once every window over them is built; late data is then merged with the file."""
    concurrency: PositiveInt = 1
    """Windows built at the same time."""
    poll_interval_seconds: PositiveFloat = 3.0
    """How often, in seconds, due windows are looked for when no event wakes the builder."""


class CoordinatorSettings(Section):
    """Which windows are worth building."""

    only_process_spanned_windows: bool = True
    """Look only at the windows an event touches; there is no other way any more."""
    allow_incomplete_windows: bool = False
    """Build windows that are not covered, have a gap or are still subject to change."""


class ScheduledSource(Section):
    """When one source is asked, and for what."""

    source_name: Annotated[str, Field(min_length=1)]
    """Name of the source."""
    window_size: PositiveDuration
    """Length of the span asked for, such as `PT1H`."""
    trigger_interval: PositiveDuration
    """How often it is asked, at multiples since the UTC epoch."""
    window_lag: Lag = timedelta(0)
    """How long before the trigger the span ends: the delay with which the feed publishes."""


class SchedulerSettings(Section):
    """When sources are asked by themselves."""

    enabled: bool = True
    """Whether anything is triggered at all."""
    windows: tuple[ScheduledSource, ...] = ()
    """One entry per source and rhythm; may also be given as `sources.scheduler.windows`."""


class VarnoMapping(Section):
    """One ODB variable number and the variables it is taken from."""

    varno: NonNegativeInt
    """ODB variable number."""
    mapped_from: tuple[CanonicalStandard, ...] = ()
    """Canonical variables: `standard_name`, `level`, `method`, `period`."""


class OdbSettings(Section):
    """ODB files for numerical weather prediction."""

    input_path: Path | None = None
    """Folder of the dataset files."""
    output_path: Path | None = None
    """Folder of the ODB files."""
    variable_map: tuple[VarnoMapping, ...] = ()
    """Which canonical variable becomes which ODB variable number."""


class PyGeoApiSettings(Section):
    """GeoParquet files and the configuration of the pygeoapi that serves them."""

    input_path: Path | None = None
    """Folder of the dataset files."""
    output_path: Path | None = None
    """Folder of the GeoParquet files."""
    config_path: Path | None = None
    """The pygeoapi configuration that is kept up to date."""


class ProjectionsSettings(Section):
    """Who reads finished windows."""

    odb_service: OdbSettings | None = None
    """ODB files; absent means off."""
    pygeoapi_service: PyGeoApiSettings | None = None
    """GeoParquet for OGC EDR; absent means off."""


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


class LoggingSettings(Section):
    """What is logged and where."""

    level: Annotated[LogLevel, BeforeValidator(_upper)] = "INFO"
    """The least severe level that is logged, in any case."""
    log_dir: Path | None = None
    """Folder for a log file of JSON lines, besides standard error."""
    log_name: Annotated[str, Field(min_length=1)] = "ionbeam.log"
    """Name of that file."""


class Settings(Section):
    """The whole file."""

    data_dir: Path = Path("ionbeam-data")
    """Folder of the embedded stores; `--data-dir` overrides it."""
    observation_store: Literal["parquet"] = "parquet"
    """Where canonical observations are kept."""
    broker: BrokerSettings = BrokerSettings()
    redis: RedisSettings = RedisSettings()
    influxdb_common: InfluxSettings = InfluxSettings()
    arrow_store: BatchStoreSettings = BatchStoreSettings()
    dataset_aggregator: AggregatorSettings = AggregatorSettings()
    dataset_coordinator: CoordinatorSettings = CoordinatorSettings()
    sources: dict[str, dict[str, Any]] = Field(default={}, repr=False)
    """One block per source, checked by the source's own settings when it is made."""
    scheduler: SchedulerSettings = SchedulerSettings()
    projections: ProjectionsSettings = ProjectionsSettings()
    logging: LoggingSettings = LoggingSettings()
