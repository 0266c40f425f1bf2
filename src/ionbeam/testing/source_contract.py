"""What every `Source` must do, as tests to inherit.

    class TestMySource(SourceContract):
        span = TimeSpan(...)  # a span in which the source has rows, best with some at its start

        @pytest.fixture
        def source(self): return MySource(...)

Let the source answer from a recording or a fake server whose content does not change meanwhile, and
without late data: these tests hold it to its span. Run pytest-asyncio in auto mode.
"""

# ruff: noqa: D102 - a contract's clauses are told by their names

from datetime import datetime
from itertools import pairwise

import pyarrow as pa

from ionbeam.observations.columns import TIME, check_identity, raw_schema
from ionbeam.observations.timespan import MICROSECOND, TimeSpan
from ionbeam.ports import Source


class SourceContract:
    """Inherit, set ``span``, and give a ``source`` fixture."""

    span: TimeSpan

    async def test_it_has_rows_in_the_span_of_this_suite(self, source: Source) -> None:
        assert await rows_of(source, self.span)

    async def test_it_tells_its_name_its_dataset_and_its_map(self, source: Source) -> None:
        assert source.name
        assert source.metadata.dataset.name
        assert source.metadata.ingestion_map.canonical_variables
        check_identity(source.metadata.ingestion_map)

    async def test_batches_hold_every_column_of_the_map(self, source: Source) -> None:
        expected = set(raw_schema(source.metadata.ingestion_map).names)
        for batch in await batches_of(source, self.span):
            assert expected <= set(batch.schema.names)

    async def test_all_batches_of_a_fetch_have_one_schema(self, source: Source) -> None:
        first, *others = await batches_of(source, self.span)
        for batch in others:
            assert batch.schema.equals(first.schema)

    async def test_no_batch_is_empty(self, source: Source) -> None:
        assert all(batch.num_rows for batch in await batches_of(source, self.span))

    async def test_times_are_in_utc(self, source: Source) -> None:
        for batch in await batches_of(source, self.span):
            kind = batch.schema.field(time_column(source)).type
            assert pa.types.is_timestamp(kind), f"{kind} tells no time"
            assert kind.tz == "UTC"

    async def test_rows_lie_at_or_after_the_start_and_before_the_end(self, source: Source) -> None:
        for time in await times_of(source, self.span):
            assert self.span.start <= time < self.span.end

    async def test_a_row_at_the_end_of_one_span_belongs_to_the_next(self, source: Source) -> None:
        time = (await times_of(source, self.span))[-1]
        if time == self.span.start:
            return
        before = await times_of(source, TimeSpan(self.span.start, time))
        after = await times_of(source, TimeSpan(time, time + MICROSECOND))
        assert time not in before
        assert time in after

    async def test_the_same_span_brings_the_same_rows_in_the_same_order(self, source: Source) -> None:
        assert await rows_of(source, self.span) == await rows_of(source, self.span)

    async def test_the_parts_of_a_span_bring_the_rows_of_the_whole(self, source: Source) -> None:
        cuts = [self.span.start + self.span.length * share for share in (0, 0.25, 0.6, 1)]
        parts: list[str] = []
        for start, end in pairwise(cuts):
            parts += await rows_of(source, TimeSpan(start, end))
        assert sorted(parts) == sorted(await rows_of(source, self.span))

    async def test_an_empty_span_brings_nothing_and_no_error(self, source: Source) -> None:
        for time in (self.span.start, self.span.start + self.span.length / 2):
            assert await batches_of(source, TimeSpan(time, time)) == []

    async def test_a_fetch_that_is_given_up_can_be_done_again(self, source: Source) -> None:
        given_up = aiter(source.fetch(self.span))
        await anext(given_up)
        if closing := getattr(given_up, "aclose", None):
            await closing()
        assert await rows_of(source, self.span)


async def batches_of(source: Source, span: TimeSpan) -> list[pa.RecordBatch]:
    """All batches of a fetch."""
    return [batch async for batch in source.fetch(span)]


async def rows_of(source: Source, span: TimeSpan) -> list[str]:
    """All rows of a fetch, each as text that can be compared and sorted."""
    return [repr(row) for batch in await batches_of(source, span) for row in batch.to_pylist()]


async def times_of(source: Source, span: TimeSpan) -> list[datetime]:
    """The times of a fetch's rows in order, to the microsecond; rows without one are left out."""
    times: list[datetime] = []
    for batch in await batches_of(source, span):
        column = batch.column(time_column(source)).drop_null().cast(pa.timestamp("us", tz="UTC"), safe=False)
        times += column.to_pylist()
    return sorted(times)


def time_column(source: Source) -> str:
    """The source's own name of the time."""
    return source.metadata.ingestion_map.datetime.from_col or TIME
