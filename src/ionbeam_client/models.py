"""Every model that travels in messages."""

from ionbeam.messages.commands import IngestDataCommand, StartSourceCommand
from ionbeam.messages.events import DataAvailableEvent, DataSetAvailableEvent
from ionbeam.observations.dataset import DataIngestionMap, DatasetMetadata, IngestionMetadata, Link
from ionbeam.observations.variable import (
    BaseVariable,
    CanonicalStandard,
    CanonicalVariable,
    LatitudeAxis,
    LongitudeAxis,
    MetadataVariable,
    TimeAxis,
)

__all__ = [
    "BaseVariable",
    "CanonicalStandard",
    "CanonicalVariable",
    "DataAvailableEvent",
    "DataIngestionMap",
    "DataSetAvailableEvent",
    "DatasetMetadata",
    "IngestDataCommand",
    "IngestionMetadata",
    "LatitudeAxis",
    "Link",
    "LongitudeAxis",
    "MetadataVariable",
    "StartSourceCommand",
    "TimeAxis",
]
