"""Published names: exchanges, queues and the columns every dataset has."""

from datetime import timedelta

from ionbeam.messages.topology import (
    DATA_AVAILABLE,
    DATASET_AVAILABLE,
    INGESTION_EXCHANGE,
    INGESTION_KEY,
    INGESTION_QUEUE,
)
from ionbeam.observations.columns import AXES, LATITUDE, LONGITUDE, TIME

MAX_CACHE_PERIOD = timedelta(days=7)
"""How long `ionbeam_client.cache` answers with what it kept."""

__all__ = [
    "AXES",
    "DATASET_AVAILABLE",
    "DATA_AVAILABLE",
    "INGESTION_EXCHANGE",
    "INGESTION_KEY",
    "INGESTION_QUEUE",
    "LATITUDE",
    "LONGITUDE",
    "MAX_CACHE_PERIOD",
    "TIME",
]
