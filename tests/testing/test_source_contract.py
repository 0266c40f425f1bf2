"""The suite is worth something only if it fails for sources that break a promise."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from ionbeam.observations.columns import TIME_TYPE
from ionbeam.observations.dataset import IngestionMetadata
from ionbeam.observations.timespan import TimeSpan
from ionbeam.testing.source_contract import SourceContract

START = datetime(2024, 1, 1, tzinfo=UTC)
SPAN = TimeSpan(START, START + timedelta(hours=1))
METADATA = IngestionMetadata.model_validate(
    {
        "dataset": {"name": "d"},
        "ingestion_map": {
            "datetime": {"from_col": "t"},
            "lat": {"standard_name": "latitude", "cf_unit": "degrees_north"},
            "lon": {"standard_name": "longitude", "cf_unit": "degrees_east"},
            "canonical_variables": [{"column": "v", "standard_name": "air_temperature", "cf_unit": "degC"}],
            "metadata_variables": [],
        },
    }
)
SCHEMA = pa.schema([("t", TIME_TYPE), ("lat", pa.float64()), ("lon", pa.float64()), ("v", pa.float64())])

Break = Callable[["Minutely", TimeSpan, list[pa.RecordBatch]], list[pa.RecordBatch]]


class Minutely:
    """A row a minute, and one promise broken."""

    name = "minutely"
    metadata = METADATA

    def __init__(self, break_promise: Break) -> None:
        self.break_promise = break_promise
        self.fetches = 0

    async def fetch(self, span: TimeSpan) -> AsyncIterator[pa.RecordBatch]:
        self.fetches += 1
        for batch in self.break_promise(self, span, batches(span)):
            yield batch


def batches(span: TimeSpan) -> list[pa.RecordBatch]:
    times = [t for n in range(-1, 62) if span.start <= (t := START + timedelta(minutes=n)) < span.end]
    columns = {"t": times, "lat": [1.0] * len(times), "lon": [2.0] * len(times), "v": [3.0] * len(times)}
    whole = pa.RecordBatch.from_pydict(columns, SCHEMA)
    return [part for part in (whole.slice(0, 10), whole.slice(10)) if part.num_rows]


def keep(source: Minutely, span: TimeSpan, parts: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    return parts


def nothing(source: Minutely, span: TimeSpan, parts: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    return []


def without_a_column(source: Minutely, span: TimeSpan, parts: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    return [part.drop_columns(["v"]) for part in parts]


def with_two_schemas(source: Minutely, span: TimeSpan, parts: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    return [*parts[:-1], *(part.select(["v", "t", "lat", "lon"]) for part in parts[-1:])]


def with_an_empty_batch(
    source: Minutely, span: TimeSpan, parts: list[pa.RecordBatch]
) -> list[pa.RecordBatch]:
    return [*parts, pa.RecordBatch.from_pylist([], SCHEMA)]


def without_zone(source: Minutely, span: TimeSpan, parts: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    naive = SCHEMA.set(0, pa.field("t", pa.timestamp("ns")))
    return [part.cast(naive) for part in parts]


def end_included(source: Minutely, span: TimeSpan, parts: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    return batches(TimeSpan(span.start, span.end + timedelta(microseconds=1)))


def too_early(source: Minutely, span: TimeSpan, parts: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    return batches(TimeSpan(span.start - timedelta(minutes=1), span.end))


def other_every_time(source: Minutely, span: TimeSpan, parts: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    return parts if source.fetches % 2 else parts[::-1]


def start_excluded(source: Minutely, span: TimeSpan, parts: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    return batches(TimeSpan(min(span.start + timedelta(microseconds=1), span.end), span.end))


@pytest.mark.parametrize(
    ("break_promise", "clause"),
    [
        (nothing, SourceContract.test_it_has_rows_in_the_span_of_this_suite),
        (without_a_column, SourceContract.test_batches_hold_every_column_of_the_map),
        (with_two_schemas, SourceContract.test_all_batches_of_a_fetch_have_one_schema),
        (with_an_empty_batch, SourceContract.test_no_batch_is_empty),
        (without_zone, SourceContract.test_times_are_in_utc),
        (too_early, SourceContract.test_rows_lie_at_or_after_the_start_and_before_the_end),
        (end_included, SourceContract.test_a_row_at_the_end_of_one_span_belongs_to_the_next),
        (start_excluded, SourceContract.test_a_row_at_the_end_of_one_span_belongs_to_the_next),
        (other_every_time, SourceContract.test_the_same_span_brings_the_same_rows_in_the_same_order),
        (end_included, SourceContract.test_the_parts_of_a_span_bring_the_rows_of_the_whole),
        (start_excluded, SourceContract.test_the_parts_of_a_span_bring_the_rows_of_the_whole),
        (end_included, SourceContract.test_an_empty_span_brings_nothing_and_no_error),
    ],
)
async def test_a_broken_promise_is_noticed(break_promise, clause):
    suite = SourceContract()
    suite.span = SPAN
    await clause(suite, Minutely(keep))
    with pytest.raises(AssertionError):
        await clause(suite, Minutely(break_promise))
