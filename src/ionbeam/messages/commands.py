"""Orders to do something; each goes to one work queue."""

from typing import Any
from uuid import UUID

from pydantic import BaseModel, SerializerFunctionWrapHandler, model_serializer, model_validator

from ionbeam.messages._location import Location
from ionbeam.messages._span import check_span, span_of
from ionbeam.observations.dataset import IngestionMetadata
from ionbeam.observations.timespan import TimeSpan, UtcDatetime


class StartSourceCommand(BaseModel):
    """Ask a source for what it has in ``[start_time, end_time)``."""

    id: UUID
    source_name: str
    start_time: UtcDatetime
    end_time: UtcDatetime
    use_cache: bool = False
    """Answer from the fetch cache alone, or fail; written only where it is set."""

    _spans = model_validator(mode="after")(check_span)

    @property
    def span(self) -> TimeSpan:
        """The span asked for."""
        return span_of(self)

    @model_serializer(mode="wrap")
    def _without_unset_cache(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        form: dict[str, Any] = handler(self)
        if not self.use_cache:
            form.pop("use_cache", None)
        return form


class IngestDataCommand(BaseModel):
    """Ingest a stored payload under a map; claims that the payload is all there is in the span."""

    id: UUID
    metadata: IngestionMetadata
    payload_location: Location
    """Object key of the raw Parquet payload, with or without ``.parquet``."""
    start_time: UtcDatetime
    end_time: UtcDatetime

    _spans = model_validator(mode="after")(check_span)

    @property
    def span(self) -> TimeSpan:
        """The span the payload claims to cover."""
        return span_of(self)
