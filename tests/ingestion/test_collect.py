from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ionbeam.errors import (
    BrokerUnavailable,
    Fatal,
    IonbeamError,
    MapInvalid,
    PayloadInvalid,
    SourceMalformed,
    SourceRejected,
    SourceUnavailable,
)
from ionbeam.ingestion.collect import Collector, start_command
from ionbeam.messages.codec import decode
from ionbeam.messages.commands import IngestDataCommand
from ionbeam.messages.topology import INGESTION_EXCHANGE, INGESTION_KEY
from ionbeam.observations.columns import raw_schema
from ionbeam.observations.dataset import IngestionMetadata
from ionbeam.observations.timespan import TimeSpan
from ionbeam.stores.local import LocalBatchStore
from ionbeam.stores.sqlite import SqliteStateStore
from ionbeam.testing.clock import VirtualClock
from ionbeam.testing.scenario import a_dataset, a_row

NOW = datetime(2024, 1, 3, tzinfo=UTC)
SPAN = TimeSpan(NOW - timedelta(hours=2), NOW - timedelta(hours=1))


class Feed:
    """A source whose answer the test decides on."""

    name = "feed"

    def __init__(self, metadata: IngestionMetadata) -> None:
        self.metadata = metadata
        self.rows: list[dict[str, Any]] = [a_row("2024-01-02T22:05:00Z"), a_row("2024-01-02T22:06:00Z")]
        self.size = 10
        self.error: IonbeamError | None = None
        self.asked: list[TimeSpan] = []

    async def fetch(self, span: TimeSpan) -> AsyncIterator[pa.RecordBatch]:
        self.asked.append(span)
        if self.rows:
            table = pa.Table.from_pylist(self.rows)
            for batch in table.to_batches(max_chunksize=self.size):
                yield batch
        if self.error:
            raise self.error


