"""The typed settings tree: one YAML file, environment variables inside it, defaults for all the rest.

`load` finds and reads the file, `Settings` is what it may say, `shown` is what may be shown of it.
Nothing here decides whether a service is used; that is `wiring`'s business.
"""

from ionbeam.config.loading import CONFIG_PATH_VARIABLE, Loaded, load
from ionbeam.config.secrets import shown
from ionbeam.config.settings import (
    AggregatorSettings,
    BatchStoreSettings,
    BrokerSettings,
    CoordinatorSettings,
    InfluxSettings,
    LoggingSettings,
    OdbSettings,
    ProjectionsSettings,
    PyGeoApiSettings,
    RedisSettings,
    ScheduledSource,
    SchedulerSettings,
    Settings,
    VarnoMapping,
)

__all__ = [
    "CONFIG_PATH_VARIABLE",
    "AggregatorSettings",
    "BatchStoreSettings",
    "BrokerSettings",
    "CoordinatorSettings",
    "InfluxSettings",
    "Loaded",
    "LoggingSettings",
    "OdbSettings",
    "ProjectionsSettings",
    "PyGeoApiSettings",
    "RedisSettings",
    "ScheduledSource",
    "SchedulerSettings",
    "Settings",
    "VarnoMapping",
    "load",
    "shown",
]
