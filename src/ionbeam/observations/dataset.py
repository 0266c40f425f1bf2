"""A dataset and how raw columns become its canonical ones: the models every message carries.

Input is lenient: unknown keys are ignored and only a dataset's name is required. Output has the
published JSON form exactly; ``identity`` appears only where a map uses it, so older clients see
nothing new.
"""

from datetime import timedelta
from typing import Any

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from ionbeam.observations.variable import (
    CanonicalVariable,
    LatitudeAxis,
    LongitudeAxis,
    MetadataVariable,
    TimeAxis,
)

SHORTEST_WINDOW, LONGEST_WINDOW = timedelta(seconds=1), timedelta(days=366)


class Link(BaseModel):
    """A link to more about a dataset."""

    mime_type: str
    title: str
    href: str


class DatasetMetadata(BaseModel):
    """All data of one feed under one description."""

    name: str = Field(min_length=1)
    description: str = ""
    aggregation_span: timedelta = timedelta(days=1)
    """Window length, whole seconds up to 366 days; windows start at UTC-epoch multiples of it."""
    source_links: list[Link] = []
    keywords: list[str] = []
    subject_to_change_window: timedelta = timedelta(0)
    """Allowed lateness: a window is first built this long after its end."""

    @field_validator("aggregation_span")
    @classmethod
    def _whole_seconds(cls, value: timedelta) -> timedelta:
        # Windows and their files are named by the second.
        if value.microseconds or not SHORTEST_WINDOW <= value <= LONGEST_WINDOW:
            raise ValueError("aggregation_span must be whole seconds, from PT1S to P366D, such as PT1H")
        return value

    @field_validator("subject_to_change_window")
    @classmethod
    def _not_negative(cls, value: timedelta) -> timedelta:
        if value < timedelta(0):
            raise ValueError("subject_to_change_window must not be negative")
        return value


class DataIngestionMap(BaseModel):
    """Which raw column is which axis, variable or metadata."""

    datetime: TimeAxis
    lat: LatitudeAxis
    lon: LongitudeAxis
    canonical_variables: list[CanonicalVariable]
    metadata_variables: list[MetadataVariable]
    identity: list[str] | None = None
    """Metadata columns that, with the time, make an observation one; default: all but ``*_qc``."""

    def identity_columns(self) -> list[str]:
        """Columns that tell two observations of one time apart; the position where none is named."""
        if self.identity is not None:
            return list(self.identity) or ["lat", "lon"]
        tags = [v.column for v in self.metadata_variables if not v.is_quality_flag]
        return list(dict.fromkeys(tags)) or ["lat", "lon"]

    @model_serializer(mode="wrap")
    def _without_unused_identity(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        form: dict[str, Any] = handler(self)
        if form.get("identity") is None:
            form.pop("identity", None)
        return form


class IngestionMetadata(BaseModel):
    """A dataset together with its map."""

    dataset: DatasetMetadata
    ingestion_map: DataIngestionMap
    version: int = 1