class Recorder:
    """A broker of which only the publishing end is of interest."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []
        self.bodies: list[bytes] = []
        self.error: IonbeamError | None = None

    async def publish(self, exchange: str, key: str, body: bytes, *, message_id: str) -> None:
        if self.error:
            raise self.error
        self.told.append((exchange, key, message_id))
        self.bodies.append(body)


class Site:
    def __init__(self, folder: Path) -> None:
        clock = VirtualClock(NOW)
        self.state = SqliteStateStore(folder / "state", clock)
        self.objects = LocalBatchStore(folder / "objects")
        self.broker = Recorder()
        self.feed = Feed(a_dataset())
        self.opened: list[tuple[str, bool]] = []
        self.collector = Collector(self.state, self.objects, self.broker, self.open_source)

    def open_source(self, name: str, use_cache: bool) -> Feed:
        self.opened.append((name, use_cache))
        return self.feed

    async def collect(self, span: TimeSpan = SPAN) -> IngestDataCommand:
        """Ask as somebody does who asks again: the order is opened anew."""
        await self.state.log.append(start_command("feed", span), reopen=True)
        await self.collector.handle(start_command("feed", span))
        return decode(IngestDataCommand, self.broker.bodies[-1])

    async def accept(self, command: IngestDataCommand) -> None:
        await self.state.ingestions.accept(command, 2)

    def payload(self, command: IngestDataCommand) -> pa.Table:
        with self.objects.open(command.payload_location) as file:
            return pq.read_table(file)

    async def open_kinds(self) -> list[str]:
        return [entry.kind for entry in await self.state.log.open_entries()]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    yield site
    await site.state.close()


def test_the_same_order_always_has_the_same_id():
    ids = {
        start_command(source, span).id
        for source in ("feed", "other")
        for span in (SPAN, TimeSpan(SPAN.start, NOW))
        for _ in range(2)
    }
    assert len(ids) == 4
    assert start_command("feed", SPAN, use_cache=True).use_cache


async def test_an_answer_becomes_a_payload_and_an_order_to_ingest_it(site: Site):
    command = await site.collect()
    assert (command.metadata, command.span) == (a_dataset(), SPAN)
    assert site.payload(command).num_rows == 2
    assert site.payload(command).schema.names == raw_schema(a_dataset().ingestion_map).names
    assert site.broker.told == [(INGESTION_EXCHANGE, INGESTION_KEY, str(command.id))]
    assert decode(IngestDataCommand, site.broker.bodies[0]) == command
    assert site.feed.asked == [SPAN]
    assert site.opened == [("feed", False)]


async def test_an_order_that_is_done_is_not_carried_out_again(site: Site):
    """It may be delivered again, by the broker or by a reconciler that could not know."""
    for _ in range(3):
        await site.collector.handle(start_command("feed", SPAN))
    assert site.feed.asked == [SPAN]


async def test_answers_that_wait_to_be_ingested_still_form_a_chain(site: Site):
    first, other = site.feed.rows, [a_row("2024-01-02T22:05:00Z", T=99.0)]
    ids = []
    for rows in (first, other, first):
        site.feed.rows = rows
        ids.append((await site.collect()).id)
    assert len(set(ids)) == 3


async def test_the_start_is_done_and_the_ingestion_due(site: Site):
    await site.collect()
    assert await site.open_kinds() == ["IngestDataCommand"]
    assert [entry.kind async for entry in site.state.log.read()] == [
        "StartSourceCommand",
        "IngestDataCommand",
    ]


async def test_the_cache_is_asked_for_where_the_command_says_so(site: Site):
    await site.collector.handle(start_command("feed", SPAN, use_cache=True))
    assert site.opened == [("feed", True)]


async def test_an_honest_empty_answer_is_ingested_too(site: Site):
    site.feed.rows = []
    command = await site.collect()
    assert site.payload(command).num_rows == 0
    assert set(site.payload(command).schema.names) >= {"time", "lat", "lon", "T", "RH", "station_id"}


@pytest.mark.parametrize("accepted", [True, False])
async def test_the_same_answer_is_the_same_ingestion(site: Site, accepted: bool):
    first = await site.collect()
    if accepted:
        await site.accept(first)
    site.feed.size = 1
    assert await site.collect() == first


async def test_a_changed_answer_is_a_new_ingestion_also_when_it_changes_back(site: Site):
    commands = []
    for value in (1.0, 2.0, 1.0, 2.0):
        site.feed.rows = [a_row("2024-01-02T22:05:00Z", T=value)]
        commands.append(await site.collect())
        await site.accept(commands[-1])
    assert len({command.id for command in commands}) == 4
    assert len({command.payload_location for command in commands}) == 2


async def test_the_same_answer_for_another_span_is_another_ingestion(site: Site):
    first = await site.collect()
    await site.accept(first)
    assert (await site.collect(TimeSpan(SPAN.start, NOW))).id != first.id


async def test_the_same_answer_under_another_map_is_another_ingestion(site: Site):
    first = await site.collect()
    await site.accept(first)
    site.feed.metadata = a_dataset(version=2)
    again = await site.collect()
    assert again.id != first.id
    assert again.payload_location == first.payload_location


async def test_the_ids_are_the_same_wherever_the_same_is_told(site: Site, tmp_path: Path):
    other = Site(tmp_path / "elsewhere")
    assert await site.collect() == await other.collect()
    await other.state.close()


async def test_a_map_is_repaired_before_it_is_passed_on(site: Site):
    variables = site.feed.metadata.ingestion_map.canonical_variables
    variables[0] = variables[0].model_copy(update={"cf_unit": "Celsius"})
    command = await site.collect()
    assert command.metadata.ingestion_map.canonical_variables[0].cf_unit != "Celsius"


async def test_a_source_that_is_away_is_asked_again_later(site: Site):
    site.feed.error = SourceUnavailable("503")
    with pytest.raises(SourceUnavailable):
        await site.collect()
    assert await site.open_kinds() == ["StartSourceCommand"]
    assert site.broker.told == []
    site.feed.error = None
    await site.collect()
    assert await site.open_kinds() == ["IngestDataCommand"]


@pytest.mark.parametrize("error", [SourceRejected("401"), SourceMalformed("not CSV")], ids=repr)
async def test_a_source_that_will_never_answer_is_not_asked_for_ever(site: Site, error: IonbeamError):
    site.feed.error = error
    with pytest.raises(type(error)):
        await site.collect()
    assert await site.open_kinds() == []
    assert site.broker.told == []


async def test_half_an_answer_is_no_answer(site: Site):
    site.feed.size, site.feed.error = 1, SourceUnavailable("connection lost")
    with pytest.raises(SourceUnavailable):
        await site.collect()
    assert [entry async for entry in site.objects.list("raw/")] == []


async def test_a_map_that_cannot_work_is_not_tried_for_ever(site: Site):
    site.feed.metadata = a_dataset(identity=["nowhere"])
    with pytest.raises(MapInvalid):
        await site.collect()
    assert await site.open_kinds() == []
    assert site.feed.asked == []


async def test_an_answer_that_cannot_be_a_payload_is_not_asked_for_again(site: Site):
    site.feed.rows = [a_row("2024-01-02T22:05:00Z", T=[1.0])]
    with pytest.raises(PayloadInvalid):
        await site.collect()
    assert await site.open_kinds() == []


async def test_an_unknown_source_is_not_asked_for_ever(site: Site):
    def unknown(name: str, use_cache: bool) -> Feed:
        raise Fatal(f"no source {name}")

    collector = Collector(site.state, site.objects, site.broker, unknown)
    with pytest.raises(Fatal):
        await collector.handle(start_command("gone", SPAN))
    assert await site.open_kinds() == []


async def test_an_order_that_could_not_be_told_is_told_later(site: Site):
    site.broker.error = BrokerUnavailable()
    with pytest.raises(BrokerUnavailable):
        await site.collect()
    assert await site.open_kinds() == ["StartSourceCommand", "IngestDataCommand"]
    site.broker.error = None
    command = await site.collect()
    assert site.broker.told == [(INGESTION_EXCHANGE, INGESTION_KEY, str(command.id))]
    assert await site.open_kinds() == ["IngestDataCommand"]
