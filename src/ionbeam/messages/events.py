"""Facts that happened; each is told to everybody who listens."""

from uuid import UUID

from pydantic import BaseModel, model_validator

from ionbeam.messages._location import Location
from ionbeam.messages._span import check_span, span_of
from ionbeam.observations.dataset import DatasetMetadata, IngestionMetadata
from ionbeam.observations.timespan import TimeSpan, UtcDatetime


class DataAvailableEvent(BaseModel):
    """Observations of a dataset have landed; ``id`` is that of the ingest command."""

    id: UUID
    metadata: IngestionMetadata
    start_time: UtcDatetime
    end_time: UtcDatetime

    _spans = model_validator(mode="after")(check_span)

    @property
    def span(self) -> TimeSpan:
        """The span that is now covered."""
        return span_of(self)


class DataSetAvailableEvent(BaseModel):
    """A window of a dataset has a new revision; the same revision always has the same ``id``."""

    id: UUID
    metadata: DatasetMetadata
    dataset_location: Location
    """Object key of the window's current Parquet file."""
    start_time: UtcDatetime
    end_time: UtcDatetime

    _spans = model_validator(mode="after")(check_span)

    @property
    def span(self) -> TimeSpan:
        """The window."""
        return span_of(self)
