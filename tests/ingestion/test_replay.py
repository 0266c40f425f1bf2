from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ionbeam.errors import BrokerUnavailable, InvalidInput
from ionbeam.ingestion.ingest import Ingestion
from ionbeam.ingestion.payload import write_payload
from ionbeam.ingestion.replay import Replay, read_rejects
from ionbeam.messages.codec import decode
from ionbeam.messages.commands import IngestDataCommand
from ionbeam.messages.topology import INGESTION_EXCHANGE, INGESTION_KEY
from ionbeam.observations.timespan import TimeSpan, parse_time
from ionbeam.records import IngestionStatus, QuarantineEntry, QuarantineStatus, Tally
from ionbeam.stores.local import LocalBatchStore
from ionbeam.stores.parquet import ParquetObservationStore
from ionbeam.stores.sqlite import SqliteStateStore
from ionbeam.testing.clock import VirtualClock
from ionbeam.testing.scenario import a_dataset, a_row

SPAN = TimeSpan(parse_time("2024-01-01T10:00:00Z"), parse_time("2024-01-01T11:00:00Z"))
ROWS = [
    a_row("2024-01-01T10:05:00Z", extra=1),
    a_row("2024-01-01T10:06:00Z", lat=95.0, extra=2),
    a_row("yesterday", extra=3),
]


class Recorder:
    """A broker of which only the publishing end is of interest."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, bytes, str]] = []
        self.is_up = True

    async def publish(self, exchange: str, key: str, body: bytes, *, message_id: str) -> None:
        if not self.is_up:
            raise BrokerUnavailable
        self.told.append((exchange, key, body, message_id))


class Site:
    def __init__(self, folder: Path) -> None:
        clock = VirtualClock(datetime(2024, 1, 3, tzinfo=UTC))
        self.state = SqliteStateStore(folder / "state", clock)
        self.objects = LocalBatchStore(folder / "objects")
        self.broker = Recorder()
        observations = ParquetObservationStore(self.objects)
        self.ingestion = Ingestion(self.state, self.objects, observations, self.broker, clock)
        self.replay = Replay(self.state, self.objects, self.broker)

    async def quarantined(self, rows: list[dict[str, Any]]) -> QuarantineEntry:
        """Ingest rows some of which are refused."""
        payload = await write_payload(self.objects, "story", SPAN, [pa.Table.from_pylist(rows)])
        command = IngestDataCommand(
            id=UUID(int=1),
            metadata=a_dataset(),
            payload_location=payload.location,
            start_time=SPAN.start,
            end_time=SPAN.end,
        )
        await self.ingestion.handle(command)
        self.broker.told.clear()
        [entry] = await self.state.quarantine.list()
        return entry


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    yield site
    await site.state.close()


async def test_refused_rows_are_shown_with_what_was_wrong(site: Site):
    entry = await site.quarantined(ROWS)
    shown = read_rejects(site.objects, entry).to_pylist()
    assert [(row["_row"], row["_column"], row["_value"]) for row in shown] == [
        (1, "lat", "95"),
        (2, "time", "yesterday"),
    ]


async def test_the_refused_rows_alone_are_submitted_again(site: Site):
    entry = await site.quarantined(ROWS)
    command = await site.replay.replay(entry)
    [(exchange, key, body, message_id)] = site.broker.told
    assert (exchange, key, message_id) == (INGESTION_EXCHANGE, INGESTION_KEY, str(command.id))
    assert decode(IngestDataCommand, body) == command
    assert command.span == TimeSpan(SPAN.start, SPAN.start), "single rows claim nothing"
    with site.objects.open(command.payload_location) as file:
        payload = pq.read_table(file)
    assert payload.schema.names == list(ROWS[0])
    assert payload.to_pylist() == ROWS[1:]


async def test_an_entry_is_marked_once_it_is_submitted(site: Site):
    entry = await site.quarantined(ROWS)
    site.broker.is_up = False
    with pytest.raises(BrokerUnavailable):
        await site.replay.replay(entry)
    assert await site.state.quarantine.get(entry.id) == entry
    site.broker.is_up = True
    await site.replay.replay(entry)
    assert await site.state.quarantine.get(entry.id) == replace(entry, status=QuarantineStatus.REPLAYED)


async def test_twice_is_the_same_as_once(site: Site):
    entry = await site.quarantined(ROWS)
    first = await site.replay.replay(entry)
    assert await site.replay.replay(entry) == first
    for _ in range(2):
        await site.ingestion.handle(first)
    lines = await site.state.ingestions.books()
    assert [line.tally for line in lines] == [Tally(5, stored=1, rejected=4)]


async def test_what_is_wrong_still_is_refused_again_under_an_entry_of_its_own(site: Site):
    entry = await site.quarantined(ROWS)
    await site.ingestion.handle(await site.replay.replay(entry))
    entries = {e.ingestion_id: e for e in await site.state.quarantine.list()}
    assert len(entries) == 2
    again = next(e for ingestion_id, e in entries.items() if ingestion_id != entry.ingestion_id)
    assert (again.rows, again.reasons, again.status) == (2, entry.reasons, QuarantineStatus.OPEN)
    assert (await site.replay.replay(again)).id != (await site.replay.replay(entry)).id


async def test_the_map_registered_now_applies(site: Site):
    entry = await site.quarantined(ROWS)
    mended = a_dataset(metadata=("station_id", "owner"), version=2)
    await site.state.datasets.register(mended, [])
    assert (await site.replay.replay(entry)).metadata == mended


async def test_a_refused_payload_is_submitted_as_it_lies(site: Site):
    """Its map could not be registered, so the one it came with is taken."""
    command = IngestDataCommand(
        id=UUID(int=1),
        metadata=a_dataset(),
        payload_location="raw/late.parquet",
        start_time=SPAN.start,
        end_time=SPAN.end,
    )
    with pytest.raises(InvalidInput):
        await site.ingestion.handle(command)
    [entry] = await site.state.quarantine.list()
    again = await site.replay.replay(entry)
    assert (again.payload_location, again.metadata) == (command.payload_location, command.metadata)
    assert again.id != command.id

    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(ROWS[:1]), sink)
    await site.objects.put("raw/late.parquet", sink.getvalue().to_pybytes())
    await site.ingestion.handle(again)
    record = await site.state.ingestions.get(again.id)
    assert record is not None
    assert (record.status, record.tally) == (IngestionStatus.SETTLED, Tally(1, 1))


async def test_an_entry_of_an_unknown_ingestion_cannot_be_replayed(site: Site):
    entry = replace(await site.quarantined(ROWS), ingestion_id=UUID(int=99))
    with pytest.raises(InvalidInput, match=str(UUID(int=99))):
        await site.replay.replay(entry)
